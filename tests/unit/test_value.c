#include "core/value.h"
#include "test.h"

enum { LIMIT = 1 << 20 };

static void assert_writes(const struct value *value, const char *want)
{
    BUF(out, LIMIT);
    value_write(value, &out);
    assert_string_equal(buf_text(&out), want);
}

/* The value after all of `deltas` (ended by NULL) were merged into it by `rule`. */
static void assert_merges(enum value_rule rule, const char *const *deltas, const char *want)
{
    struct value_pool pool;
    value_pool_init(&pool, LIMIT);
    struct value *value = value_new(&pool);
    for (; *deltas; deltas++)
        value_merge(&pool, value, span_of(*deltas), rule);
    assert_int_equal(pool.rc, OK);
    assert_writes(value, want);
    value_pool_done(&pool);
}

#define MERGES(rule, want, ...)                                                                \
    assert_merges(rule, (const char *const[]){__VA_ARGS__, NULL}, want)

TEST(value, replace_takes_the_last_and_joins_objects)
{
    MERGES(VALUE_REPLACE, "2", "1", "2");
    MERGES(VALUE_REPLACE, "\"b\"", "\"a\"", "\"b\"");
    MERGES(VALUE_REPLACE, "[2]", "[1]", "[2]");
    MERGES(VALUE_REPLACE, "{\"a\":{\"x\":1,\"y\":2},\"b\":[3]}",
           "{\"a\": {\"x\":1}, \"b\":[1]}", "{\"b\":[3],\"a\":{\"y\":2}}");
    MERGES(VALUE_REPLACE, "1", "{\"a\":1}", "{\"b\":1}", "1");
    MERGES(VALUE_REPLACE, "{\"b\":1}", "1", "{\"b\":1}");
}

TEST(value, null_is_kept_only_until_there_is_something)
{
    MERGES(VALUE_REPLACE, "null", "null", "null");
    MERGES(VALUE_REPLACE, "1", "null", "1", "null");
    MERGES(VALUE_DELTA, "\"ab\"", "null", "\"a\"", "null", "\"b\"");
    MERGES(VALUE_EXTEND, "[1]", "null", "[1]", "null");
    MERGES(VALUE_DELTA, "{\"a\":null,\"b\":1}", "{\"a\":null}", "{\"b\":1,\"a\":null}");
}

TEST(value, extend_concatenates_arrays_and_replaces_strings)
{
    MERGES(VALUE_EXTEND, "{\"a\":[1,2],\"s\":\"y\"}", "{\"a\":[ 1 ],\"s\":\"x\"}",
           "{\"a\":[],\"s\":\"y\"}", "{\"a\":[2]}");
    MERGES(VALUE_EXTEND, "[1]", "[ ]", "[1]");
}

TEST(value, delta_appends_strings_still_escaped)
{
    MERGES(VALUE_DELTA, "\"a\\n\\ud83d\\ude00\"", "\"a\\n\\ud83d\"", "\"\\ude00\"");
    MERGES(VALUE_DELTA, "{\"t\":\"xx\",\"n\":2}", "{\"t\":\"x\",\"n\":1}",
           "{\"t\":\"x\",\"n\":2}");
    MERGES(VALUE_DELTA, "{\"t\":\"xx\"}", "{\"t\":\"x\"}", "{\"t\":\"x\"}");
}

TEST(value, labels_are_replaced_and_never_by_the_empty_string)
{
    MERGES(VALUE_DELTA, "{\"id\":\"b\",\"type\":\"t\"}", "{\"id\":\"a\",\"type\":\"t\"}",
           "{\"id\":\"b\",\"type\":\"\"}");
}

TEST(value, typed_parts_join_by_index_and_type)
{
    MERGES(
        VALUE_TYPED,
        "[{\"index\":0,\"type\":\"t\",\"s\":\"ac\"},{\"index\":1,\"type\":\"t\",\"s\":\"b\"},"
        "{\"index\":0,\"type\":\"u\",\"s\":\"d\"}]",
        "[{\"index\":0,\"type\":\"t\",\"s\":\"a\"},{\"index\":1,\"type\":\"t\",\"s\":\"b\"}]",
        "[{\"index\":0,\"type\":\"t\",\"s\":\"c\"}]",
        "[{\"index\":0,\"type\":\"u\",\"s\":\"d\"}]");
}

