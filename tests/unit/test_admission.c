#include "admission_fixture.h"

/* Stories in virtual time. */

static const struct header after_10 = {SPAN("retry-after"), SPAN("10")};

#define ADMISSION(name, ...)                                                                   \
    struct admission name;                                                                     \
    make(&name, __VA_ARGS__)

static void assert_next(struct admission *admission, const struct admission_ticket *ticket,
                        int64_t now_ms)
{
    assert_ptr_equal(admission_next(admission, now_ms), ticket);
}

static void leave_all(struct admission *admission, struct admission_ticket *tickets,
                      size_t count)
{
    for (size_t i = 0; i < count; i++)
        admission_leave(admission, &tickets[i], 2000000);
    admission_done(admission);
}

/* ---- slots */

TEST(admission, flights_max_are_admitted_and_one_more_waits)
{
    struct admission_ticket t[4] = {0};
    ADMISSION(a, 3, 100, 10, 1000);
    assert_int_equal(ask(&a, &t[0], 1, 0, SHARED, 0), ADMISSION_GRANTED);
    assert_int_equal(ask(&a, &t[1], 1, 0, OTHER, 0), ADMISSION_GRANTED);
    assert_int_equal(ask(&a, &t[2], 2, 0, PASSED_ON, 0), ADMISSION_GRANTED);
    assert_int_equal(ask(&a, &t[3], 3, 0, SHARED, 0), ADMISSION_WAIT);
    assert_next(&a, NULL, 0);
    admission_leave(&a, &t[1], 5);
    assert_next(&a, &t[3], 5);
    assert_int_equal(t[3].state, ADMISSION_ADMITTED);
    assert_next(&a, NULL, 5);
    leave_all(&a, t, COUNT_OF(t));
}

TEST(admission, an_upstream_that_is_full_blocks_nobody_else)
{
    struct admission_ticket t[4] = {0};
    ADMISSION(a, 100, 1, 10, 1000);
    assert_int_equal(ask(&a, &t[0], 1, 0, SHARED, 0), ADMISSION_GRANTED);
    assert_int_equal(ask(&a, &t[1], 1, 0, SHARED, 0), ADMISSION_WAIT);
    assert_int_equal(ask(&a, &t[2], 1, 0, OTHER, 0), ADMISSION_GRANTED);
    assert_int_equal(ask(&a, &t[3], 2, 0, OTHER, 0), ADMISSION_WAIT);
    admission_leave(&a, &t[2], 0);
    assert_next(&a, &t[3], 0);
    assert_next(&a, NULL, 0);
    leave_all(&a, t, COUNT_OF(t));
}

TEST(admission, a_client_that_is_full_blocks_nobody_else)
{
    struct admission_ticket t[4] = {0};
    ADMISSION(a, 100, 100, 10, 1000);
    assert_int_equal(ask(&a, &t[0], 1, 2, SHARED, 0), ADMISSION_GRANTED);
    assert_int_equal(ask(&a, &t[1], 1, 2, OTHER, 0), ADMISSION_GRANTED);
    assert_int_equal(ask(&a, &t[2], 1, 2, SHARED, 0), ADMISSION_WAIT);
    assert_int_equal(ask(&a, &t[3], 2, 2, SHARED, 0), ADMISSION_GRANTED);
    assert_next(&a, NULL, 0);
    admission_leave(&a, &t[1], 0);
    assert_next(&a, &t[2], 0);
    leave_all(&a, t, COUNT_OF(t));
}

TEST(admission, a_clients_new_limit_counts_with_its_next_request)
{
    struct admission_ticket t[4] = {0};
    ADMISSION(a, 100, 100, 10, 1000);
    assert_int_equal(ask(&a, &t[0], 1, 1, SHARED, 0), ADMISSION_GRANTED);
    assert_int_equal(ask(&a, &t[1], 1, 1, SHARED, 0), ADMISSION_WAIT);
    assert_int_equal(ask(&a, &t[2], 1, 3, SHARED, 0), ADMISSION_WAIT);
    assert_next(&a, &t[1], 0);
    assert_next(&a, &t[2], 0);
    leave_all(&a, t, COUNT_OF(t));
}

