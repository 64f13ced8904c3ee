/* Admission of flights (core/admission.h), and which upstream their calls go to
 * (core/fallback.h).
 *
 * A flight asks here before its first call and before each further one.  Replays and joins never
 * come here, so that they go on while everything is full. */
#include "app/engine_internal.h"

#include "app/clock.h"

#include <stdlib.h>

static struct timers *timers_of(const struct engine *engine)
{
    return event_loop_timers(engine->loop);
}

static size_t upstream_index(const struct engine *engine,
                             const struct config_upstream *upstream)
{
    return (size_t)(upstream - engine->config->upstreams);
}

/* ---- refusals */

static const struct {
    const char *name;
    enum http_error error;
    const char *detail;
} refusals[REFUSAL_COUNT] = {
#define X(refusal, word, error, text) [refusal] = {word, error, text},
    REFUSAL_TABLE(X)
#undef X
};

const char *engine_refusal_name(enum refusal refusal)
{
    return refusals[refusal].name;
}

static enum flight_order refuse_for(struct engine_flight *run, enum refusal refusal,
                                    unsigned retry_after_s)
{
    run->queue_ms += engine_now_ms(run->engine) - run->queued_ms;
    run->engine->counts.refusals[refusal]++;
    return flight_refuse(&run->flight, refusals[refusal].error, refusals[refusal].detail,
                         retry_after_s);
}

static enum flight_order refuse(struct engine_flight *run, enum refusal refusal)
{
    return refuse_for(run, refusal, 0);
}

/* ---- the fallback */

static bool fallback_has_room(const struct engine_flight *run)
{
    const struct engine *engine = run->engine;
    const struct intake *intake = run->intake;
    return intake->fallback.upstream &&
           admission_has_room(&engine->admission, &intake->caller.scope,
                              upstream_index(engine, intake->fallback.upstream),
                              engine_now_ms(engine));
}

/* The calls go to the fallback from now on.  E_NOMEM: they do not. */
static enum rc change_over(struct engine_flight *run)
{
    bool knows = engine_knows_stream_options(run->engine, run->intake->fallback.upstream);
    enum rc rc = intake_use_fallback(run->intake, knows);
    if (rc != OK)
        return rc;
    run->flight.params.key_is_ours = true;
    run->engine->counts.fallbacks++;
    return OK;
}

/* A first call keeps away from an upstream that would only make it wait. */
static void choose_upstream(struct engine_flight *run)
{
    struct engine *engine = run->engine;
    const struct intake *intake = run->intake;
    int64_t now_ms = engine_now_ms(engine);
    bool paused = admission_is_paused(&engine->admission, &intake->caller.scope,
                                      upstream_index(engine, intake->upstream), now_ms);
    const struct upstream_memory *memory = engine_upstream_memory(engine, intake->upstream);
    if (fallback_has_room(run) && fallback_goes_first(&memory->fallback, paused, now_ms))
        (void)!change_over(run); /* out of memory: it waits as it would without a fallback */
}

/* The fallback had room a moment ago.  Where memory is out the flight goes on as if there was no
 * fallback, perhaps with a slot of that one. */
static void go_elsewhere(struct engine_flight *run)
{
    struct engine *engine = run->engine;
    const struct config_upstream *fallback = run->intake->fallback.upstream;
    int64_t now_ms = engine_now_ms(engine);
    if (!admission_move(&engine->admission, &run->ticket, upstream_index(engine, fallback),
                        now_ms) ||
        change_over(run) != OK) {
        run->flight.pause_ms = run->intake->upstream->backoff_base_ms;
        return;
    }
    retry_budget_earn(&engine_upstream_memory(engine, fallback)->budget,
                      fallback->retry_budget_ratio, now_ms);
}

/* ---- asking */

static void wake_at(struct engine *engine, int64_t due_ms)
{
    enum rc rc = timers_start(timers_of(engine), &engine->admission_due, due_ms);
    ASSERT(rc == OK); /* it has a place since engine_admission_init */
}

/* Slots or places were given back. */
static void wake_now(struct engine *engine)
{
    if (engine->admission.waiting > 0)
        wake_at(engine, engine_now_ms(engine));
}

