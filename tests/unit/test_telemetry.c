#include "test.h"

#include "app/telemetry.h"

#include <stdio.h>

#define TELEMETRY(name)                                                                        \
    __attribute__((cleanup(telemetry_done))) struct telemetry name;                            \
    telemetry_init(&name)

static char *text_of(const struct telemetry *telemetry)
{
    static struct buf text = {.bytes_max = TELEMETRY_BYTES_MAX};
    buf_clear(&text);
    telemetry_render(telemetry, &text);
    assert_int_equal(buf_rc(&text), OK);
    (void)buf_text(&text);
    return text.p;
}

/* One whole line. */
static void assert_line(const struct telemetry *telemetry, const char *line)
{
    char pattern[1024];
    (void)snprintf(pattern, sizeof pattern, "\n%s\n", line);
    if (!strstr(text_of(telemetry), pattern))
        fail_msg("no line %s in %s", line, text_of(telemetry));
}

static void call(struct telemetry *telemetry, const char *model, enum attempt_end end,
                 int status)
{
    const struct attempt_outcome outcome = {
        .end = end, .status = status, .total_ms = 40, .first_event_ms = -1};
    const struct telemetry_call what = {
        .operation = "chat", .model = span_of(model), .outcome = &outcome};
    telemetry_call(telemetry, &what);
}

TEST(telemetry, an_answered_call_is_told_by_opentelemetrys_names)
{
    TELEMETRY(t);
    const struct attempt_outcome outcome = {
        .end = ATTEMPT_ANSWERED,
        .status = 200,
        .total_ms = 1280,
        .first_event_ms = 321,
        .progress = {.input_tokens = 4, .output_tokens = 5},
    };
    const struct telemetry_call what = {
        .operation = "chat",
        .provider = PROVIDER_ANTHROPIC,
        .model = SPAN("m"),
        .outcome = &outcome,
    };
    telemetry_call(&t, &what);
#define LABELS                                                                                 \
    "gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"anthropic\","                       \
    "gen_ai_request_model=\"m\""
    assert_line(&t,
                "gen_ai_client_operation_duration_seconds_bucket{" LABELS ",le=\"0.64\"} 0");
    assert_line(&t,
                "gen_ai_client_operation_duration_seconds_bucket{" LABELS ",le=\"1.28\"} 1");
    assert_line(&t, "gen_ai_client_operation_duration_seconds_sum{" LABELS "} 1.28");
    const char *chunk = "gen_ai_client_operation_time_to_first_chunk_seconds";
    char line[512];
    (void)snprintf(line, sizeof line, "%s_bucket{%s,le=\"0.32\"} 0", chunk, LABELS);
    assert_line(&t, line);
    (void)snprintf(line, sizeof line, "%s_bucket{%s,le=\"0.64\"} 1", chunk, LABELS);
    assert_line(&t, line);
    (void)snprintf(line, sizeof line, "%s_sum{%s} 0.321", chunk, LABELS);
    assert_line(&t, line);
#define TOKENS(type) LABELS ",gen_ai_token_type=\"" type "\""
    assert_line(&t, "gen_ai_client_token_usage_bucket{" TOKENS("input") ",le=\"1\"} 0");
    assert_line(&t, "gen_ai_client_token_usage_bucket{" TOKENS("input") ",le=\"4\"} 1");
    assert_line(&t, "gen_ai_client_token_usage_bucket{" TOKENS("output") ",le=\"4\"} 0");
    assert_line(&t, "gen_ai_client_token_usage_sum{" TOKENS("output") "} 5");
}

