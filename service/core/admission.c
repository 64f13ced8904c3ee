#include "core/admission_internal.h"

#include <stdlib.h>

/* Time passes: brakes that open by themselves do. */
static void advance(struct admission *admission, int64_t now_ms)
{
    admission->now_ms = now_ms;
    timers_run(&admission->timers, now_ms);
}

/* ---- what a ticket holds */

static void take_slots(struct admission *admission, struct admission_lane *lane)
{
    admission->held++;
    lane->upstream->held++;
    lane->party->held++;
    if (admission_party_is_full(lane->party))
        admission_update_party(admission, lane->party);
}

static void give_slots(struct admission *admission, struct admission_lane *lane)
{
    bool was_full = admission_party_is_full(lane->party);
    admission->held--;
    lane->upstream->held--;
    lane->party->held--;
    if (was_full)
        admission_update_party(admission, lane->party);
}

static void take_place(struct admission *admission, struct admission_ticket *ticket)
{
    struct admission_gate *gate = admission_gate_of(ticket->lane);
    ticket->state = ADMISSION_ADMITTED;
    ticket->started = brake_start(&gate->brake, admission->now_ms);
    admission_update_gate(admission, gate);
}

static void give_place(struct admission *admission, struct admission_ticket *ticket,
                       const struct attempt_outcome *outcome, int64_t now_unix_s)
{
    struct admission_gate *gate = admission_gate_of(ticket->lane);
    ticket->state = ADMISSION_RESTING;
    brake_end(&gate->brake, ticket->started, outcome, admission->now_ms, now_unix_s);
    admission_update_gate(admission, gate);
}

static void enqueue(struct admission *admission, struct admission_ticket *ticket, bool patient)
{
    ticket->state = ADMISSION_QUEUED;
    ticket->asked_ms = admission->now_ms;
    list_append(&ticket->lane->queue, &ticket->link);
    list_init(&ticket->age);
    if (!patient) {
        list_append(&admission->queue, &ticket->age);
        admission->queued++;
        ticket->lane->party->queued++;
    }
    admission->waiting++;
    admission_update_lane(admission, ticket->lane);
}

static void dequeue(struct admission *admission, struct admission_ticket *ticket)
{
    list_remove(&ticket->link);
    bool impatient = !list_is_empty(&ticket->age);
    admission->queued -= impatient;
    ticket->lane->party->queued -= impatient;
    list_remove(&ticket->age);
    admission->waiting--;
}

static void wait_to_return(struct admission *admission, struct admission_ticket *ticket)
{
    struct admission_gate *gate = admission_gate_of(ticket->lane);
    ticket->state = ADMISSION_RETURNING;
    list_append(&gate->returning, &ticket->link);
    admission->waiting++;
    admission_update_gate(admission, gate);
}

static void stop_returning(struct admission *admission, struct admission_ticket *ticket)
{
    list_remove(&ticket->link);
    admission->waiting--;
    admission_update_gate(admission, admission_gate_of(ticket->lane));
}

/* The lane had its turn. */
static void admit(struct admission *admission, struct admission_ticket *ticket)
{
    struct admission_lane *lane = ticket->lane;
    dequeue(admission, ticket);
    list_remove(&lane->turn);
    list_remove(&lane->link);
    list_append(&lane->party->lanes, &lane->link);
    take_slots(admission, lane);
    take_place(admission, ticket);
    admission_update_lane(admission, lane);
}

static bool upstream_is_open(const struct admission *admission,
                             const struct admission_upstream *upstream)
{
    return upstream->held < upstream->max &&
           (!upstream->shares_gate || admission_gate_takes_new(admission, &upstream->gate));
}

/* The lane whose turn it is, or NULL. */
static struct admission_lane *next_lane(const struct admission *admission)
{
    struct admission_lane *next = NULL;
    if (admission->held >= admission->max)
        return NULL;
    for (size_t i = 0; i < admission->upstream_count; i++) {
        struct admission_upstream *upstream = admission->upstreams[i];
        if (!upstream || list_is_empty(&upstream->lanes) ||
            !upstream_is_open(admission, upstream))
            continue;
        struct admission_lane *lane =
            CONTAINER_OF(upstream->lanes.next, struct admission_lane, turn);
        if (!next || lane->turn_number < next->turn_number)
            next = lane;
    }
    return next;
}

