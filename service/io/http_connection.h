/* The inside of the HTTP front: the front itself, its listeners and its connections.  Only
 * http_*.c includes this.  Thread: the loop. */
#ifndef IO_HTTP_CONNECTION_H
#define IO_HTTP_CONNECTION_H

#include "base/list.h"
#include "io/http_front.h"

#include <microhttpd.h>

/* One listening socket and the libmicrohttpd daemon that serves it. */
struct http_listener {
    struct http_front *front;
    struct MHD_Daemon *mhd;
    int fd; /* the listening socket, -1 once closed */
    bool is_unix, is_inherited;
    struct watch watch; /* the daemon's own epoll */
    bool run;           /* something happened: MHD_run at the end of this round */
    unsigned vain_runs; /* in a row, since its epoll or a request had anything to say */
};

struct http_front {
    struct event_loop *loop;
    struct http_handler handler;
    unsigned connections_max;
    size_t header_bytes_max, body_bytes_max;
    int64_t keepalive_ms, request_timeout_ms;
    uint64_t request_bytes_per_s_min, reply_bytes_per_s_min;
    struct http_listener *listeners;
    size_t listener_count;
    struct round_hook hook;
    struct timer wake; /* ends the wait of the next round when resumes happen between rounds */
    struct list connections;
    struct list lingering; /* closed, but a reply is not yet known to have arrived */
    unsigned connection_count, lingering_count;
    bool parses_in_place; /* this libmicrohttpd leaves the head as framing_is_whole needs it */
    bool close_after_reply;
    bool stopping;
};

/* Where a connection stands decides which deadline it has and what its socket is watched for:
 *
 *   accept -> IDLE -> HEAD -> BODY -> WAIT -> BEAT -> REPLY -> IDLE ...
 *
 * | phase | holds from             | deadline                         | watched for         |
 * |-------|------------------------|----------------------------------|---------------------|
 * | IDLE  | accept, end of a reply | keepalive_ms                     | first byte or FIN   |
 * | HEAD  | first byte             | request_timeout_ms               |                     |
 * | BODY  | complete head          | request_timeout_ms + bytes / min |                     |
 * | WAIT  | suspended, no reply    | none: the handler's business     | EPOLLRDHUP, HUP     |
 * | BEAT  | reply begun, no body   | none: the handler's business     | EPOLLRDHUP, HUP     |
 * | REPLY | reply given            | request_timeout_ms + bytes / min |                     |
 *
 * Phases are skipped when bytes come at once.  libmicrohttpd's own timeouts are not used: they
 * count whole seconds of inactivity, so that a byte a second lives for ever, and cannot tell an
 * idle connection from a slow request.  A byte that libmicrohttpd reads in the round in which
 * it arrived does not leave IDLE; then keepalive_ms is the deadline until the next byte. */
enum http_phase { PHASE_IDLE, PHASE_HEAD, PHASE_BODY, PHASE_WAIT, PHASE_BEAT, PHASE_REPLY };

struct http_connection {
    struct list link;
    struct http_front *front;
    struct http_listener *listener;
    struct MHD_Connection *mhd; /* NULL: closed, lingering */
    int fd;
    struct watch watch;
    struct timer deadline;
    enum http_phase phase;
    bool used;                    /* it has had a request */
    int64_t phase_ms;             /* when the phase began */
    int64_t start_ms;             /* first byte of the request, or the accept */
    struct http_request *request; /* NULL between requests */
    /* Requests whose reply libmicrohttpd has handed to the kernel, oldest first, until the
     * kernel's send queue is empty (SIOCOUTQ): that is what "delivered" means here. */
    struct list unconfirmed;
    struct timer confirm;
    int64_t confirm_pause_ms;
};

/* libmicrohttpd's callback for begin and end of a connection; context: the http_listener. */
void http_connection_notify(void *context, struct MHD_Connection *mhd, void **socket_context,
                            enum MHD_ConnectionNotificationCode what);
/* NULL: there was no memory for it. */
struct http_connection *http_connection_of(struct MHD_Connection *mhd);
void http_connection_enter(struct http_connection *connection, enum http_phase phase);
/* Cut it off; libmicrohttpd sees that and ends the request. */
void http_connection_abort(struct http_connection *connection);
/* The client has closed its side, or the connection is broken. */
bool http_connection_client_is_gone(const struct http_connection *connection);
/* libmicrohttpd is through with the reply: end the request once the kernel is, too. */
void http_connection_confirm(struct http_connection *connection, struct http_request *request);
/* End all requests that wait for confirmation, and a lingering connection with them. */
void http_connection_give_up(struct http_connection *connection);

#endif