/* https://github.com/open-telemetry/semantic-conventions-genai: the advised boundaries. */
TEST(telemetry, the_buckets_are_those_that_opentelemetry_advises)
{
    TELEMETRY(t);
    const char *seconds[] = {"0.01", "0.02", "0.04", "0.08",  "0.16",  "0.32",  "0.64",
                             "1.28", "2.56", "5.12", "10.24", "20.48", "40.96", "81.92"};
    const char *tokens[] = {"1",       "4",       "16",       "64",      "256",
                            "1024",    "4096",    "16384",    "65536",   "262144",
                            "1048576", "4194304", "16777216", "67108864"};
    const struct attempt_outcome outcome = {.progress = {.output_tokens = 1}};
    const struct telemetry_call what = {.operation = "chat", .outcome = &outcome};
    telemetry_call(&t, &what);
    const char *at = strstr(text_of(&t), "gen_ai_client_operation_duration_seconds_bucket");
    for (size_t i = 0; i < COUNT_OF(seconds); i++) {
        at = strstr(at, "le=\"") + 4;
        assert_memory_equal(at, seconds[i], strlen(seconds[i]));
    }
    assert_memory_equal(strstr(at, "le=\"") + 4, "+Inf", 4);
    at = strstr(at, "gen_ai_client_token_usage_bucket");
    for (size_t i = 0; i < COUNT_OF(tokens); i++) {
        at = strstr(at, "le=\"") + 4;
        assert_memory_equal(at, tokens[i], strlen(tokens[i]));
    }
    assert_memory_equal(strstr(at, "le=\"") + 4, "+Inf", 4);
}

TEST(telemetry, what_is_no_operation_is_not_told_as_one)
{
    TELEMETRY(t);
    const struct attempt_outcome outcome = {
        .status = 200, .total_ms = 10, .first_event_ms = -1, .progress = {.input_tokens = 8}};
    telemetry_call(&t, &(struct telemetry_call){.outcome = &outcome});
    assert_null(strstr(text_of(&t), "gen_ai_operation_name"));
    telemetry_call(&t, &(struct telemetry_call){
                           .operation = "embeddings", .model = SPAN("e"), .outcome = &outcome});
    assert_line(&t, "gen_ai_client_token_usage_sum{gen_ai_operation_name=\"embeddings\","
                    "gen_ai_provider_name=\"openai\",gen_ai_request_model=\"e\","
                    "gen_ai_token_type=\"input\"} 8");
}

TEST(telemetry, an_error_is_a_status_or_how_the_call_ended)
{
    TELEMETRY(t);
    call(&t, NULL, ATTEMPT_ANSWERED, 200);
    call(&t, NULL, ATTEMPT_REFUSED, 429);
    call(&t, NULL, ATTEMPT_TRUNCATED, 200);
    const struct attempt_outcome outcome = {.end = ATTEMPT_DEADLINE, .first_event_ms = -1};
    telemetry_call(&t, &(struct telemetry_call){
                           .operation = "chat", .outcome = &outcome, .cancelled = true});
#define COUNTED(labels)                                                                        \
    "gen_ai_client_operation_duration_seconds_count{gen_ai_operation_name=\"chat\","           \
    "gen_ai_provider_name=\"openai\"" labels "} 1"
    assert_line(&t, COUNTED(""));
    assert_line(&t, COUNTED(",error_type=\"429\""));
    assert_line(&t, COUNTED(",error_type=\"truncated\""));
    assert_line(&t, COUNTED(",error_type=\"cancelled\""));
}

TEST(telemetry, what_is_not_known_is_not_observed)
{
    TELEMETRY(t);
    call(&t, "m", ATTEMPT_CONNECT_FAILED, 0);
    assert_null(strstr(text_of(&t), "time_to_first_chunk_seconds_count"));
    assert_null(strstr(text_of(&t), "token_usage_count"));
}

/* How many lines begin so. */
static unsigned lines_of(const struct telemetry *telemetry, const char *start)
{
    unsigned count = 0;
    for (const char *at = text_of(telemetry); (at = strstr(at, start)) != NULL; at++)
        count++;
    return count;
}

