/* One flight, driven: carries out the orders of core/flight.h against store and upstream and
 * feeds their completions back. */
#include "app/engine_internal.h"

#include "app/clock.h"
#include "core/json.h"
#include "core/simple_api.h"

#include <stdlib.h>
#include <string.h>

/* A provider's error body and what is put around it. */
enum { ERROR_BODY_BYTES_MAX = ATTEMPT_ERROR_BYTES_MAX + 16384 };

static void perform(struct engine_flight *run, enum flight_order order);

static int64_t now_ms(const struct engine_flight *run)
{
    return event_loop_now_ms(run->engine->loop);
}

static struct timers *timers(const struct engine_flight *run)
{
    return event_loop_timers(run->engine->loop);
}

void engine_flight_discard(struct engine_flight *run)
{
    ASSERT(!run->transfer && list_is_empty(&run->waiters));
    timers_stop(timers(run), &run->deadline);
    timers_stop(timers(run), &run->pause);
    engine_forget(run);
    attempt_outcome_done(&run->outcome);
    blob_free(run->answer.body);
    intake_free(run->intake);
    free(run);
}

/* ---- the store */

/* What the store's record of the key means for this flight. */
static enum flight_key judge_record(const struct engine_flight *run,
                                    const struct key_record *record)
{
    bool same = memcmp(record->fingerprint.bytes, run->intake->fingerprint.bytes,
                       sizeof record->fingerprint.bytes) == 0;
    switch (record->state) {
    case KEY_ABSENT:
        return FLIGHT_KEY_FREE;
    case KEY_RELEASED:
        return same ? FLIGHT_KEY_FREE : FLIGHT_KEY_OTHER;
    case KEY_DONE:
    case KEY_FAILED:
        if (!same)
            return FLIGHT_KEY_OTHER;
        return record->corrupt ? FLIGHT_KEY_CORRUPT : FLIGHT_KEY_ANSWERED;
    case KEY_RUNNING:
        break;
    }
    return FLIGHT_KEY_TROUBLE; /* running, but not in this process: nothing we could join */
}

/* Keep what a replay repeats; spans go into the intake's arena. */
static void keep_record(struct engine_flight *run, const struct key_record *record)
{
    struct arena *arena = &run->intake->arena;
    const struct answer *stored = &record->answer;
    run->answer = (struct answer){
        .status = stored->status,
        .body = blob_ref(stored->body),
        .content_type = arena_copy(arena, stored->content_type),
        .request_id =
            stored->request_id.p ? arena_copy(arena, stored->request_id) : SPAN_ABSENT,
        .error_code =
            stored->error_code.p ? arena_copy(arena, stored->error_code) : SPAN_ABSENT,
    };
    run->id = record->flight;
    flight_id_text(run->id, run->id_text);
}

static enum flight_key judge(struct engine_flight *run, enum rc rc,
                             const struct key_record *record)
{
    enum flight_key key = rc == OK ? judge_record(run, record) : FLIGHT_KEY_TROUBLE;
    if (key == FLIGHT_KEY_ANSWERED)
        keep_record(run, record);
    return key;
}

static void on_lookup(void *context, enum rc rc, const struct key_record *record)
{
    struct engine_flight *run = context;
    perform(run, flight_on_lookup(&run->flight, judge(run, rc, record)));
}

static void on_claim(void *context, enum rc rc, enum claim_result result,
                     const struct key_record *record)
{
    struct engine_flight *run = context;
    enum flight_key key = FLIGHT_KEY_TROUBLE;
    if (rc == OK)
        switch (result) {
        case CLAIM_OK:
            key = FLIGHT_KEY_FREE;
            break;
        case CLAIM_EXHAUSTED:
            key = FLIGHT_KEY_USED_UP;
            break;
        case CLAIM_EXISTS:
            key = judge(run, rc, record);
            break;
        }
    perform(run, flight_on_claim(&run->flight, key));
}