/* ---- the queue */

TEST(admission, queue_max_wait_and_one_more_is_refused)
{
    struct admission_ticket t[4] = {0};
    ADMISSION(a, 1, 1, 2, 1000);
    assert_int_equal(ask(&a, &t[0], 1, 0, SHARED, 0), ADMISSION_GRANTED);
    assert_int_equal(ask(&a, &t[1], 1, 0, SHARED, 0), ADMISSION_WAIT);
    assert_int_equal(ask(&a, &t[2], 2, 0, OTHER, 0), ADMISSION_WAIT);
    assert_int_equal(ask(&a, &t[3], 3, 0, SHARED, 0), ADMISSION_QUEUE_FULL);
    assert_int_equal(t[3].state, ADMISSION_OUT);
    admission_leave(&a, &t[1], 0); /* its client left */
    assert_int_equal(ask(&a, &t[3], 3, 0, SHARED, 0), ADMISSION_WAIT);
    leave_all(&a, t, COUNT_OF(t));
}

TEST(admission, one_client_leaves_the_last_places_to_others)
{
    struct admission_ticket slot = {0}, many[17] = {0}, other = {0};
    ADMISSION(a, 1, 1, 18, 1000);
    assert_int_equal(ask(&a, &slot, 9, 0, SHARED, 0), ADMISSION_GRANTED);
    for (size_t i = 0; i < 16; i++) /* at two upstreams, it is one client */
        assert_int_equal(ask(&a, &many[i], 1, 0, i % 2 ? SHARED : OTHER, 0), ADMISSION_WAIT);
    assert_int_equal(ask(&a, &many[16], 1, 0, SHARED, 0), ADMISSION_QUEUE_FULL);
    assert_int_equal(ask(&a, &other, 2, 0, SHARED, 0), ADMISSION_WAIT);
    admission_leave(&a, &many[3], 0);
    assert_int_equal(ask(&a, &many[16], 1, 0, SHARED, 0), ADMISSION_WAIT);
    admission_leave(&a, &other, 0);
    admission_leave(&a, &slot, 0);
    assert_next(&a, &many[0], 0); /* what was served is not counted any more */
    assert_int_equal(ask(&a, &many[3], 1, 0, SHARED, 0), ADMISSION_WAIT);
    leave_all(&a, many, COUNT_OF(many));
}

TEST(admission, without_a_queue_nobody_waits_and_free_slots_are_given_at_once)
{
    struct admission_ticket t[2] = {0};
    ADMISSION(a, 1, 1, 0, 1000);
    assert_int_equal(ask(&a, &t[0], 1, 0, SHARED, 0), ADMISSION_GRANTED);
    assert_int_equal(ask(&a, &t[1], 1, 0, SHARED, 0), ADMISSION_QUEUE_FULL);
    leave_all(&a, t, COUNT_OF(t));
    ADMISSION(b, 1, 1, 10, 0);
    assert_int_equal(ask(&b, &t[0], 1, 0, SHARED, 0), ADMISSION_GRANTED);
    assert_int_equal(ask(&b, &t[1], 1, 0, SHARED, 0), ADMISSION_QUEUE_FULL);
    leave_all(&b, t, COUNT_OF(t));
}

TEST(admission, who_waited_queue_s_is_given_up_and_nobody_earlier)
{
    struct admission_ticket t[3] = {0};
    ADMISSION(a, 1, 1, 10, 1000);
    assert_int_equal(admission_due_ms(&a), TIMERS_NEVER);
    assert_int_equal(ask(&a, &t[0], 1, 0, SHARED, 0), ADMISSION_GRANTED);
    assert_int_equal(ask(&a, &t[1], 1, 0, SHARED, 100), ADMISSION_WAIT);
    assert_int_equal(ask(&a, &t[2], 2, 0, SHARED, 101), ADMISSION_WAIT);
    assert_int_equal(admission_due_ms(&a), 1100);
    assert_null(admission_expire(&a, 1099));
    assert_ptr_equal(admission_expire(&a, 1100), &t[1]);
    assert_int_equal(t[1].state, ADMISSION_OUT);
    assert_null(admission_expire(&a, 1100));
    assert_int_equal(admission_due_ms(&a), 1101);
    leave_all(&a, t, COUNT_OF(t));
}

