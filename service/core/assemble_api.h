/* What the assemblers of the three APIs share with assemble.c; private to them. */
#ifndef CORE_ASSEMBLE_API_H
#define CORE_ASSEMBLE_API_H

#include "core/assemble.h"
#include "core/sse.h"
#include "core/value.h"

#include <string.h>

/* Whether a member name is this literal.  Names are compared as written: none of ours needs an
 * escape, and no provider writes one. */
#define SAYS(name, literal) assemble_says(name, "" literal, sizeof(literal) - 1)
static inline bool assemble_says(struct span name, const char *literal, size_t n)
{
    return name.n == n && name.p && memcmp(name.p, literal, n) == 0;
}

/* Whether a raw value says nothing: null or "". */
static inline bool assemble_is_empty(struct span raw)
{
    return SAYS(raw, "null") || SAYS(raw, "\"\"");
}

struct assemble_api {
    size_t own_bytes; /* of the struct at `own`, which starts zeroed */
    /* Make the values that are always there; may fail in the pool. */
    void (*start)(struct assemble *a);
    /* One event; `data` is UTF-8, not empty, and not yet known to be JSON. */
    void (*event)(struct assemble *a, struct span data);
    /* The [DONE] of OpenAI's streams, which gateways add to others too. */
    void (*done)(struct assemble *a);
    /* The end of the stream now would complete the answer. */
    bool (*could_end)(const struct assemble *a);
    void (*write)(struct assemble *a, struct buf *out);
    /* Whether a body that is a whole JSON object is an answer of this API. */
    bool (*is_answer)(const struct assemble *a, struct span body);
};

extern const struct assemble_api assemble_chat, assemble_messages, assemble_responses;

enum assemble_phase {
    ASSEMBLE_SNIFF, /* nothing but blanks so far */
    ASSEMBLE_PLAIN, /* the body is JSON, not events */
    ASSEMBLE_EVENTS
};

struct assemble {
    struct assemble_params params;
    const struct assemble_api *api;
    enum assemble_phase phase;
    enum assemble_state state;
    enum assemble_failure failure;
    struct sse sse;
    struct buf repaired; /* an event that was not UTF-8 */
    struct buf body;     /* a plain body as it comes; the assembled body at the end */
    struct buf error;
    struct assemble_progress progress;
    struct value_pool pool;
    void *own; /* of the API, in the pool */
};

/* The body is complete: no further event is read. */
void assemble_complete(struct assemble *a);
void assemble_fail(struct assemble *a, enum assemble_failure failure);
/* Fail with the error in what the provider sent: its `error` member, else the object itself. */
void assemble_fail_upstream(struct assemble *a, struct span sent);
/* Note the tokens that a usage object tells. */
void assemble_note_usage(struct assemble *a, struct span usage);
void assemble_note_output(struct assemble *a, size_t bytes);

#endif
