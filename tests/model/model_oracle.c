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
    model_flights_forget(world);
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

/* I1, I2: one call at a time, counted before it starts, never too many, and none that nobody
 * waits for any more. */
void oracle_call_starts(struct world *world, struct model_key *key)
{
    key->life.maybe_billed++;
    CHECK(world, key->running_calls == 1);
    CHECK(world, key->row.exists && key->row.state == KEY_RUNNING);
    CHECK(world, key->row.paid_calls >= key->life.maybe_billed);
    CHECK(world, key->life.maybe_billed <= world->config->idempotency.paid_calls_max);
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
    key->life.store_failed = false;
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

static bool body_has(const struct http_reply *reply, const char *word)
{
    struct span body = blob_span(reply->body);
    return body.p && memmem(body.p, body.n, word, strlen(word)) != NULL;
}

/* All waiters of a flight, and all replays of its answer, get the same (I3). */
static void check_flight(struct world *world, const struct http_reply *reply,
                         struct span flight)
{
    for (size_t i = 0; i < world->told_count; i++) {
        const struct told *told = &world->told[i];
        if (!span_is(flight, told->flight))
            continue;
        CHECK(world, told->status == reply->status);
        CHECK(world, same_body(told->body, reply->body));
        return;
    }
    CHECK(world, world->told_count < TOLD_MAX && flight.n < FLIGHT_ID_TEXT_BYTES);
    if (!world->told)
        world->told = calloc(TOLD_MAX, sizeof *world->told);
    CHECK(world, world->told);
    struct told *told = &world->told[world->told_count++];
    *told = (struct told){.status = reply->status, .body = blob_ref(reply->body)};
    memcpy(told->flight, flight.p, flight.n);
}

/* A waiter that was sent away while its flight goes on. */
static bool is_sent_away(const struct http_reply *reply)
{
    bool retry = span_is(header_of(reply, "x-should-retry"), "true");
    return retry && (reply->status == 504 || reply->status == 409);
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
    if (body_has(reply, "paid_calls_exhausted"))
        CHECK(world, key->life.maybe_billed + key->life.excuses >=
                         world->config->idempotency.paid_calls_max);
}

/* I5: another fingerprint gets 422, or an error that says nothing of the key. */
static void check_mismatch(struct http_request *request, const struct http_reply *reply)
{
    struct world *world = request->world;
    CHECK(world, reply->status == 422 || reply->status == 503 || is_sent_away(reply));
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
    return reply->status == 503 && (!reply->body || body_has(reply, "out of memory"));
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
    CHECK(world, world->now_ms <= request->deadline_ms + VERDICT_GRACE_MS);
    CHECK(world, flight.n > 0);
    world->last_starved = says_out_of_memory(reply);
    if (world->last_starved && world->starved)
        return;
    CHECK(world, blob_span(reply->body).n > 0 && header_of(reply, "content-type").n > 0);
    CHECK(world, reply->status != 200 || body_has(reply, request->marker));
    if (!is_sent_away(reply))
        check_flight(world, reply, flight);
    if (request->key == MODEL_KEYLESS)
        keyless_reply(request, reply);
    else
        check_keyed(request, reply);
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
    keyless_check(world);
    CHECK(world, calls <= config->limits.flights_max);
    CHECK(world, calls <= config->upstreams[0].flights_max);
}