TEST(admission, who_was_promised_a_slot_waits_beside_the_queue_as_long_as_it_takes)
{
    struct admission_ticket t[4] = {0};
    struct digest scope = scope_of(1);
    const struct admission_request promised = {.scope = &scope, .patient = true};
    ADMISSION(a, 1, 1, 1, 1000);
    assert_int_equal(ask(&a, &t[0], 1, 0, SHARED, 0), ADMISSION_GRANTED);
    assert_int_equal(admission_ask(&a, &t[1], &promised, 0), ADMISSION_WAIT);
    assert_int_equal(ask(&a, &t[2], 1, 0, SHARED, 0), ADMISSION_WAIT);
    assert_int_equal(admission_ask(&a, &t[3], &promised, 0), ADMISSION_WAIT);
    assert_ptr_equal(admission_expire(&a, 1000), &t[2]);
    assert_null(admission_expire(&a, 1000000));
    admission_leave(&a, &t[0], 1000000);
    assert_next(&a, &t[1], 1000000);
    end_call(&a, &t[1], 429, &after_10, 1000000);
    admission_leave(&a, &t[1], 1000000);
    assert_next(&a, &t[3], 1010000); /* its pause was longer than the queue */
    leave_all(&a, t, COUNT_OF(t));
}

TEST(admission, clients_take_turns_and_each_ones_requests_keep_their_order)
{
    /* Client 1 is there with four requests before 2 and 3 come. */
    static const unsigned clients[] = {1, 1, 1, 1, 2, 2, 3};
    static const int order[] = {0, 4, 6, 1, 5, 2, 3};
    struct admission_ticket t[COUNT_OF(clients)] = {0}, running = {0};
    ADMISSION(a, 1, 1, 10, 1000);
    assert_int_equal(ask(&a, &running, 9, 0, SHARED, 0), ADMISSION_GRANTED);
    for (size_t i = 0; i < COUNT_OF(clients); i++)
        assert_int_equal(ask(&a, &t[i], clients[i], 0, SHARED, 0), ADMISSION_WAIT);
    struct admission_ticket *last = &running;
    for (size_t i = 0; i < COUNT_OF(order); i++) {
        admission_leave(&a, last, 0);
        last = &t[order[i]];
        assert_next(&a, last, 0);
        assert_next(&a, NULL, 0);
    }
    leave_all(&a, t, COUNT_OF(t));
}

TEST(admission, at_each_upstream_the_turns_are_its_own)
{
    /* Slots of OTHER are free all the time; client 1 uses them and still has its turn at
     * SHARED. */
    struct admission_ticket t[4] = {0}, running = {0};
    ADMISSION(a, 2, 1, 10, 1000);
    assert_int_equal(ask(&a, &running, 9, 0, SHARED, 0), ADMISSION_GRANTED);
    assert_int_equal(ask(&a, &t[0], 1, 0, SHARED, 0), ADMISSION_WAIT);
    assert_int_equal(ask(&a, &t[1], 2, 0, SHARED, 0), ADMISSION_WAIT);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(ask(&a, &t[2], 1, 0, OTHER, 0), ADMISSION_GRANTED);
        admission_leave(&a, &t[2], 0);
    }
    admission_leave(&a, &running, 0);
    assert_next(&a, &t[0], 0);
    admission_leave(&a, &t[0], 0);
    assert_next(&a, &t[1], 0);
    leave_all(&a, t, COUNT_OF(t));
}

