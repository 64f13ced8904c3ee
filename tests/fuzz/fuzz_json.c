/* The JSON reader: it takes exactly what a second, naive one takes; walking a text says the
 * same as skipping it; strings survive unescaping and escaping. */
#include "core/utf8.h"
#include "fuzz.h"

#include <inttypes.h>

/* ---- the naive reader: RFC 8259 as it is written, a function per rule */

struct naive {
    struct span rest;
    enum json_mode mode;
    unsigned depth;
};

static bool eat(struct naive *n, const char *word)
{
    if (!span_starts(n->rest, word))
        return false;
    n->rest = span_from(n->rest, strlen(word));
    return true;
}

static void eat_blanks(struct naive *n)
{
    while (eat(n, " ") || eat(n, "\t") || eat(n, "\n") || eat(n, "\r"))
        ;
}

static bool eat_digits(struct naive *n)
{
    size_t before = n->rest.n;
    while (n->rest.n && n->rest.p[0] >= '0' && n->rest.p[0] <= '9')
        n->rest = span_from(n->rest, 1);
    return n->rest.n < before;
}

static bool eat_number(struct naive *n)
{
    (void)eat(n, "-");
    if (!eat(n, "0") && !eat_digits(n))
        return false;
    if (eat(n, ".") && !eat_digits(n))
        return false;
    if (!eat(n, "e") && !eat(n, "E"))
        return true;
    (void)(eat(n, "+") || eat(n, "-"));
    return eat_digits(n);
}

/* RFC 3629: the code point is put together and judged. */
static bool eat_character(struct naive *n)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char first = (unsigned char)n->rest.p[0];
    size_t length = first < 0x80             ? 1
                    : (first & 0xE0) == 0xC0 ? 2
                    : (first & 0xF0) == 0xE0 ? 3
                    : (first & 0xF8) == 0xF0 ? 4
                                             : 0;
    if (!length || n->rest.n < length)
        return false;
    uint32_t point = length == 1 ? first : first & (0x7FU >> length);
    for (size_t i = 1; i < length; i++) {
        if ((n->rest.p[i] & 0xC0) != 0x80)
            return false;
        point = point << 6 | (n->rest.p[i] & 0x3F);
    }
    n->rest = span_from(n->rest, length);
    return point >= smallest[length] && point <= 0x10FFFF && (point >> 11) != 0x1B;
}

static bool eat_unit(struct naive *n, unsigned *ret)
{
    char digits[5] = "";
    if (n->rest.n < 4)
        return false;
    memcpy(digits, n->rest.p, 4);
    if (strspn(digits, "0123456789abcdefABCDEF") != 4)
        return false;
    *ret = (unsigned)strtoul(digits, NULL, 16);
    n->rest = span_from(n->rest, 4);
    return true;
}

static bool eat_escape(struct naive *n)
{
    unsigned unit, low;
    if (!eat(n, "u")) {
        bool known = n->rest.n && n->rest.p[0] && strchr("\"\\/bfnrt", n->rest.p[0]);
        n->rest = span_from(n->rest, known);
        return known;
    }
    if (!eat_unit(n, &unit))
        return false;
    if (n->mode == JSON_LENIENT || (unit >> 11) != 0x1B)
        return true;
    return unit < 0xDC00 && eat(n, "\\u") && eat_unit(n, &low) && low >> 10 == 0x37;
}

static bool eat_string(struct naive *n)
{
    if (!eat(n, "\""))
        return false;
    while (!eat(n, "\"")) {
        if (!n->rest.n || (unsigned char)n->rest.p[0] < 0x20)
            return false;
        if (!(eat(n, "\\") ? eat_escape(n) : eat_character(n)))
            return false;
    }
    return true;
}

static bool eat_value(struct naive *n);

static bool eat_container(struct naive *n, bool object, const char *close)
{
    if (++n->depth > JSON_DEPTH_MAX)
        return false;
    eat_blanks(n);
    if (eat(n, close)) {
        n->depth--;
        return true;
    }
    do {
        eat_blanks(n);
        if (object && !eat_string(n))
            return false;
        eat_blanks(n);
        if ((object && !eat(n, ":")) || !eat_value(n))
            return false;
    } while (eat(n, ","));
    n->depth--;
    return eat(n, close);
}

static bool eat_value(struct naive *n)
{
    eat_blanks(n);
    bool fine = eat(n, "{")   ? eat_container(n, true, "}")
                : eat(n, "[") ? eat_container(n, false, "]")
                : span_starts(n->rest, "\"")
                    ? eat_string(n)
                    : eat(n, "true") || eat(n, "false") || eat(n, "null") || eat_number(n);
    eat_blanks(n);
    return fine;
}

static bool naive_accepts(struct span text, enum json_mode mode)
{
    struct naive naive = {.rest = text, .mode = mode};
    return eat_value(&naive) && naive.rest.n == 0;
}

static bool naive_is_utf8(struct span text)
{
    struct naive naive = {.rest = text};
    while (naive.rest.n)
        if (!eat_character(&naive))
            return false;
    return true;
}

