/* What the contract promises, judged from the outside: what the provider was asked, what is
 * durable and what clients were told. */
#include "model.h"

#include "app/reply.h"

#include <stdlib.h>
#include <string.h>

enum {
    TOLD_MAX = 4096,
    CLAIM_MS_MAX = 600000, /* from a post to its durable claim, by the store's delays */
};

/* The outcome of a flight, as its first waiter got it. */
struct told {
    char flight[FLIGHT_ID_TEXT_BYTES];
    int status;
    struct blob *body;
    bool cancelled;
};

static void life_end(struct life *life)
{
    blob_free(life->unstored);
    *life = (struct life){0};
}

void oracle_forget(struct world *world)
{
    for (size_t i = 0; i < world->told_count; i++)
        blob_free(world->told[i].body);
    free(world->told);
    free(world->calls);
    blob_free(world->unknown_body);
    model_flights_forget(world);
    model_own_keys_forget(world);
    for (size_t i = 0; i < MODEL_KEYS; i++) {
        life_end(&world->keys[i].life);
        blob_free(world->keys[i].row.body);
    }
}

static bool same_body(const struct blob *a, const struct blob *b)
{
    return span_eq(blob_span(a), blob_span(b));
}

/* ---- upstream and store */

/* I2: a call is counted before it starts, and there are never too many.  What a flight without
 * a row has called is counted when it gets one; one whose row came in a commit that failed goes
 * on without it. */
static void check_count(struct world *world, const struct model_key *key)
{
    unsigned calls_max = world->config->idempotency.paid_calls_max;
    if (key->is_own && (!key->row.exists || key->life.store_failed))
        return;
    CHECK(world, key->row.exists && key->row.state == KEY_RUNNING);
    CHECK(world, key->row.paid_calls >= key->life.maybe_billed);
    CHECK(world, key->life.maybe_billed <=
                     (calls_max > key->paid_before ? calls_max : key->paid_before));
}

/* I1: one call at a time, and none that nobody waits for any more. */
void oracle_call_starts(struct world *world, struct model_key *key)
{
    key->life.maybe_billed++;
    CHECK(world, key->running_calls == 1);
    check_count(world, key);
    CHECK(world, world->now_ms <= key->deadline_ms);
    CHECK(world, world->starved || !key->life.unstored ||
                     world->now_ms >= key->life.unstored_until_ms);
}

void oracle_call_ends(struct world *world, struct model_key *key, bool was_free)
{
    (void)world;
    key->life.maybe_billed -= was_free;
}

void oracle_claimed(struct world *world, struct model_key *key, bool fresh)
{
    CHECK(world, key->running_calls == 0);
    if (fresh)
        life_end(&key->life);
    key->life.store_failed = key->had_output = false;
}

void oracle_registered(struct world *world, struct model_key *key, bool registered)
{
    key->life.store_failed = false;
    key->paid_before = registered ? key->row.paid_calls : 0;
    CHECK(world, registered || key->running_calls == 0);
    CHECK(world, key->row.paid_calls >= key->life.maybe_billed);
    world->seen.registered += registered;
}

void oracle_store_failed(struct world *world, struct model_key *key, struct flight_id flight)
{
    (void)world;
    key->life.excuses++;
    key->life.store_failed = true;
    key->life.failed_flight = flight;
}

void oracle_not_stored(struct world *world, struct model_key *key, int status,
                       struct blob *body)
{
    const struct config_idempotency *times = &world->config->idempotency;
    if (key->life.unstored && same_body(body, key->life.unstored))
        return; /* offered to the store again: its time goes on from the first */
    body = blob_ref(body);
    oracle_not_in_memory(key);
    key->life.unstored = body;
    key->life.unstored_status = status;
    key->life.unstored_until_ms =
        world->now_ms + (status == 200 ? times->ttl_ms : times->error_ttl_ms);
}

void oracle_not_in_memory(struct model_key *key)
{
    blob_free(key->life.unstored);
    key->life.unstored = NULL;
}

/* ---- replies */

static struct span header_of(const struct http_reply *reply, const char *name)
{
    return header_get(&reply->headers, name);
}

bool oracle_body_has(const struct http_reply *reply, const char *word)
{
    struct span body = blob_span(reply->body);
    return body.p && memmem(body.p, body.n, word, strlen(word)) != NULL;
}

static struct told *told_of(struct world *world, struct span flight)
{
    for (size_t i = 0; i < world->told_count; i++)
        if (span_is(flight, world->told[i].flight))
            return &world->told[i];
    return NULL;
}