TEST(admission, a_full_clients_two_upstreams_take_turns)
{
    struct admission_ticket t[5] = {0};
    static const int order[] = {1, 3, 2, 4};
    ADMISSION(a, 100, 100, 10, 1000);
    assert_int_equal(ask(&a, &t[0], 1, 1, SHARED, 0), ADMISSION_GRANTED);
    assert_int_equal(ask(&a, &t[1], 1, 1, SHARED, 0), ADMISSION_WAIT);
    assert_int_equal(ask(&a, &t[2], 1, 1, SHARED, 0), ADMISSION_WAIT);
    assert_int_equal(ask(&a, &t[3], 1, 1, OTHER, 0), ADMISSION_WAIT);
    assert_int_equal(ask(&a, &t[4], 1, 1, OTHER, 0), ADMISSION_WAIT);
    struct admission_ticket *last = &t[0];
    for (size_t i = 0; i < COUNT_OF(order); i++) {
        admission_leave(&a, last, 0);
        last = &t[order[i]];
        assert_next(&a, last, 0);
        assert_next(&a, NULL, 0);
    }
    leave_all(&a, t, COUNT_OF(t));
}

TEST(admission, nobody_overtakes_who_waits_in_the_same_lane)
{
    struct admission_ticket t[3] = {0};
    ADMISSION(a, 1, 1, 10, 1000);
    assert_int_equal(ask(&a, &t[0], 1, 0, SHARED, 0), ADMISSION_GRANTED);
    assert_int_equal(ask(&a, &t[1], 1, 0, SHARED, 0), ADMISSION_WAIT);
    admission_leave(&a, &t[0], 0); /* and admission_next was not called yet */
    assert_int_equal(ask(&a, &t[2], 2, 0, OTHER, 0), ADMISSION_WAIT);
    assert_next(&a, &t[1], 0);
    leave_all(&a, t, COUNT_OF(t));
}

/* ---- brakes */

TEST(admission, a_paused_credential_lets_nobody_in_until_its_pause_is_over)
{
    struct admission_ticket t[4] = {0};
    struct digest scope = scope_of(1);
    ADMISSION(a, 100, 100, 10, 20000);
    assert_int_equal(ask(&a, &t[0], 1, 0, SHARED, 0), ADMISSION_GRANTED);
    end_call(&a, &t[0], 429, &after_10, 500);
    assert_true(admission_is_paused(&a, &scope, SHARED, 10499));
    assert_false(admission_is_paused(&a, &scope, OTHER, 500));
    assert_int_equal(ask(&a, &t[1], 2, 0, SHARED, 600), ADMISSION_WAIT);
    assert_int_equal(ask(&a, &t[2], 2, 0, OTHER, 600), ADMISSION_GRANTED);
    assert_int_equal(admission_due_ms(&a), 10500);
    assert_next(&a, NULL, 10499);
    assert_next(&a, &t[1], 10500);
    leave_all(&a, t, COUNT_OF(t));
}

TEST(admission, a_pause_longer_than_the_queue_refuses_at_once)
{
    struct admission_ticket t[3] = {0};
    ADMISSION(a, 100, 100, 10, 3000);
    assert_int_equal(ask(&a, &t[0], 1, 0, SHARED, 0), ADMISSION_GRANTED);
    end_call(&a, &t[0], 429, &after_10, 0);
    assert_int_equal(ask(&a, &t[1], 1, 0, SHARED, 6999), ADMISSION_TOO_LONG);
    assert_int_equal(t[1].state, ADMISSION_OUT);
    assert_int_equal(ask(&a, &t[1], 1, 0, SHARED, 7000), ADMISSION_WAIT);
    assert_next(&a, &t[1], 10000); /* before it expires at the same time */
    leave_all(&a, t, COUNT_OF(t));
}

TEST(admission, a_pause_past_the_deadline_refuses_at_once)
{
    struct admission_ticket t[2] = {0};
    struct digest scope = scope_of(1);
    struct admission_request request = {.scope = &scope, .deadline_ms = 9999};
    ADMISSION(a, 100, 100, 10, 20000);
    assert_int_equal(ask(&a, &t[0], 1, 0, SHARED, 0), ADMISSION_GRANTED);
    end_call(&a, &t[0], 429, &after_10, 0);
    assert_int_equal(admission_ask(&a, &t[1], &request, 0), ADMISSION_TOO_LONG);
    request.deadline_ms = 10000;
    assert_int_equal(admission_ask(&a, &t[1], &request, 0), ADMISSION_WAIT);
    leave_all(&a, t, COUNT_OF(t));
}

