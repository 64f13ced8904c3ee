/* The idempotency key: what is taken is a key that can be written again, in either spelling and
 * as a member, and is then the same key.
 *
 * Input: a line per header, 'x' for X-Idempotency-Key or anything else for Idempotency-Key in
 * front of its value; behind an empty line the raw JSON value of the member. */
#include "core/idem_key.h"
#include "fuzz.h"

enum { LINES_MAX = 4 };

static bool is_printable(struct span text)
{
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] < 0x20 || text.p[i] > 0x7E)
            return false;
    return true;
}

static void check_header(struct span value, struct span key)
{
    const struct header twice[] = {{SPAN("Idempotency-Key"), value},
                                   {SPAN("X-Idempotency-Key"), value}};
    struct headers headers = {twice, 2};
    struct idem_key again;
    ASSERT(idem_key_from_headers(&headers, &again) == IDEM_KEY_FINE);
    ASSERT(span_eq(idem_key_span(&again), key));
}

static bool is_bare(char c)
{
    return c != ' ' && !strchr("\",;\\", c);
}

static void check_key(const struct idem_key *key)
{
    struct span text = idem_key_span(key);
    BUF(quoted, FUZZ_BYTES_MAX);
    bool bare = true;
    if (!text.p)
        return;
    ASSERT(text.n <= IDEM_KEY_BYTES_MAX && is_printable(text));
    json_quote(text, &quoted); /* printable ASCII is quoted as in RFC 9651 */
    check_header(buf_span(&quoted), text);
    buf_add_text(&quoted, "; a=\"x,;\\\"\";b");
    check_header(buf_span(&quoted), text);
    for (size_t i = 0; i < text.n; i++)
        bare = bare && is_bare(text.p[i]);
    if (bare)
        check_header(text, text);
    struct idem_key joined = *key;
    quoted.n -= strlen("; a=\"x,;\\\"\";b");
    ASSERT(idem_key_join_member(&joined, buf_span(&quoted)) == IDEM_KEY_FINE);
    ASSERT(span_eq(idem_key_span(&joined), text));
    ASSERT((idem_key_check_anonymous(key) == IDEM_KEY_SHORT) ==
           (text.n < IDEM_KEY_ANONYMOUS_BYTES_MIN));
}

static struct header header_of(struct span line)
{
    struct span name =
        span_starts(line, "x") ? SPAN("x-idempotency-key") : SPAN("idempotency-key");
    return (struct header){name, span_from(line, 1)};
}

static void check_member(struct idem_key *key, struct span value)
{
    struct idem_key before = *key;
    struct json json;
    if (!fuzz_is_json(value, JSON_STRICT))
        return;
    json_init(&json, value, JSON_STRICT);
    enum idem_key_error error = idem_key_join_member(key, json_value(&json));
    ASSERT(idem_key_error_text(error));
    if (error != IDEM_KEY_FINE || before.n)
        ASSERT(span_eq(idem_key_span(key), idem_key_span(&before)));
    check_key(key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span rest = fuzz_span(data, size), line;
    struct header lines[LINES_MAX];
    struct headers headers = {lines, 0};
    struct idem_key key = {.n = 0};
    while (rest.p && (line = span_cut(&rest, '\n')).n)
        if (headers.count < LINES_MAX)
            lines[headers.count++] = header_of(line);
    enum idem_key_error error = idem_key_from_headers(&headers, &key);
    ASSERT(idem_key_error_text(error) && (error == IDEM_KEY_FINE || key.n == 0));
    check_key(&key);
    if (rest.p)
        check_member(&key, rest);
    return 0;
}
