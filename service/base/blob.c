#include "base/blob.h"

#include <stdatomic.h>
#include <stdlib.h>

struct blob {
    atomic_uint references;
    struct buf bytes;
    unsigned holders; /* of the references, those that are counted */
};

struct blob *blob_take(struct buf *buf)
{
    struct blob *blob = malloc(sizeof *blob);
    if (!blob)
        return NULL;
    atomic_init(&blob->references, 1);
    blob->holders = 0;
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

struct blob *blob_hold(struct blob *blob, size_t *bytes)
{
    if (blob && blob->holders++ == 0)
        *bytes += blob->bytes.n;
    return blob_ref(blob);
}

void blob_let_go(struct blob *blob, size_t *bytes)
{
    ASSERT(!blob || blob->holders > 0);
    if (blob && --blob->holders == 0)
        *bytes -= blob->bytes.n;
    blob_free(blob);
}

struct span blob_span(const struct blob *blob)
{
    return blob ? buf_span(&blob->bytes) : SPAN_ABSENT;
}
