/* Other limits while tickets are held, as a reload brings them. */
#include "unit/admission_fixture.h"

static const size_t both[] = {SHARED, PASSED_ON};

static bool change(struct admission *admission, size_t upstream, unsigned flights_max)
{
    const struct admission_upstream_params params = {flights_max, upstream != PASSED_ON};
    return admission_change_upstream(admission, upstream, &params);
}

TEST(admission_change, an_upstream_with_more_places_lets_in_as_many)
{
    for (size_t i = 0; i < COUNT_OF(both); i++) {
        struct admission admission;
        struct admission_ticket tickets[4] = {0};
        size_t upstream = both[i];
        make(&admission, 10, 1, 10, 60000);
        assert_int_equal(ask(&admission, &tickets[0], 1, 0, upstream, 0), ADMISSION_GRANTED);
        assert_int_equal(ask(&admission, &tickets[1], 1, 0, upstream, 0), ADMISSION_WAIT);
        assert_true(change(&admission, upstream, 3));
        assert_ptr_equal(admission_next(&admission, 0), &tickets[1]);
        assert_int_equal(ask(&admission, &tickets[2], 1, 0, upstream, 0), ADMISSION_GRANTED);
        assert_int_equal(ask(&admission, &tickets[3], 1, 0, upstream, 0), ADMISSION_WAIT);
        for (size_t j = 0; j < COUNT_OF(tickets); j++)
            admission_leave(&admission, &tickets[j], 0);
        admission_done(&admission);
    }
}

TEST(admission_change, an_upstream_with_fewer_places_takes_none_away_and_gives_none_back)
{
    for (size_t i = 0; i < COUNT_OF(both); i++) {
        struct admission admission;
        struct admission_ticket tickets[3] = {0};
        size_t upstream = both[i];
        make(&admission, 10, 2, 10, 60000);
        assert_int_equal(ask(&admission, &tickets[0], 1, 0, upstream, 0), ADMISSION_GRANTED);
        assert_int_equal(ask(&admission, &tickets[1], 1, 0, upstream, 0), ADMISSION_GRANTED);
        assert_true(change(&admission, upstream, 1));
        assert_int_equal(ask(&admission, &tickets[2], 1, 0, upstream, 0), ADMISSION_WAIT);
        admission_leave(&admission, &tickets[0], 0);
        assert_null(admission_next(&admission, 0));
        admission_leave(&admission, &tickets[1], 0);
        assert_ptr_equal(admission_next(&admission, 0), &tickets[2]);
        admission_leave(&admission, &tickets[2], 0);
        admission_done(&admission);
    }
}

TEST(admission_change, whose_credential_it_is_changes_when_nobody_is_there)
{
    struct admission admission;
    struct admission_ticket ticket = {0};
    const struct admission_upstream_params without = {2, false};
    make(&admission, 10, 2, 10, 60000);
    assert_int_equal(ask(&admission, &ticket, 1, 0, SHARED, 0), ADMISSION_GRANTED);
    assert_false(admission_change_upstream(&admission, SHARED, &without));
    admission_leave(&admission, &ticket, 0);
    assert_true(admission_change_upstream(&admission, SHARED, &without));
    admission_done(&admission);
}
