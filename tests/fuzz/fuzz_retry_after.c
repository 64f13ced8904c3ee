/* What a provider says of when to come back, and what is made of it: pauses stay within their
 * limits and before the deadline; a date that is read is that date.
 *
 * Input: a byte that says how the call ended, three digits of a status, then three lines:
 * Retry-After, retry-after-ms, and the error's body up to the end. */
#include "core/http_date.h"
#include "core/retry_policy.h"
#include "fuzz.h"

#include <time.h>

/* 2026-07-05T12:00:00Z, in the middle of what dates may say. */
static const int64_t now_unix_s = 1783252800;

static void check_date(struct span text)
{
    int64_t unix_s = -1;
    char printed[64];
    struct tm tm = {0};
    if (!http_date_parse(text, &unix_s))
        return;
    time_t seconds = (time_t)unix_s;
    ASSERT(unix_s >= 0 && gmtime_r(&seconds, &tm));
    size_t n = strftime(printed, sizeof printed, "%d %b %Y %H:%M:%S GMT", &tm);
    bool real = span_compare((struct span){text.p + 5, 2}, SPAN("28")) <= 0 &&
                text.p[23] != '6'; /* neither 31 February nor a leap second */
    ASSERT(!real || span_eq(span_from(text, 5), (struct span){printed, n}));
}

static void check_decision(const struct attempt_outcome *outcome, const struct header *seed)
{
    const struct retry_params params = {
        .attempts_max = 3, .backoff_base_ms = 1000, .backoff_max_ms = 30000};
    struct retry_situation situation = {.attempts = 1 + (unsigned)(seed->value.n & 3),
                                        .malformed = seed->value.n & 1,
                                        .now_ms = 50000,
                                        .deadline_ms = 50000 + 100 * (int64_t)seed->value.n,
                                        .now_unix_s = now_unix_s,
                                        .dice = 0x9E3779B97F4A7C15 * (seed->value.n + 1)};
    struct retry_budget budget;
    retry_budget_init(&budget, 0);
    struct retry_decision decision = retry_decide(&params, &budget, outcome, &situation);
    int64_t after_ms = attempt_retry_after_ms(outcome, now_unix_s);
    ASSERT(after_ms >= -1 && after_ms <= RETRY_AFTER_MAX_MS);
    ASSERT(decision.retry_after_ms == after_ms);
    if (decision.verdict != RETRY_LATER)
        return;
    ASSERT(situation.attempts < params.attempts_max);
    ASSERT(decision.pause_ms >= 0 && decision.pause_ms >= after_ms);
    ASSERT(situation.now_ms + decision.pause_ms < situation.deadline_ms);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t status = 0;
    struct span rest = fuzz_span(data, size);
    if (rest.n < 4)
        return 0;
    (void)span_to_u64((struct span){rest.p + 1, 3}, &status);
    struct attempt_outcome outcome = {
        .end = (enum attempt_end)((unsigned char)rest.p[0] % ATTEMPT_END_COUNT),
        .status = (int)status,
        .request_sent = rest.p[0] & 32,
        .output_began = rest.p[0] & 64,
        .header_count = 2};
    rest = span_from(rest, 4);
    outcome.headers[0] = (struct header){SPAN("retry-after"), span_cut(&rest, '\n')};
    outcome.headers[1] = (struct header){SPAN("Retry-After-Ms"), SPAN("")};
    if (rest.p)
        outcome.headers[1].value = span_cut(&rest, '\n');
    outcome.body = rest.p ? blob_new(rest) : NULL;
    check_date(outcome.headers[0].value);
    check_decision(&outcome, &outcome.headers[1]);
    int error_status = attempt_error_status(&outcome);
    ASSERT(!attempt_quota_exhausted(&outcome) || error_status == 429);
    ASSERT(!attempt_may_be_billed(&outcome) || outcome.request_sent);
    attempt_outcome_done(&outcome);
    return 0;
}
