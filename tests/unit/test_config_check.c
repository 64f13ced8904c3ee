#include "test.h"
#include "config_fixture.h"

#define ABC_SHA256 "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
/* Of the empty text. */
#define NIL_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* ---- the operator's key */

TEST(config_check, a_key_beyond_loopback_is_refused_with_the_line_that_allows_it)
{
    FIXTURE(f);
    fixture_set(f.variables, "OPENAI_API_KEY", "sk-1");
    fixture_set(f.variables, "UNSTREAM_LISTEN", "127.0.0.1:8080 0.0.0.0:8080 unix:/run/u");
    assert_int_equal(fixture_load(&f), E_INVALID);
    assert_string_equal(fixture_problems(&f),
                        "environment: UNSTREAM_LISTEN: \"0.0.0.0:8080\" would let everyone who "
                        "reaches it use the configured api_key; say who may with \"clients\" "
                        "or UNSTREAM_TOKEN, or allow everyone with this line: "
                        "UNSTREAM_OPEN=1\n");
    fixture_set(f.variables, "UNSTREAM_OPEN", "1");
    assert_int_equal(fixture_load(&f), OK);
}

TEST(config_check, a_key_beyond_loopback_in_a_file_is_allowed_by_the_line_it_is_told)
{
    FIXTURE(f);
    assert_refused(&f,
                   "{\"listen\": [\"[::]:80\", \"db.example:80\"], \"upstreams\": {\"openai\": "
                   "{\"provider\": \"openai\", \"api_key\": \"sk-1\"}}, \"routes\": "
                   "{\"/v1/messages\": false}}",
                   "unstream.json: listen: \"[::]:80\" would let everyone who reaches it use "
                   "the configured api_key; say who may with \"clients\" or UNSTREAM_TOKEN, or "
                   "allow everyone with this line: \"open\": true\n"
                   "unstream.json: listen: \"db.example:80\" would let everyone who reaches it "
                   "use the configured api_key; say who may with \"clients\" or "
                   "UNSTREAM_TOKEN, or allow everyone with this line: \"open\": true\n");
    assert_warns(&f,
                 "{\"listen\": [\"[::]:80\", \"db.example:80\"], \"upstreams\": {\"openai\": "
                 "{\"provider\": \"openai\", \"api_key\": \"sk-1\"}}, \"routes\": "
                 "{\"/v1/messages\": false}, \"open\": true}",
                 "");
}

TEST(config_check, the_environment_does_not_open_what_the_file_closes)
{
    FIXTURE(f);
    fixture_set(f.variables, "UNSTREAM_OPEN", "1");
    fixture_set(f.variables, "OPENAI_API_KEY", "sk-1");
    assert_warns(&f, "{\"listen\": [\"0.0.0.0:80\"]}", "");
    assert_int_equal(fixture_load_file(&f, "{\"listen\": [\"0.0.0.0:80\"], \"open\": false}"),
                     E_INVALID);
}

TEST(config_check, a_fixed_header_with_a_credential_counts_as_a_key)
{
    FIXTURE(f);
    assert_int_equal(fixture_load_file(&f, "{\"listen\": [\"0.0.0.0:80\"], \"upstreams\": "
                                           "{\"openai\": {\"headers\": {\"api-key\": "
                                           "\"k\"}}}}"),
                     E_INVALID);
    assert_int_equal(fixture_load_file(&f, "{\"listen\": [\"0.0.0.0:80\"], \"upstreams\": "
                                           "{\"openai\": {\"headers\": {\"x-title\": "
                                           "\"k\"}}}}"),
                     OK);
}

TEST(config_check, pass_through_and_clients_may_listen_anywhere)
{
    FIXTURE(f);
    fixture_set(f.variables, "UNSTREAM_LISTEN", "0.0.0.0:8080");
    assert_int_equal(fixture_load(&f), OK);
    fixture_set(f.variables, "OPENAI_API_KEY", "sk-1");
    fixture_set(f.variables, "ANTHROPIC_API_KEY", "sk-2");
    fixture_set(f.variables, "UNSTREAM_TOKEN", "abc");
    assert_int_equal(fixture_load(&f), OK);
    assert_string_equal(fixture_problems(&f), "");
}

