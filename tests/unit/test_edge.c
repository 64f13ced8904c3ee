#include "core/edge.h"
#include "core/splice.h"
#include "test.h"

static struct config_route route_of(enum edge edge)
{
    return (struct config_route){
        .edge = edge, .hold_ms = 50000, .heartbeat_after_ms = 20000, .beat_ms = 12000};
}

/* A request of a client that is no SDK, without a key and preferences. */
static struct edge_request request_of(const struct config_route *route)
{
    return (struct edge_request){.route = route, .choices = 1};
}

static struct prefer wait_of(unsigned seconds)
{
    return (struct prefer){.has_wait = true, .wait_s = seconds};
}

static struct prefer async_wait_of(unsigned seconds)
{
    return (struct prefer){.respond_async = true, .has_wait = true, .wait_s = seconds};
}

static const struct prefer async = {.respond_async = true};

static void assert_plan(struct edge_plan got, struct edge_plan want)
{
    assert_int_equal(got.edge, want.edge);
    assert_int_equal(got.accepts, want.accepts);
    assert_int_equal(got.hold_ms, want.hold_ms);
    assert_int_equal(got.heartbeat_after_ms, want.heartbeat_after_ms);
    assert_int_equal(got.beat_ms, want.beat_ms);
    assert_int_equal(got.bytes, want.bytes);
    assert_int_equal(got.conflict_status, want.conflict_status);
    assert_int_equal(got.responds_async, want.responds_async);
    assert_int_equal(got.waits, want.waits);
    assert_int_equal(got.wait_s, want.wait_s);
}

static const struct edge_plan waits_forever = {.edge = EDGE_WAIT, .hold_ms = EDGE_NEVER};

TEST(edge, wait_holds_for_ever)
{
    struct config_route route = route_of(EDGE_WAIT);
    struct edge_request request = request_of(&route);
    assert_plan(edge_plan(&request), waits_forever);
    request.retry_finds = request.from_sdk = request.may_be_driven = true;
    assert_plan(edge_plan(&request), waits_forever);
}

TEST(edge, a_conflict_is_409_for_an_sdk_and_503_for_others)
{
    struct config_route route = route_of(EDGE_CONFLICT);
    struct edge_request request = request_of(&route);
    request.retry_finds = true;
    assert_plan(
        edge_plan(&request),
        (struct edge_plan){.edge = EDGE_CONFLICT, .hold_ms = 50000, .conflict_status = 503});
    request.from_sdk = true;
    assert_plan(
        edge_plan(&request),
        (struct edge_plan){.edge = EDGE_CONFLICT, .hold_ms = 50000, .conflict_status = 409});
}

TEST(edge, a_conflict_has_the_status_that_the_route_says)
{
    struct config_route route = route_of(EDGE_CONFLICT);
    struct edge_request request = request_of(&route);
    request.retry_finds = true;
    route.conflict_status = 425;
    assert_int_equal(edge_plan(&request).conflict_status, 425);
    request.from_sdk = true;
    assert_int_equal(edge_plan(&request).conflict_status, 425);
}

TEST(edge, a_conflict_whose_retry_would_not_find_the_flight_is_a_wait)
{
    struct config_route route = route_of(EDGE_CONFLICT);
    struct edge_request request = request_of(&route);
    request.from_sdk = request.may_be_driven = true;
    assert_plan(edge_plan(&request), waits_forever);
}

TEST(edge, a_redirect_needs_neither_key_nor_credential)
{
    struct config_route route = route_of(EDGE_REDIRECT);
    struct edge_request request = request_of(&route);
    request.logprobs = true;
    assert_plan(edge_plan(&request),
                (struct edge_plan){.edge = EDGE_REDIRECT, .hold_ms = 50000});
}

