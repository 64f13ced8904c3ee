#include "test.h"
#include "core/utf8.h"

static void assert_repaired(struct span text, struct span want)
{
    BUF(out, 256);
    utf8_repair(text, &out);
    assert_int_equal(buf_rc(&out), OK);
    assert_int_equal(out.n, want.n);
    assert_memory_equal(buf_span(&out).p, want.p, want.n);
    assert_int_equal(utf8_is_valid(text), span_eq(text, want));
}

TEST(utf8, valid_text_of_all_lengths_stays_as_it_is)
{
    assert_repaired(SPAN(""), SPAN(""));
    assert_repaired(SPAN("plain ascii of more than eight bytes"),
                    SPAN("plain ascii of more than eight bytes"));
    assert_repaired(
        SPAN("\xC2\x80 \xE0\xA0\x80 \xED\x9F\xBF \xF0\x90\x80\x80 \xF4\x8F\xBF\xBF"),
        SPAN("\xC2\x80 \xE0\xA0\x80 \xED\x9F\xBF \xF0\x90\x80\x80 \xF4\x8F\xBF\xBF"));
}

TEST(utf8, each_bad_piece_becomes_one_replacement_character)
{
    assert_repaired(SPAN("caf\xE9 ok"), SPAN("caf\xEF\xBF\xBD ok"));
    assert_repaired(SPAN("\x80"), SPAN("\xEF\xBF\xBD"));
    assert_repaired(SPAN("a\xE2\x82"), SPAN("a\xEF\xBF\xBD"));
    assert_repaired(SPAN("\xF0\x9F\x98X"), SPAN("\xEF\xBF\xBDX"));
    assert_repaired(SPAN("\xFF\xFE"), SPAN("\xEF\xBF\xBD\xEF\xBF\xBD"));
}

TEST(utf8, overlong_forms_surrogates_and_too_large_points_are_bad)
{
    assert_repaired(SPAN("\xC0\xAF"), SPAN("\xEF\xBF\xBD\xEF\xBF\xBD"));
    assert_repaired(SPAN("\xE0\x9F\xBF"), SPAN("\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"));
    assert_repaired(SPAN("\xED\xA0\x80"), SPAN("\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"));
    assert_repaired(SPAN("\xF4\x90"), SPAN("\xEF\xBF\xBD\xEF\xBF\xBD"));
}
