#include "test.h"
#include "config_fixture.h"

/* What the manual shows, written anew: every key, most of them at their defaults. */
static const char example[] =
    "// everything at once\n"
    "{\n"
    "  \"$schema\": \"./config.schema.json\",\n"
    "  \"listen\": [\"127.0.0.1:8080\", \"[::1]:8080\", "
    "\"unix:/run/unstream/unstream.sock\"],\n"
    "  \"ops_listen\": \"127.0.0.1:8081\", \"ops_token_sha256\": null, \"open\": false,\n"
    "  \"store\": \"sqlite:/var/lib/unstream/unstream.db\",\n"
    "  \"upstreams\": {\n"
    "    \"openai\": {\"base_url\": \"https://api.openai.com/v1\", \"provider\": \"openai\",\n"
    "      \"api_key\": \"$OPENAI_API_KEY\"},\n"
    "    \"anthropic\": {\"base_url\": \"https://api.anthropic.com\", \"provider\": "
    "\"anthropic\",\n"
    "      \"api_key\": \"$ANTHROPIC_API_KEY\", \"auth\": \"x-api-key\", \"headers\": {},\n"
    "      \"pass_headers\": [\"x-title\"], \"proxy\": null, \"ca_file\": null,\n"
    "      \"connect_timeout_s\": 5, \"first_event_timeout_s\": 300, \"idle_timeout_s\": 120,\n"
    "      \"attempts_max\": 3, \"backoff_base_s\": 1, \"backoff_max_s\": 30,\n"
    "      \"retry_budget_ratio\": 0.2, \"include_usage\": \"auto\",\n"
    "      \"max_tokens_field\": \"max_completion_tokens\", \"flights_max\": 500}\n"
    "  },\n"
    "  \"routes\": {\n"
    "    \"/v1/chat/completions\": {\"upstream\": \"openai\"},\n"
    "    \"/v1/responses\": {\"upstream\": \"openai\"},\n"
    "    \"/v1/messages\": {\"upstream\": \"anthropic\", \"edge\": \"conflict\", \"hold_s\": "
    "50},\n"
    "    \"/api/llm\": {\"upstream\": \"anthropic\", \"api\": \"messages\", \"model\":\n"
    "      \"claude-opus-4-6\", \"max_tokens\": 4096, \"edge\": \"redirect\", \"hold_s\": 25,\n"
    "      \"hops_max\": 9, \"adopt\": \"any\", \"on_disconnect\": \"auto\", \"require_key\":\n"
    "      false, \"store\": \"disk\", \"deadline_s\": 120}\n"
    "  },\n"
    "  \"clients\": [{\"name\": \"billing\", \"token_sha256\":\n"
    "    \"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\",\n"
    "    \"flights_max\": 50, \"requests_per_minute\": 600, \"store\": \"disk\"}],\n"
    "  \"idempotency\": {\"ttl_s\": 86400, \"error_ttl_s\": 300, \"result_url_ttl_s\": 3600,\n"
    "    \"paid_calls_max\": 4, \"waiters_max\": 64, \"orphan_grace_s\": 30,\n"
    "    \"adopt_window_s\": 300, \"on_interrupted\": \"retry\", \"on_store_error\": "
    "\"refuse\"},\n"
    "  \"limits\": {\"deadline_s\": 590, \"deadline_max_s\": 3600, \"flight_max_s\": 1800,\n"
    "    \"keepalive_s\": 75, \"request_timeout_s\": 30, \"request_bytes_per_s_min\": 16384,\n"
    "    \"reply_bytes_per_s_min\": 65536, \"body_bytes_max\": 33554432,\n"
    "    \"header_bytes_max\": 16384, \"event_bytes_max\": 33554432,\n"
    "    \"answer_bytes_max\": 33554432, \"memory_bytes_max\": 1073741824,\n"
    "    \"flights_max\": 2000, \"queue_max\": 1000, \"queue_s\": 30,\n"
    "    \"connections_max\": 20000, \"store_bytes_max\": null,\n"
    "    \"store_free_bytes_min\": 268435456},\n"
    "  \"upstream_threads\": 1,\n"
    "  \"drain_s\": 660,\n"
    "  \"log\": {\"level\": \"info\", \"format\": \"json\"}\n"
    "}\n";

