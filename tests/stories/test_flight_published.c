/* Stories of flights whose outcome outlives their waiters: registered while they run, or accepted
 * and driven by one process after the other. */
#include "flight_story.h"

/* ---- flights that are registered: they get a key of their own while they run */

/* A keyless flight whose first call runs. */
static struct flight *calling(struct world *world)
{
    world->params.keyed = world->params.may_outlive = false;
    flight_init(&world->flight, &world->params);
    assert_int_equal(admitted(&world->flight, flight_start(&world->flight)), FLIGHT_CALL);
    return &world->flight;
}

/* The running call ends. */
static enum flight_order end_call(struct world *world, struct scripted_call call)
{
    return flight_on_call_end(&world->flight, &call.outcome, &world->budget, 1000, 0, 0);
}

TEST(flight, one_that_is_registered_while_it_calls_is_stored_like_a_keyed_one)
{
    struct world world = keyed_world();
    struct flight *flight = calling(&world);
    assert_true(flight_can_register(flight));
    assert_int_equal(flight_register(flight), 1);
    assert_false(flight_can_register(flight));
    assert_int_equal(flight_on_registered(flight, OK), FLIGHT_WAIT);
    assert_false(flight_can_register(flight));
    assert_int_equal(end_call(&world, refuses(500)), FLIGHT_PAUSE);
    assert_int_equal(admitted(flight, flight_on_pause_end(flight)), FLIGHT_COUNT);
    assert_int_equal(flight_on_count(flight, OK), FLIGHT_CALL);
    assert_int_equal(end_call(&world, answers_after(0)), FLIGHT_COMPLETE);
    assert_int_equal(flight_on_commit(flight, OK), FLIGHT_ANSWER);
    assert_false(flight->unstored);
}

TEST(flight, one_that_is_registered_in_a_pause_counts_the_next_call_too)
{
    struct world world = keyed_world();
    struct flight *flight = calling(&world);
    assert_int_equal(end_call(&world, refuses(500)), FLIGHT_PAUSE);
    assert_int_equal(flight_register(flight), 2);
    assert_int_equal(flight_on_registered(flight, OK), FLIGHT_WAIT);
    assert_true(flight->call_in_hand);
    assert_int_equal(admitted(flight, flight_on_pause_end(flight)), FLIGHT_CALL);
    assert_int_equal(end_call(&world, refuses(500)), FLIGHT_PAUSE);
    assert_int_equal(admitted(flight, flight_on_pause_end(flight)), FLIGHT_COUNT);
}

TEST(flight, a_call_that_a_registration_counted_ahead_need_not_wait_for_it)
{
    struct world world = keyed_world();
    struct flight *flight = calling(&world);
    assert_int_equal(end_call(&world, refuses(500)), FLIGHT_PAUSE);
    assert_int_equal(flight_register(flight), 2);
    assert_int_equal(admitted(flight, flight_on_pause_end(flight)), FLIGHT_CALL);
    assert_int_equal(flight_on_registered(flight, OK), FLIGHT_WAIT);
    assert_false(flight->call_in_hand);
    assert_int_equal(end_call(&world, refuses(500)), FLIGHT_PAUSE);
    assert_int_equal(admitted(flight, flight_on_pause_end(flight)), FLIGHT_COUNT);
}

TEST(flight, a_call_that_a_registration_does_not_count_waits_for_it)
{
    struct world world = keyed_world();
    struct flight *flight = calling(&world);
    assert_int_equal(flight_register(flight), 1);
    assert_int_equal(end_call(&world, refuses(500)), FLIGHT_PAUSE);
    assert_int_equal(admitted(flight, flight_on_pause_end(flight)), FLIGHT_WAIT);
    assert_int_equal(flight->attempts, 1);
    assert_int_equal(flight_on_registered(flight, OK), FLIGHT_COUNT);
    assert_int_equal(flight_on_count(flight, OK), FLIGHT_CALL);
}

TEST(flight, nor_does_the_second_call_after_one_that_was_counted_ahead_start_before_it)
{
    struct world world = keyed_world();
    struct flight *flight = calling(&world);
    assert_int_equal(end_call(&world, refuses(500)), FLIGHT_PAUSE);
    assert_int_equal(flight_register(flight), 2);
    assert_int_equal(admitted(flight, flight_on_pause_end(flight)), FLIGHT_CALL);
    assert_int_equal(end_call(&world, refuses(500)), FLIGHT_PAUSE);
    assert_int_equal(admitted(flight, flight_on_pause_end(flight)), FLIGHT_WAIT);
    assert_int_equal(flight_on_registered(flight, E_IO), FLIGHT_CALL);
    assert_int_equal(flight->attempts, 3);
}

