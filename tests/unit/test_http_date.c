#include "test.h"

#include "core/http_date.h"

TEST(http_date, an_imf_fixdate_is_seconds_since_1970)
{
    int64_t unix_s = -1;
    assert_true(http_date_parse(SPAN("Sun, 06 Nov 1994 08:49:37 GMT"), &unix_s));
    assert_int_equal(unix_s, 784111777);
    assert_true(http_date_parse(SPAN("Thu, 01 Jan 1970 00:00:00 GMT"), &unix_s));
    assert_int_equal(unix_s, 0);
}

TEST(http_date, what_is_printed_is_what_was_read)
{
    static const char *const dates[] = {
        "Thu, 01 Jan 1970 00:00:00 GMT", "Sun, 06 Nov 1994 08:49:37 GMT",
        "Tue, 31 Dec 1996 23:59:59 GMT", "Tue, 29 Feb 2000 12:00:00 GMT",
        "Thu, 29 Feb 2024 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT",
    };
    for (size_t i = 0; i < COUNT_OF(dates); i++) {
        int64_t unix_s = -1;
        assert_true(http_date_parse(span_of(dates[i]), &unix_s));
        BUF(text, 64);
        http_date_print(unix_s, &text);
        assert_string_equal(buf_text(&text), dates[i]);
    }
}

TEST(http_date, leap_days_count)
{
    int64_t unix_s = -1;
    assert_true(http_date_parse(SPAN("Thu, 29 Feb 2024 00:00:00 GMT"), &unix_s));
    assert_int_equal(unix_s, 1709164800);
    assert_true(http_date_parse(SPAN("Fri, 01 Mar 2024 00:00:00 GMT"), &unix_s));
    assert_int_equal(unix_s, 1709251200);
}

TEST(http_date, anything_else_is_refused_and_changes_nothing)
{
    static const char *const bad[] = {
        "",
        "120",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nop 1994 08:49:37 GMT",
        "Sun, 32 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMTx",
        "Sun, 06 Nov 1994 08-49-37 GMT",
        "Sun, 06 Nov 19x4 08:49:37 GMT",
    };
    int64_t unix_s = 42;
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        if (http_date_parse(span_of(bad[i]), &unix_s))
            fail_msg("accepted: %s", bad[i]);
    assert_int_equal(unix_s, 42);
}
