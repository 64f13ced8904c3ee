/* What clients do: they post, ask for results, leave, and come back when they are told to. */
#include "model.h"

#include "core/canonical.h"
#include "core/fingerprint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TRIES_MAX = 2 };

static const char *const credentials[MODEL_SCOPES] = {"Bearer secret", "Bearer other"};

/* ---- posts */

static void find_fingerprint(struct http_request *request)
{
    BUF(canonical, sizeof request->body_text);
    struct json_refusal refusal;
    enum rc rc = canonical_json(span_of(request->body_text), NULL, &canonical, &refusal);
    if (rc == OK)
        rc = fingerprint_of(&request->head, API_CHAT, buf_span(&canonical), &request->arena,
                            &request->fingerprint);
    CHECK(request->world, rc == OK);
}

/* A short deadline of its own, now and then. */
static void choose_deadline(struct http_request *request)
{
    struct world *world = request->world;
    int64_t wait_ms = world->config->limits.deadline_ms;
    if (!world->calm && dice_chance(&world->dice, 25)) {
        unsigned seconds = 1 + dice_pick(&world->dice, 20);
        (void)snprintf(request->deadline_text, sizeof request->deadline_text, "%u", seconds);
        model_add_header(request, "unstream-deadline", request->deadline_text);
        wait_ms = seconds * INT64_C(1000);
    }
    request->deadline_ms = world->now_ms + wait_ms;
    if (request->asks_for && request->asks_for->deadline_ms < request->deadline_ms)
        request->asks_for->deadline_ms = request->deadline_ms;
}

/* Who posts without a key: somebody with a request of its own, or one of a few SDKs whose
 * requests are all equal, some of them retries. */
static void choose_session(struct http_request *request)
{
    struct world *world = request->world;
    struct dice *dice = &world->dice;
    request->counted = !request->world->calm && dice_chance(dice, 60);
    if (request->counted) {
        request->session = dice_pick(dice, MODEL_SESSIONS);
        request->scope = dice_chance(dice, 80) ? 0 : 1;
        request->retry_count = dice_chance(dice, 50) ? 0 : 1 + dice_pick(dice, 2);
    }
    if (world->sdk_retry_count >= 0) {
        request->counted = true;
        request->session = request->scope = 0;
        request->retry_count = (unsigned)world->sdk_retry_count;
    }
}

static void name_session(struct http_request *request)
{
    if (request->counted)
        (void)snprintf(request->retry_text, sizeof request->retry_text, "%u",
                       request->retry_count);
    keyless_name(request, request->marker);
    if (!request->counted)
        request->asks_for = model_own_key_new(request->world, request->marker);
}

static void choose_preferences(struct http_request *request)
{
    struct world *world = request->world;
    request->comes_back = !world->calm && dice_chance(&world->dice, 80);
    if (world->calm)
        return;
    request->prefers_async = dice_chance(&world->dice, 20);
    if (dice_chance(&world->dice, 10))
        request->prefers_wait_s = (int)dice_pick(&world->dice, 30);
}

static void write_preferences(struct http_request *request)
{
    char wait[MODEL_TEXT_BYTES] = "";
    if (request->prefers_wait_s >= 0)
        (void)snprintf(wait, sizeof wait, "wait=%d", request->prefers_wait_s);
    (void)snprintf(request->prefer_text, sizeof request->prefer_text, "%s%s%s",
                   request->prefers_async ? "respond-async" : "",
                   request->prefers_async && wait[0] ? ", " : "", wait);
    if (request->prefer_text[0])
        model_add_header(request, "prefer", request->prefer_text);
}

/* The rules of core/edge.h, for what the model's clients send. */
static void find_plan(struct http_request *request)
{
    const struct world *world = request->world;
    const struct config_route *route = &world->config->routes[API_CHAT];
    bool keyed = request->key != MODEL_KEYLESS;
    bool in_memory = keyed && request->key == world->memory_key;
    bool finds = keyed || (request->counted && route->adopt == ADOPT_SDK &&
                           route->on_disconnect != ON_DISCONNECT_CANCEL);
    static const enum model_plan plans[] = {[EDGE_WAIT] = PLAN_WAIT,
                                            [EDGE_CONFLICT] = PLAN_CONFLICT,
                                            [EDGE_REDIRECT] = PLAN_REDIRECT,
                                            [EDGE_HEARTBEAT] = PLAN_HEARTBEAT};
    int64_t wait_ms = request->prefers_wait_s * INT64_C(1000);
    request->plan = plans[route->edge];
    request->hold_ms = route->hold_ms;
    if (request->plan == PLAN_CONFLICT && !finds)
        request->plan = PLAN_WAIT;
    if (wait_ms >= 0 && finds && (request->plan == PLAN_WAIT || wait_ms < request->hold_ms)) {
        request->plan = PLAN_CONFLICT;
        request->hold_ms = wait_ms;
    }
    if (request->prefers_async && world->config->upstreams[0].api_key.p && !in_memory) {
        request->plan = PLAN_ACCEPT;
        request->hold_ms = wait_ms > 0 ? wait_ms : 0;
    }
}

