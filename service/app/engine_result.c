/* GET and DELETE /requests/{flight id or result token}: what became of a flight, or is becoming.
 *
 * By flight id only for a credential of the flight's scope; by token for whoever has it, unless
 * it shows a credential of another scope.  What a caller may not see does not exist (404). */
#include "app/engine_internal.h"

#include "app/clock.h"

#include <stdlib.h>
#include <string.h>

/* A question to the store.  Its request may be over when the answer comes. */
struct result_query {
    struct engine *engine;
    struct waiter *waiter; /* NULL: gone */
    struct engine_read read;
};

static void refuse_unknown(struct waiter *waiter)
{
    engine_refuse(
        waiter, HTTP_ERROR_NOT_FOUND,
        "there is no such result for this caller: by flight id it takes the credential "
        "of the request, a result URL ends after a while, and failures are kept for a "
        "shorter time than answers");
}

/* ---- who may see what */

static bool may_see(const struct waiter *waiter, const struct digest *scope)
{
    bool same = waiter->has_credential && digest_eq(&waiter->scope, scope);
    return waiter->ref.by_token ? same || !waiter->shows_credential : same;
}

/* E_NOMEM.  An unknown credential is one of no scope. */
static enum rc identify(struct waiter *waiter)
{
    const struct intake_context context =
        engine_intake_context(waiter->engine, waiter->request);
    const struct http_head *head = http_request_head(waiter->request);
    struct credential credential;
    struct caller caller;
    bool conflict = credential_find(&head->headers, &credential) != OK;
    waiter->shows_credential = conflict || credential.secret.p;
    if (conflict || !credential.secret.p)
        return OK;
    enum rc rc = caller_find(&context, &head->headers, &caller);
    waiter->has_credential = rc == OK;
    if (rc == OK)
        waiter->scope = caller.scope;
    if (rc == OK && caller.client)
        waiter->client = arena_copy(http_request_arena(waiter->request), caller.client->name);
    return rc == E_NOMEM ? E_NOMEM : OK;
}

/* ---- a flight that runs */

static struct engine_flight *running_of(const struct waiter *waiter,
                                        const struct flight_id *flight)
{
    struct engine_flight *run = map_get(&waiter->engine->by_id, flight->bytes);
    bool relayed = run && run->intake->relay.p; /* its reply is the only place of its result */
    return run && !run->is_over && !relayed ? run : NULL;
}

static struct engine_flight *running(const struct waiter *waiter)
{
    const struct result_ref *ref = &waiter->ref;
    return ref->by_token ? map_get(&waiter->engine->by_token, ref->digest.bytes)
                         : running_of(waiter, &ref->flight);
}

static void wait_for_result(struct waiter *waiter, struct engine_flight *run)
{
    const struct http_head *head = http_request_head(waiter->request);
    const struct config_route *route = run->intake->route;
    bool in_chain = waiter->ref.by_token && waiter->ref.in_chain;
    waiter->shape = api_error_shape(run->intake->api);
    if (run->attending >= run->intake->config->idempotency.waiters_max) {
        engine_refuse(waiter, HTTP_ERROR_IN_PROGRESS, NULL);
        return;
    }
    waiter->edge = edge_plan_result(route, prefer_read(&head->headers), in_chain);
    waiter->hop = in_chain ? waiter->ref.hop : 0;
    if (engine_wait_for(waiter, run, run->intake->config->limits.deadline_max_ms) != OK)
        engine_refuse_because(waiter, HTTP_ERROR_OVERLOADED, "out of memory");
}

static void cancel(struct waiter *waiter, struct engine_flight *run)
{
    waiter->shape = api_error_shape(run->intake->api);
    waiter->cancels = true;
    waiter->edge = EDGE_PLAN_WAIT;
    if (engine_wait_for(waiter, run, run->intake->config->limits.deadline_max_ms) != OK) {
        engine_refuse_because(waiter, HTTP_ERROR_OVERLOADED, "out of memory");
        return;
    }
    engine_flight_stop(run, HTTP_ERROR_CANCELLED);
}

void engine_answer_cancel(struct waiter *waiter, const struct engine_flight *run)
{
    const struct verdict *verdict = &run->flight.verdict;
    bool was = verdict->body == VERDICT_OWN_ERROR && verdict->error == HTTP_ERROR_CANCELLED;
    memcpy(waiter->id_text, run->id_text, sizeof waiter->id_text);
    if (!was) {
        engine_refuse(waiter, HTTP_ERROR_ALREADY_FINISHED, NULL);
    } else if (run->flight.unstored) {
        engine_refuse(waiter, HTTP_ERROR_STORE_UNAVAILABLE,
                      "the generation was ended, but the store could not be told: send the "
                      "request again");
    } else {
        waiter->status = 204;
        waiter->engine->counts.cancelled++;
        reply_nothing(waiter->request, waiter->id_text);
    }
}

