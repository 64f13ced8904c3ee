/* Requests and waiters: what a front hands over becomes a waiter of a flight, and every waiter
 * gets its reply. */
#include "app/engine_internal.h"

#include "app/clock.h"
#include "app/probes.h"

#include <stdlib.h>
#include <string.h>

/* How long a waiter stays past its deadline for a verdict that is being made durable. */
enum { VERDICT_GRACE_MS = 5000 };

/* ---- tables */

struct upstream_memory *engine_upstream_memory(struct engine *engine,
                                               const struct config_upstream *upstream)
{
    return &engine->upstreams[upstream - engine->config->upstreams];
}

bool engine_admits(struct engine_flight *run, enum http_error *ret_refusal)
{
    struct engine *engine = run->engine;
    const struct config_upstream *upstream = run->intake->upstream;
    struct upstream_memory *memory = engine_upstream_memory(engine, upstream);
    if (engine->draining) {
        *ret_refusal = HTTP_ERROR_DRAINING;
        return false;
    }
    if (engine->admitted >= engine->config->limits.flights_max ||
        memory->flights >= upstream->flights_max) {
        *ret_refusal = HTTP_ERROR_OVERLOADED;
        return false;
    }
    engine->admitted++;
    memory->flights++;
    run->admitted = true;
    return true;
}

void engine_forget(struct engine_flight *run)
{
    struct engine *engine = run->engine;
    if (run->admitted) {
        engine->admitted--;
        engine_upstream_memory(engine, run->intake->upstream)->flights--;
    }
    if (run->intake->keyed)
        (void)map_remove(&engine->keys, run->intake->key.bytes);
    list_remove(&run->link);
    engine->flight_count--;
}

/* ---- replies to waiters */

static void detach(struct waiter *waiter)
{
    if (!waiter->flight)
        return;
    timers_stop(event_loop_timers(waiter->engine->loop), &waiter->deadline);
    list_remove(&waiter->link);
    waiter->flight->waiter_count--;
    waiter->engine->waiter_count--;
    waiter->flight = NULL;
}

static void refuse_method(struct waiter *waiter, enum http_error error, const char *detail,
                          struct span allow)
{
    const struct http_error_info *info = http_error_info(error);
    waiter->status = (int)info->status;
    waiter->error_code = info->code;
    waiter->engine->counts.refused++;
    reply_error(waiter->request, waiter->shape, error, detail, waiter->id_text, allow);
}

static void refuse(struct waiter *waiter, enum http_error error, const char *detail)
{
    refuse_method(waiter, error, detail, SPAN_ABSENT);
}

static void note_for_log(struct waiter *waiter, const struct engine_flight *run)
{
    const struct attempt_outcome *outcome = &run->outcome;
    waiter->status = run->answer.status;
    waiter->attempts = run->flight.attempts;
    waiter->first_event_ms = run->first_event_ms;
    waiter->generation_ms = run->first_call_ms < 0 ? -1 : run->end_ms - run->first_call_ms;
    waiter->output_tokens = (int64_t)outcome->progress.output_tokens;
    if (run->flight.verdict.body == VERDICT_OWN_ERROR)
        waiter->error_code = http_error_info(run->flight.verdict.error)->code;
    memcpy(waiter->id_text, run->id_text, sizeof waiter->id_text);
}

static void answer(struct waiter *waiter, const struct engine_flight *run)
{
    const struct verdict *verdict = &run->flight.verdict;
    bool stored = verdict->body == VERDICT_STORED;
    bool live = run->flight.attempts > 0;
    bool joined = !waiter->started_flight && run->source == SOURCE_EXECUTED;
    waiter->source = joined ? SOURCE_JOINED : run->source;
    note_for_log(waiter, run);
    const struct reply_timing timing = {
        .queue_ms = live ? run->first_call_ms - run->start_ms : 0,
        .first_event_ms = run->first_event_ms,
        .generation_ms = waiter->generation_ms,
        .attempts = run->flight.attempts,
    };
    /* What is stored and not a 200 is a paid failure, which a retry would only get again. */
    bool stored_failure = stored && run->answer.error_code.p;
    const struct reply reply = {
        .answer = run->answer,
        .flight_id = run->id_text,
        .provider = run->intake->upstream->provider,
        .source = waiter->source,
        .retry = stored_failure ? HTTP_ERROR_RETRY_NO : verdict->retry,
        .retry_after_s = verdict->retry_after_s,
        .timing = live ? &timing : NULL,
        .upstream = live ? &run->outcome : NULL,
    };
    reply_send(waiter->request, &reply);
}

