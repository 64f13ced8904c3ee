#include "core/relay.h"
#include "test.h"

/* ---- patterns */

TEST(relay, a_pattern_is_a_method_and_a_path_below_v1)
{
    static const char *const fine[] = {
        "GET /v1/models",           "GET /v1/models/*",
        "POST /v1/embeddings",      "POST /v1/messages/count_tokens",
        "GET /v1/a-b._~:C9/*",      "GET /v1/chat/completions/*",
        "POST /v1/messages/batches"};
    for (size_t i = 0; i < COUNT_OF(fine); i++)
        assert_int_equal(relay_check(span_of(fine[i])), RELAY_FINE);
}

TEST(relay, other_methods_are_no_pattern)
{
    static const char *const wrong[] = {"",
                                        " ",
                                        "/v1/models",
                                        "get /v1/models",

                                        "PUT /v1/models",
                                        " GET /v1/models",
                                        "HEAD /v1/models",
                                        "GET,POST /v1/models"};
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        assert_int_equal(relay_check(span_of(wrong[i])), RELAY_BAD_METHOD);
}

TEST(relay, other_paths_are_no_pattern)
{
    static const char *const wrong[] = {"GET",
                                        "GET ",
                                        "GET /",
                                        "GET /v1",
                                        "GET /v1/",
                                        "GET /v2/models",
                                        "GET  /v1/models",
                                        "GET /v1/models/",
                                        "GET /v1/models ",
                                        "GET v1/models",
                                        "GET /v1//models",
                                        "GET /v1/./models",
                                        "GET /v1/../x",
                                        "GET /v1/models?a",
                                        "GET /v1/models#",
                                        "GET /v1/mod*",
                                        "GET /v1/*/x",
                                        "GET /v1/**",
                                        "GET /v1/a%20b",
                                        "GET /v1/a\\b",
                                        "GET /v1/a/*/*",
                                        "GET /livez",
                                        "GET /requests/*",
                                        "GET /metrics",
                                        "POST /api/llm",
                                        "GET /*",
                                        "GET /v1/\xC3\xA9"};
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        assert_int_equal(relay_check(span_of(wrong[i])), RELAY_BAD_PATH);
}

TEST(relay, what_generates_is_not_passed_on)
{
    static const char *const wrong[] = {"POST /v1/chat/completions", "GET /v1/responses",
                                        "POST /v1/messages", "GET /v1/*", "POST /v1/chat/*"};
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        assert_int_equal(relay_check(span_of(wrong[i])), RELAY_SHADOWS);
}

TEST(relay, a_pattern_has_128_bytes_at_most)
{
    char text[RELAY_PATTERN_BYTES_MAX + 2] = "GET /v1/";
    memset(text + 8, 'a', sizeof text - 9);
    assert_int_equal(relay_check((struct span){text, RELAY_PATTERN_BYTES_MAX}), RELAY_FINE);
    assert_int_equal(relay_check((struct span){text, RELAY_PATTERN_BYTES_MAX + 1}),
                     RELAY_TOO_LONG);
    assert_int_equal(RELAY_PATTERN_BYTES_MAX, 128); /* as the text says */
    assert_non_null(strstr(relay_fault_text(RELAY_TOO_LONG), "over 128 bytes"));
}

/* ---- requests */

static const struct span standard[] = {SPAN("GET /v1/models"), SPAN("GET /v1/models/*"),
                                       SPAN("POST /v1/messages/count_tokens"),
                                       SPAN("POST /v1/embeddings"), SPAN("POST /v1/models/*")};

static struct relay_match match(const char *method, const char *path)
{
    const struct span_list patterns = {standard, COUNT_OF(standard)};
    return relay_match(&patterns, span_of(method), span_of(path));
}

TEST(relay, a_match_is_named_by_its_pattern)
{
    assert_span_equal(match("GET", "/v1/models").route, "/v1/models");
    assert_span_equal(match("HEAD", "/v1/models").route, "/v1/models");
    assert_span_equal(match("GET", "/v1/models/gpt-5-mini").route, "/v1/models/*");
    assert_span_equal(match("GET", "/v1/models/ft:gpt%2Fa@b").route, "/v1/models/*");
    assert_span_equal(match("POST", "/v1/embeddings").route, "/v1/embeddings");
}

