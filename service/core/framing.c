#include "core/framing.h"

#include <string.h>

static bool is_without_blanks(struct span text)
{
    return header_value_is_sound(text) && span_find(text, ' ') == text.n &&
           span_find(text, '\t') == text.n;
}

static bool headers_are_sound(const struct headers *headers)
{
    static const char *const at_most_one[] = {
        "host",          "content-type", "idempotency-key", "x-idempotency-key",
        "authorization", "x-api-key",    "api-key"};
    for (size_t i = 0; i < headers->count; i++) {
        const struct header *header = &headers->items[i];
        if (!header_name_is_sound(header->name) || !header_value_is_sound(header->value))
            return false;
    }
    for (size_t i = 0; i < COUNT_OF(at_most_one); i++)
        if (header_count(headers, at_most_one[i]) > 1)
            return false;
    return true;
}

/* RFC 9112 6.3, with every case that is merely tolerated there refused. */
static enum framing_fault find_body(const struct http_head *head, struct framing *framing)
{
    size_t lengths = header_count(&head->headers, "content-length");
    size_t encodings = header_count(&head->headers, "transfer-encoding");
    if (lengths + encodings > 1)
        return FRAMING_AMBIGUOUS;
    if (encodings) {
        if (head->version_minor == 0)
            return FRAMING_AMBIGUOUS;
        if (!span_is_nocase(header_get(&head->headers, "transfer-encoding"), "chunked"))
            return FRAMING_BAD_TRANSFER_ENCODING;
        framing->chunked = true;
    }
    if (lengths &&
        !span_to_u64(header_get(&head->headers, "content-length"), &framing->body_bytes))
        return FRAMING_AMBIGUOUS;
    return FRAMING_FINE;
}

static enum framing_fault check(const struct http_head *head, struct framing *framing)
{
    if (!header_name_is_sound(head->method) || !head->path.n ||
        !is_without_blanks(head->path) || !is_without_blanks(head->query))
        return FRAMING_AMBIGUOUS;
    if (!headers_are_sound(&head->headers))
        return FRAMING_BAD_HEADER;
    enum framing_fault fault = find_body(head, framing);
    if (fault != FRAMING_FINE)
        return fault;
    if (head->version_minor > 0 && !header_count(&head->headers, "host"))
        return FRAMING_NO_HOST;
    /* HTTP/1.0 has no Expect: it is ignored there (RFC 9110 10.1.1). */
    if (head->version_minor > 0 && header_count(&head->headers, "expect")) {
        if (header_count(&head->headers, "expect") > 1 ||
            !span_is_nocase(header_get(&head->headers, "expect"), "100-continue"))
            return FRAMING_BAD_EXPECT;
        framing->expects_continue = true;
    }
    return FRAMING_FINE;
}

struct framing framing_check(const struct http_head *head)
{
    struct framing framing = {0};
    framing.fault = check(head, &framing);
    return framing;
}

bool framing_split_target(struct span target, const struct headers *headers,
                          struct span *ret_path, struct span *ret_query)
{
    struct span rest = target;
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < COUNT_OF(schemes); i++) {
        size_t n = strlen(schemes[i]);
        if (target.n <= n || !span_is_nocase((struct span){target.p, n}, schemes[i]))
            continue;
        rest = span_from(target, n);
        size_t authority_bytes = 0;
        while (authority_bytes < rest.n && !strchr("/?", rest.p[authority_bytes]))
            authority_bytes++;
        struct span authority = {rest.p, authority_bytes};
        if (!authority.n || !span_eq_nocase(header_get(headers, "host"), authority))
            return false;
        rest = span_from(rest, authority_bytes);
        if (!rest.n || rest.p[0] != '/')
            return false;
        break;
    }
    if (!span_starts(rest, "/") && !span_is(rest, "*"))
        return false;
    *ret_path = span_cut(&rest, '?');
    *ret_query = rest;
    return true;
}

/* Moves *at over `gap` NULs and then over `part`; false when it does not begin there.  As
 * numbers, since a part may lie anywhere. */
static bool step(uintptr_t *at, uintptr_t end, size_t gap, struct span part)
{
    uintptr_t begin = (uintptr_t)part.p;
    if (*at > end || end - *at < gap || begin != *at + gap || end - begin < part.n)
        return false;
    static const char nuls[4] = {0};
    if (gap > sizeof nuls || memcmp(part.p - gap, nuls, gap) != 0)
        return false;
    *at = begin + part.n;
    return true;
}

static bool step_value(uintptr_t *at, uintptr_t end, struct span name, struct span value)
{
    const char *blank = name.p + name.n;
    if ((uintptr_t)value.p <= *at || (uintptr_t)value.p > end || *blank != '\0')
        return false;
    for (blank++; blank < value.p; blank++)
        if (*blank != ' ' && *blank != '\t')
            return false;
    *at = (uintptr_t)value.p;
    return step(at, end, 0, value);
}

bool framing_is_whole(const struct framing_parts *parts)
{
    uintptr_t at = (uintptr_t)parts->raw.p;
    uintptr_t end = at + parts->raw.n;
    if (!step(&at, end, 0, parts->method) || !step(&at, end, 1, parts->target) ||
        !step(&at, end, 1, parts->version))
        return false;
    for (size_t i = 0; i < parts->headers.count; i++) {
        const struct header *header = &parts->headers.items[i];
        if (!step(&at, end, 2, header->name) ||
            !step_value(&at, end, header->name, header->value))
            return false;
    }
    return step(&at, end, 4, (struct span){parts->raw.p + parts->raw.n, 0}) && at == end;
}
