/* The loop, the clocks and the connections, as the engine sees them. */
#include "model.h"

#include "app/clock.h"
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

int64_t clock_monotonic_us(void)
{
    return clock_world->now_ms * 1000;
}

uint64_t clock_dice(void)
{
    return dice_next(&clock_world->dice);
}

void clock_random(uint8_t *to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (uint8_t)clock_dice();
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

static void start_end(struct http_request *request)
{
    if (!request->broken) /* else its end is under way already */
        world_start_timer(request->world, &request->end, dice_pick(&request->world->dice, 4));
}

void http_request_reply(struct http_request *request, const struct http_reply *reply)
{
    struct world *world = request->world;
    CHECK(world, !request->replied && !request->began);
    request->replied = true;
    request->status = reply->status;
    request->body = blob_ref(reply->body);
    if (world->dead)
        return;
    bool engine_ran = world_set_engine(world, false);
    oracle_reply(request, reply);
    model_react(request, reply);
    start_end(request);
    (void)world_set_engine(world, engine_ran);
}

void http_request_begin_reply(struct http_request *request, const struct http_reply *head,
                              size_t body_bytes)
{
    struct world *world = request->world;
    CHECK(world, !request->replied && !request->began && !head->body && body_bytes > 0);
    request->began = true;
    if (world->dead)
        return;
    bool engine_ran = world_set_engine(world, false);
    edges_begin(request, head, body_bytes);
    (void)world_set_engine(world, engine_ran);
}

void http_request_beat(struct http_request *request)
{
    CHECK(request->world, request->began && !request->replied);
}

/* Now and then the body is too long for what was declared. */
enum rc http_request_finish_reply(struct http_request *request, struct blob *body)
{
    struct world *world = request->world;
    CHECK(world, request->began && !request->replied);
    request->replied = true;
    request->body = blob_ref(body);
    if (world->dead)
        return OK;
    bool engine_ran = world_set_engine(world, false);
    bool overflows = body && !world->calm && dice_chance(&world->dice, 3);
    request->cut = !body || overflows;
    edges_finish(request, request->cut ? NULL : body);
    start_end(request);
    (void)world_set_engine(world, engine_ran);
    return overflows ? E_LIMIT : OK;
}

/* ---- connections */

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
    blob_free(request->body);
    arena_done(&request->arena);
    free(request);
}

static void on_end_due(struct timer *timer)
{
    struct http_request *request = CONTAINER_OF(timer, struct http_request, end);
    end(request, request->replied && !request->left && !request->broken && !request->cut);
}

void model_add_header(struct http_request *request, const char *name, const char *value)
{
    CHECK(request->world, request->head.headers.count < MODEL_HEADERS);
    request->headers[request->head.headers.count++] =
        (struct header){span_of(name), span_of(value)};
}

struct http_request *model_request_new(struct world *world, enum model_method method)
{
    static const char *const names[] = {"POST", "GET", "DELETE"};
    struct http_request *request = calloc(1, sizeof *request);
    CHECK(world, request);
    *request = (struct http_request){.world = world,
                                     .method = method,
                                     .key = MODEL_KEYLESS,
                                     .serial = ++world->serial,
                                     .start_ms = world->now_ms,
                                     .jumps_at_start = world->jumps,
                                     .prefers_wait_s = -1};
    request->end.run = on_end_due;
    arena_init(&request->arena, 1 << 20);
    list_init(&request->link);
    list_append(&world->requests, &request->link);
    world->open_requests++;
    request->head = (struct http_head){.method = span_of(names[method]),
                                       .path = SPAN("/v1/chat/completions"),
                                       .version_minor = 1,
                                       .headers = {request->headers, 0}};
    model_add_header(request, "host", "localhost");
    return request;
}

void model_request_send(struct http_request *request)
{
    struct world *world = request->world;
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

void model_requests_end(struct world *world)
{
    for (unsigned left = world->open_requests; left > 0; left--)
        end(model_request(world, left - 1), false);
}
