/* Retries without a key: kin, orphans, and who adopts them.  The rule is core/adoption.h. */
#include "app/engine_internal.h"

#include <stdlib.h>
#include <string.h>

/* Errors that are remembered at once; beyond, no twin is joined for a while. */
enum { KIN_REFUSED_MAX = 65536 };

static struct timers *timers_of(const struct engine *engine)
{
    return event_loop_timers(engine->loop);
}

/* ---- kin */

struct kin_id engine_kin_id(const struct intake *intake)
{
    struct kin_id id;
    memcpy(id.bytes, intake->fingerprint.bytes, SHA256_BYTES);
    memcpy(id.bytes + SHA256_BYTES, intake->caller.scope.bytes, SHA256_BYTES);
    return id;
}

static void kin_free(struct kin *kin)
{
    (void)map_remove(&kin->engine->kin, kin->id.bytes);
    timers_stop(timers_of(kin->engine), &kin->refused);
    free(kin);
}

static bool was_refused_lately(const struct kin *kin)
{
    return kin->refused.place != 0;
}

static void on_refusal_forgotten(struct timer *timer)
{
    struct kin *kin = CONTAINER_OF(timer, struct kin, refused);
    kin->engine->kin_refused--;
    if (list_is_empty(&kin->flights))
        kin_free(kin);
}

/* The kin of this id, made if there is none; NULL: out of memory. */
static struct kin *kin_of(struct engine *engine, const struct kin_id *id)
{
    struct kin *kin = map_get(&engine->kin, id->bytes);
    if (kin)
        return kin;
    kin = calloc(1, sizeof *kin);
    if (!kin || map_put(&engine->kin, id->bytes, kin) != OK) {
        free(kin);
        return NULL;
    }
    kin->engine = engine;
    kin->id = *id;
    kin->refused.run = on_refusal_forgotten;
    list_init(&kin->flights);
    return kin;
}

enum rc engine_kin_add(struct engine_flight *run)
{
    if (!run->intake->adoptable)
        return OK;
    struct kin_id id = engine_kin_id(run->intake);
    run->kin = kin_of(run->engine, &id);
    if (!run->kin)
        return E_NOMEM;
    list_append(&run->kin->flights, &run->kin_link);
    run->retry_count = run->intake->adoption.retry_count;
    return OK;
}

void engine_kin_remove(struct engine_flight *run)
{
    struct kin *kin = run->kin;
    engine_attended(run);
    list_remove(&run->kin_link);
    run->kin = NULL;
    if (kin && list_is_empty(&kin->flights) && !was_refused_lately(kin))
        kin_free(kin);
}

void engine_kin_done(struct engine *engine)
{
    struct kin *kin;
    size_t position = 0;
    while ((kin = map_next(&engine->kin, &position)) != NULL) {
        timers_stop(timers_of(engine), &kin->refused);
        free(kin);
    }
    map_done(&engine->kin);
}

void engine_note_invitation(const struct waiter *waiter)
{
    struct engine *engine = waiter->engine;
    int64_t until_ms = engine_now_ms(engine) + ADOPTION_REFUSAL_MS;
    if (!waiter->has_kin)
        return;
    struct kin *kin =
        engine->kin_refused < KIN_REFUSED_MAX ? kin_of(engine, &waiter->kin) : NULL;
    bool anew = kin && !was_refused_lately(kin);
    if (kin && timers_start(timers_of(engine), &kin->refused, until_ms) == OK) {
        engine->kin_refused += anew;
        return;
    }
    if (kin && list_is_empty(&kin->flights))
        kin_free(kin);
    engine->twins_after_ms = until_ms;
}

/* ---- orphans */

static void on_orphan_given_up(struct timer *timer)
{
    struct engine_flight *run = CONTAINER_OF(timer, struct engine_flight, orphan);
    run->engine->counts.orphans_lost++;
    if (run->is_over)
        engine_flight_discard(run);
    else
        engine_flight_stop(run, HTTP_ERROR_CANCELLED);
}

/* Nobody waits for it, nobody has its answer.  after_ms -1: it goes on by itself. */
static enum rc become_orphan(struct engine_flight *run, int64_t after_ms)
{
    struct timers *timers = timers_of(run->engine);
    int64_t due_ms = engine_now_ms(run->engine) + after_ms;
    run->orphan.run = on_orphan_given_up;
    if (after_ms >= 0 && timers_start(timers, &run->orphan, due_ms) != OK)
        return E_NOMEM;
    run->engine->orphan_count += !run->is_orphan;
    run->engine->counts.orphans += !run->is_orphan;
    run->is_orphan = true;
    engine_note(run, TIMELINE_ORPHANED, NULL);
    return OK;
}

void engine_attended(struct engine_flight *run)
{
    timers_stop(timers_of(run->engine), &run->orphan);
    run->engine->orphan_count -= run->is_orphan;
    run->is_orphan = false;
}

void engine_unattended(struct engine_flight *run)
{
    const struct intake *intake = run->intake;
    bool goes_on = run->handed_out || intake->route->on_disconnect == ON_DISCONNECT_CONTINUE;
    if (intake->keyed || run->attending > 0 || run->is_orphan)
        return;
    if (!run->kin && goes_on)
        return;
    int64_t grace_ms = goes_on ? -1 : intake->config->idempotency.orphan_grace_ms;
    if ((!run->kin || become_orphan(run, grace_ms) != OK) && !goes_on)
        engine_flight_stop(run, HTTP_ERROR_CANCELLED);
}

bool engine_keeps(const struct engine_flight *run)
{
    return run->kin && run->answer.body && verdict_keeps(&run->flight.verdict);
}

void engine_settle(struct engine_flight *run)
{
    struct engine *engine = run->engine;
    int64_t window_ms = run->intake->config->idempotency.adopt_window_ms;
    if (run->telling > 0)
        return;
    if (run->delivered || !engine_keeps(run) || become_orphan(run, window_ms) != OK)
        engine_flight_discard(run);
    (void)engine_make_room(engine); /* which may forget this one */
}

/* ---- adoption */

static struct engine_flight *choose(const struct waiter *waiter)
{
    const struct engine *engine = waiter->engine;
    const struct kin *kin = map_get(&engine->kin, waiter->kin.bytes);
    if (!kin)
        return NULL;
    bool refused = was_refused_lately(kin) || engine_now_ms(engine) < engine->twins_after_ms;
    struct adoption adoption = adoption_begin(&waiter->intake->adoption, refused);
    for (struct list *link = kin->flights.next; link != &kin->flights; link = link->next) {
        struct engine_flight *run = CONTAINER_OF(link, struct engine_flight, kin_link);
        enum adoption_state state = run->is_orphan ? ADOPTION_ORPHAN : ADOPTION_ATTENDED;
        if (!run->delivered)
            adoption_consider(&adoption, run, state, run->retry_count);
    }
    return adoption_choice(&adoption);
}

bool engine_adopt(struct waiter *waiter)
{
    struct engine_flight *run = choose(waiter);
    if (!run)
        return false;
    unsigned retry_count = waiter->intake->adoption.retry_count;
    waiter->adopted = true;
    if (run->retry_count < retry_count)
        run->retry_count = retry_count;
    if (!run->is_over) {
        engine_join(waiter, run);
        return true;
    }
    waiter->duplicate = SOURCE_ADOPTED;
    engine_answer(waiter, run);
    return true;
}