TEST(config_check, the_command_line_cannot_open_a_key_either)
{
    FIXTURE(f);
    struct span listen = SPAN("0.0.0.0:1");
    fixture_set(f.variables, "OPENAI_API_KEY", "sk-1");
    f.arguments.listen = (struct span_list){&listen, 1};
    assert_int_equal(fixture_load(&f), E_INVALID);
    assert_ptr_equal(
        strstr(fixture_problems(&f), "command line: --listen: \"0.0.0.0:1\" would let"),
        fixture_problems(&f));
}

TEST(config_check, ops_beyond_loopback_need_a_token)
{
    FIXTURE(f);
    assert_refused(&f, "{\"ops_listen\": \"0.0.0.0:8081\"}",
                   "unstream.json: ops_listen: \"0.0.0.0:8081\" is beyond loopback, which "
                   "needs \"ops_token_sha256\" (printf %s TOKEN | sha256sum)\n");
    assert_warns(
        &f, "{\"ops_listen\": \"0.0.0.0:8081\", \"ops_token_sha256\": \"" ABC_SHA256 "\"}", "");
    assert_true(f.config->ops_token_set);
    assert_warns(&f, "{\"ops_listen\": \"127.0.0.1:8081\"}", "");
    assert_warns(&f, "{\"ops_listen\": \"unix:/run/ops\"}", "");
}

TEST(config_check, a_token_instead_of_its_digest_is_refused_and_not_repeated)
{
    FIXTURE(f);
    assert_refused(
        &f, "{\"ops_token_sha256\": \"my-secret-token\"}",
        "unstream.json: ops_token_sha256: must be 64 hexadecimal digits, the "
        "SHA-256 of the token (printf %s TOKEN | sha256sum), not the token itself\n");
    assert_int_equal(
        fixture_load_file(&f, "{\"ops_token_sha256\": "
                              "\"0000000000000000000000000000000000000000000000000000000000"
                              "000000\"}"),
        E_INVALID);
}

TEST(config_check, two_listeners_on_one_address_are_refused)
{
    FIXTURE(f);
    assert_refused(
        &f,
        "{\"listen\": [\"127.0.0.1:1\", \"127.0.0.1:1\", \"[::1]:0\", \"[::1]:0\"], "
        "\"ops_listen\": \"127.0.0.1:1\"}",
        "unstream.json: listen: \"127.0.0.1:1\" stands twice; remove one of them\n"
        "unstream.json: ops_listen: \"127.0.0.1:1\" is an address of \"listen\" too; "
        "choose another port\n"
        "unstream.json: ops_listen: \"127.0.0.1:1\" is an address of \"listen\" too; "
        "choose another port\n");
}

/* ---- clients */

#define CLIENTS "\"clients\": [{\"name\": \"a\", \"token_sha256\": \"" ABC_SHA256 "\"}]"

TEST(config_check, clients_of_a_routed_upstream_without_a_key_are_refused)
{
    FIXTURE(f);
    fixture_set(f.variables, "OPENAI_API_KEY", "sk-1");
    assert_refused(&f, "{" CLIENTS "}",
                   "unstream.json: clients: clients have tokens of their own, which must not "
                   "be passed on: set upstreams.anthropic.api_key, or switch its routes off "
                   "with \"/path\": false\n");
    assert_warns(&f, "{" CLIENTS ", \"routes\": {\"/v1/messages\": false}}", "");
    assert_true(f.config->routes[API_MESSAGES].off);
    assert_warns(&f, "{" CLIENTS ", \"routes\": {\"/v1/messages\": false}, \"open\": true}",
                 "unstream.json: clients: \"open\" has no effect where clients are known\n");
}

