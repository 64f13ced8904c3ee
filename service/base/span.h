/* A span is a view of bytes that somebody else owns; it is not NUL-terminated.
 * An absent span has p == NULL (an empty one has p != NULL, n == 0).  Thread: any. */
#ifndef BASE_SPAN_H
#define BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct span {
    const char *p;
    size_t n;
};

#define SPAN(literal) ((struct span){"" literal, sizeof(literal) - 1})
#define SPAN_ABSENT ((struct span){NULL, 0})
/* For printf: "%.*s", SPAN_ARG(span) */
#define SPAN_ARG(span) (int)(span).n, (span).p ? (span).p : ""

/* A view of a C string; absent for NULL. */
struct span span_of(const char *text);
bool span_eq(struct span a, struct span b);
bool span_is(struct span a, const char *text);
/* ASCII letters compare without case, as header names and media types do. */
bool span_is_nocase(struct span a, const char *text);
bool span_eq_nocase(struct span a, struct span b);
/* Whether it is one of `count` texts, compared without case. */
bool span_is_any_nocase(struct span a, const char *const *texts, size_t count);
/* Printable ASCII without blanks, or nothing at all. */
bool span_is_visible(struct span a);
bool span_starts(struct span a, const char *prefix);
bool span_ends(struct span a, const char *suffix);
/* Byte order, shorter first when one is the start of the other (memcmp's sign). */
int span_compare(struct span a, struct span b);
/* Without blanks and tabs at both ends (RFC 9110 OWS). */
struct span span_trim(struct span a);
/* Without the first `start` bytes; empty when there are no more, absent when `a` is. */
struct span span_from(struct span a, size_t start);
/* The first position of `byte`, or a.n. */
size_t span_find(struct span a, char byte);
/* Cuts `*rest` at the first `byte`: returns what is before it and leaves what is after it.
 * Without the byte returns all and leaves *rest absent. */
struct span span_cut(struct span *rest, char byte);
/* Digits only, no sign.  False: not a number, or over UINT64_MAX. */
bool span_to_u64(struct span a, uint64_t *ret);
/* The n bytes that 2 n hexadecimal digits of either case stand for.  False: anything else; then
 * `ret` is untouched. */
bool span_hex_to_bytes(struct span hex, uint8_t *ret, size_t n);
/* A NUL-terminated copy from malloc; NULL when out of memory. */
char *span_dup(struct span a);

#endif