static enum flight_order claim(struct engine_flight *run)
{
    const struct intake *intake = run->intake;
    enum http_error refusal;
    if (!engine_admits(run, &refusal))
        return flight_refuse(&run->flight, refusal, NULL);
    const struct store_claim claim = {
        .key = intake->key,
        .scope = intake->scope,
        .fingerprint = intake->fingerprint,
        .flight = run->id,
        .route = span_of(api_route(intake->api)),
        .now_ms = clock_unix_ms(),
        .paid_calls_max = intake->config->idempotency.paid_calls_max,
    };
    if (!run->engine->store || store_claim(run->engine->store, &claim, on_claim, run) != OK)
        return flight_on_claim(&run->flight, FLIGHT_KEY_TROUBLE);
    return FLIGHT_WAIT;
}

static void on_count(void *context, enum rc rc, unsigned paid_calls)
{
    struct engine_flight *run = context;
    (void)paid_calls;
    perform(run, flight_on_count(&run->flight, rc));
}

static void on_commit(void *context, enum rc rc)
{
    struct engine_flight *run = context;
    if (rc != OK) {
        struct log_line line;
        log_begin(&line, run->engine->log, LOG_LEVEL_ERROR, "store_failed");
        log_text(&line, "flight", run->id_text);
        log_text(&line, "reason", rc_text(rc));
        log_text(&line, "next",
                 "the waiters are answered, but a retry of this key may run again");
        log_end(&line);
    }
    perform(run, flight_on_commit(&run->flight, rc));
}

static enum flight_order commit(struct engine_flight *run, bool failed)
{
    const struct config_idempotency *times = &run->intake->config->idempotency;
    int64_t now = clock_unix_ms();
    const struct store_completion completion = {
        .key = run->intake->key,
        .flight = run->id,
        .failed = failed,
        .answer = run->answer,
        .now_ms = now,
        .expires_ms = now + (failed ? times->error_ttl_ms : times->ttl_ms),
    };
    if (!run->engine->store ||
        store_complete(run->engine->store, &completion, on_commit, run) != OK)
        return flight_on_commit(&run->flight, E_CLOSED);
    return FLIGHT_WAIT;
}

static enum flight_order release(struct engine_flight *run)
{
    const struct store_release release = {
        .key = run->intake->key,
        .flight = run->id,
        .give_back = run->flight.call_in_hand,
        .outcome = run->answer,
        .now_ms = clock_unix_ms(),
    };
    if (!run->engine->store ||
        store_release(run->engine->store, &release, on_commit, run) != OK)
        return flight_on_commit(&run->flight, E_CLOSED);
    return FLIGHT_WAIT;
}

/* ---- the upstream */

static void log_call_end(const struct engine_flight *run)
{
    const struct attempt_outcome *outcome = &run->outcome;
    bool answered = outcome->end == ATTEMPT_ANSWERED;
    struct headers headers = {outcome->headers, outcome->header_count};
    struct log_line line;
    log_begin(&line, run->engine->log, answered ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING,
              "call_ended");
    log_text(&line, "flight", run->id_text);
    log_span(&line, "upstream", run->intake->upstream->name);
    log_int(&line, "attempt", run->flight.attempts);
    log_text(&line, "end", attempt_end_name(outcome->end));
    log_int(&line, "status", outcome->status);
    log_span(&line, "request_id", header_get(&headers, "x-request-id"));
    log_span(&line, "request_id", header_get(&headers, "request-id"));
    log_int(&line, "ms", outcome->total_ms);
    log_text(&line, "next", flight_state_name(run->flight.state));
    log_end(&line);
}

/* /api/llm: from the provider's answer to ours.  An answer that cannot be mapped is malformed.
 */
