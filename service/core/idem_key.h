/* The client's idempotency key: the header Idempotency-Key, its alias X-Idempotency-Key, and
 * the member `idempotency_key` of /api/llm.
 *
 * A header value is an RFC 9651 String, whose parameters are checked and ignored, or bare:
 * 1-255 bytes of 0x21-0x7E without " , ; \ -- `abc` and `"abc"` are one key.  Two field lines
 * are refused, also when a proxy joined them into one.  Pure; thread: any. */
#ifndef CORE_IDEM_KEY_H
#define CORE_IDEM_KEY_H

#include "core/http_message.h"

enum {
    IDEM_KEY_BYTES_MAX = 255,
    /* Of an anonymous caller on an open listener, who could guess shorter keys of others. */
    IDEM_KEY_ANONYMOUS_BYTES_MIN = 16
};

/* X(enum, word, what was wrong and what to do) */
#define IDEM_KEY_ERROR_TABLE(X)                                                                \
    X(IDEM_KEY_FINE, "fine", "fine")                                                           \
    X(IDEM_KEY_EMPTY, "empty",                                                                 \
      "the Idempotency-Key is empty: leave it out or give it a value")                         \
    X(IDEM_KEY_LENGTH, "length", "an Idempotency-Key has 1 to 255 characters")                 \
    X(IDEM_KEY_BARE, "bare",                                                                   \
      "an Idempotency-Key without quotes is 1 to 255 visible ASCII characters other than "     \
      "\" , ; and \\: put it in double quotes or use a UUID")                                  \
    X(IDEM_KEY_UNTERMINATED, "unterminated",                                                   \
      "the Idempotency-Key begins with a double quote but does not end with one")              \
    X(IDEM_KEY_ESCAPE, "escape",                                                               \
      "in an Idempotency-Key a backslash may stand only before \" or \\")                      \
    X(IDEM_KEY_CHAR, "char", "an Idempotency-Key consists of printable ASCII characters")      \
    X(IDEM_KEY_TRAILING, "trailing",                                                           \
      "only parameters (;name=value) may follow an Idempotency-Key in quotes")                 \
    X(IDEM_KEY_MULTIPLE, "multiple", "send one Idempotency-Key, not several")                  \
    X(IDEM_KEY_DIFFERENT, "different",                                                         \
      "Idempotency-Key, X-Idempotency-Key and idempotency_key differ: send one of them")       \
    X(IDEM_KEY_TYPE, "type", "idempotency_key must be a string")                               \
    X(IDEM_KEY_SHORT, "short",                                                                 \
      "without a credential an Idempotency-Key has at least 16 characters: use a UUID")

enum idem_key_error {
#define X(name, word, text) name,
    IDEM_KEY_ERROR_TABLE(X)
#undef X
};

/* "empty", "length", ... */
const char *idem_key_error_name(enum idem_key_error error);
const char *idem_key_error_text(enum idem_key_error error);

/* Zeroed: absent, as a key is never empty. */
struct idem_key {
    char bytes[IDEM_KEY_BYTES_MAX];
    size_t n;
};

/* The key of a request's headers, absent when there is none. */
MUST_CHECK enum idem_key_error idem_key_from_headers(const struct headers *headers,
                                                     struct idem_key *ret);
/* Adds the member `idempotency_key` of /api/llm to what the headers said: `value` is its raw
 * JSON value, absent or null when there is none, else a string that holds the key itself. */
MUST_CHECK enum idem_key_error idem_key_join_member(struct idem_key *key, struct span value);
/* Whether an anonymous caller on an open listener may use this key (IDEM_KEY_SHORT). */
MUST_CHECK enum idem_key_error idem_key_check_anonymous(const struct idem_key *key);

/* Valid as long as the key; absent when there is none. */
static inline struct span idem_key_span(const struct idem_key *key)
{
    return key->n ? (struct span){key->bytes, key->n} : SPAN_ABSENT;
}

#endif
