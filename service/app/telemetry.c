#include "app/telemetry.h"

#include <stdio.h>

/* The boundaries that OpenTelemetry advises. */
static const double operation_bounds[] = {0.01, 0.02, 0.04, 0.08,  0.16,  0.32,  0.64,
                                          1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92};
static const double token_bounds[] = {
    1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864};
/* Ours; a commit is a good part of it. */
static const double overhead_bounds[] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01,
                                         0.025,  0.05,    0.1,    0.25,  0.5,    1};

#define BOUNDS(array) .bounds = (array), .bound_count = COUNT_OF(array)
#define GEN_AI_LABELS "gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model"

static const struct series_family_info infos[TELEMETRY_FAMILY_COUNT] = {
    [TELEMETRY_REQUESTS] = {"unstream_requests_total",
                            "Requests by route, configured client, status (none: the client "
                            "left before its reply) and Idempotency-Status.",
                            {"route", "client", "status", "source"},
                            NULL,
                            0},
    [TELEMETRY_DURATION] = {"gen_ai_client_operation_duration_seconds",
                            "Duration of upstream calls.",
                            {GEN_AI_LABELS, "error_type"},
                            BOUNDS(operation_bounds)},
    [TELEMETRY_FIRST_CHUNK] = {"gen_ai_client_operation_time_to_first_chunk_seconds",
                               "Time from an upstream call's start to its first event.",
                               {GEN_AI_LABELS},
                               BOUNDS(operation_bounds)},
    [TELEMETRY_TOKENS] = {"gen_ai_client_token_usage",
                          "Tokens of upstream calls, as providers counted them.",
                          {GEN_AI_LABELS, "gen_ai_token_type"},
                          BOUNDS(token_bounds)},
    [TELEMETRY_START] =
        {"unstream_start_overhead_seconds",
         "Time from a complete request to the start of its first upstream call, "
         "without the queue.",
         {"keyed"},
         BOUNDS(overhead_bounds)},
    [TELEMETRY_ANSWER] = {"unstream_answer_overhead_seconds",
                          "Time from the provider's last byte to our reply.",
                          {"keyed"},
                          BOUNDS(overhead_bounds)},
};

void telemetry_init(struct telemetry *telemetry)
{
    struct series_names *words = &telemetry->words, *models = &telemetry->models;
    struct series_names *const of_requests[] = {words, &telemetry->clients, words, words};
    struct series_names *const of_calls[] = {words, words, models, words};
    series_names_init(words, "other", TELEMETRY_WORDS_MAX);
    series_names_init(models, "other", TELEMETRY_MODELS_MAX);
    series_names_init(&telemetry->clients, "other", TELEMETRY_CLIENTS_MAX);
    for (int i = 0; i < TELEMETRY_FAMILY_COUNT; i++) {
        bool of_call =
            i == TELEMETRY_DURATION || i == TELEMETRY_FIRST_CHUNK || i == TELEMETRY_TOKENS;
        series_family_init(&telemetry->families[i], &infos[i], of_call ? of_calls : of_requests,
                           TELEMETRY_SERIES_MAX);
    }
}

void telemetry_done(struct telemetry *telemetry)
{
    for (int i = 0; i < TELEMETRY_FAMILY_COUNT; i++)
        series_family_done(&telemetry->families[i]);
    series_names_done(&telemetry->words);
    series_names_done(&telemetry->clients);
    series_names_done(&telemetry->models);
}

/* ---- requests */

void telemetry_request(struct telemetry *telemetry, const struct telemetry_request *request)
{
    char status[16] = "none";
    if (request->status > 0)
        (void)snprintf(status, sizeof status, "%d", request->status);
    const struct span values[] = {request->route, request->client, span_of(status),
                                  span_of(source_name(request->source))};
    series_add(&telemetry->families[TELEMETRY_REQUESTS], values, 1);
}

/* ---- calls */

/* Of a refusal its status, as for any HTTP client; "" for an answer. */
static const char *error_type(const struct telemetry_call *call, char (*room)[16])
{
    const struct attempt_outcome *outcome = call->outcome;
    if (call->cancelled)
        return "cancelled";
    if (outcome->end == ATTEMPT_ANSWERED)
        return "";
    if (outcome->end != ATTEMPT_REFUSED)
        return attempt_end_name(outcome->end);
    (void)snprintf(*room, sizeof *room, "%d", outcome->status);
    return *room;
}

static void note_tokens(struct telemetry *telemetry, const struct span *values,
                        const char *type, uint64_t tokens)
{
    const struct span with_type[] = {values[0], values[1], values[2], span_of(type)};
    if (tokens > 0) /* else they are not known */
        series_observe(&telemetry->families[TELEMETRY_TOKENS], with_type, (double)tokens);
}

void telemetry_call(struct telemetry *telemetry, const struct telemetry_call *call)
{
    char room[16];
    const struct attempt_outcome *outcome = call->outcome;
    if (!call->operation)
        return;
    const struct span values[] = {span_of(call->operation),
                                  span_of(provider_name(call->provider)), call->model,
                                  span_of(error_type(call, &room))};
    series_observe(&telemetry->families[TELEMETRY_DURATION], values,
                   (double)outcome->total_ms / 1e3);
    if (outcome->first_event_ms >= 0)
        series_observe(&telemetry->families[TELEMETRY_FIRST_CHUNK], values,
                       (double)outcome->first_event_ms / 1e3);
    note_tokens(telemetry, values, "input", outcome->progress.input_tokens);
    note_tokens(telemetry, values, "output", outcome->progress.output_tokens);
}

/* ---- the time that we add */

static void note_overhead(struct telemetry *telemetry, enum telemetry_family family, bool keyed,
                          int64_t us)
{
    const struct span value = keyed ? SPAN("true") : SPAN("false");
    series_observe(&telemetry->families[family], &value, us > 0 ? (double)us / 1e6 : 0);
}

void telemetry_start(struct telemetry *telemetry, bool keyed, int64_t us)
{
    note_overhead(telemetry, TELEMETRY_START, keyed, us);
}

void telemetry_answer(struct telemetry *telemetry, bool keyed, int64_t us)
{
    note_overhead(telemetry, TELEMETRY_ANSWER, keyed, us);
}

void telemetry_render(const struct telemetry *telemetry, struct buf *out)
{
    for (int i = 0; i < TELEMETRY_FAMILY_COUNT; i++)
        series_render(&telemetry->families[i], out);
}
