/* The life of an idempotency key, as the one account of what a store must do: pure, so that any
 * store can be compared with it step by step (tests/unit/test_store_random.c).
 *
 *   ABSENT --claim--> RUNNING --complete--> DONE ----------------- expiry --> ABSENT
 *      ^               ^  |  '----fail----> FAILED -- its time --> RELEASED
 *      |               |  '--release, crash-----------------------> |  |
 *      |               '---- claim: same fingerprint, calls left ---'  |
 *      '----------------------------- expiry --------------------------'
 *
 * | state    | what holds                                              | left by               |
 * |----------|---------------------------------------------------------|-----------------------|
 * | ABSENT   | nothing is known                                        | claim                 |
 * | RUNNING  | one flight owns it; no end by time                      | its flight, a crash*  |
 * | DONE     | the answer is replayed until forget_ms                  | expiry                |
 * | FAILED   | the paid failure is replayed until answer_until_ms      | that time             |
 * | RELEASED | fingerprint and paid calls are kept until forget_ms     | claim, expiry         |
 *
 * (* an accepted request is driven again after a crash, and its key runs on.)
 *
 * A struct key is what is stored; what a caller sees depends on the time as well and is told by
 * key_state_at.  Nothing is stored when time passes: KEY_EXPIRE is the moment in which a row
 * past its end is deleted.  The clock may jump back: what was not deleted is then alive again.
 * Thread: any. */
#ifndef CORE_KEY_H
#define CORE_KEY_H

#include "base/sha256.h"

#include <string.h>

#define KEY_STATE_TABLE(X)                                                                     \
    X(KEY_ABSENT, "absent")                                                                    \
    X(KEY_RUNNING, "running")                                                                  \
    X(KEY_DONE, "done")                                                                        \
    X(KEY_FAILED, "failed")                                                                    \
    X(KEY_RELEASED, "released")

enum key_state {
#define X(name, word) name,
    KEY_STATE_TABLE(X)
#undef X
};

const char *key_state_name(enum key_state state);

enum { FLIGHT_ID_BYTES = 16 };

struct flight_id {
    uint8_t bytes[FLIGHT_ID_BYTES];
};

static inline bool flight_id_eq(struct flight_id a, struct flight_id b)
{
    return memcmp(a.bytes, b.bytes, sizeof a.bytes) == 0;
}

/* All zero: ABSENT. */
struct key {
    enum key_state state; /* as it was stored */
    struct digest fingerprint;
    struct flight_id flight; /* of the last claim */
    unsigned paid_calls;     /* counted in this life */
    int64_t created_ms;      /* when this life began */
    int64_t ended_ms;        /* of the last flight; 0: RUNNING */
    int64_t answer_until_ms; /* DONE, FAILED: replayed before this time; else 0 */
    int64_t forget_ms;       /* the life is over from then on; KEY_NEVER: RUNNING */
};

#define KEY_NEVER INT64_MAX

#define KEY_EVENT_TABLE(X)                                                                     \
    X(KEY_CLAIM, "claim")       /* a flight wants it, and counts its first call */             \
    X(KEY_COUNT, "count")       /* its flight counts one more call */                          \
    X(KEY_COMPLETE, "complete") /* its flight has the answer */                                \
    X(KEY_FAIL, "fail")         /* its flight failed and was paid for */                       \
    X(KEY_RELEASE, "release")   /* its flight gives it up */                                   \
    X(KEY_CRASH, "crash")       /* the process died; the next one opens the store */           \
    X(KEY_EXPIRE, "expire")     /* the row goes if its end has come */

enum key_event_kind {
#define X(name, word) name,
    KEY_EVENT_TABLE(X)
#undef X
};

const char *key_event_name(enum key_event_kind kind);

struct key_event {
    enum key_event_kind kind;
    int64_t now_ms;
    struct flight_id flight;   /* CLAIM, COUNT, COMPLETE, FAIL, RELEASE: who asks */
    struct digest fingerprint; /* CLAIM */
    unsigned paid_calls_max;   /* CLAIM, COUNT; at least 1 */
    bool give_back;            /* RELEASE: the last counted call cannot have been billed */
    int64_t expires_ms;        /* COMPLETE, FAIL: end of the replays */
    bool accepted;             /* CRASH: its flight is an accepted request's */
    int64_t released_ttl_ms;   /* FAIL, RELEASE, CRASH: how long paid calls are remembered */
};

enum key_result {
    KEY_APPLIED,
    KEY_EXISTS,    /* CLAIM: it is running or answered */
    KEY_OTHER,     /* CLAIM: it is alive with another fingerprint */
    KEY_EXHAUSTED, /* CLAIM, COUNT: all paid calls are used up */
    KEY_CONFLICT,  /* COUNT, COMPLETE, FAIL, RELEASE: the flight does not own it */
};

/* What a caller sees at this time. */
enum key_state key_state_at(const struct key *key, int64_t now_ms);

/* Applies the event, or says why not and changes nothing.  CRASH and EXPIRE always apply. */
enum key_result key_apply(struct key *key, const struct key_event *event);

/* The invariants of a key, as one step shows them.  X(enum, what must hold) */
#define KEY_INVARIANT_TABLE(X)                                                                 \
    X(KEY_SOUND, "the fields fit the state, and what is refused changes nothing")              \
    X(KEY_I1, "I1: one flight at a time: a running key keeps its flight")                      \
    X(KEY_I2, "I2: calls are counted before they are made, up to the maximum")                 \
    X(KEY_I3, "I3: an answer stays as it is as long as it is replayed")                        \
    X(KEY_I4, "I4: a crash loses nothing that was acknowledged")                               \
    X(KEY_I5, "I5: another fingerprint does not touch a live key")                             \
    X(KEY_I6, "I6: only the flight that owns a key changes or ends it")                        \
    X(KEY_I8, "I8: a running key ends by no time, and outlives its process only if accepted")  \
    X(KEY_FINE, "fine")

enum key_invariant {
#define X(name, text) name,
    KEY_INVARIANT_TABLE(X)
#undef X
};

const char *key_invariant_text(enum key_invariant invariant);

/* Judges a step of any implementation: `before` and `after` the event, which ended in `result`.
 * KEY_FINE, or the first invariant that it breaks. */
enum key_invariant key_check(const struct key *before, const struct key_event *event,
                             enum key_result result, const struct key *after);

#endif
