/* When a route's second upstream is called instead of its first.
 *
 * Both speak for the same provider, and the second has an api_key of its own (config_route.c),
 * so the same body can go there.
 *
 * | situation of the flight                              | its next call goes to             |
 * |------------------------------------------------------|-----------------------------------|
 * | the fallback is paused by its brake, or full         | the upstream                      |
 * | no call yet, the upstream is paused by its brake     | the fallback                      |
 * | no call yet, the upstream was unreachable within the | the fallback                      |
 * | last FALLBACK_AVOID_MS                               |                                   |
 * | the upstream's call ended as fallback_is_for says    | the fallback, without a pause     |
 * | it has called the fallback                           | the fallback, retried as anywhere |
 *
 * What may pass on the spot stays with the upstream: a stream that was cut, stood still or was
 * malformed came from one that works.  So does what is wrong with the request, the account or
 * the way there (508).
 * A flight changes over once, and each of its calls is counted like any other: the fallback
 * makes none cheaper or freer.
 *
 * Pure; thread: the loop (one owner per memory). */
#ifndef CORE_FALLBACK_H
#define CORE_FALLBACK_H

#include "core/attempt.h"

/* New flights keep away from an upstream for so long after it could not be reached, as finding
 * that out takes each of them connect_timeout_s.  Then one after the other tries again. */
enum { FALLBACK_AVOID_MS = 10 * 1000 };

/* What is known of an upstream between flights; all zero: nothing. */
struct fallback_memory {
    int64_t avoided_until_ms;
};

/* A call at this upstream ended. */
void fallback_note(struct fallback_memory *memory, const struct attempt_outcome *outcome,
                   int64_t now_ms);
/* Whether a flight that has not called yet should start at the fallback, if that one takes it.
 * paused: the brake of the route's own upstream says so. */
bool fallback_goes_first(const struct fallback_memory *memory, bool paused, int64_t now_ms);
/* Whether a call that ended so may end better at the fallback. */
bool fallback_is_for(const struct attempt_outcome *outcome);

#endif
