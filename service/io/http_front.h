/* The HTTP front: libmicrohttpd on external epoll inside our own loop, so that a waiting client
 * costs a suspended connection and no thread.
 *
 * The front owns connections, framing and deadlines.  It hands over requests whose head, and
 * later whose body, is complete and within limits, and takes replies at any later time.  It
 * knows nothing of routes beyond what its handler tells it.  Several fronts (clients,
 * operators) share one loop.  Thread: the loop; no callback runs from inside a function of this
 * header.
 *
 * The life of a request.  on_head, or on_problem when the head is refused.  Then on_request
 * when the body is whole, or on_problem, unless there is a reply already.  Then perhaps
 * on_left. Last on_end, exactly once; after it the pointer must not be used.  A reply is due
 * once, at any time between the first call and on_end; one that comes when nothing can be
 * delivered any more is dropped.  Requests of one connection follow each other: the head of the
 * next comes after the reply of the one before was written, which may be before its on_end.
 *
 * Bodies.  A body that will not be used (too large, or replied to in on_head) is read away up
 * to 1 MiB, so that its sender gets to read the reply.  Beyond that, and when it comes too
 * slowly, the reply is sent at once and the connection closed, whatever the client makes of
 * that; such a reply must be given inside on_problem and never counts as delivered.  Framing
 * problems and refusals of a client that sent `Expect: 100-continue` are answered at once and
 * close.
 *
 * Delivered means that the client had not closed its side when its whole reply was given, and that
 * its machine acknowledged the last byte and sent no reset.  What is not yet acknowledged when
 * the reply was written is looked at again for as long as the reply's deadline lasts, so on_end
 * may come some milliseconds after the client has its answer.
 *
 * What is below us.  Some requests libmicrohttpd refuses by itself, with a page of HTML or by
 * closing: request lines and header lines it cannot parse, HTTP/0.9 and HTTP/2 (505), a
 * Content-Length that is no number (also one followed by a blank), malformed chunks, heads that
 * do not fit its memory of header_bytes_max + 8 KiB with all their records
 * (431 or 414; 140 headers of 110 bytes fit by default).  A line of a chunked body that does not
 * fit it is not refused at all: such a request ends with its deadline.  Within chunked bodies a
 * bare CR or LF ends a line.  NULs, continuation lines (obs-fold) and bare LFs in heads are seen
 * by a look at the parser's memory, which holds for libmicrohttpd 0.9.75 only; with another
 * version that check is off.
 */
#ifndef IO_HTTP_FRONT_H
#define IO_HTTP_FRONT_H

#include "base/arena.h"
#include "base/blob.h"
#include "core/http_message.h"
#include "io/event_loop.h"

struct http_front;
struct http_request;

/* What the front itself finds wrong with a request.  X(enum, status, text) */
#define FRONT_PROBLEM_TABLE(X)                                                                 \
    X(FRONT_BAD_FRAMING, 400, "the request's framing is ambiguous or malformed")               \
    X(FRONT_BAD_HEADER, 400, "a header is malformed or stands twice")                          \
    X(FRONT_NO_HOST, 400, "HTTP/1.1 requires a Host header")                                   \
    X(FRONT_BAD_TRANSFER_ENCODING, 501, "no Transfer-Encoding but chunked is understood")      \
    X(FRONT_BAD_EXPECT, 417, "no Expect but 100-continue is understood")                       \
    X(FRONT_BODY_TOO_LARGE, 413, "the body is over the limit")                                 \
    X(FRONT_HEAD_TOO_LARGE, 431, "the request's head is over the limit")                       \
    X(FRONT_TOO_SLOW, 408, "the request did not arrive in time")                               \
    X(FRONT_NO_MEMORY, 503, "out of memory")

enum front_problem {
#define X(name, status, text) name,
    FRONT_PROBLEM_TABLE(X)
#undef X
};

int front_problem_status(enum front_problem problem);
const char *front_problem_text(enum front_problem problem);

struct http_handler {
    /* The head is complete and well framed.  Either reply now (the reply goes out when the body
     * was read away), or return and get on_request when the whole body is there. */
    void (*on_head)(void *context, struct http_request *request);
    void (*on_request)(void *context, struct http_request *request);
    /* The front refuses this request: reply with this problem, in whatever shape suits. */
    void (*on_problem)(void *context, struct http_request *request, enum front_problem problem);
    /* The client closed its side or the connection broke while its reply was pending.
     * broken: nothing can be delivered any more, on_end follows by itself.  Else it may be a
     * half-close: a reply is still written, but never counts as delivered.  At most one call of
     * each kind. */
    void (*on_left)(void *context, struct http_request *request, bool broken);
    /* The request is over and its pointer becomes invalid.  delivered: the last byte of the
     * reply left this machine and the client had not gone.  Comes exactly once for every
     * request that got on_head or on_problem, with or without a reply. */
    void (*on_end)(void *context, struct http_request *request, bool delivered);
    void *context;
};

