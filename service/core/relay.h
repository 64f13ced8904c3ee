/* The relay: what SDKs and tools ask for beside generations, and which of it is passed on.
 *
 * A pattern is "METHOD /path": GET (a HEAD is one, too) or POST, one blank, and a path below /v1/
 * of letters, digits and -._~: only.  With "/" and "*" at its end it stands for what is below that
 * path, one or more further segments (names of models may have slashes), but not for the path
 * itself.  No pattern may stand for a route that generates: those are served, not passed on.
 *
 * What a "*" stands for is passed on as it was sent, so it must be what it looks like to every
 * server that reads it: visible ASCII without "#" and "\", sound percent-escapes, no control
 * characters behind them, no empty segments, and none that is "." or ".." once unescaped, slashes,
 * backslashes and path parameters (";", RFC 3986 3.3) included.  Else an allowed path could lead
 * to one that is not.
 *
 * Pure; thread: any. */
#ifndef CORE_RELAY_H
#define CORE_RELAY_H

#include "core/config.h"

enum { RELAY_PATTERNS_MAX = 32, RELAY_PATTERN_BYTES_MAX = 128 };

/* X(enum, what is wrong with a pattern, as a sentence that goes on after it) */
#define RELAY_FAULT_TABLE(X)                                                                   \
    X(RELAY_FINE, "is fine")                                                                   \
    X(RELAY_TOO_LONG, "is over 128 bytes")                                                     \
    X(RELAY_BAD_METHOD, "must begin with GET or POST, as in \"GET /v1/models\"")               \
    X(RELAY_BAD_PATH,                                                                          \
      "needs a path below /v1/ of letters, digits and -._~:, and may end in /*")               \
    X(RELAY_SHADOWS, "stands for a path that this service answers itself; name others")

enum relay_fault {
#define X(name, text) name,
    RELAY_FAULT_TABLE(X)
#undef X
};

const char *relay_fault_text(enum relay_fault fault);
enum relay_fault relay_check(struct span pattern);

/* What a path is to the relay. */
struct relay_match {
    struct span route; /* the pattern's path, in the pattern; absent: it is not passed on */
    bool gets, posts;  /* what its path takes, whatever the method is */
};

/* All patterns must be fine. */
struct relay_match relay_match(const struct span_list *patterns, struct span method,
                               struct span path);
/* Whose upstream a relayed request goes to: that of /v1/messages for what is below it, and with
 * an anthropic-version; else that of /v1/chat/completions, or if it has none of /v1/responses. */
enum api relay_api(const struct config *config, const struct http_head *head);
/* What OpenTelemetry calls the operation (gen_ai.operation.name); NULL: it generates nothing. */
const char *relay_operation(struct span path);

#endif
