#include "test.h"

#include "core/usage.h"

static void assert_usage(const char *body, uint64_t input_tokens, uint64_t output_tokens)
{
    struct usage usage = usage_of_answer(span_of(body));
    assert_int_equal(usage.input_tokens, input_tokens);
    assert_int_equal(usage.output_tokens, output_tokens);
}

TEST(usage, both_spellings_are_known)
{
    assert_usage("{\"id\":\"x\",\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":9}}", 7,
                 9);
    assert_usage("{\"usage\":{\"input_tokens\":7,\"output_tokens\":9,\"x\":{}},\"id\":1}", 7,
                 9);
}

TEST(usage, only_the_answers_own_usage_counts)
{
    assert_usage("{\"text\":\"\\\"usage\\\":{\\\"output_tokens\\\":5}\","
                 "\"metadata\":{\"usage\":{\"output_tokens\":6}}}",
                 0, 0);
}

TEST(usage, what_is_no_number_of_tokens_is_not_known)
{
    assert_usage("{\"usage\":null}", 0, 0);
    assert_usage("{\"usage\":{\"output_tokens\":\"9\",\"input_tokens\":-1}}", 0, 0);
    assert_usage("{\"usage\":{\"output_tokens\":1e3,\"input_tokens\":1.5}}", 0, 0);
    assert_usage("[1]", 0, 0);
    assert_usage("{\"usage\":{\"output_tokens\":9", 0, 0);
    assert_usage("", 0, 0);
}

TEST(usage, what_an_object_does_not_tell_stays)
{
    struct usage usage = {3, 4};
    usage_note(&usage, SPAN("{\"output_tokens\":12}"));
    assert_int_equal(usage.input_tokens, 3);
    assert_int_equal(usage.output_tokens, 12);
}