static void serve_running(struct waiter *waiter, struct engine_flight *run)
{
    if (!may_see(waiter, &run->intake->caller.scope))
        refuse_unknown(waiter);
    else if (span_is(http_request_head(waiter->request)->method, "DELETE"))
        cancel(waiter, run);
    else
        wait_for_result(waiter, run);
}

/* ---- a flight that ended */

/* Answers and failures have different times, and a token its own. */
static bool is_over(const struct waiter *waiter, const struct flight_record *record)
{
    const struct config_idempotency *times = &waiter->engine->config->idempotency;
    int64_t age_ms = clock_unix_ms() - record->ended_ms;
    if (record->state == FLIGHT_ROW_RUNNING)
        return false;
    if (waiter->ref.by_token && age_ms >= times->result_url_ttl_ms)
        return true;
    return record->state != FLIGHT_ROW_DONE && age_ms >= times->error_ttl_ms;
}

static void send_outcome(struct waiter *waiter, const struct flight_record *record,
                         const struct answer *answer)
{
    enum api api;
    const struct config *config = waiter->engine->config;
    const struct config_upstream *upstream =
        api_from_route(record->route, &api) ? config->routes[api].upstream : NULL;
    const struct http_error_info *error = http_error_named(answer->error_code);
    bool final = record->state == FLIGHT_ROW_FAILED ||
                 (answer->status >= 400 && answer->status < 500 && answer->status != 429);
    const struct reply reply = {
        .answer = *answer,
        .flight_id = waiter->id_text,
        .provider = upstream ? upstream->provider : PROVIDER_OPENAI,
        .retry = final   ? HTTP_ERROR_RETRY_NO
                 : error ? error->retry
                         : HTTP_ERROR_RETRY_UNSAID,
        .retry_after_s = !final && error ? error->retry_after_s : 0,
        .vary = true,
    };
    waiter->status = answer->status;
    waiter->engine->counts.results++;
    engine_tell(waiter, record->flight, &reply);
    /* What a retry without a key could adopt is delivered now. */
    struct engine_flight *ended = map_get(&waiter->engine->by_id, record->flight.bytes);
    if (ended)
        engine_telling(waiter, ended);
}

/* What the store has, if there is room for it. */
static void send_stored(struct waiter *waiter, const struct flight_record *record)
{
    struct answer answer = record->answer;
    answer.body = engine_body_to_tell(waiter->engine, record->flight, answer.body);
    if (answer.body)
        send_outcome(waiter, record, &answer);
    else
        engine_refuse_because(waiter, HTTP_ERROR_OVERLOADED, "its memory is full");
}

/* What the store has no body of may be in memory: an answer that must not be at rest, or one
 * that the store did not take. */
static const struct answer *answer_in_memory(const struct waiter *waiter,
                                             const struct flight_record *record)
{
    const struct answer_to_keep *kept = answers_find(&waiter->engine->answers, &record->key);
    return kept && flight_id_eq(kept->flight, record->flight) ? &kept->answer : NULL;
}

/* Its process died, or its end did not reach the store and its key was released later. */
static bool is_interrupted(const struct flight_record *record)
{
    const char *code = http_error_info(HTTP_ERROR_INTERRUPTED)->code;
    return record->state == FLIGHT_ROW_RUNNING || record->state == FLIGHT_ROW_INTERRUPTED ||
           span_is(record->answer.error_code, code);
}

/* Its flight was given up by this process, and the next one says what becomes of it: an accepted
 * request goes on there. */
static void put_off(struct waiter *waiter)
{
    const bool by_token = waiter->ref.by_token;
    const struct reply_running running = {
        .flight_id = waiter->id_text,
        .status = 202,
        .token = by_token ? &waiter->ref.token : NULL,
        .edge = &waiter->edge,
    };
    bool reads = !span_is(http_request_head(waiter->request)->method, "DELETE");
    if (!reads || (by_token && waiter->ref.in_chain)) { /* which never gets 202 */
        engine_refuse(waiter, HTTP_ERROR_DRAINING, NULL);
        return;
    }
    waiter->status = running.status;
    reply_running(waiter->request, &running);
}

