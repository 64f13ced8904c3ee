/* The engine's tables and its own life. */
#include "app/engine_internal.h"

#include "app/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- tables */

void engine_forget(struct engine_flight *run)
{
    struct engine *engine = run->engine;
    if (run->is_over)
        return;
    engine_admission_leave(run);
    if (run->intake->keyed)
        (void)map_remove(&engine->keys, run->intake->key.bytes);
    if (run->token.text[0])
        (void)map_remove(&engine->by_token, run->token_digest.bytes);
    run->is_over = true;
    list_remove(&run->link);
    list_append(&engine->ended, &run->link);
    engine->flight_count--;
}

/* ---- the engine's own life */

/* What is remembered by names of the configuration.  E_NOMEM: it is as it was. */
static enum rc follow(struct engine *engine, const struct config *config)
{
    struct rate_limit *limits;
    enum rc rc = engine_rate_limits_for(engine, config, &limits);
    if (rc == OK)
        rc = engine_upstreams_follow(engine, config);
    if (rc != OK) {
        free(limits);
        return rc;
    }
    free(engine->rate_limits);
    engine->rate_limits = limits;
    return OK;
}

/* All that takes no memory. */
static void init(struct engine *engine, const struct engine_params *params)
{
    engine->loop = params->loop;
    engine->store = params->store;
    engine->upstream = params->upstream;
    engine->log = params->log;
    (void)snprintf(engine->boot_id, sizeof engine->boot_id, "%016" PRIx64, clock_dice());
    telemetry_init(&engine->telemetry);
    map_init(&engine->keys, SHA256_BYTES);
    map_init(&engine->by_id, FLIGHT_ID_BYTES);
    map_init(&engine->by_token, SHA256_BYTES);
    map_init(&engine->kin, KIN_ID_BYTES);
    map_init(&engine->told, FLIGHT_ID_BYTES);
    list_init(&engine->flights);
    list_init(&engine->ended);
    list_init(&engine->unstored);
    list_init(&engine->reads);
    list_init(&engine->upstreams);
    answers_init(&engine->answers, event_loop_timers(engine->loop), &engine->memory_bytes);
}

enum rc engine_new(const struct engine_params *params, struct engine **ret)
{
    struct engine *engine = calloc(1, sizeof *engine);
    if (!engine)
        return E_NOMEM;
    init(engine, params);
    if (engine_admission_init(engine) != OK) {
        free(engine);
        return E_NOMEM;
    }
    engine->history = history_new();
    if (!engine->history || follow(engine, params->config) != OK) {
        engine_free(engine);
        return E_NOMEM;
    }
    engine->config = config_ref(params->config); /* from now on there is one to follow */
    *ret = engine;
    return OK;
}

void engine_free(struct engine *engine)
{
    if (!engine)
        return;
    ASSERT(list_is_empty(&engine->flights));
    while (!list_is_empty(&engine->ended))
        engine_flight_discard(CONTAINER_OF(engine->ended.next, struct engine_flight, link));
    engine_kin_done(engine);
    engine_unstored_done(engine);
    answers_done(&engine->answers);
    telemetry_done(&engine->telemetry);
    history_free(engine->history);
    ASSERT(engine->memory_bytes == 0);
    map_done(&engine->keys);
    map_done(&engine->by_id);
    map_done(&engine->by_token);
    map_done(&engine->told);
    engine_upstreams_done(engine);
    engine_admission_done(engine);
    config_free(engine->config);
    free(engine);
}

enum rc engine_reconfigure(struct engine *engine, struct config *config)
{
    enum rc rc = follow(engine, config);
    if (rc != OK)
        return rc;
    config_free(engine->config);
    engine->config = config_ref(config);
    engine_admission_wake(engine); /* there may be more room now */
    return OK;
}

void engine_drain(struct engine *engine)
{
    engine->draining = true;
    engine_admission_drain(engine);
}

void engine_stop(struct engine *engine)
{
    struct list *link = engine->flights.next;
    while (link != &engine->flights) {
        struct list *next = link->next; /* stopping may end and free this flight only */
        engine_flight_stop(CONTAINER_OF(link, struct engine_flight, link), HTTP_ERROR_DRAINING);
        link = next;
    }
}

void engine_close(struct engine *engine)
{
    engine_drain(engine);
    engine_stop(engine);
    engine->store = NULL;
    engine->upstream = NULL;
}

bool engine_is_idle(const struct engine *engine)
{
    return engine->flight_count == 0 && engine->open_requests == 0;
}

bool engine_is_ready(const struct engine *engine)
{
    return !engine->draining && engine->store && store_stats(engine->store).readable;
}

const struct telemetry *engine_telemetry(const struct engine *engine)
{
    return &engine->telemetry;
}

bool engine_upstream_state(const struct engine *engine, size_t i,
                           struct engine_upstream_state *ret)
{
    struct list *link = engine->upstreams.next;
    for (; i > 0 && link != &engine->upstreams; i--)
        link = link->next;
    if (link == &engine->upstreams)
        return false;
    const struct upstream_memory *memory = CONTAINER_OF(link, struct upstream_memory, link);
    *ret = (struct engine_upstream_state){
        .name = {memory->name, memory->name_bytes},
        .flights = engine->admission.upstreams[memory->slot]->held,
        .pauses = admission_pauses(&engine->admission, memory->slot, engine_now_ms(engine)),
    };
    return true;
}

struct engine_state engine_state(const struct engine *engine)
{
    return (struct engine_state){
        .counts = engine->counts,
        .flights_running = engine->flight_count,
        .flights_admitted = engine->admission.held,
        .flights_queued = engine->admission.waiting,
        .waiters = engine->waiter_count,
        .orphans = engine->orphan_count,
        .answers_in_memory = engine->answers.count,
        .answers_unstored = engine->unstored_count,
        .memory_bytes = engine->memory_bytes,
        .draining = engine->draining,
    };
}
