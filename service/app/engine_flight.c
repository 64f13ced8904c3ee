/* One flight, driven: carries out the orders of core/flight.h against store and upstream and
 * feeds their completions back. */
#include "app/engine_internal.h"

#include "app/clock.h"

#include <stdlib.h>

static struct timers *timers(const struct engine_flight *run)
{
    return event_loop_timers(run->engine->loop);
}

void engine_flight_discard(struct engine_flight *run)
{
    ASSERT(!run->transfer && list_is_empty(&run->waiters));
    timers_stop(timers(run), &run->deadline);
    timers_stop(timers(run), &run->pause);
    engine_forget(run);
    list_remove(&run->link);
    if (map_get(&run->engine->by_id, run->id.bytes) == run)
        (void)map_remove(&run->engine->by_id, run->id.bytes);
    engine_edge_discard(run);
    engine_kin_remove(run);
    for (size_t i = 0; i < FLIGHT_BODIES; i++)
        blob_let_go(run->held[i], &run->engine->memory_bytes);
    attempt_outcome_done(&run->outcome);
    timeline_done(&run->timeline);
    blob_free(run->answer.body);
    intake_free(run->intake);
    engine_upstream_release(run->memory);
    free(run);
}

/* Waiters of an answer have just been replied to. */
static void note_answer(struct engine_flight *run)
{
    int64_t last_byte_us = run->outcome.last_byte_us;
    if (run->flight.verdict.body == VERDICT_ANSWER && last_byte_us > 0)
        telemetry_answer(&run->engine->telemetry, run->intake->keyed,
                         clock_monotonic_us() - last_byte_us);
}

static void ended(struct engine_flight *run)
{
    bool attended = !list_is_empty(&run->waiters);
    run->end_ms = engine_now_ms(run->engine);
    if (run->flight.verdict.body == VERDICT_STORED)
        run->source = SOURCE_REPLAYED;
    else if (run->intake->keyed && run->flight.attempts > 0) {
        bool unstored = run->flight.unstored && verdict_keeps(&run->flight.verdict);
        run->source = unstored ? SOURCE_UNSTORED : SOURCE_EXECUTED;
    }
    engine_note_end(run);
    engine_answer_waiters(run);
    if (attended)
        note_answer(run);
    timers_stop(timers(run), &run->deadline);
    engine_remember(run);
    engine_forget(run);
    intake_drop_bodies(run->intake);
    blob_free(run->outcome.body); /* what is needed of it is the answer now */
    run->outcome.body = NULL;
    engine_weigh(run);
    engine_keep_answer(run);
    engine_settle(run);
}

/* ---- orders */

static enum flight_order begin_pause(struct engine_flight *run)
{
    engine_admission_pause_begins(run);
    int64_t due_ms = engine_now_ms(run->engine) + run->flight.pause_ms;
    if (run->flight.pause_ms > 0)
        engine_note_ms(run, TIMELINE_PAUSE, run->flight.pause_ms);
    enum rc rc = timers_start(timers(run), &run->pause, due_ms);
    return rc == OK ? FLIGHT_WAIT : flight_on_pause_end(&run->flight);
}

/* Carry out one order; an order that can be completed at once gives the next. */
static enum flight_order carry_out(struct engine_flight *run, enum flight_order order)
{
    switch (order) {
    case FLIGHT_WAIT:
        return FLIGHT_WAIT;
    case FLIGHT_LOOK_UP:
        return engine_store_look_up(run);
    case FLIGHT_ADMIT:
        return engine_admit(run);
    case FLIGHT_CLAIM:
        return engine_store_claim(run);
    case FLIGHT_CALL:
        return engine_call(run);
    case FLIGHT_PAUSE:
        return begin_pause(run);
    case FLIGHT_COUNT:
        return engine_store_count(run);
    case FLIGHT_ABORT:
        engine_call_abort(run);
        if (run->flight.stopping)
            return flight_on_stopped(&run->flight);
        return engine_call_ended(run);
    case FLIGHT_COMPLETE:
    case FLIGHT_FAIL:
        engine_build_answer(run);
        return engine_store_complete(run, order == FLIGHT_FAIL);
    case FLIGHT_RELEASE:
        engine_build_answer(run);
        return engine_store_release(run);
    case FLIGHT_ANSWER:
        break;
    }
    return FLIGHT_ANSWER;
}

void engine_flight_perform(struct engine_flight *run, enum flight_order order)
{
    engine_admission_follow(run);
    while (order != FLIGHT_WAIT && order != FLIGHT_ANSWER)
        order = carry_out(run, order);
    if (order == FLIGHT_WAIT)
        return;
    if (run->flight.verdict.body != VERDICT_STORED && !run->answer.body)
        engine_build_answer(run);
    ended(run);
}

/* ---- events that are not completions */

static void on_pause_end(struct timer *timer)
{
    struct engine_flight *run = CONTAINER_OF(timer, struct engine_flight, pause);
    engine_flight_perform(run, flight_on_pause_end(&run->flight));
}

