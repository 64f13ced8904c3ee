#include "core/fallback.h"

#include "core/retry_policy.h"

static bool was_unreachable(const struct attempt_outcome *outcome)
{
    return outcome->end == ATTEMPT_DNS_FAILED || outcome->end == ATTEMPT_CONNECT_FAILED ||
           outcome->end == ATTEMPT_CERTIFICATE_FAILED;
}

void fallback_note(struct fallback_memory *memory, const struct attempt_outcome *outcome,
                   int64_t now_ms)
{
    if (was_unreachable(outcome))
        memory->avoided_until_ms = now_ms + FALLBACK_AVOID_MS;
    else if (outcome->status > 0)
        memory->avoided_until_ms = 0;
}

bool fallback_goes_first(const struct fallback_memory *memory, bool paused, int64_t now_ms)
{
    return paused || now_ms < memory->avoided_until_ms;
}

bool fallback_is_for(const struct attempt_outcome *outcome)
{
    int status = attempt_error_status(outcome);
    switch (outcome->end) {
    case ATTEMPT_DNS_FAILED:
    case ATTEMPT_CONNECT_FAILED:
    case ATTEMPT_CERTIFICATE_FAILED:
    case ATTEMPT_CONNECTION_LOST:
    case ATTEMPT_FIRST_EVENT_TIMEOUT:
        return true;
    case ATTEMPT_REFUSED:
    case ATTEMPT_STREAM_ERROR:
        return (status >= 500 && status != HTTP_LOOP_DETECTED) ||
               (status == 429 && !attempt_quota_exhausted(outcome));
    case ATTEMPT_ANSWERED:
    case ATTEMPT_TRUNCATED:
    case ATTEMPT_MALFORMED:
    case ATTEMPT_TOO_LARGE:
    case ATTEMPT_IDLE_TIMEOUT:
    case ATTEMPT_DEADLINE:
    case ATTEMPT_NO_RESOURCES:
    case ATTEMPT_END_COUNT:
        break;
    }
    return false;
}
