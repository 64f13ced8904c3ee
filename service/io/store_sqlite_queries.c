#include "io/store_sqlite_internal.h"

#include "base/crash_point.h"

/* The columns of QUERY_KEY_GET. */
enum {
    KEY_STATE,
    KEY_FINGERPRINT,
    KEY_FLIGHT,
    KEY_PAID_CALLS,
    KEY_CREATED_MS,
    KEY_ENDED_MS,
    KEY_MEMBERS,
    KEY_ANSWER /* of its last flight, from here on */
};

void store_sqlite_bind_digest(struct sqlite_db *db, const char *name,
                              const struct digest *digest)
{
    sqlite_db_bind_blob(db, name, digest->bytes, sizeof digest->bytes);
}

void store_sqlite_bind_flight(struct sqlite_db *db, const struct flight_id *flight)
{
    sqlite_db_bind_blob(db, ":flight", flight->bytes, sizeof flight->bytes);
}

enum key_state store_sqlite_state_of(struct span name)
{
    for (enum key_state state = KEY_RUNNING; state <= KEY_RELEASED; state++) {
        if (span_is(name, key_state_name(state)))
            return state;
    }
    return KEY_ABSENT;
}

struct span store_sqlite_read_bytes(struct sqlite_db *db, int column, struct store_job *job)
{
    struct span bytes = sqlite_db_bytes(db, column);
    if (!bytes.p)
        return SPAN_ABSENT;
    struct span copy = arena_copy(&job->texts, bytes);
    if (!copy.p)
        sqlite_db_fail(db, SQLITE_NOMEM);
    return copy;
}

void store_sqlite_read_answer(struct sqlite_db *db, int first, struct store_job *job,
                              struct answer *ret)
{
    ret->status = (int)sqlite_db_int(db, first + ANSWER_STATUS);
    ret->content_type = store_sqlite_read_bytes(db, first + ANSWER_CONTENT_TYPE, job);
    ret->request_id = store_sqlite_read_bytes(db, first + ANSWER_REQUEST_ID, job);
    ret->error_code = store_sqlite_read_bytes(db, first + ANSWER_ERROR_CODE, job);
}

/* Pages have no checksums, so a damaged disk shows here only. */
bool store_sqlite_read_body(struct sqlite_db *db, int first, struct answer *ret)
{
    struct digest stored, actual;
    if (!sqlite_db_bytes(db, first + ANSWER_BODY).p)
        return false;
    struct span bytes = sqlite_db_bytes(db, first + ANSWER_BODY_BYTES);
    if (!bytes.p || !sqlite_db_copy(db, first + ANSWER_BODY_SHA256, &stored, sizeof stored))
        return true;
    if (sha256_of(&bytes, 1, &actual) != OK) {
        sqlite_db_fail(db, SQLITE_NOMEM);
        return false;
    }
    if (!digest_eq(&stored, &actual))
        return true;
    ret->body = blob_new(bytes);
    if (!ret->body)
        sqlite_db_fail(db, SQLITE_NOMEM);
    return false;
}

static void read_row(struct sqlite_db *db, struct store_job *job)
{
    struct key_record *record = &job->record;
    record->state = store_sqlite_state_of(sqlite_db_bytes(db, KEY_STATE));
    bool copied = sqlite_db_copy(db, KEY_FINGERPRINT, &record->fingerprint, SHA256_BYTES) &&
                  sqlite_db_copy(db, KEY_FLIGHT, &record->flight, FLIGHT_ID_BYTES);
    if (record->state == KEY_ABSENT || !copied)
        sqlite_db_fail(db, SQLITE_CORRUPT); /* the table's CHECKs forbid it */
    record->paid_calls = (unsigned)sqlite_db_int(db, KEY_PAID_CALLS);
    record->created_ms = sqlite_db_int(db, KEY_CREATED_MS);
    record->ended_ms = sqlite_db_int(db, KEY_ENDED_MS);
    record->members = store_sqlite_read_bytes(db, KEY_MEMBERS, job);
    store_sqlite_read_answer(db, KEY_ANSWER, job, &record->answer);
    if (record->state != KEY_DONE && record->state != KEY_FAILED)
        return;
    bool damaged = store_sqlite_read_body(db, KEY_ANSWER, &record->answer);
    bool flight_is_missing = !record->answer.body && record->answer.status == 0;
    record->corrupt = damaged || flight_is_missing;
}

static void read_key(struct sqlite_db *db, const struct digest *key, int64_t now_ms,
                     struct store_job *job)
{
    sqlite_db_query(db, QUERY_KEY_GET);
    store_sqlite_bind_digest(db, ":key", key);
    sqlite_db_bind_int(db, ":now_ms", now_ms);
    if (sqlite_db_step(db))
        read_row(db, job);
    sqlite_db_end(db);
}

