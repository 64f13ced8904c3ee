#include "core/verdict.h"

struct verdict verdict_error(enum http_error error, const char *detail)
{
    const struct http_error_info *info = http_error_info(error);
    return (struct verdict){
        .body = VERDICT_OWN_ERROR,
        .keep = KEEP_NOTHING,
        .status = info->status,
        .error = error,
        .detail = detail,
        .retry = info->retry,
        .retry_after_s = info->retry_after_s,
    };
}

static unsigned seconds_up(int64_t ms)
{
    return ms > 0 ? (unsigned)((ms + 999) / 1000) : 0;
}

/* A provider's own error body, as it came. */
static struct verdict upstream_body(int status, enum http_error_retry retry,
                                    unsigned retry_after_s)
{
    return (struct verdict){
        .body = VERDICT_UPSTREAM_BODY,
        .keep = KEEP_NOTHING,
        .status = (unsigned)status,
        .retry = retry,
        .retry_after_s = retry_after_s,
    };
}

/* A provider's Retry-After as one of our own. */
static unsigned within_bounds(unsigned after_s)
{
    if (after_s < 1)
        return 1;
    return after_s < VERDICT_RETRY_AFTER_MAX_S ? after_s : VERDICT_RETRY_AFTER_MAX_S;
}

/* Too many requests, and all our own retries could not wait it out. */
static struct verdict rate_limited(const struct attempt_outcome *outcome,
                                   int64_t retry_after_ms)
{
    unsigned after_s = seconds_up(retry_after_ms);
    if (after_s > VERDICT_PATIENCE_MAX_S || attempt_quota_exhausted(outcome))
        return upstream_body(429, HTTP_ERROR_RETRY_NO, after_s);
    return upstream_body(429, HTTP_ERROR_RETRY_YES, within_bounds(after_s));
}

/* The provider answered with an error, by its status or in its stream. */
static struct verdict refused(const struct attempt_outcome *outcome, int64_t retry_after_ms,
                              bool key_is_ours)
{
    int status = attempt_error_status(outcome);
    if (key_is_ours && (status == 401 || status == 403))
        return verdict_error(HTTP_ERROR_UPSTREAM_CREDENTIALS, NULL);
    if (status == 429)
        return rate_limited(outcome, retry_after_ms);
    if (status >= 400 && status <= 499)
        return upstream_body(status, HTTP_ERROR_RETRY_NO, 0);
    if (status == HTTP_LOOP_DETECTED)
        return verdict_error(HTTP_ERROR_LOOP_DETECTED, NULL);
    bool overloaded = status == 503 || status == 529;
    return verdict_error(overloaded ? HTTP_ERROR_UPSTREAM_OVERLOADED : HTTP_ERROR_UPSTREAM,
                         NULL);
}

/* Time was over.  What had begun to produce was paid for. */
static struct verdict out_of_time(const struct attempt_outcome *outcome)
{
    if (!outcome->output_began)
        return verdict_error(HTTP_ERROR_DEADLINE, NULL);
    struct verdict verdict = verdict_error(HTTP_ERROR_FLIGHT_CEILING, NULL);
    verdict.keep = KEEP_FAILURE;
    return verdict;
}

