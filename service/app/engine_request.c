/* Requests: what a front hands over is checked and becomes a waiter of a flight. */
#include "app/engine_internal.h"

#include "app/clock.h"
#include "app/probes.h"
#include "core/relay.h"

#include <string.h>

static void start_flight(struct waiter *waiter)
{
    struct engine_flight *run;
    int64_t wait_ms = waiter->intake->wait_ms;
    waiter->edge = waiter->intake->edge;
    if (engine_flight_new(waiter->engine, waiter->intake, waiter->id, &run) != OK) {
        engine_refuse_because(waiter, HTTP_ERROR_OVERLOADED, "out of memory");
        return;
    }
    waiter->intake = NULL; /* the flight owns it now */
    waiter->started_flight = true;
    run->asked_us = waiter->complete_us;
    if (engine_wait_for(waiter, run, wait_ms) != OK) {
        engine_refuse_because(waiter, HTTP_ERROR_OVERLOADED, "out of memory");
        engine_flight_discard(run);
        return;
    }
    engine_flight_start(run);
}

struct intake_context engine_intake_context(const struct engine *engine,
                                            const struct http_request *request)
{
    return (struct intake_context){
        .config = engine->config,
        .salt = {(const char *)engine->store->salt, sizeof engine->store->salt},
        .boot_id = span_of(engine->boot_id),
        .unix_listener = request && http_request_is_unix(request),
        .knows_stream_options = engine_upstream_knows_stream_options,
        .memory = engine,
    };
}

/* The refusal of an intake, or of memory, as a reply. */
static void refuse_intake(struct waiter *waiter, enum rc rc,
                          const struct intake_refusal *refusal)
{
    if (rc != E_INVALID) {
        engine_refuse_because(waiter, HTTP_ERROR_OVERLOADED, "out of memory");
        return;
    }
    engine_refuse_method(waiter, refusal->error, refusal->detail, refusal->allow);
}

/* What it is called in logs and metrics, and whose errors its caller reads. */
static void name_route(struct waiter *waiter, const struct http_head *head)
{
    enum api api;
    const struct config *config = waiter->engine->config;
    waiter->is_result = result_url_is_one(head->path);
    waiter->route = waiter->is_result ? "/requests" : "other";
    waiter->shape = SHAPE_PROBLEM;
    if (api_from_path(head->path, &api)) {
        waiter->route = api_route(api);
        waiter->shape = api_error_shape(api);
        return;
    }
    const struct relay_match match = relay_match(&config->relay, head->method, head->path);
    if (!match.gets && !match.posts)
        return;
    waiter->shape = api_error_shape(relay_api(config, head));
    struct span name = match.route.p
                           ? arena_copy(http_request_arena(waiter->request), match.route)
                           : SPAN_ABSENT;
    if (name.p)
        waiter->route = name.p;
}