static void start_flight(struct sqlite_db *db, const struct store_claim *claim)
{
    sqlite_db_query(db, QUERY_FLIGHT_START);
    store_sqlite_bind_flight(db, &claim->flight);
    store_sqlite_bind_digest(db, ":key", &claim->key);
    store_sqlite_bind_digest(db, ":scope", &claim->scope);
    sqlite_db_bind_text(db, ":route", claim->route);
    sqlite_db_bind_int(db, ":now_ms", claim->now_ms);
    (void)sqlite_db_run(db);
}

/* Why a claim changed nothing. */
static enum claim_result refusal(const struct store_claim *claim,
                                 const struct key_record *record)
{
    bool same = digest_eq(&record->fingerprint, &claim->fingerprint);
    return record->state == KEY_RELEASED && same ? CLAIM_EXHAUSTED : CLAIM_EXISTS;
}

/* One statement: true if the claim has the key now, in the job's record. */
static bool claim_key(struct sqlite_db *db, struct store_job *job)
{
    const struct store_claim *claim = &job->claim;
    sqlite_db_query(db, QUERY_KEY_CLAIM);
    store_sqlite_bind_digest(db, ":key", &claim->key);
    store_sqlite_bind_digest(db, ":fingerprint", &claim->fingerprint);
    if (claim->members.p)
        sqlite_db_bind_blob(db, ":members", claim->members.p, claim->members.n);
    store_sqlite_bind_flight(db, &claim->flight);
    sqlite_db_bind_int(db, ":now_ms", claim->now_ms);
    sqlite_db_bind_int(db, ":paid_calls", claim->paid_calls > 0 ? claim->paid_calls : 1);
    sqlite_db_bind_int(db, ":paid_calls_max", claim->paid_calls_max);
    bool claimed = sqlite_db_step(db);
    if (claimed) {
        job->record = (struct key_record){
            .state = KEY_RUNNING,
            .fingerprint = claim->fingerprint,
            .flight = claim->flight,
            .paid_calls = (unsigned)sqlite_db_int(db, 0),
            .created_ms = sqlite_db_int(db, 1),
            .members = claim->members,
        };
    }
    (void)sqlite_db_run(db);
    return claimed;
}

static void perform_claim(struct sqlite_db *db, struct store_job *job)
{
    const struct store_claim *claim = &job->claim;
    if (claim_key(db, job)) {
        CRASH_POINT("claim_half_done");
        start_flight(db, claim);
        store_sqlite_publish(db, &claim->flight, &job->publication);
        CRASH_POINT("claim_not_committed");
        job->claim_result = CLAIM_OK;
        return;
    }
    read_key(db, &claim->key, claim->now_ms, job);
    job->claim_result = refusal(claim, &job->record);
}

/* The paid calls of a key that the flight still owns, or E_CONFLICT. */
static enum rc owned_paid_calls(struct sqlite_db *db, const struct store_job *job,
                                unsigned *ret)
{
    enum rc rc = E_CONFLICT;
    sqlite_db_query(db, QUERY_KEY_PAID_CALLS);
    store_sqlite_bind_digest(db, ":key", &job->count.key);
    store_sqlite_bind_flight(db, &job->count.flight);
    if (sqlite_db_step(db)) {
        *ret = (unsigned)sqlite_db_int(db, 0);
        rc = OK;
    }
    sqlite_db_end(db);
    return rc;
}

static void perform_count(struct sqlite_db *db, struct store_job *job)
{
    sqlite_db_query(db, QUERY_KEY_COUNT);
    store_sqlite_bind_digest(db, ":key", &job->count.key);
    store_sqlite_bind_flight(db, &job->count.flight);
    sqlite_db_bind_int(db, ":paid_calls_max", job->count.paid_calls_max);
    bool counted = sqlite_db_step(db);
    if (counted)
        job->paid_calls = (unsigned)sqlite_db_int(db, 0);
    (void)sqlite_db_run(db);
    CRASH_POINT("count_not_committed");
    if (!counted)
        job->rc = owned_paid_calls(db, job, &job->paid_calls) == OK ? E_LIMIT : E_CONFLICT;
}

/* The id of the new row; 0: none was made. */
static int64_t add_body(struct sqlite_db *db, struct blob *body)
{
    if (!body)
        return 0;
    struct span bytes = blob_span(body);
    struct digest sha256;
    if (sha256_of(&bytes, 1, &sha256) != OK) {
        sqlite_db_fail(db, SQLITE_NOMEM);
        return 0;
    }
    sqlite_db_query(db, QUERY_BODY_ADD);
    store_sqlite_bind_digest(db, ":sha256", &sha256);
    sqlite_db_bind_blob(db, ":bytes", bytes.p, bytes.n);
    int64_t id = sqlite_db_step(db) ? sqlite_db_int(db, 0) : 0;
    (void)sqlite_db_run(db);
    return id;
}

struct flight_ending {
    struct flight_id flight;
    const char *state;
    const struct answer *answer;
    int64_t now_ms;
    int64_t forget_ms;     /* of its key */
    int64_t keep_until_ms; /* its own row stays at least as long */
};

