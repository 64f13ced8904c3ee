/* What holds for the assemblers of all APIs. */
#include "assemble_fixture.h"
#include "core/json.h"

#define CHUNK(delta) "data: {\"choices\":[{\"index\":0,\"delta\":{" delta "}}]}\n\n"
#define COMPLETION(content)                                                                    \
    "{\"object\":\"chat.completion\",\"choices\":[{\"index\":0,\"message\":{\"role\":"         \
    "\"assistant\",\"content\":" content                                                       \
    ",\"refusal\":null},\"finish_reason\":\"stop\",\"logprobs\":null}]}"
#define DONE "data: [DONE]\n\n"

static struct assemble *new_chat(void)
{
    struct assemble_params params = fixture_params(API_CHAT);
    struct assemble *assembler = assemble_new(&params);
    assert_non_null(assembler);
    return assembler;
}

TEST(assemble, the_terminal_event_answers_at_once)
{
    OWNED(assemble) assembler = new_chat();
    assert_int_equal(feed_copy(assembler, SPAN(CHUNK("\"content\":\"x\""))), ASSEMBLE_MORE);
    assert_int_equal(feed_copy(assembler, SPAN("data: [DONE]\n")), ASSEMBLE_MORE);
    assert_int_equal(feed_copy(assembler, SPAN("\n")), ASSEMBLE_COMPLETE);
}

TEST(assemble, nothing_changes_after_the_answer_is_complete)
{
    BUF(out, 1000);
    OWNED(assemble) assembler = new_chat();
    (void)feed_copy(assembler,
                    SPAN(CHUNK("\"content\":\"x\"") DONE CHUNK("\"content\":\"y\"")));
    assert_int_equal(feed_copy(assembler, SPAN("data: {\"error\":{}}\n\n")), ASSEMBLE_COMPLETE);
    assert_int_equal(assemble_end(assembler), ASSEMBLE_COMPLETE);
    add_outcome(assembler, ASSEMBLE_COMPLETE, &out);
    assert_string_equal(buf_text(&out), COMPLETION("\"x\""));
}

TEST(assemble, nothing_changes_after_a_failure)
{
    OWNED(assemble) assembler = new_chat();
    assert_int_equal(feed_copy(assembler, SPAN("data: {\"error\":{\"a\":1}}\n\n")),
                     ASSEMBLE_FAILED);
    assert_int_equal(feed_copy(assembler, SPAN(CHUNK("") DONE)), ASSEMBLE_FAILED);
    assert_int_equal(assemble_end(assembler), ASSEMBLE_FAILED);
    assert_int_equal(assemble_failure(assembler), ASSEMBLE_UPSTREAM_ERROR);
    assert_span_equal(assemble_error(assembler), "{\"a\":1}");
}

TEST(assemble, half_a_surrogate_pair_in_an_error_is_replaced_too)
{
    struct assemble_params params = fixture_params(API_CHAT);
    assert_assembles(&params, SPAN("data: {\"error\":{\"message\":\"\\ud83d\"}}\n\n"),
                     "{\"kind\":\"upstream_error\",\"error\":{\"message\":\"\\ufffd\"}}");
}

TEST(assemble, failures_without_an_error_object_have_none)
{
    OWNED(assemble) assembler = new_chat();
    assert_int_equal(assemble_end(assembler), ASSEMBLE_FAILED);
    assert_int_equal(assemble_failure(assembler), ASSEMBLE_TRUNCATED);
    assert_null(assemble_error(assembler).p);
}

TEST(assemble, failures_have_names)
{
    assert_string_equal(assemble_failure_name(ASSEMBLE_UPSTREAM_ERROR), "upstream_error");
    assert_string_equal(assemble_failure_name(ASSEMBLE_TRUNCATED), "truncated");
    assert_string_equal(assemble_failure_name(ASSEMBLE_MALFORMED), "malformed");
    assert_string_equal(assemble_failure_name(ASSEMBLE_TOO_LARGE), "answer_too_large");
    assert_string_equal(assemble_failure_name(ASSEMBLE_NO_MEMORY), "no_memory");
}

TEST(assemble, an_answer_of_answer_bytes_max_is_complete_and_one_byte_more_too_large)
{
    struct assemble_params params = fixture_params(API_CHAT);
    struct span text = SPAN(CHUNK("\"content\":\"0123456789\"") DONE);
    params.answer_bytes_max = strlen(COMPLETION("\"0123456789\""));
    assert_assembles(&params, text, COMPLETION("\"0123456789\""));
    params.answer_bytes_max--;
    assert_assembles(&params, text, "{\"kind\":\"answer_too_large\",\"error\":null}");
}

TEST(assemble, an_answer_that_grows_over_its_limit_fails_before_its_end)
{
    struct assemble_params params = fixture_params(API_CHAT);
    params.answer_bytes_max = 1000;
    OWNED(assemble) assembler = assemble_new(&params);
    size_t events = 0;
    while (feed_copy(assembler, SPAN(CHUNK("\"content\":\"0123456789\""))) == ASSEMBLE_MORE)
        assert_true(++events < 100);
    assert_int_equal(assemble_failure(assembler), ASSEMBLE_TOO_LARGE);
}

TEST(assemble, an_event_over_event_bytes_max_is_too_large)
{
    struct assemble_params params = fixture_params(API_CHAT);
    params.event_bytes_max =
        strlen("{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}");
    assert_assembles(&params, SPAN(CHUNK("\"content\":\"x\"") DONE), COMPLETION("\"x\""));
    params.event_bytes_max--;
    assert_assembles(&params, SPAN(CHUNK("\"content\":\"x\"") DONE),
                     "{\"kind\":\"answer_too_large\",\"error\":null}");
}

