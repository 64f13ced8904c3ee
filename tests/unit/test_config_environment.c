/* Without a file: the environment and the defaults alone. */
#include "test.h"
#include "config_fixture.h"

TEST(config_environment, without_a_file_both_providers_exist_and_pass_credentials_through)
{
    FIXTURE(f);
    assert_int_equal(fixture_load(&f), OK);
    assert_string_equal(fixture_problems(&f), "");
    assert_int_equal(f.config->upstream_count, 2);
    assert_span_equal(f.config->upstreams[0].name, "openai");
    assert_span_equal(f.config->upstreams[0].base_url, "https://api.openai.com/v1");
    assert_int_equal(f.config->upstreams[0].provider, PROVIDER_OPENAI);
    assert_int_equal(f.config->upstreams[0].auth, AUTH_BEARER);
    assert_null(f.config->upstreams[0].api_key.p);
    assert_span_equal(f.config->upstreams[1].name, "anthropic");
    assert_span_equal(f.config->upstreams[1].base_url, "https://api.anthropic.com");
    assert_int_equal(f.config->upstreams[1].provider, PROVIDER_ANTHROPIC);
    assert_int_equal(f.config->upstreams[1].auth, AUTH_X_API_KEY);
    assert_ptr_equal(f.config->routes[API_CHAT].upstream, &f.config->upstreams[0]);
    assert_ptr_equal(f.config->routes[API_RESPONSES].upstream, &f.config->upstreams[0]);
    assert_ptr_equal(f.config->routes[API_MESSAGES].upstream, &f.config->upstreams[1]);
    assert_ptr_equal(f.config->routes[API_SIMPLE].upstream, &f.config->upstreams[0]);
    assert_int_equal(f.config->routes[API_SIMPLE].api, API_CHAT);
    assert_int_equal(f.config->client_count, 0);
}

TEST(config_environment, the_defaults_are_those_of_the_manual)
{
    FIXTURE(f);
    assert_int_equal(fixture_load(&f), OK);
    const struct config *c = f.config;
    const struct config_upstream *up = &c->upstreams[0];
    assert_int_equal(c->listen.count, 2);
    assert_span_equal(c->listen.items[0], "127.0.0.1:8080");
    assert_span_equal(c->listen.items[1], "[::1]:8080");
    assert_true(c->listen_standard);
    assert_null(c->ops_listen.p);
    assert_false(c->ops_token_set);
    assert_false(c->open);
    assert_int_equal(c->upstream_threads, 1);
    assert_int_equal(c->drain_ms, 660000);
    assert_int_equal(c->log_level, LOG_LEVEL_INFO);
    assert_int_equal(c->log_format, LOG_FORMAT_JSON);
    assert_int_equal(up->connect_timeout_ms, 5000);
    assert_int_equal(up->first_event_timeout_ms, 300000);
    assert_int_equal(up->idle_timeout_ms, 120000);
    assert_int_equal(up->attempts_max, 3);
    assert_int_equal(up->backoff_base_ms, 1000);
    assert_int_equal(up->backoff_max_ms, 30000);
    assert_true(up->retry_budget_ratio == 0.2);
    assert_int_equal(up->include_usage, INCLUDE_USAGE_AUTO);
    assert_span_equal(up->max_tokens_field, "max_completion_tokens");
    assert_int_equal(up->flights_max, 500);
    assert_null(up->proxy.p);
    assert_null(up->ca_file.p);
}

