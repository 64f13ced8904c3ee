/* What ends a hold, and what result URLs tell: judged by who may see what, by what the store
 * holds at the moment of the reply, and by what others were told of the same flight. */
#include "model.h"

#include <stdlib.h>
#include <string.h>

enum {
    HOLD_SLACK_MS = 120000, /* the store's queue, where it is quick */
    ATTENDANCE_SLACK_MS = 1000,
};

static struct span header_of(const struct http_reply *reply, const char *name)
{
    return header_get(&reply->headers, name);
}

static bool has(const struct http_reply *reply, const char *code)
{
    return oracle_body_has(reply, code);
}

/* ---- what clients know */

static void copy_flight(struct world *world, struct span flight, char ret[FLIGHT_ID_TEXT_BYTES])
{
    CHECK(world, flight.n == FLIGHT_ID_TEXT_BYTES - 1);
    memcpy(ret, flight.p, flight.n);
    ret[flight.n] = '\0';
}

const struct known *edges_known(struct http_request *request, struct span flight,
                                const char *token)
{
    struct world *world = request->world;
    struct known *known = NULL;
    for (size_t i = 0; i < world->known_count; i++)
        if (span_is(flight, world->known[i].flight) &&
            (!known || strcmp(world->known[i].token, token) == 0))
            known = &world->known[i];
    if (known && (!token[0] || strcmp(known->token, token) == 0))
        return known;
    CHECK(world, world->known_count < MODEL_KNOWN);
    known = &world->known[world->known_count++];
    *known = (struct known){.scope = request->scope,
                            .session = request->session,
                            .counted = request->counted,
                            .accepted = token[0] && request->method == MODEL_POST &&
                                        request->plan == PLAN_ACCEPT,
                            .key = request->asks_for};
    copy_flight(world, flight, known->flight);
    memcpy(known->marker, request->marker, sizeof known->marker);
    memcpy(known->token, token, strlen(token) + 1);
    return known;
}

/* ---- 202 and 303 */

/* A token is told only when it is durable.  The flight may just have ended in the store. */
static void check_location(struct http_request *request, const struct http_reply *reply,
                           unsigned hop)
{
    struct world *world = request->world;
    char flight[FLIGHT_ID_TEXT_BYTES];
    struct result_token token = {.text = ""};
    struct span location = header_of(reply, "location");
    copy_flight(world, header_of(reply, "unstream-request-id"), flight);
    CHECK(world, span_starts(location, "/requests/"));
    struct span name = span_from(location, strlen("/requests/"));
    struct span query = name;
    name = span_cut(&query, '?');
    CHECK(world, name.n == sizeof token.text - 1);
    memcpy(token.text, name.p, name.n);
    uint64_t n = 0;
    CHECK(world, hop == 0 ? !query.p : query.n > 2 && span_to_u64(span_from(query, 2), &n));
    CHECK(world, n == hop);
    CHECK(world, model_flight_opens(world, flight, token.text));
    (void)edges_known(request, span_of(flight), token.text);
}

static void hand_out(struct http_request *request)
{
    if (request->asks_for)
        request->asks_for->handed_out = true;
}

static void check_accepted(struct http_request *request, const struct http_reply *reply)
{
    struct world *world = request->world;
    char flight[FLIGHT_ID_TEXT_BYTES];
    copy_flight(world, header_of(reply, "unstream-request-id"), flight);
    CHECK(world, request->prefers_async && request->plan == PLAN_ACCEPT);
    CHECK(world, world->starved ||
                     span_starts(header_of(reply, "preference-applied"), "respond-async"));
    CHECK(world, model_flight_was_accepted(world, flight));
    world->seen.accepted++;
}

void edges_url(struct http_request *request, const struct http_reply *reply)
{
    struct world *world = request->world;
    bool drains = world->draining; /* then nobody is held any longer */
    CHECK(world, drains || world->now_ms >= request->start_ms + request->hold_ms);
    CHECK(world, !header_of(reply, "idempotency-status").p);
    CHECK(world, has(reply, "\"status\":\"running\"") && !has(reply, "elapsed_s\":-"));
    if (reply->status == 202) {
        CHECK(world, header_of(reply, "retry-after").n > 0);
        if (request->method == MODEL_POST)
            check_accepted(request, reply);
        if (request->method == MODEL_POST || header_of(reply, "location").p)
            check_location(request, reply, 0);
        if (header_of(reply, "location").p)
            hand_out(request);
        return;
    }
    CHECK(world, request->plan == PLAN_REDIRECT);
    CHECK(world, request->hop < world->config->routes[API_CHAT].hops_max);
    check_location(request, reply, request->hop + 1);
    hand_out(request);
    world->seen.redirects++;
}

