#include "core/idem_key.h"

#include "core/json.h"

#include <string.h>

static const struct {
    const char *name, *text;
} errors[] = {
#define X(error, word, text) [error] = {word, text},
    IDEM_KEY_ERROR_TABLE(X)
#undef X
};

const char *idem_key_error_name(enum idem_key_error error)
{
    return errors[error].name;
}

const char *idem_key_error_text(enum idem_key_error error)
{
    return errors[error].text;
}

static bool is_printable(char c)
{
    return c >= 0x20 && c <= 0x7E;
}

/* Visible and without a meaning of its own in a structured field. */
static bool is_bare(char c)
{
    return c > 0x20 && c <= 0x7E && c != '"' && c != ',' && c != ';' && c != '\\';
}

static enum idem_key_error read_bare(struct span text, struct idem_key *key)
{
    if (text.n > IDEM_KEY_BYTES_MAX)
        return IDEM_KEY_BARE;
    for (size_t i = 0; i < text.n; i++)
        if (!is_bare(text.p[i]))
            return IDEM_KEY_BARE;
    memcpy(key->bytes, text.p, text.n);
    key->n = text.n;
    return IDEM_KEY_FINE;
}

/* RFC 9651, 4.2.5: consumes a String whose opening quote is already gone.  `key` may be NULL;
 * what is too long for it is counted, not kept. */
static enum idem_key_error read_string(struct span *text, struct idem_key *key)
{
    size_t n = 0;
    while (text->n) {
        char c = text->p[0];
        *text = span_from(*text, 1);
        if (c == '"') {
            if (key)
                key->n = n;
            return n && n <= IDEM_KEY_BYTES_MAX ? IDEM_KEY_FINE : IDEM_KEY_LENGTH;
        }
        if (c == '\\') {
            if (!text->n || (text->p[0] != '"' && text->p[0] != '\\'))
                return IDEM_KEY_ESCAPE;
            c = text->p[0];
            *text = span_from(*text, 1);
        }
        if (!is_printable(c))
            return IDEM_KEY_CHAR;
        if (key && n < IDEM_KEY_BYTES_MAX)
            key->bytes[n] = c;
        n++;
    }
    return IDEM_KEY_UNTERMINATED;
}

static struct span skip_bare(struct span text)
{
    while (text.n && is_bare(text.p[0]))
        text = span_from(text, 1);
    return text;
}

/* RFC 9651, 4.2.3.2, no stricter than needed to find where each parameter ends: a comma behind
 * one would be the start of a second field line that a proxy joined to the first. */
static bool are_parameters(struct span text)
{
    while (text.n && text.p[0] == ';') {
        text = span_from(text, 1);
        while (text.n && text.p[0] == ' ')
            text = span_from(text, 1);
        struct span rest = skip_bare(text);
        if (rest.n == text.n)
            return false;
        bool has_value = rest.p[-1] == '=';
        text = rest;
        if (has_value && text.n && text.p[0] == '"') {
            text = span_from(text, 1);
            enum idem_key_error error = read_string(&text, NULL);
            if (error != IDEM_KEY_FINE && error != IDEM_KEY_LENGTH)
                return false;
        }
    }
    return text.n == 0;
}

static enum idem_key_error read_value(struct span text, struct idem_key *key)
{
    text = span_trim(text);
    if (!text.n)
        return IDEM_KEY_EMPTY;
    if (text.p[0] != '"')
        return read_bare(text, key);
    text = span_from(text, 1);
    enum idem_key_error error = read_string(&text, key);
    if (error != IDEM_KEY_FINE)
        return error;
    return are_parameters(text) ? IDEM_KEY_FINE : IDEM_KEY_TRAILING;
}

static enum idem_key_error read_header(const struct headers *headers, const char *name,
                                       struct idem_key *key)
{
    size_t count = header_count(headers, name);
    if (count > 1)
        return IDEM_KEY_MULTIPLE;
    return count ? read_value(header_get(headers, name), key) : IDEM_KEY_FINE;
}

/* One key out of two of which either may be absent. */
static enum idem_key_error join(struct idem_key *key, const struct idem_key *other)
{
    if (other->n && key->n && !span_eq(idem_key_span(key), idem_key_span(other)))
        return IDEM_KEY_DIFFERENT;
    if (other->n)
        *key = *other;
    return IDEM_KEY_FINE;
}

enum idem_key_error idem_key_from_headers(const struct headers *headers, struct idem_key *ret)
{
    struct idem_key key = {.n = 0}, alias = {.n = 0};
    enum idem_key_error error = read_header(headers, "idempotency-key", &key);
    if (error == IDEM_KEY_FINE)
        error = read_header(headers, "x-idempotency-key", &alias);
    if (error == IDEM_KEY_FINE)
        error = join(&key, &alias);
    if (error == IDEM_KEY_FINE)
        *ret = key;
    return error;
}

enum idem_key_error idem_key_join_member(struct idem_key *key, struct span value)
{
    enum json_type type = json_type(value);
    if (type == JSON_NONE || type == JSON_NULL)
        return IDEM_KEY_FINE;
    if (type != JSON_STRING)
        return IDEM_KEY_TYPE;
    /* A buffer that never grows beyond this memory: the only failure is E_LIMIT. */
    char memory[IDEM_KEY_BYTES_MAX + 1];
    struct buf text = {.p = memory, .capacity = sizeof memory, .bytes_max = IDEM_KEY_BYTES_MAX};
    json_unescape(json_inside(value), &text);
    if (buf_rc(&text) != OK || !text.n)
        return IDEM_KEY_LENGTH;
    struct idem_key member = {.n = text.n};
    for (size_t i = 0; i < text.n; i++)
        if (!is_printable(text.p[i]))
            return IDEM_KEY_CHAR;
    memcpy(member.bytes, text.p, text.n);
    return join(key, &member);
}

enum idem_key_error idem_key_check_anonymous(const struct idem_key *key)
{
    return key->n && key->n < IDEM_KEY_ANONYMOUS_BYTES_MIN ? IDEM_KEY_SHORT : IDEM_KEY_FINE;
}