void engine_answer_waiters(struct engine_flight *run)
{
    struct list *link;
    while (!list_is_empty(&run->waiters)) {
        link = run->waiters.next;
        struct waiter *waiter = CONTAINER_OF(link, struct waiter, link);
        detach(waiter);
        if (run->answer.body)
            answer(waiter, run);
        else
            refuse(waiter, HTTP_ERROR_OVERLOADED, "out of memory");
    }
}

/* This request's time is over, its flight perhaps not. */
static void on_waiter_deadline(struct timer *timer)
{
    struct waiter *waiter = CONTAINER_OF(timer, struct waiter, deadline);
    struct engine_flight *run = waiter->flight;
    struct timers *timers = event_loop_timers(waiter->engine->loop);
    int64_t now_ms = engine_now_ms(waiter->engine);
    bool goes_on = run->flight.params.deadline_ms > now_ms ||
                   (run->flight.params.may_outlive && run->flight.output_began);
    bool waited_for_verdict = now_ms >= waiter->deadline_ms + VERDICT_GRACE_MS;
    if (!goes_on && !waited_for_verdict &&
        timers_start(timers, timer, waiter->deadline_ms + VERDICT_GRACE_MS) == OK)
        return; /* the flight ends at this moment too, and its verdict says more */
    memcpy(waiter->id_text, run->id_text, sizeof waiter->id_text);
    detach(waiter);
    refuse(waiter, HTTP_ERROR_DEADLINE_RUNNING, NULL);
}

/* ---- requests */

static enum rc wait_for(struct waiter *waiter, struct engine_flight *run, int64_t wait_ms)
{
    struct timers *timers = event_loop_timers(waiter->engine->loop);
    waiter->deadline_ms = engine_now_ms(waiter->engine) + wait_ms;
    waiter->deadline.run = on_waiter_deadline;
    enum rc rc = timers_start(timers, &waiter->deadline, waiter->deadline_ms);
    if (rc != OK)
        return rc;
    waiter->flight = run;
    list_append(&run->waiters, &waiter->link);
    run->waiter_count++;
    waiter->engine->waiter_count++;
    return OK;
}

static void join(struct waiter *waiter, struct engine_flight *run)
{
    const struct intake *intake = waiter->intake;
    bool same = memcmp(run->intake->fingerprint.bytes, intake->fingerprint.bytes,
                       sizeof intake->fingerprint.bytes) == 0;
    if (!same) {
        refuse(waiter, HTTP_ERROR_KEY_REUSED, NULL);
        return;
    }
    memcpy(waiter->id_text, run->id_text, sizeof waiter->id_text);
    if (run->waiter_count >= intake->config->idempotency.waiters_max) {
        refuse(waiter, HTTP_ERROR_IN_PROGRESS, NULL);
        return;
    }
    if (wait_for(waiter, run, intake->wait_ms) != OK)
        refuse(waiter, HTTP_ERROR_OVERLOADED, "out of memory");
    else
        engine_flight_join(run, waiter->deadline_ms);
}

static void start_flight(struct waiter *waiter)
{
    struct engine_flight *run;
    int64_t wait_ms = waiter->intake->wait_ms;
    if (engine_flight_new(waiter->engine, waiter->intake, waiter->id, &run) != OK) {
        refuse(waiter, HTTP_ERROR_OVERLOADED, "out of memory");
        return;
    }
    waiter->intake = NULL; /* the flight owns it now */
    waiter->started_flight = true;
    if (wait_for(waiter, run, wait_ms) != OK) {
        refuse(waiter, HTTP_ERROR_OVERLOADED, "out of memory");
        engine_flight_discard(run);
        return;
    }
    engine_flight_start(run);
}

/* Until a provider is known to refuse stream_options it gets them. */
static bool knows_stream_options(const void *memory, const struct config_upstream *upstream)
{
    const struct engine *engine = memory;
    size_t i = (size_t)(upstream - engine->config->upstreams);
    return engine_now_ms(engine) >= engine->upstreams[i].usage_refused_until_ms;
}

static struct intake_context intake_context(const struct engine *engine)
{
    return (struct intake_context){
        .config = engine->config,
        .salt = {(const char *)engine->store->salt, sizeof engine->store->salt},
        .boot_id = span_of(engine->boot_id),
        .knows_stream_options = knows_stream_options,
        .memory = engine,
    };
}

/* The refusal of an intake, or of memory, as a reply. */
static void refuse_intake(struct waiter *waiter, enum rc rc,
                          const struct intake_refusal *refusal)
{
    if (rc != E_INVALID) {
        refuse(waiter, HTTP_ERROR_OVERLOADED, "out of memory");
        return;
    }
    refuse_method(waiter, refusal->error, refusal->detail, refusal->allow);
}

