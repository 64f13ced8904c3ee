#include "base/blob.h"

#include <stdatomic.h>
#include <stdlib.h>

struct blob {
    atomic_uint references;
    struct buf bytes;
};

struct blob *blob_take(struct buf *buf)
{
    struct blob *blob = malloc(sizeof *blob);
    if (!blob)
        return NULL;
    atomic_init(&blob->references, 1);
    blob->bytes = *buf;
    buf_init(buf, buf->bytes_max);
    return blob;
}

struct blob *blob_new(struct span bytes)
{
    BUF(copy, SIZE_MAX / 2);
    buf_add(&copy, bytes);
    return buf_rc(&copy) == OK ? blob_take(&copy) : NULL;
}

struct blob *blob_ref(struct blob *blob)
{
    if (blob)
        atomic_fetch_add_explicit(&blob->references, 1, memory_order_relaxed);
    return blob;
}

void blob_free(struct blob *blob)
{
    if (!blob || atomic_fetch_sub_explicit(&blob->references, 1, memory_order_acq_rel) != 1)
        return;
    buf_done(&blob->bytes);
    free(blob);
}

struct span blob_span(const struct blob *blob)
{
    return blob ? buf_span(&blob->bytes) : SPAN_ABSENT;
}