static enum flight_order wait_for_turn(struct engine_flight *run)
{
    int64_t due_ms = admission_due_ms(&run->engine->admission);
    if (due_ms < run->engine->admission_due.due_ms)
        wake_at(run->engine, due_ms);
    return FLIGHT_WAIT;
}

static bool waits(const struct engine_flight *run)
{
    return run->ticket.state == ADMISSION_QUEUED || run->ticket.state == ADMISSION_RETURNING;
}

int64_t engine_queue_ms(const struct engine_flight *run)
{
    return run->queue_ms + (waits(run) ? engine_now_ms(run->engine) - run->queued_ms : 0);
}

static enum flight_order admitted(struct engine_flight *run)
{
    run->queue_ms += engine_now_ms(run->engine) - run->queued_ms;
    return flight_on_admitted(&run->flight);
}

static unsigned pause_left_s(const struct engine_flight *run)
{
    const struct engine *engine = run->engine;
    int64_t now_ms = engine_now_ms(engine);
    return rate_limit_retry_after_s(
        admission_paused_until_ms(&engine->admission, &run->intake->caller.scope,
                                  upstream_index(engine, run->intake->upstream)) -
        now_ms);
}

static enum flight_order ask_for_slots(struct engine_flight *run)
{
    struct engine *engine = run->engine;
    const struct config_limits *limits = &engine->config->limits;
    const struct config_client *client = run->intake->caller.client;
    choose_upstream(run);
    const struct admission_request request = {
        .scope = &run->intake->caller.scope,
        .client_flights_max = client ? client->flights_max : 0,
        .upstream = upstream_index(engine, run->intake->upstream),
        .deadline_ms = run->flight.params.deadline_ms,
        .patient = run->flight.claimed,
    };
    admission_set_limits(&engine->admission, limits->flights_max, limits->queue_max,
                         limits->queue_ms);
    switch (admission_ask(&engine->admission, &run->ticket, &request, engine_now_ms(engine))) {
    case ADMISSION_GRANTED:
        return admitted(run);
    case ADMISSION_WAIT:
        engine->counts.queued++;
        return wait_for_turn(run);
    case ADMISSION_QUEUE_FULL:
        return refuse(run, REFUSAL_QUEUE_FULL);
    case ADMISSION_TOO_LONG:
        return refuse_for(run, REFUSAL_PAUSED, pause_left_s(run));
    case ADMISSION_NO_MEMORY:
        break;
    }
    return refuse(run, REFUSAL_NO_MEMORY);
}

/* How long this client has to wait for its next request; 0: not at all, and it was counted. */
static int64_t rate_limit_wait_ms(struct engine_flight *run)
{
    struct engine *engine = run->engine;
    const struct config_client *client = run->intake->caller.client;
    if (!client)
        return 0;
    struct rate_limit *limit = &engine->rate_limits[client - engine->config->clients];
    return rate_limit_take(limit, client->requests_per_minute, engine_now_ms(engine));
}

/* What a flight begins with.  One that was accepted by an earlier process has passed this. */
static enum flight_order ask_first(struct engine_flight *run)
{
    struct engine *engine = run->engine;
    if (run->flight.claimed)
        return ask_for_slots(run);
    if (engine->draining)
        return refuse(run, REFUSAL_DRAINING);
    int64_t wait_ms = rate_limit_wait_ms(run);
    if (wait_ms > 0)
        return refuse_for(run, REFUSAL_RATE_LIMITED, rate_limit_retry_after_s(wait_ms));
    if (!engine_make_room(engine))
        return refuse(run, REFUSAL_MEMORY_FULL);
    return ask_for_slots(run);
}

enum flight_order engine_admit(struct engine_flight *run)
{
    struct engine *engine = run->engine;
    run->queued_ms = engine_now_ms(engine);
    if (run->ticket.state == ADMISSION_OUT)
        return ask_first(run);
    if (admission_call(&engine->admission, &run->ticket, run->queued_ms))
        return admitted(run);
    return wait_for_turn(run);
}

/* ---- giving back */

void engine_admission_call_ended(struct engine_flight *run)
{
    struct engine *engine = run->engine;
    int64_t now_ms = engine_now_ms(engine);
    struct upstream_memory *memory = engine_upstream_memory(engine, run->intake->upstream);
    fallback_note(&memory->fallback, &run->outcome, now_ms);
    admission_call_ended(&engine->admission, &run->ticket, &run->outcome, now_ms,
                         clock_unix_ms() / 1000);
    run->flight.fallback_open = fallback_has_room(run);
    wake_now(engine);
}