TEST(config_check, two_clients_have_two_names_and_two_tokens)
{
    FIXTURE(f);
    fixture_set(f.variables, "OPENAI_API_KEY", "sk-1");
    fixture_set(f.variables, "ANTHROPIC_API_KEY", "sk-2");
    assert_warns(&f,
                 "{\"clients\": [{\"name\": \"a\", \"token_sha256\": \"" ABC_SHA256 "\"}, "
                 "{\"name\": \"b\", \"token_sha256\": \"" NIL_SHA256 "\"}]}",
                 "");
    assert_int_equal(f.config->client_count, 2);
    assert_refused(&f,
                   "{\"clients\": [{\"name\": \"a\", \"token_sha256\": \"" ABC_SHA256 "\"}, "
                   "{\"name\": \"a\", \"token_sha256\": \"" ABC_SHA256 "\"}, "
                   "{\"name\": \"b c\", \"token_sha256\": \"" NIL_SHA256 "\"}, 5]}",
                   "unstream.json: clients[1].name: is the name of clients[0] too\n"
                   "unstream.json: clients[1].token_sha256: is the token of clients[0] too\n"
                   "unstream.json: clients[2].name: must be printable ASCII without blanks\n"
                   "unstream.json: clients[3]: must be an object with \"name\" and "
                   "\"token_sha256\"\n");
}

/* ---- upstreams */

TEST(config_check, a_provider_is_guessed_from_name_and_url_and_the_guess_is_told)
{
    FIXTURE(f);
    assert_warns(
        &f,
        "{\"upstreams\": {"
        "\"claude\": {\"base_url\": \"https://gw.example\"},"
        "\"deep\": {\"base_url\": \"https://api.deepseek.com/anthropic\"},"
        "\"openai-eu\": {\"base_url\": \"https://anthropic.example/v1\"},"
        "\"vllm\": {\"base_url\": \"http://gpu:8000/v1\"}}}",
        "unstream.json: upstreams.claude.provider: taken to be \"anthropic\", from the "
        "name and the URL; set it to be sure\n"
        "unstream.json: upstreams.deep.provider: taken to be \"anthropic\", from the "
        "name and the URL; set it to be sure\n"
        "unstream.json: upstreams.openai-eu.provider: taken to be \"openai\", from the "
        "name and the URL; set it to be sure\n"
        "unstream.json: upstreams.vllm.provider: taken to be \"openai\", from the "
        "name and the URL; set it to be sure\n");
    assert_true(f.config->upstreams[0].provider_guessed);
    assert_int_equal(f.config->upstreams[0].provider, PROVIDER_ANTHROPIC);
    assert_int_equal(f.config->upstreams[0].auth, AUTH_X_API_KEY);
    assert_int_equal(f.config->upstreams[1].provider, PROVIDER_ANTHROPIC);
    assert_int_equal(f.config->upstreams[2].provider, PROVIDER_OPENAI);
    assert_int_equal(f.config->upstreams[3].provider, PROVIDER_OPENAI);
}

TEST(config_check, headers_that_belong_to_unstream_are_refused)
{
    FIXTURE(f);
    assert_refused(
        &f,
        "{\"upstreams\": {\"openai\": {\"provider\": \"openai\", \"headers\": "
        "{\"Content-Length\": \"5\", \"Accept\": \"*/*\", \"a b\": \"c\", \"X-Ok\": \"1\"}, "
        "\"pass_headers\": "
        "[\"Cookie\", \"idempotency-key\", \"X-Stainless-Lang\", \"authorization\", "
        "\"x-title\"]}}}",
        "unstream.json: upstreams.openai.headers: \"Content-Length\" is a header that only "
        "unstream itself may set; remove it\n"
        "unstream.json: upstreams.openai.headers: \"Accept\" is a header that only unstream "
        "itself may set; remove it\n"
        "unstream.json: upstreams.openai.headers: \"a b\" is no header name\n"
        "unstream.json: upstreams.openai.pass_headers[0]: a credential is passed on only where "
        "api_key is not set, and then by itself; remove it\n"
        "unstream.json: upstreams.openai.pass_headers[1]: \"idempotency-key\" is a header that "
        "only unstream itself may set; remove it\n"
        "unstream.json: upstreams.openai.pass_headers[2]: \"X-Stainless-Lang\" is a header "
        "that only unstream itself may set; remove it\n"
        "unstream.json: upstreams.openai.pass_headers[3]: a credential is passed on only where "
        "api_key is not set, and then by itself; remove it\n");
}