/* ---- outcomes */

/* What is told of a flight is in the store, or in memory because the store did not take it or
 * was not to have it. */
static void check_safe(struct http_request *request, const struct http_reply *reply,
                       const char *flight)
{
    struct world *world = request->world;
    int64_t forget_ms;
    const struct flight_record *row = model_flight_row(world, flight, &forget_ms);
    if (!row)
        return;
    struct model_key *key = model_key_of(world, &row->key);
    bool same = row->answer.body && reply->status == row->answer.status &&
                span_eq(blob_span(reply->body), blob_span(row->answer.body));
    bool failed = key->life.store_failed &&
                  memcmp(&key->life.failed_flight, &row->flight, sizeof row->flight) == 0;
    bool not_at_rest = key - world->keys == world->memory_key;
    CHECK(world, not_at_rest || failed || (row->state != FLIGHT_ROW_RUNNING && same));
}

/* As a caller of this result sees the row at this time. */
static bool is_over(const struct http_request *request, const struct flight_record *row,
                    int64_t forget_ms, int64_t unix_ms)
{
    const struct config_idempotency *times = &request->world->config->idempotency;
    int64_t age_ms = unix_ms - row->ended_ms;
    if (row->state == FLIGHT_ROW_RUNNING)
        return false;
    return forget_ms <= unix_ms || (request->by_token && age_ms >= times->result_url_ttl_ms) ||
           (row->state != FLIGHT_ROW_DONE && age_ms >= times->error_ttl_ms);
}

/* When it was asked for, and the engine knew. */
static bool was_over(const struct http_request *request)
{
    const struct world *world = request->world;
    int64_t forget_ms, age_ms = world->now_ms - request->start_ms;
    const struct flight_record *row =
        model_flight_row(world, request->target.flight, &forget_ms);
    return row && world->jumps == request->jumps_at_start && request->was_told &&
           is_over(request, row, forget_ms, world_unix_ms(world) - age_ms);
}

/* A flight that was looked at before it found the answer of an earlier one repeats that. */
static void check_outcome(struct http_request *request, const struct http_reply *reply)
{
    struct world *world = request->world;
    char flight[FLIGHT_ID_TEXT_BYTES];
    copy_flight(world, header_of(reply, "unstream-request-id"), flight);
    CHECK(world, strcmp(flight, request->target.flight) == 0 ||
                     span_is(header_of(reply, "idempotency-status"), "replayed"));
    CHECK(world, !was_over(request));
    oracle_told(world, reply, span_of(flight));
    check_safe(request, reply, flight);
    world->seen.results++;
    if (reply->status != 200)
        return;
    CHECK(world, has(reply, request->marker));
    if (!request->asks_for || request->asks_for->is_own)
        keyless_answered(request, reply->body);
}

/* ---- GET and DELETE */

static bool may_see(const struct http_request *request)
{
    return request->by_token ? request->shows != SHOWS_OTHER : request->shows == SHOWS_OWN;
}

/* Who may not see it learns nothing: the same as for what does not exist. */
static void check_denied(struct http_request *request, const struct http_reply *reply)
{
    struct world *world = request->world;
    CHECK(world, reply->status == 404 || has(reply, "store_unavailable"));
    CHECK(world, !span_is(header_of(reply, "unstream-request-id"), request->target.flight));
    CHECK(world, !header_of(reply, "location").p);
    world->seen.denied++;
    if (reply->status != 404)
        return;
    if (!world->unknown_body)
        world->unknown_body = blob_ref(reply->body);
    CHECK(world, span_eq(blob_span(world->unknown_body), blob_span(reply->body)));
}

