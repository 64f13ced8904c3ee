/* All errors of our own, and their bodies in the shape that the caller's SDK reads: OpenAI's,
 * Anthropic's, or RFC 9457 problem details.  Pure; thread: any. */
#ifndef CORE_HTTP_ERROR_H
#define CORE_HTTP_ERROR_H

#include "base/buf.h"
#include "core/api.h"

/* X(enum, code, status, x-should-retry (YES, NO, or UNSAID: not sent), Retry-After in seconds
 * (0: not sent), what was wrong and what to do when the caller has nothing better to say).
 * Our own Retry-After stays within 1-8 s. */
#define HTTP_ERROR_TABLE(X)                                                                    \
    X(HTTP_ERROR_IN_PROGRESS, "generation_in_progress", 409, YES, 1,                           \
      "the generation is still running: send the same request again to wait for it")           \
    X(HTTP_ERROR_DEADLINE_RUNNING, "deadline_exceeded", 504, YES, 1,                           \
      "the deadline of this request passed, the generation goes on: send the same request "    \
      "again to collect its answer")                                                           \
    X(HTTP_ERROR_DEADLINE, "deadline_exceeded", 504, UNSAID, 2,                                \
      "the deadline of this request passed before the model began to answer")                  \
    X(HTTP_ERROR_FLIGHT_CEILING, "deadline_exceeded", 504, NO, 0,                              \
      "the generation ran for as long as one may and was ended: ask for less output")          \
    X(HTTP_ERROR_KEY_REUSED, "idempotency_key_reused", 422, NO, 0,                             \
      "this Idempotency-Key belongs to another request: use a new key for a new request")      \
    X(HTTP_ERROR_KEY_INVALID, "idempotency_key_invalid", 400, NO, 0,                           \
      "the Idempotency-Key is malformed: use 1 to 255 visible ASCII characters")               \
    X(HTTP_ERROR_KEY_MISSING, "idempotency_key_missing", 400, NO, 0,                           \
      "this route needs an Idempotency-Key header: send a UUID and keep it for retries")       \
    X(HTTP_ERROR_INVALID_JSON, "invalid_json", 400, NO, 0,                                     \
      "the body is not one valid JSON object")                                                 \
    X(HTTP_ERROR_STREAM_NOT_SUPPORTED, "stream_not_supported", 400, NO, 0,                     \
      "\"stream\": true is not served here, answers come as one complete body: leave it out, " \
      "or stream from the provider itself")                                                    \
    X(HTTP_ERROR_INVALID_REQUEST, "invalid_request", 400, NO, 0,                               \
      "the request has a member of a wrong name, type or value")                               \
    X(HTTP_ERROR_CREDENTIAL_CONFLICT, "credential_conflict", 400, NO, 0,                       \
      "Authorization, x-api-key and api-key hold different credentials: send one of them")     \
    X(HTTP_ERROR_BAD_FRAMING, "bad_framing", 400, UNSAID, 0,                                   \
      "the head of the request is malformed or ambiguous")                                     \
    X(HTTP_ERROR_UNAUTHORIZED, "unauthorized", 401, UNSAID, 0,                                 \
      "the credential is missing or unknown: send a configured client's token")                \
    X(HTTP_ERROR_OPEN_NOT_ALLOWED, "open_not_allowed", 403, UNSAID, 0,                         \
      "this service holds its operator's key and serves only direct local requests: "          \
      "configure clients, or \"open\": true")                                                  \
    X(HTTP_ERROR_NOT_FOUND, "not_found", 404, UNSAID, 0, "there is nothing at this URL")       \
    X(HTTP_ERROR_ROUTE_NOT_CONFIGURED, "route_not_configured", 404, UNSAID, 0,                 \
      "this route has no upstream: its operator has not configured one")                       \
    X(HTTP_ERROR_METHOD_NOT_ALLOWED, "method_not_allowed", 405, UNSAID, 0,                     \
      "this URL does not take this method: see the Allow header")                              \
    X(HTTP_ERROR_REQUEST_TIMEOUT, "request_timeout", 408, UNSAID, 0,                           \
      "the request came too slowly: send it again")                                            \
    X(HTTP_ERROR_CANCELLED, "cancelled", 409, NO, 0,                                           \
      "the generation was cancelled on request")                                               \
    X(HTTP_ERROR_ALREADY_FINISHED, "already_finished", 409, NO, 0,                             \
      "the generation has already ended: there is nothing to cancel")                          \
    X(HTTP_ERROR_BODY_TOO_LARGE, "body_too_large", 413, UNSAID, 0,                             \
      "the body of the request is over the limit")                                             \
    X(HTTP_ERROR_MEDIA_TYPE, "unsupported_media_type", 415, UNSAID, 0,                         \
      "send the body as application/json in UTF-8, without Content-Encoding")                  \
    X(HTTP_ERROR_BAD_EXPECT, "expectation_failed", 417, UNSAID, 0,                             \
      "the only Expect served is 100-continue")                                                \
    X(HTTP_ERROR_RATE_LIMITED, "rate_limited", 429, YES, 2,                                    \
      "too many requests of this client: send it again a little later")                        \
    X(HTTP_ERROR_HEAD_TOO_LARGE, "head_too_large", 431, UNSAID, 0,                             \
      "the headers of the request are over the limit")                                         \
    X(HTTP_ERROR_INTERNAL, "internal_error", 500, UNSAID, 0,                                   \
      "something went wrong in this service")                                                  \
    X(HTTP_ERROR_STORE_CORRUPT, "store_corrupt", 500, NO, 0,                                   \
      "the stored answer of this Idempotency-Key is damaged: use a new key")                   \
    X(HTTP_ERROR_TRANSFER_ENCODING, "transfer_encoding_not_supported", 501, UNSAID, 0,         \
      "the only Transfer-Encoding served is chunked")                                          \
    X(HTTP_ERROR_UPSTREAM, "upstream_error", 502, NO, 0,                                       \
      "the provider failed, and so did the retries made here")                                 \
    X(HTTP_ERROR_UPSTREAM_CREDENTIALS, "upstream_credentials_invalid", 502, NO, 0,             \
      "the provider refused the configured credential: its operator must replace it")          \
    X(HTTP_ERROR_UPSTREAM_UNREACHABLE, "upstream_unreachable", 502, NO, 0,                     \
      "the provider cannot be reached, retries made here included")                            \
    X(HTTP_ERROR_UPSTREAM_INCOMPLETE, "upstream_stream_incomplete", 502, NO, 0,                \
      "the provider's stream ended early or was malformed, retries made here included")        \
    X(HTTP_ERROR_ANSWER_TOO_LARGE, "answer_too_large", 502, NO, 0,                             \
      "the provider's answer is over the limit")                                               \
    X(HTTP_ERROR_PAID_CALLS_EXHAUSTED, "paid_calls_exhausted", 502, NO, 0,                     \
      "this Idempotency-Key has used up its upstream calls: use a new key")                    \
    X(HTTP_ERROR_OUTCOME_UNKNOWN, "outcome_unknown", 502, NO, 0,                               \
      "this service restarted during the generation, which may have been billed: use a new "   \
      "Idempotency-Key to generate again")                                                     \
    X(HTTP_ERROR_UPSTREAM_OVERLOADED, "upstream_error", 503, NO, 0,                            \
      "the provider is overloaded, and the retries made here did not help")                    \
    X(HTTP_ERROR_OVERLOADED, "overloaded", 503, YES, 2,                                        \
      "this service is busy: send it again a little later")                                    \
    X(HTTP_ERROR_DRAINING, "draining", 503, YES, 1,                                            \
      "this service is about to restart: send it again")                                       \
    X(HTTP_ERROR_STORE_UNAVAILABLE, "store_unavailable", 503, YES, 2,                          \
      "the store cannot be written, nothing was sent to the provider: send it again")          \
    X(HTTP_ERROR_INTERRUPTED, "interrupted", 503, YES, 1,                                      \
      "this service restarted during the generation: send the request again")                  \
    X(HTTP_ERROR_LOOP_DETECTED, "loop_detected", 508, NO, 0,                                   \
      "the request came back to the service that sent it: check the upstream's base URL")

