/* The headers of an accepted request as one run of bytes for the store: name and value of each
 * in turn, each with its length in four bytes, most significant first, before it.  Pure;
 * thread: any. */
#ifndef IO_STORE_HEADERS_H
#define IO_STORE_HEADERS_H

#include "base/arena.h"
#include "core/http_message.h"

/* In the arena's memory; absent: out of memory or over the arena's maximum. */
struct span store_headers_write(const struct headers *headers, struct arena *arena);
/* *ret points into `bytes` and the arena.  E_INVALID: no such run.  E_NOMEM. */
MUST_CHECK enum rc store_headers_read(struct span bytes, struct arena *arena,
                                      struct headers *ret);

#endif
