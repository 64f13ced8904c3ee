#include "core/json.h"
#include "test.h"

/* Under clang's UBSan, which refuses arithmetic on NULL. */
TEST(json, an_absent_text_reads_like_an_empty_one)
{
    struct json json;
    json_init(&json, SPAN_ABSENT, JSON_STRICT);
    assert_int_equal(json_peek(&json), JSON_NONE);
    assert_int_equal(json.error, JSON_EOF);
    assert_int_equal(json_offset(&json), 0);
    assert_null(json_get(SPAN_ABSENT, "a").p);
}

TEST(json, a_member_is_found_behind_white_space)
{
    assert_span_equal(json_get(SPAN("\r\n\t {\"b\":1,\"a\":2,\"a\":3} "), "a"), "2");
    assert_null(json_get(SPAN(" [{\"a\":1}]"), "a").p);
    assert_null(json_get(SPAN(" "), "a").p);
}
