/* SHA-256 (FIPS 180-4) of libcrypto, which libcurl brings along.  Thread: one owner. */
#ifndef BASE_SHA256_H
#define BASE_SHA256_H

#include "base/rc.h"
#include "base/span.h"

enum { SHA256_BYTES = 32 };

struct digest {
    uint8_t bytes[SHA256_BYTES];
};

struct sha256;
/* NULL: out of memory. */
struct sha256 *sha256_new(void);
void sha256_free(struct sha256 *sha);
void sha256_feed(struct sha256 *sha, struct span bytes);
/* The digest of everything fed; then only sha256_free may follow. */
struct digest sha256_end(struct sha256 *sha);
OWNED_DEFINE(sha256)

/* The digest of the `count` parts one after another.  E_NOMEM. */
MUST_CHECK enum rc sha256_of(const struct span *parts, size_t count, struct digest *ret);
/* Takes the same time wherever the two differ, for comparing secrets. */
bool digest_eq(const struct digest *a, const struct digest *b);
/* 64 hexadecimal digits of either case.  False: anything else. */
bool digest_from_hex(struct span hex, struct digest *ret);
enum { DIGEST_BASE64_BYTES = 45 };
/* 44 characters of base64 (RFC 4648, section 4) and a NUL. */
void digest_base64(const struct digest *digest, char text[DIGEST_BASE64_BYTES]);

#endif