static void map_simple_answer(struct engine_flight *run)
{
    struct attempt_outcome *outcome = &run->outcome;
    BUF(mapped, run->intake->config->limits.answer_bytes_max);
    enum rc rc = simple_api_answer(run->intake->route->api, blob_span(outcome->body), &mapped);
    struct blob *body = rc == OK ? blob_take(&mapped) : NULL;
    if (!body)
        outcome->end = rc == E_SYNTAX ? ATTEMPT_MALFORMED : ATTEMPT_NO_RESOURCES;
    blob_free(outcome->body);
    outcome->body = body;
}

/* include_usage "auto": a provider that refuses stream_options is asked once again without it,
 * and not asked again for an hour.  True: the call can be made again. */
static bool refused_include_usage(struct engine_flight *run)
{
    enum { REMEMBERED_MS = 3600 * 1000 };
    const struct attempt_outcome *outcome = &run->outcome;
    bool refused =
        outcome->end == ATTEMPT_REFUSED && (outcome->status == 400 || outcome->status == 422);
    struct upstream_memory *memory = engine_upstream_memory(run->engine, run->intake->upstream);
    if (!refused || !run->intake->include_usage ||
        run->intake->upstream->include_usage != INCLUDE_USAGE_AUTO)
        return false;
    struct span body = blob_span(outcome->body);
    if (!body.n || !memmem(body.p, body.n, "stream_options", strlen("stream_options")))
        return false;
    memory->usage_refused_until_ms = now_ms(run) + REMEMBERED_MS;
    return intake_drop_include_usage(run->intake) == OK;
}

static enum flight_order call(struct engine_flight *run);

static void on_output(void *context)
{
    struct engine_flight *run = context;
    flight_on_output(&run->flight);
    intake_keep_splice(run->intake);
}

static void count_call(struct engine_flight *run)
{
    struct engine_counts *counts = &run->engine->counts;
    const struct attempt_outcome *outcome = &run->outcome;
    counts->attempts[outcome->end]++;
    if (outcome->end != ATTEMPT_ANSWERED)
        counts->maybe_billed_in_vain += attempt_may_be_billed(outcome);
    counts->input_tokens += outcome->progress.input_tokens;
    counts->output_tokens += outcome->progress.output_tokens;
}

/* The call's outcome is in run->outcome: what is next? */
static void call_ended(struct engine_flight *run)
{
    run->transfer = NULL;
    count_call(run);
    if (run->outcome.first_event_ms >= 0 && run->first_event_ms < 0)
        run->first_event_ms =
            run->call_start_ms - run->first_call_ms + run->outcome.first_event_ms;
    if (refused_include_usage(run)) {
        attempt_outcome_done(&run->outcome);
        perform(run, call(run)); /* a refusal is free: the same counted call is made again */
        return;
    }
    if (run->outcome.end == ATTEMPT_ANSWERED && run->intake->api == API_SIMPLE)
        map_simple_answer(run);
    struct upstream_memory *memory = engine_upstream_memory(run->engine, run->intake->upstream);
    int64_t unix_s = clock_unix_ms() / 1000;
    enum flight_order order = flight_on_call_end(&run->flight, &run->outcome, &memory->budget,
                                                 now_ms(run), unix_s, clock_dice());
    run->engine->counts.retries += order == FLIGHT_PAUSE;
    log_call_end(run);
    perform(run, order);
}

static void on_end(void *context, struct attempt_outcome *outcome)
{
    struct engine_flight *run = context;
    attempt_outcome_done(&run->outcome);
    run->outcome = *outcome;
    *outcome = (struct attempt_outcome){0};
    call_ended(run);
}

