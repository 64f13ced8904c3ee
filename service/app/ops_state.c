#include "app/ops_state.h"

#include "core/json.h"

#include <string.h>

/* ---- members */

static void add_name(const char *name, struct buf *out)
{
    if (out->n && out->p[out->n - 1] != '{')
        buf_add_byte(out, ',');
    buf_printf(out, "\"%s\":", name);
}

/* Absent and empty: null. */
static void add_text(const char *name, struct span text, struct buf *out)
{
    add_name(name, out);
    if (text.n)
        json_quote(text, out);
    else
        buf_add_text(out, "null");
}

static void add_words(const char *name, const char *words, struct buf *out)
{
    add_text(name, span_of(words), out);
}

static void add_count(const char *name, uint64_t count, struct buf *out)
{
    add_name(name, out);
    buf_printf(out, "%llu", (unsigned long long)count);
}

static void add_bool(const char *name, bool value, struct buf *out)
{
    add_name(name, out);
    buf_add_text(out, value ? "true" : "false");
}

static void add_null(const char *name, struct buf *out)
{
    add_text(name, SPAN_ABSENT, out);
}

/* Negative: null. */
static void add_known(const char *name, int64_t value, struct buf *out)
{
    if (value < 0)
        add_null(name, out);
    else
        add_count(name, (uint64_t)value, out);
}

/* 0: null. */
static void add_nonzero(const char *name, uint64_t value, struct buf *out)
{
    add_known(name, value ? (int64_t)value : -1, out);
}

/* ---- flights */

static void add_names(const struct history_names *names, struct buf *out)
{
    add_words("route", names->route, out);
    add_words("client", names->client, out);
    add_words("model", names->model, out);
    add_words("upstream", names->upstream, out);
    add_words("key", names->key, out);
}

/* What only this process knows of a flight. */
static void add_progress(const struct flight_summary *flight, struct buf *out)
{
    static const char *const names[] = {"attempt",       "events",         "output_bytes",
                                        "output_tokens", "first_event_ms", "queue_ms",
                                        "waiters",       "accepted",       "orphan"};
    for (size_t i = 0; flight->row && i < COUNT_OF(names); i++)
        add_null(names[i], out);
    if (flight->row)
        return;
    add_count("attempt", flight->attempts, out);
    add_count("events", flight->events, out);
    add_count("output_bytes", flight->output_bytes, out);
    add_nonzero("output_tokens", flight->output_tokens, out);
    add_known("first_event_ms", flight->first_event_ms, out);
    add_known("queue_ms", flight->queue_ms, out);
    add_count("waiters", flight->waiters, out);
    add_bool("accepted", flight->accepted, out);
    add_bool("orphan", flight->orphan, out);
}

static void add_flight(const struct flight_summary *flight, struct buf *out)
{
    char id[FLIGHT_ID_TEXT_BYTES];
    flight_id_text(flight->id, id);
    add_words("id", id, out);
    add_names(&flight->names, out);
    add_words("state", flight->state, out);
    add_count("started_unix_ms", (uint64_t)flight->started_unix_ms, out);
    add_known("elapsed_ms", flight->elapsed_ms, out);
    add_known("deadline_ms", flight->deadline_ms, out);
    add_progress(flight, out);
}

void ops_flight_render(const struct ops_flight *flight, struct buf *out)
{
    const struct flight_summary *summary = flight->summary;
    buf_add_byte(out, '{');
    add_flight(summary, out);
    add_count("now_unix_ms", (uint64_t)flight->now_unix_ms, out);
    add_nonzero("ended_unix_ms", (uint64_t)summary->ended_unix_ms, out);
    add_nonzero("status", (uint64_t)summary->status, out);
    add_text("error", summary->error, out);
    add_known("paid_calls", summary->paid_calls, out);
    add_words("from", flight->timeline ? "memory" : "store", out);
    add_words("row", summary->row, out);
    add_name("timeline", out);
    if (flight->timeline)
        timeline_render(flight->timeline, out);
    else
        buf_add_text(out, "[]");
    add_count("timeline_omitted", flight->timeline ? flight->timeline->omitted : 0, out);
    buf_add_text(out, "}\n");
}

struct flight_summary ops_flight_of_row(const struct flight_record *record)
{
    enum api api;
    bool runs = record->state == FLIGHT_ROW_RUNNING;
    struct flight_summary summary = {
        .id = record->flight,
        .state = runs ? "running" : "ended",
        .row = flight_row_name(record->state),
        .started_unix_ms = record->started_ms,
        .elapsed_ms = runs ? -1 : record->ended_ms - record->started_ms,
        .deadline_ms = -1,
        .ended_unix_ms = record->ended_ms,
        .status = record->answer.status,
        .error = record->answer.error_code,
        .paid_calls = -1,
    };
    if (api_from_route(record->route, &api))
        history_name_route(&summary.names, span_of(api_route(api)));
    history_key_text(&record->key, summary.names.key);
    return summary;
}

/* ---- the state */

static void add_flights(const struct ops_state *state, struct buf *out)
{
    const struct engine *engine = state->engine;
    const struct engine_flight *run = engine_next_flight(engine, NULL);
    unsigned count = 0;
    add_name("flights", out);
    buf_add_byte(out, '[');
    for (; run && count < OPS_FLIGHTS_MAX; run = engine_next_flight(engine, run)) {
        const struct flight_summary summary = engine_flight_summary(run);
        buf_add_text(out, count++ ? ",{" : "{");
        add_flight(&summary, out);
        buf_add_byte(out, '}');
    }
    buf_add_byte(out, ']');
    add_count("flights_omitted", engine_state(engine).flights_running - count, out);
}

