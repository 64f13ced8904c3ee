#include "core/simple_api.h"
#include "core/splice.h"
#include "test.h"

static struct config_route route;
static struct config_upstream upstream;
static struct simple_api_request request;
static enum simple_api_refusal refusal;

static void setup(enum api api)
{
    route = (struct config_route){.api = api, .model = SPAN("m\"1"), .max_tokens = 4096};
    upstream = (struct config_upstream){.max_tokens_field = SPAN("max_completion_tokens")};
}

/* The body of the api; NULL: refused, and `refusal` says why. */
static const char *mapped(const char *body)
{
    static struct buf out;
    buf_done(&out);
    buf_init(&out, 4096);
    refusal = simple_api_request(&route, &upstream, span_of(body), &out, &request);
    assert_int_equal(buf_rc(&out), OK);
    if (refusal == SIMPLE_API_FINE)
        return buf_text(&out);
    assert_int_equal(out.n, 0);
    return NULL;
}

static const char *explained(const char *body)
{
    static struct buf text;
    buf_done(&text);
    buf_init(&text, 4096);
    assert_null(mapped(body));
    simple_api_explain(refusal, request.refused, &text);
    return buf_text(&text);
}

static const char *answer(enum api api, const char *body)
{
    static struct buf out;
    buf_done(&out);
    buf_init(&out, 4096);
    return simple_api_answer(api, span_of(body), &out) == OK ? buf_text(&out) : NULL;
}

/* ---- requests */

TEST(simple_api, a_prompt_alone_takes_the_routes_defaults)
{
    setup(API_MESSAGES);
    assert_string_equal(mapped("{\"prompt\":\"h\\u0069\"}"),
                        "{\"model\":\"m\\\"1\",\"messages\":[{\"role\":\"user\",\"content\":"
                        "\"h\\u0069\"}],\"max_tokens\":4096}");
    setup(API_CHAT);
    assert_string_equal(mapped("{\"prompt\":\"hi\"}"),
                        "{\"model\":\"m\\\"1\",\"messages\":[{\"role\":\"user\",\"content\":"
                        "\"hi\"}],\"max_completion_tokens\":4096}");
    setup(API_RESPONSES);
    assert_string_equal(mapped("{\"prompt\":\"hi\"}"),
                        "{\"model\":\"m\\\"1\",\"input\":\"hi\",\"max_output_tokens\":4096}");
}

TEST(simple_api, every_member_has_its_place)
{
    const char *body =
        "\xEF\xBB\xBF{\"options\":{\"temperature\":0.10, \"top_p\":1},\"max_tokens\""
        ":7,\"model\":\"x\",\"system\":\"s\",\"prompt\":\"p\","
        "\"idempotency_key\":\"k\"}";
    setup(API_MESSAGES);
    assert_string_equal(
        mapped(body),
        "{\"model\":\"x\",\"system\":\"s\",\"messages\":[{\"role\":\"user\","
        "\"content\":\"p\"}],\"max_tokens\":7,\"temperature\":0.10, \"top_p\":1}");
    assert_span_equal(request.idempotency_key, "\"k\"");
    setup(API_CHAT);
    assert_string_equal(
        mapped(body),
        "{\"model\":\"x\",\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":"
        "\"user\",\"content\":\"p\"}],\"max_completion_tokens\":7,\"temperature\":0.10, "
        "\"top_p\":1}");
    setup(API_RESPONSES);
    assert_string_equal(mapped(body),
                        "{\"model\":\"x\",\"instructions\":\"s\",\"input\":\"p\","
                        "\"max_output_tokens\":7,\"temperature\":0.10, \"top_p\":1}");
}

TEST(simple_api, null_counts_as_left_out)
{
    setup(API_RESPONSES);
    assert_string_equal(
        mapped("{\"prompt\":\"p\",\"system\":null,\"model\":null,\"max_tokens\":"
               "null,\"options\":null,\"idempotency_key\":null}"),
        "{\"model\":\"m\\\"1\",\"input\":\"p\",\"max_output_tokens\":4096}");
    assert_null(request.idempotency_key.p);
    assert_string_equal(explained("{\"prompt\":null}"),
                        "prompt is missing, and the route has no default");
}

