#include "core/attempt.h"

#include <stdlib.h>

static const struct {
    const char *name, *text;
} ends[ATTEMPT_END_COUNT] = {
#define X(end, name, text) [end] = {name, text},
    ATTEMPT_END_TABLE(X)
#undef X
};

const char *attempt_end_name(enum attempt_end end)
{
    return ends[end].name;
}

const char *attempt_end_text(enum attempt_end end)
{
    return ends[end].text;
}

void attempt_outcome_done(struct attempt_outcome *outcome)
{
    blob_free(outcome->body);
    free(outcome->header_bytes);
    *outcome = (struct attempt_outcome){0};
}
