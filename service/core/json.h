/* A strict JSON reader over bytes that somebody else owns (RFC 8259, UTF-8, a depth limit).
 *
 * Everything that a client or a provider wrote is read with this, never parsed and printed
 * again: values are handed out as raw spans of the text, so that large integers, number
 * lexemes, escapes and unknown members survive.  One pass, no allocation.
 *
 *     struct json json;
 *     struct span name;
 *     json_init(&json, text, JSON_STRICT);
 *     if (json_enter(&json, JSON_OBJECT))
 *         while (json_member(&json, &name))
 *             if (json_string_is(name, "model")) model = json_value(&json);
 *             else json_skip(&json);
 *     if (!json_end(&json)) ... json.error at json_offset(&json)
 *
 * The first error sticks: every call then returns false or an absent span, so that one check at
 * the end is enough.  Each member and element must be consumed by exactly one of json_value,
 * json_skip or json_enter (and then walked to its end).  Thread: any, one owner. */
#ifndef CORE_JSON_H
#define CORE_JSON_H

#include "base/buf.h"
#include "base/rc.h"
#include "base/span.h"

/* Deepest nesting, of requests (contract) and of what providers send. */
enum { JSON_DEPTH_MAX = 128 };

enum json_type {
    JSON_NONE,
    JSON_OBJECT,
    JSON_ARRAY,
    JSON_STRING,
    JSON_NUMBER,
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL
};

#define JSON_ERROR_TABLE(X)                                                                    \
    X(JSON_FINE, "fine")                                                                       \
    X(JSON_EOF, "the text ends too early")                                                     \
    X(JSON_BAD_VALUE, "a value was expected")                                                  \
    X(JSON_BAD_KEY, "a member name in double quotes was expected")                             \
    X(JSON_BAD_COLON, "a colon was expected after the member name")                            \
    X(JSON_BAD_COMMA, "a comma or the closing bracket was expected")                           \
    X(JSON_BAD_CONTROL, "a control character in a string must be escaped")                     \
    X(JSON_BAD_ESCAPE, "an unknown escape in a string")                                        \
    X(JSON_BAD_SURROGATE, "half of a surrogate pair stands alone")                             \
    X(JSON_BAD_UTF8, "the text is not UTF-8")                                                  \
    X(JSON_TOO_DEEP, "nested too deeply")                                                      \
    X(JSON_TRAILING, "something follows the JSON text")                                        \
    X(JSON_BAD_TYPE, "an object was expected")                                                 \
    X(JSON_DUPLICATE, "a member name stands twice in one object")                              \
    X(JSON_TOO_MANY, "it has more values than the 262144 that are read")

enum json_error {
#define X(name, text) name,
    JSON_ERROR_TABLE(X)
#undef X
};

/* The human text of an error, never NULL. */
const char *json_error_text(enum json_error error);

/* JSON_STRICT refuses lone \uD800..\uDFFF escapes, as requests must; JSON_LENIENT passes them,
 * because a provider may split a pair over two deltas.  All else is strict in both. */
enum json_mode { JSON_STRICT, JSON_LENIENT };

struct json {
    const char *p, *start, *end;
    unsigned depth;
    bool fresh; /* a container was just entered: no comma before the next item */
    enum json_mode mode;
    enum json_error error;
};

/* An absent text reads like an empty one. */
void json_init(struct json *json, struct span text, enum json_mode mode);
/* Start within the outermost object, before the value of a member at `offset`, of a text whose
 * first `offset` bytes are known to be good. */
void json_resume(struct json *json, struct span text, size_t offset, enum json_mode mode);
/* The text without the UTF-8 byte order mark it may begin with: the reader itself refuses one.
 */
struct span json_drop_bom(struct span text);
/* The type of the value that comes next, told by its first byte; JSON_NONE: error or end. */
enum json_type json_peek(struct json *json);
/* Step into the object or array that comes next.  False: it is something else (nothing is
 * consumed, no error), or an error. */
bool json_enter(struct json *json, enum json_type container);
/* The next member: *ret_name is its name as written, without the quotes; its value comes next.
 * False: the object ended (and is consumed), or an error. */
bool json_member(struct json *json, struct span *ret_name);
/* True: the next element comes next.  False: the array ended (and is consumed), or an error. */
bool json_element(struct json *json);
/* Consume one value of any type and return it raw (strings with their quotes). */
struct span json_value(struct json *json);
void json_skip(struct json *json);
/* True: no error, and nothing but white space is left. */
bool json_end(struct json *json);
/* Where reading stands: after an error, the byte that was wrong. */
size_t json_offset(const struct json *json);

/* ---- on raw values that were read before */

enum json_type json_type(struct span value);
/* A string value without its quotes, still escaped; other types: absent. */
struct span json_inside(struct span string);
/* Whether a still escaped text (a member name, json_inside) stands for `text`. */
bool json_string_is(struct span escaped, const char *text);
/* Append what a still escaped text stands for, as UTF-8.  A lone surrogate becomes U+FFFD. */
void json_unescape(struct span escaped, struct buf *out);
/* In valid JSON text: each \uXXXX that is half of a surrogate pair without its other half
 * becomes \ufffd, in place. */
void json_close_surrogates(char *text, size_t n);
/* Append `text` escaped in the one way we write strings, without quotes: \b \t \n \f \r \" \\,
 * other control characters \u00xx (lower case), all else as it is.  `text` must be UTF-8. */
void json_escape(struct span text, struct buf *out);
/* The same with quotes around it. */
void json_quote(struct span text, struct buf *out);
/* The value of the first member of this name in a valid object, perhaps with white space around
 * it; absent: none, or no object. */
struct span json_get(struct span object, const char *name);
/* A non-negative integer lexeme.  False: another type, a fraction, an exponent, too large. */
bool json_to_u64(struct span value, uint64_t *ret);

#endif
