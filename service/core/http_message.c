#include "core/http_message.h"

#include <string.h>

static bool is_token_byte(char byte)
{
    if ((byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
        (byte >= 'a' && byte <= 'z'))
        return true;
    return byte && strchr("!#$%&'*+-.^_`|~", byte);
}

bool header_name_is_sound(struct span name)
{
    for (size_t i = 0; i < name.n; i++)
        if (!is_token_byte(name.p[i]))
            return false;
    return name.n > 0;
}

bool header_value_is_sound(struct span value)
{
    for (size_t i = 0; i < value.n; i++) {
        unsigned char byte = (unsigned char)value.p[i];
        if ((byte < 0x20 && byte != '\t') || byte == 0x7F)
            return false;
    }
    return true;
}

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