TEST(edge, a_heartbeat_has_its_times_and_its_length)
{
    struct config_route route = route_of(EDGE_HEARTBEAT);
    struct edge_request request = request_of(&route);
    assert_plan(edge_plan(&request), (struct edge_plan){.edge = EDGE_HEARTBEAT,
                                                        .hold_ms = 50000,
                                                        .heartbeat_after_ms = 20000,
                                                        .beat_ms = 12000,
                                                        .bytes = 262144});
}

TEST(edge, a_heartbeat_with_logprobs_is_a_wait)
{
    struct config_route route = route_of(EDGE_HEARTBEAT);
    struct edge_request request = request_of(&route);
    request.logprobs = true;
    assert_plan(edge_plan(&request), waits_forever);
}

static size_t bytes_of(uint64_t max_tokens, unsigned choices)
{
    const struct config_route route = route_of(EDGE_HEARTBEAT);
    struct edge_request request = request_of(&route);
    request.max_tokens = max_tokens;
    request.choices = choices;
    return edge_plan(&request).bytes;
}

TEST(edge, a_heartbeat_has_8_bytes_per_token_and_8_kib)
{
    assert_int_equal(bytes_of(2000, 1), 24192);
    assert_int_equal(bytes_of(32000, 1), 264192);
}

TEST(edge, a_heartbeat_has_16_kib_at_least)
{
    assert_int_equal(bytes_of(1, 1), 16384);
    assert_int_equal(bytes_of(1023, 1), 16384);
    assert_int_equal(bytes_of(1024, 1), 16384);
    assert_int_equal(bytes_of(1025, 1), 16392);
}

TEST(edge, a_heartbeat_has_1_mib_at_most)
{
    assert_int_equal(bytes_of(130047, 1), 1048568);
    assert_int_equal(bytes_of(130048, 1), 1048576);
    assert_int_equal(bytes_of(130049, 1), 1048576);
    /* Eight times this is 8 more than 2^64. */
    assert_int_equal(bytes_of((UINT64_C(1) << 61) + 1, 1), 1048576);
    assert_int_equal(bytes_of(UINT64_MAX, 1), 1048576);
}

TEST(edge, a_heartbeat_has_its_length_for_each_choice)
{
    assert_int_equal(bytes_of(1, 2), 32768);
    assert_int_equal(bytes_of(2000, 3), 72576);
    assert_int_equal(bytes_of(0, 4), 1048576);
    assert_int_equal(bytes_of(UINT64_MAX, 127), 133169152);
    assert_int_equal(bytes_of(UINT64_MAX, 128), 134217728);
    assert_int_equal(bytes_of(UINT64_MAX, 129), 134217728);
    assert_int_equal(bytes_of(UINT64_MAX, UINT32_MAX), 134217728);
    assert_int_equal(bytes_of(2000, 0), 24192);
}

TEST(edge, respond_async_accepts_at_once_or_after_its_wait)
{
    struct config_route route = route_of(EDGE_WAIT);
    struct edge_request request = request_of(&route);
    request.may_be_driven = true;
    request.prefer = async;
    assert_plan(edge_plan(&request),
                (struct edge_plan){.accepts = true, .responds_async = true});
    request.prefer = async_wait_of(10);
    assert_plan(edge_plan(&request), (struct edge_plan){.accepts = true,
                                                        .hold_ms = 10000,
                                                        .responds_async = true,
                                                        .waits = true,
                                                        .wait_s = 10});
    request.prefer = async_wait_of(0);
    assert_plan(edge_plan(&request),
                (struct edge_plan){.accepts = true, .responds_async = true, .waits = true});
    request.prefer = async_wait_of(PREFER_WAIT_S_MAX);
    assert_int_equal(edge_plan(&request).hold_ms, 86400000);
}

