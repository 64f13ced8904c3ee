#include "core/retry_policy.h"

#include "core/fallback.h"
#include "core/http_date.h"
#include "core/json.h"

/* ---- what an outcome means */

/* The error types and codes that providers put into streams, and the status each stands for.
 * https://docs.anthropic.com/en/api/errors, https://platform.openai.com/docs/guides/error-codes
 */
static const struct {
    const char *word;
    int status;
} error_words[] = {
    {"insufficient_quota", 429},
    {"rate_limit_error", 429},
    {"rate_limit_exceeded", 429},
    {"too_many_requests", 429},
    {"overloaded_error", 529},
    {"overloaded", 529},
    {"service_unavailable", 503},
    {"timeout_error", 504},
    {"api_error", 500},
    {"server_error", 500},
    {"internal_error", 500},
    {"internal_server_error", 500},
    {"invalid_request_error", 400},
    {"invalid_prompt", 400},
    {"context_length_exceeded", 400},
    {"content_filter", 400},
    {"authentication_error", 401},
    {"invalid_api_key", 401},
    {"billing_error", 402},
    {"permission_error", 403},
    {"not_found_error", 404},
    {"request_too_large", 413},
};

/* The error object of an outcome's body: the body itself in a stream, else its `error` member.
 */
static struct span error_object(const struct attempt_outcome *outcome)
{
    struct span body = blob_span(outcome->body);
    struct span inner = json_get(body, "error");
    return json_type(inner) == JSON_OBJECT ? inner : body;
}

static bool error_says(struct span error, const char *member, const char *word)
{
    return json_string_is(json_inside(json_get(error, member)), word);
}

static int status_of_error(struct span error)
{
    uint64_t number;
    for (size_t i = 0; i < COUNT_OF(error_words); i++)
        if (error_says(error, "code", error_words[i].word) ||
            error_says(error, "type", error_words[i].word))
            return error_words[i].status;
    if ((json_to_u64(json_get(error, "code"), &number) ||
         json_to_u64(json_get(error, "status"), &number)) &&
        number >= 400 && number <= 599)
        return (int)number;
    return 500; /* an error that does not say which may pass */
}

int attempt_error_status(const struct attempt_outcome *outcome)
{
    if (outcome->end == ATTEMPT_STREAM_ERROR)
        return status_of_error(error_object(outcome));
    return outcome->end == ATTEMPT_REFUSED ? outcome->status : 0;
}

bool attempt_quota_exhausted(const struct attempt_outcome *outcome)
{
    struct span error = error_object(outcome);
    return attempt_error_status(outcome) == 429 &&
           (error_says(error, "code", "insufficient_quota") ||
            error_says(error, "type", "insufficient_quota"));
}

bool attempt_may_be_billed(const struct attempt_outcome *outcome)
{
    if (!outcome->request_sent)
        return false;
    int status = attempt_error_status(outcome);
    bool refused = (status >= 400 && status <= 499) || status == 503 || status == 529;
    return !refused || outcome->output_began;
}

int64_t attempt_retry_after_ms(const struct attempt_outcome *outcome, int64_t now_unix_s)
{
    struct headers headers = {outcome->headers, outcome->header_count};
    uint64_t value;
    int64_t date, wait_ms = -1;
    struct span after = header_get(&headers, "retry-after");
    struct span whole = {after.p, span_find(after, '.')}; /* some send "1.5" */
    if (span_to_u64(header_get(&headers, "retry-after-ms"), &value))
        wait_ms = value < RETRY_AFTER_MAX_MS ? (int64_t)value : RETRY_AFTER_MAX_MS;
    else if (span_to_u64(whole, &value)) {
        int64_t seconds =
            value < RETRY_AFTER_MAX_MS / 1000 ? (int64_t)value : RETRY_AFTER_MAX_MS / 1000;
        wait_ms = (seconds + (whole.n < after.n)) * 1000;
    } else if (http_date_parse(after, &date)) {
        wait_ms = date > now_unix_s ? (date - now_unix_s) * 1000 : 0;
    }
    return wait_ms > RETRY_AFTER_MAX_MS ? RETRY_AFTER_MAX_MS : wait_ms;
}

static bool status_may_pass(int status)
{
    return status == 408 || status == 429 ||
           (status >= 500 && status <= 599 && status != HTTP_LOOP_DETECTED);
}

