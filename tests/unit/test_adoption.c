#include "test.h"

#include "core/adoption.h"

static struct adoption_request sdk_retry(unsigned count)
{
    return (struct adoption_request){.adopt = ADOPT_SDK, .counted = true, .retry_count = count};
}

/* Flights by name, so that a choice can be told. */
static char first[] = "first", second[] = "second";

static void assert_choice(const struct adoption *adoption, const char *name)
{
    const char *choice = adoption_choice(adoption);
    assert_string_equal(choice ? choice : "none", name);
}

/* The choice when `first` alone is there. */
static void assert_alone(struct adoption_request request, enum adoption_state state,
                         unsigned retry_count, const char *name)
{
    struct adoption adoption = adoption_begin(&request, false);
    adoption_consider(&adoption, first, state, retry_count);
    assert_choice(&adoption, name);
}

TEST(adoption, the_oldest_orphan_is_taken)
{
    struct adoption_request request = sdk_retry(1);
    struct adoption adoption = adoption_begin(&request, false);
    adoption_consider(&adoption, first, ADOPTION_ORPHAN, 0);
    adoption_consider(&adoption, second, ADOPTION_ORPHAN, 0);
    assert_choice(&adoption, "first");
}

TEST(adoption, an_orphan_goes_before_a_twin)
{
    struct adoption_request request = sdk_retry(1);
    struct adoption adoption = adoption_begin(&request, false);
    adoption_consider(&adoption, first, ADOPTION_ATTENDED, 0);
    adoption_consider(&adoption, second, ADOPTION_ORPHAN, 0);
    assert_choice(&adoption, "second");
}

TEST(adoption, an_orphan_of_any_count_is_taken)
{
    assert_alone(sdk_retry(1), ADOPTION_ORPHAN, 2, "first");
    assert_alone(sdk_retry(2), ADOPTION_ORPHAN, 0, "first");
}

TEST(adoption, a_first_try_takes_nothing)
{
    assert_alone(sdk_retry(0), ADOPTION_ORPHAN, 0, "none");
    assert_alone(sdk_retry(0), ADOPTION_ATTENDED, 0, "none");
}

TEST(adoption, where_any_may_adopt_no_header_is_needed_for_an_orphan)
{
    struct adoption_request request = {.adopt = ADOPT_ANY};
    assert_alone(request, ADOPTION_ORPHAN, 0, "first");
    assert_alone(request, ADOPTION_ATTENDED, 0, "none");
    request = (struct adoption_request){.adopt = ADOPT_ANY, .counted = true, .retry_count = 1};
    assert_alone(request, ADOPTION_ATTENDED, 0, "first");
}

TEST(adoption, off_and_a_shared_scope_take_nothing)
{
    struct adoption_request request = sdk_retry(1);
    request.adopt = ADOPT_OFF;
    assert_alone(request, ADOPTION_ORPHAN, 0, "none");
    assert_alone(request, ADOPTION_ATTENDED, 0, "none");
    request = sdk_retry(1);
    request.shared_scope = true;
    assert_alone(request, ADOPTION_ORPHAN, 0, "none");
    assert_alone(request, ADOPTION_ATTENDED, 0, "none");
}

TEST(adoption, a_twin_counts_fewer_retries)
{
    assert_alone(sdk_retry(1), ADOPTION_ATTENDED, 0, "first");
    assert_alone(sdk_retry(1), ADOPTION_ATTENDED, 1, "none");
    assert_alone(sdk_retry(2), ADOPTION_ATTENDED, 1, "first");
}

TEST(adoption, of_two_twins_none_is_joined)
{
    struct adoption_request request = sdk_retry(1);
    struct adoption adoption = adoption_begin(&request, false);
    adoption_consider(&adoption, first, ADOPTION_ATTENDED, 0);
    adoption_consider(&adoption, second, ADOPTION_ATTENDED, 0);
    assert_choice(&adoption, "none");
}

TEST(adoption, a_flight_that_others_retried_is_no_second_twin)
{
    struct adoption_request request = sdk_retry(1);
    struct adoption adoption = adoption_begin(&request, false);
    adoption_consider(&adoption, first, ADOPTION_ATTENDED, 1);
    adoption_consider(&adoption, second, ADOPTION_ATTENDED, 0);
    assert_choice(&adoption, "second");
}

TEST(adoption, after_an_error_that_invited_retries_only_orphans_are_taken)
{
    struct adoption_request request = sdk_retry(1);
    struct adoption adoption = adoption_begin(&request, true);
    adoption_consider(&adoption, first, ADOPTION_ATTENDED, 0);
    assert_choice(&adoption, "none");
    adoption_consider(&adoption, second, ADOPTION_ORPHAN, 0);
    assert_choice(&adoption, "second");
}

TEST(adoption, a_flight_may_become_an_orphan_if_its_retry_is_recognised)
{
    static const struct {
        struct adoption_request request;
        bool may;
    } cases[] = {
        {{.adopt = ADOPT_SDK, .counted = true}, true},
        {{.adopt = ADOPT_SDK}, false},
        {{.adopt = ADOPT_ANY}, true},
        {{.adopt = ADOPT_OFF, .counted = true}, false},
        {{.adopt = ADOPT_SDK, .counted = true, .shared_scope = true}, false},
        {{.adopt = ADOPT_ANY, .shared_scope = true}, false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(adoption_may_orphan(&cases[i].request), cases[i].may);
}

TEST(adoption, the_count_is_a_number_of_the_sdks_header)
{
    static const struct {
        const char *value;
        bool counted;
        unsigned count;
    } cases[] = {
        {"0", true, 0},  {"2", true, 2},           {"4294967295", true, 4294967295},
        {"", false, 0},  {"4294967296", false, 0}, {"-1", false, 0},
        {"x", false, 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct header header = {SPAN("X-Stainless-Retry-Count"), span_of(cases[i].value)};
        struct adoption_request request = {.adopt = ADOPT_SDK};
        adoption_read_count(&request, &(struct headers){&header, 1});
        assert_int_equal(request.counted, cases[i].counted);
        assert_int_equal(request.retry_count, cases[i].count);
    }
}

TEST(adoption, sdks_retry_what_says_so_or_what_its_status_says)
{
    assert_true(adoption_invites_retry(503, HTTP_ERROR_RETRY_YES));
    assert_false(adoption_invites_retry(502, HTTP_ERROR_RETRY_NO));
    assert_true(adoption_invites_retry(504, HTTP_ERROR_RETRY_UNSAID));
    assert_true(adoption_invites_retry(500, HTTP_ERROR_RETRY_UNSAID));
    assert_false(adoption_invites_retry(499, HTTP_ERROR_RETRY_UNSAID));
    assert_true(adoption_invites_retry(408, HTTP_ERROR_RETRY_UNSAID));
    assert_true(adoption_invites_retry(409, HTTP_ERROR_RETRY_UNSAID));
    assert_true(adoption_invites_retry(429, HTTP_ERROR_RETRY_UNSAID));
    assert_false(adoption_invites_retry(400, HTTP_ERROR_RETRY_UNSAID));
    assert_false(adoption_invites_retry(200, HTTP_ERROR_RETRY_UNSAID));
}
