#include "core/json.h"
#include "core/splice.h"
#include "test.h"

#include <stdlib.h>

static struct splice plan;

/* The upstream body; NULL: refused, as `refusal` says. */
static enum splice_refusal refusal;
static const char *spliced_with(enum api api, bool include_usage, const char *body)
{
    static struct buf out;
    buf_done(&out);
    buf_init(&out, 65536);
    refusal = splice_plan(api, include_usage, span_of(body), &plan);
    if (refusal != SPLICE_FINE)
        return NULL;
    splice_write(&plan, &out);
    assert_int_equal(buf_rc(&out), OK);
    assert_int_equal(out.n, splice_bytes(&plan));
    return buf_text(&out);
}
static const char *spliced(enum api api, const char *body)
{
    return spliced_with(api, true, body);
}

#define assert_refused(api, body, why)                                                         \
    do {                                                                                       \
        assert_null(spliced(api, body));                                                       \
        assert_int_equal(refusal, why);                                                        \
    } while (0)

TEST(splice, stream_true_is_inserted_first)
{
    assert_string_equal(spliced(API_MESSAGES, "{\"model\":\"m\"}"),
                        "{\"stream\":true,\"model\":\"m\"}");
    assert_string_equal(
        spliced(API_RESPONSES, " \n{ \"n\" : 1e0, \"x\":18446744073709551616 } "),
        " \n{\"stream\":true, \"n\" : 1e0, \"x\":18446744073709551616 } ");
    assert_string_equal(spliced(API_MESSAGES, "{}"), "{\"stream\":true}");
    assert_string_equal(spliced(API_MESSAGES, "{ }"), "{\"stream\":true }");
}

TEST(splice, false_and_null_are_replaced_in_place)
{
    assert_string_equal(spliced(API_MESSAGES, "{\"a\":1, \"stream\" : false ,\"b\":2}"),
                        "{\"a\":1, \"stream\" : true ,\"b\":2}");
    assert_string_equal(spliced(API_MESSAGES, "{\"str\\u0065am\":null}"),
                        "{\"str\\u0065am\":true}");
}

TEST(splice, chat_asks_for_usage)
{
    assert_string_equal(
        spliced(API_CHAT, "{\"model\":\"m\"}"),
        "{\"stream\":true,\"stream_options\":{\"include_usage\":true},\"model\":\"m\"}");
    assert_string_equal(spliced(API_CHAT, "{}"),
                        "{\"stream\":true,\"stream_options\":{\"include_usage\":true}}");
    assert_string_equal(spliced(API_CHAT, "{\"stream\":false}"),
                        "{\"stream_options\":{\"include_usage\":true},\"stream\":true}");
}

TEST(splice, include_usage_is_set_inside_existing_options)
{
    assert_string_equal(spliced(API_CHAT, "{\"stream_options\":{}}"),
                        "{\"stream\":true,\"stream_options\":{\"include_usage\":true}}");
    assert_string_equal(
        spliced(API_CHAT, "{\"stream_options\": {\"x\":1},\"stream\":null}"),
        "{\"stream_options\": {\"include_usage\":true,\"x\":1},\"stream\":true}");
    assert_string_equal(
        spliced(API_CHAT,
                "{\"stream\":null,\"stream_options\":{\"include_us\\u0061ge\":false}}"),
        "{\"stream\":true,\"stream_options\":{\"include_us\\u0061ge\":true}}");
    assert_string_equal(spliced(API_CHAT, "{\"stream_options\":null}"),
                        "{\"stream\":true,\"stream_options\":{\"include_usage\":true}}");
    assert_string_equal(spliced(API_CHAT, "{\"stream_options\":{\"include_usage\":true}}"),
                        "{\"stream\":true,\"stream_options\":{\"include_usage\":true}}");
}

