/* Keyed answers that stand in memory, not in the store, and how the store gets those that it
 * did not take at first; the account of all bodies in memory. */
#include "app/engine_internal.h"

#include "app/clock.h"

#include <stdlib.h>
#include <string.h>

enum { STORE_AGAIN_MS = 1000, STORE_AGAIN_MAX_MS = 60 * 1000 };

/* An answer that is offered to the store again, for as long as it is kept in memory. */
struct unstored {
    struct list link; /* in engine.unstored */
    struct engine *engine;
    struct timer again;
    struct digest key;
    struct flight_id flight;
    bool failed;
    int64_t pause_ms, expires_ms, keep_until_ms; /* the last two: wall clock */
};

/* ---- storing again */

static void unstored_free(struct unstored *unstored)
{
    timers_stop(event_loop_timers(unstored->engine->loop), &unstored->again);
    list_remove(&unstored->link);
    unstored->engine->unstored_count--;
    free(unstored);
}

void engine_unstored_done(struct engine *engine)
{
    struct list *link = engine->unstored.next;
    while (link != &engine->unstored) {
        struct list *next = link->next;
        unstored_free(CONTAINER_OF(link, struct unstored, link));
        link = next;
    }
}

static void try_later(struct unstored *unstored)
{
    int64_t due_ms = engine_now_ms(unstored->engine) + unstored->pause_ms;
    unstored->pause_ms *= 2;
    if (unstored->pause_ms > STORE_AGAIN_MAX_MS)
        unstored->pause_ms = STORE_AGAIN_MAX_MS;
    if (timers_start(event_loop_timers(unstored->engine->loop), &unstored->again, due_ms) != OK)
        unstored_free(unstored);
}

static void on_stored(void *context, enum rc rc)
{
    struct unstored *unstored = context;
    struct engine *engine = unstored->engine;
    const struct answer_to_keep *kept = answers_find(&engine->answers, &unstored->key);
    if (rc == OK && kept && flight_id_eq(kept->flight, unstored->flight))
        answers_remove(&engine->answers, &unstored->key);
    if (rc == OK || rc == E_CONFLICT) /* it has it, or the key has gone on without it */
        unstored_free(unstored);
    else
        try_later(unstored);
}

static void on_again(struct timer *timer)
{
    struct unstored *unstored = CONTAINER_OF(timer, struct unstored, again);
    struct engine *engine = unstored->engine;
    const struct answer_to_keep *kept = answers_find(&engine->answers, &unstored->key);
    if (!kept || !flight_id_eq(kept->flight, unstored->flight) || !engine->store) {
        unstored_free(unstored);
        return;
    }
    const struct store_completion completion = {
        .key = unstored->key,
        .flight = unstored->flight,
        .failed = unstored->failed,
        .answer = kept->answer,
        .now_ms = clock_unix_ms(),
        .expires_ms = unstored->expires_ms,
        .keep_until_ms = unstored->keep_until_ms,
    };
    if (store_complete(engine->store, &completion, on_stored, unstored) != OK)
        try_later(unstored);
}

/* Without memory it is only not tried again. */
static void store_again(const struct engine_flight *run)
{
    struct engine *engine = run->engine;
    struct unstored *unstored = calloc(1, sizeof *unstored);
    if (!unstored)
        return;
    unstored->engine = engine;
    unstored->again.run = on_again;
    unstored->key = run->intake->key;
    unstored->flight = run->id;
    unstored->failed = run->flight.verdict.keep == KEEP_FAILURE;
    unstored->pause_ms = STORE_AGAIN_MS;
    unstored->expires_ms = clock_unix_ms() + engine_answer_ttl_ms(run);
    unstored->keep_until_ms = engine_keep_until_ms(run, clock_unix_ms());
    list_init(&unstored->link);
    list_append(&engine->unstored, &unstored->link);
    engine->unstored_count++;
    try_later(unstored);
}

/* ---- answers in memory */

/* Whether the store was not to get this answer. */
static bool stays_in_memory(const struct engine_flight *run)
{
    return run->intake->memory_only && run->flight.verdict.keep == KEEP_ANSWER;
}

void engine_keep_answer(struct engine_flight *run)
{
    const struct intake *intake = run->intake;
    const struct answer_to_keep what = {
        .key = intake->key,
        .fingerprint = intake->fingerprint,
        .flight = run->id,
        .answer = run->answer,
        .unstored = !stays_in_memory(run),
    };
    int64_t due_ms = engine_now_ms(run->engine) + engine_answer_ttl_ms(run);
    bool kept = run->flight.verdict.body != VERDICT_STORED &&
                verdict_keeps(&run->flight.verdict) && run->answer.body;
    bool missing = run->flight.unstored || stays_in_memory(run);
    if (!run->flight.params.keyed || !kept || !missing ||
        answers_put(&run->engine->answers, &what, due_ms) != OK)
        return;
    if (!run->flight.without_store && !stays_in_memory(run))
        store_again(run);
}

