/* Who asks.  Keys of two scopes never meet, and the store learns neither keys nor credentials:
 * it holds digests, salted with random bytes of its own.  Pure; thread: any. */
#ifndef CORE_SCOPE_H
#define CORE_SCOPE_H

#include "base/sha256.h"

/* X(enum, word in the digest), and what its tenant is */
#define SCOPE_KIND_TABLE(X)                                                                    \
    X(SCOPE_CLIENT, "client")         /* the configured client's name */                       \
    X(SCOPE_CREDENTIAL, "credential") /* the secret, without its carrier */                    \
    X(SCOPE_ANONYMOUS, "anonymous")   /* nothing: an empty span */

enum scope_kind {
#define X(name, word) name,
    SCOPE_KIND_TABLE(X)
#undef X
};

/* SHA-256("scope-v1" || salt || kind || 0x00 || tenant).  All salts of one store have one
 * length, so that no two inputs are the same bytes.  E_NOMEM. */
MUST_CHECK enum rc scope_digest(struct span salt, enum scope_kind kind, struct span tenant,
                                struct digest *ret);
/* What the store knows a key by: SHA-256(scope || key).  E_NOMEM. */
MUST_CHECK enum rc scope_key_digest(const struct digest *scope, struct span key,
                                    struct digest *ret);

#endif
