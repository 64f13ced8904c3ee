/* Log lines, as they arrive at the other end of a pipe. */
#include "io/log.h"
#include "test.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const enum log_format formats[] = {LOG_FORMAT_JSON, LOG_FORMAT_TEXT};
static int ends[2];

static struct log open_log(enum log_format format)
{
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    return (struct log){.fd = ends[1], .level = LOG_LEVEL_INFO, .format = format};
}

/* All that was written, behind the time; closes the log. */
static const char *written(void)
{
    static char text[2 * LOG_LINE_BYTES_MAX];
    ssize_t n = read(ends[0], text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    (void)close(ends[0]);
    (void)close(ends[1]);
    const char *time = strstr(text, "Z");
    return time ? time + 1 : text;
}

/* The line of one value. */
static const char *line_of(enum log_format format, struct span value)
{
    const struct log log = open_log(format);
    struct log_line line;
    log_begin(&line, &log, LOG_LEVEL_INFO, "event");
    log_span(&line, "value", value);
    log_int(&line, "number", -7);
    log_end(&line);
    return written();
}

TEST(log, a_line_is_json_or_text)
{
    assert_string_equal(
        line_of(LOG_FORMAT_JSON, SPAN("a \"b\"")),
        "\",\"level\":\"info\",\"event\":\"event\",\"value\":\"a \\\"b\\\"\",\"number\":-7}\n");
    assert_string_equal(line_of(LOG_FORMAT_TEXT, SPAN("a \"b\"")),
                        " info event value=\"a \\\"b\\\"\" number=-7\n");
}

TEST(log, text_quotes_only_what_needs_it)
{
    assert_string_equal(line_of(LOG_FORMAT_TEXT, SPAN("gpt-4o:2024_08.06/x+y@z")),
                        " info event value=gpt-4o:2024_08.06/x+y@z number=-7\n");
    assert_string_equal(line_of(LOG_FORMAT_TEXT, (struct span){"a\0b", 3}),
                        " info event value=\"a\\u0000b\" number=-7\n");
    assert_string_equal(line_of(LOG_FORMAT_TEXT, SPAN("a=b")),
                        " info event value=\"a=b\" number=-7\n");
}

TEST(log, an_absent_value_is_left_out)
{
    assert_string_equal(line_of(LOG_FORMAT_TEXT, SPAN_ABSENT), " info event number=-7\n");
    assert_string_equal(line_of(LOG_FORMAT_TEXT, SPAN("")),
                        " info event value=\"\" number=-7\n");
}

TEST(log, what_is_below_the_level_is_not_written)
{
    const struct log log = open_log(LOG_FORMAT_JSON);
    log_message(&log, LOG_LEVEL_DEBUG, "event", SPAN("text"));
    assert_string_equal(written(), "");
}

TEST(log, no_byte_of_a_value_ends_a_line_or_speaks_to_a_terminal)
{
    for (size_t f = 0; f < COUNT_OF(formats); f++) {
        for (int byte = 0; byte < 256; byte++) {
            char value[] = {'a', (char)byte, 'b'};
            const char *line = line_of(formats[f], (struct span){value, sizeof value});
            size_t n = strlen(line);
            assert_int_equal(line[n - 1], '\n');
            for (size_t i = 0; i < n - 1; i++)
                assert_in_range((unsigned char)line[i], 0x20, 0x7e);
            assert_non_null(strstr(line, byte < 0x20 || byte == '"' || byte == '\\' ? "a\\"
                                         : byte < 0x7f ? (char[]){'a', (char)byte, 'b', '\0'}
                                                       : "a?b"));
        }
    }
}

/* ---- limits */

static char many[LOG_LINE_BYTES_MAX];

static struct span bytes(size_t n)
{
    memset(many, ' ', sizeof many); /* what text has to quote */
    return (struct span){many, n};
}

TEST(log, a_value_is_cut_at_its_maximum)
{
    size_t rest = strlen(" info event value=\"\" number=-7\n");
    assert_int_equal(strlen(line_of(LOG_FORMAT_TEXT, bytes(4095))), rest + 4095);
    assert_int_equal(strlen(line_of(LOG_FORMAT_TEXT, bytes(4096))), rest + 4096);
    assert_int_equal(strlen(line_of(LOG_FORMAT_TEXT, bytes(4097))), rest + 4096);
}

/* Two values, of which the second has room for its name and `n` bytes, and a number. */
static const char *line_with_second(size_t n)
{
    const struct log log = open_log(LOG_FORMAT_TEXT);
    struct log_line line;
    log_begin(&line, &log, LOG_LEVEL_INFO, "event");
    log_span(&line, "first", bytes(4096));
    log_span(&line, "second", bytes(n));
    log_int(&line, "number", -7);
    log_end(&line);
    return written();
}

TEST(log, a_value_that_the_line_has_no_room_for_is_left_out)
{
    size_t before = strlen("2026-01-01T00:00:00.000Z info event first=\"\"") + 4096;
    size_t room = 8192 - 1024 - before - strlen(" second=\"\"");
    assert_non_null(strstr(line_with_second(room), " \" second=\" "));
    assert_null(strstr(line_with_second(room + 1), "second"));
}

TEST(log, a_line_that_is_full_of_values_is_written_with_its_numbers)
{
    for (size_t n = 0; n <= 4096; n++) {
        const char *line = line_with_second(n);
        size_t length = strlen(line);
        assert_true(length > 8);
        assert_string_equal(line + length - strlen(" number=-7\n"), " number=-7\n");
    }
}

TEST(log, a_value_behind_numbers_does_not_make_a_full_line_longer)
{
    const struct log log = open_log(LOG_FORMAT_TEXT);
    struct log_line line;
    log_begin(&line, &log, LOG_LEVEL_INFO, "event");
    log_span(&line, "first", bytes(4096));
    log_span(&line, "second", bytes(8192 - 1024 - 4096 - 80));
    for (int i = 0; i < 20; i++) {
        log_int(&line, "number", i);
        log_span(&line, "late", bytes(4096));
    }
    log_end(&line);
    const char *text = written();
    assert_true(strlen(text) < 8192);
    assert_non_null(strstr(text, " \" number=0 number=1 "));
    assert_non_null(strstr(text, " number=19\n"));
    assert_null(strstr(text, "late"));
}
