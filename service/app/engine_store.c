/* A flight and the store: look-up, claim, count, complete, release.  Once the store is closed,
 * each ends at once as if it had failed. */
#include "app/engine_internal.h"

#include "base/crash_point.h"
#include "app/clock.h"

enum { READS_MAX = 4 }; /* answers on their way from the store, not counted yet */

void engine_read(struct engine *engine, struct engine_read *read)
{
    if (engine->reads_running >= READS_MAX)
        list_append(&engine->reads, &read->link);
    else
        engine->reads_running += read->start(read);
}

void engine_read_ended(struct engine *engine)
{
    struct list *link;
    engine->reads_running--;
    while (engine->reads_running < READS_MAX && (link = list_pop(&engine->reads)) != NULL) {
        struct engine_read *read = CONTAINER_OF(link, struct engine_read, link);
        engine->reads_running += read->start(read);
    }
}

static bool is_same_request(const struct engine_flight *run, const struct key_record *record)
{
    return digest_eq(&record->fingerprint, &run->intake->fingerprint);
}

/* A crash cut its last flight off, and the configuration says not to run it again. */
static bool is_left_unknown(const struct engine_flight *run, const struct key_record *record)
{
    return run->intake->config->idempotency.on_interrupted == ON_INTERRUPTED_FAIL &&
           span_is(record->answer.error_code, "interrupted");
}

/* What the store's record of the key means for this flight. */
static enum flight_key judge_record(const struct engine_flight *run,
                                    const struct key_record *record)
{
    bool same = is_same_request(run, record);
    switch (record->state) {
    case KEY_ABSENT:
        return FLIGHT_KEY_FREE;
    case KEY_RELEASED:
        if (same && is_left_unknown(run, record))
            return FLIGHT_KEY_UNKNOWN;
        return same ? FLIGHT_KEY_FREE : FLIGHT_KEY_OTHER;
    case KEY_DONE:
    case KEY_FAILED:
        if (!same)
            return FLIGHT_KEY_OTHER;
        return record->corrupt ? FLIGHT_KEY_CORRUPT : FLIGHT_KEY_ANSWERED;
    case KEY_RUNNING:
        break;
    }
    return same ? FLIGHT_KEY_TROUBLE : FLIGHT_KEY_OTHER;
}

/* A copy in the intake's arena; false: out of memory.  Nothing is copied as nothing. */
static bool copy_text(struct engine_flight *run, struct span text, struct span *ret)
{
    *ret = text.p ? arena_copy(&run->intake->arena, text) : SPAN_ABSENT;
    return !text.p || ret->p;
}

/* Keep what a replay repeats. */
static enum flight_key keep_record(struct engine_flight *run, const struct key_record *record)
{
    const struct answer *stored = &record->answer;
    struct answer *answer = &run->answer;
    if (!copy_text(run, stored->content_type, &answer->content_type) ||
        !copy_text(run, stored->request_id, &answer->request_id) ||
        !copy_text(run, stored->error_code, &answer->error_code))
        return FLIGHT_KEY_TROUBLE;
    intake_drop_bodies(run->intake);
    engine_weigh(run);
    struct blob *body = engine_body_to_tell(run->engine, record->flight, stored->body);
    if (!body)
        return FLIGHT_KEY_NO_ROOM;
    answer->status = stored->status;
    answer->body = blob_ref(body);
    engine_flight_rename(run, record->flight);
    return FLIGHT_KEY_ANSWERED;
}

static enum flight_key judge(struct engine_flight *run, enum rc rc,
                             const struct key_record *record)
{
    enum flight_key key = rc == OK ? judge_record(run, record) : FLIGHT_KEY_TROUBLE;
    if (key == FLIGHT_KEY_ANSWERED)
        return keep_record(run, record);
    if (key == FLIGHT_KEY_OTHER)
        run->detail = engine_explain_reuse(run->intake, record->members, record->created_ms);
    return key;
}

static void on_stale_release(void *context, enum rc rc)
{
    struct engine_flight *run = context;
    enum flight_key key = rc == OK ? FLIGHT_KEY_FREE : FLIGHT_KEY_TROUBLE;
    engine_note_lookup(run, key, NULL);
    engine_flight_perform(run, flight_on_lookup(&run->flight, key));
}