TEST(admission, a_long_call_does_not_hold_up_others_behind_a_lowered_limit)
{
    struct admission_ticket t[3] = {0};
    ADMISSION(a, 100, 100, 10, 20000);
    assert_int_equal(ask(&a, &t[0], 1, 0, SHARED, 0), ADMISSION_GRANTED);
    assert_int_equal(ask(&a, &t[1], 1, 0, SHARED, 0), ADMISSION_GRANTED);
    end_call(&a, &t[1], 429, NULL, 100);
    assert_int_equal(ask(&a, &t[2], 1, 0, SHARED, 200), ADMISSION_WAIT);
    assert_int_equal(admission_due_ms(&a), 1100);
    assert_next(&a, NULL, 1099);
    assert_next(&a, &t[2], 1100);
    leave_all(&a, t, COUNT_OF(t));
}

TEST(admission, credentials_that_are_passed_on_have_brakes_of_their_own)
{
    struct admission_ticket t[4] = {0};
    struct digest one = scope_of(1), two = scope_of(2);
    ADMISSION(a, 100, 100, 10, 20000);
    assert_int_equal(ask(&a, &t[0], 1, 0, PASSED_ON, 0), ADMISSION_GRANTED);
    end_call(&a, &t[0], 429, &after_10, 0);
    assert_true(admission_is_paused(&a, &one, PASSED_ON, 0));
    assert_false(admission_is_paused(&a, &two, PASSED_ON, 0));
    assert_int_equal(ask(&a, &t[1], 1, 0, PASSED_ON, 1), ADMISSION_WAIT);
    assert_int_equal(ask(&a, &t[2], 2, 0, PASSED_ON, 1), ADMISSION_GRANTED);
    assert_next(&a, NULL, 9999);
    assert_next(&a, &t[1], 10000);
    leave_all(&a, t, COUNT_OF(t));
}

TEST(admission, a_lowered_limit_holds_for_new_flights_and_grows_with_answers)
{
    struct admission_ticket t[10] = {0};
    ADMISSION(a, 100, 100, 10, 1000);
    for (int i = 0; i < 4; i++)
        assert_int_equal(ask(&a, &t[i], 1, 0, SHARED, 0), ADMISSION_GRANTED);
    for (int i = 4; i < 10; i++)
        assert_int_equal(ask(&a, &t[i], 1, 0, SHARED, 0), ADMISSION_GRANTED);
    end_call(&a, &t[0], 429, NULL, 10); /* 10 ran, 5 may */
    for (int i = 1; i <= 5; i++) {
        end_call(&a, &t[i], 500, NULL, 10);
        admission_leave(&a, &t[i], 10);
    }
    assert_int_equal(ask(&a, &t[1], 2, 0, SHARED, 10), ADMISSION_GRANTED);
    assert_int_equal(ask(&a, &t[2], 2, 0, SHARED, 10), ADMISSION_WAIT);
    assert_int_equal(ask(&a, &t[3], 2, 0, SHARED, 10), ADMISSION_WAIT);
    assert_next(&a, NULL, 10);
    end_call(&a, &t[6], 200, NULL, 20); /* 4 run, 6 may */
    assert_next(&a, &t[2], 20);
    assert_next(&a, &t[3], 20);
    assert_next(&a, NULL, 20);
    leave_all(&a, t, COUNT_OF(t));
}

TEST(admission, who_calls_again_goes_before_who_is_new)
{
    struct admission_ticket t[3] = {0};
    ADMISSION(a, 100, 100, 10, 20000);
    assert_int_equal(ask(&a, &t[0], 1, 0, SHARED, 0), ADMISSION_GRANTED);
    end_call(&a, &t[0], 429, &after_10, 0);
    assert_int_equal(t[0].state, ADMISSION_RESTING);
    assert_int_equal(ask(&a, &t[1], 2, 0, SHARED, 0), ADMISSION_WAIT);
    assert_false(admission_call(&a, &t[0], 100));
    assert_int_equal(t[0].state, ADMISSION_RETURNING);
    assert_next(&a, NULL, 9999);
    assert_next(&a, &t[0], 10000); /* the limit is 1 */
    assert_next(&a, NULL, 10000);
    end_call(&a, &t[0], 200, NULL, 10001);
    assert_next(&a, &t[1], 10001);
    leave_all(&a, t, COUNT_OF(t));
}

