#include "core/prefer.h"
#include "test.h"

static struct prefer read_lines(const char *first, const char *second)
{
    const struct header lines[] = {{SPAN("Accept"), SPAN("wait=1, respond-async")},
                                   {SPAN("Prefer"), span_of(first)},
                                   {SPAN("X-Prefer"), SPAN("wait=2, respond-async")},
                                   {SPAN("pREFER"), span_of(second)}};
    const struct headers headers = {lines, COUNT_OF(lines) - (second == NULL)};
    return prefer_read(&headers);
}

enum { NO_WAIT = -1 };

/* The wait that a Prefer line says. */
static int wait_of(const char *line)
{
    struct prefer prefer = read_lines(line, NULL);
    return prefer.has_wait ? (int)prefer.wait_s : NO_WAIT;
}

static bool is_async(const char *line)
{
    return read_lines(line, NULL).respond_async;
}

TEST(prefer, without_a_line_nothing_is_preferred)
{
    const struct headers none = {NULL, 0};
    struct prefer prefer = prefer_read(&none);
    assert_false(prefer.respond_async);
    assert_false(prefer.has_wait);
    assert_int_equal(wait_of(""), NO_WAIT);
    assert_false(is_async(""));
}

TEST(prefer, both_may_stand_in_one_line_or_in_two)
{
    struct prefer one = read_lines("respond-async, wait=10", NULL);
    assert_true(one.respond_async);
    assert_true(one.has_wait);
    assert_int_equal(one.wait_s, 10);
    struct prefer two = read_lines("wait=11", "respond-async");
    assert_true(two.respond_async);
    assert_true(two.has_wait);
    assert_int_equal(two.wait_s, 11);
}

TEST(prefer, names_compare_without_case_and_whole)
{
    assert_true(is_async("Respond-ASYNC"));
    assert_int_equal(wait_of("WAIT=3"), 3);
    assert_false(is_async("respond-asyncs"));
    assert_false(is_async("respond-asyn"));
    assert_false(is_async("respond async"));
    assert_int_equal(wait_of("waits=3"), NO_WAIT);
    assert_int_equal(wait_of("wai=3"), NO_WAIT);
    assert_int_equal(wait_of("\"wait\"=3"), NO_WAIT);
}

TEST(prefer, what_is_unknown_or_empty_is_passed_over)
{
    assert_int_equal(wait_of("return=minimal, , handling=lenient;a=b,\twait=4 ,"), 4);
    assert_true(is_async(",,return=minimal,respond-async"));
    assert_int_equal(wait_of("=5, ;, wait=6"), 6);
}

TEST(prefer, respond_async_may_have_a_value_and_parameters)
{
    assert_true(is_async("respond-async=0"));
    assert_true(is_async("respond-async; a; b=c"));
    assert_true(is_async("respond-async =\"\" ;a"));
}

TEST(prefer, parameters_of_a_wait_are_ignored)
{
    assert_int_equal(wait_of("wait=7;wait=8;a=\"b;c\""), 7);
    assert_int_equal(wait_of("wait=7 ; "), 7);
    assert_int_equal(wait_of("a;wait=8"), NO_WAIT);
}

TEST(prefer, a_string_hides_what_would_cut)
{
    assert_int_equal(wait_of("a=\"b, wait=1\", wait=2"), 2);
    assert_int_equal(wait_of("a=\"b\\\", wait=1\", wait=2"), 2);
    assert_int_equal(wait_of("a=\"b\\\\\", wait=1"), 1);
    assert_int_equal(wait_of("a;b=\", wait=1;\", wait=2"), 2);
    assert_false(is_async("a=\", respond-async,\""));
}

TEST(prefer, a_backslash_outside_of_a_string_escapes_nothing)
{
    assert_int_equal(wait_of("a=\\, wait=1"), 1);
    assert_int_equal(wait_of("a=\\\", wait=1\", wait=2"), 2);
}

TEST(prefer, a_string_without_its_end_takes_the_rest_of_its_line_only)
{
    struct prefer prefer = read_lines("a=\"b, wait=1", "wait=2");
    assert_true(prefer.has_wait);
    assert_int_equal(prefer.wait_s, 2);
    assert_int_equal(wait_of("wait=3, a=\"b\\"), 3);
}

TEST(prefer, blanks_around_the_equals_sign_are_tolerated)
{
    assert_int_equal(wait_of("wait \t= \t 9"), 9);
    assert_int_equal(wait_of(" wait = \"9\" ; a"), 9);
}

TEST(prefer, a_wait_may_be_a_string_with_escapes)
{
    assert_int_equal(wait_of("wait=\"10\""), 10);
    assert_int_equal(wait_of("wait=\"\\1\\0\""), 10);
}

TEST(prefer, a_wait_that_is_no_number_is_none)
{
    static const char *const wrong[] = {
        "wait",         "wait=",        "wait=\"\"",    "wait=-1",       "wait=+1",
        "wait=1.5",     "wait=1s",      "wait=0x1",     "wait=1 2",      "wait=\" 1\"",
        "wait=\"1",     "wait=\"",      "wait=\"1\\\"", "wait=1\"",      "wait=\"1\"2",
        "wait=\"1\"\"", "wait=\\1",     "wait==1",      "wait=:",        "wait=/",
        "wait;a=1",     "wait=;a",      "wait=\"1\\",   "wait=\"\\a\"",  "wait=\xC2\xB2",
        "wait=\"\\",    "wait=\"1\" 2", "wait='1'",     "wait=\"1\"\\1",
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        struct prefer prefer = read_lines(wrong[i], NULL);
        if (prefer.has_wait)
            fail_msg("%s: %u", wrong[i], prefer.wait_s);
    }
}

TEST(prefer, no_time_is_a_wait)
{
    assert_int_equal(wait_of("wait=0"), 0);
    assert_int_equal(wait_of("wait=000"), 0);
}

TEST(prefer, the_longest_wait_is_a_day)
{
    assert_int_equal(wait_of("wait=86399"), 86399);
    assert_int_equal(wait_of("wait=86400"), 86400);
    assert_int_equal(wait_of("wait=86401"), 86400);
    assert_int_equal(wait_of("wait=4294967296"), 86400);
    assert_int_equal(wait_of("wait=18446744073709551617"), 86400);
    assert_int_equal(wait_of("wait=99999999999999999999999999999999999999"), 86400);
    assert_int_equal(wait_of("wait=00000000000000000000000000000000000012"), 12);
}

TEST(prefer, the_first_wait_counts_even_when_it_is_malformed)
{
    assert_int_equal(wait_of("wait=1, wait=2"), 1);
    assert_int_equal(wait_of("wait=soon, wait=2"), NO_WAIT);
    assert_false(read_lines("wait", "wait=2").has_wait);
    assert_int_equal(read_lines("wait=1", "wait=2").wait_s, 1);
}