/* With no deadline left it goes on as one that never comes: a later one, of a request that
 * joins, finds its place kept. */
static void arm_deadline(struct engine_flight *run)
{
    int64_t now_ms = engine_now_ms(run->engine);
    int64_t due_ms = flight_deadline_ms(&run->flight, now_ms);
    enum rc rc =
        timers_start(timers(run), &run->deadline, due_ms > now_ms ? due_ms : TIMERS_NEVER);
    ASSERT(rc == OK); /* it has a place since engine_flight_new */
}

static void on_deadline(struct timer *timer)
{
    struct engine_flight *run = CONTAINER_OF(timer, struct engine_flight, deadline);
    enum flight_order order = flight_on_deadline(&run->flight, engine_now_ms(run->engine));
    if (order == FLIGHT_WAIT)
        arm_deadline(run);
    engine_flight_perform(run, order);
}

static struct flight_params flight_params_of(const struct engine *engine,
                                             const struct intake *intake)
{
    bool accepts = intake->edge.accepts;
    const struct config_upstream *upstream = intake->upstream;
    int64_t now = event_loop_now_ms(engine->loop);
    int64_t deadline_ms = now + intake->wait_ms;
    int64_t ceiling_ms = now + intake->config->limits.flight_max_ms;
    return (struct flight_params){
        .keyed = intake->keyed || accepts,
        .own_key = !intake->keyed,
        .key_is_ours = upstream->api_key.p != NULL,
        .store_optional = intake->config->idempotency.on_store_error == ON_STORE_ERROR_MEMORY,
        .relayed = intake->relay.p,
        .may_outlive = intake->keyed || intake->adoptable || accepts,
        .retry = {.attempts_max = upstream->attempts_max,
                  .backoff_base_ms = upstream->backoff_base_ms,
                  .backoff_max_ms = upstream->backoff_max_ms},
        .deadline_ms = deadline_ms,
        .ceiling_ms = ceiling_ms > deadline_ms ? ceiling_ms : deadline_ms,
    };
}

/* A place in everything that may need memory, so that nothing fails later on. */
static enum rc enter_tables(struct engine_flight *run)
{
    struct engine *engine = run->engine;
    enum rc rc = timers_start(timers(run), &run->deadline, run->flight.params.deadline_ms);
    if (rc == OK)
        rc = engine_kin_add(run);
    if (rc == OK)
        rc = map_put(&engine->by_id, run->id.bytes, run);
    if (rc == OK && run->intake->keyed)
        rc = map_put(&engine->keys, run->intake->key.bytes, run);
    if (rc != OK) {
        timers_stop(timers(run), &run->deadline);
        (void)map_remove(&engine->by_id, run->id.bytes);
        engine_kin_remove(run);
        return rc;
    }
    list_append(&engine->flights, &run->link);
    engine->flight_count++;
    engine->counts.flights++;
    return OK;
}

enum rc engine_flight_new(struct engine *engine, struct intake *intake, struct flight_id id,
                          struct engine_flight **ret)
{
    struct engine_flight *run = calloc(1, sizeof *run);
    if (!run)
        return E_NOMEM;
    run->engine = engine;
    run->intake = intake;
    run->id = id;
    run->start_ms = event_loop_now_ms(engine->loop);
    run->start_unix_ms = clock_unix_ms();
    run->first_call_ms = run->end_ms = run->first_event_ms = run->first_output_ms = -1;
    run->paid_calls = -1;
    timeline_init(&run->timeline);
    run->pause.run = on_pause_end;
    run->deadline.run = on_deadline;
    flight_id_text(id, run->id_text);
    list_init(&run->link);
    list_init(&run->waiters);
    list_init(&run->kin_link);
    list_init(&run->read.link);
    struct flight_params params = flight_params_of(engine, intake);
    flight_init(&run->flight, &params);
    enum rc rc = engine_upstream_hold(engine, intake->upstream, &run->memory);
    if (rc == OK && params.keyed && params.own_key)
        rc = engine_own_key(&run->id, &intake->key);
    if (rc == OK)
        rc = enter_tables(run);
    if (rc != OK) {
        engine_upstream_release(run->memory);
        free(run);
        return rc;
    }
    engine_weigh(run);
    engine_note(run, TIMELINE_STARTED, NULL);
    *ret = run;
    return OK;
}

void engine_flight_rename(struct engine_flight *run, struct flight_id id)
{
    (void)map_remove(&run->engine->by_id, run->id.bytes);
    run->id = id;
    flight_id_text(id, run->id_text);
}

void engine_flight_start(struct engine_flight *run)
{
    engine_flight_perform(run, flight_start(&run->flight));
}

void engine_flight_join(struct engine_flight *run, int64_t deadline_ms)
{
    flight_on_join(&run->flight, deadline_ms);
    arm_deadline(run);
}

void engine_flight_stop(struct engine_flight *run, enum http_error why)
{
    engine_note_stop(run, why);
    enum flight_order order = flight_stop(&run->flight, why, NULL);
    timers_stop(timers(run), &run->pause);
    engine_flight_perform(run, order);
}
