/* The provider, as the engine sees it: each call gets a fate when it starts. */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What may become of a call.  X(name, end, status, request sent, output, free, weight, body) */
#define FATE_TABLE(X)                                                                          \
    X("answers", ATTEMPT_ANSWERED, 200, true, true, false, 0, NULL)                            \
    X("cannot be resolved", ATTEMPT_DNS_FAILED, 0, false, false, true, 4, NULL)                \
    X("cannot be reached", ATTEMPT_CONNECT_FAILED, 0, false, false, true, 8, NULL)             \
    X("has a bad certificate", ATTEMPT_CERTIFICATE_FAILED, 0, false, false, true, 2, NULL)     \
    X("breaks before it was sent", ATTEMPT_CONNECTION_LOST, 0, false, false, true, 6, NULL)    \
    X("breaks after it was sent", ATTEMPT_CONNECTION_LOST, 0, true, false, false, 8, NULL)     \
    X("is refused with 400", ATTEMPT_REFUSED, 400, true, false, true, 6, "{\"error\":{}}")     \
    X("does not know stream_options", ATTEMPT_REFUSED, 400, true, false, true, 4,              \
      "{\"error\":{\"param\":\"stream_options\"}}")                                            \
    X("is refused with 429", ATTEMPT_REFUSED, 429, true, false, true, 10, "{\"error\":{}}")    \
    X("is refused with 500", ATTEMPT_REFUSED, 500, true, false, false, 8, "oops")              \
    X("is refused with 503", ATTEMPT_REFUSED, 503, true, false, true, 8, "{\"error\":{}}")     \
    X("is refused with 529", ATTEMPT_REFUSED, 529, true, false, true, 4, "{\"error\":{}}")     \
    X("is cut before output", ATTEMPT_TRUNCATED, 200, true, false, false, 8, NULL)             \
    X("is cut after output", ATTEMPT_TRUNCATED, 200, true, true, false, 10, NULL)              \
    X("is malformed", ATTEMPT_MALFORMED, 200, true, true, false, 5, NULL)                      \
    X("is too large", ATTEMPT_TOO_LARGE, 200, true, true, false, 3, NULL)                      \
    X("is overloaded in its stream", ATTEMPT_STREAM_ERROR, 200, true, false, true, 5,          \
      "{\"type\":\"overloaded_error\"}")                                                       \
    X("fails in its stream", ATTEMPT_STREAM_ERROR, 200, true, true, false, 5,                  \
      "{\"type\":\"server_error\"}")                                                           \
    X("stands still", ATTEMPT_IDLE_TIMEOUT, 200, true, true, false, 4, NULL)                   \
    X("says nothing", ATTEMPT_FIRST_EVENT_TIMEOUT, 0, true, false, false, 4, NULL)             \
    X("finds no memory here", ATTEMPT_NO_RESOURCES, 0, false, false, true, 2, NULL)

struct fate {
    const char *name;
    enum attempt_end end;
    int status;
    bool request_sent, output, is_free;
    unsigned weight; /* among those that go wrong */
    const char *body;
};

static const struct fate fates[] = {
#define X(name, end, status, sent, output, is_free, weight, body)                              \
    {name, end, status, sent, output, is_free, weight, body},
    FATE_TABLE(X)
#undef X
};

struct upstream {
    struct world *world;
    struct list transfers;
};

struct transfer {
    struct list link;
    struct world *world;
    struct model_key *key; /* NULL: a session's */
    char marker[MODEL_TEXT_BYTES];
    unsigned serial, scope;
    const struct fate *fate;
    int64_t start_ms, deadline_ms, end_ms;
    bool output_began;
    struct timer output, end;
    struct transfer_params params; /* no spans, no body */
};

struct upstream *model_upstream_new(struct world *world)
{
    struct upstream *upstream = calloc(1, sizeof *upstream);
    CHECK(world, upstream);
    upstream->world = world;
    list_init(&upstream->transfers);
    return upstream;
}

static struct transfer *transfer_of(struct list *link)
{
    return CONTAINER_OF(link, struct transfer, link);
}

static void transfer_free(struct transfer *transfer)
{
    struct world *world = transfer->world;
    timers_stop(&world->surroundings, &transfer->output);
    timers_stop(&world->surroundings, &transfer->end);
    list_remove(&transfer->link);
    if (transfer->key)
        transfer->key->running_calls--;
    free(transfer);
}

