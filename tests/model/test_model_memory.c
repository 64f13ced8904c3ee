/* Short stories against the real engine, in each of which every allocation of the engine fails
 * in turn, once or with all that follow: whoever asks is replied to or sees its connection end,
 * nothing is left over, and once there is memory the same keys are served.
 *
 * The fakes' own allocations do not count. */
#include "test.h"
#include "fault/fault_memory.h"
#include "model_stories.h"

#include <stdlib.h>

enum {
    TRIES_MAX = 2000,
    SECOND_MS = 1000,
    TIMERS_MAX = 256,
    PLACES_MAX = 3, /* free ones, which a story's timers use up */
    STORE_MS = 10,  /* at most, of a commit and of the way back */
    CALL_MS = 500,
    CALLED_MS = 100,           /* longer than the store takes, shorter than a call */
    ENDED_MS = 10 * SECOND_MS, /* longer than calls and pauses between them */
    DEADLINE_MS = 60 * SECOND_MS,
    CEILING_MS = 2 * DEADLINE_MS,
    LATE_MS = 3 * DEADLINE_MS,
    SLOW_STORE_MS = 1000 * DEADLINE_MS,
    SLOW_END_MS = 2 * SLOW_STORE_MS,
    TTL_MS = 16 * 3600 * SECOND_MS,
    SETTLE_MS = 10 * DEADLINE_MS,
    FORGET_MS = 8 * 3600 * SECOND_MS, /* longer than failures are kept */
    SEED = 43,
};

/* ---- timers take memory only when their places are used up */

static struct timer others[TIMERS_MAX];
static size_t others_count;

/* Leave so many free places. */
static void crowd(struct world *world, size_t places)
{
    struct timers *timers = event_loop_timers(world->loop);
    while (timers->capacity == 0 || timers->capacity - timers->count > places) {
        CHECK(world, others_count < TIMERS_MAX);
        enum rc rc = timers_start(timers, &others[others_count++], TIMERS_NEVER);
        CHECK(world, rc == OK);
    }
}

static void disperse(struct world *world)
{
    while (others_count > 0)
        timers_stop(event_loop_timers(world->loop), &others[--others_count]);
}

/* ---- stories */

static void post(struct world *world, unsigned variant)
{
    model_post(world, 0, variant);
}

static void post_from_sdk(struct world *world, int retry_count)
{
    world->sdk_retry_count = retry_count;
    model_post(world, MODEL_KEYLESS, 0);
    world->sdk_retry_count = -1;
}

static void post_keyless(struct world *world)
{
    model_post(world, MODEL_KEYLESS, 0);
}

/* The latest request's client goes away, if it is there still. */
static void leave(struct world *world)
{
    if (world->open_requests > 0)
        model_leave(world, model_request(world, world->open_requests - 1), true);
}

/* As long as it takes until a call runs. */
static void pass_until_called(struct world *world)
{
    world_pass(world, CALLED_MS);
}

static void tell_a_call(struct world *world)
{
    post(world, 0);
    world_pass(world, ENDED_MS);
}

static void tell_a_replay(struct world *world)
{
    tell_a_call(world);
    post(world, 0);
    world_pass(world, ENDED_MS);
}

static void tell_a_join(struct world *world)
{
    post(world, 0);
    post(world, 0);
    pass_until_called(world);
    post(world, 0);
    leave(world);
    world_pass(world, ENDED_MS);
}

static void tell_a_keyless_call(struct world *world)
{
    post_keyless(world);
    pass_until_called(world);
    post_keyless(world);
    leave(world);
    world_pass(world, ENDED_MS);
}

static void tell_an_adoption(struct world *world)
{
    post_from_sdk(world, 0);
    pass_until_called(world);
    leave(world);
    world_pass(world, 10);
    post_from_sdk(world, 1);
    world_pass(world, ENDED_MS);
}

static void tell_a_late_adoption(struct world *world)
{
    post_from_sdk(world, 0);
    pass_until_called(world);
    leave(world);
    world_pass(world, ENDED_MS);
    post_from_sdk(world, 1);
    world_pass(world, ENDED_MS);
}

static void tell_a_refused_sdk(struct world *world)
{
    world->config->limits.flights_max = 1;
    world->config->limits.queue_max = 0;
    post(world, 0);
    pass_until_called(world);
    post_from_sdk(world, 0);
    world_pass(world, ENDED_MS);
    post_from_sdk(world, 1);
    world_pass(world, ENDED_MS);
}

