#include "core/fingerprint.h"
#include "test.h"

#define LINE(name, value)                                                                      \
    {                                                                                          \
        SPAN(name), SPAN(value)                                                                \
    }
#define HEADERS(...)                                                                           \
    {                                                                                          \
        (struct header[]){__VA_ARGS__},                                                        \
            sizeof((struct header[]){__VA_ARGS__}) / sizeof(struct header)                     \
    }

static struct http_head post(const char *query)
{
    return (struct http_head){.method = SPAN("POST"),
                              .path = SPAN("/v1/messages"),
                              .query = span_of(query),
                              .version_minor = 1};
}

static struct digest print_of(const struct http_head *head, enum api api, const char *body)
{
    struct digest digest;
    struct arena scratch;
    arena_init(&scratch, 65536);
    assert_int_equal(fingerprint_of(head, api, span_of(body), &scratch, &digest), OK);
    arena_done(&scratch);
    return digest;
}

static bool same_query(const char *a, const char *b)
{
    struct http_head first = post(a), second = post(b);
    struct digest x = print_of(&first, API_CHAT, "{}"), y = print_of(&second, API_CHAT, "{}");
    return digest_eq(&x, &y);
}

static bool same_headers(struct headers a, struct headers b)
{
    struct http_head first = post(NULL), second = post(NULL);
    first.headers = a;
    second.headers = b;
    struct digest x = print_of(&first, API_CHAT, "{}"), y = print_of(&second, API_CHAT, "{}");
    return digest_eq(&x, &y);
}

TEST(fingerprint, its_bytes_never_change_within_a_version)
{
    struct http_head head = post("b=2&a=1");
    head.headers =
        (struct headers)HEADERS(LINE("OpenAI-Beta", "x"), LINE("Anthropic-Version", "2023"));
    struct digest got = print_of(&head, API_MESSAGES, "{\"a\":1}"), want;
    assert_true(digest_from_hex(
        SPAN("1f1dfe1a204d627fcf84bb769c48b4c916fde833f64a54cf93941181b814dcba"), &want));
    assert_memory_equal(got.bytes, want.bytes, sizeof want.bytes);
}

TEST(fingerprint, method_route_and_body_count)
{
    struct http_head head = post(NULL);
    struct digest base = print_of(&head, API_CHAT, "{}");
    struct digest other_route = print_of(&head, API_RESPONSES, "{}");
    struct digest other_body = print_of(&head, API_CHAT, "{\"a\":1}");
    head.method = SPAN("PUT");
    struct digest other_method = print_of(&head, API_CHAT, "{}");
    assert_false(digest_eq(&base, &other_route));
    assert_false(digest_eq(&base, &other_body));
    assert_false(digest_eq(&base, &other_method));
}

TEST(fingerprint, the_order_of_query_names_does_not_count)
{
    assert_true(same_query("a=1&b=2", "b=2&a=1"));
    assert_true(same_query("a=1&&b=2&", "a=1&b=2"));
    assert_true(same_query("", NULL));
    assert_false(same_query("a=1", NULL));
    assert_false(same_query("a=1", "a=2"));
    assert_false(same_query("a", "a="));
    assert_false(same_query("a=1&a=2", "a=2&a=1"));
    assert_false(same_query("a=1&b=2", "a=1%26b=2"));
}

TEST(fingerprint, the_semantic_headers_count_and_no_others)
{
    struct headers none = {NULL, 0};
    assert_false(same_headers(none, (struct headers)HEADERS(LINE("anthropic-version", "1"))));
    assert_false(same_headers(none, (struct headers)HEADERS(LINE("Anthropic-Beta", "1"))));
    assert_false(same_headers(none, (struct headers)HEADERS(LINE("OpenAI-Organization", "1"))));
    assert_false(same_headers(none, (struct headers)HEADERS(LINE("openai-whatever", "1"))));
    assert_true(same_headers(
        none,
        (struct headers)HEADERS(LINE("authorization", "Bearer k"), LINE("user-agent", "x"),
                                LINE("x-stainless-retry-count", "1"), LINE("accept", "*/*"),
                                LINE("traceparent", "00-1"), LINE("idempotency-key", "k"),
                                LINE("openai", "x"), LINE("anthropic-dangerous", "x"))));
}

TEST(fingerprint, header_order_and_case_of_names_do_not_count)
{
    struct headers one =
        HEADERS(LINE("OpenAI-Beta", "x"), LINE("accept", "y"), LINE("Anthropic-Version", "z"));
    struct headers other = HEADERS(LINE("anthropic-version", " z "), LINE("openai-beta", "x"));
    assert_true(same_headers(one, other));
}

TEST(fingerprint, values_and_the_order_of_lines_of_one_name_count)
{
    struct headers a = HEADERS(LINE("anthropic-beta", "x"), LINE("anthropic-beta", "y"));
    struct headers b = HEADERS(LINE("anthropic-beta", "y"), LINE("anthropic-beta", "x"));
    struct headers c = HEADERS(LINE("anthropic-beta", "X"), LINE("anthropic-beta", "y"));
    assert_false(same_headers(a, b));
    assert_false(same_headers(a, c));
}

TEST(fingerprint, what_moves_from_one_part_to_the_next_changes_it)
{
    struct headers a = HEADERS(LINE("openai-a", "bc"));
    struct headers b = HEADERS(LINE("openai-ab", "c"));
    struct headers c = HEADERS(LINE("openai-a", ""), LINE("openai-b", "c"));
    assert_false(same_headers(a, b));
    assert_false(same_headers(a, c));
    assert_false(same_query("a=b", "a==b"));
}

TEST(fingerprint, a_full_arena_is_reported)
{
    struct arena scratch;
    struct digest digest;
    struct http_head head = post("a=1");
    arena_init(&scratch, 8);
    assert_int_equal(fingerprint_of(&head, API_CHAT, SPAN("{}"), &scratch, &digest), E_NOMEM);
    arena_done(&scratch);
}
