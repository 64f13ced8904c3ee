/* The tool calls of one chat choice, as they grow from deltas.  Private to assemble_chat.c,
 * whose table has the rules. */
#ifndef CORE_ASSEMBLE_CALLS_H
#define CORE_ASSEMBLE_CALLS_H

#include "core/assemble_api.h"

struct call;

/* Zeroed when empty. */
struct assemble_calls {
    struct call *first; /* by index, those without one last */
    struct call *found; /* the one that grew last */
    size_t count;
};

/* Take in the `tool_calls` of a delta, which come next. */
void assemble_calls_merge(struct assemble *a, struct assemble_calls *calls, struct json *json);
/* Take in a `function`, `function_call` or `custom` (and `audio`, which works alike): the text
 * in it is appended, the rest replaced. */
void assemble_calls_merge_function(struct assemble *a, struct value *function, struct span raw);
/* Append the `tool_calls` member of the message; nothing when there are none. */
void assemble_calls_write(struct assemble *a, struct assemble_calls *calls, struct buf *out);

#endif
