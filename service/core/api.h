/* The APIs that are served, their routes and their error shapes (contract: Routes). */
#ifndef CORE_API_H
#define CORE_API_H

#include "base/rc.h"
#include "base/span.h"

/* X(enum, route, path below an upstream's base URL with /v1, name on the command line) */
#define API_TABLE(X)                                                                           \
    X(API_CHAT, "/v1/chat/completions", "/chat/completions", "chat")                           \
    X(API_RESPONSES, "/v1/responses", "/responses", "responses")                               \
    X(API_MESSAGES, "/v1/messages", "/messages", "messages")                                   \
    X(API_SIMPLE, "/api/llm", "", "simple")

enum api {
#define X(name, route, path, word) name,
    API_TABLE(X)
#undef X
        API_COUNT
};

/* Whose error objects a caller expects. */
enum error_shape { SHAPE_OPENAI, SHAPE_ANTHROPIC, SHAPE_PROBLEM };

enum provider { PROVIDER_OPENAI, PROVIDER_ANTHROPIC };

const char *api_route(enum api api);
/* Below a base URL that ends in /v1: "/chat/completions"; "" for API_SIMPLE. */
const char *api_path(enum api api);
/* "chat", "responses", "messages", "simple". */
const char *api_name(enum api api);
/* False: no api has this name. */
bool api_from_name(struct span name, enum api *ret);
/* False: not the path of a generation route. */
bool api_from_route(struct span path, enum api *ret);
/* What a client may ask for: a route, or one of OpenAI's without /v1, for clients whose base URL
 * lacks it.  False: neither. */
bool api_from_path(struct span path, enum api *ret);
enum error_shape api_error_shape(enum api api);
/* The provider whose upstreams can answer this api.  Not for API_SIMPLE, whose route says it.
 */
enum provider api_provider(enum api api);
const char *provider_name(enum provider provider);

#endif
