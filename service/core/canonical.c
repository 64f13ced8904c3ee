/* Two passes.  The first writes every token in its canonical form, members still in the order
 * met, into `plain`; an object whose members turn out to be out of order leaves a record of
 * where they stand.  The second copies `plain` to the output, those objects sorted.  Each byte
 * is written twice, however deeply the objects are nested. */
#include "core/canonical.h"

#include <stdlib.h>

_Static_assert(CANONICAL_VALUES_MAX == 262144, "the text of JSON_TOO_MANY names it");

/* A member of an object that is being read. */
struct member {
    uint32_t name_start, name_n; /* in `names` */
    uint32_t start, end;         /* "name":value in `plain` */
    uint32_t first_record;       /* the first record that can lie within it */
    uint32_t offset;             /* where the name stands in the text */
};

/* A member of an object that must be sorted, in its sorted place. */
struct sorted {
    uint32_t start, end, first_record;
};

/* An object, in the order of their opening brackets.  With count 0 it was in order already. */
struct record {
    uint32_t start, end; /* from '{' to behind '}' in `plain` */
    uint32_t first_sorted, count;
    uint32_t next_record; /* behind this object and all in it */
};

struct canonical {
    struct json json;
    const char *without;
    bool left_out; /* `without` was met */
    size_t values; /* met so far */
    struct buf plain;
    struct buf names;   /* unescaped, of the members of open objects */
    struct buf members; /* struct member, of open objects, the innermost last */
    struct buf sorted;  /* struct sorted */
    struct buf records; /* struct record */
};

/* The bufs hold arrays as bytes; malloc's alignment is enough for each. */
static struct member *member_at(const struct canonical *c, size_t i)
{
    return (struct member *)(void *)c->members.p + i;
}
static struct sorted *sorted_at(const struct canonical *c, size_t i)
{
    return (struct sorted *)(void *)c->sorted.p + i;
}
static struct record *record_at(const struct canonical *c, size_t i)
{
    return (struct record *)(void *)c->records.p + i;
}
static uint32_t member_count(const struct canonical *c)
{
    return (uint32_t)(c->members.n / sizeof(struct member));
}
static uint32_t record_count(const struct canonical *c)
{
    return (uint32_t)(c->records.n / sizeof(struct record));
}
static void push(struct buf *array, const void *item, size_t n)
{
    buf_add(array, (struct span){item, n});
}

static enum rc failure(const struct canonical *c)
{
    const struct buf *bufs[] = {&c->plain, &c->names, &c->members, &c->sorted, &c->records};
    if (c->json.error != JSON_FINE)
        return E_SYNTAX;
    for (size_t i = 0; i < COUNT_OF(bufs); i++)
        if (buf_rc(bufs[i]) != OK)
            return buf_rc(bufs[i]);
    return OK;
}

static void refuse(struct canonical *c, enum json_error error, size_t offset)
{
    c->json.error = error;
    c->json.p = c->json.start + offset;
}

/* ---- first pass */

static struct span name_of(const struct canonical *c, const struct member *member)
{
    return (struct span){buf_span(&c->names).p + member->name_start, member->name_n};
}

static int compare_names(const void *a, const void *b, void *canonical)
{
    return span_compare(name_of(canonical, a), name_of(canonical, b));
}

/* A still escaped text in its canonical spelling, with quotes. */
static void write_string(struct canonical *c, struct span escaped)
{
    size_t names_n = c->names.n;
    buf_add_byte(&c->plain, '"');
    if (span_find(escaped, '\\') == escaped.n) {
        buf_add(&c->plain, escaped);
    } else {
        json_unescape(escaped, &c->names);
        json_escape(span_from(buf_span(&c->names), names_n), &c->plain);
        c->names.n = names_n;
    }
    buf_add_byte(&c->plain, '"');
}

static void read_value(struct canonical *c);

/* The member whose name was just read, up to its end. */
static void read_member(struct canonical *c, struct span name)
{
    struct member member = {.name_start = (uint32_t)c->names.n,
                            .start = (uint32_t)c->plain.n,
                            .first_record = record_count(c),
                            .offset = (uint32_t)(name.p - 1 - c->json.start)};
    write_string(c, name);
    json_unescape(name, &c->names);
    member.name_n = (uint32_t)(c->names.n - member.name_start);
    buf_add_byte(&c->plain, ':');
    uint32_t place = member_count(c);
    push(&c->members, &member, sizeof member);
    read_value(c);
    if (failure(c) == OK)
        member_at(c, place)->end = (uint32_t)c->plain.n;
}

/* The member `without` leaves no trace. */
static void leave_out(struct canonical *c, struct span name)
{
    if (c->left_out)
        refuse(c, JSON_DUPLICATE, (size_t)(name.p - 1 - c->json.start));
    c->left_out = true;
    json_skip(&c->json);
}

static bool is_in_order(struct canonical *c, const struct member *members, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (compare_names(&members[i - 1], &members[i], c) >= 0)
            return false;
    return true;
}

/* Refuses the first pair of equal names of sorted members, at the second one in the text. */
static void refuse_duplicates(struct canonical *c, const struct member *members, size_t count)
{
    for (size_t i = 1; i < count && c->json.error == JSON_FINE; i++) {
        const struct member *a = &members[i - 1], *b = &members[i];
        if (compare_names(a, b, c) == 0)
            refuse(c, JSON_DUPLICATE, a->offset > b->offset ? a->offset : b->offset);
    }
}

