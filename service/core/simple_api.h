/* /api/llm: from its few members to the body of the api that the route's upstream speaks, and
 * from that api's assembled body to {"id","model","text","stop_reason","usage"}.
 *
 *     member            messages        responses            chat
 *     prompt            messages[user]  input                messages[user]
 *     system?           system          instructions         messages[system]
 *     model?            model           model                model
 *     max_tokens?       max_tokens      max_output_tokens    the upstream's max_tokens_field
 *     idempotency_key?  not sent, see core/idem_key.h
 *     options?          its members, merged
 *
 * An optional member that is null counts as left out.  Members of `options` replace ours of the
 * same name, so that nothing is sent twice; any token limit in it replaces ours.  Its `stream`
 * is judged by splice_plan, like that of any body.  `n` other than 1 is refused: there is room
 * for one text.  All values are copied raw.  Pure; thread: any. */
#ifndef CORE_SIMPLE_API_H
#define CORE_SIMPLE_API_H

#include "core/config.h"
#include "core/http_error.h"

/* X(enum, http_error, what was wrong and what to do; behind the member's name) */
#define SIMPLE_API_REFUSAL_TABLE(X)                                                            \
    X(SIMPLE_API_FINE, HTTP_ERROR_INTERNAL, "fine")                                            \
    X(SIMPLE_API_NOT_JSON, HTTP_ERROR_INVALID_JSON, "the body is not one valid JSON object")   \
    X(SIMPLE_API_TWICE, HTTP_ERROR_INVALID_JSON, "stands twice: send it once")                 \
    X(SIMPLE_API_UNKNOWN, HTTP_ERROR_INVALID_REQUEST,                                          \
      "is not known here: put what the provider understands into options")                     \
    X(SIMPLE_API_STREAM, HTTP_ERROR_STREAM_NOT_SUPPORTED,                                      \
      "is not served here, answers come as one complete body: leave it out")                   \
    X(SIMPLE_API_MISSING, HTTP_ERROR_INVALID_REQUEST,                                          \
      "is missing, and the route has no default")                                              \
    X(SIMPLE_API_NOT_STRING, HTTP_ERROR_INVALID_REQUEST, "must be a string")                   \
    X(SIMPLE_API_NOT_COUNT, HTTP_ERROR_INVALID_REQUEST, "must be a positive integer")          \
    X(SIMPLE_API_NOT_OBJECT, HTTP_ERROR_INVALID_REQUEST, "must be an object")                  \
    X(SIMPLE_API_CHOICES, HTTP_ERROR_INVALID_REQUEST,                                          \
      "must be 1 here: use /v1/chat/completions for several choices")

enum simple_api_refusal {
#define X(name, error, text) name,
    SIMPLE_API_REFUSAL_TABLE(X)
#undef X
};

struct simple_api_request {
    struct span idempotency_key; /* raw, in the client's body; absent: none */
    struct span refused;         /* a refusal's member, still escaped; absent: none */
};

/* Not for SIMPLE_API_FINE. */
enum http_error simple_api_refusal_error(enum simple_api_refusal refusal);
/* Appends a refusal for humans: "prompt must be a string". */
void simple_api_explain(enum simple_api_refusal refusal, struct span refused, struct buf *out);

/* Maps the client's body to that of route->api, appended to `out`, whose failures stick there.
 * `upstream`: the one to be called, of the route or its fallback.  *ret_request is always set.
 */
MUST_CHECK enum simple_api_refusal simple_api_request(const struct config_route *route,
                                                      const struct config_upstream *upstream,
                                                      struct span body, struct buf *out,
                                                      struct simple_api_request *ret_request);

/* Maps a complete answer of `api` (not API_SIMPLE) back, appended to `out`.
 *
 * text: all text parts joined, or if there is none the refusal, or "".  stop_reason: chat's
 * finish_reason (of the first choice), messages' stop_reason, responses'
 * incomplete_details.reason or else status.  What the provider left out is null.
 * E_SYNTAX: no answer of this api, nothing appended.  Failures of `out` are returned too. */
MUST_CHECK enum rc simple_api_answer(enum api api, struct span body, struct buf *out);

#endif
