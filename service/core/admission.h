/* Who may start a flight, who waits for a slot, and whose turn it is.
 *
 * A flight needs a slot overall, one of its upstream and one of its client, if the client has a
 * limit, and for each call a place at the brake of its credential (brake.h).  What cannot have
 * all of them waits in a queue.  A *lane* is one client's queue at one upstream: first in,
 * first out.  At an upstream the lanes have turns, round robin, so that a client with many
 * requests takes nothing from one with few; between upstreams the turn that has waited longest
 * goes first.  A client or a credential that is full or paused loses its turns until it is not
 * any more, and an upstream that is full or paused is passed over, so nobody waits for somebody
 * else's slot.  The queue fills up so that the last places are left to clients that have few
 * (Choudhury and Hahne, Dynamic Queue Length Thresholds, 1998).  Flights that were admitted and are to call again go before new ones, as they
 * hold slots.
 *
 *            ask                     next                call_ended
 *     OUT ----------> QUEUED ----------------> ADMITTED ------------> RESTING
 *      ^                |                        ^ | ^                 |  |
 *      |   expire,      |     ask, where room is | | '----- call ------'  | call, but the
 *      |   leave        |     at once, from OUT -' |                      | brake is closed
 *      |                |                          |                      v
 *      '----------------+--------------------------'      ADMITTED <- RETURNING
 *              (leave: from any state)                            next
 *
 * | state     | what it holds                            | left by                          |
 * |-----------|------------------------------------------|----------------------------------|
 * | OUT       | nothing                                  | ask                              |
 * | QUEUED    | one of queue_max places, unless patient  | next, expire, leave              |
 * | ADMITTED  | its slots, and a place at its brake      | call_ended, leave                |
 * | RESTING   | its slots; between two calls             | call, move, leave                |
 * | RETURNING | its slots; waits for its brake           | next, leave                      |
 *
 * After whatever gives back slots or places (leave, call_ended, move) and at admission_due_ms
 * the owner calls admission_next until it returns NULL, then admission_expire likewise.
 *
 * A step takes a time that grows with the number of upstreams at most (CONFIG_UPSTREAMS_MAX),
 * not with what is queued.  Memory: one record per client and per lane with tickets; beyond
 * that only lanes whose own brake remembers something, of which ADMISSION_BRAKES_IDLE_MAX are
 * kept, the latest ones.
 *
 * Pure: no clock of its own.  Thread: the loop. */
#ifndef CORE_ADMISSION_H
#define CORE_ADMISSION_H

#include "base/list.h"
#include "base/map.h"
#include "base/sha256.h"
#include "base/timers.h"
#include "core/brake.h"

enum {
    ADMISSION_BRAKES_IDLE_MAX = 1024,
    /* Of the queue one client may have so many times the places that are free: it alone can take
     * eight ninths of them, and whoever comes next finds some. */
    ADMISSION_QUEUE_SHARE = 8,
};

enum admission_state {
    ADMISSION_OUT,
    ADMISSION_QUEUED,
    ADMISSION_ADMITTED,
    ADMISSION_RESTING,
    ADMISSION_RETURNING,
};

/* Part of a flight; all zero is OUT.  It must not move unless it is OUT. */
struct admission_ticket {
    struct admission_lane *lane; /* NULL: OUT */
    struct list link;            /* QUEUED: in its lane; RETURNING: at its gate */
    struct list age;             /* QUEUED and not patient: among all that are */
    int64_t asked_ms;
    enum admission_state state;
    unsigned started; /* ADMITTED: what brake_start gave */
};

/* Where calls start: a brake, and those who wait to call again. */
struct admission_gate {
    struct admission *admission;
    struct admission_lane *lane; /* whose own it is; NULL: all lanes of the upstream share it */
    struct brake brake;
    struct list returning; /* struct admission_ticket.link */
    struct list link;      /* in admission.gates while it is open to one of them */
    struct timer opens;    /* always started; TIMERS_NEVER: not by itself */
};

struct admission_upstream {
    unsigned max, held; /* flights */
    unsigned tickets;   /* in whatever state */
    bool shares_gate;   /* one credential for all: the operator's */
    struct list lanes;  /* struct admission_lane.turn: those that may have a turn, in order */
    struct admission_gate gate; /* shares_gate */
};

struct admission {
    unsigned max, held; /* flights */
    unsigned queue_max, queued;
    unsigned waiting; /* QUEUED, patient ones included, and RETURNING */
    int64_t queue_ms;
    struct admission_upstream **upstreams; /* by their indices; NULL: removed */
    size_t upstream_count;
    struct map parties; /* scope -> struct admission_party: the clients with tickets */
    struct list queue;  /* struct admission_ticket.age, oldest first */
    struct list gates;  /* those that can let somebody call again */
    struct list idle;   /* lanes without tickets whose brake remembers something */
    unsigned idle_count;
    struct timers timers; /* the gates' */
    int64_t now_ms;       /* of the last event */
    uint64_t turn;        /* the last one that was given out */
};