static void tell_a_queue(struct world *world)
{
    world->config->limits.flights_max = 1;
    post(world, 0);
    pass_until_called(world);
    model_post(world, 1, 0);
    model_post(world, 1, 0);
    post_keyless(world);
    leave(world);
    world_pass(world, ENDED_MS);
    world_pass(world, ENDED_MS);
}

static void tell_a_mismatch(struct world *world)
{
    post(world, 0);
    pass_until_called(world);
    post(world, 1);
    world_pass(world, ENDED_MS);
    post(world, 1);
    world_pass(world, ENDED_MS);
}

/* The first call has this fate, and the next one none. */
static void call_again_after(struct world *world, const char *fate)
{
    world->fate = fate;
    post(world, 0);
    pass_until_called(world);
    world->fate = NULL;
    world_pass(world, ENDED_MS);
}

static void tell_a_retried_call(struct world *world)
{
    call_again_after(world, "is refused with 503");
}

static void tell_a_call_without_stream_options(struct world *world)
{
    call_again_after(world, "does not know stream_options");
}

static void tell_a_refused_call(struct world *world)
{
    world->fate = "is refused with 400";
    tell_a_call(world);
}

static void tell_a_failed_call(struct world *world)
{
    world->config->idempotency.paid_calls_max = 2;
    world->fate = "is cut after output";
    tell_a_call(world);
    post(world, 0);
    world_pass(world, ENDED_MS);
}

static void tell_a_deadline(struct world *world)
{
    world->call_ms = CEILING_MS;
    post(world, 0);
    world_pass(world, CEILING_MS);
}

/* The timers' memory is full but for the place of one more waiter, while the store takes longer
 * than the flight may. */
static void tell_a_late_join(struct world *world)
{
    world->store_delay_ms = SLOW_STORE_MS;
    post(world, 0);
    world_pass(world, LATE_MS);
    world_trace(world, "late: %s", model_store_is_idle(world) ? "idle" : "busy");
    crowd(world, 1);
    post(world, 0);
    disperse(world);
    world->store_delay_ms = STORE_MS;
    world_pass(world, SLOW_END_MS);
}

static void tell_an_answer_in_memory(struct world *world)
{
    world->memory_key = 0;
    tell_a_replay(world);
}

static void tell_an_answer_not_stored(struct world *world)
{
    post(world, 0);
    pass_until_called(world);
    world->store_full = true;
    world_pass(world, ENDED_MS);
    post(world, 0);
    world->store_full = false;
    world_pass(world, ENDED_MS);
    post(world, 0);
    world_pass(world, ENDED_MS);
}

static void tell_a_drain(struct world *world)
{
    post(world, 0);
    post_from_sdk(world, 0);
    pass_until_called(world);
    world_drain(world);
    post(world, 0);
    model_post(world, 1, 0);
    world_pass(world, 10);
    world_restart(world);
}

static const struct story {
    const char *name;
    void (*tell)(struct world *world);
    const char *shows; /* in its trace, when nothing fails */
} stories[] = {
    {"a call", tell_a_call, "200 executed "},
    {"a replay", tell_a_replay, "200 replayed"},
    {"a join", tell_a_join, "200 joined"},
    {"a keyless call", tell_a_keyless_call, "is cancelled"},
    {"an adoption", tell_an_adoption, "200 adopted"},
    {"a late adoption", tell_a_late_adoption, "200 adopted"},
    {"a refused SDK", tell_a_refused_sdk, ": 503 "},
    {"a queue", tell_a_queue, "call 2 for <k1v0>"},
    {"a mismatch", tell_a_mismatch, ": 422 "},
    {"a retried call", tell_a_retried_call, "call 2 for <k0v0>"},
    {"a call without stream_options", tell_a_call_without_stream_options, "call 2 for <k0v0>"},
    {"a refused call", tell_a_refused_call, ": 400 "},
    {"a failed call", tell_a_failed_call, ": 502 replayed"},
    {"a deadline", tell_a_deadline, ": 504 "},
    {"a late join", tell_a_late_join, "late: busy"},
    {"an answer in memory", tell_an_answer_in_memory, "200 replayed"},
    {"an answer not stored", tell_an_answer_not_stored, "200 executed-unstored"},
    {"a drain", tell_a_drain, "is cancelled"},
    {"a redirect", story_of_a_redirect, ": 303 "},
    {"a keyless redirect", story_of_a_keyless_redirect, ": 303 "},
    {"a redirect in a pause", story_of_a_redirect_in_a_pause, ": 303 "},
    {"a slow redirect", story_of_a_redirect_that_a_pause_waits_for, ": 303 "},
    {"a conflict", story_of_a_conflict, "generation_in_progress"},
    {"a heartbeat", story_of_a_heartbeat, "is finished"},
    {"a keyless heartbeat", story_of_a_keyless_heartbeat, "is finished"},
    {"an accepted request", story_of_an_accepted_request, ": 202 "},
    {"an accepted join", story_of_an_accepted_join, ": 202 "},
    {"one without a key", story_of_an_accepted_request_without_a_key, ": 202 "},
    {"a crash", story_of_a_crash, "accepted of a flight: fine"},
    {"a restart", story_of_a_restart, "accepted of a flight: fine"},
    {"replays without room", story_of_replays_without_room, "its memory is full"},
    {"a cancel", story_of_a_cancel, ": 204 "},
    {"an orphan's URL", story_of_an_orphan_that_was_redirected, ": 303 "},
};