TEST(admission, nobody_overtakes_who_returned_first)
{
    struct admission_ticket t[3] = {0};
    ADMISSION(a, 100, 100, 10, 20000);
    assert_int_equal(ask(&a, &t[0], 1, 0, SHARED, 0), ADMISSION_GRANTED);
    assert_int_equal(ask(&a, &t[1], 1, 0, SHARED, 0), ADMISSION_GRANTED);
    end_call(&a, &t[0], 429, &after_10, 0);
    end_call(&a, &t[1], 500, NULL, 0);
    assert_false(admission_call(&a, &t[0], 1));
    assert_int_equal(ask(&a, &t[2], 2, 0, SHARED, 10000), ADMISSION_WAIT);
    assert_false(admission_call(&a, &t[1], 10000)); /* admission_next was not called yet */
    assert_next(&a, &t[0], 10000);
    end_call(&a, &t[0], 200, NULL, 10001);
    assert_next(&a, &t[1], 10001);
    leave_all(&a, t, COUNT_OF(t));
}

TEST(admission, a_flight_that_returns_holds_its_slots)
{
    struct admission_ticket t[2] = {0};
    ADMISSION(a, 1, 1, 10, 20000);
    assert_int_equal(ask(&a, &t[0], 1, 0, SHARED, 0), ADMISSION_GRANTED);
    end_call(&a, &t[0], 429, &after_10, 0);
    assert_int_equal(ask(&a, &t[1], 2, 0, OTHER, 0), ADMISSION_WAIT);
    assert_false(admission_call(&a, &t[0], 0));
    assert_next(&a, NULL, 0);
    admission_leave(&a, &t[0], 1); /* it ended while it waited */
    assert_next(&a, &t[1], 1);
    leave_all(&a, t, COUNT_OF(t));
}

TEST(admission, nobody_is_woken_for_a_pause_that_nobody_waits_for)
{
    struct admission_ticket t[1] = {0};
    ADMISSION(a, 100, 100, 10, 20000);
    assert_int_equal(ask(&a, &t[0], 1, 0, SHARED, 0), ADMISSION_GRANTED);
    end_call(&a, &t[0], 429, &after_10, 0);
    assert_int_equal(admission_due_ms(&a), TIMERS_NEVER);
    assert_false(admission_call(&a, &t[0], 0));
    assert_int_equal(admission_due_ms(&a), 10000);
    leave_all(&a, t, COUNT_OF(t));
}

/* ---- the fallback */

TEST(admission, a_flight_moves_where_there_is_a_slot_and_gives_its_own_back)
{
    struct admission_ticket t[4] = {0};
    struct digest scope = scope_of(1);
    ADMISSION(a, 100, 1, 10, 20000);
    assert_int_equal(ask(&a, &t[0], 1, 0, SHARED, 0), ADMISSION_GRANTED);
    assert_int_equal(ask(&a, &t[1], 2, 0, SHARED, 0), ADMISSION_WAIT);
    end_call(&a, &t[0], 500, NULL, 0);
    assert_true(admission_has_room(&a, &scope, OTHER, 0));
    assert_true(admission_move(&a, &t[0], OTHER, 0));
    assert_false(admission_has_room(&a, &scope, OTHER, 0));
    assert_next(&a, &t[1], 0);
    assert_true(admission_call(&a, &t[0], 0));
    end_call(&a, &t[1], 500, NULL, 0);
    assert_false(admission_move(&a, &t[1], OTHER, 0));
    assert_int_equal(t[1].state, ADMISSION_RESTING);
    assert_int_equal(ask(&a, &t[2], 2, 0, SHARED, 0), ADMISSION_WAIT);
    leave_all(&a, t, COUNT_OF(t));
}

