#include "admission_fixture.h"

/* Thousands of random events, judged by counting everything anew after each. */

enum { TICKETS = 60, CLIENTS = 6, UPSTREAMS = 3, EVENTS = 4000, SEEDS = 10 };

struct judge {
    struct admission admission;
    struct admission_ticket tickets[TICKETS];
    unsigned client[TICKETS], order[TICKETS]; /* order: of asking */
    size_t upstream[TICKETS];
    unsigned asked;
    int64_t now_ms;
    unsigned seed;
    /* How often the lane [row] that could have a turn saw the lane [column] have one. */
    unsigned passed_by[CLIENTS][UPSTREAMS][CLIENTS][UPSTREAMS];
    unsigned admitted, expired, returned, refused, moved;
};

static const unsigned flights_max = 9, upstream_max = 4,
                      client_max[CLIENTS] = {0, 1, 2, 3, 0, 0}, queue_max = 25;

static unsigned roll(struct judge *judge, unsigned sides)
{
    judge->seed = judge->seed * 1103515245U + 12345U;
    return (judge->seed >> 16) % sides;
}

static bool holds(const struct judge *judge, size_t i)
{
    return judge->tickets[i].state >= ADMISSION_ADMITTED;
}

/* The brakes are believed; the rest is counted. */
static bool lets_call(const struct judge *judge, unsigned client, size_t upstream)
{
    struct digest scope = scope_of(client);
    for (size_t i = 0; i < TICKETS; i++)
        if (judge->tickets[i].state != ADMISSION_OUT && judge->upstream[i] == upstream &&
            (upstream != PASSED_ON || judge->client[i] == client))
            return brake_is_open(admission_brake(&judge->tickets[i]), judge->now_ms);
    return !admission_is_paused(&judge->admission, &scope, upstream, judge->now_ms);
}

static bool somebody_returns(const struct judge *judge, unsigned client, size_t upstream)
{
    for (size_t i = 0; i < TICKETS; i++)
        if (judge->tickets[i].state == ADMISSION_RETURNING && judge->upstream[i] == upstream &&
            (upstream != PASSED_ON || judge->client[i] == client))
            return true;
    return false;
}

static bool is_client_full(const struct judge *judge, unsigned client)
{
    unsigned held = 0;
    for (size_t i = 0; i < TICKETS; i++)
        held += holds(judge, i) && judge->client[i] == client;
    return client_max[client] > 0 && held >= client_max[client];
}

static bool is_upstream_full(const struct judge *judge, size_t upstream)
{
    unsigned held = 0;
    for (size_t i = 0; i < TICKETS; i++)
        held += holds(judge, i) && judge->upstream[i] == upstream;
    return held >= upstream_max;
}

static bool is_all_full(const struct judge *judge)
{
    unsigned held = 0;
    for (size_t i = 0; i < TICKETS; i++)
        held += holds(judge, i);
    return held >= flights_max;
}

/* Whether one more flight of this client could start here. */
static bool could_start(const struct judge *judge, unsigned client, size_t upstream)
{
    return !is_all_full(judge) && !is_client_full(judge, client) &&
           !is_upstream_full(judge, upstream) && lets_call(judge, client, upstream) &&
           !somebody_returns(judge, client, upstream);
}

static bool has_queue(const struct judge *judge, unsigned client, size_t upstream)
{
    for (size_t i = 0; i < TICKETS; i++)
        if (judge->tickets[i].state == ADMISSION_QUEUED && judge->client[i] == client &&
            judge->upstream[i] == upstream)
            return true;
    return false;
}

/* One client may have eight times as many places as are free. */
static bool may_queue(const struct judge *judge, unsigned client)
{
    unsigned own = 0, all = 0;
    for (size_t i = 0; i < TICKETS; i++) {
        bool queued = judge->tickets[i].state == ADMISSION_QUEUED;
        all += queued;
        own += queued && judge->client[i] == client;
    }
    return all < queue_max && own < 8 * (queue_max - all);
}

/* Which lanes could have a turn; those that could not start counting anew. */
struct chances {
    bool lane[CLIENTS][UPSTREAMS], open[CLIENTS][UPSTREAMS];
};

static struct chances look(struct judge *judge)
{
    struct chances chances;
    for (unsigned c = 0; c < CLIENTS; c++)
        for (size_t u = 0; u < UPSTREAMS; u++) {
            bool own_closed =
                u == PASSED_ON && (!lets_call(judge, c, u) || somebody_returns(judge, c, u));
            chances.lane[c][u] =
                has_queue(judge, c, u) && !is_client_full(judge, c) && !own_closed;
            chances.open[c][u] = chances.lane[c][u] && could_start(judge, c, u);
            if (!chances.lane[c][u])
                memset(judge->passed_by[c][u], 0, sizeof judge->passed_by[c][u]);
        }
    return chances;
}

/* Ticket i had its turn, while `before` could have had it. */
static void note_turn(struct judge *judge, const struct chances *before, size_t i)
{
    unsigned client = judge->client[i];
    size_t upstream = judge->upstream[i];
    assert_true(before->open[client][upstream]);
    for (size_t j = 0; j < TICKETS; j++) /* first in, first out */
        assert_false(judge->tickets[j].state == ADMISSION_QUEUED &&
                     judge->client[j] == client && judge->upstream[j] == upstream &&
                     judge->order[j] < judge->order[i]);
    for (unsigned c = 0; c < CLIENTS; c++)
        for (size_t u = 0; u < UPSTREAMS; u++)
            if (before->open[c][u])
                assert_true(++judge->passed_by[c][u][client][upstream] <= 1 ||
                            (c == client && u == upstream));
    memset(judge->passed_by[client][upstream], 0, sizeof judge->passed_by[client][upstream]);
    judge->admitted++;
}

