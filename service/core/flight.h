/* The life of a flight: one generation with all its upstream calls, from the look-up of its key
 * to the answer of its waiters.
 *
 * Pure: events come in with the time and dice they need, and each returns the one order that
 * the caller must carry out next; its completion is the next event.
 *
 *   NEW -- keyed --> LOOKING_UP -- stored, mismatch, trouble --------------> ENDED
 *    |                   |                                                     ^  ^
 *    | keyless           | absent, released                                    |  |
 *    '------------.      |      .--- nothing claimed: refused, stopped, late --'  |
 *                 v      v      |                                                 |
 *         .-----> QUEUED -------'   keyed, not claimed yet                        |
 *         |        | |  '------------------------> CLAIMING -- mismatch, trouble -|
 *         |        | |                                |                           |
 *         |        | | one more paid call             | claimed, first call       |
 *         |        | '-----------> COUNTING           | counted; or nothing       |
 *         |        |                |    |            | claimed, and it runs      |
 *         |        | keyless, or a  |    | counted    | without the store         |
 *         |        | free call in   |    v            |                           |
 *         |        | hand           | .-----------.   |                           |
 *         |        '----------------|>|  CALLING  |<--'                           |
 *         |                         | '-----------'                               |
 *         |     may pass            |    |    |  ended                            |
 *         '---- PAUSING <-----------|----'    '--> keyed: COMMITTING -------------'
 *                         used up,  |                 ^     (keyless, or without the store:
 *                         trouble   '-----------------'      at once)
 *
 * A key of its own is not looked up (NEW to QUEUED); a flight that an earlier process accepted
 * begins with QUEUED, then COUNTING.  A keyless flight that is registered between its first call
 * and its end is keyed from then on.
 *
 * | state      | what holds                                          | left by                  |
 * |------------|-----------------------------------------------------|--------------------------|
 * | NEW        | nothing was done; or an earlier process claimed it  | start, resume            |
 * | LOOKING_UP | the store is asked for the key; joins are possible  | on_lookup                |
 * | QUEUED     | admission is asked for a slot, or between two calls | on_admitted, refuse,     |
 * |            | for a place at the brake; joins are possible.  It   | on_deadline, stop,       |
 * |            | lasts as long as a registration that does not count | on_registered            |
 * |            | the next call                                       |                          |
 * | CLAIMING   | claim and first counted call are being made durable | on_claim                 |
 * | CALLING    | a call runs; keyed: it is counted                   | on_call_end, on_deadline |
 * | PAUSING    | back-off; keyed: a free call may be in hand         | on_pause_end, stop       |
 * | COUNTING   | one more paid call is being made durable            | on_count                 |
 * | COMMITTING | the verdict stands and is being made durable, or    | on_commit, on_registered |
 * |            | waits for the flight's key to be made durable       |                          |
 * | ENDED      | the verdict stands; waiters get it                  | -                        |
 *
 * Thread: the loop. */
#ifndef CORE_FLIGHT_H
#define CORE_FLIGHT_H

#include "core/verdict.h"

#define FLIGHT_STATE_TABLE(X)                                                                  \
    X(FLIGHT_NEW, "new")                                                                       \
    X(FLIGHT_LOOKING_UP, "looking_up")                                                         \
    X(FLIGHT_QUEUED, "queued")                                                                 \
    X(FLIGHT_CLAIMING, "claiming")                                                             \
    X(FLIGHT_CALLING, "calling")                                                               \
    X(FLIGHT_PAUSING, "pausing")                                                               \
    X(FLIGHT_COUNTING, "counting")                                                             \
    X(FLIGHT_COMMITTING, "committing")                                                         \
    X(FLIGHT_ENDED, "ended")

enum flight_state {
#define X(name, word) name,
    FLIGHT_STATE_TABLE(X)
#undef X
        FLIGHT_STATE_COUNT
};

const char *flight_state_name(enum flight_state state);

enum flight_order {
    FLIGHT_WAIT,     /* nothing now; an event that is under way comes */
    FLIGHT_LOOK_UP,  /* ask the store for the key, then flight_on_lookup */
    FLIGHT_ADMIT,    /* ask admission (admission.h), then flight_on_admitted or flight_refuse */
    FLIGHT_CLAIM,    /* claim the key and count the first call, then flight_on_claim */
    FLIGHT_CALL,     /* call upstream, then flight_on_call_end */
    FLIGHT_PAUSE,    /* wait flight.pause_ms, then flight_on_pause_end */
    FLIGHT_COUNT,    /* count one more paid call, then flight_on_count */
    FLIGHT_ABORT,    /* end the running call; its end is then ATTEMPT_DEADLINE */
    FLIGHT_COMPLETE, /* store the answer, then flight_on_commit */
    FLIGHT_FAIL,     /* store the paid failure, then flight_on_commit */
    FLIGHT_RELEASE,  /* release the key, give a call_in_hand back, then flight_on_commit */
    FLIGHT_ANSWER,   /* the flight ended: answer all waiters with flight.verdict */
};

