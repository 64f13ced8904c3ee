#include "base/arena.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 4096 };

struct arena_block {
    struct arena_block *older;
    size_t used, size;
    alignas(max_align_t) char bytes[];
};

void arena_init(struct arena *arena, size_t bytes_max)
{
    *arena = (struct arena){.bytes_max = bytes_max};
}

void arena_done(struct arena *arena)
{
    while (arena->newest) {
        struct arena_block *block = arena->newest;
        arena->newest = block->older;
        free(block);
    }
    arena->used_bytes = 0;
}

void *arena_alloc(struct arena *arena, size_t n)
{
    size_t align = alignof(max_align_t);
    if (n > arena->bytes_max - arena->used_bytes || n > SIZE_MAX / 2)
        return NULL;
    size_t rounded = (n + align - 1) / align * align;
    struct arena_block *block = arena->newest;
    if (!block || block->size - block->used < rounded) {
        size_t size = rounded > BLOCK_BYTES ? rounded : BLOCK_BYTES;
        block = calloc(1, sizeof *block + size);
        if (!block)
            return NULL;
        block->size = size;
        block->older = arena->newest;
        arena->newest = block;
    }
    void *p = block->bytes + block->used;
    block->used += rounded;
    arena->used_bytes += n;
    return p;
}

struct span arena_copy(struct arena *arena, struct span bytes)
{
    char *copy = arena_alloc(arena, bytes.n + 1);
    if (!copy)
        return SPAN_ABSENT;
    if (bytes.n)
        memcpy(copy, bytes.p, bytes.n);
    return (struct span){copy, bytes.n};
}