/* After every event: everybody who can be admitted is, and nobody else. */
static void settle(struct judge *judge)
{
    struct admission_ticket *ticket;
    for (;;) {
        bool returning[TICKETS];
        for (size_t i = 0; i < TICKETS; i++)
            returning[i] = judge->tickets[i].state == ADMISSION_RETURNING;
        struct chances chances = look(judge);
        ticket = admission_next(&judge->admission, judge->now_ms);
        if (!ticket)
            break;
        size_t i = (size_t)(ticket - judge->tickets);
        assert_int_equal(ticket->state, ADMISSION_ADMITTED);
        if (returning[i])
            judge->returned++;
        else
            note_turn(judge, &chances, i);
    }
    for (size_t i = 0; i < TICKETS; i++) {
        if (judge->tickets[i].state == ADMISSION_QUEUED)
            assert_false(could_start(judge, judge->client[i], judge->upstream[i]));
        if (judge->tickets[i].state == ADMISSION_RETURNING)
            assert_false(lets_call(judge, judge->client[i], judge->upstream[i]));
    }
    while ((ticket = admission_expire(&judge->admission, judge->now_ms)) != NULL) {
        assert_int_equal(ticket->state, ADMISSION_OUT);
        judge->expired++;
    }
    (void)look(judge);
}

static void ask_somewhere(struct judge *judge, size_t i)
{
    unsigned client = judge->client[i] = roll(judge, CLIENTS);
    size_t upstream = judge->upstream[i] = roll(judge, UPSTREAMS);
    bool has_place = may_queue(judge, client);
    bool could = could_start(judge, client, upstream) && !has_queue(judge, client, upstream);
    judge->order[i] = ++judge->asked;
    switch (ask(&judge->admission, &judge->tickets[i], client, client_max[client], upstream,
                judge->now_ms)) {
    case ADMISSION_GRANTED:
        assert_true(could);
        judge->admitted++;
        break;
    case ADMISSION_WAIT:
        assert_false(could);
        assert_true(has_place);
        break;
    case ADMISSION_QUEUE_FULL:
        assert_false(has_place);
        judge->refused++;
        break;
    case ADMISSION_TOO_LONG:
        fail_msg("no pause is longer than the queue");
        break;
    case ADMISSION_NO_MEMORY:
        fail();
    }
}

static void end_some_call(struct judge *judge, struct admission_ticket *ticket)
{
    static const struct header after_2 = {SPAN("retry-after"), SPAN("2")};
    static const int statuses[] = {200, 200, 200, 200, 200, 200, 500, 500, 500, 429, 429, 503};
    unsigned side = roll(judge, COUNT_OF(statuses));
    end_call(&judge->admission, ticket, statuses[side], side == 11 ? &after_2 : NULL,
             judge->now_ms);
    if (statuses[side] == 200)
        admission_leave(&judge->admission, ticket, judge->now_ms);
}

static void step(struct judge *judge)
{
    size_t i = roll(judge, TICKETS);
    struct admission_ticket *ticket = &judge->tickets[i];
    if (roll(judge, 8) == 0)
        judge->now_ms += roll(judge, 250);
    settle(judge);
    switch (ticket->state) {
    case ADMISSION_OUT:
        ask_somewhere(judge, i);
        break;
    case ADMISSION_QUEUED:
    case ADMISSION_RETURNING:
        if (roll(judge, 10) == 0)
            admission_leave(&judge->admission, ticket, judge->now_ms);
        break;
    case ADMISSION_ADMITTED:
        end_some_call(judge, ticket);
        break;
    case ADMISSION_RESTING:
        if (roll(judge, 4) == 0 && judge->upstream[i] != OTHER) {
            bool room = !is_upstream_full(judge, OTHER) && lets_call(judge, 0, OTHER) &&
                        !somebody_returns(judge, 0, OTHER);
            assert_int_equal(admission_move(&judge->admission, ticket, OTHER, judge->now_ms),
                             room);
            judge->upstream[i] = room ? OTHER : judge->upstream[i];
            judge->moved += room;
        }
        (void)admission_call(&judge->admission, ticket, judge->now_ms);
        break;
    }
    settle(judge);
}

TEST(admission, whatever_happens_slots_and_turns_are_as_counted_by_hand)
{
    static struct judge judge;
    unsigned admitted = 0, expired = 0, returned = 0, refused = 0, moved = 0;
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        memset(&judge, 0, sizeof judge);
        judge.seed = seed;
        make(&judge.admission, flights_max, upstream_max, queue_max, 3000);
        for (int i = 0; i < EVENTS; i++)
            step(&judge);
        for (size_t i = 0; i < TICKETS; i++)
            admission_leave(&judge.admission, &judge.tickets[i], judge.now_ms);
        admission_done(&judge.admission);
        admitted += judge.admitted;
        expired += judge.expired;
        returned += judge.returned;
        refused += judge.refused;
        moved += judge.moved;
    }
    /* All of it happened, and often. */
    assert_true(admitted > 500 && expired > 500 && returned > 200 && refused > 500 &&
                moved > 20);
}
