/* Server-sent events, as the WHATWG HTML standard frames them (section 9.2.6), from bytes that
 * are cut anywhere.
 *
 *     sse_feed(&sse, bytes);
 *     while (sse_next(&sse, &event) == SSE_EVENT) ... event.name, event.data
 *
 * Lines end in LF, CRLF or CR; a byte order mark at the start, comments, `id`, `retry` and
 * unknown fields are passed over; several `data` lines are joined with LF.  Beyond the
 * standard:
 *   - an `error: text` line, which old llama.cpp servers write, reads as `event: error` with
 *     `data: text`;
 *   - the last event may lack its blank line: it is handed out, marked, after sse_end.
 *
 * Events that lie whole in the fed bytes are not copied.  What is handed out does not depend on
 * how the bytes were cut.  Bytes are not looked at as text: they may be any.
 *
 * Limits: the data of an event has at most event_bytes_max bytes, a line SSE_FIELD_BYTES_MAX
 * more; an event name is kept up to SSE_NAME_BYTES_MAX bytes.  Thread: any, one owner. */
#ifndef CORE_SSE_H
#define CORE_SSE_H

#include "base/buf.h"
#include "base/rc.h"
#include "base/span.h"

enum {
    SSE_NAME_BYTES_MAX = 64,
    SSE_FIELD_BYTES_MAX = 16,  /* a byte order mark, the field name, colon and blank */
    SSE_IDLE_BYTES_MAX = 16384 /* buffers that grew beyond this are given back between lines */
};

enum sse_step {
    SSE_MORE,  /* the fed bytes are used up: feed more */
    SSE_EVENT, /* *ret is an event */
    SSE_FAILED /* sse.rc tells why: E_LIMIT or E_NOMEM; it stays so */
};

struct sse_event {
    struct span name;  /* "message" when the stream gave none */
    struct span data;  /* may be empty */
    bool unterminated; /* the stream ended within this event: it may be cut */
};

struct sse {
    size_t event_bytes_max;
    enum rc rc;
    /* the bytes being read, and the first LF at or after p in them (end: none; NULL: unknown)
     */
    const char *p, *end, *lf;
    bool begun;   /* the first line is complete */
    bool skip_lf; /* a CR ended the bytes fed last: an LF now belongs to it */
    bool ended;
    struct buf line;   /* the start of a line whose end has not come */
    struct buf joined; /* data of an event that did not lie in one piece */
    /* the event so far */
    bool has_data;
    struct span data; /* in the fed bytes, in `line` or in `joined` */
    size_t name_bytes;
    char name[SSE_NAME_BYTES_MAX];
};

/* Takes no memory yet. */
void sse_init(struct sse *sse, size_t event_bytes_max);
void sse_done(struct sse *sse);
/* The bytes must stay where they are until sse_next says SSE_MORE, which must have been said of
 * the bytes before them. */
void sse_feed(struct sse *sse, struct span bytes);
/* No more bytes will come. */
void sse_end(struct sse *sse);
/* *ret is valid until the next call. */
MUST_CHECK enum sse_step sse_next(struct sse *sse, struct sse_event *ret);

#endif