TEST(value, text_parts_join_with_the_last_part_of_their_type_only)
{
    MERGES(VALUE_TYPED,
           "[{\"type\":\"text\",\"text\":\"ab\"},1,{\"type\":\"x\"},{\"type\":\"x\"},"
           "{\"type\":\"text\",\"text\":\"c\"}]",
           "[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"},1]",
           "[{\"type\":\"x\"},{\"type\":\"x\"}]", "[{\"type\":\"text\",\"text\":\"c\"}]");
}

TEST(value, appending_and_pushing_go_on_from_a_raw_value)
{
    struct value_pool pool;
    value_pool_init(&pool, LIMIT);
    struct value *object = value_new(&pool);
    value_set(&pool, object, SPAN("{\"text\":\"a\",\"list\":[ 1 ],\"none\":null,\"n\":5}"));
    value_append(&pool, value_member(&pool, object, SPAN("text")), SPAN("b"));
    value_append(&pool, value_member(&pool, object, SPAN("none")), SPAN("c"));
    value_push(&pool, value_member(&pool, object, SPAN("list")), SPAN("2"));
    value_push(&pool, value_member(&pool, object, SPAN("new")), SPAN("{}"));
    value_append(&pool, value_member(&pool, object, SPAN("n")), SPAN(""));
    assert_writes(object,
                  "{\"text\":\"ab\",\"list\":[1,2],\"none\":\"c\",\"n\":\"\",\"new\":[{}]}");
    value_pool_done(&pool);
}

TEST(value, members_are_found_by_name_and_added_when_absent)
{
    struct value_pool pool;
    value_pool_init(&pool, LIMIT);
    struct value *object = value_new(&pool);
    struct value *a = value_member(&pool, object, SPAN("a"));
    struct value *b = value_member(&pool, object, SPAN("b"));
    assert_ptr_equal(value_member(&pool, object, SPAN("b")), b);
    assert_ptr_equal(value_member(&pool, object, SPAN("a")), a);
    assert_ptr_equal(value_find(object, "b"), b);
    assert_null(value_find(object, "c"));
    assert_null(value_find(a, "c"));
    assert_null(value_find(NULL, "c"));
    assert_writes(object, "{\"a\":null,\"b\":null}");
    assert_writes(NULL, "null");
    value_pool_done(&pool);
}

TEST(value, set_is_what_is_neither_absent_nor_null)
{
    struct value_pool pool;
    value_pool_init(&pool, LIMIT);
    struct value *value = value_new(&pool);
    assert_false(value_is_set(NULL));
    assert_false(value_is_set(value));
    value_set(&pool, value, SPAN("null"));
    assert_false(value_is_set(value));
    value_set(&pool, value, SPAN("0"));
    assert_true(value_is_set(value));
    assert_span_equal(value_raw(value), "0");
    value_append(&pool, value, SPAN(""));
    assert_true(value_is_set(value));
    assert_null(value_raw(value).p);
    value_pool_done(&pool);
}

TEST(value, a_pool_holds_bytes_max_of_text_and_names)
{
    struct value_pool pool;
    value_pool_init(&pool, 10);
    struct value *object = value_new(&pool);
    struct value *member = value_member(&pool, object, SPAN("name"));
    value_set(&pool, member, SPAN("123"));
    value_set(&pool, member, SPAN("123456"));
    assert_int_equal(pool.rc, OK);
    value_append(&pool, member, SPAN("123456"));
    assert_int_equal(pool.rc, OK);
    value_append(&pool, member, SPAN("7"));
    assert_int_equal(pool.rc, E_LIMIT);
    assert_null(value_new(&pool));
    value_set(&pool, member, SPAN("1"));
    assert_writes(member, "\"123456\"");
    value_pool_done(&pool);
}

TEST(value, a_pool_holds_values_max_values)
{
    struct value_pool pool;
    value_pool_init(&pool, LIMIT);
    for (int i = 0; i < VALUES_MAX; i++)
        assert_non_null(value_new(&pool));
    assert_null(value_new(&pool));
    assert_int_equal(pool.rc, E_LIMIT);
    value_pool_done(&pool);
}

static enum rc add_members(unsigned count)
{
    struct value_pool pool;
    value_pool_init(&pool, LIMIT);
    struct value *object = value_new(&pool);
    for (unsigned i = 0; i < count; i++) {
        BUF(name, 16);
        buf_printf(&name, "%u", i);
        (void)value_member(&pool, object, buf_span(&name));
    }
    enum rc rc = pool.rc;
    value_pool_done(&pool);
    return rc;
}

TEST(value, an_object_that_grows_has_value_items_max_members)
{
    assert_int_equal(add_members(VALUE_ITEMS_MAX), OK);
    assert_int_equal(add_members(VALUE_ITEMS_MAX + 1), E_LIMIT);
}