static struct told *told_new(struct world *world, struct span flight)
{
    CHECK(world, world->told_count < TOLD_MAX && flight.n < FLIGHT_ID_TEXT_BYTES);
    if (!world->told)
        world->told = calloc(TOLD_MAX, sizeof *world->told);
    CHECK(world, world->told);
    struct told *told = &world->told[world->told_count++];
    *told = (struct told){.status = 0};
    memcpy(told->flight, flight.p, flight.n);
    return told;
}

void oracle_told(struct world *world, const struct http_reply *reply, struct span flight)
{
    struct told *told = told_of(world, flight);
    if (!told) {
        told = told_new(world, flight);
        told->status = reply->status;
    }
    if (!told->body)
        told->body = blob_ref(reply->body);
    CHECK(world, told->status == reply->status);
    CHECK(world, same_body(told->body, reply->body));
    CHECK(world, !told->cancelled || oracle_body_has(reply, "cancelled"));
}

bool oracle_was_told(struct world *world, const char *flight)
{
    return told_of(world, span_of(flight)) != NULL;
}

void oracle_driven_again(struct world *world, struct model_key *key)
{
    char flight[FLIGHT_ID_TEXT_BYTES];
    struct life *life = &key->life;
    flight_id_text(key->row.flight, flight);
    struct told *told = told_of(world, span_of(flight));
    bool failed = life->store_failed &&
                  memcmp(&life->failed_flight, &key->row.flight, sizeof key->row.flight) == 0;
    life->store_failed = false;
    if (!told)
        return;
    CHECK(world, failed && !told->cancelled);
    blob_free(told->body);
    *told = world->told[--world->told_count];
}

void oracle_told_cancelled(struct world *world, const char *flight)
{
    struct told *told = told_of(world, span_of(flight));
    if (!told) {
        told = told_new(world, span_of(flight));
        told->status = 409;
    }
    told->cancelled = true;
    CHECK(world, told->status == 409);
}

bool oracle_is_sent_away(const struct world *world, const struct http_reply *reply)
{
    char flight[FLIGHT_ID_TEXT_BYTES] = "";
    bool retry = span_is(header_of(reply, "x-should-retry"), "true");
    struct span id = header_of(reply, "unstream-request-id");
    if (!retry)
        return false;
    if (reply->status == 504 || reply->status == 409 ||
        oracle_body_has(reply, "generation_in_progress") ||
        oracle_body_has(reply,
                        "send it again a little later (no flight slot became free in time)"))
        return true;
    if (!oracle_body_has(reply, "draining") || id.n >= sizeof flight)
        return false;
    /* An accepted one goes on in the next process. */
    int64_t forget_ms;
    memcpy(flight, id.p, id.n);
    const struct flight_record *row = model_flight_row(world, flight, &forget_ms);
    return row && row->state == FLIGHT_ROW_RUNNING;
}

static bool is_of(const struct http_reply *reply, struct flight_id id)
{
    char text[FLIGHT_ID_TEXT_BYTES];
    flight_id_text(id, text);
    return span_is(header_of(reply, "unstream-request-id"), text);
}

/* I4: what is told is durable. */
static void check_executed(struct world *world, struct model_key *key,
                           const struct http_reply *reply)
{
    const struct row *row = &key->row;
    if (key->life.store_failed && is_of(reply, key->life.failed_flight)) {
        CHECK(world, reply->status != 200); /* that is executed-unstored */
        return;
    }
    CHECK(world, row->exists && is_of(reply, row->flight));
    if (oracle_is_sent_away(world, reply))
        return;
    CHECK(world, row->state != KEY_RUNNING);
    bool in_memory = key - world->keys == world->memory_key && row->state == KEY_RELEASED;
    CHECK(world, reply->status != 200 || row->state == KEY_DONE || in_memory);
    if (reply->status == 200 && in_memory)
        oracle_not_stored(world, key, reply->status, reply->body);
    if (row->state == KEY_RELEASED)
        return;
    CHECK(world, reply->status == row->status);
    CHECK(world, same_body(reply->body, row->body));
}

/* Without a waiter nobody has seen it yet: what is told first of an answer that must not be at
 * rest is what is told from then on. */
static void note_in_memory(struct world *world, struct model_key *key,
                           const struct http_reply *reply)
{
    if (key - world->keys == world->memory_key && !key->life.unstored)
        oracle_not_stored(world, key, reply->status, reply->body);
}