TEST(flight, no_call_starts_after_a_deadline_that_passed_during_the_registration)
{
    struct world world = keyed_world();
    struct flight *flight = calling(&world);
    assert_int_equal(flight_register(flight), 1);
    assert_int_equal(end_call(&world, refuses(500)), FLIGHT_PAUSE);
    assert_int_equal(admitted(flight, flight_on_pause_end(flight)), FLIGHT_WAIT);
    assert_int_equal(flight_on_deadline(flight, 590000), FLIGHT_WAIT);
    assert_int_equal(flight_on_registered(flight, OK), FLIGHT_RELEASE);
    assert_int_equal(flight->verdict.error, HTTP_ERROR_DEADLINE);
}

TEST(flight, a_verdict_waits_for_the_registration_and_is_stored)
{
    struct world world = keyed_world();
    struct flight *flight = calling(&world);
    assert_int_equal(flight_register(flight), 1);
    assert_int_equal(end_call(&world, answers_after(0)), FLIGHT_WAIT);
    assert_int_equal(flight->state, FLIGHT_COMMITTING);
    assert_int_equal(flight_on_registered(flight, OK), FLIGHT_COMPLETE);
    assert_int_equal(flight_on_commit(flight, OK), FLIGHT_ANSWER);
    assert_int_equal(flight->verdict.status, 200);
}

TEST(flight, a_verdict_whose_registration_failed_is_told_without_the_store)
{
    struct world world = keyed_world();
    struct flight *flight = calling(&world);
    assert_int_equal(flight_register(flight), 1);
    assert_int_equal(end_call(&world, answers_after(0)), FLIGHT_WAIT);
    assert_int_equal(flight_on_registered(flight, E_IO), FLIGHT_ANSWER);
    assert_int_equal(flight->verdict.status, 200);
    assert_false(flight->unstored);
}

TEST(flight, one_whose_registration_failed_goes_on_without_the_store_and_may_try_again)
{
    struct world world = keyed_world();
    struct flight *flight = calling(&world);
    assert_int_equal(flight_register(flight), 1);
    assert_int_equal(flight_on_registered(flight, E_LIMIT), FLIGHT_WAIT);
    assert_true(flight_can_register(flight));
    assert_int_equal(end_call(&world, refuses(500)), FLIGHT_PAUSE);
    assert_int_equal(admitted(flight, flight_on_pause_end(flight)), FLIGHT_CALL);
    assert_int_equal(end_call(&world, answers_after(0)), FLIGHT_ANSWER);
}

TEST(flight, one_that_is_stopped_while_it_is_registered_releases_its_key)
{
    struct world world = keyed_world();
    struct flight *flight = calling(&world);
    assert_int_equal(flight_register(flight), 1);
    assert_int_equal(flight_stop(flight, HTTP_ERROR_CANCELLED, NULL), FLIGHT_ABORT);
    assert_int_equal(flight_on_stopped(flight), FLIGHT_WAIT);
    assert_int_equal(flight_on_registered(flight, OK), FLIGHT_RELEASE);
    assert_int_equal(flight_on_commit(flight, OK), FLIGHT_ANSWER);
    assert_int_equal(flight->verdict.error, HTTP_ERROR_CANCELLED);
}

TEST(flight, one_that_is_stopped_in_a_pause_gives_the_call_that_was_counted_ahead_back)
{
    struct world world = keyed_world();
    struct flight *flight = calling(&world);
    assert_int_equal(end_call(&world, refuses(500)), FLIGHT_PAUSE);
    assert_int_equal(flight_register(flight), 2);
    assert_int_equal(flight_stop(flight, HTTP_ERROR_CANCELLED, NULL), FLIGHT_WAIT);
    assert_int_equal(flight_on_registered(flight, OK), FLIGHT_RELEASE);
    assert_true(flight->call_in_hand);
    assert_int_equal(flight->attempts, 1);
}

TEST(flight, a_key_of_its_own_is_claimed_without_a_look_up)
{
    struct world world = keyed_world();
    world.params.own_key = true;
    world.calls[0] = answers_after(20000);
    play(&world, "0 claim\n0 call\n20000 complete\n20000 answer 200 the answer");
}

