#include "core/fingerprint.h"

#include <stdlib.h>

/* A query piece or a header line, to be sorted by name and hashed in two parts. */
struct item {
    struct span name, value;
    size_t place; /* keeps the order of equal names */
};

static int compare_items(const void *first, const void *second)
{
    const struct item *a = first, *b = second;
    int order = span_compare(a->name, b->name);
    return order ? order : (a->place > b->place) - (a->place < b->place);
}

static void feed_number(struct sha256 *sha, uint64_t number)
{
    char bytes[8];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(number >> (56 - 8 * i));
    sha256_feed(sha, (struct span){bytes, sizeof bytes});
}

static void feed_part(struct sha256 *sha, struct span part)
{
    feed_number(sha, part.n);
    sha256_feed(sha, part.p ? part : SPAN(""));
}

static void feed_sorted(struct sha256 *sha, struct item *items, size_t count)
{
    if (count)
        qsort(items, count, sizeof *items, compare_items);
    feed_number(sha, count);
    for (size_t i = 0; i < count; i++) {
        feed_part(sha, items[i].name);
        feed_part(sha, items[i].value);
    }
}

/* The value begins with the '=', so that `a` and `a=` stay different. */
static struct item query_item(struct span piece, size_t place)
{
    size_t name_n = span_find(piece, '=');
    return (struct item){{piece.p, name_n}, {piece.p + name_n, piece.n - name_n}, place};
}

static enum rc feed_query(struct sha256 *sha, struct span query, struct arena *scratch)
{
    size_t pieces = 1, count = 0;
    for (size_t i = 0; i < query.n; i++)
        pieces += query.p[i] == '&';
    struct item *items = arena_alloc(scratch, pieces * sizeof *items);
    if (!items)
        return E_NOMEM;
    while (query.p) {
        struct span piece = span_cut(&query, '&');
        if (piece.n) {
            items[count] = query_item(piece, count);
            count++;
        }
    }
    feed_sorted(sha, items, count);
    return OK;
}

static struct span lower_case(struct span name, struct arena *scratch)
{
    char *lower = arena_alloc(scratch, name.n);
    if (!lower)
        return SPAN_ABSENT;
    for (size_t i = 0; i < name.n; i++)
        lower[i] = (char)(name.p[i] >= 'A' && name.p[i] <= 'Z' ? name.p[i] + 32 : name.p[i]);
    return (struct span){lower, name.n};
}

static bool is_semantic(struct span lower_name)
{
    return span_is(lower_name, "anthropic-version") || span_is(lower_name, "anthropic-beta") ||
           span_starts(lower_name, "openai-");
}

static enum rc feed_headers(struct sha256 *sha, const struct headers *headers,
                            struct arena *scratch)
{
    size_t count = 0;
    struct item *items = arena_alloc(scratch, headers->count * sizeof *items);
    if (!items)
        return E_NOMEM;
    for (size_t i = 0; i < headers->count; i++) {
        struct span name = lower_case(headers->items[i].name, scratch);
        if (!name.p)
            return E_NOMEM;
        if (is_semantic(name)) {
            items[count] = (struct item){name, span_trim(headers->items[i].value), count};
            count++;
        }
    }
    feed_sorted(sha, items, count);
    return OK;
}

enum rc fingerprint_of(const struct http_head *head, enum api api, struct span body,
                       struct arena *scratch, struct digest *ret)
{
    OWNED(sha256) sha = sha256_new();
    if (!sha)
        return E_NOMEM;
    feed_part(sha, SPAN("fingerprint-v1"));
    feed_part(sha, head->method);
    feed_part(sha, span_of(api_route(api)));
    enum rc rc = feed_query(sha, head->query, scratch);
    if (rc == OK)
        rc = feed_headers(sha, &head->headers, scratch);
    if (rc != OK)
        return rc;
    feed_part(sha, body);
    *ret = sha256_end(sha);
    return OK;
}
