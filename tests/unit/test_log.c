#include "test.h"

#include "io/log.h"

#include <sys/mman.h>
#include <unistd.h>

/* What was written, behind the time. */
static const char *written(int fd)
{
    static char text[LOG_LINE_BYTES_MAX + 1];
    ssize_t n = pread(fd, text, LOG_LINE_BYTES_MAX, 0);
    assert_true(n > 0);
    text[n] = '\0';
    (void)close(fd);
    const char *time_end = strchr(text, 'Z');
    assert_non_null(time_end);
    return time_end + 1;
}

static struct log log_of(enum log_format format, enum log_level level)
{
    int fd = memfd_create("log", 0);
    assert_true(fd >= 0);
    return (struct log){.fd = fd, .format = format, .level = level};
}

static void say(const struct log *log)
{
    struct log_line line;
    log_begin(&line, log, LOG_LEVEL_WARNING, "said");
    log_span(&line, "absent", SPAN_ABSENT);
    log_text(&line, "route", "/v1/chat/completions");
    log_text(&line, "model", "gpt-4o:2024-08-06");
    log_text(&line, "empty", "");
    log_text(&line, "odd", "a b=\"c\"\n\x7f\xc3\xbc");
    log_int(&line, "status", -200);
    log_bool(&line, "delivered", true);
    log_end(&line);
}

TEST(log, a_line_of_json_has_typed_values_and_leaves_out_what_is_absent)
{
    const struct log log = log_of(LOG_FORMAT_JSON, LOG_LEVEL_DEBUG);
    say(&log);
    assert_string_equal(written(log.fd),
                        "\",\"level\":\"warning\",\"event\":\"said\","
                        "\"route\":\"/v1/chat/completions\",\"model\":\"gpt-4o:2024-08-06\","
                        "\"empty\":\"\",\"odd\":\"a b=\\\"c\\\"\\n???\",\"status\":-200,"
                        "\"delivered\":true}\n");
}

TEST(log, a_line_of_text_quotes_only_what_needs_it)
{
    const struct log log = log_of(LOG_FORMAT_TEXT, LOG_LEVEL_DEBUG);
    say(&log);
    assert_string_equal(written(log.fd),
                        " warning said route=/v1/chat/completions model=gpt-4o:2024-08-06 "
                        "empty=\"\" odd=\"a b=\\\"c\\\"\\n???\" status=-200 delivered=true\n");
}

TEST(log, what_is_below_the_level_is_not_written)
{
    const struct log log = log_of(LOG_FORMAT_TEXT, LOG_LEVEL_ERROR);
    char byte;
    say(&log);
    assert_int_equal(pread(log.fd, &byte, 1, 0), 0);
    (void)close(log.fd);
}

TEST(log, a_value_that_does_not_fit_is_left_out_and_the_line_stays_whole)
{
    const struct log log = log_of(LOG_FORMAT_TEXT, LOG_LEVEL_DEBUG);
    static char big[LOG_LINE_BYTES_MAX / 2];
    struct log_line line;
    memset(big, 'x', sizeof big);
    log_begin(&line, &log, LOG_LEVEL_INFO, "said");
    log_span(&line, "one", (struct span){big, sizeof big});
    log_span(&line, "two", (struct span){big, sizeof big});
    log_int(&line, "status", 200);
    log_end(&line);
    const char *text = written(log.fd);
    assert_memory_equal(text, " info said one=xxx", 18);
    assert_string_equal(text + strlen(" info said one=") + sizeof big, " status=200\n");
}
