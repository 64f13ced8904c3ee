/* Result URLs: a second, naive reader takes the same ones; a token that is read is the one text
 * of its 32 bytes; what is written is read again.
 *
 * Input: path and query of a request, and the bytes of a token. */
#include "core/result_url.h"
#include "fuzz.h"

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static bool is_made_of(struct span text, const char *characters)
{
    for (size_t i = 0; i < text.n; i++)
        if (!text.p[i] || !strchr(characters, text.p[i]))
            return false;
    return true;
}

/* Base64url bit by bit.  False: bits are left over, and not all 0. */
static bool decode(struct span text, uint8_t ret[RESULT_TOKEN_BYTES])
{
    bool spare = false;
    memset(ret, 0, RESULT_TOKEN_BYTES);
    for (size_t bit = 0; bit < 6 * text.n; bit++) {
        size_t value = (size_t)(strchr(alphabet, text.p[bit / 6]) - alphabet);
        bool set = value >> (5 - bit % 6) & 1;
        if (bit / 8 < RESULT_TOKEN_BYTES)
            ret[bit / 8] |= (uint8_t)(set << (7 - bit % 8));
        else
            spare |= set;
    }
    return !spare;
}

static bool is_result(struct span path)
{
    uint8_t bytes[RESULT_TOKEN_BYTES];
    if (!span_starts(path, "/requests/"))
        return false;
    struct span name = span_from(path, strlen("/requests/"));
    if (name.n == 32)
        return is_made_of(name, "0123456789abcdefABCDEF");
    return name.n == 43 && is_made_of(name, alphabet) && decode(name, bytes);
}

/* 0: it has none; -1: it is refused. */
static int hop_of(struct span query)
{
    int hop = 0;
    while (query.p) {
        struct span value = span_cut(&query, '&');
        if (!span_is(value, "n") && !span_starts(value, "n="))
            continue;
        value = span_from(value, 2);
        while (value.n > 1 && value.p[0] == '0')
            value = span_from(value, 1);
        if (hop || !value.n || value.n > 6 || !is_made_of(value, "0123456789"))
            return -1;
        char digits[8] = "";
        memcpy(digits, value.p, value.n);
        hop = atoi(digits);
        if (hop < 1 || hop > RESULT_HOPS_MAX)
            return -1;
    }
    return hop;
}

static void check_written(const struct result_token *token, unsigned hop)
{
    struct result_ref ref;
    BUF(url, 256);
    result_url_write(token, hop, &url);
    struct span query = buf_span(&url), path = span_cut(&query, '?');
    ASSERT(buf_rc(&url) == OK && result_url_read(path, query, &ref) == OK);
    ASSERT(ref.by_token && strcmp(ref.token.text, token->text) == 0);
    ASSERT(ref.in_chain == (hop > 0) && (!hop || ref.hop == hop));
}

static void check_read(struct span path, const struct result_ref *ref)
{
    struct span name = span_from(path, strlen("/requests/"));
    uint8_t bytes[RESULT_TOKEN_BYTES];
    struct digest digest;
    if (!ref->by_token) {
        ASSERT(span_hex_to_bytes(name, bytes, sizeof ref->flight.bytes));
        ASSERT(memcmp(bytes, ref->flight.bytes, sizeof ref->flight.bytes) == 0);
        return;
    }
    ASSERT(decode(name, bytes) && span_is(name, ref->token.text));
    ASSERT(span_is(name, result_token_make(bytes).text));
    ASSERT(sha256_of(&name, 1, &digest) == OK && digest_eq(&digest, &ref->digest));
    check_written(&ref->token, ref->in_chain ? ref->hop : 0);
}

static void check_token(struct span bytes)
{
    uint8_t random[RESULT_TOKEN_BYTES] = {0}, again[RESULT_TOKEN_BYTES];
    memcpy(random, bytes.p, bytes.n < sizeof random ? bytes.n : sizeof random);
    struct result_token token = result_token_make(random);
    ASSERT(strlen(token.text) == 43 && decode(span_of(token.text), again));
    ASSERT(memcmp(random, again, sizeof random) == 0);
    check_written(&token, random[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span query = fuzz_span(data, size), path = span_cut(&query, '?');
    struct result_ref ref = {.hop = 77};
    enum rc rc = result_url_read(path, query, &ref);
    int hop = hop_of(query);
    ASSERT((rc == OK) == (is_result(path) && hop >= 0) && (rc == OK || ref.hop == 77));
    if (rc == OK) {
        ASSERT(ref.in_chain == (hop > 0) && (!hop || ref.hop == (unsigned)hop));
        check_read(path, &ref);
    }
    if (size)
        check_token(fuzz_span(data, size));
    return 0;
}