/* ---- flights that an earlier process accepted */

TEST(flight, an_accepted_one_counts_a_call_before_it_goes_on_in_the_next_process)
{
    struct world world = keyed_world();
    struct flight *flight = &world.flight;
    world.params.accepted = true;
    flight_init(flight, &world.params);
    assert_int_equal(admitted(flight, flight_resume(flight, 589999, true)), FLIGHT_COUNT);
    assert_int_equal(flight_on_count(flight, OK), FLIGHT_CALL);
    assert_int_equal(end_call(&world, answers_after(0)), FLIGHT_COMPLETE);
}

TEST(flight, an_accepted_one_without_paid_calls_left_fails_in_the_next_process)
{
    struct world world = keyed_world();
    struct flight *flight = &world.flight;
    flight_init(flight, &world.params);
    assert_int_equal(admitted(flight, flight_resume(flight, 0, true)), FLIGHT_COUNT);
    assert_int_equal(flight_on_count(flight, E_LIMIT), FLIGHT_FAIL);
    assert_int_equal(flight->verdict.error, HTTP_ERROR_PAID_CALLS_EXHAUSTED);
}

TEST(flight, an_accepted_one_whose_deadline_passed_meanwhile_is_not_called)
{
    struct world world = keyed_world();
    struct flight *flight = &world.flight;
    flight_init(flight, &world.params);
    assert_int_equal(admitted(flight, flight_resume(flight, 590000, true)), FLIGHT_RELEASE);
    assert_false(flight->call_in_hand);
    assert_int_equal(flight->verdict.status, 504);
}

TEST(flight, an_accepted_one_is_not_run_again_where_that_is_asked_for)
{
    struct world world = keyed_world();
    struct flight *flight = &world.flight;
    flight_init(flight, &world.params);
    assert_int_equal(admitted(flight, flight_resume(flight, 0, false)), FLIGHT_RELEASE);
    assert_int_equal(flight->verdict.error, HTTP_ERROR_OUTCOME_UNKNOWN);
}

/* An accepted flight whose first call runs. */
static struct flight *accepted(struct world *world)
{
    world->params.accepted = true;
    struct flight *flight = claiming(world);
    assert_int_equal(flight_on_claim(flight, FLIGHT_KEY_FREE), FLIGHT_CALL);
    return flight;
}

TEST(flight, an_accepted_one_keeps_its_key_when_the_process_ends)
{
    struct world world = keyed_world();
    struct flight *flight = accepted(&world);
    assert_int_equal(flight_stop(flight, HTTP_ERROR_DRAINING, NULL), FLIGHT_ABORT);
    assert_int_equal(flight_on_stopped(flight), FLIGHT_ANSWER);
    assert_int_equal(flight->verdict.keep, KEEP_RUNNING);
}

TEST(flight, an_accepted_one_keeps_its_key_in_a_pause_too)
{
    struct world world = keyed_world();
    struct flight *flight = accepted(&world);
    assert_int_equal(end_call(&world, refuses(500)), FLIGHT_PAUSE);
    assert_int_equal(flight_stop(flight, HTTP_ERROR_DRAINING, NULL), FLIGHT_ANSWER);
    assert_int_equal(flight->verdict.keep, KEEP_RUNNING);
}

TEST(flight, an_accepted_one_keeps_its_key_however_a_count_ends)
{
    static const enum rc ends[] = {OK, E_LIMIT, E_IO, E_CLOSED};
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        struct world world = keyed_world();
        struct flight *flight = accepted(&world);
        assert_int_equal(end_call(&world, refuses(500)), FLIGHT_PAUSE);
        assert_int_equal(admitted(flight, flight_on_pause_end(flight)), FLIGHT_COUNT);
        assert_int_equal(flight_stop(flight, HTTP_ERROR_DRAINING, NULL), FLIGHT_WAIT);
        assert_int_equal(flight_on_count(flight, ends[i]), FLIGHT_ANSWER);
        assert_int_equal(flight->verdict.keep, KEEP_RUNNING);
    }
}

TEST(flight, an_accepted_one_that_its_client_cancels_releases_its_key)
{
    struct world world = keyed_world();
    struct flight *flight = accepted(&world);
    assert_int_equal(flight_stop(flight, HTTP_ERROR_CANCELLED, NULL), FLIGHT_ABORT);
    assert_int_equal(flight_on_stopped(flight), FLIGHT_RELEASE);
}
