#include "core/brake.h"

#include "core/retry_policy.h"

void brake_init(struct brake *brake, unsigned max, int64_t now_ms)
{
    ASSERT(max > 0);
    *brake =
        (struct brake){.max = max, .limit = max, .paused_until_ms = now_ms, .since_ms = now_ms};
}

bool brake_is_paused(const struct brake *brake, int64_t now_ms)
{
    return now_ms < brake->paused_until_ms;
}

/* From when on the limit rises. */
static int64_t rising_since_ms(const struct brake *brake)
{
    return brake->since_ms > brake->paused_until_ms ? brake->since_ms : brake->paused_until_ms;
}

static unsigned limit_at(const struct brake *brake, int64_t now_ms)
{
    int64_t rose = (now_ms - rising_since_ms(brake)) / BRAKE_RECOVERY_MS;
    if (rose <= 0)
        return brake->limit;
    return rose < brake->max - brake->limit ? brake->limit + (unsigned)rose : brake->max;
}

/* Makes the limit that of now; what is left of a step towards the next one is kept. */
static void raise_limit(struct brake *brake, int64_t now_ms)
{
    unsigned limit = limit_at(brake, now_ms);
    if (limit == brake->limit)
        return;
    brake->since_ms =
        rising_since_ms(brake) + (int64_t)(limit - brake->limit) * BRAKE_RECOVERY_MS;
    brake->limit = limit;
}

void brake_set_max(struct brake *brake, unsigned max, int64_t now_ms)
{
    ASSERT(max > 0);
    raise_limit(brake, now_ms);
    bool at_rest = brake->limit == brake->max;
    brake->max = max;
    if (at_rest || brake->limit > max)
        brake->limit = max;
}

bool brake_is_open(const struct brake *brake, int64_t now_ms)
{
    return !brake_is_paused(brake, now_ms) && brake->calls < limit_at(brake, now_ms);
}

int64_t brake_due_ms(const struct brake *brake, int64_t now_ms)
{
    if (brake_is_open(brake, now_ms))
        return BRAKE_NEVER;
    if (brake->calls < brake->limit)
        return brake->paused_until_ms;
    if (brake->calls >= brake->max)
        return BRAKE_NEVER;
    return rising_since_ms(brake) +
           (int64_t)(brake->calls - brake->limit + 1) * BRAKE_RECOVERY_MS;
}

unsigned brake_start(struct brake *brake, int64_t now_ms)
{
    ASSERT(brake_is_open(brake, now_ms));
    raise_limit(brake, now_ms);
    brake->calls++;
    return brake->cuts;
}

/* Whether the provider says that it gets too much from this credential. */
static bool says_too_much(const struct attempt_outcome *outcome, int64_t retry_after_ms)
{
    int status = attempt_error_status(outcome);
    if (status == 429)
        return !attempt_quota_exhausted(outcome);
    return status == 529 || (status == 503 && retry_after_ms >= 0);
}

static void slow_down(struct brake *brake, unsigned started, int64_t pause_ms, int64_t now_ms)
{
    unsigned ran = brake->calls < brake->limit ? brake->calls : brake->limit;
    if (pause_ms > BRAKE_PAUSE_MAX_MS)
        pause_ms = BRAKE_PAUSE_MAX_MS;
    if (now_ms + pause_ms > brake->paused_until_ms)
        brake->paused_until_ms = now_ms + pause_ms;
    if (started != brake->cuts)
        return;
    brake->cuts++;
    brake->limit = ran > 1 ? ran / 2 : 1;
    brake->since_ms = now_ms;
}

void brake_end(struct brake *brake, unsigned started, const struct attempt_outcome *outcome,
               int64_t now_ms, int64_t now_unix_s)
{
    ASSERT(brake->calls > 0);
    raise_limit(brake, now_ms);
    if (outcome && outcome->end == ATTEMPT_ANSWERED) {
        brake->limit += brake->limit < brake->max;
    } else if (outcome) {
        int64_t retry_after_ms = attempt_retry_after_ms(outcome, now_unix_s);
        if (says_too_much(outcome, retry_after_ms))
            slow_down(brake, started, retry_after_ms > 0 ? retry_after_ms : 0, now_ms);
    }
    brake->calls--;
}

bool brake_is_at_rest(const struct brake *brake, int64_t now_ms)
{
    return brake->calls == 0 && !brake_is_paused(brake, now_ms) &&
           limit_at(brake, now_ms) == brake->max;
}