static struct waiter *waiter_new(struct engine *engine, struct http_request *request)
{
    const struct http_head *head = http_request_head(request);
    struct waiter *waiter = arena_alloc(http_request_arena(request), sizeof *waiter);
    if (!waiter)
        return NULL;
    waiter->engine = engine;
    waiter->request = request;
    name_route(waiter, head);
    waiter->first_event_ms = waiter->generation_ms = -1;
    list_init(&waiter->link);
    list_init(&waiter->same_body);
    clock_random(waiter->id.bytes, sizeof waiter->id.bytes);
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

/* The checks that need the head only, under the configuration of now.  False: refused. */
static bool check_head(struct waiter *waiter)
{
    struct intake_context context = engine_intake_context(waiter->engine, waiter->request);
    struct intake_refusal refusal = {0};
    intake_free(waiter->intake);
    waiter->intake = intake_new(&context);
    enum rc rc = waiter->intake ? intake_head(waiter->intake, &context,
                                              http_request_head(waiter->request), &refusal)
                                : E_NOMEM;
    if (rc != OK)
        refuse_intake(waiter, rc, &refusal);
    return rc == OK;
}

static void on_head(void *context, struct http_request *request)
{
    struct engine *engine = context;
    struct waiter *waiter = waiter_new(engine, request);
    if (!waiter) {
        refuse_bare(request);
        return;
    }
    waiter->is_probe =
        probes_reply(request, engine_is_ready(engine), waiter->id_text, &waiter->status);
    if (waiter->is_probe)
        return;
    if (waiter->is_result)
        return; /* a body is tolerated, and dropped */
    (void)check_head(waiter);
}

/* The flight that this request is to wait for, a running or a new one; or a reply at once. */
static void find_flight(struct waiter *waiter)
{
    const struct intake *intake = waiter->intake;
    if (intake->keyed) {
        history_key_text(&intake->key, waiter->key_text);
        struct engine_flight *running = map_get(&waiter->engine->keys, intake->key.bytes);
        if (running)
            engine_join(waiter, running);
        else if (!engine_replay(waiter))
            start_flight(waiter);
        return;
    }
    waiter->has_kin = intake->adoption.adopt != ADOPT_OFF;
    waiter->kin = engine_kin_id(intake);
    if (!engine_adopt(waiter))
        start_flight(waiter);
}

static void on_request(void *context, struct http_request *request)
{
    struct engine *engine = context;
    struct waiter *waiter = http_request_tag(request);
    waiter->complete_us = clock_monotonic_us();
    if (waiter->is_result) {
        http_request_drop_body(request);
        engine_result(waiter);
        return;
    }
    /* A reload came between: who was removed meanwhile gets nothing any more. */
    if (waiter->intake->config != engine->config && !check_head(waiter))
        return;
    struct intake_context intake = engine_intake_context(engine, request);
    struct intake_refusal refusal = {0};
    enum rc rc = intake_body(waiter->intake, &intake, http_request_head(request),
                             http_request_body(request), &refusal);
    if (rc != OK) {
        refuse_intake(waiter, rc, &refusal);
        return;
    }
    if (waiter->intake->caller.client)
        waiter->client =
            arena_copy(http_request_arena(request), waiter->intake->caller.client->name);
    if (waiter->intake->model.p)
        waiter->model = arena_copy(http_request_arena(request), waiter->intake->model);
    http_request_drop_body(request);
    find_flight(waiter);
}

static void on_problem(void *context, struct http_request *request, enum front_problem problem)
{
    struct waiter *waiter = http_request_tag(request);
    if (!waiter)
        waiter = waiter_new(context, request);
    if (waiter)
        engine_refuse(waiter, reply_error_of(problem), front_problem_text(problem));
    else
        refuse_bare(request);
}

/* A keyless flight that still waits for a slot gives up its place with its last client. */
static void lost_client(struct engine_flight *run)
{
    bool goes_on = run->intake->keyed || run->attending > 0 ||
                   run->intake->route->on_disconnect == ON_DISCONNECT_CONTINUE;
    if (!goes_on && flight_has_not_begun(&run->flight))
        engine_flight_stop(run, HTTP_ERROR_CANCELLED);
    else
        engine_unattended(run);
}

/* What may be a half-close only stays attached, and still gets its reply written. */
static void on_left(void *context, struct http_request *request, bool broken)
{
    struct engine *engine = context;
    struct waiter *waiter = http_request_tag(request);
    (void)broken;
    engine->counts.disconnects++;
    if (!waiter || waiter->left)
        return;
    waiter->left = true;
    if (!waiter->flight)
        return;
    waiter->flight->attending--;
    engine_note_left(waiter->flight);
    lost_client(waiter->flight);
}

static void log_flight(struct log_line *line, const struct waiter *waiter)
{
    log_span(line, "upstream", waiter->upstream);
    if (waiter->queue_ms > 0 || waiter->attempts > 0)
        log_int(line, "queue_ms", waiter->queue_ms);
    if (waiter->attempts > 0) {
        log_int(line, "attempts", waiter->attempts);
        log_int(line, "generation_ms", waiter->generation_ms);
    }
    if (waiter->first_event_ms >= 0)
        log_int(line, "first_event_ms", waiter->first_event_ms);
    if (waiter->usage.input_tokens > 0)
        log_int(line, "input_tokens", (int64_t)waiter->usage.input_tokens);
    if (waiter->usage.output_tokens > 0)
        log_int(line, "output_tokens", (int64_t)waiter->usage.output_tokens);
}

static void log_request(const struct waiter *waiter, bool delivered)
{
    const struct http_head *head = http_request_head(waiter->request);
    int64_t now_ms = engine_now_ms(waiter->engine);
    struct log_line line;
    log_begin(&line, waiter->engine->log, LOG_LEVEL_INFO, "request");
    log_text(&line, "flight", waiter->id_text);
    log_span(&line, "client", waiter->client);
    if (waiter->key_text[0])
        log_text(&line, "key", waiter->key_text);
    log_span(&line, "method", head->method);
    log_text(&line, "route", waiter->route);
    log_span(&line, "model", waiter->model);
    log_int(&line, "status", waiter->status);
    log_text(&line, "error", waiter->error_code);
    if (waiter->source != SOURCE_NONE)
        log_text(&line, "source", source_name(waiter->source));
    log_text(&line, "hold", waiter->hold_end);
    log_flight(&line, waiter);
    log_int(&line, "total_ms", now_ms - http_request_start_ms(waiter->request));
    log_bool(&line, "delivered", delivered);
    log_span(&line, "request_id", header_get(&head->headers, "x-request-id"));
    log_span(&line, "traceparent", header_get(&head->headers, "traceparent"));
    log_end(&line);
}

static void count_request(const struct waiter *waiter)
{
    struct engine_counts *counts = &waiter->engine->counts;
    const struct telemetry_request request = {
        .route = span_of(waiter->route),
        .client = waiter->client,
        .status = waiter->left ? 0 : waiter->status, /* it may have been written all the same */
        .source = waiter->source,
    };
    counts->sources[waiter->source]++;
    counts->duplicates[waiter->duplicate]++;
    if (request.status == 200)
        counts->tokens_saved[waiter->duplicate] += waiter->usage.output_tokens;
    telemetry_request(&waiter->engine->telemetry, &request);
}

static void on_end(void *context, struct http_request *request, bool delivered)
{
    struct engine *engine = context;
    struct waiter *waiter = http_request_tag(request);
    if (!waiter)
        return;
    struct engine_flight *run = waiter->flight, *told = waiter->told;
    engine_detach(waiter);
    if (run && !waiter->left)
        engine_note_left(run);
    engine_result_end(waiter);
    engine_let_body_go(waiter);
    intake_free(waiter->intake);
    waiter->intake = NULL;
    count_request(waiter);
    log_request(waiter, delivered);
    engine_note_request(waiter, delivered);
    http_request_set_tag(request, NULL);
    engine->open_requests--;
    if (run)
        lost_client(run);
    if (!told)
        return;
    told->telling--;
    told->delivered |= delivered;
    engine_settle(told);
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
