#include "core/upstream_request.h"
#include "test.h"

#define LINE(name, value)                                                                      \
    {                                                                                          \
        SPAN(name), SPAN(value)                                                                \
    }
#define HEADERS(...)                                                                           \
    ((struct headers){(struct header[]){__VA_ARGS__},                                          \
                      sizeof((struct header[]){__VA_ARGS__}) / sizeof(struct header)})
#define OURS                                                                                   \
    "Via: 1.1 unstream-b1\nContent-Type: application/json\nAccept: text/event-stream\n"        \
    "Accept-Encoding: identity\n"
#define AGENT "User-Agent: unstream/" UNSTREAM_VERSION "\n"

static struct config_upstream upstream;
static enum upstream_request_result result;
static enum api route, api;
static bool relay, no_body;

static void setup(void)
{
    relay = no_body = false;
    upstream = (struct config_upstream){.base_url = SPAN("https://api.openai.com/v1")};
    route = api = API_CHAT;
}

/* The lines as text; NULL: refused, as `result` says. */
static const char *head_of(struct headers client)
{
    static struct buf text;
    struct arena arena;
    struct headers headers = {NULL, 0};
    struct upstream_request_params params = {.upstream = &upstream,
                                             .client = &client,
                                             .route = route,
                                             .api = api,
                                             .relay = relay,
                                             .no_body = no_body,
                                             .boot_id = SPAN("b1")};
    buf_done(&text);
    buf_init(&text, 65536);
    arena_init(&arena, 65536);
    result = upstream_request_headers(&params, &arena, &headers);
    for (size_t i = 0; i < headers.count; i++)
        buf_printf(&text, "%.*s: %.*s\n", SPAN_ARG(headers.items[i].name),
                   SPAN_ARG(headers.items[i].value));
    arena_done(&arena);
    return result == UPSTREAM_REQUEST_FINE ? buf_text(&text) : NULL;
}

TEST(upstream_request, what_is_meant_for_the_provider_is_passed_on_as_sent)
{
    setup();
    assert_string_equal(
        head_of(HEADERS(LINE("Authorization", "Bearer sk-1"), LINE("OpenAI-Beta", "a"),
                        LINE("openai-organization", "o"), LINE("openai-project", "p"),
                        LINE("anthropic-version", "v"), LINE("anthropic-beta", "x"),
                        LINE("anthropic-beta", "y"), LINE("traceparent", "t"),
                        LINE("tracestate", "s"), LINE("api-key", "sk-1"))),
        "Authorization: Bearer sk-1\nOpenAI-Beta: a\nopenai-organization: o\n"
        "openai-project: p\nanthropic-version: v\nanthropic-beta: x\nanthropic-beta: y\n"
        "traceparent: t\ntracestate: s\napi-key: sk-1\n" AGENT OURS);
}

TEST(upstream_request, all_else_stays_here)
{
    setup();
    assert_string_equal(
        head_of(HEADERS(LINE("Host", "h"), LINE("Idempotency-Key", "k"), LINE("Cookie", "c"),
                        LINE("x-stainless-retry-count", "1"), LINE("Prefer", "wait=1"),
                        LINE("Connection", "close"), LINE("Content-Length", "2"),
                        LINE("Accept", "*/*"), LINE("Accept-Encoding", "gzip"),
                        LINE("Content-Type", "text/json"), LINE("openai-other", "x"),
                        LINE("x-title", "t"), LINE("Unstream-Deadline", "5"))),
        AGENT OURS);
}

TEST(upstream_request, pass_headers_pass_but_not_what_never_passes)
{
    setup();
    struct span names[] = {SPAN("X-Title"),         SPAN("cookie"),           SPAN("host"),
                           SPAN("idempotency-key"), SPAN("x-stainless-os"),   SPAN("prefer"),
                           SPAN("content-length"),  SPAN("transfer-encoding")};
    upstream.pass_headers = (struct span_list){names, COUNT_OF(names)};
    assert_string_equal(
        head_of(HEADERS(LINE("x-title", "t"), LINE("Cookie", "c"), LINE("Host", "h"),
                        LINE("Idempotency-Key", "k"), LINE("X-Stainless-OS", "x"),
                        LINE("Prefer", "p"), LINE("Content-Length", "1"),
                        LINE("Transfer-Encoding", "chunked"))),
        "x-title: t\n" AGENT OURS);
}

