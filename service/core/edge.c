#include "core/edge.h"

#include "core/splice.h"

enum { TICK_MS_MAX = 1000, TICKS_PER_BEAT = 10, WHOLE_TICK_BEAT_MS = 2000 };

static unsigned conflict_status(const struct edge_request *request)
{
    if (request->route->conflict_status)
        return request->route->conflict_status;
    return request->from_sdk ? EDGE_CONFLICT_STATUS_SDK : EDGE_CONFLICT_STATUS;
}

static size_t heartbeat_bytes(const struct edge_request *request)
{
    const uint64_t tokens_max = (EDGE_BYTES_MAX - EDGE_BYTES_EXTRA) / EDGE_BYTES_PER_TOKEN;
    unsigned choices = request->choices ? request->choices : 1;
    size_t bytes = EDGE_BYTES_UNSAID;
    if (request->max_tokens > tokens_max)
        bytes = EDGE_BYTES_MAX;
    else if (request->max_tokens)
        bytes = (size_t)request->max_tokens * EDGE_BYTES_PER_TOKEN + EDGE_BYTES_EXTRA;
    if (bytes < EDGE_BYTES_MIN)
        bytes = EDGE_BYTES_MIN;
    return bytes * (choices < SPLICE_CHOICES_MAX ? choices : SPLICE_CHOICES_MAX);
}

/* `wait` where the route's policy cannot be kept. */
static enum edge possible_edge(const struct edge_request *request)
{
    enum edge edge = request->route->edge;
    if (edge == EDGE_HEARTBEAT && request->logprobs)
        return EDGE_WAIT;
    if (edge == EDGE_CONFLICT && !request->retry_finds)
        return EDGE_WAIT;
    return edge;
}

static struct edge_plan route_plan(const struct edge_request *request)
{
    const struct config_route *route = request->route;
    struct edge_plan plan = {.edge = possible_edge(request), .hold_ms = route->hold_ms};
    switch (plan.edge) {
    case EDGE_WAIT:
        plan.hold_ms = EDGE_NEVER;
        break;
    case EDGE_CONFLICT:
        plan.conflict_status = conflict_status(request);
        break;
    case EDGE_REDIRECT:
        break;
    case EDGE_HEARTBEAT:
        plan.heartbeat_after_ms = route->heartbeat_after_ms;
        plan.beat_ms = route->beat_ms;
        plan.bytes = heartbeat_bytes(request);
        break;
    }
    return plan;
}

/* A 202, at once or after wait=N. */
static struct edge_plan accept_plan(struct prefer prefer)
{
    return (struct edge_plan){
        .edge = EDGE_WAIT,
        .accepts = true,
        .hold_ms = prefer.has_wait ? 1000 * (int64_t)prefer.wait_s : 0,
        .responds_async = prefer.respond_async,
        .waits = prefer.has_wait,
        .wait_s = prefer.wait_s,
    };
}

struct edge_plan edge_plan(const struct edge_request *request)
{
    struct prefer prefer = request->prefer;
    if (prefer.respond_async && request->may_be_driven)
        return accept_plan(prefer);
    struct edge_plan plan = route_plan(request);
    int64_t wait_ms = 1000 * (int64_t)prefer.wait_s;
    if (!prefer.has_wait || !request->retry_finds || wait_ms >= plan.hold_ms)
        return plan;
    return (struct edge_plan){
        .edge = EDGE_CONFLICT,
        .hold_ms = wait_ms,
        .conflict_status = conflict_status(request),
        .waits = true,
        .wait_s = prefer.wait_s,
    };
}

struct edge_plan edge_plan_result(const struct config_route *route, struct prefer prefer,
                                  bool in_chain)
{
    if (!in_chain)
        return accept_plan(prefer);
    return (struct edge_plan){.edge = EDGE_REDIRECT, .hold_ms = route->hold_ms};
}

int64_t edge_next_beat_ms(int64_t now_ms, int64_t beat_ms)
{
    int64_t tick_ms = beat_ms >= WHOLE_TICK_BEAT_MS ? TICK_MS_MAX : beat_ms / TICKS_PER_BEAT;
    int64_t due_ms = now_ms + beat_ms;
    ASSERT(now_ms >= 0 && beat_ms > 0);
    return tick_ms ? due_ms - due_ms % tick_ms : due_ms;
}

void edge_preference_applied(const struct edge_plan *plan, bool accepted, struct buf *out)
{
    bool async = accepted && plan->responds_async;
    if (async)
        buf_add_text(out, "respond-async");
    if (async && plan->waits)
        buf_add_text(out, ", ");
    if (plan->waits)
        buf_printf(out, "wait=%u", plan->wait_s);
}
