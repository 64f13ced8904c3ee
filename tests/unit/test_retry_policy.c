#include "test.h"

#include "core/retry_policy.h"

static const struct retry_params defaults = {
    .attempts_max = 3, .backoff_base_ms = 1000, .backoff_max_ms = 30000};

/* The dice with the longest jitter (low half) and the longest spread (high half). */
static const uint64_t longest = UINT64_MAX, no_jitter = 0xFFFFFFFF00000000,
                      no_spread = 0xFFFFFFFF;

static struct attempt_outcome refused(int status)
{
    return (struct attempt_outcome){
        .end = ATTEMPT_REFUSED, .status = status, .request_sent = true};
}

static struct attempt_outcome ended(enum attempt_end end)
{
    return (struct attempt_outcome){.end = end, .status = 200, .request_sent = true};
}

static struct attempt_outcome with_body(struct attempt_outcome outcome, const char *body)
{
    outcome.body = blob_new(span_of(body));
    assert_non_null(outcome.body);
    return outcome;
}

static struct attempt_outcome with_header(struct attempt_outcome outcome, const char *name,
                                          const char *value)
{
    outcome.headers[outcome.header_count++] = (struct header){span_of(name), span_of(value)};
    return outcome;
}

/* The decision after call number `attempts`, with an hour left and a fresh budget. */
static struct retry_decision decide(struct attempt_outcome outcome, unsigned attempts,
                                    uint64_t dice)
{
    struct retry_budget budget;
    retry_budget_init(&budget, 0);
    const struct retry_situation situation = {
        .attempts = attempts,
        .malformed = outcome.end == ATTEMPT_MALFORMED ? attempts : 0,
        .now_ms = 0,
        .deadline_ms = 3600000,
        .now_unix_s = 784111777,
        .dice = dice,
    };
    struct retry_decision decision = retry_decide(&defaults, &budget, &outcome, &situation);
    attempt_outcome_done(&outcome);
    return decision;
}