TEST(config_check, a_key_with_blanks_and_a_proxy_that_is_no_url_are_refused)
{
    FIXTURE(f);
    assert_refused(&f,
                   "{\"upstreams\": {\"openai\": {\"provider\": \"openai\", \"api_key\": "
                   "\"sk 1\", \"proxy\": \"ftp://p\", \"backoff_base_s\": 2, "
                   "\"backoff_max_s\": 1}}}",
                   "unstream.json: upstreams.openai.backoff_base_s: is over backoff_max_s\n"
                   "unstream.json: upstreams.openai.api_key: must be printable ASCII without "
                   "blanks\n"
                   "unstream.json: upstreams.openai.proxy: must be the URL of a proxy for "
                   "openai, such as http://127.0.0.1:3128, or empty\n");
    assert_refused(&f,
                   "{\"upstreams\": {\"openai\": {\"provider\": \"openai\", \"base_url\": "
                   "\"x\", \"proxy\": \"http//p\"}}}",
                   "unstream.json: upstreams.openai.base_url: must begin with https:// or "
                   "http://\n"
                   "unstream.json: upstreams.openai.proxy: must be the URL of a proxy for "
                   "openai, such as http://127.0.0.1:3128, or empty\n");
    assert_int_equal(fixture_load_file(&f, "{\"upstreams\": {\"openai\": {\"proxy\": \"\"}}}"),
                     OK);
    assert_non_null(f.config->upstreams[0].proxy.p);
    assert_int_equal(f.config->upstreams[0].proxy.n, 0);
}

/* ---- routes */

#define BOTH                                                                                   \
    "\"upstreams\": {\"o\": {\"base_url\": \"https://o/v1\", \"provider\": \"openai\"}, "      \
    "\"a\": {\"base_url\": \"https://a\", \"provider\": \"anthropic\", \"api_key\": \"k\"}, "  \
    "\"o2\": {\"base_url\": \"https://o2/v1\", \"provider\": \"openai\"}}"

TEST(config_check, a_route_takes_the_first_upstream_of_the_fitting_provider)
{
    FIXTURE(f);
    assert_warns(&f, "{" BOTH ", \"routes\": {\"/v1/responses\": {\"upstream\": \"o2\"}}}", "");
    assert_span_equal(f.config->routes[API_CHAT].upstream->name, "o");
    assert_span_equal(f.config->routes[API_RESPONSES].upstream->name, "o2");
    assert_span_equal(f.config->routes[API_MESSAGES].upstream->name, "a");
    assert_span_equal(f.config->routes[API_SIMPLE].upstream->name, "a");
    assert_int_equal(f.config->routes[API_SIMPLE].api, API_MESSAGES);
    assert_int_equal(f.config->routes[API_RESPONSES].api, API_RESPONSES);
}

TEST(config_check, the_simple_route_speaks_what_it_is_told)
{
    FIXTURE(f);
    assert_warns(&f,
                 "{" BOTH ", \"routes\": {\"/api/llm\": {\"api\": \"responses\", \"model\": "
                 "\"m\", \"max_tokens\": 7, \"deadline_s\": 120}}}",
                 "");
    assert_span_equal(f.config->routes[API_SIMPLE].upstream->name, "o");
    assert_int_equal(f.config->routes[API_SIMPLE].api, API_RESPONSES);
    assert_span_equal(f.config->routes[API_SIMPLE].model, "m");
    assert_int_equal(f.config->routes[API_SIMPLE].max_tokens, 7);
    assert_int_equal(f.config->routes[API_SIMPLE].deadline_ms, 120000);
}

TEST(config_check, a_route_without_an_upstream_says_what_would_configure_it)
{
    FIXTURE(f);
    assert_warns(&f,
                 "{\"upstreams\": {\"o\": {\"base_url\": \"https://o/v1\", \"provider\": "
                 "\"openai\"}}}",
                 "unstream.json: the route /v1/messages has no upstream and answers 404; add "
                 "an entry with \"provider\": \"anthropic\" to \"upstreams\"\n");
    assert_null(f.config->routes[API_MESSAGES].upstream);
    assert_false(f.config->routes[API_MESSAGES].off);
    assert_span_equal(f.config->routes[API_MESSAGES].remedy,
                      "add an entry with \"provider\": \"anthropic\" to \"upstreams\"");
}

