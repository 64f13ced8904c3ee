#include "io/store_headers.h"
#include "io/store_sqlite_internal.h"

#include "base/crash_point.h"

/* The columns of QUERY_FLIGHT_GET. */
enum {
    ROW_FLIGHT,
    ROW_STATE,
    ROW_KEY,
    ROW_SCOPE,
    ROW_ROUTE,
    ROW_STARTED_MS,
    ROW_ENDED_MS,
    ROW_ANSWER /* from here on */
};

/* The columns of QUERY_ACCEPTED_NEXT. */
enum {
    ACCEPTED_FLIGHT,
    ACCEPTED_KEY,
    ACCEPTED_SCOPE,
    ACCEPTED_FINGERPRINT,
    ACCEPTED_ROUTE,
    ACCEPTED_PAID_CALLS,
    ACCEPTED_STARTED_MS,
    ACCEPTED_DEADLINE_MS,
    ACCEPTED_CLIENT,
    ACCEPTED_QUERY,
    ACCEPTED_HEADERS,
    ACCEPTED_SHA256,
    ACCEPTED_BODY
};

/* ---- publishing */

static void add_token(struct sqlite_db *db, const struct flight_id *flight,
                      const struct digest *token)
{
    sqlite_db_query(db, QUERY_TOKEN_ADD);
    store_sqlite_bind_digest(db, ":token", token);
    store_sqlite_bind_flight(db, flight);
    if (sqlite_db_run(db) == 0)
        sqlite_db_fail(db, SQLITE_CONSTRAINT); /* another flight's */
}

/* What a damaged disk would change. */
static enum rc request_digest(struct span query, struct span headers, struct span body,
                              struct digest *ret)
{
    const struct span parts[] = {query, headers, body};
    return sha256_of(parts, COUNT_OF(parts), ret);
}

static void add_request(struct sqlite_db *db, const struct flight_id *flight,
                        const struct store_job_publication *request)
{
    struct digest sha256;
    struct span body = blob_span(request->body);
    if (request_digest(request->query, request->headers, body, &sha256) != OK) {
        sqlite_db_fail(db, SQLITE_NOMEM);
        return;
    }
    sqlite_db_query(db, QUERY_REQUEST_ADD);
    store_sqlite_bind_flight(db, flight);
    sqlite_db_bind_int(db, ":deadline_ms", request->deadline_ms);
    sqlite_db_bind_text(db, ":client", request->client);
    sqlite_db_bind_blob(db, ":query", request->query.p, request->query.n);
    sqlite_db_bind_blob(db, ":headers", request->headers.p, request->headers.n);
    store_sqlite_bind_digest(db, ":sha256", &sha256);
    sqlite_db_bind_blob(db, ":body", body.p, body.n);
    (void)sqlite_db_run(db);
}

void store_sqlite_publish(struct sqlite_db *db, const struct flight_id *flight,
                          const struct store_job_publication *publication)
{
    if (publication->has_token)
        add_token(db, flight, &publication->token);
    CRASH_POINT("publication_half_done");
    if (publication->has_request)
        add_request(db, flight, publication);
}

static bool runs(struct sqlite_db *db, const struct flight_id *flight)
{
    sqlite_db_query(db, QUERY_FLIGHT_RUNS);
    store_sqlite_bind_flight(db, flight);
    bool it_runs = sqlite_db_step(db) && sqlite_db_int(db, 0) > 0;
    sqlite_db_end(db);
    return it_runs;
}

void store_sqlite_perform_publish(struct sqlite_db *db, struct store_job *job)
{
    if (!runs(db, &job->publish)) {
        job->rc = E_CONFLICT;
        return;
    }
    store_sqlite_publish(db, &job->publish, &job->publication);
    CRASH_POINT("publication_not_committed");
}

/* ---- results */

static enum flight_row row_state_of(struct span name)
{
    for (enum flight_row state = FLIGHT_ROW_RUNNING; state <= FLIGHT_ROW_INTERRUPTED; state++) {
        if (span_is(name, flight_row_name(state)))
            return state;
    }
    return FLIGHT_ROW_ABSENT;
}

