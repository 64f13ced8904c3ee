#include "core/rate_limit.h"

#include "core/verdict.h"

enum { MINUTE_MS = 60 * 1000 }; /* also what one request costs */

static int64_t capacity(unsigned per_minute)
{
    return (int64_t)per_minute * MINUTE_MS;
}

void rate_limit_init(struct rate_limit *limit, unsigned per_minute, int64_t now_ms)
{
    *limit = (struct rate_limit){capacity(per_minute), now_ms};
}

static void fill(struct rate_limit *limit, unsigned per_minute, int64_t now_ms)
{
    int64_t elapsed_ms = now_ms - limit->filled_ms;
    if (elapsed_ms > MINUTE_MS) /* it is full after a minute, however empty it was */
        elapsed_ms = MINUTE_MS;
    if (elapsed_ms > 0)
        limit->level += elapsed_ms * per_minute;
    if (limit->level > capacity(per_minute))
        limit->level = capacity(per_minute);
    limit->filled_ms = now_ms;
}

int64_t rate_limit_take(struct rate_limit *limit, unsigned per_minute, int64_t now_ms)
{
    if (per_minute == 0)
        return 0;
    fill(limit, per_minute, now_ms);
    int64_t missing = MINUTE_MS - limit->level;
    if (missing > 0)
        return (missing + per_minute - 1) / per_minute;
    limit->level -= MINUTE_MS;
    return 0;
}

unsigned rate_limit_retry_after_s(int64_t wait_ms)
{
    int64_t seconds = (wait_ms + 999) / 1000;
    if (seconds < 1)
        return 1;
    return seconds < VERDICT_RETRY_AFTER_MAX_S ? (unsigned)seconds : VERDICT_RETRY_AFTER_MAX_S;
}