static void check_unknown(struct http_request *request)
{
    struct world *world = request->world;
    int64_t forget_ms;
    const struct flight_record *row =
        model_flight_row(world, request->target.flight, &forget_ms);
    if (world->starved || world->jumps != request->jumps_at_start)
        return;
    CHECK(world, row || !request->by_token);
    if (!row)
        return;
    bool has_body = row->answer.body != NULL;
    CHECK(world, row->state != FLIGHT_ROW_RUNNING);
    bool not_at_rest =
        model_key_of(world, &row->key) - world->keys == world->memory_key && !has_body;
    CHECK(world, not_at_rest || is_over(request, row, forget_ms, world_unix_ms(world)));
}

/* The row that a GET must be told, as its outcome was told before; NULL: perhaps none. */
static const struct flight_record *expected(const struct http_request *request)
{
    struct world *world = request->world;
    int64_t forget_ms;
    const struct flight_record *row =
        model_flight_row(world, request->target.flight, &forget_ms);
    bool was_there = row && row->state != FLIGHT_ROW_RUNNING && row->answer.body &&
                     request->was_told &&
                     !is_over(request, row, forget_ms, world_unix_ms(world));
    return was_there && world->jumps == request->jumps_at_start ? row : NULL;
}

/* The store did not take its answer, which is in memory for a while. */
static bool is_in_memory(const struct http_request *request)
{
    struct world *world = request->world;
    int64_t forget_ms;
    const struct flight_record *row =
        model_flight_row(world, request->target.flight, &forget_ms);
    const struct life *life = row ? &model_key_of(world, &row->key)->life : NULL;
    return life && life->unstored && !world->starved &&
           world->now_ms < life->unstored_until_ms && row->state == FLIGHT_ROW_RUNNING &&
           memcmp(&life->failed_flight, &row->flight, sizeof row->flight) == 0;
}

/* An accepted request that this process runs to its end, or the next one. */
static bool outlives_drain(const struct http_request *request)
{
    struct world *world = request->world;
    int64_t forget_ms;
    const struct flight_record *row =
        model_flight_row(world, request->target.flight, &forget_ms);
    return world->draining && row && row->state == FLIGHT_ROW_RUNNING &&
           model_flight_was_accepted(world, request->target.flight);
}

static bool is_of_no_flight(const struct http_request *request, const struct http_reply *reply)
{
    if (has(reply, "\"store_unavailable\""))
        return request->world->troubles > 0 || request->world->starved;
    return has(reply, "\"interrupted\"") || has(reply, "\"already_finished\"") ||
           (has(reply, "\"overloaded\"") && request->world->starved);
}

static void check_cancel(struct http_request *request, const struct http_reply *reply)
{
    struct world *world = request->world;
    int64_t forget_ms;
    const struct flight_record *row =
        model_flight_row(world, request->target.flight, &forget_ms);
    struct model_key *key = row ? model_key_of(world, &row->key) : NULL;
    bool runs = row && row->state == FLIGHT_ROW_RUNNING;
    if (reply->status == 204) {
        CHECK(world, span_is(header_of(reply, "unstream-request-id"), request->target.flight));
        oracle_told_cancelled(world, request->target.flight);
        CHECK(world, !runs && (!row || span_is(row->answer.error_code, "cancelled")));
        CHECK(world, !key || !key->row.exists || key->row.state != KEY_RUNNING ||
                         memcmp(&key->row.flight, &row->flight, sizeof row->flight) != 0);
        world->seen.cancelled++;
    } else if (has(reply, "already_finished")) {
        CHECK(world, reply->status == 409);
        CHECK(world, !runs || world->starved ||
                         (key && key->life.store_failed)); /* then it ended in memory */
    } else {
        CHECK(world, oracle_is_sent_away(world, reply) || is_of_no_flight(request, reply) ||
                         has(reply, "\"draining\""));
    }
}

static void check_get(struct http_request *request, const struct http_reply *reply)
{
    struct world *world = request->world;
    const struct flight_record *row = expected(request);
    bool same = row && reply->status == row->answer.status &&
                span_eq(blob_span(reply->body), blob_span(row->answer.body));
    CHECK(world, !row || same || world->troubles > 0 || world->starved);
    CHECK(world, !is_in_memory(request) || !has(reply, "\"interrupted\""));
    CHECK(world, !outlives_drain(request) || !has(reply, "\"interrupted\""));
    if (reply->status == 202 || reply->status == 303)
        edges_url(request, reply);
    else if (same || !(oracle_is_sent_away(world, reply) || is_of_no_flight(request, reply)))
        check_outcome(request, reply);
}