TEST(splice, without_include_usage_the_options_stay_as_sent)
{
    assert_string_equal(spliced_with(API_CHAT, false, "{\"model\":\"m\"}"),
                        "{\"stream\":true,\"model\":\"m\"}");
    assert_string_equal(spliced_with(API_CHAT, false, "{}"), "{\"stream\":true}");
    assert_string_equal(
        spliced_with(API_CHAT, false, "{\"stream_options\":{\"include_usage\":false}}"),
        "{\"stream\":true,\"stream_options\":{\"include_usage\":false}}");
}

TEST(splice, only_chat_has_its_options_changed)
{
    const char *body = "{\"stream\":null,\"stream_options\":{\"include_obfuscation\":false}}";
    assert_string_equal(spliced(API_RESPONSES, body),
                        "{\"stream\":true,\"stream_options\":{\"include_obfuscation\":false}}");
    assert_string_equal(spliced(API_MESSAGES, "{\"stream\":null,\"stream_options\":7}"),
                        "{\"stream\":true,\"stream_options\":7}");
}

TEST(splice, a_byte_order_mark_does_not_go_upstream)
{
    assert_string_equal(spliced(API_MESSAGES, "\xEF\xBB\xBF{\"a\":1}"),
                        "{\"stream\":true,\"a\":1}");
}

TEST(splice, nested_members_of_these_names_are_left_alone)
{
    assert_string_equal(
        spliced(API_CHAT, "{\"stream\":null,\"x\":{\"stream\":true,\"stream_options\":1},"
                          "\"stream_options\":{\"y\":{\"include_usage\":1}}}"),
        "{\"stream\":true,\"x\":{\"stream\":true,\"stream_options\":1},"
        "\"stream_options\":{\"include_usage\":true,\"y\":{\"include_usage\":1}}}");
}

TEST(splice, what_cannot_be_served_is_refused)
{
    assert_refused(API_MESSAGES, "{\"stream\":true}", SPLICE_STREAM_TRUE);
    assert_refused(API_CHAT, "{\"\\u0073tream\":true}", SPLICE_STREAM_TRUE);
    assert_refused(API_CHAT, "{\"stream\":\"true\"}", SPLICE_STREAM_TYPE);
    assert_refused(API_CHAT, "{\"stream\":0}", SPLICE_STREAM_TYPE);
    assert_refused(API_CHAT, "{\"stream\":[]}", SPLICE_STREAM_TYPE);
    assert_refused(API_CHAT, "{\"stream\":false,\"stream\":false}", SPLICE_TWICE);
    assert_refused(API_CHAT, "{\"stream\":false,\"str\\u0065am\":true}", SPLICE_TWICE);
    assert_refused(API_CHAT, "{\"stream_options\":{},\"stream_options\":{}}", SPLICE_TWICE);
    assert_refused(API_CHAT,
                   "{\"stream_options\":{\"include_usage\":true,\"include_usage\":true}}",
                   SPLICE_TWICE);
    assert_refused(API_CHAT, "{\"stream_options\":true}", SPLICE_OPTIONS_TYPE);
    assert_refused(API_CHAT, "{\"stream_options\":[]}", SPLICE_OPTIONS_TYPE);
    assert_refused(API_RESPONSES, "{\"background\":true}", SPLICE_BACKGROUND);
    assert_non_null(spliced(API_RESPONSES, "{\"background\":false}"));
    assert_non_null(spliced(API_MESSAGES, "{\"background\":true}"));
}

TEST(splice, what_is_not_one_json_object_is_refused)
{
    assert_refused(API_CHAT, "", SPLICE_NOT_JSON);
    assert_refused(API_CHAT, "[]", SPLICE_NOT_JSON);
    assert_refused(API_CHAT, "{\"a\":1}{}", SPLICE_NOT_JSON);
    assert_refused(API_CHAT, "{\"stream\":false", SPLICE_NOT_JSON);
    assert_int_equal(splice_plan(API_CHAT, true, SPAN_ABSENT, &plan), SPLICE_NOT_JSON);
}

