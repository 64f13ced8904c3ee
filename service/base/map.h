/* A hash map from keys of one fixed length (digests, random ids) to pointers.
 *
 * The map copies keys, not values.  Keys must be evenly spread already (SHA-256, random bytes):
 * the first eight bytes are the hash.  Thread: one owner. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/rc.h"

struct map_slot;
struct map {
    struct map_slot *slots;
    unsigned char *keys;
    size_t key_bytes; /* at least 8 */
    size_t count, capacity;
};

/* Takes no memory yet. */
void map_init(struct map *map, size_t key_bytes);
void map_done(struct map *map);
/* E_CONFLICT: the key is there already (its value stays).  E_NOMEM. */
MUST_CHECK enum rc map_put(struct map *map, const void *key, void *value);
/* NULL: not there. */
void *map_get(const struct map *map, const void *key);
/* The value that was there, or NULL. */
void *map_remove(struct map *map, const void *key);
/* Walks all values in no order: start with *position = 0; NULL at the end.  The map must not
 * change meanwhile. */
void *map_next(const struct map *map, size_t *position);

#endif