void edges_result(struct http_request *request, const struct http_reply *reply)
{
    struct world *world = request->world;
    if (request->method == MODEL_DELETE && request->by_token)
        CHECK(world, reply->status == 405);
    else if (!may_see(request))
        check_denied(request, reply);
    else if (reply->status == 404)
        check_unknown(request);
    else if (request->method == MODEL_DELETE)
        check_cancel(request, reply);
    else
        check_get(request, reply);
}

/* ---- heartbeats */

static bool may_begin(const struct http_request *request)
{
    const struct world *world = request->world;
    const struct config_route *route = &world->config->routes[API_CHAT];
    int64_t held_ms = world->now_ms - request->start_ms;
    bool output = !request->asks_for || request->asks_for->had_output;
    return held_ms >= request->hold_ms || (output && held_ms >= route->heartbeat_after_ms);
}

void edges_begin(struct http_request *request, const struct http_reply *head, size_t body_bytes)
{
    struct world *world = request->world;
    int64_t forget_ms;
    struct span flight = header_of(head, "unstream-request-id");
    CHECK(world, request->method == MODEL_POST && request->plan == PLAN_HEARTBEAT);
    CHECK(world, head->status == 200 && body_bytes >= 16 << 10);
    CHECK(world, !header_of(head, "idempotency-status").p && !header_of(head, "location").p);
    CHECK(world, may_begin(request));
    copy_flight(world, flight, request->begun_flight);
    CHECK(world, model_flight_row(world, request->begun_flight, &forget_ms));
    (void)edges_known(request, flight, "");
    hand_out(request);
    world_trace(world, "#%u %s begins, %s", request->serial, request->marker,
                request->begun_flight);
    world->seen.heartbeats++;
}

void edges_finish(struct http_request *request, struct blob *body)
{
    struct world *world = request->world;
    struct header id = {SPAN("unstream-request-id"), span_of(request->begun_flight)};
    struct http_reply reply = {.status = 200, .headers = {&id, 1}, .body = body};
    world_trace(world, "#%u %s %s %.*s", request->serial, request->marker,
                body ? "is finished" : "is cut", SPAN_ARG(blob_span(body)));
    world->seen.replies++;
    world->last_starved = false;
    world->last_status = request->status = body ? 200 : 0;
    CHECK(world, world->now_ms <= request->deadline_ms + VERDICT_GRACE_MS);
    edges_attends(request);
    if (!body)
        return;
    CHECK(world, has(&reply, request->marker));
    oracle_told(world, &reply, span_of(request->begun_flight));
    check_safe(request, &reply, request->begun_flight);
    if (request->key == MODEL_KEYLESS)
        keyless_answered(request, body);
}

/* ---- at any time */

static void check_hold(const struct http_request *request)
{
    struct world *world = request->world;
    int64_t slack_ms = request->plan == PLAN_CONFLICT ? 0 : HOLD_SLACK_MS;
    bool quick = request->plan == PLAN_CONFLICT || (world->troubles == 0 && !world->slow_store);
    if (request->plan == PLAN_WAIT || !quick || world->starved || request->began)
        return;
    CHECK(world, world->now_ms <= request->start_ms + request->hold_ms + slack_ms);
}

void edges_attends(const struct http_request *request)
{
    keyless_attends(request);
    if (request->asks_for && request->asks_for->attended_ms < request->world->now_ms)
        request->asks_for->attended_ms = request->world->now_ms;
}

static void check_attendance(struct world *world, const struct model_key *key)
{
    bool goes_on = world->config->routes[API_CHAT].on_disconnect == ON_DISCONNECT_CONTINUE;
    CHECK(world, goes_on || key->running_calls == 0 || key->handed_out ||
                     world->now_ms - ATTENDANCE_SLACK_MS <= key->attended_ms);
}

void edges_check(struct world *world)
{
    const struct list *end = &world->requests;
    for (struct list *link = end->next; link != end; link = link->next) {
        const struct http_request *request = CONTAINER_OF(link, struct http_request, link);
        if (request->replied || request->broken)
            continue;
        check_hold(request);
        if (!request->left)
            edges_attends(request);
    }
    for (size_t i = 0; i < world->own_key_count; i++)
        if (world->own_keys[i]->running_calls > 0)
            check_attendance(world, world->own_keys[i]);
}