static int64_t later(int64_t a_ms, int64_t b_ms)
{
    return a_ms > b_ms ? a_ms : b_ms;
}

static void end_flight(struct sqlite_db *db, const struct flight_ending *ending)
{
    const struct answer *answer = ending->answer;
    CRASH_POINT("ending_without_body");
    int64_t body = add_body(db, answer->body);
    CRASH_POINT("ending_without_flight");
    sqlite_db_query(db, QUERY_FLIGHT_END);
    store_sqlite_bind_flight(db, &ending->flight);
    sqlite_db_bind_text(db, ":state", span_of(ending->state));
    sqlite_db_bind_int(db, ":now_ms", ending->now_ms);
    sqlite_db_bind_int(db, ":status", answer->status);
    sqlite_db_bind_text(db, ":content_type", answer->content_type);
    sqlite_db_bind_text(db, ":request_id", answer->request_id);
    sqlite_db_bind_text(db, ":error_code", answer->error_code);
    if (body)
        sqlite_db_bind_int(db, ":body", body);
    sqlite_db_bind_int(db, ":forget_ms", later(ending->forget_ms, ending->keep_until_ms));
    /* A key that runs without its flight's row cannot come from our own hand: rather lose this
     * answer than keep one that nobody can find. */
    if (sqlite_db_run(db) == 0)
        sqlite_db_fail(db, SQLITE_CONSTRAINT);
    CRASH_POINT("ending_not_committed");
}

static void perform_complete(struct store_sqlite *sqlite, struct sqlite_db *db,
                             struct store_job *job)
{
    const struct store_completion *completion = &job->completion;
    int64_t expires_ms = completion->expires_ms;
    struct flight_ending ending = {
        .flight = completion->flight,
        .state = key_state_name(completion->failed ? KEY_FAILED : KEY_DONE),
        .answer = &completion->answer,
        .now_ms = completion->now_ms,
        /* A failure becomes a release that remembers what was paid. */
        .forget_ms = completion->failed
                         ? later(expires_ms, completion->now_ms + sqlite->released_ttl_ms)
                         : expires_ms,
        .keep_until_ms = completion->keep_until_ms,
    };
    sqlite_db_query(db, QUERY_KEY_COMPLETE);
    store_sqlite_bind_digest(db, ":key", &completion->key);
    store_sqlite_bind_flight(db, &completion->flight);
    sqlite_db_bind_text(db, ":state", span_of(ending.state));
    sqlite_db_bind_int(db, ":now_ms", completion->now_ms);
    sqlite_db_bind_int(db, ":answer_until_ms", expires_ms);
    sqlite_db_bind_int(db, ":forget_ms", ending.forget_ms);
    if (sqlite_db_run(db) > 0)
        end_flight(db, &ending);
    else
        job->rc = E_CONFLICT;
}

static void perform_release(struct store_sqlite *sqlite, struct sqlite_db *db,
                            struct store_job *job)
{
    const struct store_release *release = &job->release;
    struct flight_ending ending = {
        .flight = release->flight,
        .state = key_state_name(KEY_RELEASED),
        .answer = &release->outcome,
        .now_ms = release->now_ms,
        .forget_ms = release->now_ms + sqlite->released_ttl_ms,
        .keep_until_ms = release->keep_until_ms,
    };
    sqlite_db_query(db, QUERY_KEY_RELEASE);
    store_sqlite_bind_digest(db, ":key", &release->key);
    store_sqlite_bind_flight(db, &release->flight);
    sqlite_db_bind_int(db, ":now_ms", release->now_ms);
    sqlite_db_bind_int(db, ":forget_ms", ending.forget_ms);
    sqlite_db_bind_int(db, ":give_back", release->give_back);
    if (sqlite_db_run(db) > 0)
        end_flight(db, &ending);
    else
        job->rc = E_CONFLICT;
}

void store_sqlite_perform(struct store_sqlite *sqlite, struct sqlite_db *db,
                          struct store_job *job)
{
    store_job_reset(job, OK);
    switch (job->kind) {
    case STORE_JOB_LOOKUP:
        read_key(db, &job->lookup.key, job->lookup.now_ms, job);
        break;
    case STORE_JOB_CLAIM:
        perform_claim(db, job);
        break;
    case STORE_JOB_COUNT:
        perform_count(db, job);
        break;
    case STORE_JOB_COMPLETE:
        perform_complete(sqlite, db, job);
        break;
    case STORE_JOB_RELEASE:
        perform_release(sqlite, db, job);
        break;
    case STORE_JOB_PUBLISH:
        store_sqlite_perform_publish(db, job);
        break;
    case STORE_JOB_RESULT:
        store_sqlite_perform_result(db, job);
        break;
    case STORE_JOB_ACCEPTED:
        store_sqlite_perform_accepted(db, job);
        break;
    case STORE_JOB_TASK:
        store_sqlite_perform_task(sqlite, db, job);
        break;
    }
}