TEST(simple_api, options_replace_ours_so_that_nothing_is_sent_twice)
{
    setup(API_MESSAGES);
    assert_string_equal(mapped("{\"prompt\":\"p\",\"model\":\"x\",\"options\":{\"mod\\u0065l\":"
                               "\"y\",\"messages\":[],\"max_tokens\":1}}"),
                        "{\"mod\\u0065l\":\"y\",\"messages\":[],\"max_tokens\":1}");
    setup(API_RESPONSES);
    assert_string_equal(mapped("{\"prompt\":\"p\",\"options\":{\"input\":[1],\"x\":{}}}"),
                        "{\"model\":\"m\\\"1\",\"max_output_tokens\":4096,\"input\":[1],"
                        "\"x\":{}}");
    assert_string_equal(mapped("{\"prompt\":\"p\",\"options\":{ }}"),
                        "{\"model\":\"m\\\"1\",\"input\":\"p\",\"max_output_tokens\":4096}");
}

TEST(simple_api, any_token_limit_in_options_replaces_ours)
{
    setup(API_CHAT);
    assert_string_equal(mapped("{\"prompt\":\"p\",\"options\":{\"max_tokens\":5}}"),
                        "{\"model\":\"m\\\"1\",\"messages\":[{\"role\":\"user\",\"content\":"
                        "\"p\"}],\"max_tokens\":5}");
    upstream.max_tokens_field = SPAN("limit");
    assert_string_equal(mapped("{\"prompt\":\"p\",\"options\":{\"limit\":5}}"),
                        "{\"model\":\"m\\\"1\",\"messages\":[{\"role\":\"user\",\"content\":"
                        "\"p\"}],\"limit\":5}");
    assert_string_equal(mapped("{\"prompt\":\"p\",\"max_tokens\":18446744073709551615}"),
                        "{\"model\":\"m\\\"1\",\"messages\":[{\"role\":\"user\",\"content\":"
                        "\"p\"}],\"limit\":18446744073709551615}");
}

TEST(simple_api, without_defaults_model_is_needed_and_for_messages_a_limit)
{
    setup(API_RESPONSES);
    route.model = SPAN_ABSENT;
    route.max_tokens = 0;
    assert_string_equal(explained("{\"prompt\":\"p\"}"),
                        "model is missing, and the route has no default");
    assert_string_equal(mapped("{\"prompt\":\"p\",\"options\":{\"model\":\"x\"}}"),
                        "{\"input\":\"p\",\"model\":\"x\"}");
    route.api = API_MESSAGES;
    assert_string_equal(explained("{\"prompt\":\"p\",\"model\":\"x\"}"),
                        "max_tokens is missing, and the route has no default");
    assert_non_null(
        mapped("{\"prompt\":\"p\",\"model\":\"x\",\"options\":{\"max_tokens\":1}}"));
}

TEST(simple_api, mistakes_are_told_by_name)
{
    setup(API_MESSAGES);
    assert_string_equal(explained("{\"prompt\":\"p\",\"temp\\u0065rature\":1}"),
                        "temperature is not known here: put what the provider understands into "
                        "options");
    assert_string_equal(explained("{\"prompt\":[\"p\"]}"), "prompt must be a string");
    assert_string_equal(explained("{\"prompt\":\"p\",\"options\":[]}"),
                        "options must be an object");
    assert_string_equal(explained("{\"prompt\":\"p\",\"max_tokens\":\"5\"}"),
                        "max_tokens must be a positive integer");
    assert_string_equal(explained("{\"prompt\":\"p\",\"max_tokens\":0}"),
                        "max_tokens must be a positive integer");
    assert_string_equal(explained("{\"prompt\":\"p\",\"max_tokens\":1.5}"),
                        "max_tokens must be a positive integer");
    assert_string_equal(explained("{\"prompt\":\"p\",\"prompt\":\"p\"}"),
                        "prompt stands twice: send it once");
    assert_string_equal(explained("{\"prompt\":null,\"prompt\":\"p\"}"),
                        "prompt stands twice: send it once");
    assert_string_equal(explained("{\"prompt\":\"p\"} x"),
                        "the body is not one valid JSON object");
    assert_string_equal(explained("{\"other\":1"), "the body is not one valid JSON object");
    assert_string_equal(explained("[]"), "the body is not one valid JSON object");
}

