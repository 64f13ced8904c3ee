#include "test.h"

#include "base/rc.h"
#include "base/span.h"

TEST(span, one_of_several_texts_is_found_without_case)
{
    static const char *const texts[] = {"via", "Host"};
    assert_true(span_is_any_nocase(SPAN("VIA"), texts, COUNT_OF(texts)));
    assert_true(span_is_any_nocase(SPAN("host"), texts, COUNT_OF(texts)));
    assert_false(span_is_any_nocase(SPAN("hos"), texts, COUNT_OF(texts)));
    assert_false(span_is_any_nocase(SPAN("host"), texts, 1));
    assert_false(span_is_any_nocase(SPAN_ABSENT, texts, COUNT_OF(texts)));
}

TEST(span, visible_is_printable_ascii_without_blanks)
{
    assert_true(span_is_visible(SPAN("!az09~")));
    assert_true(span_is_visible(SPAN("")));
    assert_true(span_is_visible(SPAN_ABSENT));
    assert_false(span_is_visible(SPAN("a b")));
    assert_false(span_is_visible(SPAN("a\t")));
    assert_false(span_is_visible(SPAN("a\0")));
    assert_false(span_is_visible(SPAN("\x7F")));
    assert_false(span_is_visible(SPAN("\x80")));
}

/* Under clang's UBSan, which refuses arithmetic on NULL. */
TEST(span, an_absent_span_has_no_bytes_to_go_on_to)
{
    assert_null(span_from(SPAN_ABSENT, 0).p);
    assert_null(span_from(SPAN_ABSENT, 3).p);
    assert_int_equal(span_from(SPAN_ABSENT, 3).n, 0);
    assert_true(span_starts(SPAN_ABSENT, ""));
    assert_true(span_ends(SPAN_ABSENT, ""));
    assert_false(span_starts(SPAN_ABSENT, "a"));
    assert_non_null(span_from(SPAN("a"), 1).p);
    assert_non_null(span_from(SPAN("a"), 2).p);
}

TEST(span, hexadecimal_digits_of_either_case_are_bytes)
{
    uint8_t bytes[2] = {0};
    assert_true(span_hex_to_bytes(SPAN("09aF"), bytes, 2));
    assert_int_equal(bytes[0], 0x09);
    assert_int_equal(bytes[1], 0xAF);
    assert_true(span_hex_to_bytes(SPAN("fA90"), bytes, 2));
    assert_int_equal(bytes[0], 0xFA);
    assert_int_equal(bytes[1], 0x90);
}

TEST(span, what_is_not_all_hexadecimal_digits_leaves_the_bytes_untouched)
{
    static const struct span wrong[] = {SPAN("000"),  SPAN("00000"), SPAN("000g"),
                                        SPAN("00:0"), SPAN("@000"),  SPAN("0`00"),
                                        SPAN("0/00"), SPAN("000G"),  SPAN("")};
    uint8_t bytes[2] = {1, 2};
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        assert_false(span_hex_to_bytes(wrong[i], bytes, 2));
    assert_int_equal(bytes[0], 1);
    assert_int_equal(bytes[1], 2);
}
