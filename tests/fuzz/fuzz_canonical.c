/* The canonical form equals that of a second implementation, which builds it value by value out
 * of sorted lists; and it is its own canonical form. */
#include "core/canonical.h"
#include "fuzz.h"

struct member {
    struct buf name; /* unescaped */
    struct span value;
};

static int compare(const void *a, const void *b)
{
    const struct member *first = a, *second = b;
    return span_compare(buf_span(&first->name), buf_span(&second->name));
}

static bool write_value(struct span value, struct buf *out);

/* *ret: from malloc, each name to be freed too. */
static size_t list_members(struct span object, struct member **ret)
{
    struct member *members = malloc((object.n / 4 + 1) * sizeof *members);
    struct json json;
    struct span name;
    size_t count = 0;
    ASSERT(members);
    json_init(&json, object, JSON_STRICT);
    (void)json_enter(&json, JSON_OBJECT);
    for (; json_member(&json, &name); count++) {
        buf_init(&members[count].name, FUZZ_BYTES_MAX);
        json_unescape(name, &members[count].name);
        members[count].value = json_value(&json);
    }
    qsort(members, count, sizeof *members, compare);
    *ret = members;
    return count;
}

static bool write_member(const struct member *member, bool first, struct buf *out)
{
    buf_add_text(out, first ? "" : ",");
    json_quote(buf_span(&member->name), out);
    buf_add_byte(out, ':');
    return write_value(member->value, out);
}

static bool write_object(struct span object, const char *without, struct buf *out)
{
    struct member *members;
    size_t count = list_members(object, &members);
    bool fine = true, first = true;
    buf_add_byte(out, '{');
    for (size_t i = 0; i < count; i++) {
        fine = fine && (i == 0 || compare(&members[i - 1], &members[i]) != 0);
        if (!without || !span_is(buf_span(&members[i].name), without)) {
            fine = fine && write_member(&members[i], first, out);
            first = false;
        }
    }
    buf_add_byte(out, '}');
    for (size_t i = 0; i < count; i++)
        buf_done(&members[i].name);
    free(members);
    return fine;
}

static bool write_array(struct span array, struct buf *out)
{
    struct json json;
    bool fine = true;
    json_init(&json, array, JSON_STRICT);
    (void)json_enter(&json, JSON_ARRAY);
    buf_add_byte(out, '[');
    for (bool first = true; json_element(&json); first = false) {
        buf_add_text(out, first ? "" : ",");
        fine = write_value(json_value(&json), out) && fine;
    }
    buf_add_byte(out, ']');
    return fine;
}

static bool write_value(struct span value, struct buf *out)
{
    BUF(meaning, FUZZ_BYTES_MAX);
    switch (json_type(value)) {
    case JSON_OBJECT:
        return write_object(value, NULL, out);
    case JSON_ARRAY:
        return write_array(value, out);
    case JSON_STRING:
        json_unescape(json_inside(value), &meaning);
        json_quote(buf_span(&meaning), out);
        return true;
    case JSON_NUMBER:
    case JSON_TRUE:
    case JSON_FALSE:
    case JSON_NULL:
        buf_add(out, value);
        return true;
    case JSON_NONE:
        break;
    }
    return false;
}

/* False: the text has none. */
static bool simple_form(struct span text, const char *without, struct buf *out)
{
    struct json json;
    text = json_drop_bom(text);
    if (!fuzz_is_json(text, JSON_STRICT))
        return false;
    json_init(&json, text, JSON_STRICT);
    struct span value = json_value(&json);
    return json_type(value) == JSON_OBJECT && write_object(value, without, out);
}

static void check(struct span text, const char *without)
{
    BUF(want, FUZZ_BYTES_MAX);
    BUF(got, FUZZ_BYTES_MAX);
    BUF(again, FUZZ_BYTES_MAX);
    struct json_refusal refusal = {JSON_FINE, 0};
    enum rc rc = canonical_json(text, without, &got, &refusal);
    ASSERT(rc == OK || rc == E_SYNTAX);
    ASSERT((rc == OK) == (refusal.error == JSON_FINE) && refusal.offset <= text.n);
    if (refusal.error == JSON_TOO_MANY)
        return;
    ASSERT((rc == OK) == simple_form(text, without, &want));
    if (rc != OK) {
        ASSERT(got.n == 0);
        return;
    }
    ASSERT(span_eq(buf_span(&got), buf_span(&want)) && got.n <= text.n);
    ASSERT(canonical_json(buf_span(&got), NULL, &again, &refusal) == OK);
    ASSERT(span_eq(buf_span(&got), buf_span(&again)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check(fuzz_span(data, size), NULL);
    check(fuzz_span(data, size), "a");
    return 0;
}
