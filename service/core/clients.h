/* Who presents this token?  Pure; thread: any. */
#ifndef CORE_CLIENTS_H
#define CORE_CLIENTS_H

#include "core/config.h"

/* The client whose token_sha256 is the digest of `secret` (the credential without its carrier).
 * All clients are compared, in constant time each, so that time tells nothing about the tokens
 * that exist.  E_NOT_FOUND: nobody's; E_NOMEM.  *ret lives as long as `config`. */
MUST_CHECK enum rc clients_find(const struct config *config, struct span secret,
                                const struct config_client **ret);

#endif
