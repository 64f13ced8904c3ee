#include "test.h"

#include "core/config_suggest.h"

static struct span nearest(const char *word, const char *a, const char *b)
{
    struct suggestion s = suggestion_for(span_of(word));
    suggestion_offer(&s, span_of(a));
    suggestion_offer(&s, span_of(b));
    return s.best;
}

TEST(config_suggest, counts_insertions_deletions_and_replacements)
{
    assert_int_equal(suggestion_distance(SPAN("kitten"), SPAN("sitting")), 3);
    assert_int_equal(suggestion_distance(SPAN(""), SPAN("abc")), 3);
    assert_int_equal(suggestion_distance(SPAN("abc"), SPAN("")), 3);
    assert_int_equal(suggestion_distance(SPAN("abc"), SPAN("abc")), 0);
}

TEST(config_suggest, the_nearest_wins_and_the_first_of_two)
{
    assert_span_equal(nearest("deadline_ms", "deadline_max_s", "deadline_s"), "deadline_s");
    assert_span_equal(nearest("hold", "holt", "bold"), "holt");
}

TEST(config_suggest, a_third_of_the_word_may_differ_and_no_more)
{
    assert_span_equal(nearest("abcdef", "abcdxy", "zzz"), "abcdxy");
    assert_null(nearest("abcdef", "abcxyz", "zzz").p);
    assert_null(nearest("a", "b", "cc").p);
}

TEST(config_suggest, a_word_inside_another_is_near)
{
    assert_span_equal(nearest("timeout_s", "first_event_timeout_s", "idle_timeout_s"),
                      "idle_timeout_s");
    assert_null(nearest("_s", "first_event_timeout_s", "idle_timeout_s").p);
}

TEST(config_suggest, words_over_the_limit_are_left_out)
{
    char word[66];
    memset(word, 'a', sizeof word);
    struct suggestion s = suggestion_for((struct span){word, 64});
    suggestion_offer(&s, (struct span){word, 65});
    assert_null(s.best.p);
    suggestion_offer(&s, (struct span){word, 64});
    assert_int_equal(s.best.n, 64);
}
