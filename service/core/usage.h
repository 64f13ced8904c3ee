/* The tokens that a provider says it counted: `usage` of Chat Completions (prompt_tokens,
 * completion_tokens), of Responses, Messages and /api/llm (input_tokens, output_tokens).
 * Pure; thread: any. */
#ifndef CORE_USAGE_H
#define CORE_USAGE_H

#include "base/span.h"

struct usage {
    uint64_t input_tokens, output_tokens; /* 0: not known */
};

/* Sets what a usage object tells; what it does not stays as it was. */
void usage_note(struct usage *usage, struct span object);
/* What a whole answer tells; all 0: nothing.  Reads it to its end. */
struct usage usage_of_answer(struct span body);

#endif