static void add_request(const struct request_summary *request, struct buf *out)
{
    buf_add_byte(out, '{');
    add_words("id", request->id, out);
    add_count("ended_unix_ms", (uint64_t)request->ended_unix_ms, out);
    add_names(&request->names, out);
    add_count("status", (uint64_t)request->status, out);
    add_words("source", source_name(request->source), out);
    add_words("error", request->error, out);
    add_count("attempts", request->attempts, out);
    add_known("duration_ms", request->duration_ms, out);
    add_known("queue_ms", request->queue_ms, out);
    add_known("first_event_ms", request->first_event_ms, out);
    add_nonzero("input_tokens", request->input_tokens, out);
    add_nonzero("output_tokens", request->output_tokens, out);
    buf_add_byte(out, '}');
}

static void add_recent(const struct ops_state *state, struct buf *out)
{
    const struct history *history = engine_history(state->engine);
    const struct request_summary *request;
    add_name("recent", out);
    buf_add_byte(out, '[');
    for (unsigned i = 0; (request = history_request(history, i)) != NULL; i++) {
        buf_add_text(out, i ? "," : "");
        add_request(request, out);
    }
    buf_add_byte(out, ']');
}

static uint64_t sum(const uint64_t by_source[SOURCE_COUNT])
{
    return by_source[SOURCE_JOINED] + by_source[SOURCE_ADOPTED] + by_source[SOURCE_REPLAYED];
}

static void begin(const char *name, struct buf *out)
{
    add_name(name, out);
    buf_add_byte(out, '{');
}

static void add_counts(const struct ops_state *state, struct buf *out)
{
    const struct engine_counts counts = engine_state(state->engine).counts;
    begin("counts", out);
    add_count("requests", history_request_count(engine_history(state->engine)), out);
    add_count("executed", counts.called, out);
    add_count("joined", counts.duplicates[SOURCE_JOINED], out);
    add_count("adopted", counts.duplicates[SOURCE_ADOPTED], out);
    add_count("replayed", counts.duplicates[SOURCE_REPLAYED], out);
    add_count("duplicates_avoided", sum(counts.duplicates), out);
    add_count("output_tokens_saved", sum(counts.tokens_saved), out);
    add_count("retries", counts.retries, out);
    add_count("refused", counts.refused, out);
    add_count("disconnects", counts.disconnects, out);
    add_count("maybe_billed_in_vain", counts.maybe_billed_in_vain, out);
    add_count("input_tokens", counts.input_tokens, out);
    add_count("output_tokens", counts.output_tokens, out);
    buf_add_byte(out, '}');
}

static void add_memory(const struct ops_state *state, struct buf *out)
{
    const struct engine_state engine = engine_state(state->engine);
    begin("memory", out);
    add_count("bytes", engine.memory_bytes, out);
    add_count("max", state->config->limits.memory_bytes_max, out);
    add_count("answers", engine.answers_in_memory, out);
    add_count("answers_unstored", engine.answers_unstored, out);
    buf_add_byte(out, '}');
}

static void add_store(const struct ops_state *state, struct buf *out)
{
    const struct store_stats *store = &state->store;
    const struct config_limits *limits = &state->config->limits;
    begin("store", out);
    add_bool("readable", store->readable, out);
    add_bool("writable", store->writable, out);
    add_bool("lost", store->lost, out);
    add_count("bytes", store->bytes, out);
    add_nonzero("bytes_max", limits->store_bytes_max, out);
    add_count("free_bytes", store->free_bytes, out);
    add_count("free_bytes_min", limits->store_free_bytes_min, out);
    add_count("queue", store->queue_length, out);
    add_count("commit_us_mean", store->commits ? store->commit_us_sum / store->commits : 0,
              out);
    add_count("commit_us_max", store->commit_us_max, out);
    add_count("failures", store->failures, out);
    buf_add_byte(out, '}');
}

/* NULL: the configuration has it no more. */
static const char *provider_of(const struct config *config, struct span upstream)
{
    for (size_t i = 0; i < config->upstream_count; i++)
        if (span_eq(config->upstreams[i].name, upstream))
            return provider_name(config->upstreams[i].provider);
    return NULL;
}

static void add_upstreams(const struct ops_state *state, struct buf *out)
{
    struct engine_upstream_state upstream;
    add_name("upstreams", out);
    buf_add_byte(out, '[');
    for (size_t i = 0; engine_upstream_state(state->engine, i, &upstream); i++) {
        buf_add_text(out, i ? ",{" : "{");
        add_text("name", upstream.name, out);
        add_words("provider", provider_of(state->config, upstream.name), out);
        add_count("flights", upstream.flights, out);
        add_count("pauses", upstream.pauses, out);
        buf_add_byte(out, '}');
    }
    buf_add_byte(out, ']');
}

void ops_state_render(const struct ops_state *state, struct buf *out)
{
    const struct engine_state engine = engine_state(state->engine);
    const struct config_limits *limits = &state->config->limits;
    buf_add_byte(out, '{');
    add_words("version", UNSTREAM_VERSION, out);
    add_count("now_unix_ms", (uint64_t)state->now_unix_ms, out);
    add_count("started_unix_ms", (uint64_t)state->started_unix_ms, out);
    add_words("status",
              engine.draining                  ? "draining"
              : engine_is_ready(state->engine) ? "ready"
                                               : "not_ready",
              out);
    add_flights(state, out);
    add_recent(state, out);
    begin("queue", out);
    add_count("waiting", engine.flights_queued, out);
    add_count("max", limits->queue_max, out);
    buf_add_byte(out, '}');
    add_counts(state, out);
    add_count("flights_running", engine.flights_running, out);
    add_count("flights_max", limits->flights_max, out);
    add_count("waiters", engine.waiters, out);
    add_memory(state, out);
    add_store(state, out);
    add_upstreams(state, out);
    buf_add_text(out, "}\n");
}
