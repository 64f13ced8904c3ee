/* From a result to HTTP: every head that clients get is written here, but for the empty 503 of a
 * request for which there is no memory at all.
 * Thread: the loop. */
#ifndef APP_REPLY_H
#define APP_REPLY_H

#include "core/api.h"
#include "core/attempt.h"
#include "core/edge.h"
#include "core/http_error.h"
#include "core/result_url.h"
#include "io/http_front.h"
#include "io/store.h"

/* Where a keyed or adopted answer came from: Idempotency-Status. */
#define SOURCE_TABLE(X)                                                                        \
    X(SOURCE_NONE, "")                                                                         \
    X(SOURCE_EXECUTED, "executed")                                                             \
    X(SOURCE_JOINED, "joined")                                                                 \
    X(SOURCE_REPLAYED, "replayed")                                                             \
    X(SOURCE_ADOPTED, "adopted")                                                               \
    X(SOURCE_UNSTORED, "executed-unstored")

enum source {
#define X(name, word) name,
    SOURCE_TABLE(X)
#undef X
        SOURCE_COUNT
};

const char *source_name(enum source source);

enum { FLIGHT_ID_TEXT_BYTES = 2 * FLIGHT_ID_BYTES + 1 };

/* 32 hexadecimal digits and a NUL. */
void flight_id_text(struct flight_id id, char text[FLIGHT_ID_TEXT_BYTES]);

/* How long a live answer took, for Server-Timing. */
struct reply_timing {
    int64_t queue_ms, first_event_ms, generation_ms; /* first_event_ms -1: no event came */
    unsigned attempts;
};

struct reply {
    struct answer answer;   /* its body is referenced */
    const char *flight_id;  /* text */
    enum provider provider; /* under whose name the provider's request id goes out */
    enum source source;
    enum http_error_retry retry;
    unsigned retry_after_s;            /* 0: none */
    const struct reply_timing *timing; /* NULL: not live */
    const struct attempt_outcome
        *upstream;     /* whose rate-limit headers go out; NULL: not live */
    struct span allow; /* Allow of a 405, absent: none */
    const struct edge_plan
        *edge; /* for Preference-Applied; NULL: nothing was to be preferred */
    const struct result_token *token; /* for Location; NULL: none */
    unsigned hop;                     /* of it; 0: none */
    bool vary;                        /* what Prefer says may change this reply */
    bool close;
};

/* Reply to `request`.  Out of memory: an empty 503. */
void reply_send(struct http_request *request, const struct reply *reply);

/* An error of ours in the caller's shape. */
struct reply_refusal {
    enum error_shape shape;
    enum http_error error;
    unsigned status;       /* 0: the error's own */
    const char *detail;    /* what was wrong and what to do; NULL: the error's own text ... */
    const char *why;       /* ... and this behind it; NULL: nothing */
    const char *flight_id; /* text */
    struct span allow;     /* the methods of a 405, else absent */
    const struct edge_plan *edge; /* NULL: nothing was to be preferred */
};

void reply_refuse(struct http_request *request, const struct reply_refusal *refusal);
/* The same where there is little to say. */
void reply_error(struct http_request *request, enum error_shape shape, enum http_error error,
                 const char *detail, const char *flight_id, struct span allow);

/* What to call a request that the front could not take. */
enum http_error reply_error_of(enum front_problem problem);

/* Where the result of a flight that still runs will be: 202, or 303 to the next hop. */
struct reply_running {
    const char *flight_id;
    int status;
    const struct result_token *token;
    unsigned hop; /* 0: none */
    const struct edge_plan *edge;
    unsigned attempt;
    int64_t elapsed_ms;
    size_t output_bytes; /* of text, in this attempt */
};

void reply_running(struct http_request *request, const struct reply_running *running);

/* 204 */
void reply_nothing(struct http_request *request, const char *flight_id);

/* A page of HTML for people: 200.  A reference is taken; `policy` is its Content-Security-Policy. */
void reply_page(struct http_request *request, struct blob *html, struct span policy);

/* The head of a heartbeat's 200, whose body will have body_bytes. */
void reply_begin(struct http_request *request, const char *flight_id, size_t body_bytes);

#endif
