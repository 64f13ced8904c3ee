/* How one upstream call ended: plain data, filled by the upstream adapter, judged by
 * retry_policy.  Thread: passed from an upstream thread to the loop, one owner at a time. */
#ifndef CORE_ATTEMPT_H
#define CORE_ATTEMPT_H

#include "base/blob.h"
#include "core/api.h"
#include "core/assemble.h"
#include "core/http_message.h"

/* X(enum, word for logs and metrics, text for humans) */
#define ATTEMPT_END_TABLE(X)                                                                   \
    X(ATTEMPT_ANSWERED, "answered", "a complete answer")                                       \
    X(ATTEMPT_REFUSED, "refused", "the provider answered with an error status")                \
    X(ATTEMPT_STREAM_ERROR, "stream_error", "the provider sent an error in its stream")        \
    X(ATTEMPT_TRUNCATED, "truncated", "the stream ended before its terminal event")            \
    X(ATTEMPT_MALFORMED, "malformed", "the stream is not what its API promises")               \
    X(ATTEMPT_TOO_LARGE, "answer_too_large", "the answer or an event is over the limit")       \
    X(ATTEMPT_DNS_FAILED, "dns_failed", "the provider's host name could not be resolved")      \
    X(ATTEMPT_CONNECT_FAILED, "connect_failed", "no connection to the provider")               \
    X(ATTEMPT_CERTIFICATE_FAILED, "certificate_failed",                                        \
      "the provider's certificate was not accepted")                                           \
    X(ATTEMPT_CONNECTION_LOST, "connection_lost",                                              \
      "the connection to the provider broke before its answer began")                          \
    X(ATTEMPT_FIRST_EVENT_TIMEOUT, "first_event_timeout",                                      \
      "the provider sent no event in time")                                                    \
    X(ATTEMPT_IDLE_TIMEOUT, "idle_timeout", "the provider's stream stood still")               \
    X(ATTEMPT_DEADLINE, "deadline", "the flight's time was over")                              \
    X(ATTEMPT_NO_RESOURCES, "no_resources", "out of memory or transfers here")

enum attempt_end {
#define X(name, word, text) name,
    ATTEMPT_END_TABLE(X)
#undef X
        ATTEMPT_END_COUNT
};

const char *attempt_end_name(enum attempt_end end);
const char *attempt_end_text(enum attempt_end end);

enum { ATTEMPT_HEADERS_MAX = 32, ATTEMPT_HEADER_BYTES_MAX = 8192 };

struct attempt_outcome {
    enum attempt_end end;
    int status; /* of the HTTP answer, 0: none came */
    /* Why there was no connection or why it broke: a static text for people; NULL: neither. */
    const char *cause;
    bool request_sent; /* the request's last byte was handed to the network */
    bool output_began; /* the provider produced output */
    /* ANSWERED: the assembled answer.  REFUSED: the body as sent (cut at
     * ATTEMPT_ERROR_BYTES_MAX).  STREAM_ERROR: the error object.  Else NULL.  Owned. */
    struct blob *body;
    /* Headers of the answer worth keeping: content-type, retry-after, retry-after-ms,
     * x-should-retry, x-request-id, request-id, x-ratelimit-*, anthropic-ratelimit-*.
     * Spans into header_bytes, which the outcome owns. */
    struct header headers[ATTEMPT_HEADERS_MAX];
    size_t header_count;
    char *header_bytes;
    struct assemble_progress progress;
    int64_t first_event_ms, total_ms; /* since the transfer's start; -1: no event came */
    int64_t last_byte_us; /* monotonic: when the provider's last bytes came; 0: none did */
};

enum { ATTEMPT_ERROR_BYTES_MAX = 1 << 20 };

/* Frees what the outcome owns and makes it empty. */
void attempt_outcome_done(struct attempt_outcome *outcome);

#endif
