/* A flight and its upstream calls: start, abort, and what is to be learnt from each end. */
#include "app/engine_internal.h"

#include "app/clock.h"
#include "core/simple_api.h"

#include <string.h>

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
    log_text(&line, "cause", outcome->cause);
    log_int(&line, "status", outcome->status);
    log_span(&line, "request_id", header_get(&headers, "x-request-id"));
    log_span(&line, "request_id", header_get(&headers, "request-id"));
    log_int(&line, "ms", outcome->total_ms);
    log_text(&line, "next", flight_state_name(run->flight.state));
    if (run->flight.state == FLIGHT_PAUSING)
        log_int(&line, "pause_ms", run->flight.pause_ms);
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
    if (!body)
        engine_note_call_end(run, false);
}

/* include_usage "auto": a provider that refuses stream_options is asked once again without it,
 * and not asked again for an hour.  True: the call can be made again. */
static bool refused_include_usage(struct engine_flight *run)
{
    enum { REMEMBERED_MS = 3600 * 1000 };
    const struct attempt_outcome *outcome = &run->outcome;
    bool refused =
        outcome->end == ATTEMPT_REFUSED && (outcome->status == 400 || outcome->status == 422);
    if (!refused || !run->intake->include_usage ||
        run->intake->upstream->include_usage != INCLUDE_USAGE_AUTO)
        return false;
    struct span body = blob_span(outcome->body);
    if (!body.n || !memmem(body.p, body.n, "stream_options", strlen("stream_options")))
        return false;
    run->memory->usage_refused_until_ms = engine_now_ms(run->engine) + REMEMBERED_MS;
    return intake_drop_include_usage(run->intake) == OK;
}

static void on_output(void *context)
{
    struct engine_flight *run = context;
    flight_on_output(&run->flight);
    run->had_output = true;
    engine_note_output(run);
    intake_keep_splice(run->intake);
    engine_weigh(run);
    engine_edge_on_output(run);
}

static void count_call(struct engine_flight *run, bool cancelled)
{
    struct engine_counts *counts = &run->engine->counts;
    const struct attempt_outcome *outcome = &run->outcome;
    const struct telemetry_call call = {
        .operation = run->intake->operation,
        .provider = run->intake->upstream->provider,
        .model = run->intake->model,
        .outcome = outcome,
        .cancelled = cancelled,
    };
    telemetry_call(&run->engine->telemetry, &call);
    engine_note_call_end(run, cancelled);
    *(cancelled ? &counts->attempts_cancelled : &counts->attempts[outcome->end]) += 1;
    if (outcome->end != ATTEMPT_ANSWERED && call.operation)
        counts->maybe_billed_in_vain += attempt_may_be_billed(outcome);
    counts->input_tokens += outcome->progress.input_tokens;
    counts->output_tokens += outcome->progress.output_tokens;
}

enum flight_order engine_call_ended(struct engine_flight *run)
{
    int64_t now_ms = engine_now_ms(run->engine), unix_s = clock_unix_ms() / 1000;
    run->transfer = NULL;
    count_call(run, false);
    if (run->outcome.first_event_ms >= 0 && run->first_event_ms < 0)
        run->first_event_ms =
            run->call_start_ms - run->first_call_ms + run->outcome.first_event_ms;
    if (refused_include_usage(run))
        return engine_call(run); /* a refusal is free: the same counted call is made again */
    engine_admission_call_ended(run);
    if (run->outcome.end == ATTEMPT_ANSWERED && run->intake->api == API_SIMPLE)
        map_simple_answer(run);
    engine_weigh(run);
    enum flight_order order = flight_on_call_end(
        &run->flight, &run->outcome, &run->memory->budget, now_ms, unix_s, clock_dice());
    run->engine->counts.retries += order == FLIGHT_PAUSE;
    log_call_end(run);
    return order;
}

static void on_end(void *context, struct attempt_outcome *outcome)
{
    struct engine_flight *run = context;
    attempt_outcome_done(&run->outcome);
    run->outcome = *outcome;
    *outcome = (struct attempt_outcome){0};
    engine_flight_perform(run, engine_call_ended(run));
}

static void note_start(struct engine_flight *run)
{
    int64_t us = clock_monotonic_us() - run->asked_us - run->queue_ms * 1000;
    if (run->asked_us > 0)
        telemetry_start(&run->engine->telemetry, run->intake->keyed, us);
}

enum flight_order engine_call(struct engine_flight *run)
{
    const struct intake *intake = run->intake;
    const struct config_upstream *upstream = intake->upstream;
    const struct config_limits *limits = &intake->config->limits;
    int64_t now_ms = engine_now_ms(run->engine);
    if (run->first_call_ms < 0) {
        run->first_call_ms = now_ms;
        run->engine->counts.called++;
        note_start(run);
        retry_budget_earn(&run->memory->budget, upstream->retry_budget_ratio, now_ms);
    }
    run->call_start_ms = now_ms;
    engine_note_call(run, TIMELINE_CALL);
    const struct transfer_params params = {
        .url = intake->url,
        .headers = intake->headers,
        .body = intake->upstream_body,
        .proxy = upstream->effective_proxy.value,
        .ca_file = upstream->effective_ca_file.value,
        .connect_timeout_ms = upstream->connect_timeout_ms,
        .first_event_timeout_ms = upstream->first_event_timeout_ms,
        .idle_timeout_ms = upstream->idle_timeout_ms,
        .time_left_ms = run->flight.params.ceiling_ms - now_ms,
        .plain = intake->relay.p,
        .counts_usage = intake->relay.p && intake->operation,
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
    return engine_call_ended(run);
}

void engine_call_abort(struct engine_flight *run)
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
        .total_ms = engine_now_ms(run->engine) - run->call_start_ms,
    };
    if (run->flight.stopping)
        count_call(run, true); /* its end is not looked at any more */
}
