/* How many calls one credential may have running at an upstream, and when it may start none.
 *
 * A provider counts requests and tokens per credential, so there is one brake per upstream
 * where the operator's api_key is used, and one per upstream and scope where the client's own
 * credential is passed on (admission.h keeps them).
 *
 * | the call ended                            | new calls wait          | limit                |
 * |-------------------------------------------|-------------------------|----------------------|
 * | 429 (no exhausted quota), 529,            | for its Retry-After, at | half of what ran, at |
 * | 503 with Retry-After; the same in streams | most BRAKE_PAUSE_MAX_MS | least 1 (see below)  |
 * | answered                                  | -                       | 1 more, at most max  |
 * | anything else                             | -                       | -                    |
 *
 * This is TCP's answer to the same question (RFC 5681: additive increase, multiplicative
 * decrease; RFC 6582: one decrease per window of data).  A burst that is refused as a whole
 * says one thing once: a call that began before the last cut does not cut again.  Half of what
 * ran, not of the limit, as a limit that was not used proves nothing (RFC 7661).  An exhausted
 * quota does not pass by waiting, and a plain 503 or 500 says nothing about how much.
 *
 * Besides, the limit rises by one each BRAKE_RECOVERY_MS without a pause: generations take
 * minutes, and few of them must not hold up all others until one is answered.
 *
 * Pure; thread: the loop. */
#ifndef CORE_BRAKE_H
#define CORE_BRAKE_H

#include "core/attempt.h"

enum {
    BRAKE_PAUSE_MAX_MS = 60 * 1000, /* a longer one that was asked for is asked for again */
    BRAKE_RECOVERY_MS = 1000,
};

#define BRAKE_NEVER INT64_MAX

struct brake {
    unsigned max, limit;     /* calls at once: configured, and as of since_ms */
    unsigned calls;          /* running */
    unsigned cuts;           /* how often the limit was lowered */
    int64_t paused_until_ms; /* no call starts before */
    int64_t since_ms;        /* the limit rises from then on, or from the end of the pause */
};

/* max: at least 1. */
void brake_init(struct brake *brake, unsigned max, int64_t now_ms);
/* Another configuration; what it has learnt stays. */
void brake_set_max(struct brake *brake, unsigned max, int64_t now_ms);
bool brake_is_paused(const struct brake *brake, int64_t now_ms);
/* Whether a call may start now. */
bool brake_is_open(const struct brake *brake, int64_t now_ms);
/* When that may change though no call ends: a closed one may open.  BRAKE_NEVER: it does not. */
int64_t brake_due_ms(const struct brake *brake, int64_t now_ms);
/* A call starts at an open brake.  What is returned belongs to the call until brake_end. */
unsigned brake_start(struct brake *brake, int64_t now_ms);
/* The call is over.  outcome NULL: it was not made, or it says nothing. */
void brake_end(struct brake *brake, unsigned started, const struct attempt_outcome *outcome,
               int64_t now_ms, int64_t now_unix_s);
/* Whether a new brake would be the same. */
bool brake_is_at_rest(const struct brake *brake, int64_t now_ms);

#endif