TEST(config_check, a_route_of_another_provider_and_misplaced_keys_are_refused)
{
    FIXTURE(f);
    assert_refused(
        &f,
        "{" BOTH ", \"routes\": {"
        "\"/v1/chat/completions\": {\"upstream\": \"a\", \"model\": \"m\"},"
        "\"/v1/messages\": {\"fallback\": \"o\", \"deadline_s\": 3601},"
        "\"/api/llm\": true}}",
        "unstream.json: routes.\"/v1/chat/completions\".model: is a key of the "
        "route /api/llm alone; remove it\n"
        "unstream.json: routes.\"/v1/chat/completions\".upstream: upstream \"a\" has "
        "provider \"anthropic\", but chat is spoken by \"openai\"; name another "
        "upstream\n"
        "unstream.json: routes.\"/v1/messages\".fallback: upstream \"o\" has "
        "provider \"openai\", but messages is spoken by \"anthropic\"; name another "
        "upstream\n"
        "unstream.json: routes.\"/v1/messages\".fallback: upstream \"o\" has no "
        "api_key, and a client's credential goes to the route's own upstream only; "
        "set upstreams.o.api_key\n"
        "unstream.json: routes.\"/v1/messages\".deadline_s: is over "
        "limits.deadline_max_s\n"
        "unstream.json: routes.\"/api/llm\": must be an object such as "
        "{\"upstream\": \"openai\"}, or false to switch the route off\n");
}

TEST(config_check, what_routes_clients_and_limits_say_is_kept)
{
    FIXTURE(f);
    fixture_set(f.variables, "OPENAI_API_KEY", "sk-1");
    fixture_set(f.variables, "ANTHROPIC_API_KEY", "sk-2");
    assert_warns(
        &f,
        "{\"routes\": {\"/v1/messages\": {\"edge\": \"redirect\", \"hold_s\": 20, "
        "\"hops_max\": 5, \"adopt\": \"any\", \"on_disconnect\": \"cancel\", "
        "\"conflict_status\": 409, \"heartbeat_after_s\": 1, \"beat_s\": 2, \"store\": "
        "\"memory\", \"fallback\": \"anthropic\"}},"
        "\"clients\": [{\"name\": \"a\", \"token_sha256\": \"" ABC_SHA256 "\", "
        "\"flights_max\": 5, \"requests_per_minute\": 6, \"store\": \"memory\"}],"
        "\"idempotency\": {\"result_url_ttl_s\": 1, \"orphan_grace_s\": 1, "
        "\"adopt_window_s\": 1, \"on_interrupted\": \"fail\", \"on_store_error\": \"memory\"},"
        "\"limits\": {\"memory_bytes_max\": 1048576, \"queue_max\": 1, \"queue_s\": 0.25, "
        "\"store_bytes_max\": 1048576, \"store_free_bytes_min\": 0}}",
        "");
    const struct config_route *route = &f.config->routes[API_MESSAGES];
    assert_int_equal(route->edge, EDGE_REDIRECT);
    assert_int_equal(route->hold_ms, 20000);
    assert_int_equal(route->hops_max, 5);
    assert_int_equal(route->adopt, ADOPT_ANY);
    assert_int_equal(route->on_disconnect, ON_DISCONNECT_CANCEL);
    assert_int_equal(route->conflict_status, 409);
    assert_int_equal(route->store, ANSWER_STORE_MEMORY);
    assert_span_equal(route->fallback->name, "anthropic");
    assert_int_equal(f.config->clients[0].requests_per_minute, 6);
    assert_int_equal(f.config->limits.queue_ms, 250);
}

