#include "app/metrics.h"

#include "app/reply.h"
#include "app/telemetry.h"

/* X(name, type, help, value): one number each. */
#define METRICS_TABLE(X)                                                                       \
    X("unstream_flights_running", "gauge", "Generations under way.", state->flights_running)   \
    X("unstream_flights_admitted", "gauge", "Flights that have a slot.",                       \
      state->flights_admitted)                                                                 \
    X("unstream_flights_queued", "gauge",                                                      \
      "Flights that wait for a slot, or for a provider's pause to end.",                       \
      state->flights_queued)                                                                   \
    X("unstream_queued_total", "counter", "Flights that had to wait for a slot.",              \
      state->counts.queued)                                                                    \
    X("unstream_fallbacks_total", "counter", "Flights that changed over to the fallback.",     \
      state->counts.fallbacks)                                                                 \
    X("unstream_waiters", "gauge", "Client connections waiting for a generation.",             \
      state->waiters)                                                                          \
    X("unstream_orphans", "gauge",                                                             \
      "Keyless generations, running or finished, that wait for a retry.", state->orphans)      \
    X("unstream_orphans_total", "counter", "Keyless generations that lost their last client.", \
      state->counts.orphans)                                                                   \
    X("unstream_orphans_lost_total", "counter",                                                \
      "Orphans cancelled or forgotten because no retry came.", state->counts.orphans_lost)     \
    X("unstream_answers_in_memory", "gauge",                                                   \
      "Keyed answers kept in memory, not in the store.", state->answers_in_memory)             \
    X("unstream_answers_unstored", "gauge", "Of these, answers that the store is to get yet.", \
      state->answers_unstored)                                                                 \
    X("unstream_answers_dropped_total", "counter",                                             \
      "Keyed answers dropped from memory before their time.", state->counts.answers_dropped)   \
    X("unstream_memory_bytes", "gauge",                                                        \
      "Bodies of generations, answers and replies in memory.", state->memory_bytes)            \
    X("unstream_connections", "gauge", "Client connections open.", service->connections)       \
    X("unstream_reloads_total", "counter", "Configurations taken while running.",              \
      service->reloads)                                                                        \
    X("unstream_reloads_refused_total", "counter", "Reloads that changed nothing.",            \
      service->reloads_refused)                                                                \
    X("unstream_draining", "gauge", "1 while the service is about to stop.", state->draining)  \
    X("unstream_flights_total", "counter", "Flights started.", state->counts.flights)          \
    X("unstream_retries_total", "counter", "Upstream calls made again.",                       \
      state->counts.retries)                                                                   \
    X("unstream_refused_total", "counter", "Requests refused with an error of our own.",       \
      state->counts.refused)                                                                   \
    X("unstream_client_disconnects_total", "counter", "Clients that left before their reply.", \
      state->counts.disconnects)                                                               \
    X("unstream_holds_conflict_total", "counter", "Holds that ended with a conflict.",         \
      state->counts.conflicts)                                                                 \
    X("unstream_holds_redirect_total", "counter", "Holds that ended with a redirect.",         \
      state->counts.redirects)                                                                 \
    X("unstream_holds_heartbeat_total", "counter", "Replies that began with heartbeats.",      \
      state->counts.heartbeats)                                                                \
    X("unstream_accepted_total", "counter", "202s: requests accepted, and results not there.", \
      state->counts.accepted)                                                                  \
    X("unstream_results_total", "counter", "Outcomes told at result URLs from the store.",     \
      state->counts.results)                                                                   \
    X("unstream_cancelled_total", "counter", "Generations cancelled on request.",              \
      state->counts.cancelled)                                                                 \
    X("unstream_resumed_total", "counter",                                                     \
      "Accepted requests of an earlier process that were driven again.",                       \
      state->counts.resumed)                                                                   \
    X("unstream_calls_billed_in_vain_total", "counter",                                        \
      "Upstream calls that may have been billed and gave no answer.",                          \
      state->counts.maybe_billed_in_vain)                                                      \
    X("unstream_input_tokens_total", "counter", "Input tokens, as providers counted them.",    \
      state->counts.input_tokens)                                                              \
    X("unstream_output_tokens_total", "counter", "Output tokens, as providers counted them.",  \
      state->counts.output_tokens)                                                             \
    X("unstream_store_operations_total", "counter", "Store operations done.",                  \
      store->operations)                                                                       \
    X("unstream_store_failures_total", "counter", "Store operations that failed.",             \
      store->failures)                                                                         \
    X("unstream_store_queue", "gauge", "Store operations waiting.", store->queue_length)       \
    X("unstream_store_bytes", "gauge", "Size of the store.", store->bytes)                     \
    X("unstream_store_free_bytes", "gauge", "Free space on the store's disk.",                 \
      store->free_bytes)                                                                       \
    X("unstream_store_readable", "gauge", "1 if the store can be read.", store->readable)      \
    X("unstream_store_writable", "gauge", "1 if the store can be written.", store->writable)