/* Whether the same call may end better another time. */
static bool may_pass(const struct attempt_outcome *outcome, unsigned malformed)
{
    switch (outcome->end) {
    case ATTEMPT_REFUSED:
    case ATTEMPT_STREAM_ERROR:
        return status_may_pass(attempt_error_status(outcome)) &&
               !attempt_quota_exhausted(outcome);
    case ATTEMPT_MALFORMED:
        return malformed <= 1;
    case ATTEMPT_TRUNCATED:
    case ATTEMPT_DNS_FAILED:
    case ATTEMPT_CONNECT_FAILED:
    case ATTEMPT_CONNECTION_LOST:
    case ATTEMPT_FIRST_EVENT_TIMEOUT:
    case ATTEMPT_IDLE_TIMEOUT:
        return true;
    case ATTEMPT_ANSWERED:
    case ATTEMPT_TOO_LARGE:
    case ATTEMPT_CERTIFICATE_FAILED:
    case ATTEMPT_DEADLINE:
    case ATTEMPT_NO_RESOURCES:
    case ATTEMPT_END_COUNT:
        break;
    }
    return false;
}

/* ---- the budget */

static const int64_t ONE_RETRY = 1000; /* in thousandths */

static void budget_add(struct retry_budget *budget, int64_t thousandths)
{
    budget->thousandths += thousandths;
    if (budget->thousandths > RETRY_BUDGET_MAX * ONE_RETRY)
        budget->thousandths = RETRY_BUDGET_MAX * ONE_RETRY;
}

void retry_budget_init(struct retry_budget *budget, int64_t now_ms)
{
    *budget = (struct retry_budget){RETRY_BUDGET_START * ONE_RETRY, now_ms};
}

static void budget_refill(struct retry_budget *budget, int64_t now_ms)
{
    int64_t earned = (now_ms - budget->refilled_ms) * ONE_RETRY / RETRY_BUDGET_REFILL_MS;
    if (earned <= 0)
        return;
    budget->refilled_ms += earned * RETRY_BUDGET_REFILL_MS / ONE_RETRY;
    budget_add(budget, earned);
}

void retry_budget_earn(struct retry_budget *budget, double ratio, int64_t now_ms)
{
    budget_refill(budget, now_ms);
    budget_add(budget, (int64_t)(ratio * (double)ONE_RETRY));
}

static bool budget_spend(struct retry_budget *budget, int64_t now_ms)
{
    budget_refill(budget, now_ms);
    if (budget->thousandths < ONE_RETRY)
        return false;
    budget->thousandths -= ONE_RETRY;
    return true;
}

/* ---- the decision */

/* A uniform number in [0, max] from 32 random bits. */
static int64_t uniform(uint32_t dice, int64_t max)
{
    return (int64_t)(((__uint128_t)dice * ((uint64_t)max + 1)) >> 32);
}

static int64_t pause_ms(const struct retry_params *params, unsigned attempts,
                        int64_t retry_after_ms, uint64_t dice)
{
    int64_t ceiling = params->backoff_base_ms;
    for (unsigned i = 1; i < attempts && ceiling < params->backoff_max_ms; i++)
        ceiling *= 2;
    if (ceiling > params->backoff_max_ms)
        ceiling = params->backoff_max_ms;
    int64_t jitter = uniform((uint32_t)dice, ceiling);
    /* A spread of its own, so that clients told the same Retry-After do not return together. */
    int64_t spread = uniform((uint32_t)(dice >> 32), params->backoff_base_ms);
    return (jitter > retry_after_ms ? jitter : retry_after_ms) + spread;
}

struct retry_decision retry_decide(const struct retry_params *params,
                                   struct retry_budget *budget,
                                   const struct attempt_outcome *outcome,
                                   const struct retry_situation *situation)
{
    struct retry_decision decision = {
        .verdict = RETRY_LATER,
        .retry_after_ms = attempt_retry_after_ms(outcome, situation->now_unix_s)};
    decision.pause_ms =
        pause_ms(params, situation->attempts, decision.retry_after_ms, situation->dice);
    bool elsewhere = situation->elsewhere && fallback_is_for(outcome);
    if (!elsewhere && !may_pass(outcome, situation->malformed))
        decision.verdict = RETRY_FINAL;
    else if (situation->attempts >= params->attempts_max)
        decision.verdict = RETRY_ATTEMPTS_USED;
    else if (elsewhere && situation->now_ms < situation->deadline_ms)
        decision.verdict = RETRY_ELSEWHERE;
    else if (decision.pause_ms >= situation->deadline_ms - situation->now_ms)
        decision.verdict = RETRY_NO_TIME;
    else if (!budget_spend(budget, situation->now_ms))
        decision.verdict = RETRY_NO_BUDGET;
    return decision;
}