TEST(admission, nobody_moves_to_a_paused_upstream)
{
    struct admission_ticket t[2] = {0};
    struct digest scope = scope_of(1);
    ADMISSION(a, 100, 100, 10, 20000);
    assert_int_equal(ask(&a, &t[0], 1, 0, SHARED, 0), ADMISSION_GRANTED);
    assert_int_equal(ask(&a, &t[1], 1, 0, OTHER, 0), ADMISSION_GRANTED);
    end_call(&a, &t[0], 500, NULL, 0);
    end_call(&a, &t[1], 529, &after_10, 0);
    assert_false(admission_has_room(&a, &scope, OTHER, 0));
    assert_false(admission_move(&a, &t[0], OTHER, 0));
    assert_true(admission_move(&a, &t[0], OTHER, 10000));
    leave_all(&a, t, COUNT_OF(t));
}

/* ---- memory */

TEST(admission, clients_without_tickets_leave_nothing_behind)
{
    struct admission_ticket t = {0};
    ADMISSION(a, 100, 100, 10, 1000);
    for (unsigned client = 0; client < 1000; client++) {
        assert_int_equal(ask(&a, &t, client, 0, client % 3, 0), ADMISSION_GRANTED);
        admission_leave(&a, &t, 0);
    }
    assert_int_equal(a.parties.count, 0);
    admission_done(&a);
}

TEST(admission, of_brakes_that_nobody_uses_the_latest_are_remembered)
{
    struct admission_ticket t = {0};
    struct digest first = scope_of(0), second = scope_of(1);
    ADMISSION(a, 100, 100, 10, 60000);
    for (unsigned client = 0; client <= ADMISSION_BRAKES_IDLE_MAX; client++) {
        if (client == ADMISSION_BRAKES_IDLE_MAX)
            assert_true(admission_is_paused(&a, &first, PASSED_ON, 0));
        assert_int_equal(ask(&a, &t, client, 0, PASSED_ON, 0), ADMISSION_GRANTED);
        end_call(&a, &t, 429, &after_10, 0);
        admission_leave(&a, &t, 0);
    }
    assert_int_equal(a.idle_count, ADMISSION_BRAKES_IDLE_MAX);
    assert_false(admission_is_paused(&a, &first, PASSED_ON, 0));
    assert_true(admission_is_paused(&a, &second, PASSED_ON, 0));
    assert_int_equal(ask(&a, &t, 1, 0, PASSED_ON, 0), ADMISSION_WAIT); /* it is used again */
    assert_int_equal(a.idle_count, ADMISSION_BRAKES_IDLE_MAX - 1);
    leave_all(&a, &t, 1);
}

/* ---- for metrics */

TEST(admission, pauses_are_counted_per_credential)
{
    struct admission_ticket t[4] = {0};
    ADMISSION(a, 100, 100, 10, 60000);
    assert_int_equal(ask(&a, &t[0], 1, 0, SHARED, 0), ADMISSION_GRANTED);
    assert_int_equal(ask(&a, &t[1], 1, 0, PASSED_ON, 0), ADMISSION_GRANTED);
    assert_int_equal(ask(&a, &t[2], 2, 0, PASSED_ON, 0), ADMISSION_GRANTED);
    assert_int_equal(ask(&a, &t[3], 3, 0, PASSED_ON, 0), ADMISSION_GRANTED);
    assert_int_equal(admission_pauses(&a, SHARED, 0), 0);
    assert_int_equal(admission_pauses(&a, PASSED_ON, 0), 0);
    end_call(&a, &t[0], 429, &after_10, 0);
    end_call(&a, &t[1], 429, &after_10, 0);
    end_call(&a, &t[2], 429, &after_10, 1000);
    end_call(&a, &t[3], 200, NULL, 1000);
    assert_int_equal(admission_pauses(&a, SHARED, 1000), 1);
    assert_int_equal(admission_pauses(&a, OTHER, 1000), 0);
    assert_int_equal(admission_pauses(&a, PASSED_ON, 1000), 2);
    assert_int_equal(admission_pauses(&a, SHARED, 10000), 0);
    assert_int_equal(admission_pauses(&a, PASSED_ON, 10000), 1);
    assert_int_equal(admission_pauses(&a, PASSED_ON, 11000), 0);
    leave_all(&a, t, COUNT_OF(t));
}