static void read_flight(struct sqlite_db *db, struct store_job *job)
{
    struct flight_record *record = &job->flight_record;
    record->state = row_state_of(sqlite_db_bytes(db, ROW_STATE));
    bool copied = sqlite_db_copy(db, ROW_FLIGHT, &record->flight, sizeof record->flight) &&
                  sqlite_db_copy(db, ROW_KEY, &record->key, sizeof record->key) &&
                  sqlite_db_copy(db, ROW_SCOPE, &record->scope, sizeof record->scope);
    if (record->state == FLIGHT_ROW_ABSENT || !copied)
        sqlite_db_fail(db, SQLITE_CORRUPT); /* the table's CHECKs forbid it */
    record->route = store_sqlite_read_bytes(db, ROW_ROUTE, job);
    record->started_ms = sqlite_db_int(db, ROW_STARTED_MS);
    record->ended_ms = sqlite_db_int(db, ROW_ENDED_MS);
    store_sqlite_read_answer(db, ROW_ANSWER, job, &record->answer);
    record->corrupt = store_sqlite_read_body(db, ROW_ANSWER, &record->answer);
}

void store_sqlite_perform_result(struct sqlite_db *db, struct store_job *job)
{
    const struct store_result_query *query = &job->result;
    sqlite_db_query(db, QUERY_FLIGHT_GET);
    if (query->by_token)
        store_sqlite_bind_digest(db, ":token", &query->token);
    else
        store_sqlite_bind_flight(db, &query->flight);
    sqlite_db_bind_int(db, ":now_ms", query->now_ms);
    if (sqlite_db_step(db))
        read_flight(db, job);
    sqlite_db_end(db);
}

/* ---- accepted requests */

/* False: not as it was stored, or a failure (db->code). */
static bool is_whole(struct sqlite_db *db)
{
    struct digest stored, actual;
    if (!sqlite_db_copy(db, ACCEPTED_SHA256, &stored, sizeof stored))
        return false;
    if (request_digest(sqlite_db_bytes(db, ACCEPTED_QUERY),
                       sqlite_db_bytes(db, ACCEPTED_HEADERS),
                       sqlite_db_bytes(db, ACCEPTED_BODY), &actual) != OK) {
        sqlite_db_fail(db, SQLITE_NOMEM);
        return false;
    }
    return digest_eq(&stored, &actual);
}

static void read_request(struct sqlite_db *db, struct store_job *job)
{
    struct accepted_record *record = &job->accepted_record;
    struct store_request *request = &record->request;
    request->deadline_ms = sqlite_db_int(db, ACCEPTED_DEADLINE_MS);
    struct span headers = store_sqlite_read_bytes(db, ACCEPTED_HEADERS, job);
    record->corrupt = !is_whole(db);
    if (record->corrupt || !headers.p)
        return;
    enum rc rc = store_headers_read(headers, &job->texts, &request->headers);
    if (rc != OK) { /* the checksum says that we wrote it */
        sqlite_db_fail(db, rc == E_NOMEM ? SQLITE_NOMEM : SQLITE_CORRUPT);
        return;
    }
    request->query = store_sqlite_read_bytes(db, ACCEPTED_QUERY, job);
    request->client = store_sqlite_read_bytes(db, ACCEPTED_CLIENT, job);
    request->body = blob_new(sqlite_db_bytes(db, ACCEPTED_BODY));
    if (!request->body)
        sqlite_db_fail(db, SQLITE_NOMEM);
}

static void read_accepted(struct sqlite_db *db, struct store_job *job)
{
    struct accepted_record *record = &job->accepted_record;
    bool copied = sqlite_db_copy(db, ACCEPTED_FLIGHT, &record->flight, sizeof record->flight) &&
                  sqlite_db_copy(db, ACCEPTED_KEY, &record->key, sizeof record->key) &&
                  sqlite_db_copy(db, ACCEPTED_SCOPE, &record->scope, sizeof record->scope) &&
                  sqlite_db_copy(db, ACCEPTED_FINGERPRINT, &record->fingerprint,
                                 sizeof record->fingerprint);
    if (!copied)
        sqlite_db_fail(db, SQLITE_CORRUPT); /* the tables' CHECKs forbid it */
    record->route = store_sqlite_read_bytes(db, ACCEPTED_ROUTE, job);
    record->paid_calls = (unsigned)sqlite_db_int(db, ACCEPTED_PAID_CALLS);
    record->started_ms = sqlite_db_int(db, ACCEPTED_STARTED_MS);
    read_request(db, job);
}

void store_sqlite_perform_accepted(struct sqlite_db *db, struct store_job *job)
{
    const struct flight_id *after = &job->accepted.after;
    sqlite_db_query(db, QUERY_ACCEPTED_NEXT);
    sqlite_db_bind_blob(db, ":after", after->bytes, job->accepted.goes_on ? sizeof *after : 0);
    if (sqlite_db_step(db))
        read_accepted(db, job);
    else
        job->rc = E_NOT_FOUND;
    sqlite_db_end(db);
}