TEST(telemetry, models_beyond_the_maximum_are_other)
{
    TELEMETRY(t);
    char model[16];
    for (int i = 0; i < TELEMETRY_MODELS_MAX; i++) {
        (void)snprintf(model, sizeof model, "model-%d", i);
        call(&t, model, ATTEMPT_ANSWERED, 200);
    }
    const char *counts = "\ngen_ai_client_operation_duration_seconds_count{";
    assert_int_equal(lines_of(&t, counts), TELEMETRY_MODELS_MAX);
    assert_null(strstr(text_of(&t), "\"other\""));
    call(&t, "one-more", ATTEMPT_ANSWERED, 200);
    call(&t, "and-another", ATTEMPT_ANSWERED, 200);
    assert_int_equal(lines_of(&t, counts), TELEMETRY_MODELS_MAX + 1);
    assert_line(&t,
                "gen_ai_client_operation_duration_seconds_count{gen_ai_operation_name="
                "\"chat\",gen_ai_provider_name=\"openai\",gen_ai_request_model=\"other\"} 2");
}

static void request(struct telemetry *telemetry, const char *client, int status)
{
    const struct telemetry_request what = {
        .route = SPAN("/v1/responses"), .client = span_of(client), .status = status};
    telemetry_request(telemetry, &what);
}

TEST(telemetry, clients_beyond_the_maximum_are_other)
{
    TELEMETRY(t);
    char client[16];
    for (int i = 0; i < TELEMETRY_CLIENTS_MAX; i++) {
        (void)snprintf(client, sizeof client, "client-%d", i);
        request(&t, client, 200);
    }
    assert_int_equal(lines_of(&t, "\nunstream_requests_total{"), TELEMETRY_CLIENTS_MAX);
    request(&t, "one-more", 200);
    assert_int_equal(lines_of(&t, "\nunstream_requests_total{"), TELEMETRY_CLIENTS_MAX + 1);
    assert_line(
        &t,
        "unstream_requests_total{route=\"/v1/responses\",client=\"other\",status=\"200\"} 1");
}

TEST(telemetry, a_full_family_is_as_large_as_it_gets_and_fits_its_text)
{
    TELEMETRY(t);
    char model[SERIES_NAME_BYTES_MAX + 1] = {0};
    memset(model, '"', SERIES_NAME_BYTES_MAX);
    for (int i = 0; i < TELEMETRY_MODELS_MAX; i++)
        for (int status = 400; status < 410; status++) {
            const struct attempt_outcome outcome = {
                .end = ATTEMPT_REFUSED,
                .status = status,
                .progress = {.output_tokens = 1, .input_tokens = 1}};
            (void)snprintf(model, sizeof model, "%d", i);
            model[strlen(model)] = '"';
            telemetry_call(&t, &(struct telemetry_call){.operation = "chat",
                                                        .model = {model, sizeof model - 1},
                                                        .outcome = &outcome});
        }
    assert_int_equal(lines_of(&t, "\ngen_ai_client_operation_duration_seconds_count{"),
                     TELEMETRY_SERIES_MAX + 1);
    assert_line(&t, "gen_ai_client_operation_duration_seconds_count{gen_ai_operation_name="
                    "\"other\",gen_ai_provider_name=\"other\",gen_ai_request_model=\"other\","
                    "error_type=\"other\"} 488");
}

TEST(telemetry, a_request_without_reply_has_no_status)
{
    TELEMETRY(t);
    request(&t, NULL, 0);
    assert_line(&t, "unstream_requests_total{route=\"/v1/responses\",status=\"none\"} 1");
}

TEST(telemetry, what_we_add_is_told_in_seconds)
{
    TELEMETRY(t);
    telemetry_start(&t, true, 250);
    telemetry_answer(&t, false, 1500000);
    telemetry_answer(&t, false, -5); /* clocks of two threads */
    assert_line(&t, "unstream_start_overhead_seconds_bucket{keyed=\"true\",le=\"0.0001\"} 0");
    assert_line(&t, "unstream_start_overhead_seconds_bucket{keyed=\"true\",le=\"0.00025\"} 1");
    assert_line(&t, "unstream_answer_overhead_seconds_bucket{keyed=\"false\",le=\"1\"} 1");
    assert_line(&t, "unstream_answer_overhead_seconds_bucket{keyed=\"false\",le=\"+Inf\"} 2");
    assert_line(&t, "unstream_answer_overhead_seconds_sum{keyed=\"false\"} 1.5");
}