struct admission_upstream_params {
    unsigned flights_max; /* at least 1 */
    bool has_api_key;     /* else the client's own credential is passed on */
};

struct admission_params {
    unsigned flights_max; /* at least 1 */
    unsigned queue_max;   /* 0: nobody waits */
    int64_t queue_ms;     /* 0: nobody waits */
    const struct admission_upstream_params *upstreams;
    size_t upstream_count;
};

/* E_NOMEM: *admission is as after admission_done. */
MUST_CHECK enum rc admission_init(struct admission *admission,
                                  const struct admission_params *params, int64_t now_ms);
/* From now on; the upstreams' are theirs. */
void admission_set_limits(struct admission *admission, unsigned flights_max, unsigned queue_max,
                          int64_t queue_ms);
/* One more upstream; *ret_index is its index until it is removed, then perhaps another one's.
 * E_NOMEM. */
MUST_CHECK enum rc admission_add_upstream(struct admission *admission,
                                          const struct admission_upstream_params *params,
                                          size_t *ret_index);
/* Other limits from now on.  Whether its credential is shared changes only while it has no
 * tickets: true if all was taken over. */
bool admission_change_upstream(struct admission *admission, size_t index,
                               const struct admission_upstream_params *params);
/* It must have no tickets. */
void admission_remove_upstream(struct admission *admission, size_t index);
/* All tickets must be OUT. */
void admission_done(struct admission *admission);

struct admission_request {
    const struct digest *scope;  /* who asks: a client, or a credential */
    unsigned client_flights_max; /* 0: no limit of its own */
    int64_t deadline_ms;         /* no call starts after it */
    bool patient; /* it was promised already: it waits as long as it takes, beside the queue */
    size_t upstream; /* index */
};

enum admission_answer {
    ADMISSION_GRANTED, /* it is ADMITTED: the first call may be made */
    ADMISSION_WAIT,    /* it is QUEUED; admission_next or admission_expire returns it */
    ADMISSION_QUEUE_FULL, /* or its client has its share of it; it stays OUT, as it does in all that follows */
    ADMISSION_TOO_LONG, /* its brake is paused for longer than it may be queued, or its deadline */
    ADMISSION_NO_MEMORY,
};

/* Ask for a flight's slots.  The ticket must be OUT. */
enum admission_answer admission_ask(struct admission *admission,
                                    struct admission_ticket *ticket,
                                    const struct admission_request *request, int64_t now_ms);
/* Give back all it holds; OUT already: nothing. */
void admission_leave(struct admission *admission, struct admission_ticket *ticket,
                     int64_t now_ms);
/* The next ticket that was QUEUED or RETURNING and is ADMITTED now, or NULL. */
struct admission_ticket *admission_next(struct admission *admission, int64_t now_ms);
/* The next ticket that was QUEUED for queue_ms; it is OUT now.  NULL: none. */
struct admission_ticket *admission_expire(struct admission *admission, int64_t now_ms);
/* When admission_next and admission_expire are to be called even if nothing happens, or
 * TIMERS_NEVER: nobody waits. */
int64_t admission_due_ms(const struct admission *admission);

/* A RESTING flight is to call again.  True: it is ADMITTED.  False: it is RETURNING, and
 * admission_next returns it when it may. */
bool admission_call(struct admission *admission, struct admission_ticket *ticket,
                    int64_t now_ms);
/* The call of an ADMITTED flight is over; it is RESTING.  outcome NULL: it says nothing. */
void admission_call_ended(struct admission *admission, struct admission_ticket *ticket,
                          const struct attempt_outcome *outcome, int64_t now_ms,
                          int64_t now_unix_s);
/* The further calls of a RESTING flight go to another upstream.  False: that one has no slot,
 * or no place at its brake now, or memory is out; nothing changed. */
bool admission_move(struct admission *admission, struct admission_ticket *ticket,
                    size_t upstream, int64_t now_ms);

/* The brake of a ticket that is not OUT. */
const struct brake *admission_brake(const struct admission_ticket *ticket);
/* What the brake of this scope's credential says at an upstream. */
bool admission_is_paused(const struct admission *admission, const struct digest *scope,
                         size_t upstream, int64_t now_ms);
int64_t admission_paused_until_ms(const struct admission *admission, const struct digest *scope,
                                  size_t upstream);
/* How many brakes of this upstream are paused.  Looks at all clients, for metrics. */
unsigned admission_pauses(const struct admission *admission, size_t upstream, int64_t now_ms);
/* Whether a flight of this scope could be admitted and call at this upstream now, if its client
 * has a slot. */
bool admission_has_room(const struct admission *admission, const struct digest *scope,
                        size_t upstream, int64_t now_ms);

#endif
