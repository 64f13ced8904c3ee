/* The loop, the clocks and the clients, as the engine sees them. */
#include "model.h"

#include "app/clock.h"
#include "core/canonical.h"
#include "core/fingerprint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the loop and the clocks; one world at a time */

struct event_loop {
    struct world *world;
    struct timers timers;
};

static struct world *clock_world;

struct event_loop *model_loop_new(struct world *world)
{
    struct event_loop *loop = calloc(1, sizeof *loop);
    CHECK(world, loop);
    loop->world = world;
    timers_init(&loop->timers);
    clock_world = world;
    return loop;
}

void model_loop_free(struct world *world)
{
    CHECK(world, world->loop->timers.count == 0);
    timers_done(&world->loop->timers);
    free(world->loop);
    world->loop = NULL;
}

int64_t event_loop_now_ms(const struct event_loop *loop)
{
    return loop->world->now_ms;
}

struct timers *event_loop_timers(struct event_loop *loop)
{
    return &loop->timers;
}

int64_t clock_unix_ms(void)
{
    return world_unix_ms(clock_world);
}

uint64_t clock_dice(void)
{
    return dice_next(&clock_world->dice);
}

/* ---- what the engine asks of a request */

const struct http_head *http_request_head(const struct http_request *request)
{
    return &request->head;
}

struct span http_request_body(const struct http_request *request)
{
    return span_of(request->body_text);
}

void http_request_drop_body(struct http_request *request)
{
    memset(request->body_text, 0, sizeof request->body_text);
}

struct arena *http_request_arena(struct http_request *request)
{
    return &request->arena;
}

bool http_request_is_unix(const struct http_request *request)
{
    (void)request;
    return false;
}

int64_t http_request_start_ms(const struct http_request *request)
{
    return request->start_ms;
}

void *http_request_tag(const struct http_request *request)
{
    return request->tag;
}

void http_request_set_tag(struct http_request *request, void *tag)
{
    request->tag = tag;
}

const char *front_problem_text(enum front_problem problem)
{
    (void)problem;
    return "no problem";
}

void http_request_reply(struct http_request *request, const struct http_reply *reply)
{
    struct world *world = request->world;
    CHECK(world, !request->replied);
    request->replied = true;
    request->status = reply->status;
    if (world->dead)
        return;
    bool engine_ran = world_set_engine(world, false);
    oracle_reply(request, reply);
    if (!request->broken) /* else its end is under way already */
        world_start_timer(world, &request->end, dice_pick(&world->dice, 4));
    (void)world_set_engine(world, engine_ran);
}

/* ---- clients */

static void end(struct http_request *request, bool delivered)
{
    struct world *world = request->world;
    timers_stop(&world->surroundings, &request->end);
    if (!world->dead)
        keyless_end(request, delivered);
    list_remove(&request->link);
    world->open_requests--;
    bool engine_ran = world_set_engine(world, true);
    world->handler.on_end(world->handler.context, request, delivered);
    (void)world_set_engine(world, engine_ran);
    arena_done(&request->arena);
    free(request);
}

static void on_end_due(struct timer *timer)
{
    struct http_request *request = CONTAINER_OF(timer, struct http_request, end);
    end(request, request->replied && !request->left && !request->broken);
}

static void add_header(struct http_request *request, const char *name, const char *value)
{
    CHECK(request->world, request->head.headers.count < MODEL_HEADERS);
    request->headers[request->head.headers.count++] =
        (struct header){span_of(name), span_of(value)};
}

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
        add_header(request, "unstream-deadline", request->deadline_text);
        wait_ms = seconds * INT64_C(1000);
    }
    request->deadline_ms = world->now_ms + wait_ms;
    if (request->key != MODEL_KEYLESS) {
        int64_t *latest_ms = &world->keys[request->key].deadline_ms;
        *latest_ms = request->deadline_ms > *latest_ms ? request->deadline_ms : *latest_ms;
    }
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
    if (request->counted)
        (void)snprintf(request->retry_text, sizeof request->retry_text, "%u",
                       request->retry_count);
    keyless_name(request, request->marker);
}

