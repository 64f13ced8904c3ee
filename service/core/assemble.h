/* From a provider's event stream to the body of its own non-streaming answer.
 *
 * An assembler is fed the bytes of one upstream response body, cut anywhere, and ends either
 * with that body or with the reason why there is none.  It never yields both, and the result
 * does not depend on how the bytes were cut.  Lossless: text is joined still escaped, all else
 * is copied as raw spans.  The rules, per API, stand at the top of assemble_chat.c,
 * assemble_messages.c and assemble_responses.c.  Thread: any, one owner. */
#ifndef CORE_ASSEMBLE_H
#define CORE_ASSEMBLE_H

#include "base/buf.h"
#include "core/api.h"

struct assemble_params {
    enum api api;         /* API_CHAT, API_RESPONSES or API_MESSAGES */
    unsigned choices;     /* the request's `n`, at least 1: finish reasons that end a chat */
    bool add_annotations; /* chat: `annotations: []` when absent, as api.openai.com has it */
    bool failed_is_body;  /* responses: a failed response is a body like any other, not an
                             ASSEMBLE_UPSTREAM_ERROR with the response's `error` */
    size_t event_bytes_max;
    size_t answer_bytes_max;
};

enum assemble_state {
    ASSEMBLE_MORE,     /* feed more */
    ASSEMBLE_COMPLETE, /* the terminal event came: the body can be taken at once */
    ASSEMBLE_FAILED,   /* assemble_failure tells why; what follows is not read */
};

#define ASSEMBLE_FAILURE_TABLE(X)                                                              \
    X(ASSEMBLE_UPSTREAM_ERROR, "upstream_error", "the provider sent an error in its stream")   \
    X(ASSEMBLE_TRUNCATED, "truncated", "the stream ended before its terminal event")           \
    X(ASSEMBLE_MALFORMED, "malformed", "the stream is not what its API promises")              \
    X(ASSEMBLE_TOO_LARGE, "answer_too_large", "the answer or an event is over the limit")      \
    X(ASSEMBLE_NO_MEMORY, "no_memory", "out of memory")

enum assemble_failure {
#define X(name, word, text) name,
    ASSEMBLE_FAILURE_TABLE(X)
#undef X
};

/* "upstream_error", "truncated", ... */
const char *assemble_failure_name(enum assemble_failure failure);

/* What is known of an answer, for logs, metrics and the ops page; also while it grows. */
struct assemble_progress {
    size_t events;       /* events read so far, pings and comments not counted */
    size_t output_bytes; /* of generated text so far, still escaped */
    bool output_began;   /* the provider has produced output: it will be billed */
    uint64_t input_tokens, output_tokens; /* of the last usage seen, 0 while unknown */
};

struct assemble;

/* NULL: out of memory. */
struct assemble *assemble_new(const struct assemble_params *params);
void assemble_free(struct assemble *assembler);
OWNED_DEFINE(assemble)

/* Feed the next bytes.  After COMPLETE or FAILED further calls change nothing. */
enum assemble_state assemble_feed(struct assemble *assembler, struct span bytes);
/* No more bytes will come (end of the body, or a broken connection): COMPLETE or FAILED. */
enum assemble_state assemble_end(struct assemble *assembler);
/* True when assemble_end would complete the answer now: the caller then needs to wait only a
 * moment for more. */
bool assemble_could_end(const struct assemble *assembler);
/* Why it failed.  Only after ASSEMBLE_FAILED. */
enum assemble_failure assemble_failure(const struct assemble *assembler);
/* The provider's error object as sent, valid as long as the assembler; absent: none. */
struct span assemble_error(const struct assemble *assembler);
/* Move the body out.  Only after ASSEMBLE_COMPLETE, once; the caller owns it. */
void assemble_take_body(struct assemble *assembler, struct buf *ret);
struct assemble_progress assemble_progress(const struct assemble *assembler);

#endif
