/* Gates, parties and lanes: where tickets wait, and which of them may have a turn. */
#include "core/admission_internal.h"

#include <stdlib.h>

/* ---- gates, and whose turn it may be */

struct admission_gate *admission_gate_of(struct admission_lane *lane)
{
    return lane->upstream->shares_gate ? &lane->upstream->gate : &lane->own;
}

bool admission_party_is_full(const struct admission_party *party)
{
    return party->max > 0 && party->held >= party->max;
}

/* Those who return go first. */
bool admission_gate_takes_new(const struct admission *admission,
                              const struct admission_gate *gate)
{
    return brake_is_open(&gate->brake, admission->now_ms) && list_is_empty(&gate->returning);
}

/* A lane that may have a turn (again) comes last; one that may not loses its own. */
void admission_update_lane(struct admission *admission, struct admission_lane *lane)
{
    bool may = !list_is_empty(&lane->queue) && !admission_party_is_full(lane->party) &&
               (lane->upstream->shares_gate || admission_gate_takes_new(admission, &lane->own));
    if (!may) {
        list_remove(&lane->turn);
    } else if (list_is_empty(&lane->turn)) {
        lane->turn_number = ++admission->turn;
        list_append(&lane->upstream->lanes, &lane->turn);
    }
}

/* The lanes come in the order in which they were served, so that one of them cannot use up all
 * the party's slots. */
void admission_update_party(struct admission *admission, struct admission_party *party)
{
    for (struct list *link = party->lanes.next; link != &party->lanes; link = link->next)
        admission_update_lane(admission, CONTAINER_OF(link, struct admission_lane, link));
}

void admission_update_gate(struct admission *admission, struct admission_gate *gate)
{
    int64_t now_ms = admission->now_ms;
    enum rc rc =
        timers_start(&admission->timers, &gate->opens, brake_due_ms(&gate->brake, now_ms));
    ASSERT(rc == OK); /* it has a place since admission_init_gate */
    bool lets_in = brake_is_open(&gate->brake, now_ms) && !list_is_empty(&gate->returning);
    if (!lets_in)
        list_remove(&gate->link);
    else if (list_is_empty(&gate->link))
        list_append(&admission->gates, &gate->link);
    if (gate->lane)
        admission_update_lane(admission, gate->lane);
}

static void on_open(struct timer *timer)
{
    struct admission_gate *gate = CONTAINER_OF(timer, struct admission_gate, opens);
    admission_update_gate(gate->admission, gate);
}

enum rc admission_init_gate(struct admission *admission, struct admission_gate *gate,
                            struct admission_lane *lane, unsigned max)
{
    gate->admission = admission;
    gate->lane = lane;
    gate->opens.run = on_open;
    brake_init(&gate->brake, max, admission->now_ms);
    list_init(&gate->returning);
    list_init(&gate->link);
    return timers_start(&admission->timers, &gate->opens, TIMERS_NEVER);
}

/* ---- parties and lanes: there from the first ticket to the last */

struct admission_party *admission_get_party(struct admission *admission,
                                            const struct digest *scope)
{
    struct admission_party *party = map_get(&admission->parties, scope->bytes);
    if (party)
        return party;
    party = calloc(1, sizeof *party);
    if (!party || map_put(&admission->parties, scope->bytes, party) != OK) {
        free(party);
        return NULL;
    }
    party->scope = *scope;
    list_init(&party->lanes);
    return party;
}

void admission_release_party(struct admission *admission, struct admission_party *party)
{
    if (!list_is_empty(&party->lanes))
        return;
    (void)map_remove(&admission->parties, party->scope.bytes);
    free(party);
}

struct admission_lane *admission_find_lane(const struct admission_party *party,
                                           const struct admission_upstream *upstream)
{
    for (struct list *link = party->lanes.next; link != &party->lanes; link = link->next) {
        struct admission_lane *lane = CONTAINER_OF(link, struct admission_lane, link);
        if (lane->upstream == upstream)
            return lane;
    }
    return NULL;
}

static struct admission_lane *lane_new(struct admission *admission,
                                       struct admission_party *party,
                                       struct admission_upstream *upstream)
{
    struct admission_lane *lane = calloc(1, sizeof *lane);
    if (!lane)
        return NULL;
    lane->party = party;
    lane->upstream = upstream;
    list_init(&lane->link);
    list_init(&lane->turn);
    list_init(&lane->queue);
    list_init(&lane->idle);
    if (!upstream->shares_gate &&
        admission_init_gate(admission, &lane->own, lane, upstream->max) != OK) {
        free(lane);
        return NULL;
    }
    list_append(&party->lanes, &lane->link);
    return lane;
}

static void lane_free(struct admission *admission, struct admission_lane *lane)
{
    struct admission_party *party = lane->party;
    timers_stop(&admission->timers, &lane->own.opens);
    list_remove(&lane->link);
    free(lane);
    admission_release_party(admission, party);
}

static void forget_idle(struct admission *admission, struct admission_lane *lane)
{
    if (list_is_empty(&lane->idle))
        return;
    list_remove(&lane->idle);
    admission->idle_count--;
}

/* Without tickets it is kept only for what its own brake remembers. */
static void release_lane(struct admission *admission, struct admission_lane *lane)
{
    if (lane->tickets > 0)
        return;
    if (lane->upstream->shares_gate || brake_is_at_rest(&lane->own.brake, admission->now_ms)) {
        lane_free(admission, lane);
        return;
    }
    list_append(&admission->idle, &lane->idle);
    if (++admission->idle_count <= ADMISSION_BRAKES_IDLE_MAX)
        return;
    struct admission_lane *oldest =
        CONTAINER_OF(admission->idle.next, struct admission_lane, idle);
    forget_idle(admission, oldest);
    lane_free(admission, oldest);
}

struct admission_lane *admission_enter_lane(struct admission *admission,
                                            struct admission_party *party, size_t upstream)
{
    struct admission_upstream *at = admission_upstream_at(admission, upstream);
    struct admission_lane *lane = admission_find_lane(party, at);
    if (!lane)
        lane = lane_new(admission, party, at);
    if (!lane)
        return NULL;
    forget_idle(admission, lane);
    lane->tickets++;
    at->tickets++;
    return lane;
}

void admission_exit_lane(struct admission *admission, struct admission_lane *lane)
{
    lane->tickets--;
    lane->upstream->tickets--;
    release_lane(admission, lane);
}

void admission_change_lanes(struct admission *admission,
                            const struct admission_upstream *upstream)
{
    struct admission_party *party;
    size_t position = 0;
    while ((party = map_next(&admission->parties, &position)) != NULL) {
        struct admission_lane *lane = admission_find_lane(party, upstream);
        if (!lane)
            continue;
        brake_set_max(&lane->own.brake, upstream->max, admission->now_ms);
        admission_update_gate(admission, &lane->own);
    }
}

void admission_forget_lanes(struct admission *admission,
                            const struct admission_upstream *upstream)
{
    struct list *link = admission->idle.next;
    while (link != &admission->idle) {
        struct admission_lane *lane = CONTAINER_OF(link, struct admission_lane, idle);
        link = link->next;
        if (upstream && lane->upstream != upstream)
            continue;
        forget_idle(admission, lane);
        lane_free(admission, lane);
    }
}