static struct admission_ticket *first_of(const struct admission_lane *lane)
{
    return CONTAINER_OF(lane->queue.next, struct admission_ticket, link);
}

/* ---- asking and leaving */

/* Whether one more of this client may wait. */
static bool has_place(const struct admission *admission, const struct admission_party *party)
{
    if (admission->queue_ms == 0 || admission->queued >= admission->queue_max)
        return false;
    unsigned free_places = admission->queue_max - admission->queued;
    return party->queued / ADMISSION_QUEUE_SHARE < free_places;
}

static enum admission_answer ask(struct admission *admission, struct admission_ticket *ticket,
                                 const struct admission_request *request)
{
    struct admission_lane *lane = ticket->lane;
    int64_t paused_until_ms = admission_gate_of(lane)->brake.paused_until_ms;
    bool too_long = paused_until_ms > admission->now_ms + admission->queue_ms ||
                    paused_until_ms > request->deadline_ms;
    if (too_long && !request->patient)
        return ADMISSION_TOO_LONG;
    bool may_wait = request->patient || has_place(admission, lane->party);
    enqueue(admission, ticket, request->patient);
    if (next_lane(admission) == lane && first_of(lane) == ticket) {
        admit(admission, ticket);
        return ADMISSION_GRANTED;
    }
    if (may_wait)
        return ADMISSION_WAIT;
    dequeue(admission, ticket);
    admission_update_lane(admission, lane);
    return ADMISSION_QUEUE_FULL;
}

enum admission_answer admission_ask(struct admission *admission,
                                    struct admission_ticket *ticket,
                                    const struct admission_request *request, int64_t now_ms)
{
    ASSERT(ticket->state == ADMISSION_OUT);
    advance(admission, now_ms);
    struct admission_party *party = admission_get_party(admission, request->scope);
    if (!party)
        return ADMISSION_NO_MEMORY;
    if (party->max != request->client_flights_max) { /* a new configuration, or the first */
        party->max = request->client_flights_max;
        admission_update_party(admission, party);
    }
    ticket->lane = admission_enter_lane(admission, party, request->upstream);
    if (!ticket->lane) {
        admission_release_party(admission, party);
        return ADMISSION_NO_MEMORY;
    }
    enum admission_answer answer = ask(admission, ticket, request);
    if (answer != ADMISSION_GRANTED && answer != ADMISSION_WAIT) {
        admission_exit_lane(admission, ticket->lane);
        *ticket = (struct admission_ticket){0};
    }
    return answer;
}

void admission_leave(struct admission *admission, struct admission_ticket *ticket,
                     int64_t now_ms)
{
    struct admission_lane *lane = ticket->lane;
    advance(admission, now_ms);
    switch (ticket->state) {
    case ADMISSION_OUT:
        return;
    case ADMISSION_QUEUED:
        dequeue(admission, ticket);
        admission_update_lane(admission, lane);
        break;
    case ADMISSION_ADMITTED:
        give_place(admission, ticket, NULL, 0);
        give_slots(admission, lane);
        break;
    case ADMISSION_RETURNING:
        stop_returning(admission, ticket);
        give_slots(admission, lane);
        break;
    case ADMISSION_RESTING:
        give_slots(admission, lane);
        break;
    }
    admission_exit_lane(admission, lane);
    *ticket = (struct admission_ticket){0};
}

struct admission_ticket *admission_next(struct admission *admission, int64_t now_ms)
{
    advance(admission, now_ms);
    struct list *link = list_pop(&admission->gates);
    if (link) {
        struct admission_gate *gate = CONTAINER_OF(link, struct admission_gate, link);
        struct admission_ticket *ticket =
            CONTAINER_OF(list_pop(&gate->returning), struct admission_ticket, link);
        admission->waiting--;
        take_place(admission, ticket);
        return ticket;
    }
    struct admission_lane *lane = next_lane(admission);
    if (!lane)
        return NULL;
    struct admission_ticket *ticket = first_of(lane);
    admit(admission, ticket);
    return ticket;
}