/* The object whose record is at `place` and whose members are the last `count` was read. */
static void close_object(struct canonical *c, uint32_t place, uint32_t count)
{
    struct member *members = count > 1 ? member_at(c, member_count(c) - count) : NULL;
    struct record *record = record_at(c, place);
    if (!members || is_in_order(c, members, count)) {
        if (place + 1 == record_count(c)) /* nor is there anything to sort within it */
            c->records.n -= sizeof *record;
        return;
    }
    qsort_r(members, count, sizeof *members, compare_names, c);
    refuse_duplicates(c, members, count);
    record->end = (uint32_t)c->plain.n;
    record->first_sorted = (uint32_t)(c->sorted.n / sizeof(struct sorted));
    record->count = count;
    record->next_record = record_count(c);
    for (uint32_t i = 0; i < count; i++) {
        struct sorted sorted = {members[i].start, members[i].end, members[i].first_record};
        push(&c->sorted, &sorted, sizeof sorted);
    }
}

static void read_object(struct canonical *c)
{
    struct record record = {.start = (uint32_t)c->plain.n};
    uint32_t place = record_count(c), first = member_count(c);
    size_t names_n = c->names.n;
    struct span name;
    push(&c->records, &record, sizeof record);
    buf_add_byte(&c->plain, '{');
    while (json_member(&c->json, &name)) {
        if (c->json.depth == 1 && c->without && json_string_is(name, c->without)) {
            leave_out(c, name);
            continue;
        }
        if (member_count(c) > first)
            buf_add_byte(&c->plain, ',');
        read_member(c, name);
    }
    buf_add_byte(&c->plain, '}');
    if (failure(c) == OK)
        close_object(c, place, member_count(c) - first);
    c->members.n = first * sizeof(struct member);
    c->names.n = names_n;
}

static void read_array(struct canonical *c)
{
    char separator = '[';
    while (json_element(&c->json)) {
        buf_add_byte(&c->plain, separator);
        separator = ',';
        read_value(c);
    }
    buf_add_text(&c->plain, separator == '[' ? "[]" : "]");
}

/* Recursion ends at JSON_DEPTH_MAX. */
static void read_value(struct canonical *c) /* NOLINT(misc-no-recursion) */
{
    if (++c->values > CANONICAL_VALUES_MAX)
        refuse(c, JSON_TOO_MANY, json_offset(&c->json));
    if (json_enter(&c->json, JSON_OBJECT)) {
        read_object(c);
    } else if (json_enter(&c->json, JSON_ARRAY)) {
        read_array(c);
    } else {
        struct span value = json_value(&c->json);
        if (json_type(value) == JSON_STRING)
            write_string(c, json_inside(value));
        else
            buf_add(&c->plain, value);
    }
}

static void read_text(struct canonical *c)
{
    if (json_peek(&c->json) == JSON_OBJECT)
        read_value(c);
    else if (c->json.error == JSON_FINE)
        refuse(c, JSON_BAD_TYPE, json_offset(&c->json));
    (void)json_end(&c->json);
}

/* ---- second pass */

static struct span plain_between(const struct canonical *c, size_t start, size_t end)
{
    return (struct span){c->plain.p + start, end - start};
}

/* Copies a part of `plain`, the objects in it sorted.  `place`: the first record that can lie
 * in it.  Recursion ends at JSON_DEPTH_MAX. */
static void write_part(const struct canonical *c, struct sorted part, /* NOLINT(*recursion) */
                       struct buf *out)
{
    size_t start = part.start, place = part.first_record;
    while (place < record_count(c) && record_at(c, place)->start < part.end) {
        const struct record *record = record_at(c, place);
        place++;
        if (record->count == 0)
            continue;
        buf_add(out, plain_between(c, start, record->start));
        for (uint32_t i = 0; i < record->count; i++) {
            buf_add_byte(out, i ? ',' : '{');
            write_part(c, *sorted_at(c, record->first_sorted + i), out);
        }
        buf_add_byte(out, '}');
        start = record->end;
        place = record->next_record;
    }
    buf_add(out, plain_between(c, start, part.end));
}

/* ---- */

static void init(struct canonical *c, struct span text, const char *without)
{
    *c = (struct canonical){.without = without};
    json_init(&c->json, text, JSON_STRICT);
    c->json.p = json_drop_bom(text).p;
    buf_init(&c->plain, text.n);
    buf_init(&c->names, text.n);
    buf_init(&c->members, CANONICAL_VALUES_MAX * sizeof(struct member));
    buf_init(&c->sorted, CANONICAL_VALUES_MAX * sizeof(struct sorted));
    buf_init(&c->records, CANONICAL_VALUES_MAX * sizeof(struct record));
    (void)buf_reserve(&c->plain, text.n);
}

static void done(struct canonical *c)
{
    buf_done(&c->plain);
    buf_done(&c->names);
    buf_done(&c->members);
    buf_done(&c->sorted);
    buf_done(&c->records);
}

enum rc canonical_json(struct span text, const char *without, struct buf *out,
                       struct json_refusal *ret_refusal)
{
    struct canonical c;
    if (text.n > UINT32_MAX)
        return E_LIMIT;
    init(&c, text.p ? text : SPAN(""), without);
    read_text(&c);
    enum rc rc = failure(&c);
    if (rc == E_SYNTAX)
        *ret_refusal = (struct json_refusal){c.json.error, json_offset(&c.json)};
    if (rc == OK && buf_reserve(out, c.plain.n))
        write_part(&c, (struct sorted){.end = (uint32_t)c.plain.n}, out);
    done(&c);
    return rc == OK ? buf_rc(out) : rc;
}
