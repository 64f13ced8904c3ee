/* The credential that a client sent, in whichever header its SDK uses.
 *
 * Bearer, x-api-key and api-key carry the same secrets (SDK versions differ), so a secret is
 * the same credential in each.  An Authorization of another scheme (Basic, ...) is a credential
 * of its own: its whole value.  An empty value is no credential.  Pure; thread: any. */
#ifndef CORE_CREDENTIAL_H
#define CORE_CREDENTIAL_H

#include "core/http_message.h"

/* X(enum, header).  In the order in which equal ones are reported. */
#define CREDENTIAL_CARRIER_TABLE(X)                                                            \
    X(CREDENTIAL_NONE, "")                                                                     \
    X(CREDENTIAL_BEARER, "authorization")                                                      \
    X(CREDENTIAL_AUTHORIZATION, "authorization")                                               \
    X(CREDENTIAL_X_API_KEY, "x-api-key")                                                       \
    X(CREDENTIAL_API_KEY, "api-key")

enum credential_carrier {
#define X(name, header) name,
    CREDENTIAL_CARRIER_TABLE(X)
#undef X
};

struct credential {
    enum credential_carrier carrier;
    struct span secret; /* without "Bearer "; in the headers' memory; absent: none was sent */
};

/* OK, also when there is none.  E_CONFLICT: the headers hold different credentials. */
MUST_CHECK enum rc credential_find(const struct headers *headers, struct credential *ret);
/* Whether this is one of the three header names. */
bool credential_is_header(struct span name);

#endif