#define X32 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

TEST(simple_api, a_name_of_65_bytes_is_not_repeated)
{
    setup(API_MESSAGES);
    assert_int_equal(strncmp(explained("{\"" X32 X32 "\":1}"), X32 X32 " is not known", 77), 0);
    assert_int_equal(strncmp(explained("{\"" X32 X32 "x\":1}"),
                             "a member with a long name is not known", 38),
                     0);
}

TEST(simple_api, streams_are_refused_here_as_everywhere)
{
    struct splice splice;
    setup(API_CHAT);
    assert_null(mapped("{\"prompt\":\"p\",\"stream\":true}"));
    assert_string_equal(http_error_info(simple_api_refusal_error(refusal))->code,
                        "stream_not_supported");
    assert_null(mapped("{\"prompt\":\"p\",\"stream\":false}"));
    assert_int_equal(refusal, SIMPLE_API_UNKNOWN);
    const char *body = mapped("{\"prompt\":\"p\",\"options\":{\"stream\":true}}");
    assert_int_equal(splice_plan(API_CHAT, true, span_of(body), &splice), SPLICE_STREAM_TRUE);
}

TEST(simple_api, there_is_room_for_one_choice)
{
    setup(API_CHAT);
    assert_non_null(mapped("{\"prompt\":\"p\",\"options\":{\"n\":1}}"));
    assert_non_null(mapped("{\"prompt\":\"p\",\"options\":{\"n\":null}}"));
    assert_string_equal(
        explained("{\"prompt\":\"p\",\"options\":{\"n\":2}}"),
        "options.n must be 1 here: use /v1/chat/completions for several choices");
    assert_null(mapped("{\"prompt\":\"p\",\"options\":{\"n\":\"1\"}}"));
    setup(API_MESSAGES);
    assert_non_null(mapped("{\"prompt\":\"p\",\"options\":{\"n\":2}}"));
}

/* ---- answers */

TEST(simple_api, a_chat_answer_is_mapped_back)
{
    assert_string_equal(
        answer(API_CHAT,
               "{\"id\":\"c\\u0031\",\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{"
               "\"role\":\"assistant\",\"content\":\"a\\n\\ud83d\\ude00\",\"refusal\":null},"
               "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,"
               "\"completion_tokens\":9007199254740993}}"),
        "{\"id\":\"c\\u0031\",\"model\":\"m\",\"text\":\"a\\n\\ud83d\\ude00\",\"stop_reason\":"
        "\"stop\",\"usage\":{\"input_tokens\":3,\"output_tokens\":9007199254740993}}");
}

TEST(simple_api, without_text_there_is_the_refusal)
{
    assert_string_equal(
        answer(API_CHAT, "{\"choices\":[{\"message\":{\"content\":null,\"refusal\":\"no\"}}]}"),
        "{\"id\":null,\"model\":null,\"text\":\"no\",\"stop_reason\":null,"
        "\"usage\":{\"input_tokens\":null,\"output_tokens\":null}}");
    assert_string_equal(
        answer(API_RESPONSES,
               "{\"id\":\"r\",\"status\":\"completed\",\"output\":[{\"type\":\"message\","
               "\"content\":[{\"type\":\"refusal\",\"refusal\":\"no\"}]}]}"),
        "{\"id\":\"r\",\"model\":null,\"text\":\"no\",\"stop_reason\":\"completed\","
        "\"usage\":{\"input_tokens\":null,\"output_tokens\":null}}");
}

