/* Which failed upstream calls are made again, and when.
 *
 * Retried is what may pass: connection and DNS failures, 408, 429 (but not an exhausted quota),
 * 5xx (but not 508, RFC 5842 7.2: the way there leads back to where it began), 529, timeouts,
 * cut streams, error events that mean the same, and malformed streams once.  All else is final.
 * Between calls lies full-jitter exponential back-off, at least as long as the provider asked
 * for, never past the deadline.  A budget per upstream keeps retries from multiplying the load
 * on a provider that is down.
 *
 * Where a fallback would take the call, what fallback_is_for (fallback.h) names goes there at
 * once: nothing was refused there that would have to be waited out, and it is no repetition for
 * that upstream, so neither the pause nor this upstream's budget count, only attempts and time.
 *
 * Pure: time and dice are arguments.  Thread: the loop (one owner per budget). */
#ifndef CORE_RETRY_POLICY_H
#define CORE_RETRY_POLICY_H

#include "core/attempt.h"

enum {
    HTTP_LOOP_DETECTED = 508,
    RETRY_BUDGET_MAX = 100,  /* retries that can be saved up per upstream */
    RETRY_BUDGET_START = 10, /* retries allowed before any flight succeeded in earning more */
    RETRY_BUDGET_REFILL_MS = 10000,        /* one retry is earned in this time */
    RETRY_AFTER_MAX_MS = 24 * 3600 * 1000, /* more than a day asked for counts as a day */
};

/* Retries an upstream may still make, in thousandths. */
struct retry_budget {
    int64_t thousandths;
    int64_t refilled_ms;
};

void retry_budget_init(struct retry_budget *budget, int64_t now_ms);
/* A flight started: it earns `ratio` of a retry. */
void retry_budget_earn(struct retry_budget *budget, double ratio, int64_t now_ms);

struct retry_params {
    unsigned attempts_max; /* calls per flight, the first included */
    int64_t backoff_base_ms, backoff_max_ms;
};

struct retry_situation {
    unsigned attempts;           /* calls made so far, this one included */
    unsigned malformed;          /* how many of them ended ATTEMPT_MALFORMED */
    int64_t now_ms, deadline_ms; /* monotonic */
    int64_t now_unix_s;          /* wall clock, for a Retry-After that is a date */
    uint64_t dice;               /* 64 random bits */
    bool elsewhere;              /* the fallback would take the next call now (fallback.h) */
};

enum retry_verdict {
    RETRY_LATER,         /* call again after pause_ms */
    RETRY_ELSEWHERE,     /* call the fallback, at once */
    RETRY_FINAL,         /* the same call would end the same way */
    RETRY_ATTEMPTS_USED, /* it may pass, but not in this flight */
    RETRY_NO_TIME,       /* the pause would end after the deadline */
    RETRY_NO_BUDGET,     /* this upstream had too many retries lately */
};

struct retry_decision {
    enum retry_verdict verdict;
    int64_t pause_ms;       /* RETRY_LATER */
    int64_t retry_after_ms; /* what the provider asked for, -1: nothing */
};

/* Decide about a call that did not answer; RETRY_LATER takes one retry from the budget. */
struct retry_decision retry_decide(const struct retry_params *params,
                                   struct retry_budget *budget,
                                   const struct attempt_outcome *outcome,
                                   const struct retry_situation *situation);

/* The HTTP status an outcome stands for: of the answer, or of the error event inside a 200
 * stream by its type or code; 0: none. */
int attempt_error_status(const struct attempt_outcome *outcome);
/* Whether the provider says that the account's quota is used up (insufficient_quota). */
bool attempt_quota_exhausted(const struct attempt_outcome *outcome);
/* False only if the provider cannot have billed the call: the request was not fully sent, or it
 * was answered 4xx, 503 or 529 before any output. */
bool attempt_may_be_billed(const struct attempt_outcome *outcome);
/* Retry-After (RFC 9110 10.2.3: seconds or a date) or retry-after-ms of the outcome, -1:
 * neither. */
int64_t attempt_retry_after_ms(const struct attempt_outcome *outcome, int64_t now_unix_s);

#endif
