#include "core/result_url.h"

#include <string.h>

#define RESULT_PATH "/requests/"

enum { TOKEN_CHARS = RESULT_TOKEN_TEXT_BYTES - 1 };

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

struct result_token result_token_make(const uint8_t random[RESULT_TOKEN_BYTES])
{
    struct result_token token = {.text = ""};
    for (size_t i = 0; i < TOKEN_CHARS; i++) {
        size_t bit = 6 * i, byte = bit / 8;
        unsigned two = (unsigned)random[byte] << 8;
        if (byte + 1 < RESULT_TOKEN_BYTES)
            two |= random[byte + 1];
        token.text[i] = alphabet[two >> (10 - bit % 8) & 63];
    }
    return token;
}

enum rc result_token_digest(const struct result_token *token, struct digest *ret)
{
    const struct span text = span_of(token->text);
    return sha256_of(&text, 1, ret);
}

bool result_url_is_one(struct span path)
{
    return span_starts(path, RESULT_PATH);
}

/* Of the last character two bits stand for nothing and are 0 (RFC 4648, section 3.5), so that
 * there is one text for a token. */
static bool is_token(struct span text)
{
    size_t value = 0;
    if (text.n != TOKEN_CHARS)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        const char *found = text.p[i] ? strchr(alphabet, text.p[i]) : NULL;
        if (!found)
            return false;
        value = (size_t)(found - alphabet);
    }
    return value % 4 == 0;
}

static bool read_path(struct span path, struct result_ref *ref)
{
    if (!result_url_is_one(path))
        return false;
    struct span name = span_from(path, strlen(RESULT_PATH));
    if (span_hex_to_bytes(name, ref->flight.bytes, sizeof ref->flight.bytes))
        return true;
    ref->by_token = is_token(name);
    if (ref->by_token)
        memcpy(ref->token.text, name.p, TOKEN_CHARS);
    return ref->by_token;
}

static bool read_query(struct span query, struct result_ref *ref)
{
    while (query.p) {
        struct span value = span_cut(&query, '&');
        uint64_t hop;
        if (!span_is(span_cut(&value, '='), "n"))
            continue;
        if (ref->in_chain || !span_to_u64(value, &hop) || hop < 1 || hop > RESULT_HOPS_MAX)
            return false;
        ref->in_chain = true;
        ref->hop = (unsigned)hop;
    }
    return true;
}

enum rc result_url_read(struct span path, struct span query, struct result_ref *ret)
{
    struct result_ref ref = {.by_token = false};
    if (!read_path(path, &ref) || !read_query(query, &ref))
        return E_NOT_FOUND;
    enum rc rc = ref.by_token ? result_token_digest(&ref.token, &ref.digest) : OK;
    if (rc == OK)
        *ret = ref;
    return rc;
}

void result_url_write(const struct result_token *token, unsigned hop, struct buf *out)
{
    ASSERT(hop <= RESULT_HOPS_MAX);
    buf_add_text(out, RESULT_PATH);
    buf_add_text(out, token->text);
    if (hop)
        buf_printf(out, "?n=%u", hop);
}