/* ---- one try */

static void exempt_surroundings(bool engine_runs)
{
    fault_memory_exempt(!engine_runs);
}

static void calm_down(struct world *world)
{
    world->store_full = false;
    world->fate = NULL;
    world->call_ms = CALL_MS;
    world->store_delay_ms = STORE_MS;
    world->store_exact_ms = -1;
    world->config->routes[API_CHAT].edge = EDGE_WAIT;
}

static void begin(struct world *world)
{
    world_begin(world, SEED);
    CHECK(world, world->config->upstreams[0].attempts_max > 2);
    CHECK(world, world->config->upstreams[0].flights_max > 3);
    CHECK(world, world->config->upstreams[0].retry_budget_ratio > 0);
    world->calm = true;
    world->fault_percent = 0;
    world->memory_key = MODEL_KEYLESS;
    calm_down(world);
    CHECK(world, world->config->upstreams[0].api_key.p);
    world->on_end = disperse;
    world->config->limits.deadline_ms = DEADLINE_MS;
    world->config->limits.flight_max_ms = CEILING_MS;
    world->config->limits.flights_max = 8;
    world->config->limits.queue_max = 8;
    world->config->limits.queue_ms = DEADLINE_MS;
    world->config->idempotency.ttl_ms = TTL_MS;
    world->config->idempotency.error_ttl_ms = FORGET_MS / 2;
    world->config->idempotency.waiters_max = 8;
    world->config->idempotency.paid_calls_max = 5;
    world->config->idempotency.on_interrupted = ON_INTERRUPTED_RETRY;
    world->config->routes[API_CHAT].deadline_ms = DEADLINE_MS;
    world->config->routes[API_CHAT].adopt = ADOPT_SDK;
    world->config->routes[API_CHAT].on_disconnect = ON_DISCONNECT_AUTO;
}

/* Nobody waits, nothing runs. */
static void check_nothing_is_left(struct world *world)
{
    CHECK(world, world->open_requests == 0);
    CHECK(world, engine_is_idle(world->engine));
    CHECK(world, engine_state(world->engine).waiters == 0);
    CHECK(world, engine_state(world->engine).flights_running == 0);
    CHECK(world, model_upstream_calls(world) == 0 && model_store_is_idle(world));
}

/* The same keys again: what is told is an answer or a stored failure, never the want of memory
 * that is over.  A key may run on in the store while its answer is kept
 * in memory only. */
static void check_keys_are_served(struct world *world)
{
    for (int key = 0; key < 2; key++) {
        uint64_t replies = world->seen.replies;
        model_post(world, key, 0);
        world_pass(world, SETTLE_MS);
        check_nothing_is_left(world);
        CHECK(world, world->seen.replies == replies + 1 && !world->last_starved);
        bool in_memory = engine_state(world->engine).answers_in_memory > 0;
        CHECK(world, world->keys[key].row.state != KEY_RUNNING || in_memory);
    }
}

/* What was accepted and could not be taken up is by the next process. */
static void check_nothing_runs(struct world *world)
{
    world_restart(world);
    world_pass(world, SETTLE_MS);
    check_nothing_is_left(world);
    CHECK(world, model_flights_running(world) == 0 && model_flights_accepted(world) == 0);
}

