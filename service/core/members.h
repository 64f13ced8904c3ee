/* Which members of a request changed, told without keeping the request: a short hash of each
 * top-level member's name and value stands with the key, so that the error for a key that is
 * used again for another request can name what is different.
 *
 * Nothing can be read from the hashes at rest, and hashes of two keys cannot be compared: they
 * are salted with the key's digest.  They only make an error's text; what is the same request is
 * decided by core/fingerprint.h.  Pure; thread: any. */
#ifndef CORE_MEMBERS_H
#define CORE_MEMBERS_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/sha256.h"

enum {
    MEMBERS_MAX = 64,       /* the first ones in canonical order; more are not looked at */
    MEMBERS_HASH_BYTES = 8, /* each, of the name and of the value */
    MEMBERS_BYTES_MAX = MEMBERS_MAX * 2 * MEMBERS_HASH_BYTES,
    MEMBERS_NAME_BYTES_MAX = 64, /* longer names are not repeated in an error */
    MEMBERS_NAMED_MAX = 8        /* of those that differ, and of those that were added */
};

struct members {
    struct span hashes; /* 16 bytes a member: what is stored with the key */
    const struct span
        *names; /* of this request, as canonical JSON escapes them; absent: long */
};

/* `canonical`: an object in its canonical form (core/canonical.h).  `key` is the digest that the
 * store knows the key by.  The result lives in `arena` and takes at most 8 KiB of it.
 * E_NOMEM. */
MUST_CHECK enum rc members_of(const struct digest *key, struct span canonical,
                              struct arena *arena, struct members *ret);

/* Appends one sentence, without a full stop, on how `now` differs from the request whose hashes
 * are `first`: members that differ, were added, are missing.  Nothing when `first` is absent or
 * not ours. */
void members_explain(const struct members *now, struct span first, struct buf *out);

#endif
