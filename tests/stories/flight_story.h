/* Stories of single flights in virtual time: a scripted provider, a scripted store, and the
 * trace of orders that must come out, with the millisecond at which each is given. */
#ifndef TESTS_STORIES_FLIGHT_STORY_H
#define TESTS_STORIES_FLIGHT_STORY_H

#include "test.h"

#include "core/flight.h"

enum { CALLS_MAX = 8, TRACE_BYTES_MAX = 4096 };

struct scripted_call {
    int64_t takes_ms;
    struct attempt_outcome outcome;
    bool output; /* output begins at once */
    const char *retry_after;
};

struct world {
    struct flight flight;
    struct retry_budget budget;
    struct flight_params params;
    struct scripted_call calls[CALLS_MAX];
    enum flight_key lookup, claim;
    enum rc count, commit;
    int64_t now_ms;
    uint64_t dice;
    struct buf trace;
};

static inline struct world keyed_world(void)
{
    struct world world = {
        .params = {.keyed = true,
                   .may_outlive = true,
                   .retry = {.attempts_max = 3,
                             .backoff_base_ms = 1000,
                             .backoff_max_ms = 30000},
                   .deadline_ms = 590000,
                   .ceiling_ms = 1800000},
        .dice = 0xFFFFFFFF, /* the longest jitter, no spread */
        .trace = {.bytes_max = TRACE_BYTES_MAX},
    };
    retry_budget_init(&world.budget, 0);
    return world;
}

static inline struct scripted_call answers_after(int64_t ms)
{
    return (struct scripted_call){.takes_ms = ms,
                                  .outcome = {.end = ATTEMPT_ANSWERED,
                                              .status = 200,
                                              .request_sent = true,
                                              .output_began = true}};
}

static inline struct scripted_call refuses(int status)
{
    return (struct scripted_call){
        .takes_ms = 10,
        .outcome = {.end = ATTEMPT_REFUSED, .status = status, .request_sent = true}};
}

static inline struct scripted_call ends(enum attempt_end end, int64_t ms, bool sent)
{
    return (struct scripted_call){.takes_ms = ms,
                                  .outcome = {.end = end, .request_sent = sent}};
}

static inline void note(struct world *world, const char *what)
{
    buf_printf(&world->trace, "%lld %s\n", (long long)world->now_ms, what);
}

/* The running call, as far as the deadline lets it go. */
static inline enum flight_order run_call(struct world *world)
{
    struct flight *flight = &world->flight;
    const struct scripted_call *call = &world->calls[flight->attempts - 1];
    struct attempt_outcome outcome = call->outcome;
    int64_t end_ms = world->now_ms + call->takes_ms;
    if (call->retry_after)
        outcome.headers[outcome.header_count++] =
            (struct header){SPAN("retry-after"), span_of(call->retry_after)};
    if (call->output)
        flight_on_output(flight);
    int64_t deadline_ms;
    while (end_ms > (deadline_ms = flight_deadline_ms(flight, world->now_ms))) {
        world->now_ms = deadline_ms;
        if (flight_on_deadline(flight, deadline_ms) == FLIGHT_ABORT) {
            note(world, "abort");
            outcome = (struct attempt_outcome){
                .end = ATTEMPT_DEADLINE, .request_sent = true, .output_began = call->output};
            end_ms = deadline_ms;
        } else {
            note(world, "goes on");
        }
    }
    world->now_ms = end_ms;
    return flight_on_call_end(flight, &outcome, &world->budget, end_ms, 0, world->dice);
}

/* What comes after this order where there is room. */
static inline enum flight_order admitted(struct flight *flight, enum flight_order order)
{
    return order == FLIGHT_ADMIT ? flight_on_admitted(flight) : order;
}

static inline enum flight_order step(struct world *world, enum flight_order order)
{
    struct flight *flight = &world->flight;
    switch (order) {
    case FLIGHT_LOOK_UP:
        note(world, "look up");
        return flight_on_lookup(flight, world->lookup);
    case FLIGHT_ADMIT:
        return flight_on_admitted(flight);
    case FLIGHT_CLAIM:
        note(world, "claim");
        return flight_on_claim(flight, world->claim);
    case FLIGHT_CALL:
        note(world, "call");
        return run_call(world);
    case FLIGHT_PAUSE:
        note(world, "pause");
        world->now_ms += flight->pause_ms;
        return flight_on_pause_end(flight);
    case FLIGHT_COUNT:
        note(world, "count");
        return flight_on_count(flight, world->count);
    case FLIGHT_COMPLETE:
        note(world, "complete");
        return flight_on_commit(flight, world->commit);
    case FLIGHT_FAIL:
        note(world, "fail");
        return flight_on_commit(flight, world->commit);
    case FLIGHT_RELEASE:
        note(world, flight->call_in_hand ? "release, give back" : "release");
        return flight_on_commit(flight, world->commit);
    case FLIGHT_WAIT:
    case FLIGHT_ABORT:
    case FLIGHT_ANSWER:
        break;
    }
    fail_msg("unexpected order %d", order);
    return FLIGHT_ANSWER;
}

static const char *body_name(const struct verdict *verdict)
{
    switch (verdict->body) {
    case VERDICT_ANSWER:
        return "the answer";
    case VERDICT_UPSTREAM_BODY:
        return "the provider's error";
    case VERDICT_STORED:
        return "what is stored";
    case VERDICT_OWN_ERROR:
        break;
    }
    return http_error_info(verdict->error)->code;
}

static inline void play(struct world *world, const char *expected)
{
    static const char *const advice[] = {[HTTP_ERROR_RETRY_UNSAID] = "",
                                         [HTTP_ERROR_RETRY_YES] = ", retry",
                                         [HTTP_ERROR_RETRY_NO] = ", do not retry"};
    const struct verdict *verdict = &world->flight.verdict;
    flight_init(&world->flight, &world->params);
    enum flight_order order = flight_start(&world->flight);
    while (order != FLIGHT_ANSWER)
        order = step(world, order);
    buf_printf(&world->trace, "%lld answer %u %s%s", (long long)world->now_ms, verdict->status,
               body_name(verdict), advice[verdict->retry]);
    if (verdict->retry_after_s)
        buf_printf(&world->trace, ", after %u s", verdict->retry_after_s);
    if (world->flight.unstored)
        buf_add_text(&world->trace, ", unstored");
    assert_string_equal(buf_text(&world->trace), expected);
    buf_done(&world->trace);
}

/* A keyed flight that has given its claim order. */
static inline struct flight *claiming(struct world *world)
{
    flight_init(&world->flight, &world->params);
    assert_int_equal(flight_start(&world->flight), FLIGHT_LOOK_UP);
    assert_int_equal(flight_on_lookup(&world->flight, FLIGHT_KEY_FREE), FLIGHT_ADMIT);
    assert_int_equal(flight_on_admitted(&world->flight), FLIGHT_CLAIM);
    return &world->flight;
}

#endif
