#include "base/span.h"

#include <stdlib.h>
#include <string.h>

struct span span_of(const char *text)
{
    return text ? (struct span){text, strlen(text)} : SPAN_ABSENT;
}

bool span_eq(struct span a, struct span b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool span_is(struct span a, const char *text)
{
    return span_eq(a, span_of(text));
}

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

bool span_eq_nocase(struct span a, struct span b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (lower(a.p[i]) != lower(b.p[i]))
            return false;
    return true;
}

bool span_is_nocase(struct span a, const char *text)
{
    return span_eq_nocase(a, span_of(text));
}

bool span_is_any_nocase(struct span a, const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (span_is_nocase(a, texts[i]))
            return true;
    return false;
}

bool span_is_visible(struct span a)
{
    for (size_t i = 0; i < a.n; i++)
        if (a.p[i] <= 0x20 || a.p[i] >= 0x7F)
            return false;
    return true;
}

bool span_starts(struct span a, const char *prefix)
{
    size_t n = strlen(prefix);
    return a.n >= n && (n == 0 || memcmp(a.p, prefix, n) == 0);
}

bool span_ends(struct span a, const char *suffix)
{
    size_t n = strlen(suffix);
    return a.n >= n && (n == 0 || memcmp(a.p + a.n - n, suffix, n) == 0);
}

int span_compare(struct span a, struct span b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n ? memcmp(a.p, b.p, n) : 0;
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

struct span span_trim(struct span a)
{
    while (a.n && (a.p[0] == ' ' || a.p[0] == '\t')) {
        a.p++;
        a.n--;
    }
    while (a.n && (a.p[a.n - 1] == ' ' || a.p[a.n - 1] == '\t'))
        a.n--;
    return a;
}

struct span span_from(struct span a, size_t start)
{
    if (start > a.n)
        start = a.n;
    return a.p ? (struct span){a.p + start, a.n - start} : a; /* no arithmetic on NULL */
}

size_t span_find(struct span a, char byte)
{
    const char *found = a.n ? memchr(a.p, byte, a.n) : NULL;
    return found ? (size_t)(found - a.p) : a.n;
}

struct span span_cut(struct span *rest, char byte)
{
    size_t at = span_find(*rest, byte);
    struct span head = {rest->p, at};
    *rest = at < rest->n ? span_from(*rest, at + 1) : SPAN_ABSENT;
    return head;
}

bool span_to_u64(struct span a, uint64_t *ret)
{
    uint64_t value = 0;
    if (a.n == 0)
        return false;
    for (size_t i = 0; i < a.n; i++) {
        if (a.p[i] < '0' || a.p[i] > '9')
            return false;
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(a.p[i] - '0'), &value))
            return false;
    }
    *ret = value;
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool span_hex_to_bytes(struct span hex, uint8_t *ret, size_t n)
{
    if (hex.n != 2 * n)
        return false;
    for (size_t i = 0; i < hex.n; i++)
        if (hex_digit(hex.p[i]) < 0)
            return false;
    for (size_t i = 0; i < n; i++)
        ret[i] = (uint8_t)(hex_digit(hex.p[2 * i]) * 16 + hex_digit(hex.p[2 * i + 1]));
    return true;
}

char *span_dup(struct span a)
{
    char *copy = malloc(a.n + 1);
    if (!copy)
        return NULL;
    if (a.n)
        memcpy(copy, a.p, a.n);
    copy[a.n] = '\0';
    return copy;
}