struct store_release engine_interrupted(const struct engine *engine, const struct digest *key,
                                        struct flight_id flight)
{
    const struct http_error_info *info = http_error_info(HTTP_ERROR_INTERRUPTED);
    int64_t now_ms = clock_unix_ms();
    return (struct store_release){
        .key = *key,
        .flight = flight,
        .outcome = {.status = (int)info->status,
                    .content_type = SPAN("application/json"),
                    .error_code = span_of(info->code)},
        .now_ms = now_ms,
        .keep_until_ms = now_ms + engine->config->idempotency.error_ttl_ms,
    };
}

/* A key that runs in the store but not here: its flight ended and the store did not learn it.
 * It is released, so that it can be claimed (I8).  False: that could not be started. */
static bool release_stale(struct engine_flight *run, const struct key_record *record)
{
    const struct store_release release =
        engine_interrupted(run->engine, &run->intake->key, record->flight);
    return run->engine->store &&
           store_release(run->engine->store, &release, on_stale_release, run) == OK;
}

static void on_lookup(void *context, enum rc rc, const struct key_record *record)
{
    struct engine_flight *run = context;
    engine_read_ended(run->engine);
    bool stale = rc == OK && record->state == KEY_RUNNING && is_same_request(run, record);
    bool drains = run->engine->draining; /* it may be the next process's */
    if (stale && !drains && release_stale(run, record))
        return;
    enum flight_key key = stale && drains ? FLIGHT_KEY_FREE : judge(run, rc, record);
    engine_note_lookup(run, key, rc == OK ? record : NULL);
    engine_flight_perform(run, flight_on_lookup(&run->flight, key));
}

static bool start_lookup(struct engine_read *read)
{
    struct engine_flight *run = CONTAINER_OF(read, struct engine_flight, read);
    struct store *store = run->engine->store;
    const struct digest *key = &run->intake->key;
    if (store && store_lookup(store, key, clock_unix_ms(), on_lookup, run) == OK)
        return true;
    engine_flight_perform(run, flight_on_lookup(&run->flight, FLIGHT_KEY_TROUBLE));
    return false;
}

enum flight_order engine_store_look_up(struct engine_flight *run)
{
    run->read.start = start_lookup;
    engine_read(run->engine, &run->read);
    return FLIGHT_WAIT;
}

static void on_claim(void *context, enum rc rc, enum claim_result result,
                     const struct key_record *record)
{
    struct engine_flight *run = context;
    enum flight_key key = FLIGHT_KEY_TROUBLE;
    CRASH_POINT("claim_committed");
    if (rc == OK)
        switch (result) {
        case CLAIM_OK:
            key = FLIGHT_KEY_FREE;
            break;
        case CLAIM_EXHAUSTED:
            key = FLIGHT_KEY_USED_UP;
            break;
        case CLAIM_EXISTS:
            key = judge(run, rc, record);
            break;
        }
    bool claimed = key == FLIGHT_KEY_FREE;
    engine_note_claim(run, key);
    if (claimed)
        engine_edge_claimed(run);
    enum flight_order order = flight_on_claim(&run->flight, key);
    if (order == FLIGHT_CALL)
        engine_edge_continue(run, claimed ? OK : E_IO);
    engine_flight_perform(run, order);
}

enum flight_order engine_store_claim(struct engine_flight *run)
{
    const struct intake *intake = run->intake;
    struct store_request request;
    const struct store_claim claim = {
        .key = intake->key,
        .scope = intake->caller.scope,
        .fingerprint = intake->fingerprint,
        .members = intake->members.hashes,
        .flight = run->id,
        .route = span_of(api_route(intake->api)),
        .now_ms = clock_unix_ms(),
        .paid_calls_max = intake->config->idempotency.paid_calls_max,
        .publication = engine_edge_publication(run, &request),
    };
    if (!run->engine->store || store_claim(run->engine->store, &claim, on_claim, run) != OK)
        return flight_on_claim(&run->flight, FLIGHT_KEY_TROUBLE);
    return FLIGHT_WAIT;
}

