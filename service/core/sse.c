#include "core/sse.h"

#include <string.h>

void sse_init(struct sse *sse, size_t event_bytes_max)
{
    *sse = (struct sse){.event_bytes_max = event_bytes_max};
    buf_init(&sse->line, event_bytes_max + SSE_FIELD_BYTES_MAX);
    buf_init(&sse->joined, event_bytes_max);
}

void sse_done(struct sse *sse)
{
    buf_done(&sse->line);
    buf_done(&sse->joined);
}

void sse_feed(struct sse *sse, struct span bytes)
{
    ASSERT(sse->p == sse->end && !sse->ended);
    sse->p = bytes.p;
    sse->end = bytes.p + bytes.n;
    sse->lf = NULL;
}

void sse_end(struct sse *sse)
{
    ASSERT(sse->p == sse->end);
    sse->ended = true;
}

/* ---- fields of the event so far */

static void reuse(struct buf *buf)
{
    if (buf->capacity > SSE_IDLE_BYTES_MAX)
        buf_done(buf);
    buf_clear(buf);
}

/* The data so far, moved to where later bytes do not overwrite it. */
static void keep_data(struct sse *sse)
{
    if (!sse->has_data || sse->data.p == sse->joined.p)
        return;
    buf_clear(&sse->joined);
    buf_add(&sse->joined, sse->data);
    sse->data = buf_span(&sse->joined);
}

static void add_data(struct sse *sse, struct span value)
{
    if (value.n > sse->event_bytes_max) {
        sse->rc = E_LIMIT;
        return;
    }
    if (!sse->has_data) {
        sse->has_data = true;
        sse->data = value;
        return;
    }
    keep_data(sse);
    buf_add_byte(&sse->joined, '\n');
    buf_add(&sse->joined, value);
    sse->data = buf_span(&sse->joined);
    sse->rc = buf_rc(&sse->joined);
}

static void set_name(struct sse *sse, struct span value)
{
    sse->name_bytes = value.n < SSE_NAME_BYTES_MAX ? value.n : SSE_NAME_BYTES_MAX;
    if (sse->name_bytes)
        memcpy(sse->name, value.p, sse->name_bytes);
}

static void read_field(struct sse *sse, struct span line)
{
    if (!sse->begun && span_starts(line, "\xEF\xBB\xBF"))
        line = span_from(line, 3);
    sse->begun = true;
    struct span value = line, field = span_cut(&value, ':');
    if (!value.p)
        value = span_from(line, line.n);
    if (value.n && value.p[0] == ' ')
        value = span_from(value, 1);
    if (span_is(field, "data")) {
        add_data(sse, value);
    } else if (span_is(field, "event")) {
        set_name(sse, value);
    } else if (span_is(field, "error")) {
        set_name(sse, SPAN("error"));
        add_data(sse, value);
    }
}

/* ---- lines */

/* The next complete line, without its end.  False: only a part of a line is left. */
static bool next_line(struct sse *sse, struct span *ret)
{
    if (sse->skip_lf && sse->p < sse->end) {
        sse->p += *sse->p == '\n';
        sse->skip_lf = false;
    }
    if (sse->p == sse->end)
        return false;
    /* Both searches pass each byte once, also when all lines end in CR. */
    if (!sse->lf || sse->lf < sse->p) {
        sse->lf = memchr(sse->p, '\n', (size_t)(sse->end - sse->p));
        sse->lf = sse->lf ? sse->lf : sse->end;
    }
    const char *cr = memchr(sse->p, '\r', (size_t)(sse->lf - sse->p));
    const char *stop = cr ? cr : sse->lf;
    if (stop == sse->end)
        return false;
    struct span line = {sse->p, (size_t)(stop - sse->p)};
    sse->p = stop + 1;
    sse->skip_lf = cr != NULL;
    if (sse->line.n) {
        buf_add(&sse->line, line);
        sse->rc = buf_rc(&sse->line);
        line = buf_span(&sse->line);
        buf_clear(&sse->line); /* the bytes stay until the next partial line is kept */
    }
    if (line.n > sse->event_bytes_max + SSE_FIELD_BYTES_MAX)
        sse->rc = E_LIMIT;
    *ret = line;
    return true;
}

/* The bytes fed will go away: keep what is needed of them. */
static void keep_rest(struct sse *sse)
{
    keep_data(sse);
    if (sse->line.n == 0)
        reuse(&sse->line);
    if (!sse->has_data)
        reuse(&sse->joined);
    if (sse->p < sse->end)
        buf_add(&sse->line, (struct span){sse->p, (size_t)(sse->end - sse->p)});
    sse->p = sse->end;
    if (sse->rc == OK)
        sse->rc = buf_rc(&sse->joined) != OK ? buf_rc(&sse->joined) : buf_rc(&sse->line);
}

static void take_event(struct sse *sse, struct sse_event *ret)
{
    ret->name = sse->name_bytes ? (struct span){sse->name, sse->name_bytes} : SPAN("message");
    ret->data = sse->data;
    ret->unterminated = sse->ended;
    sse->has_data = false;
    sse->name_bytes = 0;
}

enum sse_step sse_next(struct sse *sse, struct sse_event *ret)
{
    struct span line;
    while (sse->rc == OK && next_line(sse, &line)) {
        if (sse->rc != OK)
            return SSE_FAILED;
        if (line.n) {
            read_field(sse, line);
        } else if (sse->has_data) {
            take_event(sse, ret);
            return SSE_EVENT;
        } else {
            sse->begun = true;
            sse->name_bytes = 0;
        }
    }
    if (sse->rc == OK)
        keep_rest(sse);
    if (sse->rc == OK && sse->ended && sse->line.n) {
        read_field(sse, buf_span(&sse->line));
        buf_clear(&sse->line);
    }
    if (sse->rc != OK)
        return SSE_FAILED;
    if (!sse->ended || !sse->has_data)
        return SSE_MORE;
    take_event(sse, ret);
    return SSE_EVENT;
}