TEST(upstream_request, what_is_relayed_asks_for_what_its_client_accepts)
{
    setup();
    relay = true;
    assert_string_equal(
        head_of(HEADERS(LINE("Accept", "application/json"), LINE("Idempotency-Key", "k"))),
        AGENT "Via: 1.1 unstream-b1\nContent-Type: application/json\n"
              "Accept: application/json\nAccept-Encoding: identity\n");
    no_body = true;
    assert_string_equal(head_of(HEADERS(LINE("Content-Type", "application/json"))),
                        AGENT "Via: 1.1 unstream-b1\nAccept: */*\n"
                              "Accept-Encoding: identity\n");
    assert_null(head_of(HEADERS(LINE("Accept", "a\nb"))));
    assert_int_equal(result, UPSTREAM_REQUEST_BAD_VALUE);
}

TEST(upstream_request, what_connection_names_ends_here)
{
    setup();
    assert_string_equal(head_of(HEADERS(LINE("Connection", "close, TraceParent"),
                                        LINE("traceparent", "t"), LINE("tracestate", "s"))),
                        "tracestate: s\n" AGENT OURS);
}

TEST(upstream_request, a_configured_key_replaces_every_credential_of_the_client)
{
    setup();
    struct span names[] = {SPAN("authorization"), SPAN("x-api-key")};
    struct headers client = HEADERS(LINE("Authorization", "Bearer c"), LINE("x-api-key", "c"),
                                    LINE("API-Key", "c"));
    upstream.pass_headers = (struct span_list){names, 2};
    upstream.api_key = SPAN("sk-own");
    assert_string_equal(head_of(client), "Authorization: Bearer sk-own\n" AGENT OURS);
    upstream.auth = AUTH_X_API_KEY;
    assert_string_equal(head_of(client), "x-api-key: sk-own\n" AGENT OURS);
}

TEST(upstream_request, a_fixed_credential_replaces_every_credential_of_the_client_too)
{
    setup();
    struct header fixed[] = {LINE("api-key", "azure")};
    upstream.headers = (struct headers){fixed, 1};
    assert_string_equal(
        head_of(HEADERS(LINE("Authorization", "Bearer c"), LINE("api-key", "c"))),
        "api-key: azure\n" AGENT OURS);
}

TEST(upstream_request, fixed_headers_win_but_not_over_what_makes_the_call_work)
{
    setup();
    struct header fixed[] = {LINE("OpenAI-Project", "ours"), LINE("user-agent", "me"),
                             LINE("X-Extra", "e"),           LINE("accept", "text/html"),
                             LINE("Content-Length", "7"),    LINE("authorization", "Custom z")};
    upstream.headers = (struct headers){fixed, COUNT_OF(fixed)};
    upstream.api_key = SPAN("sk-own");
    assert_string_equal(
        head_of(HEADERS(LINE("openai-project", "theirs"), LINE("User-Agent", "sdk"))),
        "OpenAI-Project: ours\nuser-agent: me\nX-Extra: e\nauthorization: Custom z\n" OURS);
}

TEST(upstream_request, our_user_agent_stands_behind_the_clients)
{
    setup();
    assert_string_equal(head_of(HEADERS(LINE("user-agent", "OpenAI/JS 7.57"))),
                        "User-Agent: OpenAI/JS 7.57 unstream/" UNSTREAM_VERSION "\n" OURS);
}

TEST(upstream_request, anthropic_version_has_a_default_on_the_simple_route_only)
{
    setup();
    struct headers none = {NULL, 0};
    route = API_SIMPLE;
    api = API_MESSAGES;
    assert_string_equal(head_of(none), AGENT "anthropic-version: 2023-06-01\n" OURS);
    assert_string_equal(head_of(HEADERS(LINE("Anthropic-Version", "2030"))),
                        "Anthropic-Version: 2030\n" AGENT OURS);
    struct header fixed[] = {LINE("anthropic-version", "2031")};
    upstream.headers = (struct headers){fixed, 1};
    assert_string_equal(head_of(none), "anthropic-version: 2031\n" AGENT OURS);
    upstream.headers.count = 0;
    api = API_CHAT;
    assert_string_equal(head_of(none), AGENT OURS);
    route = api = API_MESSAGES;
    assert_string_equal(head_of(none), AGENT OURS);
}

TEST(upstream_request, the_clients_via_goes_along_and_ours_comes_behind)
{
    setup();
    assert_string_equal(head_of(HEADERS(LINE("Via", "1.1 nginx, 1.0 unstream-b2 (x)"))),
                        "Via: 1.1 nginx, 1.0 unstream-b2 (x)\n" AGENT OURS);
}

static bool is_loop(struct headers client)
{
    return upstream_request_is_loop(&client, SPAN("b1"));
}

