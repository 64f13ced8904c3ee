#include "core/members.h"

#include "core/json.h"

#include <string.h>

enum { ENTRY_BYTES = 2 * MEMBERS_HASH_BYTES };

static enum rc hash(const struct digest *key, const char *kind, struct span text,
                    unsigned char *ret)
{
    struct digest digest;
    struct span parts[] = {{(const char *)key->bytes, sizeof key->bytes}, span_of(kind), text};
    if (sha256_of(parts, COUNT_OF(parts), &digest) != OK)
        return E_NOMEM;
    memcpy(ret, digest.bytes, MEMBERS_HASH_BYTES);
    return OK;
}

enum rc members_of(const struct digest *key, struct span canonical, struct arena *arena,
                   struct members *ret)
{
    struct json json;
    struct span name;
    size_t count = 0;
    unsigned char *hashes = arena_alloc(arena, MEMBERS_BYTES_MAX);
    struct span *names = arena_alloc(arena, MEMBERS_MAX * sizeof *names);
    if (!hashes || !names)
        return E_NOMEM;
    json_init(&json, canonical, JSON_STRICT);
    bool entered = json_enter(&json, JSON_OBJECT);
    ASSERT(entered); /* it is canonical */
    while (count < MEMBERS_MAX && json_member(&json, &name)) {
        unsigned char *entry = hashes + count * ENTRY_BYTES;
        struct span value = json_value(&json);
        if (name.n <= MEMBERS_NAME_BYTES_MAX) {
            names[count] = arena_copy(arena, name);
            if (!names[count].p)
                return E_NOMEM;
        }
        if (hash(key, "name", name, entry) != OK ||
            hash(key, "value", value, entry + MEMBERS_HASH_BYTES) != OK)
            return E_NOMEM;
        count++;
    }
    *ret = (struct members){{(const char *)hashes, count * ENTRY_BYTES}, names};
    return OK;
}

/* ---- the comparison */

struct list {
    size_t count;
    struct span names[MEMBERS_NAMED_MAX];
};

static void list_add(struct list *list, struct span name)
{
    if (list->count < MEMBERS_NAMED_MAX)
        list->names[list->count] = name;
    list->count++;
}

/* The entry with the same name; NULL: there is none. */
static const char *find(struct span hashes, const char *entry)
{
    for (size_t at = 0; at < hashes.n; at += ENTRY_BYTES)
        if (memcmp(hashes.p + at, entry, MEMBERS_HASH_BYTES) == 0)
            return hashes.p + at;
    return NULL;
}

static bool same_value(const char *a, const char *b)
{
    return memcmp(a + MEMBERS_HASH_BYTES, b + MEMBERS_HASH_BYTES, MEMBERS_HASH_BYTES) == 0;
}

static void add_list(struct buf *out, const struct list *list, const char *one,
                     const char *several)
{
    if (list->count == 0)
        return;
    for (size_t i = 0; i < list->count && i < MEMBERS_NAMED_MAX; i++) {
        struct span name = list->names[i].p ? list->names[i] : SPAN("(a long name)");
        buf_printf(out, "%s%.*s", i ? ", " : " ", SPAN_ARG(name));
    }
    if (list->count > MEMBERS_NAMED_MAX)
        buf_printf(out, " and %zu more", list->count - MEMBERS_NAMED_MAX);
    buf_printf(out, " %s;", list->count == 1 ? one : several);
}

static size_t count_missing(struct span first, struct span now)
{
    size_t missing = 0;
    for (size_t at = 0; at < first.n; at += ENTRY_BYTES)
        missing += !find(now, first.p + at);
    return missing;
}

void members_explain(const struct members *now, struct span first, struct buf *out)
{
    struct list differ = {0}, added = {0};
    if (!first.p || first.n % ENTRY_BYTES != 0 || first.n > MEMBERS_BYTES_MAX)
        return;
    for (size_t i = 0; i * ENTRY_BYTES < now->hashes.n; i++) {
        const char *entry = now->hashes.p + i * ENTRY_BYTES;
        const char *before = find(first, entry);
        if (before && !same_value(before, entry))
            list_add(&differ, now->names[i]);
        /* What is not in a full list may have been behind its end. */
        if (!before && first.n < MEMBERS_BYTES_MAX)
            list_add(&added, now->names[i]);
    }
    size_t missing = now->hashes.n < MEMBERS_BYTES_MAX ? count_missing(first, now->hashes) : 0;
    if (differ.count + added.count + missing == 0) {
        buf_add_text(out, "the members of its body are the same as far as they were compared: "
                          "look at the query and at anthropic-version, anthropic-beta and "
                          "openai-* headers");
        return;
    }
    buf_add_text(out, "compared with the first request:");
    add_list(out, &differ, "differs", "differ");
    add_list(out, &added, "was added", "were added");
    if (missing)
        buf_printf(out, " %zu %s missing", missing, missing == 1 ? "member is" : "members are");
    else if (buf_rc(out) == OK)
        out->n--; /* the last semicolon */
}