TEST(edge, respond_async_goes_before_every_policy_of_a_route)
{
    for (int edge = EDGE_WAIT; edge <= EDGE_HEARTBEAT; edge++) {
        struct config_route route = route_of((enum edge)edge);
        struct edge_request request = request_of(&route);
        request.may_be_driven = request.retry_finds = true;
        request.prefer = async_wait_of(60);
        assert_plan(edge_plan(&request), (struct edge_plan){.edge = EDGE_WAIT,
                                                            .accepts = true,
                                                            .hold_ms = 60000,
                                                            .responds_async = true,
                                                            .waits = true,
                                                            .wait_s = 60});
    }
}

TEST(edge, respond_async_is_ignored_where_only_the_caller_can_drive_the_request)
{
    struct config_route route = route_of(EDGE_REDIRECT);
    struct edge_request request = request_of(&route);
    request.retry_finds = true;
    request.prefer = async;
    assert_plan(edge_plan(&request),
                (struct edge_plan){.edge = EDGE_REDIRECT, .hold_ms = 50000});
    request.prefer = async_wait_of(10); /* of which the wait is left */
    assert_plan(edge_plan(&request), (struct edge_plan){.edge = EDGE_CONFLICT,
                                                        .hold_ms = 10000,
                                                        .conflict_status = 503,
                                                        .waits = true,
                                                        .wait_s = 10});
}

TEST(edge, a_preferred_wait_shorter_than_the_hold_ends_in_a_conflict)
{
    static const enum edge held[] = {EDGE_CONFLICT, EDGE_REDIRECT, EDGE_HEARTBEAT};
    for (size_t i = 0; i < COUNT_OF(held); i++) {
        struct config_route route = route_of(held[i]);
        struct edge_request request = request_of(&route);
        request.retry_finds = request.from_sdk = true;
        request.prefer = wait_of(49);
        assert_plan(edge_plan(&request), (struct edge_plan){.edge = EDGE_CONFLICT,
                                                            .hold_ms = 49000,
                                                            .conflict_status = 409,
                                                            .waits = true,
                                                            .wait_s = 49});
        request.prefer = wait_of(50);
        assert_int_equal(edge_plan(&request).edge, held[i]);
        assert_int_equal(edge_plan(&request).hold_ms, 50000);
        assert_false(edge_plan(&request).waits);
    }
}

TEST(edge, every_preferred_wait_is_shorter_than_for_ever)
{
    struct config_route route = route_of(EDGE_WAIT);
    struct edge_request request = request_of(&route);
    request.retry_finds = true;
    route.conflict_status = 409;
    request.prefer = wait_of(PREFER_WAIT_S_MAX);
    assert_plan(edge_plan(&request), (struct edge_plan){.edge = EDGE_CONFLICT,
                                                        .hold_ms = 86400000,
                                                        .conflict_status = 409,
                                                        .waits = true,
                                                        .wait_s = 86400});
    route.edge = EDGE_HEARTBEAT;
    request.logprobs = true;
    assert_int_equal(edge_plan(&request).hold_ms, 86400000);
}

TEST(edge, a_preferred_wait_of_0_is_a_conflict_at_once)
{
    struct config_route route = route_of(EDGE_WAIT);
    struct edge_request request = request_of(&route);
    request.retry_finds = true;
    request.prefer = wait_of(0);
    assert_plan(
        edge_plan(&request),
        (struct edge_plan){.edge = EDGE_CONFLICT, .conflict_status = 503, .waits = true});
}

TEST(edge, a_preferred_wait_is_ignored_where_a_retry_would_not_find_the_flight)
{
    struct config_route route = route_of(EDGE_CONFLICT);
    struct edge_request request = request_of(&route);
    request.may_be_driven = request.from_sdk = true;
    request.prefer = wait_of(1);
    assert_plan(edge_plan(&request), waits_forever);
    route.edge = EDGE_REDIRECT;
    assert_plan(edge_plan(&request),
                (struct edge_plan){.edge = EDGE_REDIRECT, .hold_ms = 50000});
}