bool engine_replay(struct waiter *waiter)
{
    const struct intake *intake = waiter->intake;
    const struct answer_to_keep *kept = answers_find(&waiter->engine->answers, &intake->key);
    if (!kept)
        return false;
    if (!digest_eq(&kept->fingerprint, &intake->fingerprint)) {
        engine_refuse(waiter, HTTP_ERROR_KEY_REUSED, NULL);
        return true;
    }
    flight_id_text(kept->flight, waiter->id_text);
    waiter->status = kept->answer.status;
    waiter->duplicate = SOURCE_REPLAYED;
    waiter->usage = usage_of_answer(blob_span(kept->answer.body));
    waiter->source = kept->unstored ? SOURCE_UNSTORED : SOURCE_REPLAYED;
    const struct reply reply = {
        .answer = kept->answer,
        .flight_id = waiter->id_text,
        .provider = intake->upstream->provider,
        .source = waiter->source,
        .retry = kept->answer.error_code.p ? HTTP_ERROR_RETRY_NO : HTTP_ERROR_RETRY_UNSAID,
    };
    engine_tell(waiter, kept->flight, &reply);
    return true;
}

/* ---- how much there is */

void engine_weigh(struct engine_flight *run)
{
    struct blob *const bodies[FLIGHT_BODIES] = {
        run->intake->client_body,
        run->intake->upstream_body,
        run->outcome.body,
        run->answer.body,
    };
    size_t *bytes = &run->engine->memory_bytes;
    for (size_t i = 0; i < FLIGHT_BODIES; i++) {
        struct blob *before = run->held[i];
        run->held[i] = blob_hold(bodies[i], bytes);
        blob_let_go(before, bytes);
    }
}

/* False: there is no finished orphan. */
static bool forget_oldest_orphan(struct engine *engine)
{
    for (struct list *link = engine->ended.next; link != &engine->ended; link = link->next) {
        struct engine_flight *run = CONTAINER_OF(link, struct engine_flight, link);
        if (!run->is_orphan)
            continue;
        engine->counts.orphans_lost++;
        engine_flight_discard(run);
        return true;
    }
    return false;
}

bool engine_make_room(struct engine *engine)
{
    size_t bytes_max = engine->config->limits.memory_bytes_max;
    while (engine->memory_bytes > bytes_max) {
        if (engine->answers.count > 0) {
            answers_remove_oldest(&engine->answers);
            engine->counts.answers_dropped++;
        } else if (!forget_oldest_orphan(engine)) {
            return false;
        }
    }
    return true;
}

/* ---- answers that are being told */

/* Without memory it is only not found by others. */
void engine_hold_body(struct waiter *waiter, struct flight_id flight, struct blob *body)
{
    struct engine *engine = waiter->engine;
    struct waiter *other = map_get(&engine->told, flight.bytes);
    ASSERT(!waiter->body);
    waiter->body = blob_hold(body, &engine->memory_bytes);
    waiter->body_of = flight;
    if (other)
        list_append(&other->same_body, &waiter->same_body);
    else
        (void)!map_put(&engine->told, flight.bytes, waiter);
}

void engine_let_body_go(struct waiter *waiter)
{
    struct engine *engine = waiter->engine;
    struct list *next = waiter->same_body.next;
    const uint8_t *flight = waiter->body_of.bytes;
    if (!waiter->body)
        return;
    bool is_found = map_get(&engine->told, flight) == waiter;
    if (is_found)
        (void)map_remove(&engine->told, flight);
    if (is_found && next != &waiter->same_body)
        (void)!map_put(&engine->told, flight, CONTAINER_OF(next, struct waiter, same_body));
    list_remove(&waiter->same_body);
    blob_let_go(waiter->body, &engine->memory_bytes);
    waiter->body = NULL;
}

struct blob *engine_body_to_tell(struct engine *engine, struct flight_id flight,
                                 struct blob *stored)
{
    const struct waiter *other = map_get(&engine->told, flight.bytes);
    const struct engine_flight *ended = map_get(&engine->by_id, flight.bytes);
    if (other)
        return other->body;
    if (ended && ended->is_over && ended->answer.body)
        return ended->answer.body;
    if (engine_make_room(engine))
        return stored;
    engine->counts.refusals[REFUSAL_MEMORY_FULL]++;
    return NULL;
}
