#include "core/json.h"
#include "core/utf8.h"

#include <endian.h>
#include <string.h>

const char *json_error_text(enum json_error error)
{
    switch (error) {
#define X(name, text)                                                                          \
    case name:                                                                                 \
        return text;
        JSON_ERROR_TABLE(X)
#undef X
    }
    return "unknown error";
}

void json_init(struct json *json, struct span text, enum json_mode mode)
{
    if (!text.p)
        text = SPAN(""); /* no arithmetic on NULL */
    *json = (struct json){
        .p = text.p, .start = text.p, .end = text.p + text.n, .mode = mode, .fresh = true};
}

void json_resume(struct json *json, struct span text, size_t offset, enum json_mode mode)
{
    json_init(json, text, mode);
    json->p += offset;
    json->depth = 1;
    json->fresh = false;
}

struct span json_drop_bom(struct span text)
{
    return span_starts(text, "\xEF\xBB\xBF") ? span_from(text, 3) : text;
}

size_t json_offset(const struct json *json)
{
    return (size_t)(json->p - json->start);
}

static bool fail(struct json *json, enum json_error error)
{
    if (json->error == JSON_FINE)
        json->error = error;
    return false;
}

static bool skip_blanks(struct json *json)
{
    while (json->p < json->end &&
           (*json->p == ' ' || *json->p == '\n' || *json->p == '\r' || *json->p == '\t'))
        json->p++;
    return json->p < json->end ? true : fail(json, JSON_EOF);
}

/* False with JSON_EOF when nothing but white space is left. */
static inline bool skip_space(struct json *json)
{
    return json->p < json->end && (unsigned char)*json->p > ' ' ? true : skip_blanks(json);
}

static enum json_type type_of(char first)
{
    static const unsigned char types[256] = {
        ['{'] = JSON_OBJECT, ['['] = JSON_ARRAY,         ['"'] = JSON_STRING,
        ['t'] = JSON_TRUE,   ['f'] = JSON_FALSE,         ['n'] = JSON_NULL,
        ['-'] = JSON_NUMBER, ['0' ... '9'] = JSON_NUMBER};
    return (enum json_type)types[(unsigned char)first];
}

enum json_type json_peek(struct json *json)
{
    if (json->error != JSON_FINE || !skip_space(json))
        return JSON_NONE;
    enum json_type type = type_of(*json->p);
    if (type == JSON_NONE)
        (void)fail(json, JSON_BAD_VALUE);
    return type;
}

