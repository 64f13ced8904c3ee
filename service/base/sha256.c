#include "base/sha256.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

/* EVP_MD_CTX under a name of ours, so that the header needs no OpenSSL. */
static EVP_MD_CTX *context(struct sha256 *sha)
{
    return (EVP_MD_CTX *)sha;
}

struct sha256 *sha256_new(void)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    if (!md)
        return NULL;
    if (EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(md);
        return NULL;
    }
    return (struct sha256 *)md;
}

void sha256_free(struct sha256 *sha)
{
    EVP_MD_CTX_free(context(sha));
}

void sha256_feed(struct sha256 *sha, struct span bytes)
{
    /* With a digest context that was initialised this cannot fail. */
    int fed = EVP_DigestUpdate(context(sha), bytes.p, bytes.n);
    ASSERT(fed == 1);
}

struct digest sha256_end(struct sha256 *sha)
{
    struct digest digest;
    int ended = EVP_DigestFinal_ex(context(sha), digest.bytes, NULL);
    ASSERT(ended == 1);
    return digest;
}

enum rc sha256_of(const struct span *parts, size_t count, struct digest *ret)
{
    OWNED(sha256) sha = sha256_new();
    if (!sha)
        return E_NOMEM;
    for (size_t i = 0; i < count; i++)
        sha256_feed(sha, parts[i]);
    *ret = sha256_end(sha);
    return OK;
}

bool digest_eq(const struct digest *a, const struct digest *b)
{
    return CRYPTO_memcmp(a->bytes, b->bytes, SHA256_BYTES) == 0;
}

bool digest_from_hex(struct span hex, struct digest *ret)
{
    return span_hex_to_bytes(hex, ret->bytes, sizeof ret->bytes);
}

void digest_base64(const struct digest *digest, char text[DIGEST_BASE64_BYTES])
{
    int n = EVP_EncodeBlock((unsigned char *)text, digest->bytes, SHA256_BYTES);
    ASSERT(n == DIGEST_BASE64_BYTES - 1);
}