struct verdict verdict_of(const struct attempt_outcome *outcome,
                          const struct retry_decision *decision, bool key_is_ours)
{
    struct verdict verdict;
    switch (outcome->end) {
    case ATTEMPT_ANSWERED:
        return (struct verdict){.body = VERDICT_ANSWER, .keep = KEEP_ANSWER, .status = 200};
    case ATTEMPT_TOO_LARGE:
        verdict = verdict_error(HTTP_ERROR_ANSWER_TOO_LARGE, NULL);
        verdict.keep = KEEP_FAILURE;
        return verdict;
    case ATTEMPT_REFUSED:
    case ATTEMPT_STREAM_ERROR:
        return refused(outcome, decision->retry_after_ms, key_is_ours);
    case ATTEMPT_DNS_FAILED:
    case ATTEMPT_CONNECT_FAILED:
    case ATTEMPT_CERTIFICATE_FAILED:
        return verdict_error(HTTP_ERROR_UPSTREAM_UNREACHABLE, attempt_end_text(outcome->end));
    case ATTEMPT_CONNECTION_LOST:
        return verdict_error(outcome->request_sent ? HTTP_ERROR_UPSTREAM_INCOMPLETE
                                                   : HTTP_ERROR_UPSTREAM_UNREACHABLE,
                             attempt_end_text(outcome->end));
    case ATTEMPT_TRUNCATED:
    case ATTEMPT_MALFORMED:
    case ATTEMPT_FIRST_EVENT_TIMEOUT:
    case ATTEMPT_IDLE_TIMEOUT:
        return verdict_error(HTTP_ERROR_UPSTREAM_INCOMPLETE, attempt_end_text(outcome->end));
    case ATTEMPT_DEADLINE:
        return out_of_time(outcome);
    case ATTEMPT_NO_RESOURCES:
    case ATTEMPT_END_COUNT:
        break;
    }
    return verdict_error(HTTP_ERROR_OVERLOADED, attempt_end_text(ATTEMPT_NO_RESOURCES));
}

/* ---- relayed requests */

/* The words for generations speak of streams and of retries. */
static const struct {
    enum http_error generation, relay;
} relay_errors[] = {
    {HTTP_ERROR_UPSTREAM, HTTP_ERROR_RELAY},
    {HTTP_ERROR_UPSTREAM_OVERLOADED, HTTP_ERROR_RELAY_OVERLOADED},
    {HTTP_ERROR_UPSTREAM_UNREACHABLE, HTTP_ERROR_RELAY_UNREACHABLE},
    {HTTP_ERROR_UPSTREAM_INCOMPLETE, HTTP_ERROR_RELAY_INCOMPLETE},
};

static const struct {
    enum attempt_end end;
    const char *text;
} relay_details[] = {
    {ATTEMPT_TRUNCATED, "it was cut"},
    {ATTEMPT_MALFORMED, "it is malformed, or compressed, which nobody asked for"},
    {ATTEMPT_FIRST_EVENT_TIMEOUT, "it did not begin in time"},
    {ATTEMPT_IDLE_TIMEOUT, "it stood still"},
};

static const char *relay_detail(enum attempt_end end, const char *otherwise)
{
    for (size_t i = 0; i < COUNT_OF(relay_details); i++)
        if (relay_details[i].end == end)
            return relay_details[i].text;
    return otherwise;
}

static struct verdict relay_verdict_error(const struct verdict *before, enum attempt_end end,
                                          int64_t retry_after_ms)
{
    struct verdict verdict = *before;
    for (size_t i = 0; i < COUNT_OF(relay_errors); i++) {
        if (relay_errors[i].generation != before->error)
            continue;
        verdict = verdict_error(relay_errors[i].relay, relay_detail(end, before->detail));
        if (retry_after_ms >= 0)
            verdict.retry_after_s = within_bounds(seconds_up(retry_after_ms));
    }
    return verdict;
}

struct verdict verdict_of_relayed(const struct attempt_outcome *outcome, int64_t retry_after_ms,
                                  bool key_is_ours)
{
    const struct retry_decision decision = {.verdict = RETRY_FINAL,
                                            .retry_after_ms = retry_after_ms};
    struct verdict verdict = verdict_of(outcome, &decision, key_is_ours);
    switch (verdict.body) {
    case VERDICT_ANSWER:
        verdict.status = (unsigned)outcome->status;
        break;
    case VERDICT_UPSTREAM_BODY:
        if (verdict.status != 429)
            verdict.retry = HTTP_ERROR_RETRY_UNSAID;
        break;
    case VERDICT_OWN_ERROR:
        return relay_verdict_error(&verdict, outcome->end, retry_after_ms);
    case VERDICT_STORED:
        break;
    }
    return verdict;
}