void engine_admission_pause_begins(struct engine_flight *run)
{
    if (run->flight.elsewhere)
        go_elsewhere(run);
}

void engine_admission_follow(struct engine_flight *run)
{
    if (waits(run) && run->flight.state != FLIGHT_QUEUED)
        engine_admission_leave(run);
}

void engine_admission_leave(struct engine_flight *run)
{
    if (run->ticket.state == ADMISSION_OUT)
        return;
    run->queue_ms = engine_queue_ms(run);
    admission_leave(&run->engine->admission, &run->ticket, engine_now_ms(run->engine));
    wake_now(run->engine);
}

/* ---- whose turn it is */

static struct engine_flight *flight_of(struct admission_ticket *ticket)
{
    return CONTAINER_OF(ticket, struct engine_flight, ticket);
}

static void on_due(struct timer *timer)
{
    struct engine *engine = CONTAINER_OF(timer, struct engine, admission_due);
    int64_t now_ms = engine_now_ms(engine);
    struct admission_ticket *ticket;
    wake_at(engine, TIMERS_NEVER);
    while ((ticket = admission_next(&engine->admission, now_ms)) != NULL)
        engine_flight_perform(flight_of(ticket), admitted(flight_of(ticket)));
    while ((ticket = admission_expire(&engine->admission, now_ms)) != NULL)
        engine_flight_perform(flight_of(ticket), refuse(flight_of(ticket), REFUSAL_QUEUE_TIME));
    int64_t due_ms = admission_due_ms(&engine->admission);
    if (due_ms < engine->admission_due.due_ms)
        wake_at(engine, due_ms);
}

void engine_admission_drain(struct engine *engine)
{
    struct list *link = engine->flights.next;
    while (link != &engine->flights) {
        struct list *next = link->next; /* stopping ends this flight only */
        struct engine_flight *run = CONTAINER_OF(link, struct engine_flight, link);
        if (run->ticket.state == ADMISSION_QUEUED) {
            engine->counts.refusals[REFUSAL_DRAINING]++;
            engine_flight_stop(run, HTTP_ERROR_DRAINING);
        }
        link = next;
    }
}

/* ---- the whole */

static enum rc init_admission(struct engine *engine)
{
    const struct config *config = engine->config;
    struct admission_upstream_params *upstreams =
        calloc(config->upstream_count, sizeof *upstreams);
    if (!upstreams)
        return E_NOMEM;
    for (size_t i = 0; i < config->upstream_count; i++)
        upstreams[i] = (struct admission_upstream_params){
            .flights_max = config->upstreams[i].flights_max,
            .has_api_key = config->upstreams[i].api_key.p != NULL,
        };
    const struct admission_params params = {
        .flights_max = config->limits.flights_max,
        .queue_max = config->limits.queue_max,
        .queue_ms = config->limits.queue_ms,
        .upstreams = upstreams,
        .upstream_count = config->upstream_count,
    };
    enum rc rc = admission_init(&engine->admission, &params, engine_now_ms(engine));
    free(upstreams);
    return rc;
}

enum rc engine_admission_init(struct engine *engine)
{
    const struct config *config = engine->config;
    int64_t now_ms = engine_now_ms(engine);
    enum rc rc = init_admission(engine);
    if (rc != OK)
        return rc;
    engine->admission_due.run = on_due;
    rc = timers_start(timers_of(engine), &engine->admission_due, TIMERS_NEVER);
    engine->rate_limits =
        config->client_count ? calloc(config->client_count, sizeof *engine->rate_limits) : NULL;
    if (rc != OK || (config->client_count && !engine->rate_limits)) {
        engine_admission_done(engine);
        return E_NOMEM;
    }
    for (size_t i = 0; i < config->client_count; i++)
        rate_limit_init(&engine->rate_limits[i], config->clients[i].requests_per_minute,
                        now_ms);
    return OK;
}

void engine_admission_done(struct engine *engine)
{
    timers_stop(timers_of(engine), &engine->admission_due);
    admission_done(&engine->admission);
    free(engine->rate_limits);
}
