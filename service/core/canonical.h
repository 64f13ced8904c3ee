/* The canonical form of a request's JSON: equal for bodies that differ only in what SDKs and
 * map-based clients change between two sends of one call.
 *
 * Members are sorted by the UTF-8 bytes of their unescaped names, white space is removed,
 * strings are unescaped and re-escaped one way (json_escape), numbers keep their lexemes: 1,
 * 1.0 and 1e0 are three different numbers, and 2^53 + 1 stays itself.  The canonical form of a
 * canonical form is itself.
 *
 * Takes n log n time for n members, however deep, and while it runs twice the memory of the text
 * and at most 60 bytes for each value.  Pure; thread: any. */
#ifndef CORE_CANONICAL_H
#define CORE_CANONICAL_H

#include "core/json.h"

/* Of one text, all objects, arrays, strings, numbers and literals in it: sorting millions of tiny
 * ones would keep everybody else waiting, and no request of a model is made like that. */
enum { CANONICAL_VALUES_MAX = 1 << 18 };

/* What is wrong with a JSON text, and where: bytes from its start, a BOM included. */
struct json_refusal {
    enum json_error error;
    size_t offset;
};

/* Appends the canonical form of `text` to `out`; it is never longer than the text.  A leading
 * byte order mark is dropped.  `without`: a top-level member that is left out, or NULL; it
 * may stand once and its value must be valid JSON.
 * E_SYNTAX: refused, *ret_refusal (else untouched) says why: not an object (JSON_BAD_TYPE), a
 * name twice in one object (JSON_DUPLICATE, at the second), more than CANONICAL_VALUES_MAX values
 * (JSON_TOO_MANY), or anything that JSON_STRICT refuses.  E_LIMIT: over out's maximum, or 4 GiB.  E_NOMEM.
 * Nothing is appended unless it returns OK. */
MUST_CHECK enum rc canonical_json(struct span text, const char *without, struct buf *out,
                                  struct json_refusal *ret_refusal);

#endif
