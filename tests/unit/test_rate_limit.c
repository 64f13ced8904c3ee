#include "test.h"

#include "core/rate_limit.h"

static unsigned taken_at_once(struct rate_limit *limit, unsigned per_minute, int64_t now_ms)
{
    unsigned taken = 0;
    while (rate_limit_take(limit, per_minute, now_ms) == 0)
        taken++;
    return taken;
}

TEST(rate_limit, a_minutes_allowance_may_come_in_one_go)
{
    static const unsigned allowances[] = {1, 2, 3, 7, 60, 600, 1000000};
    for (size_t i = 0; i < COUNT_OF(allowances); i++) {
        struct rate_limit limit;
        rate_limit_init(&limit, allowances[i], 5000);
        assert_int_equal(taken_at_once(&limit, allowances[i], 5000), allowances[i]);
    }
}

TEST(rate_limit, the_next_one_is_allowed_when_it_says_and_not_before)
{
    struct rate_limit limit;
    rate_limit_init(&limit, 3, 0);
    assert_int_equal(taken_at_once(&limit, 3, 0), 3);
    assert_int_equal(rate_limit_take(&limit, 3, 0), 20000);
    assert_int_equal(rate_limit_take(&limit, 3, 19999), 1);
    assert_int_equal(rate_limit_take(&limit, 3, 20000), 0);
    assert_int_equal(rate_limit_take(&limit, 3, 20000), 20000);
}

TEST(rate_limit, a_wait_that_is_no_whole_millisecond_is_rounded_up)
{
    struct rate_limit limit;
    rate_limit_init(&limit, 7, 0);
    assert_int_equal(taken_at_once(&limit, 7, 0), 7);
    assert_int_equal(rate_limit_take(&limit, 7, 0), 8572); /* 60000 / 7 = 8571.4 */
    assert_int_equal(rate_limit_take(&limit, 7, 8571), 1);
    assert_int_equal(rate_limit_take(&limit, 7, 8572), 0);
}

TEST(rate_limit, nothing_is_lost_or_won_by_rounding)
{
    struct rate_limit limit;
    unsigned taken = 0;
    rate_limit_init(&limit, 7, 0);
    for (int64_t now_ms = 0; now_ms < 10 * 60000; now_ms++)
        taken += rate_limit_take(&limit, 7, now_ms) == 0;
    assert_int_equal(taken, 7 + 10 * 7 - 1); /* what comes at the end of the last millisecond */
}

TEST(rate_limit, no_more_is_saved_than_a_minutes_allowance)
{
    struct rate_limit limit;
    rate_limit_init(&limit, 10, 0);
    assert_int_equal(taken_at_once(&limit, 10, 0), 10);
    assert_int_equal(taken_at_once(&limit, 10, 60000), 10);
    assert_int_equal(taken_at_once(&limit, 10, INT64_MAX / 2), 10);
}

TEST(rate_limit, zero_is_no_limit)
{
    struct rate_limit limit;
    rate_limit_init(&limit, 0, 0);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(rate_limit_take(&limit, 0, 0), 0);
}

TEST(rate_limit, another_allowance_takes_effect_at_once)
{
    struct rate_limit limit;
    rate_limit_init(&limit, 100, 0);
    assert_int_equal(taken_at_once(&limit, 2, 0), 2);
    assert_int_equal(rate_limit_take(&limit, 2, 0), 30000);
    assert_int_equal(rate_limit_take(&limit, 600, 0), 100);
}

TEST(rate_limit, retry_after_is_between_one_and_eight_seconds)
{
    static const struct {
        int64_t wait_ms;
        unsigned seconds;
    } cases[] = {{0, 1},    {1, 1},    {1000, 1}, {1001, 2},     {7000, 7},
                 {7001, 8}, {8000, 8}, {8001, 8}, {INT32_MAX, 8}};
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(rate_limit_retry_after_s(cases[i].wait_ms), cases[i].seconds);
}
