/* How long a waiter is held, and what it gets when the hold is over before its flight: the edge
 * policies, for whatever sits between client and us and gives up first.
 *
 * | edge      | when the hold is over                                                        |
 * |-----------|------------------------------------------------------------------------------|
 * | wait      | never                                                                        |
 * | conflict  | 409 or 503 that invites the same request again, which joins                  |
 * | redirect  | 303 to a result URL that holds again                                         |
 * | heartbeat | the head goes out with a padded length, then blanks until the answer is there |
 *
 * and with `Prefer: respond-async` 202 with a result URL to ask at.  Pure; thread: any. */
#ifndef CORE_EDGE_H
#define CORE_EDGE_H

#include "core/config.h"
#include "core/prefer.h"

/* For a hold that never ends, and the plan of one who waits for whatever comes. */
#define EDGE_NEVER INT64_MAX
#define EDGE_PLAN_WAIT ((struct edge_plan){.edge = EDGE_WAIT, .hold_ms = EDGE_NEVER})

enum {
    /* The declared length of a heartbeat's body: EDGE_BYTES_PER_TOKEN for each token asked for
     * and EDGE_BYTES_EXTRA, within these bounds, for each choice. */
    EDGE_BYTES_PER_TOKEN = 8,
    EDGE_BYTES_EXTRA = 8 << 10,
    EDGE_BYTES_MIN = 16 << 10,
    EDGE_BYTES_MAX = 1 << 20,
    EDGE_BYTES_UNSAID = 256 << 10, /* no limit of tokens is given */
    EDGE_CONFLICT_STATUS_SDK = 409,
    EDGE_CONFLICT_STATUS = 503,
};

/* What decides. */
struct edge_request {
    const struct config_route *route;
    struct prefer prefer;
    bool retry_finds;    /* it has a key, or its retry is recognised without one */
    bool from_sdk;       /* it carries an x-stainless-* header */
    bool may_be_driven;  /* without its caller, by a credential of ours and a body at rest */
    uint64_t max_tokens; /* 0: none given */
    unsigned choices;    /* counts as 1 to SPLICE_CHOICES_MAX */
    bool logprobs;
};

struct edge_plan {
    enum edge edge;  /* accepts: EDGE_WAIT */
    bool accepts;    /* the hold ends with a 202 */
    int64_t hold_ms; /* from the request's arrival; EDGE_NEVER: wait */
    /* heartbeat: not before this and some output, but at hold_ms in any case */
    int64_t heartbeat_after_ms;
    int64_t beat_ms;          /* heartbeat */
    size_t bytes;             /* heartbeat: the declared length */
    unsigned conflict_status; /* conflict */
    bool responds_async; /* Prefer: respond-async is applied where a 202 is told; accepts */
    bool waits;          /* Prefer: wait=N was applied: it is the hold */
    unsigned wait_s;     /* waits */
};

/* The rules, in this order:
 * - respond-async where the request may be driven without its caller: accepts, and the hold is
 *   N s of wait=N, else 0.
 * - a route's heartbeat with logprobs, and a conflict whose retry would not find the flight, are
 *   `wait`.
 * - wait=N shorter than the route's hold, where a retry finds the flight: conflict after N s.
 * - else the route's policy. */
struct edge_plan edge_plan(const struct edge_request *request);

/* For GET of a result that is not there yet.  in_chain: it came by a redirect (?n=): hold as the
 * route does, then redirect again (edge EDGE_REDIRECT), whatever is preferred.  Else 202
 * (accepts) at once, or after wait=N. */
struct edge_plan edge_plan_result(const struct config_route *route, struct prefer prefer,
                                  bool in_chain);

/* When the next beat is due: after now (not negative), beat_ms (at least 1) from now at the
 * latest, and on a tick that all heartbeats of this beat_ms share, as each round in which
 * connections are resumed costs time for all of them: a whole second, or a tenth of a beat
 * under 2 s. */
int64_t edge_next_beat_ms(int64_t now_ms, int64_t beat_ms);

/* Appends what Preference-Applied says (RFC 7240, section 3) of a reply that is a 202 or not;
 * nothing where no preference was applied. */
void edge_preference_applied(const struct edge_plan *plan, bool accepted, struct buf *out);

#endif