/* ---- values */

static void check_string(struct span escaped)
{
    BUF(meaning, FUZZ_BYTES_MAX);
    BUF(again, FUZZ_BYTES_MAX);
    BUF(escaped_again, FUZZ_BYTES_MAX);
    json_unescape(escaped, &meaning);
    ASSERT(buf_rc(&meaning) == OK && naive_is_utf8(buf_span(&meaning)));
    json_escape(buf_span(&meaning), &escaped_again);
    json_unescape(buf_span(&escaped_again), &again);
    ASSERT(span_eq(buf_span(&meaning), buf_span(&again)));
    if (!meaning.n || !memchr(meaning.p, '\0', meaning.n))
        ASSERT(json_string_is(escaped, buf_text(&meaning)));
    buf_add_byte(&meaning, '.');
    if (!memchr(meaning.p, '\0', meaning.n))
        ASSERT(!json_string_is(escaped, buf_text(&meaning)));
}

static void check_number(struct span lexeme)
{
    uint64_t value;
    BUF(printed, 64);
    bool whole = strspn(lexeme.p, "0123456789") >= lexeme.n;
    if (json_to_u64(lexeme, &value)) {
        buf_printf(&printed, "%" PRIu64, value);
        ASSERT(span_eq(buf_span(&printed), lexeme));
    } else {
        ASSERT(!whole || lexeme.n >= 20);
    }
}

static void check_scalar(struct span value)
{
    if (json_type(value) == JSON_STRING)
        check_string(json_inside(value));
    if (json_type(value) != JSON_NUMBER)
        return;
    BUF(text, FUZZ_BYTES_MAX);
    buf_add(&text, value);
    check_number((struct span){buf_text(&text), value.n});
}

/* ---- the walk */

static void walk(struct json *json)
{
    struct span name, value;
    switch (json_peek(json)) {
    case JSON_OBJECT:
        ASSERT(json_enter(json, JSON_OBJECT) || json->error == JSON_TOO_DEEP);
        while (json_member(json, &name)) {
            check_string(name);
            walk(json);
        }
        return;
    case JSON_ARRAY:
        ASSERT(json_enter(json, JSON_ARRAY) || json->error == JSON_TOO_DEEP);
        while (json_element(json))
            walk(json);
        return;
    case JSON_STRING:
    case JSON_NUMBER:
    case JSON_TRUE:
    case JSON_FALSE:
    case JSON_NULL:
        value = json_value(json);
        if (value.p)
            check_scalar(value);
        return;
    case JSON_NONE:
        break;
    }
    ASSERT(json->error != JSON_FINE);
}

static void check_mode(struct span text, enum json_mode mode)
{
    struct json skipped, walked;
    json_init(&skipped, text, mode);
    json_skip(&skipped);
    bool fine = json_end(&skipped);
    json_init(&walked, text, mode);
    walk(&walked);
    ASSERT(json_end(&walked) == fine && walked.error == skipped.error);
    ASSERT(json_offset(&walked) == json_offset(&skipped));
    ASSERT(json_offset(&skipped) <= text.n);
    ASSERT(naive_accepts(text, mode) == fine);
    ASSERT((skipped.error == JSON_FINE) == fine);
}

/* Looking a member up, and starting again in the middle, find what the walk finds. */
static void check_members(struct span object)
{
    struct json json, resumed;
    struct span name;
    json_init(&json, object, JSON_STRICT);
    if (!json_enter(&json, JSON_OBJECT))
        return;
    while (json_member(&json, &name)) {
        BUF(meaning, FUZZ_BYTES_MAX);
        json_unescape(name, &meaning);
        json_resume(&resumed, object, json_offset(&json), JSON_STRICT);
        struct span value = json_value(&json), again = json_value(&resumed);
        ASSERT(again.p == value.p && again.n == value.n);
        struct span first = json_get(object, buf_text(&meaning));
        if (!meaning.n || !memchr(meaning.p, '\0', meaning.n))
            ASSERT(first.p && first.p <= value.p);
    }
    ASSERT(json_end(&json));
}

static void check_surrogates(struct span text)
{
    char *closed = fuzz_copy(text);
    json_close_surrogates(closed, text.n);
    ASSERT(fuzz_is_json((struct span){closed, text.n}, JSON_STRICT));
    free(closed);
}

static void check_utf8(struct span text)
{
    BUF(repaired, FUZZ_BYTES_MAX);
    bool valid = naive_is_utf8(text);
    ASSERT(utf8_is_valid(text) == valid);
    utf8_repair(text, &repaired);
    ASSERT(buf_rc(&repaired) == OK && naive_is_utf8(buf_span(&repaired)));
    ASSERT(span_eq(buf_span(&repaired), text) == valid);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span text = fuzz_span(data, size);
    check_mode(text, JSON_STRICT);
    check_mode(text, JSON_LENIENT);
    check_utf8(text);
    if (fuzz_is_json(text, JSON_STRICT))
        check_members(text);
    if (fuzz_is_json(text, JSON_LENIENT))
        check_surrogates(text);
    return 0;
}