TEST(edge, a_result_in_a_chain_is_held_and_redirected_whatever_is_preferred)
{
    const struct config_route route = route_of(EDGE_WAIT);
    const struct edge_plan redirect = {.edge = EDGE_REDIRECT, .hold_ms = 50000};
    assert_plan(edge_plan_result(&route, (struct prefer){.has_wait = false}, true), redirect);
    assert_plan(edge_plan_result(&route, async_wait_of(1), true), redirect);
}

TEST(edge, a_result_is_accepted_at_once_or_after_the_preferred_wait)
{
    const struct config_route route = route_of(EDGE_REDIRECT);
    assert_plan(edge_plan_result(&route, (struct prefer){.has_wait = false}, false),
                (struct edge_plan){.accepts = true});
    assert_plan(
        edge_plan_result(&route, wait_of(60), false),
        (struct edge_plan){.accepts = true, .hold_ms = 60000, .waits = true, .wait_s = 60});
    assert_plan(edge_plan_result(&route, async, false),
                (struct edge_plan){.accepts = true, .responds_async = true});
}

TEST(edge, a_beat_is_due_on_a_whole_second)
{
    assert_int_equal(edge_next_beat_ms(0, 12000), 12000);
    assert_int_equal(edge_next_beat_ms(1, 12000), 12000);
    assert_int_equal(edge_next_beat_ms(999, 12000), 12000);
    assert_int_equal(edge_next_beat_ms(1000, 12000), 13000);
    assert_int_equal(edge_next_beat_ms(5999, 2000), 7000);
    assert_int_equal(edge_next_beat_ms(5000, 2500), 7000);
}

TEST(edge, a_beat_under_2_s_is_due_on_a_tenth_of_it)
{
    assert_int_equal(edge_next_beat_ms(5998, 1999), 7960);
    assert_int_equal(edge_next_beat_ms(1234, 1000), 2200);
    assert_int_equal(edge_next_beat_ms(1234, 50), 1280);
}

TEST(edge, the_shortest_beats_are_as_they_are)
{
    assert_int_equal(edge_next_beat_ms(7, 10), 17);
    assert_int_equal(edge_next_beat_ms(7, 9), 16);
    assert_int_equal(edge_next_beat_ms(7, 1), 8);
}

TEST(edge, a_beat_is_due_after_now_and_not_later_than_a_beat_from_now)
{
    static const int64_t beats[] = {1, 2, 9, 10, 11, 99, 100, 999, 1000, 1999, 2000, 2001};
    for (size_t i = 0; i < COUNT_OF(beats); i++)
        for (int64_t now_ms = 0; now_ms <= 4001; now_ms++) {
            int64_t due_ms = edge_next_beat_ms(now_ms, beats[i]);
            assert_true(due_ms > now_ms && due_ms <= now_ms + beats[i]);
        }
}

static const char *applied(struct edge_plan plan, bool accepted)
{
    static char text[64];
    BUF(out, sizeof text - 1);
    edge_preference_applied(&plan, accepted, &out);
    (void)strcpy(text, buf_text(&out));
    return text;
}

TEST(edge, the_preferences_that_were_applied_are_said)
{
    const struct config_route route = route_of(EDGE_REDIRECT);
    assert_string_equal(applied(edge_plan_result(&route, async, false), true), "respond-async");
    assert_string_equal(applied(edge_plan_result(&route, async_wait_of(10), false), true),
                        "respond-async, wait=10");
    assert_string_equal(applied(edge_plan_result(&route, wait_of(0), false), true), "wait=0");
    assert_string_equal(applied(edge_plan_result(&route, async_wait_of(10), true), true), "");
    assert_string_equal(
        applied(edge_plan_result(&route, (struct prefer){.has_wait = false}, false), true), "");
}

TEST(edge, an_answer_itself_did_not_respond_asynchronously)
{
    const struct config_route route = route_of(EDGE_REDIRECT);
    assert_string_equal(applied(edge_plan_result(&route, async, false), false), "");
    assert_string_equal(applied(edge_plan_result(&route, async_wait_of(10), false), false),
                        "wait=10");
}
