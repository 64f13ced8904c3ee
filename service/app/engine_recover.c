/* Requests that an earlier process accepted (202) and did not end: they are driven again without
 * a caller, one after the other taken from the store before a front is opened. */
#include "app/engine_internal.h"

#include "app/clock.h"

#include <string.h>

static void on_accepted(void *context, enum rc rc, const struct accepted_record *record);

static enum rc ask_next(struct engine *engine, const struct flight_id *after)
{
    return store_accepted(engine->store, after, on_accepted, engine);
}

static void log_recovery(const struct engine *engine, enum log_level level, const char *event,
                         const struct flight_id *flight, const char *reason, const char *next)
{
    char id_text[FLIGHT_ID_TEXT_BYTES] = "";
    struct log_line line;
    if (flight)
        flight_id_text(*flight, id_text);
    log_begin(&line, engine->log, level, event);
    if (flight)
        log_text(&line, "flight", id_text);
    if (reason)
        log_text(&line, "reason", reason);
    log_text(&line, "next", next);
    log_end(&line);
}

static void on_released(void *context, enum rc rc)
{
    (void)context;
    (void)rc; /* the next start tries it again */
}

/* It cannot be sent any more. */
static void give_up(struct engine *engine, const struct accepted_record *record,
                    const char *reason)
{
    const struct store_release release =
        engine_interrupted(engine, &record->key, record->flight);
    (void)!store_release(engine->store, &release, on_released, engine);
    log_recovery(engine, LOG_LEVEL_WARNING, "not_resumed", &record->flight, reason,
                 "its result URL answers 503 interrupted");
}

/* Never more than a request may ask for: the clock may have been set back. */
static int64_t time_left_ms(const struct engine *engine, const struct accepted_record *record,
                            int64_t unix_ms)
{
    int64_t left_ms = record->request.deadline_ms - unix_ms;
    int64_t max_ms = engine->config->limits.deadline_max_ms;
    return left_ms < max_ms ? left_ms : max_ms;
}

static enum rc resume(struct engine *engine, struct intake *intake,
                      const struct accepted_record *record)
{
    struct engine_flight *run;
    struct digest own_key;
    int64_t now_ms = engine_now_ms(engine), unix_ms = clock_unix_ms();
    intake->wait_ms = time_left_ms(engine, record, unix_ms);
    enum rc rc = engine_own_key(&record->flight, &own_key);
    if (rc == OK) {
        intake->keyed = !digest_eq(&own_key, &record->key);
        rc = engine_flight_new(engine, intake, record->flight, &run);
    }
    if (rc != OK)
        return rc;
    int64_t age_ms = unix_ms - record->started_ms;
    run->start_ms = now_ms - (age_ms > 0 ? age_ms : 0); /* the clock may have been set back */
    run->start_unix_ms = record->started_ms;
    engine_note(run, TIMELINE_RESUMED, NULL);
    run->handed_out = true; /* by a token that only its client knows */
    run->flight.params.accepted = true;
    engine->counts.resumed++;
    bool may_run = intake->config->idempotency.on_interrupted != ON_INTERRUPTED_FAIL;
    log_recovery(engine, LOG_LEVEL_INFO, "resumed", &record->flight, NULL,
                 may_run ? "it is driven again" : "its result URL answers 502");
    engine_flight_perform(run, flight_resume(&run->flight, now_ms, may_run));
    return OK;
}

static enum rc take_up(struct engine *engine, const struct accepted_record *record)
{
    const struct intake_context context = engine_intake_context(engine, NULL);
    if (record->corrupt) {
        give_up(engine, record, "its body in the store is damaged");
        return OK;
    }
    struct intake *intake = intake_new(&context);
    const char *why = "out of memory";
    enum rc rc = intake ? intake_resume(intake, &context, record, &why) : E_NOMEM;
    if (rc == OK)
        rc = resume(engine, intake, record);
    if (rc == OK)
        return OK;
    intake_free(intake);
    if (rc == E_INVALID)
        give_up(engine, record, why);
    return rc == E_INVALID ? OK : rc;
}

static void on_accepted(void *context, enum rc rc, const struct accepted_record *record)
{
    struct engine *engine = context;
    if (rc == OK)
        rc = take_up(engine, record);
    if (rc == OK)
        rc = engine->store ? ask_next(engine, &record->flight) : E_CLOSED;
    if (rc == OK)
        return;
    engine->recovering = false;
    if (rc != E_NOT_FOUND)
        log_recovery(engine, LOG_LEVEL_ERROR, "not_all_resumed", NULL, rc_text(rc),
                     "the next start takes up the rest");
}

enum rc engine_recover(struct engine *engine)
{
    if (engine->store->accepted == 0)
        return OK;
    engine->recovering = true;
    enum rc rc = ask_next(engine, NULL);
    if (rc != OK)
        engine->recovering = false;
    return rc;
}

bool engine_is_recovering(const struct engine *engine)
{
    return engine->recovering;
}
