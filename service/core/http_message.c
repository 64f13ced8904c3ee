#include "core/http_message.h"

struct span header_get(const struct headers *headers, const char *name)
{
    for (size_t i = 0; i < headers->count; i++)
        if (span_is_nocase(headers->items[i].name, name))
            return headers->items[i].value;
    return SPAN_ABSENT;
}

size_t header_count(const struct headers *headers, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < headers->count; i++)
        count += span_is_nocase(headers->items[i].name, name);
    return count;
}
