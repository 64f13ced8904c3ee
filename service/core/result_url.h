/* Result URLs: /requests/{flight id}, for the flight's own caller, and /requests/{result token},
 * for whoever has it.  `?n=1`, `?n=2` ... are the hops of a redirect chain, each URL new, as
 * some clients stop at a URL they have seen.
 *
 * A flight id is 32 hexadecimal digits and no secret.  A result token is 43 characters of
 * base64url (RFC 4648, section 5) for 32 random bytes; only its digest is stored, and it appears
 * nowhere but in the Location that hands it out.  Pure; thread: any. */
#ifndef CORE_RESULT_URL_H
#define CORE_RESULT_URL_H

#include "base/buf.h"
#include "base/sha256.h"
#include "core/key.h"

enum {
    RESULT_TOKEN_BYTES = 32,
    RESULT_TOKEN_TEXT_BYTES = 44, /* with the NUL */
    RESULT_HOPS_MAX = 100000,     /* what ?n= may say; routes allow far fewer */
};

struct result_token {
    char text[RESULT_TOKEN_TEXT_BYTES];
};

/* Which result a URL names. */
struct result_ref {
    bool by_token;
    struct flight_id flight;   /* not by_token */
    struct result_token token; /* by_token */
    struct digest digest;      /* by_token: SHA-256 of its text */
    bool in_chain;             /* it has a hop */
    unsigned hop;              /* in_chain: at least 1 */
};

struct result_token result_token_make(const uint8_t random[RESULT_TOKEN_BYTES]);
/* E_NOMEM. */
MUST_CHECK enum rc result_token_digest(const struct result_token *token, struct digest *ret);

/* Whether a path is below /requests/, whatever it names. */
bool result_url_is_one(struct span path);
/* E_NOT_FOUND: it names no result, by its path or its ?n= (other parameters are ignored);
 * E_NOMEM. */
MUST_CHECK enum rc result_url_read(struct span path, struct span query, struct result_ref *ret);
/* Appends the URL, relative as a path without scheme and host; hop 0: none, else up to
 * RESULT_HOPS_MAX. */
void result_url_write(const struct result_token *token, unsigned hop, struct buf *out);

#endif
