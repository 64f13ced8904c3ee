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
    engine_note(run, TIMELINE_REFUSED, refusals[refusal].name);
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
    const struct config_upstream *fallback = intake->fallback.upstream;
    const struct upstream_memory *memory =
        fallback ? engine_upstream_memory(engine, fallback) : NULL;
    return memory && admission_has_room(&engine->admission, &intake->caller.scope, memory->slot,
                                        engine_now_ms(engine));
}

/* The calls go to the fallback from now on.  E_NOMEM: they do not. */
static enum rc change_over(struct engine_flight *run)
{
    const struct config_upstream *fallback = run->intake->fallback.upstream;
    bool knows = engine_upstream_knows_stream_options(run->engine, fallback);
    struct upstream_memory *memory;
    enum rc rc = engine_upstream_hold(run->engine, fallback, &memory);
    if (rc != OK)
        return rc;
    rc = intake_use_fallback(run->intake, knows);
    if (rc != OK) {
        engine_upstream_release(memory);
        return rc;
    }
    engine_upstream_release(run->memory);
    run->memory = memory;
    run->flight.params.key_is_ours = true;
    run->engine->counts.fallbacks++;
    engine_note_call(run, TIMELINE_FALLBACK);
    return OK;
}

/* A first call keeps away from an upstream that would only make it wait. */
static void choose_upstream(struct engine_flight *run)
{
    struct engine *engine = run->engine;
    const struct intake *intake = run->intake;
    int64_t now_ms = engine_now_ms(engine);
    bool paused = admission_is_paused(&engine->admission, &intake->caller.scope,
                                      run->memory->slot, now_ms);
    if (fallback_has_room(run) && fallback_goes_first(&run->memory->fallback, paused, now_ms))
        (void)!change_over(run); /* out of memory: it waits as it would without a fallback */
}

/* The fallback had room a moment ago.  Where memory is out the flight goes on as if there was no
 * fallback, perhaps with a slot of that one. */
static void go_elsewhere(struct engine_flight *run)
{
    struct engine *engine = run->engine;
    const struct config_upstream *fallback = run->intake->fallback.upstream;
    int64_t now_ms = engine_now_ms(engine);
    size_t slot = engine_upstream_memory(engine, fallback)->slot;
    if (!admission_move(&engine->admission, &run->ticket, slot, now_ms) ||
        change_over(run) != OK) {
        run->flight.pause_ms = run->intake->upstream->backoff_base_ms;
        return;
    }
    retry_budget_earn(&run->memory->budget, fallback->retry_budget_ratio, now_ms);
}

/* ---- asking */

/* Those of the configuration as it is now. */
static void use_limits(struct engine *engine)
{
    const struct config_limits *limits = &engine->config->limits;
    admission_set_limits(&engine->admission, limits->flights_max, limits->queue_max,
                         limits->queue_ms);
}

static void wake_at(struct engine *engine, int64_t due_ms)
{
    enum rc rc = timers_start(timers_of(engine), &engine->admission_due, due_ms);
    ASSERT(rc == OK); /* it has a place since engine_admission_init */
}

/* Slots or places were given back. */
void engine_admission_wake(struct engine *engine)
{
    if (engine->admission.waiting > 0)
        wake_at(engine, engine_now_ms(engine));
}

static enum flight_order wait_for_turn(struct engine_flight *run)
{
    int64_t due_ms = admission_due_ms(&run->engine->admission);
    engine_note(run, TIMELINE_QUEUED, NULL);
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
    int64_t waited_ms = engine_now_ms(run->engine) - run->queued_ms;
    run->queue_ms += waited_ms;
    if (waited_ms > 0 || run->flight.attempts == 0)
        engine_note_ms(run, TIMELINE_ADMITTED, waited_ms);
    return flight_on_admitted(&run->flight);
}

static unsigned pause_left_s(const struct engine_flight *run)
{
    const struct engine *engine = run->engine;
    int64_t now_ms = engine_now_ms(engine);
    return rate_limit_retry_after_s(admission_paused_until_ms(&engine->admission,
                                                              &run->intake->caller.scope,
                                                              run->memory->slot) -
                                    now_ms);
}

static enum flight_order ask_for_slots(struct engine_flight *run)
{
    struct engine *engine = run->engine;
    const struct config_client *client = run->intake->caller.client;
    choose_upstream(run);
    const struct admission_request request = {
        .scope = &run->intake->caller.scope,
        .client_flights_max = client ? client->flights_max : 0,
        .upstream = run->memory->slot,
        .deadline_ms = run->flight.params.deadline_ms,
        .patient = run->flight.claimed,
    };
    use_limits(engine);
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

/* NULL: there is no client of this name any more. */
static struct rate_limit *rate_limit_of(const struct engine *engine, struct span name)
{
    const struct config *config = engine->config;
    for (size_t i = 0; config && i < config->client_count; i++)
        if (span_eq(config->clients[i].name, name))
            return &engine->rate_limits[i];
    return NULL;
}

/* How long this client has to wait for its next request; 0: not at all, and it was counted. */
static int64_t rate_limit_wait_ms(struct engine_flight *run)
{
    struct engine *engine = run->engine;
    const struct config_client *client = run->intake->caller.client;
    struct rate_limit *limit = client ? rate_limit_of(engine, client->name) : NULL;
    if (!limit)
        return 0;
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
    fallback_note(&run->memory->fallback, &run->outcome, now_ms);
    admission_call_ended(&engine->admission, &run->ticket, &run->outcome, now_ms,
                         clock_unix_ms() / 1000);
    run->flight.fallback_open = fallback_has_room(run);
    engine_admission_wake(engine);
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
    engine_admission_wake(run->engine);
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
    use_limits(engine);
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

enum rc engine_rate_limits_for(const struct engine *engine, const struct config *config,
                               struct rate_limit **ret)
{
    struct rate_limit *limits = calloc(config->client_count + 1, sizeof *limits);
    if (!limits) {
        *ret = NULL;
        return E_NOMEM;
    }
    for (size_t i = 0; i < config->client_count; i++) {
        const struct config_client *client = &config->clients[i];
        const struct rate_limit *known = rate_limit_of(engine, client->name);
        if (known)
            limits[i] = *known;
        else
            rate_limit_init(&limits[i], client->requests_per_minute, engine_now_ms(engine));
    }
    *ret = limits;
    return OK;
}

/* Its limits come with each question, its upstreams with the configuration. */
enum rc engine_admission_init(struct engine *engine)
{
    const struct admission_params params = {.flights_max = 1};
    enum rc rc = admission_init(&engine->admission, &params, engine_now_ms(engine));
    if (rc != OK)
        return rc;
    engine->admission_due.run = on_due;
    return timers_start(timers_of(engine), &engine->admission_due, TIMERS_NEVER);
}

void engine_admission_done(struct engine *engine)
{
    timers_stop(timers_of(engine), &engine->admission_due);
    admission_done(&engine->admission);
    free(engine->rate_limits);
}