/* From here on want of memory is no excuse, but for answers that it took already. */
static void end_of_want(struct world *world)
{
    world->starved = false;
    for (size_t i = 0; i < MODEL_KEYS; i++)
        world->keys[i].life.unstored_until_ms = 0;
}

/* True: an allocation failed. */
static bool try_story(const struct story *story, size_t places, unsigned at, bool for_ever)
{
    struct world world;
    begin(&world);
    world_trace(&world, "%s, %zu timers free, allocation %u%s fails", story->name, places, at,
                for_ever ? " and all after it" : "");
    crowd(&world, places);
    world.starved = world.was_starved = true;
    world.on_engine = exempt_surroundings;
    fault_memory_arm(at, for_ever);
    fault_memory_exempt(true);
    story->tell(&world);
    bool struck = fault_memory_disarm();
    CHECK(&world, struck || strstr(buf_text(&world.trace), story->shows));
    disperse(&world);
    calm_down(&world);
    world_pass(&world, SETTLE_MS);
    check_nothing_is_left(&world);
    end_of_want(&world);
    check_keys_are_served(&world);
    world_pass(&world, FORGET_MS);
    check_keys_are_served(&world);
    CHECK(&world, world.last_status == 200);
    check_nothing_runs(&world);
    if (!struck && getenv("UNSTREAM_TRACE"))
        world_print_trace();
    world_end(&world);
    return struck;
}

/* Returns how many tries it took. */
static unsigned try_all(const struct story *story, size_t places)
{
    unsigned once = 1, for_ever = 1;
    while (try_story(story, places, once, false))
        assert_true(++once < TRIES_MAX);
    while (try_story(story, places, for_ever, true))
        assert_true(++for_ever < TRIES_MAX);
    return once + for_ever;
}

TEST(model_memory, every_story_ends_well_whatever_allocation_fails)
{
    for (size_t i = 0; i < COUNT_OF(stories); i++) {
        unsigned tries = 0;
        for (size_t places = 0; places <= PLACES_MAX; places++)
            tries += try_all(&stories[i], places);
        print_message("%s: %u tries\n", stories[i].name, tries);
        assert_true(tries > 20 * PLACES_MAX);
    }
}

TEST(model_memory, a_new_engine_is_whole_or_not_there)
{
    struct world world;
    begin(&world);
    const struct engine_params params = {.config = world.config,
                                         .loop = world.loop,
                                         .store = world.store,
                                         .upstream = world.upstream,
                                         .log = &world.log};
    bool struck = true;
    for (unsigned at = 1; struck; at++) {
        struct engine *engine = NULL;
        fault_memory_arm(at, false);
        enum rc rc = engine_new(&params, &engine);
        struck = fault_memory_disarm();
        assert_int_equal(rc, struck ? E_NOMEM : OK);
        engine_free(engine);
    }
    world_end(&world);
}

static const char *no_variable(void *context, const char *name)
{
    (void)context;
    return strcmp(name, "HOME") == 0 ? "/home/model" : NULL;
}

static enum rc read_more_upstreams(void *context, struct span path, struct buf *out)
{
    (void)context;
    (void)path;
    buf_add_text(out, "{\"upstreams\": {\"v\": {\"base_url\": \"http://p/v1\", \"provider\": "
                      "\"openai\"}, \"u\": {\"base_url\": \"http://p/v1\", \"provider\": "
                      "\"openai\"}, \"w\": {\"base_url\": \"http://p/v1\", \"provider\": "
                      "\"openai\"}}}");
    return buf_rc(out);
}

TEST(model_memory, a_reload_that_finds_no_memory_changes_nothing)
{
    struct world world;
    begin(&world);
    const struct config_source source = {no_variable, read_more_upstreams, NULL};
    const struct config_arguments arguments = {.file = SPAN("next.json")};
    BUF(problems, 4096);
    OWNED(config) next = NULL;
    assert_int_equal(config_load(&source, &arguments, &problems, &next), OK);
    unsigned refused = 0;
    for (bool struck = true; struck; refused += struck) {
        fault_memory_arm(refused + 1, false);
        enum rc rc = engine_reconfigure(world.engine, next);
        struck = fault_memory_disarm();
        assert_int_equal(rc, struck ? E_NOMEM : OK);
    }
    assert_int_equal(refused,
                     5); /* the clients' limits; v and w, and their slots; u is known */
    assert_int_equal(engine_reconfigure(world.engine, world.config), OK);
    world_end(&world);
}