/* What the store says of the key. */
enum flight_key {
    FLIGHT_KEY_FREE,     /* absent, or released with this fingerprint: it can be claimed */
    FLIGHT_KEY_ANSWERED, /* DONE or FAILED with this fingerprint */
    FLIGHT_KEY_OTHER,    /* another fingerprint */
    FLIGHT_KEY_CORRUPT,  /* answered, but the body does not match its checksum */
    FLIGHT_KEY_UNKNOWN,  /* a crash cut its flight off, and it must not be run again */
    FLIGHT_KEY_NO_ROOM,  /* answered, but memory has no room to tell it now */
    FLIGHT_KEY_USED_UP,  /* released, and no paid calls are left */
    FLIGHT_KEY_TROUBLE,  /* the store failed */
};

struct flight_params {
    bool keyed;          /* it has a key in the store: its caller's, or one of its own */
    bool own_key;        /* nobody else has this key: it is claimed without a look-up */
    bool accepted;       /* it is driven without a caller, and again by the next process */
    bool key_is_ours;    /* the upstream credential is the operator's */
    bool relayed;        /* it is passed on: one call, whose outcome is told as it is */
    bool may_outlive;    /* goes on past the deadline while it produces output */
    bool store_optional; /* a key that the store cannot claim runs without the store */
    struct retry_params retry;
    int64_t deadline_ms; /* no call starts after it */
    int64_t ceiling_ms;  /* no call goes on after it */
};

struct flight {
    struct flight_params params;
    enum flight_state state;
    struct verdict verdict; /* from COMMITTING on */
    bool claimed;           /* keyed, and the store has a running row of it */
    bool without_store;     /* keyed, but nothing was claimed, so nothing is made durable */
    bool unstored;          /* the verdict could not be made durable */
    unsigned attempts;      /* calls made so far */
    unsigned malformed;     /* of these, ended ATTEMPT_MALFORMED */
    bool call_in_hand;      /* a counted call that cannot have been billed */
    bool output_began;      /* in the running call */
    bool stopping;          /* flight_stop was called; the verdict is set */
    bool late;              /* the deadline passed while no call ran: none starts any more */
    bool registering;       /* see flight_register; a verdict waits for its end */
    bool counted_ahead;     /* ... which counts the next call, too */
    bool next_waits;        /* ... and the call after that waits for it */
    bool fallback_open;     /* set before on_call_end: the fallback would take the next call */
    bool elsewhere;         /* of the last FLIGHT_PAUSE: the next call goes to the fallback */
    int64_t pause_ms;       /* likewise */
};

void flight_init(struct flight *flight, const struct flight_params *params);
/* The first event. */
enum flight_order flight_start(struct flight *flight);
/* The first event of a flight that an earlier process claimed and accepted.  may_run: false if
 * what became of its calls is not to be found out by another one. */
enum flight_order flight_resume(struct flight *flight, int64_t now_ms, bool may_run);
enum flight_order flight_on_lookup(struct flight *flight, enum flight_key key);
enum flight_order flight_on_claim(struct flight *flight, enum flight_key key);
void flight_on_output(struct flight *flight);
/* It may make its first call, or the next one. */
enum flight_order flight_on_admitted(struct flight *flight);
/* Admission refused it; retry_after_s 0: the error's own. */
enum flight_order flight_refuse(struct flight *flight, enum http_error why, const char *detail,
                                unsigned retry_after_s);
/* The running call ended; `budget` is its upstream's.  `outcome` is only read. */
enum flight_order flight_on_call_end(struct flight *flight,
                                     const struct attempt_outcome *outcome,
                                     struct retry_budget *budget, int64_t now_ms,
                                     int64_t now_unix_s, uint64_t dice);
enum flight_order flight_on_pause_end(struct flight *flight);
/* OK: counted.  E_LIMIT: no paid calls left.  Else: store trouble. */
enum flight_order flight_on_count(struct flight *flight, enum rc rc);
/* The verdict is durable, or `rc` says why not. */
enum flight_order flight_on_commit(struct flight *flight, enum rc rc);
/* Another request waits for this flight, until deadline_ms; that does not move the ceiling. */
void flight_on_join(struct flight *flight, int64_t deadline_ms);
/* When flight_on_deadline must be called next: the deadline, or the ceiling once it was passed.
 */
int64_t flight_deadline_ms(const struct flight *flight, int64_t now_ms);
enum flight_order flight_on_deadline(struct flight *flight, int64_t now_ms);
/* Whether nothing was sent for it and nothing is durable yet: it can be refused as if it had
 * never been. */
bool flight_has_not_begun(const struct flight *flight);
/* Whether it can be registered: keyless, and a call was made. */
bool flight_can_register(const struct flight *flight);
/* A keyless flight is being given a key of its own, so that its outcome outlives its waiters;
 * returns how many calls that has to count.  Until flight_on_registered a verdict waits. */
unsigned flight_register(struct flight *flight);
/* OK: it is keyed from now on.  Else it goes on as it was.  FLIGHT_WAIT, or what follows now if
 * the flight waited for this. */
enum flight_order flight_on_registered(struct flight *flight, enum rc rc);
/* Give it up now, for a reason of ours (draining is over, nobody may collect a keyless answer).
 * FLIGHT_ABORT: end the running call, then call flight_on_stopped. */
enum flight_order flight_stop(struct flight *flight, enum http_error why, const char *detail);
enum flight_order flight_on_stopped(struct flight *flight);

#endif
