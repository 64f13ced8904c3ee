/* What a flight's last call means for its caller and for its key: the failure table of the
 * contract in one place.  Pure; thread: any. */
#ifndef CORE_VERDICT_H
#define CORE_VERDICT_H

#include "core/http_error.h"
#include "core/retry_policy.h"

enum verdict_body {
    VERDICT_ANSWER,        /* the assembled answer */
    VERDICT_UPSTREAM_BODY, /* the provider's error body as it came */
    VERDICT_OWN_ERROR,     /* `error` rendered in the caller's shape, with `detail` */
    VERDICT_STORED,        /* what the store holds for the key */
};

/* What becomes of a key. */
enum verdict_keep {
    KEEP_ANSWER,  /* DONE: every retry gets this answer */
    KEEP_FAILURE, /* FAILED: it was paid for; every retry gets it for a while */
    KEEP_NOTHING, /* RELEASED: a retry runs again */
    KEEP_RUNNING, /* RUNNING: the next process drives it again */
};

struct verdict {
    enum verdict_body body;
    enum verdict_keep keep;
    unsigned status;
    enum http_error error; /* VERDICT_OWN_ERROR */
    const char *detail;    /* VERDICT_OWN_ERROR: what happened, for the message */
    enum http_error_retry retry;
    unsigned retry_after_s; /* 0: no Retry-After */
};

/* Whether retries of the key get it again. */
static inline bool verdict_keeps(const struct verdict *verdict)
{
    return verdict->keep == KEEP_ANSWER || verdict->keep == KEEP_FAILURE;
}

enum {
    VERDICT_RETRY_AFTER_MAX_S = 8, /* of our own making: SDKs treat larger values differently */
    VERDICT_PATIENCE_MAX_S = 60, /* beyond this a 429 is passed on as it is, to stop retries */
};

/* The verdict on a call that ended a flight.  key_is_ours: the credential was the operator's,
 * so that its refusal is no business of the caller. */
struct verdict verdict_of(const struct attempt_outcome *outcome,
                          const struct retry_decision *decision, bool key_is_ours);
/* The same for a relayed request: its answer has the provider's own status, and what failed was
 * not called again here, so that it is for the caller to decide about that. */
struct verdict verdict_of_relayed(const struct attempt_outcome *outcome, int64_t retry_after_ms,
                                  bool key_is_ours);
/* The verdict on a flight that ended for a reason of our own. */
struct verdict verdict_error(enum http_error error, const char *detail);

#endif