TEST(retry_policy, statuses_that_may_pass_are_retried_and_no_others)
{
    static const struct {
        int status;
        enum retry_verdict verdict;
    } cases[] = {
        {301, RETRY_FINAL}, {400, RETRY_FINAL}, {401, RETRY_FINAL}, {402, RETRY_FINAL},
        {403, RETRY_FINAL}, {404, RETRY_FINAL}, {408, RETRY_LATER}, {409, RETRY_FINAL},
        {413, RETRY_FINAL}, {415, RETRY_FINAL}, {422, RETRY_FINAL}, {429, RETRY_LATER},
        {499, RETRY_FINAL}, {500, RETRY_LATER}, {502, RETRY_LATER}, {503, RETRY_LATER},
        {504, RETRY_LATER}, {508, RETRY_FINAL}, {529, RETRY_LATER}, {599, RETRY_LATER},
        {600, RETRY_FINAL},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        if (decide(refused(cases[i].status), 1, 0).verdict != cases[i].verdict)
            fail_msg("status %d", cases[i].status);
}

TEST(retry_policy, ends_that_may_pass_are_retried_and_no_others)
{
    static const struct {
        enum attempt_end end;
        enum retry_verdict verdict;
    } cases[] = {
        {ATTEMPT_TRUNCATED, RETRY_LATER},          {ATTEMPT_MALFORMED, RETRY_LATER},
        {ATTEMPT_DNS_FAILED, RETRY_LATER},         {ATTEMPT_CONNECT_FAILED, RETRY_LATER},
        {ATTEMPT_CONNECTION_LOST, RETRY_LATER},    {ATTEMPT_FIRST_EVENT_TIMEOUT, RETRY_LATER},
        {ATTEMPT_IDLE_TIMEOUT, RETRY_LATER},       {ATTEMPT_TOO_LARGE, RETRY_FINAL},
        {ATTEMPT_CERTIFICATE_FAILED, RETRY_FINAL}, {ATTEMPT_DEADLINE, RETRY_FINAL},
        {ATTEMPT_NO_RESOURCES, RETRY_FINAL},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        if (decide(ended(cases[i].end), 1, 0).verdict != cases[i].verdict)
            fail_msg("%s", attempt_end_name(cases[i].end));
}

TEST(retry_policy, a_malformed_stream_is_retried_once)
{
    assert_int_equal(decide(ended(ATTEMPT_MALFORMED), 1, 0).verdict, RETRY_LATER);
    assert_int_equal(decide(ended(ATTEMPT_MALFORMED), 2, 0).verdict, RETRY_FINAL);
}

TEST(retry_policy, an_error_event_counts_as_the_status_it_stands_for)
{
    static const struct {
        const char *error;
        int status;
        enum retry_verdict verdict;
    } cases[] = {
        {"{\"type\":\"overloaded_error\",\"message\":\"x\"}", 529, RETRY_LATER},
        {"{\"type\":\"api_error\"}", 500, RETRY_LATER},
        {"{\"type\":\"rate_limit_error\"}", 429, RETRY_LATER},
        {"{\"type\":\"invalid_request_error\",\"code\":null}", 400, RETRY_FINAL},
        {"{\"code\":\"insufficient_quota\",\"type\":\"insufficient_quota\"}", 429, RETRY_FINAL},
        {"{\"code\":503}", 503, RETRY_LATER},
        {"{\"code\":404}", 404, RETRY_FINAL},
        {"{\"message\":\"no word of why\"}", 500, RETRY_LATER},
        {"{\"type\":\"error\",\"error\":{\"type\":\"permission_error\"}}", 403, RETRY_FINAL},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct attempt_outcome outcome = with_body(ended(ATTEMPT_STREAM_ERROR), cases[i].error);
        if (attempt_error_status(&outcome) != cases[i].status)
            fail_msg("%s: %d", cases[i].error, attempt_error_status(&outcome));
        if (decide(outcome, 1, 0).verdict != cases[i].verdict)
            fail_msg("%s", cases[i].error);
    }
}

TEST(retry_policy, an_exhausted_quota_does_not_pass)
{
    const char *quota = "{\"error\":{\"message\":\"m\",\"code\":\"insufficient_quota\"}}";
    assert_int_equal(decide(with_body(refused(429), quota), 1, 0).verdict, RETRY_FINAL);
    const char *rate = "{\"error\":{\"message\":\"m\",\"code\":\"rate_limit_exceeded\"}}";
    assert_int_equal(decide(with_body(refused(429), rate), 1, 0).verdict, RETRY_LATER);
}

TEST(retry_policy, an_error_body_may_begin_with_white_space)
{
    const char *quota =
        "\r\n {\"error\":{\"message\":\"m\",\"code\":\"insufficient_quota\"}}\n";
    assert_int_equal(decide(with_body(refused(429), quota), 1, 0).verdict, RETRY_FINAL);
}

TEST(retry_policy, attempts_end_at_the_maximum)
{
    assert_int_equal(decide(refused(500), 2, 0).verdict, RETRY_LATER);
    assert_int_equal(decide(refused(500), 3, 0).verdict, RETRY_ATTEMPTS_USED);
}

TEST(retry_policy, jitter_is_full_and_doubles_up_to_its_maximum)
{
    const struct retry_params many = {
        .attempts_max = 20, .backoff_base_ms = 1000, .backoff_max_ms = 30000};
    static const int64_t ceilings[] = {1000, 2000, 4000, 8000, 16000, 30000, 30000};
    struct attempt_outcome outcome = refused(500);
    for (unsigned i = 0; i < COUNT_OF(ceilings); i++) {
        struct retry_budget budget;
        retry_budget_init(&budget, 0);
        struct retry_situation situation = {
            .attempts = i + 1, .deadline_ms = 3600000, .dice = no_spread};
        assert_int_equal(retry_decide(&many, &budget, &outcome, &situation).pause_ms,
                         ceilings[i]);
        situation.dice = 0;
        assert_int_equal(retry_decide(&many, &budget, &outcome, &situation).pause_ms, 0);
    }
}

TEST(retry_policy, the_spread_is_added_on_top)
{
    assert_int_equal(decide(refused(500), 1, no_jitter).pause_ms, 1000);
    assert_int_equal(decide(refused(500), 1, longest).pause_ms, 2000);
}

TEST(retry_policy, a_pause_is_at_least_what_the_provider_asked_for)
{
    struct attempt_outcome outcome = with_header(refused(429), "Retry-After", "7");
    assert_int_equal(decide(outcome, 1, 0).pause_ms, 7000);
    assert_int_equal(decide(outcome, 1, no_jitter).pause_ms, 8000);
    outcome = with_header(refused(429), "retry-after-ms", "250");
    assert_int_equal(decide(with_header(outcome, "retry-after", "9"), 1, 0).pause_ms, 250);
    assert_int_equal(decide(outcome, 1, no_spread).pause_ms, 1000);
}

TEST(retry_policy, retry_after_is_seconds_or_a_date_or_nothing)
{
    static const struct {
        const char *value;
        int64_t wait_ms;
    } cases[] = {
        {"0", 0},
        {"1.5", 2000},
        {"86400", 86400000},
        {"999999999999999999999", -1},
        {"soon", -1},
        {"-1", -1},
        {"999999", 86400000},
        {"Sun, 06 Nov 1994 08:49:47 GMT", 10000},
        {"Sun, 06 Nov 1994 08:49:37 GMT", 0},
        {"Sun, 06 Nov 1994 08:00:00 GMT", 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct attempt_outcome outcome =
            with_header(refused(429), "retry-after", cases[i].value);
        if (attempt_retry_after_ms(&outcome, 784111777) != cases[i].wait_ms)
            fail_msg("%s", cases[i].value);
    }
}

TEST(retry_policy, a_pause_never_crosses_the_deadline)
{
    struct retry_budget budget;
    retry_budget_init(&budget, 0);
    struct attempt_outcome outcome = with_header(refused(503), "retry-after", "10");
    struct retry_situation situation = {.attempts = 1, .now_ms = 5000, .deadline_ms = 15001};
    assert_int_equal(retry_decide(&defaults, &budget, &outcome, &situation).verdict,
                     RETRY_LATER);
    situation.deadline_ms = 15000;
    assert_int_equal(retry_decide(&defaults, &budget, &outcome, &situation).verdict,
                     RETRY_NO_TIME);
}

static bool spend(struct retry_budget *budget, int64_t now_ms)
{
    struct attempt_outcome outcome = refused(500);
    const struct retry_situation situation = {
        .attempts = 1, .now_ms = now_ms, .deadline_ms = now_ms + 3600000};
    enum retry_verdict verdict = retry_decide(&defaults, budget, &outcome, &situation).verdict;
    assert_true(verdict == RETRY_LATER || verdict == RETRY_NO_BUDGET);
    return verdict == RETRY_LATER;
}

static unsigned spend_all(struct retry_budget *budget, int64_t now_ms)
{
    unsigned spent = 0;
    while (spend(budget, now_ms))
        spent++;
    return spent;
}

TEST(retry_policy, the_budget_starts_at_ten_and_earns_with_flights_and_time)
{
    struct retry_budget budget;
    retry_budget_init(&budget, 0);
    assert_int_equal(spend_all(&budget, 0), 10);
    for (int flight = 0; flight < 4; flight++)
        retry_budget_earn(&budget, 0.2, 0);
    assert_int_equal(spend_all(&budget, 0), 0);
    retry_budget_earn(&budget, 0.2, 0);
    assert_int_equal(spend_all(&budget, 0), 1);
    assert_int_equal(spend_all(&budget, 9999), 0);
    assert_int_equal(spend_all(&budget, 10000), 1);
}

TEST(retry_policy, the_budget_holds_at_most_a_hundred)
{
    struct retry_budget budget;
    retry_budget_init(&budget, 0);
    retry_budget_earn(&budget, 1000, 0);
    assert_int_equal(spend_all(&budget, 0), 100);
    assert_int_equal(spend_all(&budget, (int64_t)1 << 50), 100);
}

TEST(retry_policy, only_what_retries_takes_from_the_budget)
{
    struct retry_budget budget;
    retry_budget_init(&budget, 0);
    struct attempt_outcome outcome = refused(400);
    const struct retry_situation situation = {.attempts = 1, .deadline_ms = 3600000};
    for (int i = 0; i < 50; i++)
        (void)retry_decide(&defaults, &budget, &outcome, &situation);
    assert_int_equal(spend_all(&budget, 0), 10);
}

TEST(retry_policy, a_call_is_free_only_if_it_cannot_have_been_billed)
{
    static const struct {
        enum attempt_end end;
        int status;
        bool sent, output, billed;
    } cases[] = {
        {ATTEMPT_CONNECT_FAILED, 0, false, false, false},
        {ATTEMPT_CONNECTION_LOST, 0, false, false, false},
        {ATTEMPT_CONNECTION_LOST, 0, true, false, true},
        {ATTEMPT_REFUSED, 400, true, false, false},
        {ATTEMPT_REFUSED, 429, true, false, false},
        {ATTEMPT_REFUSED, 500, true, false, true},
        {ATTEMPT_REFUSED, 502, true, false, true},
        {ATTEMPT_REFUSED, 503, true, false, false},
        {ATTEMPT_REFUSED, 529, true, false, false},
        {ATTEMPT_TRUNCATED, 200, true, false, true},
        {ATTEMPT_FIRST_EVENT_TIMEOUT, 200, true, false, true},
        {ATTEMPT_DEADLINE, 0, false, false, false},
        {ATTEMPT_DEADLINE, 0, true, false, true},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct attempt_outcome outcome = {.end = cases[i].end,
                                                .status = cases[i].status,
                                                .request_sent = cases[i].sent,
                                                .output_began = cases[i].output};
        if (attempt_may_be_billed(&outcome) != cases[i].billed)
            fail_msg("case %zu", i);
    }
}

TEST(retry_policy, an_error_event_is_free_only_before_any_output)
{
    struct attempt_outcome outcome =
        with_body(ended(ATTEMPT_STREAM_ERROR), "{\"type\":\"overloaded_error\"}");
    assert_false(attempt_may_be_billed(&outcome));
    outcome.output_began = true;
    assert_true(attempt_may_be_billed(&outcome));
    attempt_outcome_done(&outcome);
}