static enum flight_order call(struct engine_flight *run)
{
    const struct intake *intake = run->intake;
    const struct config_upstream *upstream = intake->upstream;
    const struct config_limits *limits = &intake->config->limits;
    struct upstream_memory *memory = engine_upstream_memory(run->engine, upstream);
    if (run->first_call_ms < 0) {
        run->first_call_ms = now_ms(run);
        retry_budget_earn(&memory->budget, upstream->retry_budget_ratio, now_ms(run));
    }
    run->call_start_ms = now_ms(run);
    const struct transfer_params params = {
        .url = intake->url,
        .headers = intake->headers,
        .body = intake->upstream_body,
        .proxy = upstream->proxy,
        .ca_file = upstream->ca_file,
        .connect_timeout_ms = upstream->connect_timeout_ms,
        .first_event_timeout_ms = upstream->first_event_timeout_ms,
        .idle_timeout_ms = upstream->idle_timeout_ms,
        .time_left_ms = run->flight.params.ceiling_ms - now_ms(run),
        .assemble = {.api = intake->route->api,
                     .choices = intake->choices,
                     .add_annotations =
                         span_starts(upstream->base_url, "https://api.openai.com"),
                     .event_bytes_max = limits->event_bytes_max,
                     .answer_bytes_max = limits->answer_bytes_max},
        .on_output = on_output,
        .on_end = on_end,
        .context = run,
    };
    if (run->engine->upstream &&
        upstream_start(run->engine->upstream, &params, &run->transfer) == OK)
        return FLIGHT_WAIT;
    attempt_outcome_done(&run->outcome);
    run->outcome = (struct attempt_outcome){.end = ATTEMPT_NO_RESOURCES, .first_event_ms = -1};
    count_call(run);
    return flight_on_call_end(&run->flight, &run->outcome, &memory->budget, now_ms(run), 0, 0);
}

/* End the running call; whether it was billed is not known, so it counts as if it was. */
static void abort_call(struct engine_flight *run)
{
    struct assemble_progress progress = transfer_progress(run->transfer);
    transfer_cancel(run->transfer);
    run->transfer = NULL;
    attempt_outcome_done(&run->outcome);
    run->outcome = (struct attempt_outcome){
        .end = ATTEMPT_DEADLINE,
        .request_sent = true,
        .output_began = run->flight.output_began || progress.output_began,
        .progress = progress,
        .first_event_ms = -1,
        .total_ms = now_ms(run) - run->call_start_ms,
    };
}

/* ---- the verdict becomes an answer */

static bool is_json_object(struct span body)
{
    struct json json;
    json_init(&json, body.p ? body : SPAN(""), JSON_LENIENT);
    bool is_object = json_peek(&json) == JSON_OBJECT;
    json_skip(&json);
    return is_object && json_end(&json);
}

/* The provider's error as it came, if it is JSON; a stream's error object gets the wrapping
 * that the same error has outside of a stream.  Returns the content type. */
static const char *render_upstream_error(const struct engine_flight *run, struct buf *out)
{
    enum error_shape shape = api_error_shape(run->intake->api);
    bool anthropic = run->intake->upstream->provider == PROVIDER_ANTHROPIC;
    bool wrap = run->outcome.end == ATTEMPT_STREAM_ERROR;
    struct span body = blob_span(run->outcome.body);
    if (!is_json_object(body)) {
        const struct http_error_params params = {
            .shape = shape,
            .status = run->flight.verdict.status,
            .request_id = span_of(run->id_text),
        };
        http_error_wrap_upstream(&params, body, out);
        return http_error_content_type(shape);
    }
    if (wrap)
        buf_add_text(out, anthropic ? "{\"type\":\"error\",\"error\":" : "{\"error\":");
    buf_add(out, body);
    if (wrap)
        buf_add_byte(out, '}');
    return "application/json";
}

static void render_own_error(const struct engine_flight *run, struct buf *out)
{
    const struct verdict *verdict = &run->flight.verdict;
    const struct http_error_info *info = http_error_info(verdict->error);
    BUF(message, 1024);
    buf_add_text(&message, info->text);
    if (verdict->detail)
        buf_printf(&message, " (%s)", verdict->detail);
    const struct http_error_params params = {
        .shape = api_error_shape(run->intake->api),
        .error = verdict->error,
        .message = buf_span(&message),
        .request_id = span_of(run->id_text),
    };
    http_error_render(&params, out);
}