TEST(config_print, the_example_of_the_manual_loads)
{
    FIXTURE(f);
    fixture_set(f.variables, "OPENAI_API_KEY", "sk-1");
    fixture_set(f.variables, "ANTHROPIC_API_KEY", "sk-2");
    assert_warns(&f, example, "");
    assert_int_equal(f.config->listen.count, 3);
    assert_span_equal(f.config->upstreams[1].api_key, "sk-2");
    assert_span_equal(f.config->upstreams[1].pass_headers.items[0], "x-title");
    assert_span_equal(f.config->routes[API_SIMPLE].model, "claude-opus-4-6");
    assert_int_equal(f.config->routes[API_SIMPLE].deadline_ms, 120000);
    assert_int_equal(f.config->routes[API_MESSAGES].edge, EDGE_CONFLICT);
    assert_span_equal(f.config->clients[0].name, "billing");
}

/* Prints the fixture's configuration, loads that and prints again: both texts are equal. */
static void assert_round_trip(struct fixture *f, struct buf *ret_text)
{
    BUF(again, FIXTURE_TEXT_MAX);
    buf_clear(ret_text);
    config_print(f->config, ret_text);
    assert_int_equal(buf_rc(ret_text), OK);
    assert_int_equal(fixture_load_file(f, buf_text(ret_text)), OK);
    config_print(f->config, &again);
    assert_string_equal(buf_text(ret_text), buf_text(&again));
}

TEST(config_print, what_it_prints_loads_and_prints_the_same)
{
    FIXTURE(f);
    BUF(text, FIXTURE_TEXT_MAX);
    fixture_set(f.variables, "OPENAI_API_KEY", "sk-1");
    fixture_set(f.variables, "ANTHROPIC_API_KEY", "sk-2");
    assert_int_equal(fixture_load_file(&f, example), OK);
    assert_round_trip(&f, &text);
}

TEST(config_print, a_configuration_without_a_file_can_become_one)
{
    FIXTURE(f);
    BUF(text, FIXTURE_TEXT_MAX);
    assert_int_equal(fixture_load(&f), OK);
    assert_round_trip(&f, &text);
    assert_string_equal(fixture_problems(&f), "");
}

TEST(config_print, a_route_without_an_upstream_is_printed_as_switched_off)
{
    FIXTURE(f);
    BUF(text, FIXTURE_TEXT_MAX);
    fixture_set(f.variables, "OPENAI_API_KEY", "sk-1");
    fixture_set(f.variables, "UNSTREAM_TOKEN", "abc");
    assert_int_equal(fixture_load(&f), OK);
    assert_round_trip(&f, &text);
    assert_non_null(strstr(buf_text(&text), "\"/v1/messages\": false"));
}

TEST(config_print, secrets_are_masked)
{
    FIXTURE(f);
    BUF(text, FIXTURE_TEXT_MAX);
    assert_int_equal(
        fixture_load_file(
            &f, "{\"upstreams\": {\"o\": {\"base_url\": \"https://o/v1\", \"provider\": "
                "\"openai\", \"api_key\": \"SECRET\", \"proxy\": \"http://u:SECRET@p:3128\", "
                "\"headers\": {\"Api-Key\": \"SECRET\", \"X-Auth-Token\": \"SECRET\", "
                "\"X-Title\": \"plain\"}}}, \"routes\": {\"/v1/messages\": false}}"),
        OK);
    assert_round_trip(&f, &text);
    assert_null(strstr(buf_text(&text), "SECRET"));
    assert_non_null(strstr(buf_text(&text), "\"api_key\": \"********\""));
    assert_non_null(strstr(buf_text(&text), "\"proxy\": \"http://********@p:3128\""));
    assert_non_null(strstr(buf_text(&text), "\"headers\": {\"Api-Key\": \"********\", "
                                            "\"X-Auth-Token\": \"********\", \"X-Title\": "
                                            "\"plain\"}"));
}

TEST(config_print, texts_that_would_mean_something_else_are_escaped)
{
    FIXTURE(f);
    BUF(text, FIXTURE_TEXT_MAX);
    assert_int_equal(fixture_load_file(&f, "{\"routes\": {\"/api/llm\": {\"model\": "
                                           "\"$$m\"}}, \"drain_s\": 0.25}"),
                     OK);
    assert_round_trip(&f, &text);
    assert_non_null(strstr(buf_text(&text), "\"model\": \"$$m\""));
    assert_non_null(strstr(buf_text(&text), "\"drain_s\": 0.25,"));
    assert_int_equal(fixture_load_file(&f, "{\"routes\": {\"/api/llm\": {\"model\": "
                                           "\"@@/m\"}}}"),
                     OK);
    assert_span_equal(f.config->routes[API_SIMPLE].model, "@/m");
    assert_round_trip(&f, &text);
    assert_span_equal(f.config->routes[API_SIMPLE].model, "@/m");
}
