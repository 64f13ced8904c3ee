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