enum http_error {
#define X(name, code, status, retry, after_s, text) name,
    HTTP_ERROR_TABLE(X)
#undef X
};

enum http_error_retry { HTTP_ERROR_RETRY_UNSAID, HTTP_ERROR_RETRY_YES, HTTP_ERROR_RETRY_NO };

struct http_error_info {
    const char *code;
    unsigned status;
    enum http_error_retry retry;
    unsigned retry_after_s; /* 0: no Retry-After */
    const char *text;
};

const struct http_error_info *http_error_info(enum http_error error);
/* Appends what it says: its own text, and `why` behind it in parentheses (NULL: nothing). */
void http_error_explain(enum http_error error, const char *why, struct buf *out);
/* By its code; NULL: no error of ours.  Of several with one code, the first. */
const struct http_error_info *http_error_named(struct span code);
/* "application/json" or "application/problem+json". */
const char *http_error_content_type(enum error_shape shape);

struct http_error_params {
    enum error_shape shape;
    enum http_error error;
    unsigned status;        /* 0: the error's own */
    struct span message;    /* UTF-8, escaped here; absent: the error's own text */
    struct span request_id; /* the flight id; Anthropic's shape shows it */
};

/* Appends the JSON body of an error; failures stick in `out`. */
void http_error_render(const struct http_error_params *params, struct buf *out);

enum { HTTP_ERROR_UPSTREAM_CHARACTERS_MAX = 200 };

/* Appends a body for an upstream's 4xx whose own body is not JSON: the first 200 printable
 * characters of it (ASCII; runs of all else become one blank) in the message.  Of `params`,
 * `error` and `message` do not count and `status` is the upstream's. */
void http_error_wrap_upstream(const struct http_error_params *params, struct span body,
                              struct buf *out);

#endif
