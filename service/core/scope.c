#include "core/scope.h"

static const char *const words[] = {
#define X(kind, word) [kind] = word,
    SCOPE_KIND_TABLE(X)
#undef X
};

enum rc scope_digest(struct span salt, enum scope_kind kind, struct span tenant,
                     struct digest *ret)
{
    struct span parts[] = {SPAN("scope-v1"), salt, span_of(words[kind]), SPAN("\0"), tenant};
    return sha256_of(parts, COUNT_OF(parts), ret);
}

enum rc scope_key_digest(const struct digest *scope, struct span key, struct digest *ret)
{
    struct span parts[] = {{(const char *)scope->bytes, sizeof scope->bytes}, key};
    return sha256_of(parts, COUNT_OF(parts), ret);
}