/* ---- scalars */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Four hexadecimal digits at p (there are at least four bytes), or -1. */
static int hex4(const char *p)
{
    int value = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(p[i]);
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

static bool is_high_surrogate(int unit)
{
    return unit >= 0xD800 && unit <= 0xDBFF;
}
static bool is_low_surrogate(int unit)
{
    return unit >= 0xDC00 && unit <= 0xDFFF;
}

/* The \uXXXX whose backslash is at p, or -1. */
static int unicode_escape(const char *p, const char *end)
{
    return end - p >= 6 && p[0] == '\\' && p[1] == 'u' ? hex4(p + 2) : -1;
}

/* At the backslash; consumes the escape. */
static bool read_escape(struct json *json)
{
    if (json->end - json->p < 2)
        return fail(json, JSON_EOF);
    if (json->p[1] != 'u') {
        if (!json->p[1] || !strchr("\"\\/bfnrt", json->p[1]))
            return fail(json, JSON_BAD_ESCAPE);
        json->p += 2;
        return true;
    }
    int unit = unicode_escape(json->p, json->end);
    if (unit < 0)
        return fail(json, json->end - json->p < 6 ? JSON_EOF : JSON_BAD_ESCAPE);
    if (is_high_surrogate(unit) && is_low_surrogate(unicode_escape(json->p + 6, json->end))) {
        json->p += 12;
        return true;
    }
    if ((is_high_surrogate(unit) || is_low_surrogate(unit)) && json->mode == JSON_STRICT)
        return fail(json, JSON_BAD_SURROGATE);
    json->p += 6;
    return true;
}

/* Past the bytes that need no look in a string: ASCII without controls, quotes and backslashes,
 * eight at a time.  A borrow can only mark bytes behind a marked one, so the first mark counts.
 */
static const char *skip_plain(const char *p, const char *end)
{
    const uint64_t ones = 0x0101010101010101U;
    uint64_t word;
    while ((size_t)(end - p) >= sizeof word) {
        memcpy(&word, p, sizeof word);
        word = le64toh(word);
        uint64_t special = (word | (word - 0x20 * ones) | ((word ^ '"' * ones) - ones) |
                            ((word ^ '\\' * ones) - ones)) &
                           (0x80 * ones);
        if (special)
            return p + __builtin_ctzll(special) / 8;
        p += sizeof word;
    }
    return p;
}

/* At the opening quote; consumes the string. */
static bool read_string(struct json *json)
{
    json->p++;
    while ((json->p = skip_plain(json->p, json->end)) < json->end) {
        unsigned char c = (unsigned char)*json->p;
        if (c == '"') {
            json->p++;
            return true;
        }
        if (c == '\\') {
            if (!read_escape(json))
                return false;
        } else if (c < 0x20) {
            return fail(json, JSON_BAD_CONTROL);
        } else if (c < 0x80) {
            json->p++;
        } else {
            size_t n =
                utf8_length((const unsigned char *)json->p, (size_t)(json->end - json->p));
            if (n == 0)
                return fail(json, JSON_BAD_UTF8);
            json->p += n;
        }
    }
    return fail(json, JSON_EOF);
}

static bool read_digits(struct json *json)
{
    const char *first = json->p;
    while (json->p < json->end && *json->p >= '0' && *json->p <= '9')
        json->p++;
    return json->p > first ? true : fail(json, json->p < json->end ? JSON_BAD_VALUE : JSON_EOF);
}

static bool read_number(struct json *json)
{
    if (*json->p == '-')
        json->p++;
    if (json->p < json->end && *json->p == '0')
        json->p++; /* a digit behind it is caught as a missing comma */
    else if (!read_digits(json))
        return false;
    if (json->p < json->end && *json->p == '.') {
        json->p++;
        if (!read_digits(json))
            return false;
    }
    if (json->p < json->end && (*json->p | 0x20) == 'e') {
        json->p++;
        if (json->p < json->end && (*json->p == '+' || *json->p == '-'))
            json->p++;
        return read_digits(json);
    }
    return true;
}

static bool read_word(struct json *json, const char *word, size_t n)
{
    if ((size_t)(json->end - json->p) < n || memcmp(json->p, word, n) != 0)
        return fail(json, JSON_BAD_VALUE);
    json->p += n;
    return true;
}

/* ---- containers */

bool json_enter(struct json *json, enum json_type container)
{
    if (json_peek(json) != container)
        return false;
    if (json->depth == JSON_DEPTH_MAX)
        return fail(json, JSON_TOO_DEEP);
    json->depth++;
    json->p++;
    json->fresh = true;
    return true;
}

/* True: an item follows.  False: the container was closed, or an error. */
static bool next_item(struct json *json, char closing)
{
    if (json->error != JSON_FINE || !skip_space(json))
        return false;
    if (*json->p == closing) {
        json->p++;
        json->depth--;
        json->fresh = false;
        return false;
    }
    if (!json->fresh) {
        if (*json->p != ',')
            return fail(json, JSON_BAD_COMMA);
        json->p++;
        if (!skip_space(json))
            return false;
    }
    json->fresh = false;
    return true;
}

bool json_member(struct json *json, struct span *ret_name)
{
    if (!next_item(json, '}'))
        return false;
    if (*json->p != '"')
        return fail(json, JSON_BAD_KEY);
    const char *name = json->p + 1;
    if (!read_string(json))
        return false;
    struct span found = {name, (size_t)(json->p - 1 - name)};
    if (!skip_space(json))
        return false;
    if (*json->p != ':')
        return fail(json, JSON_BAD_COLON);
    json->p++;
    *ret_name = found;
    return true;
}

bool json_element(struct json *json)
{
    return next_item(json, ']');
}

/* Consumes the value of this type that comes next.  Recursion ends at JSON_DEPTH_MAX. */
static void skip_value(struct json *json, enum json_type type) /* NOLINT(misc-no-recursion) */
{
    struct span name;
    switch (type) {
    case JSON_STRING:
        (void)read_string(json);
        return;
    case JSON_NULL:
        (void)read_word(json, "null", 4);
        return;
    case JSON_NUMBER:
        (void)read_number(json);
        return;
    case JSON_OBJECT:
        if (json_enter(json, JSON_OBJECT))
            while (json_member(json, &name))
                skip_value(json, json_peek(json));
        return;
    case JSON_ARRAY:
        if (json_enter(json, JSON_ARRAY))
            while (json_element(json))
                skip_value(json, json_peek(json));
        return;
    case JSON_TRUE:
        (void)read_word(json, "true", 4);
        return;
    case JSON_FALSE:
        (void)read_word(json, "false", 5);
        return;
    case JSON_NONE:
        return;
    }
}

void json_skip(struct json *json)
{
    skip_value(json, json_peek(json));
}

struct span json_value(struct json *json)
{
    enum json_type type = json_peek(json);
    const char *first = json->p;
    skip_value(json, type);
    return json->error == JSON_FINE ? (struct span){first, (size_t)(json->p - first)}
                                    : SPAN_ABSENT;
}

bool json_end(struct json *json)
{
    if (json->error != JSON_FINE)
        return false;
    if (!skip_space(json)) {
        json->error = JSON_FINE;
        return true;
    }
    return fail(json, JSON_TRAILING);
}

/* ---- raw values */

enum json_type json_type(struct span value)
{
    return value.n ? type_of(value.p[0]) : JSON_NONE;
}

struct span json_inside(struct span string)
{
    return json_type(string) == JSON_STRING ? (struct span){string.p + 1, string.n - 2}
                                            : SPAN_ABSENT;
}

/* Decodes the valid escape at the start of `rest` into out[4]; returns the bytes written and
 * consumes the escape. */
static size_t decode_escape(struct span *rest, char out[4])
{
    static const char letters[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
    const char *end = rest->p + rest->n;
    int unit = unicode_escape(rest->p, end);
    if (unit < 0) {
        const char *letter = strchr(letters, rest->p[1]);
        ASSERT(letter && *letter);
        out[0] = bytes[letter - letters];
        *rest = span_from(*rest, 2);
        return 1;
    }
    size_t consumed = 6;
    if (is_high_surrogate(unit)) {
        int second = unicode_escape(rest->p + 6, end);
        if (is_low_surrogate(second)) {
            unit = 0x10000 + ((unit - 0xD800) << 10) + (second - 0xDC00);
            consumed = 12;
        } else {
            unit = 0xFFFD;
        }
    } else if (is_low_surrogate(unit)) {
        unit = 0xFFFD;
    }
    *rest = span_from(*rest, consumed);
    return utf8_encode(unit, out);
}

void json_unescape(struct span escaped, struct buf *out)
{
    while (escaped.n) {
        size_t plain = span_find(escaped, '\\');
        buf_add(out, (struct span){escaped.p, plain});
        escaped = span_from(escaped, plain);
        if (!escaped.n)
            return;
        char bytes[4];
        size_t n = decode_escape(&escaped, bytes);
        buf_add(out, (struct span){bytes, n});
    }
}

void json_close_surrogates(char *text, size_t n)
{
    static const char replacement[] = {'\\', 'u', 'f', 'f', 'f', 'd'};
    char *end = text + n;
    while ((text = memchr(text, '\\', (size_t)(end - text))) != NULL) {
        int unit = unicode_escape(text, end);
        size_t length = unit < 0 ? 2 : 6;
        if (is_high_surrogate(unit) && is_low_surrogate(unicode_escape(text + 6, end)))
            length = 12;
        else if (is_high_surrogate(unit) || is_low_surrogate(unit))
            memcpy(text, replacement, sizeof replacement);
        text += length;
    }
}

bool json_string_is(struct span escaped, const char *text)
{
    struct span want = span_of(text);
    if (span_find(escaped, '\\') == escaped.n)
        return span_eq(escaped, want);
    while (escaped.n) {
        char bytes[4] = {escaped.p[0]};
        size_t n = 1;
        if (escaped.p[0] == '\\')
            n = decode_escape(&escaped, bytes);
        else
            escaped = span_from(escaped, 1);
        if (want.n < n || memcmp(want.p, bytes, n) != 0)
            return false;
        want = span_from(want, n);
    }
    return want.n == 0;
}

void json_escape(struct span text, struct buf *out)
{
    static const char letters[] = "btnvfr"; /* of 8..13; \v is not JSON */
    size_t plain = 0;
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        buf_add(out, (struct span){text.p + plain, i - plain});
        plain = i + 1;
        buf_add_byte(out, '\\');
        if (c == '"' || c == '\\')
            buf_add_byte(out, (char)c);
        else if (c >= 8 && c <= 13 && c != '\v')
            buf_add_byte(out, letters[c - 8]);
        else
            buf_printf(out, "u%04x", c);
    }
    buf_add(out, (struct span){text.p + plain, text.n - plain});
}

void json_quote(struct span text, struct buf *out)
{
    buf_add_byte(out, '"');
    json_escape(text, out);
    buf_add_byte(out, '"');
}

struct span json_get(struct span object, const char *name)
{
    struct json json;
    struct span member;
    json_init(&json, object, JSON_LENIENT);
    if (!json_enter(&json, JSON_OBJECT))
        return SPAN_ABSENT;
    while (json_member(&json, &member)) {
        if (json_string_is(member, name))
            return json_value(&json);
        json_skip(&json);
    }
    return SPAN_ABSENT;
}

bool json_to_u64(struct span value, uint64_t *ret)
{
    return json_type(value) == JSON_NUMBER && span_to_u64(value, ret);
}