static void add_headers(struct http_request *request)
{
    struct world *world = request->world;
    (void)snprintf(request->agent_text, sizeof request->agent_text, "scope-%u", request->scope);
    model_add_header(request, "content-type", "application/json");
    model_add_header(request, "authorization", credentials[request->scope]);
    model_add_header(request, "user-agent", request->agent_text);
    if (request->counted)
        model_add_header(request, "x-stainless-retry-count", request->retry_text);
    if (request->key == MODEL_KEYLESS)
        return;
    (void)snprintf(request->key_text, sizeof request->key_text, "%s", request->asks_for->text);
    model_add_header(request, "idempotency-key", request->key_text);
    if (request->key == world->memory_key)
        model_add_header(request, "cache-control", "no-store");
}

static void send_post(struct http_request *request)
{
    struct world *world = request->world;
    struct model_key *key = request->asks_for;
    if (request->key != MODEL_KEYLESS) {
        (void)snprintf(request->marker, sizeof request->marker, "<k%dv%u>", request->key,
                       request->variant);
        key->asked_ms[request->variant] = world->now_ms;
        request->changes_at_start = key->changes;
    }
    (void)snprintf(request->body_text, sizeof request->body_text,
                   "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]}",
                   request->marker);
    if (world->relays)
        request->head.path = SPAN("/v1/embeddings");
    add_headers(request);
    write_preferences(request);
    find_plan(request);
    choose_deadline(request);
    find_fingerprint(request);
    if (key && key->is_own) {
        key->fingerprint = request->fingerprint;
        key->scope = request->scope;
    }
    world_trace(world, "post #%u %s %s, deadline in %lld ms", request->serial, request->marker,
                request->prefer_text, (long long)(request->deadline_ms - world->now_ms));
    model_request_send(request);
}

void model_post(struct world *world, int key, unsigned variant)
{
    struct http_request *request = model_request_new(world, MODEL_POST);
    request->key = key;
    request->variant = variant;
    if (key == MODEL_KEYLESS) {
        choose_session(request);
        name_session(request);
    } else {
        request->asks_for = &world->keys[key];
    }
    choose_preferences(request);
    if (world->prefer_async)
        request->prefers_async = true;
    send_post(request);
}

/* ---- results */

static void write_url(struct http_request *request)
{
    const struct known *target = &request->target;
    (void)snprintf(request->path_text, sizeof request->path_text, "/requests/%s",
                   request->by_token ? target->token : target->flight);
    request->head.path = span_of(request->path_text);
    if (request->hop == 0)
        return;
    (void)snprintf(request->query_text, sizeof request->query_text, "n=%u", request->hop);
    request->head.query = span_of(request->query_text);
}

static void write_credential(struct http_request *request)
{
    unsigned scope = request->target.scope;
    if (request->shows == SHOWS_NONE)
        return;
    model_add_header(request, "authorization",
                     credentials[request->shows == SHOWS_OWN ? scope : !scope]);
}

void model_ask(struct world *world, const struct model_question *question)
{
    struct http_request *request = model_request_new(world, question->method);
    const struct known *target = question->target;
    request->target = *target;
    request->was_told = oracle_was_told(world, target->flight);
    request->shows = question->shows;
    request->by_token = question->by_token;
    request->hop = question->by_token ? question->hop : 0;
    request->prefers_wait_s = question->wait_s;
    request->comes_back = !world->calm;
    request->asks_for = target->key;
    request->counted = target->counted;
    request->session = target->session;
    request->scope = target->scope;
    memcpy(request->marker, target->marker, sizeof request->marker);
    request->deadline_ms = world->now_ms + world->config->limits.deadline_max_ms;
    request->plan = request->hop ? PLAN_REDIRECT : PLAN_ACCEPT;
    request->hold_ms = request->hop
                           ? world->config->routes[API_CHAT].hold_ms
                           : (question->wait_s > 0 ? question->wait_s : 0) * INT64_C(1000);
    write_url(request);
    write_credential(request);
    write_preferences(request);
    world_trace(world, "%.*s #%u %.*s?%.*s of %s, credential %d",
                SPAN_ARG(request->head.method), request->serial, SPAN_ARG(request->head.path),
                SPAN_ARG(request->head.query), request->marker, (int)request->shows);
    model_request_send(request);
}

/* ---- leaving */

/* I7: a disconnect changes no keyed flight, nor one whose URL a client has.  Another is not worth
 * its money any more. */