TEST(relay, a_star_stands_for_one_or_more_segments)
{
    assert_span_equal(match("GET", "/v1/models/org/large").route, "/v1/models/*");
    assert_span_equal(match("GET", "/v1/models/a/b/c").route, "/v1/models/*");
    assert_null(match("GET", "/v1/models/").route.p);
    assert_null(match("GET", "/v1/modelsx").route.p);
    assert_null(match("GET", "/v1/embeddings/x").route.p);
    assert_null(match("GET", "/v1").route.p);
    assert_null(match("GET", "").route.p);
}

TEST(relay, a_path_of_another_method_says_what_it_takes)
{
    const struct relay_match list = match("POST", "/v1/models");
    assert_null(list.route.p);
    assert_true(list.gets && !list.posts);
    const struct relay_match embeddings = match("GET", "/v1/embeddings");
    assert_null(embeddings.route.p);
    assert_true(!embeddings.gets && embeddings.posts);
    const struct relay_match both = match("DELETE", "/v1/models/x");
    assert_null(both.route.p);
    assert_true(both.gets && both.posts);
    const struct relay_match none = match("GET", "/v1/files");
    assert_true(!none.gets && !none.posts);
}

TEST(relay, no_path_leads_out_of_what_its_pattern_allows)
{
    static const char *const wrong[] = {
        "/v1/models/..",          "/v1/models/.",          "/v1/models/../files",
        "/v1/models/a/../../b",   "/v1/models/a/..",       "/v1/models/%2e%2e/files",
        "/v1/models/%2E./files",  "/v1/models/.%2e",       "/v1/models/a%2F..%2Ffiles",
        "/v1/models/..%2ffiles",  "/v1/models/..%5cfiles", "/v1/models/..;a=b/files",
        "/v1/models/..%3b/files", "/v1/models//a",         "/v1/models/a//b",
        "/v1/models/a/",          "/v1/models/a\\..\\b",   "/v1/models/a#b",
        "/v1/models/a b",         "/v1/models/a%",         "/v1/models/a%2",
        "/v1/models/a%zz",        "/v1/models/a%00",       "/v1/models/a%0d%0ab",
        "/v1/models/a%7f",        "/v1/models/\xC3\xA9",   "/v1/models/a\x7F"};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        const struct relay_match found = match("GET", wrong[i]);
        if (found.route.p || found.gets || found.posts)
            fail_msg("%s", wrong[i]);
    }
    static const char *const fine[] = {
        "/v1/models/...",  "/v1/models/a..",    "/v1/models/..a",  "/v1/models/.a/b",
        "/v1/models/a.;b", "/v1/models/%C3%A9", "/v1/models/a%2Fb"};
    for (size_t i = 0; i < COUNT_OF(fine); i++)
        if (!match("GET", fine[i]).route.p)
            fail_msg("%s", fine[i]);
}

TEST(relay, an_empty_list_relays_nothing)
{
    const struct span_list none = {NULL, 0};
    const struct relay_match found = relay_match(&none, SPAN("GET"), SPAN("/v1/models"));
    assert_true(!found.route.p && !found.gets && !found.posts);
}

/* ---- whose it is */

static enum api api_of(const struct config *config, const char *path, const char *header)
{
    const struct header headers[] = {{span_of(header), SPAN("2023-06-01")}};
    const struct http_head head = {.path = span_of(path), .headers = {headers, header ? 1 : 0}};
    return relay_api(config, &head);
}

TEST(relay, anthropics_version_or_path_says_whose_it_is)
{
    static const struct config_upstream upstream;
    struct config config = {.open = false};
    config.routes[API_CHAT].upstream = config.routes[API_RESPONSES].upstream = &upstream;
    assert_int_equal(api_of(&config, "/v1/models", NULL), API_CHAT);
    assert_int_equal(api_of(&config, "/v1/models", "openai-beta"), API_CHAT);
    assert_int_equal(api_of(&config, "/v1/models", "Anthropic-Version"), API_MESSAGES);
    assert_int_equal(api_of(&config, "/v1/messages/count_tokens", NULL), API_MESSAGES);
    assert_int_equal(api_of(&config, "/v1/messagesx", NULL), API_CHAT);
    config.routes[API_CHAT].upstream = NULL;
    assert_int_equal(api_of(&config, "/v1/models", NULL), API_RESPONSES);
    config.routes[API_RESPONSES].upstream = NULL;
    assert_int_equal(api_of(&config, "/v1/models", NULL), API_CHAT);
}

TEST(relay, only_embeddings_are_an_operation)
{
    assert_string_equal(relay_operation(SPAN("/v1/embeddings")), "embeddings");
    assert_null(relay_operation(SPAN("/v1/models")));
    assert_null(relay_operation(SPAN("/v1/messages/count_tokens")));
}
