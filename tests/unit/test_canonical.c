#include "core/canonical.h"
#include "test.h"

#include <stdio.h>

static struct json_refusal refusal;

/* The canonical form, NULL when refused; valid until the next call. */
static const char *canonical_without(struct span text, const char *without)
{
    static struct buf out;
    buf_done(&out);
    buf_init(&out, 1u << 20);
    refusal = (struct json_refusal){JSON_FINE, 0};
    enum rc rc = canonical_json(text, without, &out, &refusal);
    if (rc == OK) {
        /* A copy of the exact length, so that the sanitizer sees what is read beyond it. */
        static char copy[4096];
        assert_true(out.n < sizeof copy);
        memcpy(copy, buf_text(&out), out.n + 1);
        buf_done(&out);
        return copy;
    }
    assert_int_equal(rc, E_SYNTAX);
    assert_int_equal(out.n, 0);
    return NULL;
}
static const char *canonical(const char *text)
{
    return canonical_without(span_of(text), NULL);
}

#define assert_refused(text, why, where)                                                       \
    do {                                                                                       \
        assert_null(canonical(text));                                                          \
        assert_int_equal(refusal.error, why);                                                  \
        assert_int_equal(refusal.offset, where);                                               \
    } while (0)

TEST(canonical, members_are_sorted_and_white_space_is_removed)
{
    assert_string_equal(canonical(" { \"b\" : [ 1 , { } , [ ] ] ,\r\n\t\"a\" : null } "),
                        "{\"a\":null,\"b\":[1,{},[]]}");
    assert_string_equal(canonical("{}"), "{}");
}

TEST(canonical, nested_objects_are_sorted_each)
{
    assert_string_equal(
        canonical("{\"b\":{\"d\":[{\"y\":1,\"x\":{\"q\":2,\"p\":3}},{\"b\":1,\"a\":2}],"
                  "\"c\":{}},\"a\":{\"f\":{\"h\":1,\"g\":2},\"e\":0},\"c\":{\"x\":{\"n\":1,"
                  "\"m\":2}}}"),
        "{\"a\":{\"e\":0,\"f\":{\"g\":2,\"h\":1}},\"b\":{\"c\":{},\"d\":[{\"x\":{\"p\":3,"
        "\"q\":2},\"y\":1},{\"a\":2,\"b\":1}]},\"c\":{\"x\":{\"m\":2,\"n\":1}}}");
}

TEST(canonical, an_object_in_order_around_one_out_of_order)
{
    assert_string_equal(
        canonical("{\"a\":{\"a\":{\"b\":1,\"a\":2},\"b\":{\"a\":1}},\"b\":[{}]}"),
        "{\"a\":{\"a\":{\"a\":2,\"b\":1},\"b\":{\"a\":1}},\"b\":[{}]}");
}

TEST(canonical, strings_and_names_have_one_spelling)
{
    assert_string_equal(
        canonical("{\"\\u0061\\/\":\"\\u00e9\\ud83d\\ude00\\u0008\\u000B\\u001F\\\"\\\\\"}"),
        "{\"a/\":\"\xc3\xa9\xf0\x9f\x98\x80\\b\\u000b\\u001f\\\"\\\\\"}");
    assert_string_equal(canonical("{\"a\":\"x\\u0000y\"}"), "{\"a\":\"x\\u0000y\"}");
}

TEST(canonical, names_are_sorted_by_what_they_stand_for)
{
    /* Escaped, the quote (0x22) would begin with a backslash and come behind A and [. */
    assert_string_equal(canonical("{\"[\":1,\"A\":2,\"\\\"\":3,\"\\u0001\":4,\"\":5,\"]\":6}"),
                        "{\"\":5,\"\\u0001\":4,\"\\\"\":3,\"A\":2,\"[\":1,\"]\":6}");
    /* By UTF-8 bytes; by UTF-16 units the emoji would come before the ligature. */
    assert_string_equal(canonical("{\"\\ud83d\\ude02\":2,\"\\ufb33\":3,\"\\u20ac\":1}"),
                        "{\"\xe2\x82\xac\":1,\"\xef\xac\xb3\":3,\"\xf0\x9f\x98\x82\":2}");
}

TEST(canonical, numbers_keep_their_lexemes)
{
    const char *text = "{\"a\":[1,1.0,1e0,1E+2,-0,0,18446744073709551616,0.10,1e400]}";
    assert_string_equal(canonical(text), text);
}

