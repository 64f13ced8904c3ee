/* Retries without a key: which keyless request takes over which keyless flight.
 *
 * No official SDK sends an Idempotency-Key, but all of them repeat a request byte for byte and
 * count in x-stainless-retry-count.  Such a retry takes the oldest orphan among its kin: the
 * keyless flights of the same scope and fingerprint.  An orphan is a flight with no waiter now
 * whose answer was not delivered.  If there is none, the old connection may be half-open (a
 * proxy in between holds it), and the retry joins its twin: the one flight whose waiter counts
 * fewer retries, unless there are several, or the retry may be the answer to an error that
 * invited it.  Identical requests that run in parallel are never merged.
 *
 * Pure; thread: any. */
#ifndef CORE_ADOPTION_H
#define CORE_ADOPTION_H

#include "core/config.h"
#include "core/http_error.h"
#include "core/http_message.h"

enum { ADOPTION_REFUSAL_MS = 60 * 1000 }; /* for so long an error may have invited a retry */

/* What counts of a request. */
struct adoption_request {
    enum adopt adopt;     /* the route's */
    bool shared_scope;    /* anonymous on an open listener: its callers are strangers */
    bool counted;         /* it carries x-stainless-retry-count */
    unsigned retry_count; /* 0 if it does not */
};

/* Reads x-stainless-retry-count into counted and retry_count; what is not a number counts as
 * absent. */
void adoption_read_count(struct adoption_request *request, const struct headers *headers);
/* Whether a flight of this request could be adopted, so that it may become an orphan: its retry
 * must be recognisable. */
bool adoption_may_orphan(const struct adoption_request *request);
/* Whether a reply makes official SDKs send the request again. */
bool adoption_invites_retry(int status, enum http_error_retry advice);

/* A decision: begin, consider all kin, oldest first, then take the choice. */
struct adoption {
    bool orphans, twins; /* what the request may take */
    unsigned retry_count;
    void *orphan, *twin;
    unsigned twin_count;
};

enum adoption_state {
    ADOPTION_ATTENDED, /* somebody waits for it, or its answer is being delivered */
    ADOPTION_ORPHAN,
};

/* refused_lately: a keyless request of this scope and fingerprint was answered with an error
 * that invites a retry within ADOPTION_REFUSAL_MS. */
struct adoption adoption_begin(const struct adoption_request *request, bool refused_lately);
/* retry_count: the highest among the flight's waiters so far. */
void adoption_consider(struct adoption *adoption, void *flight, enum adoption_state state,
                       unsigned retry_count);
/* The flight to wait for; NULL: run a flight of its own. */
void *adoption_choice(const struct adoption *adoption);

#endif