TEST(splice, each_refusal_has_its_code)
{
    assert_string_equal(http_error_info(splice_refusal_error(SPLICE_STREAM_TRUE))->code,
                        "stream_not_supported");
    assert_string_equal(http_error_info(splice_refusal_error(SPLICE_TWICE))->code,
                        "invalid_json");
    assert_string_equal(http_error_info(splice_refusal_error(SPLICE_BACKGROUND))->code,
                        "invalid_request");
    assert_non_null(strstr(splice_refusal_text(SPLICE_BACKGROUND), "Prefer: respond-async"));
}

TEST(splice, the_model_is_handed_out_raw)
{
    assert_non_null(spliced(API_MESSAGES, "{\"model\" : \"\\u006d\" }"));
    assert_span_equal(plan.model, "\"\\u006d\"");
    assert_non_null(spliced(API_MESSAGES, "{}"));
    assert_null(plan.model.p);
}

TEST(splice, choices_are_1_to_128)
{
    assert_non_null(spliced(API_CHAT, "{}"));
    assert_int_equal(plan.choices, 1);
    assert_non_null(spliced(API_CHAT, "{\"n\":null}"));
    assert_int_equal(plan.choices, 1);
    assert_non_null(spliced(API_CHAT, "{\"n\":128}"));
    assert_int_equal(plan.choices, 128);
    assert_refused(API_CHAT, "{\"n\":129}", SPLICE_CHOICES);
    assert_refused(API_CHAT, "{\"n\":0}", SPLICE_CHOICES);
    assert_refused(API_CHAT, "{\"n\":-1}", SPLICE_CHOICES);
    assert_refused(API_CHAT, "{\"n\":\"2\"}", SPLICE_CHOICES);
    assert_non_null(spliced(API_MESSAGES, "{\"n\":129}"));
    assert_int_equal(plan.choices, 1);
}

TEST(splice, the_token_limit_is_the_one_of_the_api)
{
    assert_non_null(spliced(API_CHAT, "{\"max_tokens\":5,\"max_completion_tokens\":7}"));
    assert_int_equal(plan.max_tokens, 7);
    assert_non_null(spliced(API_CHAT, "{\"max_tokens\":5,\"max_completion_tokens\":null}"));
    assert_int_equal(plan.max_tokens, 5);
    assert_non_null(spliced(API_MESSAGES, "{\"max_tokens\":5,\"max_output_tokens\":9}"));
    assert_int_equal(plan.max_tokens, 5);
    assert_non_null(spliced(API_RESPONSES, "{\"max_tokens\":5,\"max_output_tokens\":9}"));
    assert_int_equal(plan.max_tokens, 9);
    assert_non_null(spliced(API_CHAT, "{\"max_tokens\":\"5\"}"));
    assert_int_equal(plan.max_tokens, 0);
}

TEST(splice, logprobs_are_noticed)
{
    assert_non_null(spliced(API_CHAT, "{\"logprobs\":true}"));
    assert_true(plan.logprobs);
    assert_non_null(
        spliced(API_CHAT, "{\"logprobs\":false,\"top_logprobs\":0,\"include\":[]}"));
    assert_false(plan.logprobs);
    assert_non_null(spliced(API_RESPONSES, "{\"top_logprobs\":1}"));
    assert_true(plan.logprobs);
    assert_non_null(
        spliced(API_RESPONSES, "{\"include\":[1,\"message.output_text.logprobs\",\"x\"]}"));
    assert_true(plan.logprobs);
    assert_non_null(spliced(API_RESPONSES, "{\"include\":\"message.output_text.logprobs\"}"));
    assert_false(plan.logprobs);
    assert_non_null(spliced(API_MESSAGES, "{\"logprobs\":true}"));
    assert_false(plan.logprobs);
}

/* ---- generated bodies */

static uint64_t seed;
static unsigned dice(unsigned sides)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % sides;
}