TEST(canonical, a_byte_order_mark_is_dropped_and_counts_in_offsets)
{
    assert_string_equal(canonical("\xEF\xBB\xBF{\"a\":1}"), "{\"a\":1}");
    assert_refused("\xEF\xBB\xBF{\"a\":}", JSON_BAD_VALUE, 8);
    assert_refused("\xEF\xBB\xBF\xEF\xBB\xBF{}", JSON_BAD_VALUE, 3);
}

TEST(canonical, a_name_twice_is_refused_at_the_second)
{
    assert_refused("{\"a\":1,\"a\":2}", JSON_DUPLICATE, 7);
    assert_refused("{\"\":1,\"\":2}", JSON_DUPLICATE, 6);
    assert_refused("{\"ab\":1,\"a\\u0062\":2}", JSON_DUPLICATE, 8);
    assert_refused("{\"x\":[{\"b\":1,\"a\":2,\"b\":3}]}", JSON_DUPLICATE, 19);
    assert_non_null(canonical("{\"a\":{\"a\":1},\"b\":{\"a\":1}}"));
}

TEST(canonical, anything_but_one_object_is_refused)
{
    assert_refused("", JSON_EOF, 0);
    assert_refused("  ", JSON_EOF, 2);
    assert_refused(" []", JSON_BAD_TYPE, 1);
    assert_refused("\"a\"", JSON_BAD_TYPE, 0);
    assert_refused("null", JSON_BAD_TYPE, 0);
    assert_refused("{} {}", JSON_TRAILING, 3);
    assert_refused("{}x", JSON_TRAILING, 2);
    assert_null(canonical_without(SPAN_ABSENT, NULL));
    assert_int_equal(refusal.error, JSON_EOF);
}

TEST(canonical, what_is_no_strict_json_is_refused_where_it_is_wrong)
{
    assert_refused("{\"a\":\"\\ud800\"}", JSON_BAD_SURROGATE, 6);
    assert_refused("{\"a\":\"\xff\"}", JSON_BAD_UTF8, 6);
    assert_refused("{\"a\":01}", JSON_BAD_COMMA, 6);
    assert_refused("{\"a\":1,}", JSON_BAD_KEY, 7);
    assert_refused("{\"a\":[1,{\"b\":tru}]}", JSON_BAD_VALUE, 13);
    assert_refused("{\"a", JSON_EOF, 3);
    assert_refused("{\"b\":1,\"a\":{\"b\":1", JSON_EOF, 17);
}

TEST(canonical, depth_128_is_taken_and_129_refused)
{
    char text[1024];
    size_t n = 0;
    for (int i = 0; i < 128; i++)
        n += (size_t)sprintf(text + n, "{\"\":");
    n += (size_t)sprintf(text + n, "0");
    memset(text + n, '}', 128);
    text[n + 128] = '\0';
    assert_string_equal(canonical(text), text);

    n = (size_t)sprintf(text, "{\"\":");
    memset(text + n, '[', 128);
    text[n + 128] = '\0';
    assert_refused(text, JSON_TOO_DEEP, 4 + 127);
}

TEST(canonical, one_top_level_member_can_be_left_out)
{
    const char *key = "idempotency_key";
    assert_string_equal(
        canonical_without(SPAN("{\"b\":1,\"idempotency\\u005fkey\":\"k\",\"a\":2}"), key),
        "{\"a\":2,\"b\":1}");
    assert_string_equal(canonical_without(SPAN("{\"idempotency_key\":\"k\"}"), key), "{}");
    assert_string_equal(canonical_without(SPAN("{\"a\":{\"idempotency_key\":\"k\"}}"), key),
                        "{\"a\":{\"idempotency_key\":\"k\"}}");
    assert_null(canonical_without(
        SPAN("{\"idempotency_key\":\"k\",\"a\":1,\"idempotency_key\":\"k\"}"), key));
    assert_int_equal(refusal.error, JSON_DUPLICATE);
    assert_int_equal(refusal.offset, 29);
    assert_null(canonical_without(SPAN("{\"idempotency_key\":01}"), key));
    assert_int_equal(refusal.error, JSON_BAD_COMMA);
}