TEST(assemble, blanks_before_plain_json_are_limited_however_they_are_cut)
{
    struct assemble_params params = fixture_params(API_CHAT);
    BUF(text, 4096);
    buf_printf(&text, "%*s{}", 80, "");
    params.event_bytes_max = 64; /* and a line may have 16 more */
    assert_assembles(&params, buf_span(&text), "{\"kind\":\"upstream_error\",\"error\":{}}");
    buf_clear(&text);
    buf_printf(&text, "%*s{}", 81, "");
    assert_assembles(&params, buf_span(&text),
                     "{\"kind\":\"answer_too_large\",\"error\":null}");
}

TEST(assemble, a_plain_body_is_limited_by_answer_bytes_max)
{
    struct assemble_params params = fixture_params(API_CHAT);
    struct span text = SPAN("{\"choices\":[1]}");
    params.answer_bytes_max = text.n;
    assert_assembles(&params, text, "{\"choices\":[1]}");
    params.answer_bytes_max--;
    assert_assembles(&params, text, "{\"kind\":\"answer_too_large\",\"error\":null}");
}

TEST(assemble, an_error_over_answer_bytes_max_is_too_large)
{
    struct assemble_params params = fixture_params(API_CHAT);
    params.answer_bytes_max = strlen("{\"message\":\"0123456789\"}");
    assert_assembles(&params, SPAN("data: {\"error\":{\"message\":\"0123456789\"}}\n\n"),
                     "{\"kind\":\"upstream_error\",\"error\":{\"message\":\"0123456789\"}}");
    params.answer_bytes_max--;
    assert_assembles(&params, SPAN("data: {\"error\":{\"message\":\"0123456789\"}}\n\n"),
                     "{\"kind\":\"answer_too_large\",\"error\":null}");
}

static void add_repeated(struct buf *out, const char *text, size_t count)
{
    while (count--)
        buf_add_text(out, text);
}

/* A chunk whose delta has a member with `depth` arrays in each other. */
static void assert_depth(size_t depth, const char *want)
{
    BUF(text, 2000);
    buf_add_text(&text, "data: {\"choices\":[{\"index\":0,\"delta\":{\"x\":");
    add_repeated(&text, "[", depth);
    add_repeated(&text, "]", depth);
    buf_add_text(&text, "}}]}\n\n" DONE);
    struct assemble_params params = fixture_params(API_CHAT);
    BUF(out, 2000);
    assemble_cut(&params, buf_span(&text), 0, 100, &out);
    if (want)
        assert_string_equal(buf_text(&out), want);
    else
        assert_int_equal(out.p[0], '{');
}

TEST(assemble, json_deeper_than_its_limit_is_malformed)
{
    assert_depth(JSON_DEPTH_MAX - 4, NULL);
    assert_depth(JSON_DEPTH_MAX - 3, "{\"kind\":\"malformed\",\"error\":null}");
}

TEST(assemble, objects_as_deep_as_allowed_are_joined)
{
    BUF(text, 20000);
    for (int i = 0; i < 2; i++) {
        buf_add_text(&text, "data: {\"choices\":[{\"index\":0,\"delta\":{\"x\":");
        add_repeated(&text, "{\"a\":", JSON_DEPTH_MAX - 4);
        buf_add_text(&text, "\"b\"");
        add_repeated(&text, "}", JSON_DEPTH_MAX - 4);
        buf_add_text(&text, "}}]}\n\n");
    }
    buf_add_text(&text, DONE);
    struct assemble_params params = fixture_params(API_CHAT);
    BUF(out, 20000);
    assemble_cut(&params, buf_span(&text), 0, 100, &out);
    assert_non_null(strstr(buf_text(&out), "{\"a\":\"bb\"}"));
}

TEST(assemble, progress_counts_events_output_and_tokens)
{
    OWNED(assemble) assembler = new_chat();
    (void)feed_copy(assembler, SPAN(": ping\n\ndata:\n\n" CHUNK("\"role\":\"assistant\"")));
    struct assemble_progress progress = assemble_progress(assembler);
    assert_int_equal(progress.events, 1);
    assert_false(progress.output_began);
    (void)feed_copy(assembler, SPAN(CHUNK("\"content\":\"a\\n\"") CHUNK("\"content\":\"b\"")));
    (void)feed_copy(assembler, SPAN("data: {\"usage\":{\"prompt_tokens\":9,"
                                    "\"completion_tokens\":2}}\n\n" DONE));
    progress = assemble_progress(assembler);
    assert_int_equal(progress.events, 4);
    assert_true(progress.output_began);
    assert_int_equal(progress.output_bytes, 4);
    assert_int_equal(progress.input_tokens, 9);
    assert_int_equal(progress.output_tokens, 2);
}

TEST(assemble, a_plain_answer_tells_its_tokens)
{
    OWNED(assemble) assembler = new_chat();
    (void)feed_copy(assembler, SPAN("{\"choices\":[1],\"usage\":{\"prompt_tokens\":9}}"));
    assert_false(assemble_could_end(assembler));
    assert_int_equal(assemble_end(assembler), ASSEMBLE_COMPLETE);
    assert_int_equal(assemble_progress(assembler).input_tokens, 9);
    assert_true(assemble_progress(assembler).output_began);
}

TEST(assemble, an_assembler_can_be_freed_at_any_time)
{
    struct assemble *assembler = new_chat();
    (void)feed_copy(assembler, SPAN(CHUNK("\"content\":\"x\"") "data: {\"cho"));
    assemble_free(assembler);
    assemble_free(NULL);
}