static void blank(struct buf *out)
{
    if (dice(3) == 0)
        buf_add_byte(out, " \t\r\n"[dice(4)]);
}

static void add_options(struct buf *out)
{
    static const char *const values[] = {"null",
                                         "{}",
                                         "{ }",
                                         "{\"include_usage\":false}",
                                         "{\"x\":[1], \"include_usage\":true}",
                                         "{\"include_usage\" : 7}",
                                         "{ \"x\":{\"include_usage\":false}}"};
    buf_add_text(out, dice(2) ? "\"stream_options\":" : "\"stre\\u0061m_options\" : ");
    buf_add_text(out, values[dice(COUNT_OF(values))]);
}

static void add_other(unsigned i, struct buf *out)
{
    static const char *const values[] = {"9007199254740993",  "1.50",    "\"\\ud83d\\ude00 x\"",
                                         "{\"stream\":true}", "[[],{}]", "null"};
    buf_printf(out, "\"m%u\"", i);
    blank(out);
    buf_add_byte(out, ':');
    buf_add_text(out, values[dice(COUNT_OF(values))]);
}

static void generate(struct buf *out)
{
    unsigned count = dice(6), stream_at = dice(8), options_at = dice(8);
    blank(out);
    buf_add_byte(out, '{');
    for (unsigned i = 0; i < count; i++) {
        buf_add_text(out, i ? "," : "");
        blank(out);
        if (i == stream_at)
            buf_add_text(out, dice(2) ? "\"stream\": false" : "\"strea\\u006D\":null");
        else if (i == options_at)
            add_options(out);
        else
            add_other(i, out);
        blank(out);
    }
    buf_add_byte(out, '}');
    blank(out);
}

/* The spliced body with the plan taken back. */
static void undo(const struct splice *splice, struct span text, struct buf *out)
{
    size_t at = 0, moved = 0; /* position in `text`; how far it is ahead of the body */
    for (size_t i = 0; i < splice->edit_count; i++) {
        const struct splice_edit *edit = &splice->edits[i];
        size_t start = edit->at + moved, n = strlen(edit->text);
        buf_add(out, (struct span){text.p + at, start - at});
        assert_memory_equal(text.p + start, edit->text, n);
        buf_add(out, (struct span){splice->body.p + edit->at, edit->removed});
        at = start + n;
        moved += n - edit->removed;
    }
    buf_add(out, span_from(text, at));
}

static void check_members(struct span before, struct span after)
{
    struct json json;
    struct span name;
    json_init(&json, before, JSON_STRICT);
    assert_true(json_enter(&json, JSON_OBJECT));
    while (json_member(&json, &name)) {
        char text[8] = "";
        struct span value = json_value(&json);
        if (name.p[0] != 'm')
            continue;
        memcpy(text, name.p, name.n);
        assert_true(span_eq(json_get(after, text), value));
    }
    assert_true(json_end(&json));
}

TEST(splice, taking_the_splice_back_gives_the_original_bytes)
{
    for (uint64_t i = 1; i <= 20000; i++) {
        BUF(body, 4096);
        BUF(out, 4096);
        BUF(back, 4096);
        seed = i;
        generate(&body);
        assert_int_equal(splice_plan(API_CHAT, true, buf_span(&body), &plan), SPLICE_FINE);
        splice_write(&plan, &out);
        undo(&plan, buf_span(&out), &back);
        assert_true(span_eq(buf_span(&back), buf_span(&body)));

        /* One valid object with one `stream`, true. */
        assert_int_equal(splice_plan(API_CHAT, true, buf_span(&out), &plan),
                         SPLICE_STREAM_TRUE);

        struct span text = span_trim(buf_span(&out));
        while (text.p[0] != '{')
            text = span_from(text, 1);
        assert_span_equal(json_get(text, "stream"), "true");
        assert_span_equal(json_get(json_get(text, "stream_options"), "include_usage"), "true");
        check_members(buf_span(&body), text);
    }
}