void model_leave(struct world *world, struct http_request *request, bool broken)
{
    if (request->replied || request->broken || (request->left && !broken))
        return;
    const struct config_route *route = &world->config->routes[API_CHAT];
    unsigned calls = model_upstream_keyed(world), operations = model_store_queued(world);
    struct model_key *own =
        request->asks_for && request->asks_for->is_own ? request->asks_for : NULL;
    unsigned own_calls = own ? own->running_calls : 0;
    bool cancels = own && !own->handed_out && request->method == MODEL_POST &&
                   route->on_disconnect != ON_DISCONNECT_CONTINUE;
    world_trace(world, "#%u %s %s", request->serial, request->marker,
                broken ? "breaks" : "closes its side");
    if (!request->left)
        edges_attends(request);
    request->left = true;
    request->broken = broken;
    if (broken)
        world_start_timer(world, &request->end, dice_pick(&world->dice, 4));
    bool engine_ran = world_set_engine(world, true);
    world->handler.on_left(world->handler.context, request, broken);
    (void)world_set_engine(world, engine_ran);
    CHECK(world, calls == model_upstream_keyed(world));
    CHECK(world, request->key == MODEL_KEYLESS || operations == model_store_queued(world));
    CHECK(world, !cancels || own->running_calls == 0);
    CHECK(world, !own || !own->handed_out || own->running_calls == own_calls);
}

/* ---- coming back */

struct client {
    struct list link;
    struct world *world;
    struct timer timer;
    enum model_method method;
    int key;
    unsigned variant, tries, session, scope, retry_count;
    struct known target;
    enum model_shows shows;
    unsigned hop;
};

static void post_again(const struct client *client)
{
    struct http_request *request = model_request_new(client->world, MODEL_POST);
    request->key = client->key;
    request->variant = client->variant;
    request->tries = client->tries;
    request->comes_back = true;
    if (client->key == MODEL_KEYLESS) {
        request->counted = true;
        request->session = client->session;
        request->scope = client->scope;
        request->retry_count = client->retry_count;
        name_session(request);
    } else {
        request->asks_for = &client->world->keys[client->key];
    }
    send_post(request);
}

static void follow(const struct client *client)
{
    const struct model_question question = {.target = &client->target,
                                            .method = MODEL_GET,
                                            .shows = client->shows,
                                            .by_token = true,
                                            .hop = client->hop,
                                            .wait_s = -1};
    model_ask(client->world, &question);
}

static void on_due(struct timer *timer)
{
    struct client *client = CONTAINER_OF(timer, struct client, timer);
    if (!client->world->is_open) {
        world_start_timer(client->world, timer, 100);
        return;
    }
    list_remove(&client->link);
    if (client->method == MODEL_POST)
        post_again(client);
    else
        follow(client);
    free(client);
}

static struct client *client_new(struct world *world, int64_t delay_ms)
{
    struct client *client = calloc(1, sizeof *client);
    CHECK(world, client);
    client->world = world;
    client->timer.run = on_due;
    list_init(&client->link);
    list_append(&world->clients, &client->link);
    world_start_timer(world, &client->timer, delay_ms);
    return client;
}

/* Some lose their credential on the way. */
static void follow_later(struct http_request *request, const struct http_reply *reply)
{
    struct world *world = request->world;
    struct span location = header_get(&reply->headers, "location");
    const struct known *known =
        edges_known(request, header_get(&reply->headers, "unstream-request-id"), "");
    struct span query = location;
    (void)span_cut(&query, '=');
    uint64_t hop;
    CHECK(world, span_to_u64(query, &hop));
    struct client *client = client_new(world, dice_delay(&world->dice, 3000));
    client->method = MODEL_GET;
    client->target = *known;
    memcpy(client->target.token, location.p + strlen("/requests/"),
           sizeof client->target.token - 1);
    client->hop = (unsigned)hop;
    client->shows = dice_chance(&world->dice, 30) ? SHOWS_NONE : SHOWS_OWN;
}

void model_react(struct http_request *request, const struct http_reply *reply)
{
    struct world *world = request->world;
    bool retry = span_is(header_get(&reply->headers, "x-should-retry"), "true");
    if (!request->comes_back || world->calm || request->broken || request->left)
        return;
    if (reply->status == 303) {
        follow_later(request, reply);
        return;
    }
    bool again = request->key != MODEL_KEYLESS || request->counted;
    if (request->method != MODEL_POST || !retry || !again || request->tries >= TRIES_MAX)
        return;
    struct client *client = client_new(world, 1000 + dice_pick(&world->dice, 1000));
    client->method = MODEL_POST;
    client->key = request->key;
    client->variant = request->variant;
    client->tries = request->tries + 1;
    client->session = request->session;
    client->scope = request->scope;
    client->retry_count = request->retry_count + 1;
}

void model_clients_forget(struct world *world)
{
    for (struct list *link; (link = list_pop(&world->clients));) {
        struct client *client = CONTAINER_OF(link, struct client, link);
        timers_stop(&world->surroundings, &client->timer);
        free(client);
    }
}
