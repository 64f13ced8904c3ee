#include "test.h"

#include "core/http_message.h"

TEST(http_message, a_header_name_is_a_token)
{
    static const struct span sound[] = {SPAN("a"), SPAN("X-Title"),
                                        SPAN("!#$%&'*+-.^_`|~09azAZ")};
    static const struct span wrong[] = {
        SPAN(""),      SPAN("a b"),      SPAN("a:"),  SPAN("a\tb"), SPAN("a\r"), SPAN("a\0b"),
        SPAN("a\x7F"), SPAN("\xC3\xA4"), SPAN("(a)"), SPAN("a/b"),  SPAN("{a}"), SPAN("a=b")};
    for (size_t i = 0; i < COUNT_OF(sound); i++)
        assert_true(header_name_is_sound(sound[i]));
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        assert_false(header_name_is_sound(wrong[i]));
}

TEST(http_message, a_header_value_has_no_control_character_but_tabs)
{
    static const struct span sound[] = {SPAN(""), SPAN(" a\tb~"), SPAN("\x80\xFF")};
    static const struct span wrong[] = {SPAN("a\r\nb: c"), SPAN("a\n"), SPAN("\x1F"),
                                        SPAN("a\0b"), SPAN("\x7F")};
    for (size_t i = 0; i < COUNT_OF(sound); i++)
        assert_true(header_value_is_sound(sound[i]));
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        assert_false(header_value_is_sound(wrong[i]));
}

TEST(http_message, the_first_line_of_a_name_is_found_without_case)
{
    static const struct header items[] = {
        {SPAN("A"), SPAN("1")}, {SPAN("b"), SPAN("2")}, {SPAN("a"), SPAN("3")}};
    const struct headers headers = {items, COUNT_OF(items)};
    assert_span_equal(header_get(&headers, "a"), "1");
    assert_span_equal(header_get(&headers, "B"), "2");
    assert_null(header_get(&headers, "c").p);
    assert_int_equal(header_count(&headers, "a"), 2);
    assert_int_equal(header_count(&headers, "c"), 0);
}
