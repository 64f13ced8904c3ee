/* The inside of the HTTP front: one request from its request line to the end of its reply.
 * Only http_*.c includes this.  Thread: the loop. */
#ifndef IO_HTTP_REQUEST_H
#define IO_HTTP_REQUEST_H

#include "core/framing.h"
#include "io/http_connection.h"

/*   HEAD -> BODY -> WAIT -> BEAT -> REPLY -> SENT
 *
 * state | what holds                                      | left by
 * ------|-------------------------------------------------|---------------------------------
 * HEAD  | the request line is there; the handler knows    | complete head: BODY, WAIT, BEAT,
 *       | nothing                                         | REPLY
 * BODY  | on_head was called; the body is being read,     | complete body: WAIT, BEAT, REPLY;
 *       | or read away when there is a reply already      | cut off: gone
 * WAIT  | on_request or on_problem was called; suspended  | reply: REPLY; begun: BEAT;
 *       |                                                 | break: gone
 * BEAT  | the head of a padded reply is written; blanks   | body: REPLY; none, break: gone
 *       | are, or all were and it is suspended            |
 * REPLY | libmicrohttpd writes the reply                  | written: SENT; break: gone
 * SENT  | the kernel has the reply, libmicrohttpd has     | confirmed, lost, too late: gone
 *       | forgotten the request                           |
 *
 * Gone means on_end, unless the handler never knew it. */
enum http_request_state {
    REQUEST_HEAD,
    REQUEST_BODY,
    REQUEST_WAIT,
    REQUEST_BEAT,
    REQUEST_REPLY,
    REQUEST_SENT
};

/* A reply that begins before its body is known: `bytes` long, of which `blanks` come before the
 * body, written or not yet, and blanks again after it. */
struct padded {
    size_t bytes; /* 0: an ordinary reply */
    size_t blanks;
    struct blob *body;
    bool finished; /* http_request_finish_reply was called */
};

struct http_request {
    struct list link; /* SENT: in the connection's unconfirmed */
    struct http_connection *connection;
    struct arena arena;
    struct http_head head;
    struct framing framing;
    struct buf body;
    uint64_t received_bytes; /* of the body, kept or not */
    uint64_t read_bytes_max; /* beyond this it is not read on */
    int64_t start_ms, reply_deadline_ms;
    enum http_request_state state;
    bool known;     /* the handler has got on_head or on_problem */
    bool suspended; /* at libmicrohttpd */
    bool replied;   /* http_request_reply or http_request_begin_reply was called */
    bool left;      /* the client had closed its side before the whole reply was given */
    bool broken;    /* on_left(true) was called */
    bool cut;       /* closed by us; a reply that comes now is dropped */
    bool faulty;    /* `problem` waits for the end of the body */
    enum front_problem problem;
    struct MHD_Response *response; /* the reply, until libmicrohttpd has it */
    struct blob *reply_body;       /* its body, likewise */
    int reply_status;
    struct padded padded;
    void *tag;
};

/* libmicrohttpd's callbacks; context: the http_listener. */
void *http_request_begin(void *context, const char *target, struct MHD_Connection *mhd);
enum MHD_Result http_request_handle(void *context, struct MHD_Connection *mhd, const char *url,
                                    const char *method, const char *version, const char *bytes,
                                    size_t *count, void **request_context);
void http_request_completed(void *context, struct MHD_Connection *mhd, void **request_context,
                            enum MHD_RequestTerminationCode how);

/* The handler has still to reply, or to finish its reply. */
bool http_request_is_pending(const struct http_request *request);
/* Send the prepared reply, or have it sent once the body was read. */
void http_request_send(struct http_request *request);
/* The whole reply, body_bytes long, is given: its deadline and what tells delivery begin. */
void http_request_enter_reply(struct http_request *request, uint64_t body_bytes);
/* libmicrohttpd lets go of the connection until the resume, which it sees in this round. */
void http_request_suspend(struct http_request *request);
void http_request_resume(struct http_request *request);
/* The client left while the reply is pending. */
void http_request_left(struct http_request *request, bool broken);
/* The body came slower than the minimum rate. */
void http_request_too_slow(struct http_request *request);
/* The time that the body so far takes at the minimum rate. */
int64_t http_request_body_ms(const struct http_request *request);
/* libmicrohttpd has dropped it without finishing its reply. */
void http_request_lost(struct http_request *request);
/* Tell the handler and free it. */
void http_request_end(struct http_request *request, bool delivered);

#endif
