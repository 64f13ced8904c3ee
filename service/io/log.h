/* Structured logs on standard error: one line per event, JSON or text.
 *
 *     struct log_line line;
 *     log_begin(&line, log, LOG_LEVEL_INFO, "request");
 *     log_span(&line, "route", path);
 *     log_int(&line, "status", 200);
 *     log_end(&line);
 *
 * In text, simple values stand without quotes.  Everything else is escaped, so that no value can
 * forge a line or speak to a terminal: a line is
 * printable ASCII, and of a value bytes beyond it become '?'.  Never log bodies, credentials,
 * keys or result tokens.
 *
 * A line has at most LOG_LINE_BYTES_MAX bytes.  A value is cut at LOG_VALUE_BYTES_MAX, and left
 * out where the line has no room for it; LOG_RESERVE_BYTES are kept for numbers, so that no
 * caller can make its line too long to be written.  A line is written by one write(2); what
 * cannot be written is lost, as there is nowhere to say so. Thread: the loop. */
#ifndef IO_LOG_H
#define IO_LOG_H

#include "base/buf.h"
#include "core/config.h"

enum { LOG_LINE_BYTES_MAX = 8192, LOG_VALUE_BYTES_MAX = 4096, LOG_RESERVE_BYTES = 1024 };

struct log {
    int fd;
    enum log_level level;
    enum log_format format;
};

struct log_line {
    const struct log *log; /* NULL: below the level, everything is ignored */
    struct buf text;
};

void log_begin(struct log_line *line, const struct log *log, enum log_level level,
               const char *event);
/* An absent span is left out. */
void log_span(struct log_line *line, const char *name, struct span value);
void log_text(struct log_line *line, const char *name, const char *value);
void log_int(struct log_line *line, const char *name, int64_t value);
void log_bool(struct log_line *line, const char *name, bool value);
void log_end(struct log_line *line);
/* A line with nothing but a message for humans. */
void log_message(const struct log *log, enum log_level level, const char *event,
                 struct span message);

#endif