static void on_count(void *context, enum rc rc, unsigned paid_calls)
{
    struct engine_flight *run = context;
    CRASH_POINT("count_committed");
    engine_note_count(run, rc, paid_calls);
    engine_flight_perform(run, flight_on_count(&run->flight, rc));
}

enum flight_order engine_store_count(struct engine_flight *run)
{
    struct store *store = run->engine->store;
    const struct intake *intake = run->intake;
    unsigned paid_calls_max = intake->config->idempotency.paid_calls_max;
    if (!store ||
        store_count(store, &intake->key, run->id, paid_calls_max, on_count, run) != OK)
        return flight_on_count(&run->flight, E_CLOSED);
    return FLIGHT_WAIT;
}

static void made_durable(struct engine_flight *run, enum rc rc)
{
    CRASH_POINT("ending_committed");
    if (rc != OK) {
        bool kept = verdict_keeps(&run->flight.verdict);
        struct log_line line;
        log_begin(&line, run->engine->log, LOG_LEVEL_ERROR, "store_failed");
        log_text(&line, "flight", run->id_text);
        log_text(&line, "reason", rc_text(rc));
        log_text(&line, "next",
                 kept ? "the answer is told and kept in memory"
                      : "the error is told, and the next request of this key releases it");
        log_end(&line);
    }
    engine_flight_perform(run, flight_on_commit(&run->flight, rc));
}

static void on_commit(void *context, enum rc rc)
{
    struct engine_flight *run = context;
    engine_note_rc(run, TIMELINE_COMMITTED, rc);
    made_durable(run, rc);
}

static void on_release(void *context, enum rc rc)
{
    struct engine_flight *run = context;
    engine_note_release(run, rc);
    made_durable(run, rc);
}

int64_t engine_answer_ttl_ms(const struct engine_flight *run)
{
    const struct config_idempotency *times = &run->intake->config->idempotency;
    bool failed = run->flight.verdict.keep == KEEP_FAILURE;
    return failed ? times->error_ttl_ms : times->ttl_ms;
}

int64_t engine_keep_until_ms(const struct engine_flight *run, int64_t now_ms)
{
    const struct config_idempotency *times = &run->intake->config->idempotency;
    bool failed = run->flight.verdict.keep != KEEP_ANSWER;
    if (failed)
        return now_ms + times->error_ttl_ms;
    bool by_token = run->has_token || run->handed_out;
    return by_token ? now_ms + times->result_url_ttl_ms : 0;
}

/* What the store keeps of a flight whose key is released.  Errors of ours tell nothing of the
 * request. */
static struct answer outcome_at_rest(const struct engine_flight *run)
{
    struct answer outcome = run->answer;
    if (run->intake->memory_only && run->flight.verdict.body != VERDICT_OWN_ERROR)
        outcome.body = NULL;
    return outcome;
}

enum flight_order engine_store_complete(struct engine_flight *run, bool failed)
{
    if (!run->answer.body || (run->intake->memory_only && !failed))
        return engine_store_release(run); /* once memory has lost it, the key runs again */
    int64_t now = clock_unix_ms();
    const struct store_completion completion = {
        .key = run->intake->key,
        .flight = run->id,
        .failed = failed,
        .answer = run->answer,
        .now_ms = now,
        .expires_ms = now + engine_answer_ttl_ms(run),
        .keep_until_ms = engine_keep_until_ms(run, now),
    };
    if (!run->engine->store ||
        store_complete(run->engine->store, &completion, on_commit, run) != OK)
        return flight_on_commit(&run->flight, E_CLOSED);
    return FLIGHT_WAIT;
}

enum flight_order engine_store_release(struct engine_flight *run)
{
    int64_t now = clock_unix_ms();
    const struct store_release release = {
        .key = run->intake->key,
        .flight = run->id,
        .give_back = run->flight.call_in_hand,
        .outcome = outcome_at_rest(run),
        .now_ms = now,
        .keep_until_ms = engine_keep_until_ms(run, now),
    };
    if (!run->engine->store ||
        store_release(run->engine->store, &release, on_release, run) != OK)
        return flight_on_commit(&run->flight, E_CLOSED);
    return FLIGHT_WAIT;
}