static struct http_request *request_new(struct world *world, int key, unsigned variant)
{
    struct http_request *request = calloc(1, sizeof *request);
    CHECK(world, request);
    *request = (struct http_request){.world = world, .key = key, .variant = variant};
    request->serial = ++world->serial;
    request->start_ms = world->now_ms;
    request->end.run = on_end_due;
    arena_init(&request->arena, 1 << 20);
    list_init(&request->link);
    list_append(&world->requests, &request->link);
    world->open_requests++;
    if (key == MODEL_KEYLESS)
        choose_session(request);
    else
        (void)snprintf(request->marker, sizeof request->marker, "<k%dv%u>", key, variant);
    (void)snprintf(request->body_text, sizeof request->body_text,
                   "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]}",
                   request->marker);
    request->head = (struct http_head){.method = SPAN("POST"),
                                       .path = SPAN("/v1/chat/completions"),
                                       .version_minor = 1,
                                       .headers = {request->headers, 0}};
    add_header(request, "host", "localhost");
    add_header(request, "content-type", "application/json");
    add_header(request, "authorization", request->scope ? "Bearer other" : "Bearer secret");
    if (request->counted)
        add_header(request, "x-stainless-retry-count", request->retry_text);
    return request;
}

void model_post(struct world *world, int key, unsigned variant)
{
    struct http_request *request = request_new(world, key, variant);
    if (key != MODEL_KEYLESS) {
        struct model_key *model_key = &world->keys[key];
        model_key->asked_ms[variant] = world->now_ms;
        request->changes_at_start = model_key->changes;
        (void)snprintf(request->key_text, sizeof request->key_text, "%s", model_key->text);
        add_header(request, "idempotency-key", request->key_text);
        if (key == world->memory_key)
            add_header(request, "cache-control", "no-store");
    }
    choose_deadline(request);
    find_fingerprint(request);
    world_trace(world, "post #%u %s, deadline in %lld ms", request->serial, request->marker,
                (long long)(request->deadline_ms - world->now_ms));
    bool engine_ran = world_set_engine(world, true);
    world->handler.on_head(world->handler.context, request);
    if (!request->replied)
        world->handler.on_request(world->handler.context, request);
    (void)world_set_engine(world, engine_ran);
}

struct http_request *model_request(struct world *world, unsigned n)
{
    struct list *link = world->requests.next;
    while (n-- > 0)
        link = link->next;
    return CONTAINER_OF(link, struct http_request, link);
}

/* I7: a disconnect changes no keyed flight.  A keyless one is not worth its money any more. */
void model_leave(struct world *world, struct http_request *request, bool broken)
{
    if (request->replied || request->broken || (request->left && !broken))
        return;
    unsigned calls = model_upstream_keyed(world), operations = model_store_queued(world);
    const struct config_route *route = &world->config->routes[API_CHAT];
    bool cancels = request->key == MODEL_KEYLESS && !request->counted &&
                   route->on_disconnect != ON_DISCONNECT_CONTINUE;
    world_trace(world, "#%u %s %s", request->serial, request->marker,
                broken ? "breaks" : "closes its side");
    if (!request->left)
        keyless_attends(request);
    request->left = true;
    request->broken = broken;
    if (broken)
        world_start_timer(world, &request->end, dice_pick(&world->dice, 4));
    bool engine_ran = world_set_engine(world, true);
    world->handler.on_left(world->handler.context, request, broken);
    (void)world_set_engine(world, engine_ran);
    CHECK(world, calls == model_upstream_keyed(world));
    CHECK(world, operations == model_store_queued(world));
    CHECK(world, !cancels || !model_upstream_runs(world, request->marker, request->scope));
}

/* No route of the model has an edge policy that begins replies early. */
void http_request_begin_reply(struct http_request *request, const struct http_reply *head,
                              size_t body_bytes)
{
    (void)head, (void)body_bytes;
    CHECK(request->world, !"a reply begins early");
}

void http_request_beat(struct http_request *request)
{
    CHECK(request->world, !"a reply beats");
}

enum rc http_request_finish_reply(struct http_request *request, struct blob *body)
{
    (void)body;
    CHECK(request->world, !"a reply that did not begin is finished");
    return OK;
}

void model_requests_end(struct world *world)
{
    for (unsigned left = world->open_requests; left > 0; left--)
        end(model_request(world, left - 1), false);
}