static struct waiter *waiter_new(struct engine *engine, struct http_request *request)
{
    const struct http_head *head = http_request_head(request);
    struct waiter *waiter = arena_alloc(http_request_arena(request), sizeof *waiter);
    if (!waiter)
        return NULL;
    enum api api;
    waiter->engine = engine;
    waiter->request = request;
    waiter->route = api_from_route(head->path, &api) ? api_route(api) : "other";
    waiter->shape = api_from_route(head->path, &api) ? api_error_shape(api) : SHAPE_PROBLEM;
    waiter->first_event_ms = waiter->generation_ms = -1;
    list_init(&waiter->link);
    for (size_t i = 0; i < sizeof waiter->id.bytes; i += sizeof(uint64_t)) {
        uint64_t dice = clock_dice();
        memcpy(waiter->id.bytes + i, &dice, sizeof dice);
    }
    flight_id_text(waiter->id, waiter->id_text);
    http_request_set_tag(request, waiter);
    engine->open_requests++;
    return waiter;
}

/* Out of memory before anything is known of the request. */
static void refuse_bare(struct http_request *request)
{
    http_request_reply(request, &(struct http_reply){.status = 503, .close = true});
}

static void on_head(void *context, struct http_request *request)
{
    struct engine *engine = context;
    struct waiter *waiter = waiter_new(engine, request);
    if (!waiter) {
        refuse_bare(request);
        return;
    }
    if (probes_reply(request, engine_is_ready(engine), waiter->id_text, &waiter->status))
        return;
    struct intake_context intake = intake_context(engine);
    struct intake_refusal refusal = {0};
    waiter->intake = intake_new(&intake);
    enum rc rc = waiter->intake ? intake_head(waiter->intake, &intake,
                                              http_request_head(request), &refusal)
                                : E_NOMEM;
    if (rc != OK)
        refuse_intake(waiter, rc, &refusal);
}

static void on_request(void *context, struct http_request *request)
{
    struct engine *engine = context;
    struct waiter *waiter = http_request_tag(request);
    struct intake_context intake = intake_context(engine);
    struct intake_refusal refusal = {0};
    enum rc rc = intake_body(waiter->intake, &intake, http_request_head(request),
                             http_request_body(request), &refusal);
    if (rc != OK) {
        refuse_intake(waiter, rc, &refusal);
        return;
    }
    if (waiter->intake->client)
        waiter->client = waiter->intake->client->name;
    waiter->model = arena_copy(http_request_arena(request), waiter->intake->model);
    http_request_drop_body(request);
    struct engine_flight *running =
        waiter->intake->keyed ? map_get(&engine->keys, waiter->intake->key.bytes) : NULL;
    if (running)
        join(waiter, running);
    else
        start_flight(waiter);
}

static enum http_error error_of_problem(enum front_problem problem)
{
    switch (problem) {
    case FRONT_BAD_FRAMING:
    case FRONT_BAD_HEADER:
    case FRONT_NO_HOST:
        return HTTP_ERROR_BAD_FRAMING;
    case FRONT_BAD_TRANSFER_ENCODING:
        return HTTP_ERROR_TRANSFER_ENCODING;
    case FRONT_BAD_EXPECT:
        return HTTP_ERROR_BAD_EXPECT;
    case FRONT_BODY_TOO_LARGE:
        return HTTP_ERROR_BODY_TOO_LARGE;
    case FRONT_HEAD_TOO_LARGE:
        return HTTP_ERROR_HEAD_TOO_LARGE;
    case FRONT_TOO_SLOW:
        return HTTP_ERROR_REQUEST_TIMEOUT;
    case FRONT_NO_MEMORY:
        break;
    }
    return HTTP_ERROR_OVERLOADED;
}

static void on_problem(void *context, struct http_request *request, enum front_problem problem)
{
    struct waiter *waiter = http_request_tag(request);
    if (!waiter)
        waiter = waiter_new(context, request);
    if (waiter)
        refuse(waiter, error_of_problem(problem), front_problem_text(problem));
    else
        refuse_bare(request);
}

/* A keyed flight goes on without its waiters; a keyless answer that nobody can collect is not
 * worth its money. */
static void on_left(void *context, struct http_request *request, bool broken)
{
    struct engine *engine = context;
    struct waiter *waiter = http_request_tag(request);
    (void)broken;
    engine->counts.disconnects++;
    struct engine_flight *run = waiter ? waiter->flight : NULL;
    if (run && !run->intake->keyed &&
        run->intake->route->on_disconnect != ON_DISCONNECT_CONTINUE)
        engine_flight_stop(run, HTTP_ERROR_CANCELLED);
}