TEST(config_check, a_fallback_has_its_own_api_key_the_same_provider_and_takes_the_same_body)
{
    FIXTURE(f);
    assert_refused(
        &f,
        "{\"upstreams\": {\"a\": {\"provider\": \"openai\"},"
        "\"b\": {\"provider\": \"anthropic\", \"api_key\": \"k\"},"
        "\"c\": {\"provider\": \"openai\"},"
        "\"d\": {\"provider\": \"openai\", \"api_key\": \"k\", \"max_tokens_field\": "
        "\"max_tokens\"}},"
        "\"routes\": {\"/v1/responses\": {\"upstream\": \"a\", \"fallback\": \"c\"},"
        "\"/v1/chat/completions\": {\"upstream\": \"a\", \"fallback\": \"b\"},"
        "\"/api/llm\": {\"upstream\": \"a\", \"fallback\": \"d\"}}}",
        "unstream.json: routes.\"/v1/responses\".fallback: upstream \"c\" has no api_key, and "
        "a "
        "client's credential goes to the route's own upstream only; set upstreams.c.api_key\n"
        "unstream.json: routes.\"/v1/chat/completions\".fallback: upstream \"b\" has provider "
        "\"anthropic\", but chat is spoken by \"openai\"; name another upstream\n"
        "unstream.json: routes.\"/api/llm\".fallback: upstream \"d\" has another "
        "max_tokens_field than \"a\", but gets the same body; give both the same one\n");
}

TEST(config_check, a_value_that_changes_nothing_is_not_warned_about)
{
    FIXTURE(f);
    assert_warns(&f,
                 "{\"routes\": {"
                 "\"/v1/messages\": {\"edge\": \"wait\", \"hold_s\": 50, \"adopt\": \"sdk\"},"
                 "\"/v1/responses\": {\"adopt\": \"off\", \"store\": \"disk\"},"
                 "\"/api/llm\": {\"adopt\": \"any\"}}, \"limits\": {\"queue_max\": 1000}}",
                 "");
}

TEST(config_check, hold_s_depends_on_the_policy)
{
    FIXTURE(f);
    assert_int_equal(fixture_load_file(&f, "{\"routes\": {"
                                           "\"/v1/messages\": {\"edge\": \"redirect\"},"
                                           "\"/v1/responses\": {\"edge\": \"conflict\"}}}"),
                     OK);
    assert_int_equal(f.config->routes[API_MESSAGES].hold_ms, 25000);
    assert_int_equal(f.config->routes[API_RESPONSES].hold_ms, 50000);
}

/* ---- what is relayed */

TEST(config_check, what_is_relayed_by_default)
{
    FIXTURE(f);
    assert_int_equal(fixture_load(&f), OK);
    assert_int_equal(f.config->relay.count, 4);
    assert_span_equal(f.config->relay.items[0], "GET /v1/models");
    assert_span_equal(f.config->relay.items[1], "GET /v1/models/*");
    assert_span_equal(f.config->relay.items[2], "POST /v1/messages/count_tokens");
    assert_span_equal(f.config->relay.items[3], "POST /v1/embeddings");
    assert_int_equal(fixture_load_file(&f, "{\"relay\": []}"), OK);
    assert_int_equal(f.config->relay.count, 0);
}

TEST(config_check, each_mistake_in_the_relay_is_told)
{
    FIXTURE(f);
    assert_refused(&f,
                   "{\"relay\": [\"GET /v1/files\", \"PUT /v1/files\", \"GET /livez\", "
                   "\"POST /v1/messages\", 5]}",
                   "unstream.json: relay[4]: must be a string, not a number\n");
    assert_refused(
        &f,
        "{\"relay\": [\"GET /v1/files\", \"PUT /v1/files\", \"GET /livez\", "
        "\"POST /v1/messages\"]}",
        "unstream.json: relay[1]: \"PUT /v1/files\" must begin with GET or POST, as in \"GET "
        "/v1/models\"\n"
        "unstream.json: relay[2]: \"GET /livez\" needs a path below /v1/ of letters, digits "
        "and "
        "-._~:, and may end in /*\n"
        "unstream.json: relay[3]: \"POST /v1/messages\" stands for a path that this service "
        "answers itself; name others\n");
}

TEST(config_check, at_most_32_patterns_are_relayed)
{
    FIXTURE(f);
    for (int count = 32; count <= 33; count++) {
        BUF(text, 4096);
        buf_add_text(&text, "{\"relay\": [\"GET /v1/a0\"");
        for (int i = 1; i < count; i++)
            buf_printf(&text, ", \"GET /v1/a%d\"", i);
        buf_add_text(&text, "]}");
        if (count == 32)
            assert_int_equal(fixture_load_file(&f, buf_text(&text)), OK);
        else
            assert_refused(&f, buf_text(&text),
                           "unstream.json: relay: must have 0 to 32 entries, not 33\n");
    }
}