void model_upstream_free(struct world *world)
{
    CHECK(world, list_is_empty(&world->upstream->transfers));
    free(world->upstream);
    world->upstream = NULL;
}

unsigned model_upstream_keyed(const struct world *world)
{
    unsigned count = 0;
    for (size_t i = 0; i < MODEL_KEYS; i++)
        count += world->keys[i].running_calls;
    return count;
}

bool model_upstream_runs(const struct world *world, const char *marker, unsigned scope)
{
    struct list *transfers = &world->upstream->transfers;
    for (struct list *link = transfers->next; link != transfers; link = link->next)
        if (strcmp(transfer_of(link)->marker, marker) == 0 && transfer_of(link)->scope == scope)
            return true;
    return false;
}

unsigned model_upstream_calls(const struct world *world)
{
    struct list *transfers = &world->upstream->transfers;
    unsigned count = 0;
    for (struct list *link = transfers->next; link != transfers; link = link->next)
        count++;
    return count;
}

/* ---- fates */

static const struct fate *named_fate(struct world *world)
{
    size_t i = 0;
    while (i < COUNT_OF(fates) && strcmp(fates[i].name, world->fate) != 0)
        i++;
    CHECK(world, i < COUNT_OF(fates));
    return &fates[i];
}

static const struct fate *choose_fate(struct world *world)
{
    if (world->fate)
        return named_fate(world);
    if (world->calm || !dice_chance(&world->dice, world->provider_trouble))
        return &fates[0];
    unsigned sum = 0;
    for (size_t i = 0; i < COUNT_OF(fates); i++)
        sum += fates[i].weight;
    unsigned at = dice_pick(&world->dice, sum);
    size_t i = 0;
    while (at >= fates[i].weight)
        at -= fates[i++].weight;
    return &fates[i];
}

static struct blob *outcome_body(const struct transfer *transfer, enum attempt_end end)
{
    char text[2 * MODEL_TEXT_BYTES];
    if (end == ATTEMPT_ANSWERED)
        (void)snprintf(text, sizeof text, "{\"id\":\"call-%u\",\"asked\":\"%s\"}",
                       transfer->serial, transfer->marker);
    else if (end == transfer->fate->end && transfer->fate->body)
        (void)snprintf(text, sizeof text, "%s", transfer->fate->body);
    else
        return NULL;
    struct blob *body = blob_new(span_of(text));
    CHECK(transfer->world, body);
    return body;
}

static struct header choose_retry_after(struct world *world)
{
    static const char *const seconds[] = {"0", "1", "7", "20", "90", "100000"};
    unsigned i = dice_pick(&world->dice, COUNT_OF(seconds));
    return (struct header){SPAN("retry-after"), span_of(seconds[i])};
}

static void on_output_due(struct timer *timer)
{
    struct transfer *transfer = CONTAINER_OF(timer, struct transfer, output);
    transfer->output_began = true;
    if (transfer->key)
        transfer->key->had_output = true;
    world_trace(transfer->world, "call %u has output", transfer->serial);
    bool engine_ran = world_set_engine(transfer->world, true);
    transfer->params.on_output(transfer->params.context);
    (void)world_set_engine(transfer->world, engine_ran);
}

static void on_end_due(struct timer *timer)
{
    struct transfer *transfer = CONTAINER_OF(timer, struct transfer, end);
    struct world *world = transfer->world;
    struct model_key *key = transfer->key;
    const struct fate *fate = transfer->fate;
    bool in_time = transfer->end_ms <= transfer->deadline_ms;
    struct attempt_outcome outcome = {
        .end = in_time ? fate->end : ATTEMPT_DEADLINE,
        .status = in_time || transfer->output_began ? fate->status : 0,
        .request_sent = in_time ? fate->request_sent : true,
        .output_began = transfer->output_began,
        .first_event_ms = -1,
        .total_ms = world->now_ms - transfer->start_ms,
    };
    outcome.body = outcome_body(transfer, outcome.end);
    if (outcome.end == ATTEMPT_REFUSED && dice_chance(&world->dice, 50))
        outcome.headers[outcome.header_count++] = choose_retry_after(world);
    if (transfer->params.plain)
        outcome.headers[outcome.header_count++] =
            (struct header){SPAN("content-type"), SPAN("application/json")};
    world_trace(world, "call %u for %s %s", transfer->serial, transfer->marker,
                in_time ? fate->name : "runs out of time");
    void (*on_end)(void *, struct attempt_outcome *) = transfer->params.on_end;
    void *context = transfer->params.context;
    transfer_free(transfer);
    if (key)
        oracle_call_ends(world, key, in_time && fate->is_free);
    bool engine_ran = world_set_engine(world, true);
    on_end(context, &outcome);
    (void)world_set_engine(world, engine_ran);
    attempt_outcome_done(&outcome);
}