TEST(config_environment, the_default_limits_are_those_of_the_manual)
{
    FIXTURE(f);
    assert_int_equal(fixture_load(&f), OK);
    const struct config_idempotency *i = &f.config->idempotency;
    const struct config_limits *l = &f.config->limits;
    assert_int_equal(i->ttl_ms, 86400000);
    assert_int_equal(i->error_ttl_ms, 300000);
    assert_int_equal(i->result_url_ttl_ms, 3600000);
    assert_int_equal(i->paid_calls_max, 4);
    assert_int_equal(i->waiters_max, 64);
    assert_int_equal(i->orphan_grace_ms, 30000);
    assert_int_equal(i->adopt_window_ms, 300000);
    assert_int_equal(i->on_interrupted, ON_INTERRUPTED_RETRY);
    assert_int_equal(i->on_store_error, ON_STORE_ERROR_REFUSE);
    assert_int_equal(l->deadline_ms, 590000);
    assert_int_equal(l->deadline_max_ms, 3600000);
    assert_int_equal(l->flight_max_ms, 1800000);
    assert_int_equal(l->keepalive_ms, 75000);
    assert_int_equal(l->request_timeout_ms, 30000);
    assert_int_equal(l->request_bytes_per_s_min, 16384);
    assert_int_equal(l->reply_bytes_per_s_min, 65536);
    assert_int_equal(l->body_bytes_max, 33554432);
    assert_int_equal(l->header_bytes_max, 16384);
    assert_int_equal(l->event_bytes_max, 33554432);
    assert_int_equal(l->answer_bytes_max, 33554432);
    assert_int_equal(l->memory_bytes_max, 1073741824);
    assert_int_equal(l->flights_max, 2000);
    assert_int_equal(l->queue_max, 1000);
    assert_int_equal(l->queue_ms, 30000);
    assert_int_equal(l->connections_max, 20000);
    assert_int_equal(l->store_bytes_max, 0);
    assert_int_equal(l->store_free_bytes_min, 268435456);
}

TEST(config_environment, a_route_has_the_edge_defaults_of_the_manual)
{
    FIXTURE(f);
    assert_int_equal(fixture_load(&f), OK);
    const struct config_route *route = &f.config->routes[API_CHAT];
    assert_int_equal(route->edge, EDGE_WAIT);
    assert_int_equal(route->hold_ms, 50000);
    assert_int_equal(route->heartbeat_after_ms, 20000);
    assert_int_equal(route->beat_ms, 12000);
    assert_int_equal(route->hops_max, 9);
    assert_int_equal(route->conflict_status, 0);
    assert_int_equal(route->adopt, ADOPT_SDK);
    assert_int_equal(f.config->routes[API_SIMPLE].adopt, ADOPT_ANY);
    assert_int_equal(route->on_disconnect, ON_DISCONNECT_AUTO);
    assert_false(route->require_key);
    assert_int_equal(route->store, ANSWER_STORE_DISK);
    assert_int_equal(route->deadline_ms, 590000);
}

TEST(config_environment, keys_and_base_urls_come_from_the_providers_own_variables)
{
    FIXTURE(f);
    fixture_set(f.variables, "OPENAI_API_KEY", "sk-1");
    fixture_set(f.variables, "OPENAI_BASE_URL", "http://gpu:8000/v1/");
    fixture_set(f.variables, "ANTHROPIC_API_KEY", "sk-2");
    fixture_set(f.variables, "ANTHROPIC_BASE_URL", "https://other.example");
    fixture_set(f.variables, "UNSTREAM_ANTHROPIC_BASE_URL",
                "https://gateway.example/anthropic//");
    assert_int_equal(fixture_load(&f), OK);
    assert_string_equal(fixture_problems(&f), "");
    assert_span_equal(f.config->upstreams[0].api_key, "sk-1");
    assert_span_equal(f.config->upstreams[0].base_url, "http://gpu:8000/v1");
    assert_span_equal(f.config->upstreams[1].api_key, "sk-2");
    assert_span_equal(f.config->upstreams[1].base_url, "https://gateway.example/anthropic");
}

TEST(config_environment, an_empty_variable_is_as_good_as_none)
{
    FIXTURE(f);
    fixture_set(f.variables, "OPENAI_API_KEY", "");
    fixture_set(f.variables, "UNSTREAM_LISTEN", "");
    fixture_set(f.variables, "UNSTREAM_TOKEN", "");
    fixture_set(f.variables, "UNSTREAM_CONFIG", "");
    assert_int_equal(fixture_load(&f), OK);
    assert_null(f.config->upstreams[0].api_key.p);
    assert_int_equal(f.config->listen.count, 2);
}

TEST(config_environment, the_simple_route_prefers_the_provider_whose_key_is_set)
{
    FIXTURE(f);
    fixture_set(f.variables, "ANTHROPIC_API_KEY", "sk-2");
    assert_int_equal(fixture_load(&f), OK);
    assert_span_equal(f.config->routes[API_SIMPLE].upstream->name, "anthropic");
    assert_int_equal(f.config->routes[API_SIMPLE].api, API_MESSAGES);
}