static void check_replayed(struct world *world, struct model_key *key,
                           const struct http_reply *reply)
{
    const struct row *row = &key->row;
    bool durable = row->exists && (row->state == KEY_DONE || row->state == KEY_FAILED) &&
                   reply->status == row->status && same_body(reply->body, row->body);
    if (!durable)
        note_in_memory(world, key, reply);
    bool from_memory = key->life.unstored && reply->status == key->life.unstored_status &&
                       same_body(reply->body, key->life.unstored);
    CHECK(world, durable || from_memory);
    CHECK(world, span_is(header_of(reply, "idempotent-replayed"), "true"));
}

static void check_unstored(struct world *world, struct model_key *key,
                           const struct http_reply *reply)
{
    bool lost = key->life.store_failed && is_of(reply, key->life.failed_flight);
    bool in_memory = key - world->keys == world->memory_key;
    CHECK(world, lost || in_memory);
    note_in_memory(world, key, reply);
    CHECK(world, key->life.unstored && reply->status == key->life.unstored_status);
    CHECK(world, same_body(reply->body, key->life.unstored));
}

/* Has, or had a moment ago, somebody else's request this key?  Before its claim is durable that
 * shows nowhere outside of the engine. */
static bool has_rival(const struct http_request *request)
{
    struct world *world = request->world;
    const struct model_key *key = &world->keys[request->key];
    if (key->row.exists && !digest_eq(&key->row.fingerprint, &request->fingerprint))
        return true;
    for (unsigned variant = 0; variant < MODEL_VARIANTS; variant++)
        if (variant != request->variant && key->asked_ms[variant] >= 0 &&
            world->now_ms - key->asked_ms[variant] <= CLAIM_MS_MAX)
            return true;
    return false;
}

/* Without a word of its own a reply is an error: nothing ran for it. */
static void check_refusal(struct http_request *request, const struct http_reply *reply)
{
    struct world *world = request->world;
    const struct model_key *key = &world->keys[request->key];
    CHECK(world, reply->status >= 400);
    if (reply->status == 422)
        CHECK(world, has_rival(request));
    if (oracle_body_has(reply, "paid_calls_exhausted"))
        CHECK(world, key->life.maybe_billed + key->life.excuses >=
                         world->config->idempotency.paid_calls_max);
}

/* I5: another fingerprint gets 422, or an error that says nothing of the key. */
static void check_mismatch(struct http_request *request, const struct http_reply *reply)
{
    struct world *world = request->world;
    CHECK(world,
          reply->status == 422 || reply->status == 503 || oracle_is_sent_away(world, reply));
    CHECK(world, !header_of(reply, "idempotency-status").p);
    world->seen.mismatches += reply->status == 422;
}

static void check_keyed(struct http_request *request, const struct http_reply *reply)
{
    struct world *world = request->world;
    struct model_key *key = &world->keys[request->key];
    struct span word = header_of(reply, "idempotency-status");
    bool same = digest_eq(&key->row.fingerprint, &request->fingerprint);
    bool live = row_state(&key->row, world_unix_ms(world)) != KEY_ABSENT;
    if (live && !same && key->changes == request->changes_at_start) {
        check_mismatch(request, reply);
        return;
    }
    CHECK(world, !word.p || same);
    if (span_is(word, "executed") || span_is(word, "joined"))
        check_executed(world, key, reply);
    else if (span_is(word, "replayed"))
        check_replayed(world, key, reply);
    else if (span_is(word, "executed-unstored"))
        check_unstored(world, key, reply);
    else
        check_refusal(request, reply);
    world->seen.replays += span_is(word, "replayed");
    world->seen.joins += span_is(word, "joined");
    world->seen.unstored += span_is(word, "executed-unstored");
}

/* Nothing more is said then, and there may be no memory to say that. */
static bool says_out_of_memory(const struct http_reply *reply)
{
    return reply->status == 503 && (!reply->body || oracle_body_has(reply, "out of memory"));
}

static void check_post(struct http_request *request, const struct http_reply *reply)
{
    struct world *world = request->world;
    struct span flight = header_of(reply, "unstream-request-id");
    if (reply->status == 202 || reply->status == 303) {
        edges_url(request, reply);
        return;
    }
    CHECK(world, reply->status != 200 || oracle_body_has(reply, request->marker));
    if (oracle_is_sent_away(world, reply)) {
        world->seen.conflicts += oracle_body_has(reply, "generation_in_progress");
        (void)edges_known(request, flight, "");
    } else {
        oracle_told(world, reply, flight);
    }
    if (request->key == MODEL_KEYLESS)
        keyless_reply(request, reply);
    else
        check_keyed(request, reply);
}

