/* The head of an upstream call: which of the client's headers go along, what is added, and
 * where to.
 *
 * As the client sent them: its credential, unless the upstream has one of its own (an api_key,
 * or a fixed credential header); anthropic-version, anthropic-beta, openai-beta,
 * openai-organization, openai-project, traceparent, tracestate; the upstream's pass_headers.
 * Added: the api_key, the fixed headers (a client's header of such a name is dropped),
 * User-Agent (the client's with ours behind it), Via (RFC 9110, 7.6.3), Content-Type, Accept,
 * Accept-Encoding.  Never, whatever pass_headers says: Idempotency-Key, Cookie, Host, Prefer,
 * X-Stainless-*, framing, hop-by-hop headers and those that Connection names (7.6.1).
 * Pure; thread: any. */
#ifndef CORE_UPSTREAM_REQUEST_H
#define CORE_UPSTREAM_REQUEST_H

#include "base/arena.h"
#include "core/config.h"

/* Of calls of /api/llm to Anthropic without one. */
#define UPSTREAM_REQUEST_ANTHROPIC_VERSION "2023-06-01"

struct upstream_request_params {
    const struct config_upstream *upstream;
    const struct headers *client;
    enum api route; /* what the client called */
    enum api api;   /* what is called upstream, never API_SIMPLE */
    bool relay;     /* passed on: Accept is the client's, and the answer no stream */
    bool no_body;   /* no Content-Type */
    struct span boot_id;
};

#define UPSTREAM_REQUEST_RESULT_TABLE(X)                                                       \
    X(UPSTREAM_REQUEST_FINE, "fine")                                                           \
    X(UPSTREAM_REQUEST_BAD_VALUE, "a header to be sent holds a control character")             \
    X(UPSTREAM_REQUEST_NO_MEMORY, "out of memory")

enum upstream_request_result {
#define X(name, text) name,
    UPSTREAM_REQUEST_RESULT_TABLE(X)
#undef X
};

const char *upstream_request_result_text(enum upstream_request_result result);

/* The client's Via names this process: a call of ours came back. */
bool upstream_request_is_loop(const struct headers *client, struct span boot_id);
/* A header that goes upstream neither from a client nor from the configuration. */
bool upstream_request_reserves(struct span name);
/* *ret's lines are in `arena`, their texts there, in `client` and in `upstream`. */
MUST_CHECK enum upstream_request_result
upstream_request_headers(const struct upstream_request_params *params, struct arena *arena,
                         struct headers *ret);

/* The client's headers that decide upstream_request_headers' result, without any credential: what
 * is kept of a request that will be sent later.  *ret's lines are in `arena`, their texts in
 * `client`.  E_NOMEM. */
MUST_CHECK enum rc upstream_request_keep(const struct upstream_request_params *params,
                                         struct arena *arena, struct headers *ret);

/* Appends the URL.  A base URL is what that provider's SDK takes: OpenAI's ends in /v1,
 * Anthropic's does not (one that does is taken at its word); a slash at the end is fine.
 * `api`: what is called upstream.  `query`: the client's; absent: none, as for /api/llm.
 * Failures stick in `out`. */
void upstream_request_url(const struct config_upstream *upstream, enum api api,
                          struct span query, struct buf *out);
/* The same for any path below /v1: "/models". */
void upstream_request_url_below(const struct config_upstream *upstream, struct span path,
                                struct span query, struct buf *out);

#endif
