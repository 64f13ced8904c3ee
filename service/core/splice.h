/* The upstream body: the client's, byte for byte, but for the few bytes that make the provider
 * stream.  `"stream":true` is inserted behind the first bracket, or replaces false or null; for
 * Chat Completions stream_options.include_usage is made true in the same way.
 *
 * splice_plan reads the body once, allocates nothing, and says what to change and what is worth
 * knowing of the request; splice_write writes the result.  Pure; thread: any. */
#ifndef CORE_SPLICE_H
#define CORE_SPLICE_H

#include "base/buf.h"
#include "core/api.h"
#include "core/http_error.h"

enum {
    /* Most choices (`n`) of one request, as OpenAI has it. */
    SPLICE_CHOICES_MAX = 128,
    SPLICE_EDITS_MAX = 2
};

/* X(enum, http_error, what was wrong and what to do) */
#define SPLICE_REFUSAL_TABLE(X)                                                                \
    X(SPLICE_FINE, HTTP_ERROR_INTERNAL, "fine")                                                \
    X(SPLICE_NOT_JSON, HTTP_ERROR_INVALID_JSON, "the body is not one valid JSON object")       \
    X(SPLICE_STREAM_TRUE, HTTP_ERROR_STREAM_NOT_SUPPORTED,                                     \
      "\"stream\": true is not served here, answers come as one complete body: leave it out, " \
      "or stream from the provider itself")                                                    \
    X(SPLICE_STREAM_TYPE, HTTP_ERROR_INVALID_REQUEST,                                          \
      "stream must be false, null or left out")                                                \
    X(SPLICE_TWICE, HTTP_ERROR_INVALID_JSON,                                                   \
      "stream, stream_options or another member stands twice: send each once")                 \
    X(SPLICE_OPTIONS_TYPE, HTTP_ERROR_INVALID_REQUEST,                                         \
      "stream_options must be an object, null or left out")                                    \
    X(SPLICE_BACKGROUND, HTTP_ERROR_INVALID_REQUEST,                                           \
      "\"background\": true is not served here: send the header Prefer: respond-async "        \
      "instead")                                                                               \
    X(SPLICE_CHOICES, HTTP_ERROR_INVALID_REQUEST, "n must be an integer from 1 to 128")

enum splice_refusal {
#define X(name, error, text) name,
    SPLICE_REFUSAL_TABLE(X)
#undef X
};

const char *splice_refusal_text(enum splice_refusal refusal);
/* Not for SPLICE_FINE. */
enum http_error splice_refusal_error(enum splice_refusal refusal);

/* `removed` bytes at `at` of the body make way for `text`. */
struct splice_edit {
    size_t at, removed;
    const char *text;
};

struct splice {
    struct span body;                           /* the client's, a byte order mark dropped */
    struct splice_edit edits[SPLICE_EDITS_MAX]; /* in the order of the body */
    size_t edit_count;

    /* What is worth knowing; all values raw, absent when left out. */
    struct span model;
    unsigned choices;    /* chat: `n`, else 1 */
    uint64_t max_tokens; /* the limit of output tokens under its api's name; 0: none given */
    bool logprobs;       /* they are asked for, and multiply the size of the answer */
};

/* `api`: not API_SIMPLE, whose body is mapped first.  `include_usage`: force it (chat); else
 * stream_options stays as the client sent it, or out.
 * *ret is untouched unless it returns SPLICE_FINE; it refers to `body`. */
MUST_CHECK enum splice_refusal splice_plan(enum api api, bool include_usage, struct span body,
                                           struct splice *ret);
/* The exact length that splice_write appends. */
size_t splice_bytes(const struct splice *splice);
/* Appends the upstream body; failures stick in `out`. */
void splice_write(const struct splice *splice, struct buf *out);

#endif
