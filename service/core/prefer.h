/* The preferences of a request (RFC 7240) that are understood here: `respond-async` and
 * `wait=SECONDS`.
 *
 * Preferences are wishes: one that is unknown or malformed is ignored, never refused.  Of one
 * that stands twice the first counts (RFC 7240, section 2), over all Prefer lines in their
 * order, also if that one is malformed.  Names compare without case, parameters behind a
 * semicolon are ignored, as is a value of respond-async; the N of wait=N is a decimal number,
 * perhaps as a quoted string.  Pure; thread: any. */
#ifndef CORE_PREFER_H
#define CORE_PREFER_H

#include "core/http_message.h"

enum { PREFER_WAIT_S_MAX = 86400 }; /* a longer wait means this one */

struct prefer {
    bool respond_async;
    bool has_wait;
    unsigned wait_s; /* has_wait; 0: do not wait at all */
};

struct prefer prefer_read(const struct headers *headers);

#endif