TEST(config_environment, a_base_url_that_looks_wrong_is_warned_about)
{
    FIXTURE(f);
    fixture_set(f.variables, "OPENAI_BASE_URL", "https://gpu.example");
    fixture_set(f.variables, "ANTHROPIC_BASE_URL", "https://api.anthropic.com/v1");
    assert_int_equal(fixture_load(&f), OK);
    assert_string_equal(
        fixture_problems(&f),
        "environment: OPENAI_BASE_URL: has no /v1; the base URL of an OpenAI SDK ends in /v1\n"
        "environment: ANTHROPIC_BASE_URL: ends in /v1; Anthropic's SDK and unstream add /v1 "
        "themselves\n");
}

TEST(config_environment, a_clients_base_url_that_points_back_to_unstream_is_warned_about)
{
    FIXTURE(f);
    fixture_set(f.variables, "OPENAI_BASE_URL", "http://localhost:8080/v1");
    assert_int_equal(fixture_load(&f), OK);
    assert_string_equal(fixture_problems(&f),
                        "environment: OPENAI_BASE_URL: is an address unstream itself listens "
                        "on; requests would go round in circles\n");
}

TEST(config_environment, a_base_url_that_is_none_is_refused)
{
    FIXTURE(f);
    fixture_set(f.variables, "OPENAI_BASE_URL", "api.openai.com/v1");
    assert_int_equal(fixture_load(&f), E_INVALID);
    assert_string_equal(fixture_problems(&f),
                        "environment: OPENAI_BASE_URL: must begin with https:// or http://\n");
}

TEST(config_environment, listen_is_a_list_with_commas_or_blanks)
{
    FIXTURE(f);
    fixture_set(f.variables, "UNSTREAM_LISTEN", " 127.0.0.1:1, unix:/run/u.sock\t[::1]:2 ");
    assert_int_equal(fixture_load(&f), OK);
    assert_int_equal(f.config->listen.count, 3);
    assert_span_equal(f.config->listen.items[0], "127.0.0.1:1");
    assert_span_equal(f.config->listen.items[1], "unix:/run/u.sock");
    assert_span_equal(f.config->listen.items[2], "[::1]:2");
    assert_false(f.config->listen_standard);
}

TEST(config_environment, sixteen_listeners_are_fine_and_seventeen_are_not)
{
    FIXTURE(f);
    fixture_set(f.variables, "UNSTREAM_LISTEN",
                "[::1]:1 [::1]:2 [::1]:3 [::1]:4 [::1]:5 [::1]:6 [::1]:7 [::1]:8 [::1]:9 "
                "[::1]:10 [::1]:11 [::1]:12 [::1]:13 [::1]:14 [::1]:15 [::1]:16");
    assert_int_equal(fixture_load(&f), OK);
    assert_int_equal(f.config->listen.count, 16);
    fixture_set(f.variables, "UNSTREAM_LISTEN",
                "[::1]:1 [::1]:2 [::1]:3 [::1]:4 [::1]:5 [::1]:6 [::1]:7 [::1]:8 [::1]:9 "
                "[::1]:10 [::1]:11 [::1]:12 [::1]:13 [::1]:14 [::1]:15 [::1]:16 [::1]:17");
    assert_int_equal(fixture_load(&f), E_INVALID);
    assert_string_equal(fixture_problems(&f),
                        "environment: UNSTREAM_LISTEN: has over 16 addresses\n");
}

TEST(config_environment, the_command_line_wins_over_the_environment)
{
    FIXTURE(f);
    struct span listen = SPAN("127.0.0.1:9");
    fixture_set(f.variables, "UNSTREAM_LISTEN", "127.0.0.1:1");
    fixture_set(f.variables, "UNSTREAM_STORE", "sqlite:/from/environment");
    f.arguments.listen = (struct span_list){&listen, 1};
    f.arguments.store = SPAN("sqlite:/from/command/line");
    assert_int_equal(fixture_load(&f), OK);
    assert_int_equal(f.config->listen.count, 1);
    assert_span_equal(f.config->listen.items[0], "127.0.0.1:9");
    assert_false(f.config->listen_standard);
    assert_span_equal(f.config->store, "sqlite:/from/command/line");
}

