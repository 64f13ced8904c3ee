/* What tests/streams/messages cannot show: limits, what is known while it runs. */
#include "assemble_fixture.h"

#define START                                                                                  \
    "data: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"content\":[],"              \
    "\"stop_reason\":null,\"usage\":{\"input_tokens\":5,\"output_tokens\":1}}}\n\n"

static struct assemble *new_messages(void)
{
    struct assemble_params params = fixture_params(API_MESSAGES);
    struct assemble *assembler = assemble_new(&params);
    assert_non_null(assembler);
    return assembler;
}

TEST(assemble_messages, a_stop_reason_lets_the_end_complete_the_message)
{
    OWNED(assemble) assembler = new_messages();
    (void)feed_copy(assembler, SPAN(START));
    assert_false(assemble_could_end(assembler));
    (void)feed_copy(assembler, SPAN("data: {\"type\":\"message_delta\",\"delta\":"
                                    "{\"stop_reason\":\"end_turn\"}}\n\n"));
    assert_true(assemble_could_end(assembler));
    assert_int_equal(feed_copy(assembler, SPAN("data: {\"type\":\"message_stop\"}\n\n")),
                     ASSEMBLE_COMPLETE);
}

TEST(assemble_messages, progress_leaves_out_pings_and_takes_the_last_usage)
{
    OWNED(assemble) assembler = new_messages();
    (void)feed_copy(assembler, SPAN(START "event: ping\ndata: {\"type\":\"ping\"}\n\n"));
    struct assemble_progress progress = assemble_progress(assembler);
    assert_int_equal(progress.events, 1);
    assert_false(progress.output_began);
    assert_int_equal(progress.input_tokens, 5);
    assert_int_equal(progress.output_tokens, 1);
    (void)feed_copy(assembler, SPAN("data: {\"type\":\"content_block_start\",\"index\":0,"
                                    "\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n"
                                    "data: {\"type\":\"content_block_delta\",\"index\":0,"
                                    "\"delta\":{\"type\":\"text_delta\",\"text\":\"abc\"}}\n\n"
                                    "data: {\"type\":\"message_delta\",\"delta\":{},"
                                    "\"usage\":{\"output_tokens\":7}}\n\n"));
    progress = assemble_progress(assembler);
    assert_int_equal(progress.events, 4);
    assert_true(progress.output_began);
    assert_int_equal(progress.output_bytes, 3);
    assert_int_equal(progress.input_tokens, 5);
    assert_int_equal(progress.output_tokens, 7);
}

static enum assemble_state start_blocks(struct assemble *assembler, unsigned count)
{
    enum assemble_state state = feed_copy(assembler, SPAN(START));
    for (unsigned i = 0; i < count && state == ASSEMBLE_MORE; i++) {
        BUF(text, 1000);
        buf_printf(&text,
                   "data: {\"type\":\"content_block_start\",\"index\":%u,"
                   "\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
                   i);
        state = feed_copy(assembler, buf_span(&text));
    }
    return state;
}

TEST(assemble_messages, blocks_are_limited_in_number)
{
    OWNED(assemble) good = new_messages();
    assert_int_equal(start_blocks(good, 4096), ASSEMBLE_MORE);
    OWNED(assemble) bad = new_messages();
    assert_int_equal(start_blocks(bad, 4097), ASSEMBLE_FAILED);
    assert_int_equal(assemble_failure(bad), ASSEMBLE_TOO_LARGE);
}

TEST(assemble_messages, starting_over_for_ever_ends_at_a_limit)
{
    OWNED(assemble) assembler = new_messages();
    size_t starts = 0;
    while (feed_copy(assembler, SPAN(START)) == ASSEMBLE_MORE)
        assert_true(++starts < 65536);
    assert_int_equal(assemble_failure(assembler), ASSEMBLE_TOO_LARGE);
}
