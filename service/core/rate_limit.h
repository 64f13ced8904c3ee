/* requests_per_minute of a client: a token bucket.
 *
 * It holds one minute's allowance, so that a client may send its requests in one go and has
 * them back over the following minute, evenly.  In no minute does it get more than twice the
 * allowance, over time never more than the allowance.  Only requests that would start a flight
 * take from it: joins and replays cost nothing.
 *
 * Exact in integers.  Pure; thread: the loop (one owner per bucket). */
#ifndef CORE_RATE_LIMIT_H
#define CORE_RATE_LIMIT_H

#include "base/rc.h"

struct rate_limit {
    int64_t level;     /* per_minute is earned each millisecond; a request costs 60,000 */
    int64_t filled_ms; /* when that was so */
};

/* A full bucket.  per_minute 0: no limit. */
void rate_limit_init(struct rate_limit *limit, unsigned per_minute, int64_t now_ms);
/* 0: the request may go on and was counted; else in how many milliseconds one may.  per_minute
 * may be another one than before. */
int64_t rate_limit_take(struct rate_limit *limit, unsigned per_minute, int64_t now_ms);
/* The Retry-After that tells a client to wait: 1 to VERDICT_RETRY_AFTER_MAX_S. */
unsigned rate_limit_retry_after_s(int64_t wait_ms);

#endif