TEST(config_environment, the_store_is_in_the_state_directory)
{
    FIXTURE(f);
    assert_int_equal(fixture_load(&f), OK);
    assert_span_equal(f.config->store, "sqlite:/home/u/.local/state/unstream/unstream.db");
    fixture_set(f.variables, "XDG_STATE_HOME", "/state");
    assert_int_equal(fixture_load(&f), OK);
    assert_span_equal(f.config->store, "sqlite:/state/unstream/unstream.db");
    fixture_set(f.variables, "STATE_DIRECTORY", "/var/lib/unstream:/var/lib/other");
    assert_int_equal(fixture_load(&f), OK);
    assert_span_equal(f.config->store, "sqlite:/var/lib/unstream/unstream.db");
    fixture_set(f.variables, "UNSTREAM_STORE", "sqlite:here.db");
    assert_int_equal(fixture_load(&f), OK);
    assert_span_equal(f.config->store, "sqlite:here.db");
}

TEST(config_environment, a_store_that_is_no_file_is_refused)
{
    FIXTURE(f);
    fixture_set(f.variables, "UNSTREAM_STORE", "postgres://db");
    assert_int_equal(fixture_load(&f), E_INVALID);
    assert_string_equal(
        fixture_problems(&f),
        "environment: UNSTREAM_STORE: must be sqlite: and the path of a file, "
        "such as sqlite:/var/lib/unstream/unstream.db, not \"postgres://db\"\n");
    fixture_set(f.variables, "UNSTREAM_STORE", "sqlite::memory:");
    assert_int_equal(fixture_load(&f), E_INVALID);
    fixture_set(f.variables, "UNSTREAM_STORE", "sqlite:");
    assert_int_equal(fixture_load(&f), E_INVALID);
}

TEST(config_environment, open_is_1_or_0_and_nothing_else)
{
    FIXTURE(f);
    fixture_set(f.variables, "UNSTREAM_OPEN", "1");
    assert_int_equal(fixture_load(&f), OK);
    assert_true(f.config->open);
    fixture_set(f.variables, "UNSTREAM_OPEN", "0");
    assert_int_equal(fixture_load(&f), OK);
    assert_false(f.config->open);
    fixture_set(f.variables, "UNSTREAM_OPEN", "yes");
    assert_int_equal(fixture_load(&f), E_INVALID);
    assert_string_equal(fixture_problems(&f),
                        "environment: UNSTREAM_OPEN: must be 1 (whoever reaches a listener may "
                        "use the configured api_key) or 0\n");
}

TEST(config_environment, a_token_is_one_client_named_default)
{
    FIXTURE(f);
    fixture_set(f.variables, "UNSTREAM_TOKEN", "abc");
    fixture_set(f.variables, "OPENAI_API_KEY", "sk-1");
    fixture_set(f.variables, "ANTHROPIC_API_KEY", "sk-2");
    assert_int_equal(fixture_load(&f), OK);
    assert_string_equal(fixture_problems(&f), "");
    assert_int_equal(f.config->client_count, 1);
    assert_span_equal(f.config->clients[0].name, "default");
    struct digest abc; /* FIPS 180-2, appendix B.1 */
    assert_true(digest_from_hex(
        SPAN("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"), &abc));
    assert_true(digest_eq(&f.config->clients[0].token_sha256, &abc));
}

TEST(config_environment, with_a_token_only_providers_with_a_key_of_ours_are_routed)
{
    FIXTURE(f);
    fixture_set(f.variables, "UNSTREAM_TOKEN", "abc");
    fixture_set(f.variables, "OPENAI_API_KEY", "sk-1");
    assert_int_equal(fixture_load(&f), OK);
    assert_string_equal(fixture_problems(&f),
                        "environment: the route /v1/messages has no upstream and answers 404; "
                        "set ANTHROPIC_API_KEY\n");
    assert_non_null(f.config->routes[API_CHAT].upstream);
    assert_null(f.config->routes[API_MESSAGES].upstream);
    assert_span_equal(f.config->routes[API_MESSAGES].remedy, "set ANTHROPIC_API_KEY");
    assert_span_equal(f.config->routes[API_SIMPLE].upstream->name, "openai");
}

TEST(config_environment, a_token_without_any_key_is_refused)
{
    FIXTURE(f);
    fixture_set(f.variables, "UNSTREAM_TOKEN", "abc");
    assert_int_equal(fixture_load(&f), E_INVALID);
    assert_string_equal(fixture_problems(&f),
                        "environment: UNSTREAM_TOKEN: clients have tokens of their own, which "
                        "must not be passed on: set OPENAI_API_KEY or ANTHROPIC_API_KEY\n");
}