TEST(upstream_request, our_own_via_coming_back_is_a_loop)
{
    assert_true(is_loop(HEADERS(LINE("Via", "1.1 unstream-b1"))));
    assert_true(
        is_loop(HEADERS(LINE("Via", "1.0 a"), LINE("via", "2 b,1.1  UNSTREAM-B1 (x)"))));
    assert_false(is_loop(HEADERS(LINE("Via", "1.1 unstream-b12"))));
    assert_false(is_loop(HEADERS(LINE("Via", "1.1 unstream-b"))));
    assert_false(is_loop(HEADERS(LINE("Via", "1.1 unstream-"))));
    assert_false(is_loop(HEADERS(LINE("Via", ""), LINE("Via", "unstream-b1"))));
}

TEST(upstream_request, control_characters_are_refused)
{
    setup();
    assert_null(head_of(HEADERS(LINE("traceparent", "a\r\nX-Evil: 1"))));
    assert_int_equal(result, UPSTREAM_REQUEST_BAD_VALUE);
    assert_null(head_of(HEADERS(LINE("traceparent", "a\0b"))));
    assert_null(head_of(HEADERS(LINE("traceparent", "a\x7f"))));
    assert_null(head_of(HEADERS(LINE("user-agent", "a\n"))));
    assert_non_null(head_of(HEADERS(LINE("traceparent", "a\tb \xc3\xbc"))));
    assert_non_null(head_of(HEADERS(LINE("x-dropped", "a\nb"))));
    upstream.api_key = SPAN("sk\n");
    assert_null(head_of(HEADERS(LINE("accept", "x"))));
    assert_int_equal(result, UPSTREAM_REQUEST_BAD_VALUE);
}

TEST(upstream_request, a_full_arena_is_reported)
{
    setup();
    struct arena arena;
    struct headers client = {NULL, 0}, headers;
    struct upstream_request_params params = {.upstream = &upstream,
                                             .client = &client,
                                             .route = API_CHAT,
                                             .api = API_CHAT,
                                             .boot_id = SPAN("b")};
    arena_init(&arena, 8);
    assert_int_equal(upstream_request_headers(&params, &arena, &headers),
                     UPSTREAM_REQUEST_NO_MEMORY);
    arena_done(&arena);
    arena_init(&arena, 7 * sizeof(struct header));
    assert_int_equal(upstream_request_headers(&params, &arena, &headers),
                     UPSTREAM_REQUEST_NO_MEMORY);
    arena_done(&arena);
}

static const char *url(enum provider provider, const char *base, enum api called,
                       const char *query)
{
    static struct buf out;
    buf_done(&out);
    buf_init(&out, 1024);
    upstream.base_url = span_of(base);
    upstream.provider = provider;
    upstream_request_url(&upstream, called, span_of(query), &out);
    return buf_text(&out);
}

TEST(upstream_request, any_path_below_v1_has_a_url)
{
    setup();
    BUF(out, 256);
    upstream.base_url = SPAN("https://api.anthropic.com/");
    upstream.provider = PROVIDER_ANTHROPIC;
    upstream_request_url_below(&upstream, SPAN("/models/a%2Fb"), SPAN("x=%20&y"), &out);
    assert_string_equal(buf_text(&out), "https://api.anthropic.com/v1/models/a%2Fb?x=%20&y");
}

TEST(upstream_request, the_url_is_the_base_with_the_path_and_the_query_as_sent)
{
    setup();
    assert_string_equal(url(PROVIDER_OPENAI, "https://api.openai.com/v1", API_CHAT, NULL),
                        "https://api.openai.com/v1/chat/completions");
    assert_string_equal(url(PROVIDER_OPENAI, "http://[::1]:9/v1/", API_RESPONSES, "a=%26&b"),
                        "http://[::1]:9/v1/responses?a=%26&b");
    assert_string_equal(url(PROVIDER_OPENAI, "http://h/openai", API_CHAT, ""),
                        "http://h/openai/chat/completions?");
    assert_string_equal(url(PROVIDER_OPENAI, "http://h/v1", API_MESSAGES, NULL),
                        "http://h/v1/messages");
    assert_string_equal(
        url(PROVIDER_ANTHROPIC, "https://api.anthropic.com", API_MESSAGES, "beta=true"),
        "https://api.anthropic.com/v1/messages?beta=true");
    assert_string_equal(url(PROVIDER_ANTHROPIC, "http://h/x/", API_CHAT, NULL),
                        "http://h/x/v1/chat/completions");
    assert_string_equal(url(PROVIDER_ANTHROPIC, "http://h/v1/", API_MESSAGES, NULL),
                        "http://h/v1/messages");
}