/* Builds run->answer.  Out of memory leaves the body NULL, and the reply is empty. */
static void build_answer(struct engine_flight *run)
{
    const struct verdict *verdict = &run->flight.verdict;
    struct headers headers = {run->outcome.headers, run->outcome.header_count};
    bool anthropic = run->intake->upstream->provider == PROVIDER_ANTHROPIC;
    BUF(body, ERROR_BODY_BYTES_MAX);
    run->answer.status = (int)verdict->status;
    run->answer.content_type = SPAN("application/json");
    run->answer.request_id = header_get(&headers, anthropic ? "request-id" : "x-request-id");
    switch (verdict->body) {
    case VERDICT_STORED:
        return; /* not reached: perform leaves what keep_record made */
    case VERDICT_ANSWER:
        run->answer.body = blob_ref(run->outcome.body);
        return;
    case VERDICT_UPSTREAM_BODY:
        run->answer.content_type = span_of(render_upstream_error(run, &body));
        break;
    case VERDICT_OWN_ERROR:
        run->answer.content_type =
            span_of(http_error_content_type(api_error_shape(run->intake->api)));
        run->answer.error_code = span_of(http_error_info(verdict->error)->code);
        render_own_error(run, &body);
        break;
    }
    run->answer.body = buf_rc(&body) == OK ? blob_take(&body) : NULL;
}

static void ended(struct engine_flight *run)
{
    run->end_ms = now_ms(run);
    if (run->flight.verdict.body == VERDICT_STORED)
        run->source = SOURCE_REPLAYED;
    else if (run->intake->keyed && run->flight.attempts > 0) {
        bool unstored = run->flight.unstored && run->flight.verdict.keep == KEEP_ANSWER;
        run->source = unstored ? SOURCE_UNSTORED : SOURCE_EXECUTED;
    }
    engine_answer_waiters(run);
    engine_flight_discard(run);
}

/* ---- orders */

/* Carry out one order; an order that can be completed at once gives the next. */
static enum flight_order carry_out(struct engine_flight *run, enum flight_order order)
{
    const struct intake *intake = run->intake;
    struct store *store = run->engine->store;
    switch (order) {
    case FLIGHT_WAIT:
        return FLIGHT_WAIT;
    case FLIGHT_LOOK_UP:
        if (!store || store_lookup(store, &intake->key, clock_unix_ms(), on_lookup, run) != OK)
            return flight_on_lookup(&run->flight, FLIGHT_KEY_TROUBLE);
        return FLIGHT_WAIT;
    case FLIGHT_CLAIM:
        return claim(run);
    case FLIGHT_CALL:
        return call(run);
    case FLIGHT_PAUSE: {
        enum rc rc = timers_start(timers(run), &run->pause, now_ms(run) + run->flight.pause_ms);
        return rc == OK ? FLIGHT_WAIT : flight_on_pause_end(&run->flight);
    }
    case FLIGHT_COUNT:
        if (!store ||
            store_count(store, &intake->key, run->id,
                        intake->config->idempotency.paid_calls_max, on_count, run) != OK)
            return flight_on_count(&run->flight, E_NOMEM);
        return FLIGHT_WAIT;
    case FLIGHT_ABORT:
        abort_call(run);
        if (run->flight.stopping)
            return flight_on_stopped(&run->flight);
        call_ended(run);
        return FLIGHT_WAIT;
    case FLIGHT_COMPLETE:
    case FLIGHT_FAIL:
        build_answer(run);
        return commit(run, order == FLIGHT_FAIL);
    case FLIGHT_RELEASE:
        build_answer(run);
        return release(run);
    case FLIGHT_ANSWER:
        break;
    }
    return FLIGHT_ANSWER;
}

/* The flight may be gone afterwards. */
static void perform(struct engine_flight *run, enum flight_order order)
{
    while (order != FLIGHT_WAIT && order != FLIGHT_ANSWER)
        order = carry_out(run, order);
    if (order == FLIGHT_WAIT)
        return;
    if (!run->answer.status)
        build_answer(run);
    ended(run);
}