TEST(simple_api, a_chat_answer_of_parts_or_of_tool_calls_alone_is_mapped_too)
{
    const char *parts =
        answer(API_CHAT,
               "{\"choices\":[{\"message\":{\"content\":[{\"type\":\"thinking\",\"thinking\":"
               "[]},{\"type\":\"text\",\"text\":\"a\"},{\"text\":\"b\",\"type\":\"text\"}]},"
               "\"finish_reason\":\"length\"},{\"message\":{\"content\":\"c\"}}]}");
    assert_non_null(strstr(parts, "\"text\":\"ab\",\"stop_reason\":\"length\""));
    const char *calls = answer(API_CHAT, "{\"choices\":[{\"message\":{\"tool_calls\":[]},"
                                         "\"finish_reason\":\"tool_calls\"}]}");
    assert_non_null(strstr(calls, "\"text\":\"\",\"stop_reason\":\"tool_calls\""));
}

TEST(simple_api, a_messages_answer_is_mapped_back)
{
    assert_string_equal(
        answer(API_MESSAGES,
               "{\"id\":\"msg\",\"type\":\"message\",\"model\":\"m\",\"content\":[{\"type\":"
               "\"thinking\",\"thinking\":\"t\"},{\"type\":\"text\",\"text\":\"a\"},{\"type\":"
               "\"tool_use\",\"input\":{\"text\":\"x\"}},{\"type\":\"text\",\"text\":\"b\"}],"
               "\"stop_reason\":\"max_tokens\",\"usage\":{\"input_tokens\":1,"
               "\"output_tokens\":2}}"),
        "{\"id\":\"msg\",\"model\":\"m\",\"text\":\"ab\",\"stop_reason\":\"max_tokens\","
        "\"usage\":{\"input_tokens\":1,\"output_tokens\":2}}");
}

TEST(simple_api, a_responses_answer_is_mapped_back)
{
    assert_string_equal(
        answer(
            API_RESPONSES,
            "{\"id\":\"r\",\"model\":\"m\",\"status\":\"incomplete\",\"incomplete_details\":{"
            "\"reason\":\"max_output_tokens\"},\"output\":[{\"type\":\"reasoning\","
            "\"summary\":[]},{\"type\":\"message\",\"content\":[{\"type\":\"output_text\","
            "\"text\":\"a\"}]},{\"type\":\"message\",\"content\":[{\"type\":\"output_text\","
            "\"text\":\"b\"},{\"type\":\"refusal\",\"refusal\":\"no\"}]}],\"usage\":{"
            "\"input_tokens\":1,\"output_tokens\":2}}"),
        "{\"id\":\"r\",\"model\":\"m\",\"text\":\"ab\",\"stop_reason\":\"max_output_tokens\","
        "\"usage\":{\"input_tokens\":1,\"output_tokens\":2}}");
    assert_non_null(strstr(answer(API_RESPONSES, "{\"status\":\"completed\","
                                                 "\"incomplete_details\":null,\"output\":[]}"),
                           "\"text\":\"\",\"stop_reason\":\"completed\""));
}

TEST(simple_api, what_is_no_answer_of_the_api_is_not_mapped)
{
    assert_null(answer(API_CHAT, "{\"error\":{}}"));
    assert_null(answer(API_CHAT, "{\"choices\":[]}"));
    assert_null(answer(API_CHAT, "{\"choices\":[{}]}"));
    assert_null(answer(API_MESSAGES, "{\"content\":\"a\"}"));
    assert_null(answer(API_RESPONSES, "{\"output\":{}}"));
    assert_null(answer(API_RESPONSES, "[]"));
}

TEST(simple_api, a_full_buffer_is_reported)
{
    BUF(out, 10);
    assert_int_equal(simple_api_answer(API_MESSAGES, SPAN("{\"content\":[]}"), &out), E_LIMIT);
}
