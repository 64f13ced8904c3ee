#include "core/usage.h"

#include "core/json.h"

void usage_note(struct usage *usage, struct span object)
{
    uint64_t tokens;
    if (json_to_u64(json_get(object, "prompt_tokens"), &tokens) ||
        json_to_u64(json_get(object, "input_tokens"), &tokens))
        usage->input_tokens = tokens;
    if (json_to_u64(json_get(object, "completion_tokens"), &tokens) ||
        json_to_u64(json_get(object, "output_tokens"), &tokens))
        usage->output_tokens = tokens;
}

struct usage usage_of_answer(struct span body)
{
    struct usage usage = {0};
    usage_note(&usage, json_get(body, "usage"));
    return usage;
}