/* ---- events that are not completions */

static void on_pause_end(struct timer *timer)
{
    struct engine_flight *run = CONTAINER_OF(timer, struct engine_flight, pause);
    perform(run, flight_on_pause_end(&run->flight));
}

static void arm_deadline(struct engine_flight *run)
{
    int64_t due_ms = flight_deadline_ms(&run->flight, now_ms(run));
    enum rc rc = timers_start(timers(run), &run->deadline, due_ms);
    ASSERT(rc == OK); /* it has a place since engine_flight_new */
}

static void on_deadline(struct timer *timer)
{
    struct engine_flight *run = CONTAINER_OF(timer, struct engine_flight, deadline);
    enum flight_order order = flight_on_deadline(&run->flight, now_ms(run));
    if (order == FLIGHT_WAIT && now_ms(run) < run->flight.params.ceiling_ms)
        arm_deadline(run);
    perform(run, order);
}

static struct flight_params flight_params_of(const struct engine *engine,
                                             const struct intake *intake)
{
    const struct config_upstream *upstream = intake->upstream;
    int64_t now = event_loop_now_ms(engine->loop);
    int64_t deadline_ms = now + intake->wait_ms;
    int64_t ceiling_ms = now + intake->config->limits.flight_max_ms;
    return (struct flight_params){
        .keyed = intake->keyed,
        .key_is_ours = upstream->api_key.p != NULL,
        .may_outlive = intake->keyed,
        .retry = {.attempts_max = upstream->attempts_max,
                  .backoff_base_ms = upstream->backoff_base_ms,
                  .backoff_max_ms = upstream->backoff_max_ms},
        .deadline_ms = deadline_ms,
        .ceiling_ms = ceiling_ms > deadline_ms ? ceiling_ms : deadline_ms,
    };
}

enum rc engine_flight_new(struct engine *engine, struct intake *intake, struct flight_id id,
                          struct engine_flight **ret)
{
    struct engine_flight *run = calloc(1, sizeof *run);
    if (!run)
        return E_NOMEM;
    run->engine = engine;
    run->id = id;
    run->start_ms = event_loop_now_ms(engine->loop);
    run->first_call_ms = run->end_ms = run->first_event_ms = -1;
    run->pause.run = on_pause_end;
    run->deadline.run = on_deadline;
    flight_id_text(id, run->id_text);
    list_init(&run->link);
    list_init(&run->waiters);
    struct flight_params params = flight_params_of(engine, intake);
    flight_init(&run->flight, &params);
    enum rc rc = timers_start(timers(run), &run->deadline, params.deadline_ms);
    if (rc == OK && intake->keyed)
        rc = map_put(&engine->keys, intake->key.bytes, run);
    if (rc != OK) {
        timers_stop(timers(run), &run->deadline);
        free(run);
        return rc;
    }
    run->intake = intake;
    list_append(&engine->flights, &run->link);
    engine->flight_count++;
    engine->counts.flights++;
    *ret = run;
    return OK;
}

void engine_flight_start(struct engine_flight *run)
{
    enum http_error refusal;
    if (!run->intake->keyed && !engine_admits(run, &refusal))
        perform(run, flight_refuse(&run->flight, refusal, NULL));
    else
        perform(run, flight_start(&run->flight));
}

void engine_flight_join(struct engine_flight *run, int64_t deadline_ms)
{
    flight_on_join(&run->flight, deadline_ms);
    arm_deadline(run);
    if (run->transfer)
        transfer_set_time_left(run->transfer, run->flight.params.ceiling_ms - now_ms(run));
}

void engine_flight_stop(struct engine_flight *run, enum http_error why)
{
    enum flight_order order = flight_stop(&run->flight, why, NULL);
    timers_stop(timers(run), &run->pause);
    perform(run, order);
}