struct http_front_params {
    struct event_loop *loop;
    const struct span *listen; /* "127.0.0.1:8080", "[::1]:8080", "unix:/path" */
    size_t listen_count;
    /* Addresses that this machine has not (::1 where IPv6 is off) are left out, if there are
     * others. */
    bool may_leave_out;
    /* NULL, or listen_count sockets that listen already, in place of `listen`: non-blocking,
     * still the caller's, who closes them after the front; a file of theirs stays. */
    const int *sockets;
    struct http_handler handler;
    unsigned connections_max; /* further ones wait in the backlog, or are closed when there are
                                 several addresses */
    size_t header_bytes_max, body_bytes_max;
    int64_t keepalive_ms;       /* idle connections are closed after this */
    int64_t request_timeout_ms; /* first byte of a request to the end of its head; bodies get
                                   this plus body_bytes / request_bytes_per_s_min */
    /* A reply has request_timeout_ms plus its bytes / reply_bytes_per_s_min, from when all of
     * it was given. */
    uint64_t request_bytes_per_s_min, reply_bytes_per_s_min;
    /* A connection's idle keep-alive is never cut by request_timeout_ms. */
};

/* Bind and listen on all addresses, or on none: E_NOT_FOUND (one that this machine has not), E_IO
 * (another reason), E_INVALID (an address that cannot be read), E_NOMEM.  The reason, with the
 * address and the remedy, is appended to `problem`; with OK, a line for each that was left out. */
MUST_CHECK enum rc http_front_new(const struct http_front_params *params, struct buf *problem,
                                  struct http_front **ret);
/* Every pending request should have been replied to (else: an empty 503, or the cut of a reply
 * that began); connections are closed, on_end comes from inside this call only. */
void http_front_free(struct http_front *front);
OWNED_DEFINE(http_front)
/* From now on body_bytes_max, keepalive_ms, request_timeout_ms and the two bytes_per_s_min are
 * those of `params`; the rest of it is not looked at.  What a request or a connection has begun
 * with may hold until its next step. */
void http_front_adjust(struct http_front *front, const struct http_front_params *params);
/* The addresses bound, with real ports where 0 was asked for, "127.0.0.1:43121" a line each. */
void http_front_addresses(const struct http_front *front, struct buf *out);
/* From now on every reply carries `Connection: close` (draining). */
void http_front_close_after_reply(struct http_front *front);
/* Stop accepting connections (the last step of a drain).  Those that wait at a socket that was
 * inherited stay there; at one of ours they are refused. */
void http_front_quiesce(struct http_front *front);
/* After http_front_quiesce: nobody who got in is waiting for something.  No request is arriving,
 * open or being replied to, and no connection is younger than HTTP_FRONT_FRESH_MS that has not
 * sent one: its first bytes may be on their way. */
bool http_front_is_quiet(const struct http_front *front);
enum { HTTP_FRONT_FRESH_MS = 1000 };
/* Connections open now. */
unsigned http_front_connections(const struct http_front *front);

/* ---- a request, from on_head to on_end */

/* Spans live as long as the request. */
const struct http_head *http_request_head(const struct http_request *request);
/* The whole body; empty before on_request, and after http_request_drop_body or the last byte of
 * the reply. */
struct span http_request_body(const struct http_request *request);
/* Forget the body now, for a handler that has taken what it needs and will wait for long. */
void http_request_drop_body(struct http_request *request);
/* Memory that lives as long as the request, at most 1 MiB. */
struct arena *http_request_arena(struct http_request *request);
/* Whether it came over a unix socket. */
bool http_request_is_unix(const struct http_request *request);
/* Monotonic milliseconds of its first byte (or its accept, if that is not known). */
int64_t http_request_start_ms(const struct http_request *request);
/* The handler's own pointer, NULL at first. */
void *http_request_tag(const struct http_request *request);
void http_request_set_tag(struct http_request *request, void *tag);

struct http_reply {
    int status;
    struct headers
        headers;       /* without Content-Length, Date and Connection, which the front adds */
    struct blob *body; /* NULL: empty.  A reference is taken */
    bool close;        /* close the connection after this reply */
};

/* Reply, once per request, from any callback or later.  Headers are copied; tabs in values
 * become blanks, empty ones are left out, other control characters are an assertion.  HEAD
 * requests get the same head without the body.  Without memory for it the connection is closed.
 */
void http_request_reply(struct http_request *request, const struct http_reply *reply);

/* ---- replies that begin before their body is known (heartbeats)
 *
 * http_request_begin_reply instead of http_request_reply, with a declared length; then
 * http_request_beat now and then, each one blank that keeps the connection alive; at the end
 * http_request_finish_reply.  The client sees one body of exactly that length: blanks, the
 * body, blanks.  on_left and on_end come as for a request that waits; on_end may come before
 * http_request_finish_reply, which then must not be called.  It does for HEAD, whose reply is
 * whole with its head.  There is no deadline before http_request_finish_reply; blanks that the
 * client does not read are a number, not memory. */

/* head->body must be NULL, body_bytes at least 1; the first blank goes with the head.  Where
 * nothing can be delivered any more it is dropped, as a reply would be. */
void http_request_begin_reply(struct http_request *request, const struct http_reply *head,
                              size_t body_bytes);
/* One blank more; the last byte is kept for the body.  Cheap: those of one round go out
 * together. */
void http_request_beat(struct http_request *request);
/* The body, of which a reference is taken, and blanks up to the declared length.  NULL or empty:
 * there is none, and the connection is cut, so that no client takes blanks for an answer.
 * E_LIMIT: the body is longer than what the blanks asked for left of the length; then the
 * connection is cut, too.  OK also where it is dropped. */
MUST_CHECK enum rc http_request_finish_reply(struct http_request *request, struct blob *body);

#endif
