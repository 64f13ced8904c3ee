/* Immutable bytes with a reference count: a request body or an answer that several owners
 * (waiters, the store, an upstream thread) read at the same time.  Thread: any, but for what is
 * held. */
#ifndef BASE_BLOB_H
#define BASE_BLOB_H

#include "base/buf.h"
#include "base/rc.h"
#include "base/span.h"

struct blob;

/* A copy of `bytes`, with one reference; NULL: out of memory. */
struct blob *blob_new(struct span bytes);
/* Takes over the memory of `buf`, which is empty afterwards.  NULL (out of memory): the buf
 * still owns it. */
struct blob *blob_take(struct buf *buf);
/* One more reference to the same bytes; returns its argument, which may be NULL. */
struct blob *blob_ref(struct blob *blob);
/* One reference less, the last one frees; NULL is fine. */
void blob_free(struct blob *blob);
/* Valid as long as a reference is held; absent for NULL. */
struct span blob_span(const struct blob *blob);
OWNED_DEFINE(blob)

/* One more reference, which is counted: *bytes is what all held blobs have together, each of them
 * once, however many hold it.  A blob is held in one such count at a time.  Returns its argument,
 * which may be NULL.  Thread: the count's owner. */
struct blob *blob_hold(struct blob *blob, size_t *bytes);
/* The end of a blob_hold, and of its reference; NULL is fine. */
void blob_let_go(struct blob *blob, size_t *bytes);

#endif
