/* Memory for one unit of work (a request, a configuration), freed all at once.
 * Nothing is moved or freed before arena_done.  Thread: one owner at a time. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/rc.h"
#include "base/span.h"

struct arena_block;
struct arena {
    struct arena_block *newest;
    size_t used_bytes;
    size_t bytes_max;
};

/* Takes no memory yet.  Over bytes_max allocations fail. */
void arena_init(struct arena *arena, size_t bytes_max);
void arena_done(struct arena *arena);
/* n zeroed bytes aligned for any object; NULL: out of memory or over the maximum. */
void *arena_alloc(struct arena *arena, size_t n);
/* A copy with a NUL behind it (not counted); an absent span when it fails. */
struct span arena_copy(struct arena *arena, struct span bytes);

#endif
