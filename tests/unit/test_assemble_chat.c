/* What tests/streams/chat cannot show: parameters, limits, what is known while it runs. */
#include "assemble_fixture.h"

#define MESSAGE(content) "{\"role\":\"assistant\",\"content\":" content ",\"refusal\":null"

static struct assemble *new_chat(unsigned choices)
{
    struct assemble_params params = fixture_params(API_CHAT);
    params.choices = choices;
    struct assemble *assembler = assemble_new(&params);
    assert_non_null(assembler);
    return assembler;
}

static void finish_choice(struct assemble *assembler, unsigned index, bool could_end)
{
    BUF(text, 1000);
    buf_printf(
        &text,
        "data: {\"choices\":[{\"index\":%u,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        index);
    assert_int_equal(feed_copy(assembler, buf_span(&text)), ASSEMBLE_MORE);
    assert_int_equal(assemble_could_end(assembler), could_end);
}

TEST(assemble_chat, the_end_completes_when_as_many_choices_as_asked_for_have_finished)
{
    OWNED(assemble) assembler = new_chat(2);
    assert_false(assemble_could_end(assembler));
    finish_choice(assembler, 0, false);
    finish_choice(assembler, 0, false);
    finish_choice(assembler, 1, true);
    assert_int_equal(assemble_end(assembler), ASSEMBLE_COMPLETE);
    assert_false(assemble_could_end(assembler));
}

TEST(assemble_chat, the_end_with_a_choice_missing_is_truncated)
{
    OWNED(assemble) assembler = new_chat(3);
    finish_choice(assembler, 0, false);
    finish_choice(assembler, 1, false);
    assert_int_equal(assemble_end(assembler), ASSEMBLE_FAILED);
    assert_int_equal(assemble_failure(assembler), ASSEMBLE_TRUNCATED);
}

TEST(assemble_chat, annotations_are_added_only_when_asked_for_and_absent)
{
    struct assemble_params params = fixture_params(API_CHAT);
    params.add_annotations = true;
    assert_assembles(
        &params,
        SPAN("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}},"
             "{\"index\":1,\"delta\":{\"annotations\":[{\"a\":1}]}}]}\n\n"
             "data: [DONE]\n\n"),
        "{\"object\":\"chat.completion\",\"choices\":["
        "{\"index\":0,\"message\":" MESSAGE(
            "\"x\"") ",\"annotations\":[]},"
                     "\"finish_reason\":\"stop\",\"logprobs\":null},"
                     "{\"index\":1,\"message\":" MESSAGE(
                         "null") ",\"annotations\":[{\"a\":1}]},"
                                 "\"finish_reason\":\"stop\",\"logprobs\":null}]}");
}

/* Feed `count` events made from `format` with 0, 1, 2 ... in it; the state after them. */
static enum assemble_state feed_counted(struct assemble *assembler, const char *before,
                                        const char *after, unsigned count)
{
    enum assemble_state state = ASSEMBLE_MORE;
    for (unsigned i = 0; i < count && state == ASSEMBLE_MORE; i++) {
        BUF(text, 1000);
        buf_printf(&text, "data: %s%u%s\n\n", before, i, after);
        state = feed_copy(assembler, buf_span(&text));
    }
    return state;
}

static void assert_count_limit(const char *before, const char *after, unsigned count_max)
{
    OWNED(assemble) good = new_chat(1);
    assert_int_equal(feed_counted(good, before, after, count_max), ASSEMBLE_MORE);
    OWNED(assemble) bad = new_chat(1);
    assert_int_equal(feed_counted(bad, before, after, count_max + 1), ASSEMBLE_FAILED);
    assert_int_equal(assemble_failure(bad), ASSEMBLE_TOO_LARGE);
}

TEST(assemble_chat, choices_calls_members_and_parts_are_limited_in_number)
{
    assert_count_limit("{\"choices\":[{\"index\":", ",\"delta\":{}}]}", 1024);
    assert_count_limit(
        "{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":", "}]}}]}", 1024);
    assert_count_limit("{\"m", "\":1}", 1024);
    assert_count_limit("{\"choices\":[{\"index\":0,\"delta\":{\"content\":[{\"type\":\"text\","
                       "\"index\":",
                       "}]}}]}", 1024);
}

TEST(assemble_chat, elements_without_an_index_are_not_limited_in_number)
{
    OWNED(assemble) assembler = new_chat(1);
    assert_int_equal(
        feed_counted(assembler,
                     "{\"choices\":[{\"index\":0,\"delta\":{\"reasoning_details\":["
                     "{\"type\":\"reasoning.text\",\"text\":\"",
                     "\"}]}}]}", 5000),
        ASSEMBLE_MORE);
}

TEST(assemble_chat, a_head_that_repeats_is_read_again_when_something_changed_since)
{
    struct assemble_params params = fixture_params(API_CHAT);
    assert_assembles(&params,
                     SPAN("data: {\"id\":\"a\",\"choices\":[{\"index\":0,\"delta\":{}}]}\n\n"
                          "data: {\"id\":\"a\",\"choices\":[],\"id\":\"b\"}\n\n"
                          "data: {\"id\":\"a\",\"choices\":[]}\n\n"
                          "data: [DONE]\n\n"),
                     "{\"id\":\"a\",\"object\":\"chat.completion\",\"choices\":[{\"index\":0,"
                     "\"message\":" MESSAGE("null") "},\"finish_reason\":\"stop\","
                                                    "\"logprobs\":null}]}");
}

TEST(assemble_chat, choices_in_a_repeated_head_are_not_lost)
{
    struct assemble_params params = fixture_params(API_CHAT);
    const char *chunk =
        "data: {\"id\":\"a\",\"choices\":[{\"index\":0,\"delta\":{\"content\":"
        "\"x\"}}],\"choices\":[{\"index\":0,\"delta\":{\"content\":\"y\"}}]}\n\n";
    BUF(text, 2000);
    buf_printf(&text, "%s%s%sdata: [DONE]\n\n", chunk, chunk, chunk);
    assert_assembles(&params, buf_span(&text),
                     "{\"id\":\"a\",\"object\":\"chat.completion\",\"choices\":[{\"index\":0,"
                     "\"message\":" MESSAGE("\"xyxyxy\"") "},\"finish_reason\":\"stop\","
                                                          "\"logprobs\":null}]}");
}

TEST(assemble_chat, a_tool_call_is_output)
{
    OWNED(assemble) assembler = new_chat(1);
    (void)feed_copy(assembler,
                    SPAN("data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":["
                         "{\"index\":0,\"id\":\"a\"}]}}]}\n\n"));
    assert_true(assemble_progress(assembler).output_began);
}
