/* What tests/streams/responses cannot show: parameters, limits, what is known while it runs. */
#include "assemble_fixture.h"

#define FAILED_RESPONSE                                                                        \
    "{\"id\":\"r\",\"status\":\"failed\",\"output\":[],\"error\":{\"code\":\"server_error\"}}"

TEST(assemble_responses, a_failed_response_is_a_body_when_asked_for)
{
    struct assemble_params params = fixture_params(API_RESPONSES);
    struct span text =
        SPAN("data: {\"type\":\"response.failed\",\"response\":" FAILED_RESPONSE "}\n\n");
    assert_assembles(&params, text,
                     "{\"kind\":\"upstream_error\",\"error\":{\"code\":\"server_error\"}}");
    params.failed_is_body = true;
    assert_assembles(&params, text, FAILED_RESPONSE);
    assert_assembles(&params, SPAN(FAILED_RESPONSE), FAILED_RESPONSE);
}

TEST(assemble_responses, an_error_counts_before_a_failed_response_in_any_case)
{
    struct assemble_params params = fixture_params(API_RESPONSES);
    params.failed_is_body = true;
    assert_assembles(&params,
                     SPAN("data: {\"type\":\"error\",\"error\":{\"code\":\"x\"}}\n\n"
                          "data: {\"type\":\"response.failed\",\"response\":" FAILED_RESPONSE
                          "}\n\n"),
                     "{\"kind\":\"upstream_error\",\"error\":{\"code\":\"x\"}}");
}

static struct assemble *new_responses(void)
{
    struct assemble_params params = fixture_params(API_RESPONSES);
    struct assemble *assembler = assemble_new(&params);
    assert_non_null(assembler);
    return assembler;
}

TEST(assemble_responses, progress_counts_deltas_and_takes_the_usage_of_the_end)
{
    OWNED(assemble) assembler = new_responses();
    (void)feed_copy(assembler, SPAN("data: {\"type\":\"response.created\"}\n\n"
                                    "data: {\"type\":\"keepalive\"}\n\n"));
    struct assemble_progress progress = assemble_progress(assembler);
    assert_int_equal(progress.events, 1);
    assert_false(progress.output_began);
    (void)feed_copy(assembler, SPAN("data: {\"type\":\"response.output_item.added\"}\n\n"));
    assert_true(assemble_progress(assembler).output_began);
    (void)feed_copy(assembler, SPAN("data: {\"type\":\"response.output_text.delta\","
                                    "\"delta\":\"abc\"}\n\n"));
    assert_false(assemble_could_end(assembler));
    assert_int_equal(feed_copy(assembler, SPAN("data: {\"type\":\"response.completed\","
                                               "\"response\":{\"usage\":{\"input_tokens\":4,"
                                               "\"output_tokens\":2}}}\n\n")),
                     ASSEMBLE_COMPLETE);
    progress = assemble_progress(assembler);
    assert_int_equal(progress.events, 4);
    assert_int_equal(progress.output_bytes, 3);
    assert_int_equal(progress.input_tokens, 4);
    assert_int_equal(progress.output_tokens, 2);
}

static enum assemble_state feed_items(struct assemble *assembler, unsigned count)
{
    enum assemble_state state = ASSEMBLE_MORE;
    for (unsigned i = 0; i < count && state == ASSEMBLE_MORE; i++) {
        BUF(text, 1000);
        buf_printf(&text,
                   "data: {\"type\":\"response.output_item.done\",\"output_index\":%u,"
                   "\"item\":{}}\n\n",
                   i);
        state = feed_copy(assembler, buf_span(&text));
    }
    return state;
}

TEST(assemble_responses, items_are_limited_in_number)
{
    OWNED(assemble) good = new_responses();
    assert_int_equal(feed_items(good, 1024), ASSEMBLE_MORE);
    OWNED(assemble) bad = new_responses();
    assert_int_equal(feed_items(bad, 1025), ASSEMBLE_FAILED);
    assert_int_equal(assemble_failure(bad), ASSEMBLE_TOO_LARGE);
}