static void schedule_end(struct transfer *transfer)
{
    int64_t due_ms =
        transfer->end_ms < transfer->deadline_ms ? transfer->end_ms : transfer->deadline_ms;
    world_start_timer(transfer->world, &transfer->end, due_ms - transfer->world->now_ms);
}

/* How long a call takes; some take longer than any deadline. */
static int64_t choose_duration(struct world *world, const struct fate *fate)
{
    int64_t duration_ms = dice_delay(&world->dice, 30000);
    if (world->call_ms >= 0)
        return world->call_ms;
    if (world->calm)
        return duration_ms % 1000;
    if (fate->end == ATTEMPT_IDLE_TIMEOUT || fate->end == ATTEMPT_FIRST_EVENT_TIMEOUT)
        return 120000 + duration_ms;
    return dice_chance(&world->dice, 5) ? duration_ms * 100 : duration_ms;
}

/* ---- what the engine calls */

/* The marker in the body tells who asks. */
static void recognise(struct transfer *transfer, struct span body)
{
    struct world *world = transfer->world;
    const char *start = memchr(body.p, '<', body.n);
    const char *stop = memchr(body.p, '>', body.n);
    CHECK(world, start && stop && stop > start);
    size_t n = (size_t)(stop - start) + 1;
    CHECK(world, n < sizeof transfer->marker);
    memcpy(transfer->marker, start, n);
    if (transfer->marker[1] == 'k')
        transfer->key = &world->keys[transfer->marker[2] - '0'];
    else
        transfer->key = model_key_named(world, transfer->marker);
}

enum rc upstream_start(struct upstream *upstream, const struct transfer_params *params,
                       struct transfer **ret)
{
    struct world *world = upstream->world;
    if (!world->calm && dice_chance(&world->dice, 2)) {
        world_trace(world, "no transfer left");
        return E_LIMIT;
    }
    bool engine_ran = world_set_engine(world, false);
    struct transfer *transfer = calloc(1, sizeof *transfer);
    CHECK(world, transfer);
    transfer->world = world;
    transfer->serial = (unsigned)++world->seen.calls;
    transfer->params = *params;
    transfer->fate = choose_fate(world);
    transfer->start_ms = world->now_ms;
    transfer->deadline_ms = world->now_ms + params->time_left_ms;
    transfer->end_ms = world->now_ms + choose_duration(world, transfer->fate);
    transfer->output.run = on_output_due;
    transfer->end.run = on_end_due;
    recognise(transfer, blob_span(params->body));
    struct span agent = header_get(&params->headers, "user-agent");
    transfer->scope = memmem(agent.p, agent.n, "scope-1", strlen("scope-1")) ? 1 : 0;
    keyless_call_starts(world, transfer->serial, transfer->scope);
    list_init(&transfer->link);
    list_append(&upstream->transfers, &transfer->link);
    world_trace(world, "call %u for %s", transfer->serial, transfer->marker);
    if (transfer->key) {
        transfer->key->running_calls++;
        oracle_call_starts(world, transfer->key);
    }
    schedule_end(transfer);
    int64_t output_ms = (transfer->end_ms - world->now_ms) / 2;
    if (!params->plain && transfer->fate->output && output_ms < params->time_left_ms)
        world_start_timer(world, &transfer->output, output_ms);
    (void)world_set_engine(world, engine_ran);
    *ret = transfer;
    return OK;
}

void transfer_cancel(struct transfer *transfer)
{
    struct world *world = transfer->world;
    bool engine_ran = world_set_engine(world, false);
    world_trace(world, "call %u is cancelled", transfer->serial);
    transfer_free(transfer);
    (void)world_set_engine(world, engine_ran);
}

struct assemble_progress transfer_progress(const struct transfer *transfer)
{
    return (struct assemble_progress){.output_began = transfer->output_began};
}