TEST(canonical, the_maximum_of_the_output_is_a_limit)
{
    BUF(exact, 13);
    assert_int_equal(canonical_json(SPAN("{\"b\":1,\"a\":2}"), NULL, &exact, &refusal), OK);
    assert_span_equal(buf_span(&exact), "{\"a\":2,\"b\":1}");
    BUF(less, 12);
    assert_int_equal(canonical_json(SPAN("{\"b\":1,\"a\":2}"), NULL, &less, &refusal), E_LIMIT);
    assert_int_equal(less.n, 0);
}

/* ---- a generator: the same value written in two ways */

static uint64_t seed;
static unsigned dice(unsigned sides)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % sides;
}

static void blank(struct buf *out)
{
    if (dice(4) == 0)
        buf_add_byte(out, " \t\r\n"[dice(4)]);
}

static void write_name(unsigned number, bool escaped, struct buf *out)
{
    buf_printf(out, escaped ? "\"\\u%04x\":" : "\"%c\":", 'a' + number);
}

static void write_value(unsigned depth, uint64_t content, bool shuffle, struct buf *out);

static void write_container(unsigned depth, uint64_t content, bool shuffle, struct buf *out)
{
    bool is_object = content % 4 == 2 || depth == 4;
    unsigned count = (unsigned)(content / 4 % 5);
    unsigned turn = shuffle && is_object && count ? dice(count) : 0;
    buf_add_byte(out, is_object ? '{' : '[');
    for (unsigned i = 0; i < count; i++) {
        uint64_t number = (i + turn) % count;
        buf_add_text(out, i ? "," : "");
        if (is_object)
            write_name((unsigned)number, shuffle && dice(2), out);
        write_value(depth - 1, content * 31 / 5 + number * 7919 + depth, shuffle, out);
    }
    if (shuffle)
        blank(out);
    buf_add_byte(out, is_object ? '}' : ']');
}

/* A value; `shuffle` decides member order, white space and escapes, the rest is the same. */
static void write_value(unsigned depth, uint64_t content, bool shuffle, struct buf *out)
{
    static const char *const scalars[] = {"1", "1.0", "\"x\\ny\"", "null", "true", "\"\""};
    if (shuffle)
        blank(out);
    if (depth == 4 || (depth > 0 && content % 4 >= 2))
        write_container(depth, content, shuffle, out);
    else
        buf_add_text(out, scalars[content / 7 % COUNT_OF(scalars)]);
    if (shuffle)
        blank(out);
}

TEST(canonical, every_spelling_of_a_value_gives_the_form_that_gives_itself)
{
    for (uint64_t content = 1; content <= 3000; content++) {
        BUF(plain, 1u << 20);
        BUF(other, 1u << 20);
        BUF(form, 1u << 20);
        seed = content;
        write_value(4, content * 2654435761u, false, &plain);
        write_value(4, content * 2654435761u, true, &other);
        assert_int_equal(canonical_json(buf_span(&other), NULL, &form, &refusal), OK);
        assert_true(span_eq(buf_span(&form), buf_span(&plain)));
        buf_clear(&form);
        assert_int_equal(canonical_json(buf_span(&plain), NULL, &form, &refusal), OK);
        assert_true(span_eq(buf_span(&form), buf_span(&plain)));
    }
}

/* An object of so many members, in falling or rising order. */
static void write_members(unsigned count, bool falling, struct buf *out)
{
    for (unsigned i = 0; i < count; i++)
        buf_printf(out, "%c\"%06u\":0", i ? ',' : '{', falling ? count - 1 - i : i);
    buf_add_byte(out, '}');
}

TEST(canonical, an_object_of_as_many_members_as_there_may_be_is_sorted)
{
    const unsigned members = CANONICAL_VALUES_MAX - 1; /* the object is a value, too */
    BUF(text, 1u << 24);
    BUF(want, 1u << 24);
    BUF(form, 1u << 24);
    write_members(members, true, &text);
    write_members(members, false, &want);
    assert_int_equal(canonical_json(buf_span(&text), NULL, &form, &refusal), OK);
    assert_true(span_eq(buf_span(&form), buf_span(&want)));
}

TEST(canonical, one_value_more_is_refused_where_it_stands)
{
    BUF(text, 1u << 24);
    BUF(form, 1u << 24);
    write_members(CANONICAL_VALUES_MAX, true, &text);
    assert_int_equal(canonical_json(buf_span(&text), NULL, &form, &refusal), E_SYNTAX);
    assert_int_equal(refusal.error, JSON_TOO_MANY);
    assert_int_equal(refusal.offset, text.n - 2);
    assert_int_equal(form.n, 0);
}
