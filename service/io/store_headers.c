#include "io/store_headers.h"

#include <string.h>

enum { LENGTH_BYTES = 4 };

static char *write_text(char *at, struct span text)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        *at++ = (char)(uint8_t)(text.n >> shift);
    if (text.n > 0)
        memcpy(at, text.p, text.n);
    return at + text.n;
}

struct span store_headers_write(const struct headers *headers, struct arena *arena)
{
    size_t n = 0;
    for (size_t i = 0; i < headers->count; i++) {
        const struct header *header = &headers->items[i];
        ASSERT(header->name.n <= UINT32_MAX && header->value.n <= UINT32_MAX);
        n += (size_t)2 * LENGTH_BYTES + header->name.n + header->value.n;
    }
    char *bytes = arena_alloc(arena, n);
    if (!bytes)
        return SPAN_ABSENT;
    char *at = bytes;
    for (size_t i = 0; i < headers->count; i++) {
        at = write_text(at, headers->items[i].name);
        at = write_text(at, headers->items[i].value);
    }
    return (struct span){bytes, n};
}

/* Cuts the first text off *rest.  False: there is none that is whole. */
static bool read_text(struct span *rest, struct span *ret)
{
    uint32_t n = 0;
    if (rest->n < LENGTH_BYTES)
        return false;
    for (int i = 0; i < LENGTH_BYTES; i++)
        n = n << 8 | (uint8_t)rest->p[i];
    *rest = span_from(*rest, LENGTH_BYTES);
    if (rest->n < n)
        return false;
    *ret = (struct span){rest->p, n};
    *rest = span_from(*rest, n);
    return true;
}

/* How many headers there are.  False: not whole. */
static bool count_headers(struct span rest, size_t *ret)
{
    struct span text;
    size_t count = 0;
    for (; rest.n > 0; count++) {
        if (!read_text(&rest, &text) || !read_text(&rest, &text))
            return false;
    }
    *ret = count;
    return true;
}

enum rc store_headers_read(struct span bytes, struct arena *arena, struct headers *ret)
{
    size_t count;
    if (!count_headers(bytes, &count))
        return E_INVALID;
    struct header *items = arena_alloc(arena, count * sizeof *items);
    if (!items)
        return E_NOMEM;
    for (size_t i = 0; i < count; i++) {
        bool whole = read_text(&bytes, &items[i].name) && read_text(&bytes, &items[i].value);
        ASSERT(whole);
    }
    *ret = (struct headers){items, count};
    return OK;
}