static int64_t expiry_ms(const struct admission *admission)
{
    if (list_is_empty(&admission->queue))
        return TIMERS_NEVER;
    const struct admission_ticket *oldest =
        CONTAINER_OF(admission->queue.next, struct admission_ticket, age);
    return oldest->asked_ms + admission->queue_ms;
}

struct admission_ticket *admission_expire(struct admission *admission, int64_t now_ms)
{
    if (expiry_ms(admission) > now_ms)
        return NULL;
    struct admission_ticket *ticket =
        CONTAINER_OF(admission->queue.next, struct admission_ticket, age);
    admission_leave(admission, ticket, now_ms);
    return ticket;
}

int64_t admission_due_ms(const struct admission *admission)
{
    if (admission->waiting == 0)
        return TIMERS_NEVER;
    int64_t expiry = expiry_ms(admission), pause_end = timers_next_ms(&admission->timers);
    return expiry < pause_end ? expiry : pause_end;
}

/* ---- calls */

bool admission_call(struct admission *admission, struct admission_ticket *ticket,
                    int64_t now_ms)
{
    advance(admission, now_ms);
    struct admission_gate *gate = admission_gate_of(ticket->lane);
    ASSERT(ticket->state == ADMISSION_RESTING);
    if (admission_gate_takes_new(admission, gate)) {
        take_place(admission, ticket);
        return true;
    }
    wait_to_return(admission, ticket);
    return false;
}

void admission_call_ended(struct admission *admission, struct admission_ticket *ticket,
                          const struct attempt_outcome *outcome, int64_t now_ms,
                          int64_t now_unix_s)
{
    ASSERT(ticket->state == ADMISSION_ADMITTED);
    advance(admission, now_ms);
    give_place(admission, ticket, outcome, now_unix_s);
}

bool admission_move(struct admission *admission, struct admission_ticket *ticket,
                    size_t upstream, int64_t now_ms)
{
    ASSERT(ticket->state == ADMISSION_RESTING);
    advance(admission, now_ms);
    struct admission_lane *from = ticket->lane;
    struct admission_lane *to = admission_enter_lane(admission, from->party, upstream);
    if (!to)
        return false;
    if (to->upstream->held >= to->upstream->max ||
        !admission_gate_takes_new(admission, admission_gate_of(to))) {
        admission_exit_lane(admission, to);
        return false;
    }
    from->upstream->held--;
    to->upstream->held++;
    ticket->lane = to;
    admission_exit_lane(admission, from);
    return true;
}

const struct brake *admission_brake(const struct admission_ticket *ticket)
{
    return &admission_gate_of(ticket->lane)->brake;
}

/* The gate for this scope's credential; NULL: one of its own that was not needed lately. */
static const struct admission_gate *find_gate(const struct admission *admission,
                                              const struct digest *scope, size_t upstream)
{
    const struct admission_upstream *at = admission_upstream_at(admission, upstream);
    if (at->shares_gate)
        return &at->gate;
    const struct admission_party *party = map_get(&admission->parties, scope->bytes);
    const struct admission_lane *lane = party ? admission_find_lane(party, at) : NULL;
    return lane ? &lane->own : NULL;
}

int64_t admission_paused_until_ms(const struct admission *admission, const struct digest *scope,
                                  size_t upstream)
{
    const struct admission_gate *gate = find_gate(admission, scope, upstream);
    return gate ? gate->brake.paused_until_ms : admission->now_ms;
}

bool admission_is_paused(const struct admission *admission, const struct digest *scope,
                         size_t upstream, int64_t now_ms)
{
    return now_ms < admission_paused_until_ms(admission, scope, upstream);
}

unsigned admission_pauses(const struct admission *admission, size_t upstream, int64_t now_ms)
{
    const struct admission_upstream *at = admission->upstreams[upstream];
    const struct admission_party *party;
    size_t position = 0;
    unsigned pauses = 0;
    if (at->shares_gate)
        return brake_is_paused(&at->gate.brake, now_ms);
    while ((party = map_next(&admission->parties, &position)) != NULL) {
        const struct admission_lane *lane = admission_find_lane(party, at);
        pauses += lane && brake_is_paused(&lane->own.brake, now_ms);
    }
    return pauses;
}