static void serve_ended(struct waiter *waiter, const struct flight_record *record)
{
    enum api api;
    const struct answer *kept = answer_in_memory(waiter, record);
    flight_id_text(record->flight, waiter->id_text);
    if (api_from_route(record->route, &api))
        waiter->shape = api_error_shape(api);
    bool cancels = span_is(http_request_head(waiter->request)->method, "DELETE");
    bool lost = record->state == FLIGHT_ROW_RUNNING && !kept; /* the next start may run it */
    if (lost && waiter->engine->draining)
        put_off(waiter);
    else if (cancels && !lost)
        engine_refuse(waiter, HTTP_ERROR_ALREADY_FINISHED, NULL);
    else if (kept)
        send_outcome(waiter, record, kept);
    else if (record->answer.body)
        send_stored(waiter, record);
    else if (record->corrupt)
        engine_refuse(waiter, HTTP_ERROR_STORE_CORRUPT, NULL);
    else if (is_interrupted(record))
        engine_refuse(waiter, HTTP_ERROR_INTERRUPTED, NULL);
    else
        engine_refuse(
            waiter, HTTP_ERROR_NOT_FOUND,
            "the answer of this request was not to be stored, and memory has lost it");
}

static void serve_record(struct waiter *waiter, enum rc rc, const struct flight_record *record)
{
    if (rc != OK) {
        engine_refuse(waiter, HTTP_ERROR_STORE_UNAVAILABLE, NULL);
        return;
    }
    if (record->state == FLIGHT_ROW_ABSENT || !may_see(waiter, &record->scope) ||
        is_over(waiter, record)) {
        refuse_unknown(waiter);
        return;
    }
    /* It may have been taken up after a restart, when its token was not known any more. */
    struct engine_flight *run = running_of(waiter, &record->flight);
    if (run)
        serve_running(waiter, run);
    else
        serve_ended(waiter, record);
}

static void on_record(void *context, enum rc rc, const struct flight_record *record)
{
    struct result_query *query = context;
    struct waiter *waiter = query->waiter;
    engine_read_ended(query->engine);
    free(query);
    if (!waiter)
        return;
    waiter->query = NULL;
    serve_record(waiter, rc, record);
}

static bool start_query(struct engine_read *read)
{
    struct result_query *query = CONTAINER_OF(read, struct result_query, read);
    struct waiter *waiter = query->waiter;
    struct store *store = query->engine->store;
    if (!waiter) {
        free(query);
        return false;
    }
    const struct store_result_query what = {
        .by_token = waiter->ref.by_token,
        .flight = waiter->ref.flight,
        .token = waiter->ref.digest,
        .now_ms = clock_unix_ms(),
    };
    if (store && store_result(store, &what, on_record, query) == OK)
        return true;
    free(query);
    waiter->query = NULL;
    engine_refuse(waiter, HTTP_ERROR_STORE_UNAVAILABLE, NULL);
    return false;
}

static void ask_store(struct waiter *waiter)
{
    struct result_query *query = calloc(1, sizeof *query);
    if (!query) {
        engine_refuse(waiter, HTTP_ERROR_STORE_UNAVAILABLE, NULL);
        return;
    }
    query->engine = waiter->engine;
    query->waiter = waiter;
    query->read.start = start_query;
    list_init(&query->read.link);
    waiter->query = query;
    engine_read(waiter->engine, &query->read);
}

void engine_result_end(struct waiter *waiter)
{
    if (waiter->query)
        waiter->query->waiter = NULL;
    waiter->query = NULL;
}

/* ---- requests */

/* False: this method is not served here, and that was replied. */
static bool check_method(struct waiter *waiter)
{
    struct span method = http_request_head(waiter->request)->method;
    bool reads = span_is(method, "GET") || span_is(method, "HEAD");
    if (reads || (span_is(method, "DELETE") && !waiter->ref.by_token))
        return true;
    engine_refuse_method(waiter, HTTP_ERROR_METHOD_NOT_ALLOWED,
                         waiter->ref.by_token
                             ? "a result URL takes GET; to cancel, DELETE /requests/{flight id}"
                             : "a request takes GET, for its result, and DELETE, to cancel it",
                         waiter->ref.by_token ? SPAN("GET, HEAD") : SPAN("GET, HEAD, DELETE"));
    return false;
}

void engine_result(struct waiter *waiter)
{
    const struct http_head *head = http_request_head(waiter->request);
    enum rc rc = result_url_read(head->path, head->query, &waiter->ref);
    if (rc == OK)
        rc = identify(waiter);
    if (rc == E_NOMEM) {
        engine_refuse_because(waiter, HTTP_ERROR_OVERLOADED, "out of memory");
        return;
    }
    if (rc != OK) {
        refuse_unknown(waiter);
        return;
    }
    if (!check_method(waiter))
        return;
    struct engine_flight *run = running(waiter);
    if (run)
        serve_running(waiter, run);
    else if (!waiter->ref.by_token && !waiter->has_credential)
        refuse_unknown(waiter);
    else
        ask_store(waiter);
}
