/* Immutable bytes with a reference count: a request body or an answer that several owners
 * (waiters, the store, an upstream thread) read at the same time.  Thread: any. */
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

#endif