bool admission_has_room(const struct admission *admission, const struct digest *scope,
                        size_t upstream, int64_t now_ms)
{
    const struct admission_gate *gate = find_gate(admission, scope, upstream);
    const struct admission_upstream *at = admission_upstream_at(admission, upstream);
    return at->held < at->max &&
           (!gate || (brake_is_open(&gate->brake, now_ms) && list_is_empty(&gate->returning)));
}

/* ---- the whole */

enum rc admission_init(struct admission *admission, const struct admission_params *params,
                       int64_t now_ms)
{
    *admission = (struct admission){
        .max = params->flights_max,
        .queue_max = params->queue_max,
        .queue_ms = params->queue_ms,
        .now_ms = now_ms,
    };
    map_init(&admission->parties, SHA256_BYTES);
    list_init(&admission->queue);
    list_init(&admission->gates);
    list_init(&admission->idle);
    timers_init(&admission->timers);
    enum rc rc = OK;
    size_t index;
    for (size_t i = 0; i < params->upstream_count && rc == OK; i++)
        rc = admission_add_upstream(admission, &params->upstreams[i], &index);
    if (rc != OK)
        admission_done(admission);
    return rc;
}

/* ---- upstreams */

struct admission_upstream *admission_upstream_at(const struct admission *admission,
                                                 size_t index)
{
    ASSERT(index < admission->upstream_count && admission->upstreams[index]);
    return admission->upstreams[index];
}

/* An index that is not taken.  E_NOMEM. */
static enum rc find_index(struct admission *admission, size_t *ret)
{
    size_t index = 0;
    while (index < admission->upstream_count && admission->upstreams[index])
        index++;
    if (index == admission->upstream_count) {
        struct admission_upstream **longer =
            reallocarray(admission->upstreams, index + 1, sizeof(void *));
        if (!longer)
            return E_NOMEM;
        longer[index] = NULL;
        admission->upstreams = longer;
        admission->upstream_count++;
    }
    *ret = index;
    return OK;
}

enum rc admission_add_upstream(struct admission *admission,
                               const struct admission_upstream_params *params,
                               size_t *ret_index)
{
    size_t index;
    enum rc rc = find_index(admission, &index);
    struct admission_upstream *upstream = rc == OK ? calloc(1, sizeof *upstream) : NULL;
    if (!upstream)
        return E_NOMEM;
    upstream->max = params->flights_max;
    upstream->shares_gate = params->has_api_key;
    list_init(&upstream->lanes);
    if (admission_init_gate(admission, &upstream->gate, NULL, upstream->max) != OK) {
        free(upstream);
        return E_NOMEM;
    }
    admission->upstreams[index] = upstream;
    *ret_index = index;
    return OK;
}

bool admission_change_upstream(struct admission *admission, size_t index,
                               const struct admission_upstream_params *params)
{
    struct admission_upstream *upstream = admission_upstream_at(admission, index);
    bool other = upstream->shares_gate != params->has_api_key;
    upstream->max = params->flights_max;
    brake_set_max(&upstream->gate.brake, upstream->max, admission->now_ms);
    admission_update_gate(admission, &upstream->gate);
    if (!other)
        return true;
    if (upstream->tickets > 0)
        return false;
    admission_forget_lanes(admission, upstream);
    upstream->shares_gate = params->has_api_key;
    return true;
}

void admission_remove_upstream(struct admission *admission, size_t index)
{
    struct admission_upstream *upstream = admission_upstream_at(admission, index);
    ASSERT(upstream->tickets == 0);
    admission_forget_lanes(admission, upstream);
    timers_stop(&admission->timers, &upstream->gate.opens);
    free(upstream);
    admission->upstreams[index] = NULL;
}

/* ---- limits */

void admission_set_limits(struct admission *admission, unsigned flights_max, unsigned queue_max,
                          int64_t queue_ms)
{
    admission->max = flights_max;
    admission->queue_max = queue_max;
    admission->queue_ms = queue_ms;
}

void admission_done(struct admission *admission)
{
    ASSERT(admission->held == 0 && admission->waiting == 0);
    admission_forget_lanes(admission, NULL);
    timers_done(&admission->timers);
    for (size_t i = 0; i < admission->upstream_count; i++)
        free(admission->upstreams[i]);
    map_done(&admission->parties);
    free(admission->upstreams);
    *admission = (struct admission){0};
}
