#include "io/log.h"

#include "core/json.h"

#include <ctype.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *level_name(enum log_level level)
{
    switch (level) {
    case LOG_LEVEL_DEBUG:
        return "debug";
    case LOG_LEVEL_INFO:
        return "info";
    case LOG_LEVEL_WARNING:
        return "warning";
    case LOG_LEVEL_ERROR:
        return "error";
    }
    return "error";
}

/* RFC 3339 in UTC with milliseconds. */
static void add_time(struct buf *text)
{
    struct timespec now;
    struct tm utc;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    buf_printf(text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", utc.tm_year + 1900, utc.tm_mon + 1,
               utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, (int)(now.tv_nsec / 1000000));
}

/* Quoted as a JSON string, which in the text format is unambiguous too. */
static void add_quoted(struct buf *text, struct span value)
{
    BUF(clean, LOG_VALUE_BYTES_MAX);
    for (size_t i = 0; i < value.n && i < LOG_VALUE_BYTES_MAX; i++) {
        unsigned char c = (unsigned char)value.p[i];
        buf_add_byte(&clean, c < 0x80 && c != 0x7F ? (char)c : '?');
    }
    json_quote(buf_span(&clean), text);
}

/* What the text format shows without quotes, to be read and searched for as it is. */
static bool is_plain(struct span value)
{
    static const char marks[] = {'-', '_', '.', ':', '/', '+', '@'};
    for (size_t i = 0; i < value.n; i++)
        if (!isalnum((unsigned char)value.p[i]) && !memchr(marks, value.p[i], sizeof marks))
            return false;
    return value.n > 0 && value.n <= LOG_VALUE_BYTES_MAX;
}

static void add_name(struct log_line *line, const char *name)
{
    if (line->log->format == LOG_FORMAT_JSON)
        buf_printf(&line->text, ",\"%s\":", name);
    else
        buf_printf(&line->text, " %s=", name);
}

void log_begin(struct log_line *line, const struct log *log, enum log_level level,
               const char *event)
{
    *line = (struct log_line){.log = level >= log->level ? log : NULL};
    if (!line->log)
        return;
    buf_init(&line->text, LOG_LINE_BYTES_MAX);
    if (log->format == LOG_FORMAT_JSON) {
        buf_add_text(&line->text, "{\"time\":\"");
        add_time(&line->text);
        buf_printf(&line->text, "\",\"level\":\"%s\",\"event\":\"%s\"", level_name(level),
                   event);
    } else {
        add_time(&line->text);
        buf_printf(&line->text, " %s %s", level_name(level), event);
    }
}

void log_span(struct log_line *line, const char *name, struct span value)
{
    const size_t room = LOG_LINE_BYTES_MAX - LOG_RESERVE_BYTES;
    size_t before = line->text.n;
    if (!line->log || !value.p || before > room)
        return;
    line->text.bytes_max = room;
    add_name(line, name);
    if (line->log->format == LOG_FORMAT_TEXT && is_plain(value))
        buf_add(&line->text, value);
    else
        add_quoted(&line->text, value);
    line->text.bytes_max = LOG_LINE_BYTES_MAX;
    if (buf_rc(&line->text) == E_LIMIT) { /* leave this value out, keep the line whole */
        line->text.rc = OK;
        line->text.n = before;
    }
}

void log_text(struct log_line *line, const char *name, const char *value)
{
    log_span(line, name, span_of(value));
}

void log_int(struct log_line *line, const char *name, int64_t value)
{
    if (!line->log)
        return;
    add_name(line, name);
    buf_printf(&line->text, "%lld", (long long)value);
}

void log_bool(struct log_line *line, const char *name, bool value)
{
    if (!line->log)
        return;
    add_name(line, name);
    buf_add_text(&line->text, value ? "true" : "false");
}

void log_end(struct log_line *line)
{
    if (!line->log)
        return;
    buf_add_text(&line->text, line->log->format == LOG_FORMAT_JSON ? "}\n" : "\n");
    if (buf_rc(&line->text) == OK) {
        ssize_t written = write(line->log->fd, line->text.p, line->text.n);
        (void)written; /* see the header: there is nowhere to say that logging failed */
    }
    buf_done(&line->text);
}

void log_message(const struct log *log, enum log_level level, const char *event,
                 struct span message)
{
    struct log_line line;
    log_begin(&line, log, level, event);
    log_span(&line, "message", message);
    log_end(&line);
}