static void add_one(struct buf *out, const char *name, const char *type, const char *help,
                    uint64_t value)
{
    series_render_head(name, type, help, out);
    buf_printf(out, "%s %llu\n", name, (unsigned long long)value);
}

static void add_labelled(struct buf *out, const char *name, const char *label,
                         struct span label_value, uint64_t value)
{
    buf_add_text(out, name);
    series_render_label(label, label_value, out);
    buf_printf(out, " %llu\n", (unsigned long long)value);
}

static void add_sources(struct buf *out, const struct engine_counts *counts)
{
    const char *name = "unstream_answers_total";
    series_render_head(name, "counter", "Answers by Idempotency-Status.", out);
    for (int source = SOURCE_NONE + 1; source < SOURCE_COUNT; source++)
        add_labelled(out, name, "source", span_of(source_name((enum source)source)),
                     counts->sources[source]);
}

static void add_duplicates(struct buf *out, const struct engine_counts *counts)
{
    static const enum source sources[] = {SOURCE_JOINED, SOURCE_REPLAYED, SOURCE_ADOPTED};
    const char *avoided = "unstream_duplicates_avoided_total";
    const char *saved = "unstream_output_tokens_saved_total";
    series_render_head(avoided, "counter",
                       "Requests that found a generation or its answer instead of starting "
                       "another one.",
                       out);
    for (size_t i = 0; i < COUNT_OF(sources); i++)
        add_labelled(out, avoided, "source", span_of(source_name(sources[i])),
                     counts->duplicates[sources[i]]);
    series_render_head(saved, "counter",
                       "Output tokens of the answers they were told, which are not paid twice.",
                       out);
    for (size_t i = 0; i < COUNT_OF(sources); i++)
        add_labelled(out, saved, "source", span_of(source_name(sources[i])),
                     counts->tokens_saved[sources[i]]);
}

static void add_attempts(struct buf *out, const struct engine_counts *counts)
{
    const char *name = "unstream_attempts_total";
    series_render_head(name, "counter", "Upstream calls by how they ended.", out);
    for (int end = 0; end < ATTEMPT_END_COUNT; end++)
        add_labelled(out, name, "end", span_of(attempt_end_name((enum attempt_end)end)),
                     counts->attempts[end]);
    add_labelled(out, name, "end", SPAN("cancelled"), counts->attempts_cancelled);
}

static void add_refusals(struct buf *out, const struct engine_counts *counts)
{
    const char *name = "unstream_admission_refused_total";
    series_render_head(name, "counter", "Flights that were refused a slot, by reason.", out);
    for (int refusal = 0; refusal < REFUSAL_COUNT; refusal++)
        add_labelled(out, name, "reason", span_of(engine_refusal_name((enum refusal)refusal)),
                     counts->refusals[refusal]);
}

static void add_upstreams(struct buf *out, const struct engine *engine)
{
    const char *flights = "unstream_upstream_flights", *pauses = "unstream_upstream_pauses";
    struct engine_upstream_state state;
    series_render_head(flights, "gauge", "Flights that have a slot, by upstream.", out);
    for (size_t i = 0; engine_upstream_state(engine, i, &state); i++)
        add_labelled(out, flights, "upstream", state.name, state.flights);
    series_render_head(pauses, "gauge",
                       "Credentials whose calls wait because the provider asked for a pause.",
                       out);
    for (size_t i = 0; engine_upstream_state(engine, i, &state); i++)
        add_labelled(out, pauses, "upstream", state.name, state.pauses);
}

static void add_commits(struct buf *out, const struct store_stats *store)
{
    double bounds[STORE_COMMIT_BOUNDS];
    const char *name = "unstream_store_commit_seconds";
    const struct series_histogram histogram = {bounds, store->commit_buckets, COUNT_OF(bounds),
                                               (double)store->commit_us_sum / 1e6};
    for (size_t i = 0; i < COUNT_OF(bounds); i++)
        bounds[i] = store_commit_bounds_us[i] / 1e6;
    series_render_head(name, "histogram", "Time until a transaction was durable.", out);
    series_render_histogram(name, SPAN(""), &histogram, out);
}

void metrics_render(const struct engine *engine, const struct store_stats *store,
                    const struct metrics_service *service, struct buf *out)
{
    const struct engine_state snapshot = engine_state(engine), *state = &snapshot;
    series_render_head("unstream_build_info", "gauge", "The version that runs.", out);
    buf_add_text(out, "unstream_build_info");
    series_render_label("version", SPAN(UNSTREAM_VERSION), out);
    buf_add_text(out, " 1\n");
#define X(name, type, help, value) add_one(out, name, type, help, value);
    METRICS_TABLE(X)
#undef X
    add_sources(out, &state->counts);
    add_duplicates(out, &state->counts);
    add_attempts(out, &state->counts);
    add_refusals(out, &state->counts);
    add_upstreams(out, engine);
    add_commits(out, store);
    telemetry_render(engine_telemetry(engine), out);
}
