/* From a result to HTTP: the only place that writes replies to clients.
 * Thread: the loop. */
#ifndef APP_REPLY_H
#define APP_REPLY_H

#include "core/api.h"
#include "core/attempt.h"
#include "core/http_error.h"
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
    bool close;
};

/* Reply to `request`.  Out of memory: an empty 503. */
void reply_send(struct http_request *request, const struct reply *reply);

/* Reply with an error of ours in the caller's shape.  `detail` (NULL: the error's own text)
 * says what was wrong and what to do; `allow`: the methods of a 405, else absent. */
void reply_error(struct http_request *request, enum error_shape shape, enum http_error error,
                 const char *detail, const char *flight_id, struct span allow);

#endif
