#include "test.h"

#include "core/fallback.h"
#include "core/retry_policy.h"

static struct attempt_outcome ended(enum attempt_end end, int status)
{
    return (struct attempt_outcome){.end = end, .status = status};
}

TEST(fallback, it_is_for_an_upstream_that_is_down_or_full)
{
    static const struct {
        enum attempt_end end;
        int status;
        bool is_for;
    } cases[] = {
        {ATTEMPT_DNS_FAILED, 0, true},
        {ATTEMPT_CONNECT_FAILED, 0, true},
        {ATTEMPT_CERTIFICATE_FAILED, 0, true},
        {ATTEMPT_CONNECTION_LOST, 0, true},
        {ATTEMPT_FIRST_EVENT_TIMEOUT, 200, true},
        {ATTEMPT_REFUSED, 500, true},
        {ATTEMPT_REFUSED, 503, true},
        {ATTEMPT_REFUSED, 529, true},
        {ATTEMPT_REFUSED, HTTP_LOOP_DETECTED, false}, /* a wrong base_url is to be seen */
        {ATTEMPT_REFUSED, 429, true},
        {ATTEMPT_REFUSED, 400, false},
        {ATTEMPT_REFUSED, 401, false},
        {ATTEMPT_REFUSED, 404, false},
        {ATTEMPT_REFUSED, 408, false},
        {ATTEMPT_STREAM_ERROR, 200, true}, /* an error without a name stands for 500 */
        {ATTEMPT_ANSWERED, 200, false},
        {ATTEMPT_TRUNCATED, 200, false},
        {ATTEMPT_MALFORMED, 200, false},
        {ATTEMPT_TOO_LARGE, 200, false},
        {ATTEMPT_IDLE_TIMEOUT, 200, false},
        {ATTEMPT_DEADLINE, 0, false},
        {ATTEMPT_NO_RESOURCES, 0, false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct attempt_outcome outcome = ended(cases[i].end, cases[i].status);
        assert_int_equal(fallback_is_for(&outcome), cases[i].is_for);
    }
}

TEST(fallback, an_exhausted_quota_is_told_not_worked_around)
{
    struct attempt_outcome outcome = ended(ATTEMPT_REFUSED, 429);
    outcome.body = blob_new(span_of("{\"error\":{\"code\":\"insufficient_quota\"}}"));
    assert_non_null(outcome.body);
    assert_false(fallback_is_for(&outcome));
    attempt_outcome_done(&outcome);
}

TEST(fallback, new_flights_avoid_an_unreachable_upstream_for_ten_seconds)
{
    struct fallback_memory memory = {0};
    struct attempt_outcome outcome = ended(ATTEMPT_CONNECT_FAILED, 0);
    assert_false(fallback_goes_first(&memory, false, 1));
    fallback_note(&memory, &outcome, 1000);
    assert_true(fallback_goes_first(&memory, false, 10999));
    assert_false(fallback_goes_first(&memory, false, 11000));
}

TEST(fallback, an_upstream_that_speaks_is_not_avoided_any_more)
{
    struct fallback_memory memory = {0};
    struct attempt_outcome down = ended(ATTEMPT_DNS_FAILED, 0),
                           lost = ended(ATTEMPT_CONNECTION_LOST, 0),
                           up = ended(ATTEMPT_REFUSED, 400);
    fallback_note(&memory, &down, 0);
    fallback_note(&memory, &lost, 1);
    assert_true(fallback_goes_first(&memory, false, 2));
    fallback_note(&memory, &up, 2);
    assert_false(fallback_goes_first(&memory, false, 2));
}

TEST(fallback, new_flights_go_round_a_paused_upstream)
{
    struct fallback_memory memory = {0};
    assert_true(fallback_goes_first(&memory, true, 0));
}

/* ---- retries that go there (retry_policy) */

static struct retry_decision decide(struct attempt_outcome outcome, unsigned attempts,
                                    int64_t deadline_ms, struct retry_budget *budget)
{
    static const struct retry_params params = {
        .attempts_max = 3, .backoff_base_ms = 1000, .backoff_max_ms = 30000};
    const struct retry_situation situation = {
        .attempts = attempts, .deadline_ms = deadline_ms, .elsewhere = true};
    return retry_decide(&params, budget, &outcome, &situation);
}

TEST(fallback, the_call_goes_there_at_once_and_takes_nothing_from_the_budget)
{
    struct retry_budget budget = {0, 0};
    struct attempt_outcome outcome = ended(ATTEMPT_REFUSED, 429);
    outcome.headers[outcome.header_count++] =
        (struct header){SPAN("retry-after"), SPAN("3600")};
    assert_int_equal(decide(outcome, 1, 1, &budget).verdict, RETRY_ELSEWHERE);
    assert_int_equal(decide(ended(ATTEMPT_CERTIFICATE_FAILED, 0), 1, 1, &budget).verdict,
                     RETRY_ELSEWHERE);
    assert_int_equal(budget.thousandths, 0);
}

TEST(fallback, attempts_and_time_count_there_too)
{
    struct retry_budget budget = {0, 0};
    struct attempt_outcome outcome = ended(ATTEMPT_REFUSED, 500);
    assert_int_equal(decide(outcome, 2, 1, &budget).verdict, RETRY_ELSEWHERE);
    assert_int_equal(decide(outcome, 3, 1, &budget).verdict, RETRY_ATTEMPTS_USED);
    assert_int_equal(decide(outcome, 1, 0, &budget).verdict, RETRY_NO_TIME);
}

TEST(fallback, what_it_is_not_for_is_decided_as_ever)
{
    struct retry_budget budget = {1000, 0};
    assert_int_equal(decide(ended(ATTEMPT_REFUSED, 400), 1, 60000, &budget).verdict,
                     RETRY_FINAL);
    assert_int_equal(decide(ended(ATTEMPT_TRUNCATED, 200), 1, 60000, &budget).verdict,
                     RETRY_LATER);
}