static void log_request(const struct waiter *waiter, bool delivered)
{
    const struct http_head *head = http_request_head(waiter->request);
    int64_t now_ms = engine_now_ms(waiter->engine);
    struct log_line line;
    log_begin(&line, waiter->engine->log, LOG_LEVEL_INFO, "request");
    log_text(&line, "flight", waiter->id_text);
    log_span(&line, "client", waiter->client);
    log_span(&line, "method", head->method);
    log_text(&line, "route", waiter->route);
    log_span(&line, "model", waiter->model);
    log_int(&line, "status", waiter->status);
    log_text(&line, "error", waiter->error_code);
    if (waiter->source != SOURCE_NONE)
        log_text(&line, "source", source_name(waiter->source));
    if (waiter->attempts > 0) {
        log_int(&line, "attempts", waiter->attempts);
        log_int(&line, "first_event_ms", waiter->first_event_ms);
        log_int(&line, "generation_ms", waiter->generation_ms);
        log_int(&line, "output_tokens", waiter->output_tokens);
    }
    log_int(&line, "total_ms", now_ms - http_request_start_ms(waiter->request));
    log_bool(&line, "delivered", delivered);
    log_span(&line, "request_id", header_get(&head->headers, "x-request-id"));
    log_span(&line, "traceparent", header_get(&head->headers, "traceparent"));
    log_end(&line);
}

static void on_end(void *context, struct http_request *request, bool delivered)
{
    struct engine *engine = context;
    struct waiter *waiter = http_request_tag(request);
    if (!waiter)
        return;
    detach(waiter);
    intake_free(waiter->intake);
    waiter->intake = NULL;
    unsigned digit = (unsigned)waiter->status / 100;
    engine->counts.requests[digit < COUNT_OF(engine->counts.requests) ? digit : 0]++;
    engine->counts.sources[waiter->source]++;
    log_request(waiter, delivered);
    http_request_set_tag(request, NULL);
    engine->open_requests--;
}

struct http_handler engine_handler(struct engine *engine)
{
    return (struct http_handler){
        .on_head = on_head,
        .on_request = on_request,
        .on_problem = on_problem,
        .on_left = on_left,
        .on_end = on_end,
        .context = engine,
    };
}

/* ---- the engine's own life */

enum rc engine_new(const struct engine_params *params, struct engine **ret)
{
    struct engine *engine = calloc(1, sizeof *engine);
    if (!engine)
        return E_NOMEM;
    engine->upstreams = calloc(params->config->upstream_count, sizeof *engine->upstreams);
    if (!engine->upstreams) {
        free(engine);
        return E_NOMEM;
    }
    engine->config = config_ref(params->config);
    engine->loop = params->loop;
    engine->store = params->store;
    engine->upstream = params->upstream;
    engine->log = params->log;
    for (size_t i = 0; i < params->config->upstream_count; i++)
        retry_budget_init(&engine->upstreams[i].budget, event_loop_now_ms(params->loop));
    uint64_t boot = clock_dice();
    struct buf hex = {.bytes_max = BOOT_ID_TEXT_BYTES};
    buf_add_hex(&hex, &boot, sizeof boot);
    memcpy(engine->boot_id, buf_text(&hex), hex.n);
    buf_done(&hex);
    map_init(&engine->keys, SHA256_BYTES);
    list_init(&engine->flights);
    *ret = engine;
    return OK;
}

void engine_free(struct engine *engine)
{
    if (!engine)
        return;
    ASSERT(list_is_empty(&engine->flights));
    map_done(&engine->keys);
    config_free(engine->config);
    free(engine->upstreams);
    free(engine);
}

void engine_drain(struct engine *engine)
{
    engine->draining = true;
}

void engine_stop(struct engine *engine)
{
    struct list *link = engine->flights.next;
    while (link != &engine->flights) {
        struct list *next = link->next; /* stopping may end and free this flight only */
        engine_flight_stop(CONTAINER_OF(link, struct engine_flight, link), HTTP_ERROR_DRAINING);
        link = next;
    }
}

void engine_close(struct engine *engine)
{
    engine_drain(engine);
    engine_stop(engine);
    engine->store = NULL;
    engine->upstream = NULL;
}

bool engine_is_idle(const struct engine *engine)
{
    return engine->flight_count == 0 && engine->open_requests == 0;
}

bool engine_is_ready(const struct engine *engine)
{
    return !engine->draining && engine->store && store_stats(engine->store).readable;
}

struct engine_state engine_state(const struct engine *engine)
{
    return (struct engine_state){
        .counts = engine->counts,
        .flights_running = engine->flight_count,
        .waiters = engine->waiter_count,
        .draining = engine->draining,
    };
}
