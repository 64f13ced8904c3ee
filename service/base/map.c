#include "base/map.h"

#include <stdlib.h>
#include <string.h>

/* Open addressing with linear probing; removal moves followers back, so there are no graves. */
struct map_slot {
    void *value; /* NULL: free */
};

void map_init(struct map *map, size_t key_bytes)
{
    ASSERT(key_bytes >= sizeof(uint64_t));
    *map = (struct map){.key_bytes = key_bytes};
}

void map_done(struct map *map)
{
    free(map->slots);
    free(map->keys);
    map_init(map, map->key_bytes);
}

static size_t home(const struct map *map, const void *key)
{
    uint64_t hash;
    memcpy(&hash, key, sizeof hash);
    return (size_t)hash & (map->capacity - 1);
}

static unsigned char *key_at(const struct map *map, size_t i)
{
    return map->keys + i * map->key_bytes;
}

/* The slot of the key, or the free slot where it would go.  The map is never full. */
static size_t find(const struct map *map, const void *key)
{
    size_t i = home(map, key);
    while (map->slots[i].value && memcmp(key_at(map, i), key, map->key_bytes) != 0)
        i = (i + 1) & (map->capacity - 1);
    return i;
}

static void set(struct map *map, size_t i, const void *key, void *value)
{
    memcpy(key_at(map, i), key, map->key_bytes);
    map->slots[i].value = value;
    map->count++;
}

static enum rc grow(struct map *map)
{
    struct map old = *map;
    size_t capacity = old.capacity ? old.capacity * 2 : 16;
    struct map_slot *slots = calloc(capacity, sizeof *slots);
    unsigned char *keys = calloc(capacity, old.key_bytes);
    if (!slots || !keys) {
        free(slots);
        free(keys);
        return E_NOMEM;
    }
    map->slots = slots;
    map->keys = keys;
    map->capacity = capacity;
    map->count = 0;
    for (size_t i = 0; i < old.capacity; i++)
        if (old.slots[i].value)
            set(map, find(map, key_at(&old, i)), key_at(&old, i), old.slots[i].value);
    map_done(&old);
    return OK;
}

enum rc map_put(struct map *map, const void *key, void *value)
{
    ASSERT(value);
    if (map_get(map, key))
        return E_CONFLICT;
    if (map->capacity == 0 || map->count * 4 >= map->capacity * 3) {
        enum rc rc = grow(map);
        if (rc != OK)
            return rc;
    }
    set(map, find(map, key), key, value);
    return OK;
}

void *map_get(const struct map *map, const void *key)
{
    return map->capacity ? map->slots[find(map, key)].value : NULL;
}

void *map_remove(struct map *map, const void *key)
{
    if (map->capacity == 0)
        return NULL;
    size_t hole = find(map, key), mask = map->capacity - 1;
    void *value = map->slots[hole].value;
    if (!value)
        return NULL;
    for (size_t i = (hole + 1) & mask; map->slots[i].value; i = (i + 1) & mask) {
        size_t distance_home = (i - home(map, key_at(map, i))) & mask;
        if (distance_home < ((i - hole) & mask))
            continue; /* it would land before its home */
        memcpy(key_at(map, hole), key_at(map, i), map->key_bytes);
        map->slots[hole] = map->slots[i];
        hole = i;
    }
    map->slots[hole].value = NULL;
    map->count--;
    return value;
}

void *map_next(const struct map *map, size_t *position)
{
    while (*position < map->capacity) {
        void *value = map->slots[(*position)++].value;
        if (value)
            return value;
    }
    return NULL;
}