void oracle_reply(struct http_request *request, const struct http_reply *reply)
{
    struct world *world = request->world;
    struct span flight = header_of(reply, "unstream-request-id");
    struct span word = header_of(reply, "idempotency-status");
    world_trace(world, "reply #%u %s: %d %.*s %.*s %.*s", request->serial, request->marker,
                reply->status, SPAN_ARG(word), SPAN_ARG(flight),
                SPAN_ARG(blob_span(reply->body)));
    world->seen.replies++;
    world->last_status = reply->status;
    edges_attends(request);
    CHECK(world, world->now_ms <= request->deadline_ms + VERDICT_GRACE_MS);
    world->last_starved = says_out_of_memory(reply);
    if (world->last_starved && world->starved) {
        if (request->asks_for) /* a URL was to be told, perhaps: its flight may go on */
            request->asks_for->attended_ms = INT64_MAX;
        return;
    }
    CHECK(world, flight.n > 0);
    CHECK(world, reply->status == 204 ||
                     (blob_span(reply->body).n > 0 && header_of(reply, "content-type").n > 0));
    if (request->method == MODEL_POST)
        check_post(request, reply);
    else
        edges_result(request, reply);
}

/* ---- at any time */

static void check_key(struct world *world, const struct model_key *key)
{
    unsigned paid_calls_max = world->config->idempotency.paid_calls_max;
    CHECK(world, key->running_calls <= 1);
    CHECK(world, key->life.maybe_billed <= paid_calls_max);
    if (!key->row.exists)
        return;
    CHECK(world, key->row.paid_calls >= key->life.maybe_billed);
    CHECK(world, key->row.paid_calls <= paid_calls_max);
    CHECK(world, key->running_calls == 0 || key->row.state == KEY_RUNNING);
}

/* Whether another request before this one is told the same bytes, which then are in memory once:
 * each generation is another. */
static bool is_told_again(const struct http_request *request)
{
    struct world *world = request->world;
    for (struct list *link = world->requests.next; link != &request->link; link = link->next) {
        const struct http_request *other = CONTAINER_OF(link, struct http_request, link);
        if (other->status != 200 || !same_body(other->body, request->body))
            continue;
        CHECK(world, other->body == request->body || world->starved);
        return true;
    }
    return false;
}

/* Answers count until they are delivered, and when nothing is left nothing counts. */
static void check_memory(struct world *world)
{
    struct engine_state state = engine_state(world->engine);
    size_t answers = 0, replies = 0;
    bool is_cut = false; /* a reply: its flight keeps the answer until the request is over */
    for (struct list *link = world->requests.next; link != &world->requests;
         link = link->next) {
        const struct http_request *request = CONTAINER_OF(link, struct http_request, link);
        size_t bytes = blob_span(request->body).n;
        replies += bytes;
        is_cut |= request->cut;
        if (request->status == 200 && bytes > 0 && !is_told_again(request))
            answers += bytes;
    }
    CHECK(world, state.memory_bytes >= answers);
    bool is_idle = state.flights_running == 0 && state.answers_in_memory == 0 &&
                   state.orphans == 0 && !is_cut;
    if (is_idle)
        CHECK(world, state.memory_bytes <= replies);
}

void oracle_check(struct world *world)
{
    const struct config *config = world->config;
    unsigned waiters[MODEL_KEYS] = {0}, calls = model_upstream_calls(world);
    const struct list *end = &world->requests;
    for (size_t i = 0; i < MODEL_KEYS; i++)
        check_key(world, &world->keys[i]);
    for (struct list *link = end->next; link != end; link = link->next) {
        const struct http_request *request = CONTAINER_OF(link, struct http_request, link);
        if (request->replied || request->broken)
            continue;
        CHECK(world, world->now_ms <= request->deadline_ms + VERDICT_GRACE_MS);
        if (request->key != MODEL_KEYLESS && !request->left)
            CHECK(world, ++waiters[request->key] <= config->idempotency.waiters_max);
    }
    edges_check(world);
    keyless_check(world);
    if (!world->dead)
        check_memory(world);
    CHECK(world, calls <= config->limits.flights_max + world->taken_up);
    CHECK(world, calls <= config->upstreams[0].flights_max + world->taken_up);
}
