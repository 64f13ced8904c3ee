/* Stories of single flights in virtual time: from the look-up of a key to the answer. */
#include "flight_story.h"

TEST(flight, a_keyed_answer_is_claimed_before_it_is_sent_and_stored_before_it_is_told)
{
    struct world world = keyed_world();
    world.calls[0] = answers_after(20000);
    play(&world, "0 look up\n0 claim\n0 call\n20000 complete\n20000 answer 200 the answer");
}

TEST(flight, a_keyless_answer_needs_no_store)
{
    struct world world = keyed_world();
    world.params.keyed = world.params.may_outlive = false;
    world.calls[0] = answers_after(20000);
    play(&world, "0 call\n20000 answer 200 the answer");
}

TEST(flight, a_stored_answer_makes_no_call)
{
    struct world world = keyed_world();
    world.lookup = FLIGHT_KEY_ANSWERED;
    play(&world, "0 look up\n0 answer 0 what is stored");
}

TEST(flight, another_request_under_the_same_key_is_refused)
{
    struct world world = keyed_world();
    world.lookup = FLIGHT_KEY_OTHER;
    play(&world, "0 look up\n0 answer 422 idempotency_key_reused, do not retry");
}

TEST(flight, nothing_is_sent_when_the_claim_is_not_durable)
{
    struct world world = keyed_world();
    world.claim = FLIGHT_KEY_TROUBLE;
    play(&world, "0 look up\n0 claim\n0 answer 503 store_unavailable, retry, after 2 s");
}

TEST(flight, where_the_store_is_optional_a_failed_claim_runs_without_it)
{
    struct world world = keyed_world();
    world.params.store_optional = true;
    world.claim = FLIGHT_KEY_TROUBLE;
    world.calls[0] = ends(ATTEMPT_TRUNCATED, 1000, true);
    world.calls[1] = answers_after(5000);
    play(&world, "0 look up\n0 claim\n0 call\n1000 pause\n2000 call\n"
                 "7000 answer 200 the answer, unstored");
}

TEST(flight, where_the_store_is_optional_a_failed_look_up_leaves_it_to_the_claim)
{
    struct world world = keyed_world();
    world.params.store_optional = true;
    world.lookup = FLIGHT_KEY_TROUBLE;
    world.claim = FLIGHT_KEY_ANSWERED;
    play(&world, "0 look up\n0 claim\n0 answer 0 what is stored");
}

TEST(flight, where_the_store_is_optional_a_key_it_knows_is_still_its_own)
{
    struct world world = keyed_world();
    world.params.store_optional = true;
    world.lookup = FLIGHT_KEY_OTHER;
    play(&world, "0 look up\n0 answer 422 idempotency_key_reused, do not retry");
}

TEST(flight, used_up_calls_are_not_made_again)
{
    struct world world = keyed_world();
    world.claim = FLIGHT_KEY_USED_UP;
    play(&world, "0 look up\n0 claim\n0 answer 502 paid_calls_exhausted, do not retry");
}

TEST(flight, a_generation_that_a_crash_cut_off_is_not_repeated_where_that_is_asked_for)
{
    struct world world = keyed_world();
    world.lookup = FLIGHT_KEY_UNKNOWN;
    play(&world, "0 look up\n0 answer 502 outcome_unknown, do not retry");
}

TEST(flight, a_stored_answer_without_room_is_asked_for_again)
{
    struct world world = keyed_world();
    world.lookup = FLIGHT_KEY_NO_ROOM;
    play(&world, "0 look up\n0 answer 503 overloaded, retry, after 2 s");
}

TEST(flight, a_free_refusal_is_retried_with_the_call_that_was_counted)
{
    struct world world = keyed_world();
    world.calls[0] = refuses(429);
    world.calls[1] = answers_after(5000);
    play(&world, "0 look up\n0 claim\n0 call\n10 pause\n1010 call\n"
                 "6010 complete\n6010 answer 200 the answer");
}

TEST(flight, a_call_that_may_be_billed_is_counted_anew_before_the_next)
{
    struct world world = keyed_world();
    world.calls[0] = refuses(500);
    world.calls[1] = ends(ATTEMPT_TRUNCATED, 30000, true);
    world.calls[2] = answers_after(5000);
    play(&world, "0 look up\n0 claim\n0 call\n10 pause\n1010 count\n1010 call\n"
                 "31010 pause\n33010 count\n33010 call\n"
                 "38010 complete\n38010 answer 200 the answer");
}

TEST(flight, retries_end_at_the_maximum_and_the_key_is_released)
{
    struct world world = keyed_world();
    world.calls[0] = world.calls[1] = world.calls[2] = refuses(500);
    play(&world, "0 look up\n0 claim\n0 call\n10 pause\n1010 count\n1010 call\n1020 pause\n"
                 "3020 count\n3020 call\n3030 release\n"
                 "3030 answer 502 upstream_error, do not retry");
}

TEST(flight, a_provider_that_is_overloaded_costs_nothing)
{
    struct world world = keyed_world();
    world.params.retry.attempts_max = 1;
    world.calls[0] = refuses(529);
    play(&world, "0 look up\n0 claim\n0 call\n10 release, give back\n"
                 "10 answer 503 upstream_error, do not retry");
}

TEST(flight, a_bad_request_is_not_repeated)
{
    struct world world = keyed_world();
    world.calls[0] = refuses(400);
    play(&world, "0 look up\n0 claim\n0 call\n10 release, give back\n"
                 "10 answer 400 the provider's error, do not retry");
}

TEST(flight, a_refused_credential_of_the_operator_is_not_the_callers_business)
{
    struct world world = keyed_world();
    world.params.key_is_ours = true;
    world.calls[0] = refuses(401);
    play(&world, "0 look up\n0 claim\n0 call\n10 release, give back\n"
                 "10 answer 502 upstream_credentials_invalid, do not retry");
}

TEST(flight, the_callers_own_refused_credential_is)
{
    struct world world = keyed_world();
    world.calls[0] = refuses(401);
    play(&world, "0 look up\n0 claim\n0 call\n10 release, give back\n"
                 "10 answer 401 the provider's error, do not retry");
}

TEST(flight, too_many_requests_come_back_within_eight_seconds_or_not_at_all)
{
    static const struct {
        const char *retry_after, *answer;
    } cases[] = {
        {NULL, "10 answer 429 the provider's error, retry, after 1 s"},
        {"0", "10 answer 429 the provider's error, retry, after 1 s"},
        {"8", "10 answer 429 the provider's error, retry, after 8 s"},
        {"60", "10 answer 429 the provider's error, retry, after 8 s"},
        {"61", "10 answer 429 the provider's error, do not retry, after 61 s"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct world world = keyed_world();
        world.params.keyed = false;
        world.params.retry.attempts_max = 1;
        world.calls[0] = refuses(429);
        world.calls[0].retry_after = cases[i].retry_after;
        BUF(expected, 256);
        buf_printf(&expected, "0 call\n%s", cases[i].answer);
        play(&world, buf_text(&expected));
    }
}

TEST(flight, an_unreachable_provider_never_uses_a_key_up)
{
    struct world world = keyed_world();
    world.calls[0] = world.calls[1] = world.calls[2] =
        ends(ATTEMPT_CONNECT_FAILED, 5000, false);
    play(&world,
         "0 look up\n0 claim\n0 call\n5000 pause\n6000 call\n11000 pause\n13000 call\n"
         "18000 release, give back\n18000 answer 502 upstream_unreachable, do not retry");
}

TEST(flight, a_certificate_error_is_final)
{
    struct world world = keyed_world();
    world.calls[0] = ends(ATTEMPT_CERTIFICATE_FAILED, 100, false);
    play(&world, "0 look up\n0 claim\n0 call\n100 release, give back\n"
                 "100 answer 502 upstream_unreachable, do not retry");
}

TEST(flight, paid_calls_that_run_out_in_the_flight_are_a_stored_failure)
{
    struct world world = keyed_world();
    world.count = E_LIMIT;
    world.calls[0] = ends(ATTEMPT_TRUNCATED, 1000, true);
    play(&world, "0 look up\n0 claim\n0 call\n1000 pause\n2000 count\n2000 fail\n"
                 "2000 answer 502 paid_calls_exhausted, do not retry");
}

TEST(flight, no_call_is_made_that_cannot_be_counted)
{
    struct world world = keyed_world();
    world.count = E_IO;
    world.calls[0] = ends(ATTEMPT_TRUNCATED, 1000, true);
    play(&world, "0 look up\n0 claim\n0 call\n1000 pause\n2000 count\n2000 release\n"
                 "2000 answer 503 store_unavailable, retry, after 2 s");
}

TEST(flight, an_answer_too_large_was_paid_for_and_is_kept)
{
    struct world world = keyed_world();
    world.calls[0] = ends(ATTEMPT_TOO_LARGE, 1000, true);
    play(&world, "0 look up\n0 claim\n0 call\n1000 fail\n"
                 "1000 answer 502 answer_too_large, do not retry");
}

TEST(flight, an_answer_that_cannot_be_stored_is_still_told)
{
    struct world world = keyed_world();
    world.commit = E_IO;
    world.calls[0] = answers_after(1000);
    play(&world, "0 look up\n0 claim\n0 call\n1000 complete\n"
                 "1000 answer 200 the answer, unstored");
}

TEST(flight, without_output_the_deadline_ends_it)
{
    struct world world = keyed_world();
    world.calls[0] = answers_after(600000);
    play(&world, "0 look up\n0 claim\n0 call\n590000 abort\n590000 release\n"
                 "590000 answer 504 deadline_exceeded, after 2 s");
}

TEST(flight, with_output_a_keyed_flight_outlives_its_deadline)
{
    struct world world = keyed_world();
    world.calls[0] = answers_after(700000);
    world.calls[0].output = true;
    play(&world, "0 look up\n0 claim\n0 call\n590000 goes on\n700000 complete\n"
                 "700000 answer 200 the answer");
}

TEST(flight, who_joins_moves_its_deadline_and_never_its_ceiling)
{
    struct world world = keyed_world();
    struct flight *flight = claiming(&world);
    assert_int_equal(flight_on_claim(flight, FLIGHT_KEY_FREE), FLIGHT_CALL);
    flight_on_output(flight);
    flight_on_join(flight, 700000);
    assert_int_equal(flight_deadline_ms(flight, 0), 700000);
    flight_on_join(flight, 1800001);
    assert_int_equal(flight_deadline_ms(flight, 0), 1800000);
    assert_int_equal(flight_on_deadline(flight, 1799999), FLIGHT_WAIT);
    assert_int_equal(flight_on_deadline(flight, 1800000), FLIGHT_ABORT);
}

TEST(flight, who_joins_after_the_ceiling_starts_no_call)
{
    struct world world = keyed_world();
    world.params.ceiling_ms = 600000;
    struct flight *flight = claiming(&world);
    assert_int_equal(flight_on_deadline(flight, 590000), FLIGHT_WAIT);
    flight_on_join(flight, 700000);
    assert_int_equal(flight_on_claim(flight, FLIGHT_KEY_FREE), FLIGHT_RELEASE);
    assert_int_equal(flight->verdict.error, HTTP_ERROR_DEADLINE);
}

TEST(flight, with_output_it_ends_at_the_ceiling_and_that_was_paid_for)
{
    struct world world = keyed_world();
    world.calls[0] = answers_after(2000000);
    world.calls[0].output = true;
    play(&world, "0 look up\n0 claim\n0 call\n590000 goes on\n1800000 abort\n1800000 fail\n"
                 "1800000 answer 504 deadline_exceeded, do not retry");
}

TEST(flight, a_keyless_flight_ends_at_the_deadline_with_or_without_output)
{
    struct world world = keyed_world();
    world.params.keyed = world.params.may_outlive = false;
    world.calls[0] = answers_after(2000000);
    world.calls[0].output = true;
    play(&world, "0 call\n590000 abort\n590000 answer 504 deadline_exceeded, do not retry");
}

/* ---- relayed requests */

static struct world relayed_world(struct scripted_call call)
{
    struct world world = keyed_world();
    world.params.keyed = world.params.may_outlive = false;
    world.params.relayed = true;
    world.calls[0] = call;
    return world;
}

TEST(flight, a_relayed_answer_has_the_providers_status)
{
    struct world world = relayed_world(answers_after(20));
    world.calls[0].outcome.status = 201;
    play(&world, "0 call\n20 answer 201 the answer");
}

TEST(flight, a_relayed_request_is_called_once_and_its_caller_decides_about_retries)
{
    static const struct {
        struct attempt_outcome outcome;
        const char *answer;
    } cases[] = {
        {{.end = ATTEMPT_REFUSED, .status = 500}, "502 upstream_error"},
        {{.end = ATTEMPT_REFUSED, .status = 504}, "502 upstream_error"},
        {{.end = ATTEMPT_REFUSED, .status = 503}, "503 upstream_error"},
        {{.end = ATTEMPT_REFUSED, .status = 529}, "503 upstream_error"},
        {{.end = ATTEMPT_REFUSED, .status = 302}, "502 upstream_error"},
        {{.end = ATTEMPT_REFUSED, .status = 508}, "508 loop_detected, do not retry"},
        {{.end = ATTEMPT_REFUSED, .status = 404}, "404 the provider's error"},
        {{.end = ATTEMPT_REFUSED, .status = 409}, "409 the provider's error"},
        {{.end = ATTEMPT_REFUSED, .status = 401}, "401 the provider's error"},
        {{.end = ATTEMPT_REFUSED, .status = 429}, "429 the provider's error, retry, after 1 s"},
        {{.end = ATTEMPT_DNS_FAILED}, "502 upstream_unreachable"},
        {{.end = ATTEMPT_CONNECT_FAILED}, "502 upstream_unreachable"},
        {{.end = ATTEMPT_CERTIFICATE_FAILED}, "502 upstream_unreachable"},
        {{.end = ATTEMPT_CONNECTION_LOST}, "502 upstream_unreachable"},
        {{.end = ATTEMPT_CONNECTION_LOST, .request_sent = true},
         "502 upstream_stream_incomplete"},
        {{.end = ATTEMPT_TRUNCATED}, "502 upstream_stream_incomplete"},
        {{.end = ATTEMPT_MALFORMED}, "502 upstream_stream_incomplete"},
        {{.end = ATTEMPT_FIRST_EVENT_TIMEOUT}, "502 upstream_stream_incomplete"},
        {{.end = ATTEMPT_IDLE_TIMEOUT}, "502 upstream_stream_incomplete"},
        {{.end = ATTEMPT_TOO_LARGE}, "502 answer_too_large, do not retry"},
        {{.end = ATTEMPT_NO_RESOURCES}, "503 overloaded, retry, after 2 s"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct world world = relayed_world((struct scripted_call){.takes_ms = 10});
        world.calls[0].outcome = cases[i].outcome;
        BUF(expected, 256);
        buf_printf(&expected, "0 call\n10 answer %s", cases[i].answer);
        play(&world, buf_text(&expected));
    }
}

TEST(flight, a_refused_credential_of_the_operator_is_not_for_who_relays_either)
{
    struct world world = relayed_world(refuses(403));
    world.params.key_is_ours = true;
    play(&world, "0 call\n10 answer 502 upstream_credentials_invalid, do not retry");
}

TEST(flight, a_provider_that_is_overloaded_may_say_when_to_come_again)
{
    static const struct {
        const char *retry_after, *answer;
    } cases[] = {
        {"0", "10 answer 503 upstream_error, after 1 s"},
        {"8", "10 answer 503 upstream_error, after 8 s"},
        {"9", "10 answer 503 upstream_error, after 8 s"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct world world = relayed_world(refuses(503));
        world.calls[0].retry_after = cases[i].retry_after;
        BUF(expected, 256);
        buf_printf(&expected, "0 call\n%s", cases[i].answer);
        play(&world, buf_text(&expected));
    }
}

TEST(flight, a_relayed_request_ends_at_its_deadline)
{
    struct world world = relayed_world(answers_after(590001));
    play(&world, "0 call\n590000 abort\n590000 answer 504 deadline_exceeded, after 2 s");
}

/* ---- */

TEST(flight, a_pause_longer_than_the_time_left_is_not_begun)
{
    struct world world = keyed_world();
    world.params.deadline_ms = 5000;
    world.calls[0] = refuses(503);
    world.calls[0].retry_after = "6";
    play(&world, "0 look up\n0 claim\n0 call\n10 release, give back\n"
                 "10 answer 503 upstream_error, do not retry");
}

TEST(flight, a_join_with_more_time_moves_the_deadline)
{
    struct world world = keyed_world();
    struct flight *flight = &world.flight;
    flight_init(flight, &world.params);
    flight_on_join(flight, 600000);
    assert_int_equal(flight_deadline_ms(flight, 0), 600000);
    flight_on_join(flight, 100);
    assert_int_equal(flight_deadline_ms(flight, 0), 600000);
}

TEST(flight, no_call_starts_after_a_deadline_that_passed_during_the_claim)
{
    struct world world = keyed_world();
    struct flight *flight = claiming(&world);
    assert_int_equal(flight_on_deadline(flight, 590000), FLIGHT_WAIT);
    assert_int_equal(flight_on_claim(flight, FLIGHT_KEY_FREE), FLIGHT_RELEASE);
    assert_true(flight->call_in_hand);
    assert_int_equal(flight_on_commit(flight, OK), FLIGHT_ANSWER);
    assert_int_equal(flight->verdict.error, HTTP_ERROR_DEADLINE);
}

TEST(flight, no_call_starts_after_a_deadline_that_passed_while_it_was_counted)
{
    struct world world = keyed_world();
    struct flight *flight = claiming(&world);
    const struct attempt_outcome cut = {
        .end = ATTEMPT_TRUNCATED, .request_sent = true, .output_began = true};
    assert_int_equal(flight_on_claim(flight, FLIGHT_KEY_FREE), FLIGHT_CALL);
    flight_on_output(flight);
    assert_int_equal(flight_on_call_end(flight, &cut, &world.budget, 580000, 0, 0),
                     FLIGHT_PAUSE);
    assert_int_equal(flight_on_pause_end(flight), FLIGHT_ADMIT);
    assert_int_equal(flight_on_admitted(flight), FLIGHT_COUNT);
    assert_int_equal(flight_on_deadline(flight, 590000), FLIGHT_WAIT);
    assert_int_equal(flight_on_count(flight, OK), FLIGHT_RELEASE);
    assert_true(flight->call_in_hand);
}

TEST(flight, a_join_with_more_time_lets_a_late_flight_call)
{
    struct world world = keyed_world();
    struct flight *flight = claiming(&world);
    assert_int_equal(flight_on_deadline(flight, 590000), FLIGHT_WAIT);
    flight_on_join(flight, 590000);
    assert_true(flight->late);
    flight_on_join(flight, 590001);
    assert_int_equal(flight_on_claim(flight, FLIGHT_KEY_FREE), FLIGHT_CALL);
}

TEST(flight, a_stored_answer_is_told_however_late_it_is_found)
{
    struct world world = keyed_world();
    struct flight *flight = &world.flight;
    flight_init(flight, &world.params);
    assert_int_equal(flight_start(flight), FLIGHT_LOOK_UP);
    assert_int_equal(flight_on_deadline(flight, 590000), FLIGHT_WAIT);
    assert_int_equal(flight_on_lookup(flight, FLIGHT_KEY_ANSWERED), FLIGHT_ANSWER);
    assert_int_equal(flight->verdict.body, VERDICT_STORED);
}

/* A keyed flight that waits for a slot. */
static struct flight *queued(struct world *world)
{
    flight_init(&world->flight, &world->params);
    assert_int_equal(flight_start(&world->flight), FLIGHT_LOOK_UP);
    assert_int_equal(flight_on_lookup(&world->flight, FLIGHT_KEY_FREE), FLIGHT_ADMIT);
    assert_true(flight_has_not_begun(&world->flight));
    return &world->flight;
}

/* A keyed flight that was cut off and waits for its brake. */
static struct flight *returning(struct world *world, enum attempt_end end)
{
    const struct attempt_outcome outcome = {.end = end,
                                            .request_sent = end == ATTEMPT_TRUNCATED};
    struct flight *flight = claiming(world);
    assert_int_equal(flight_on_claim(flight, FLIGHT_KEY_FREE), FLIGHT_CALL);
    assert_int_equal(flight_on_call_end(flight, &outcome, &world->budget, 0, 0, 0),
                     FLIGHT_PAUSE);
    assert_int_equal(flight_on_pause_end(flight), FLIGHT_ADMIT);
    assert_false(flight_has_not_begun(flight));
    return flight;
}

TEST(flight, admission_refuses_before_anything_is_claimed)
{
    struct world world = keyed_world();
    struct flight *flight = queued(&world);
    assert_int_equal(flight_refuse(flight, HTTP_ERROR_OVERLOADED, NULL, 0), FLIGHT_ANSWER);
    assert_int_equal(flight->verdict.status, 503);
    assert_int_equal(flight->verdict.retry_after_s, 2);
}

TEST(flight, a_refusal_may_say_when_to_come_again)
{
    struct world world = keyed_world();
    struct flight *flight = queued(&world);
    assert_int_equal(flight_refuse(flight, HTTP_ERROR_RATE_LIMITED, NULL, 7), FLIGHT_ANSWER);
    assert_int_equal(flight->verdict.status, 429);
    assert_int_equal(flight->verdict.retry_after_s, 7);
}

TEST(flight, a_deadline_ends_what_waits_for_a_slot_and_nothing_is_claimed)
{
    struct world world = keyed_world();
    struct flight *flight = queued(&world);
    assert_int_equal(flight_on_deadline(flight, 589999), FLIGHT_WAIT);
    assert_int_equal(flight_on_deadline(flight, 590000), FLIGHT_ANSWER);
    assert_int_equal(flight->verdict.error, HTTP_ERROR_DEADLINE);
}

TEST(flight, stopping_ends_what_waits_for_a_slot_and_nothing_is_claimed)
{
    struct world world = keyed_world();
    struct flight *flight = queued(&world);
    assert_int_equal(flight_stop(flight, HTTP_ERROR_DRAINING, NULL), FLIGHT_ANSWER);
    assert_int_equal(flight->verdict.error, HTTP_ERROR_DRAINING);
}

TEST(flight, a_deadline_releases_what_waits_to_call_again)
{
    struct world world = keyed_world();
    struct flight *flight = returning(&world, ATTEMPT_CONNECT_FAILED);
    assert_int_equal(flight_on_deadline(flight, 590000), FLIGHT_RELEASE);
    assert_true(flight->call_in_hand);
    assert_int_equal(flight_on_commit(flight, OK), FLIGHT_ANSWER);
    assert_int_equal(flight->verdict.error, HTTP_ERROR_DEADLINE);
}

TEST(flight, a_free_call_in_hand_is_made_and_another_one_is_counted_once_admitted)
{
    struct world free_world = keyed_world(), paid_world = keyed_world();
    assert_int_equal(flight_on_admitted(returning(&free_world, ATTEMPT_CONNECT_FAILED)),
                     FLIGHT_CALL);
    assert_int_equal(flight_on_admitted(returning(&paid_world, ATTEMPT_TRUNCATED)),
                     FLIGHT_COUNT);
}

TEST(flight, a_flight_of_an_earlier_process_waits_for_a_slot_and_keeps_its_row_when_it_stops)
{
    struct world world = keyed_world();
    world.params.accepted = true;
    struct flight *flight = &world.flight;
    flight_init(flight, &world.params);
    assert_int_equal(flight_resume(flight, 0, true), FLIGHT_ADMIT);
    assert_false(flight_has_not_begun(flight));
    struct flight stopped = *flight;
    assert_int_equal(flight_on_admitted(flight), FLIGHT_COUNT);
    assert_int_equal(flight_stop(&stopped, HTTP_ERROR_DRAINING, NULL), FLIGHT_ANSWER);
    assert_int_equal(stopped.verdict.keep, KEEP_RUNNING);
}

TEST(flight, a_call_that_failed_goes_to_an_open_fallback_at_once_and_is_counted)
{
    struct world world = keyed_world();
    const struct attempt_outcome outcome = {
        .end = ATTEMPT_REFUSED, .status = 500, .request_sent = true};
    struct flight *flight = claiming(&world);
    assert_int_equal(flight_on_claim(flight, FLIGHT_KEY_FREE), FLIGHT_CALL);
    flight->fallback_open = true;
    assert_int_equal(flight_on_call_end(flight, &outcome, &world.budget, 0, 0, 0),
                     FLIGHT_PAUSE);
    assert_true(flight->elsewhere);
    assert_int_equal(flight->pause_ms, 0);
    assert_int_equal(flight_on_pause_end(flight), FLIGHT_ADMIT);
    assert_int_equal(flight_on_admitted(flight), FLIGHT_COUNT);
}

TEST(flight, a_keyless_flight_that_waits_to_call_again_can_be_registered)
{
    struct world world = keyed_world();
    const struct attempt_outcome cut = {.end = ATTEMPT_TRUNCATED, .request_sent = true};
    struct flight *flight = &world.flight;
    world.params.keyed = false;
    flight_init(flight, &world.params);
    assert_int_equal(flight_start(flight), FLIGHT_ADMIT);
    assert_false(flight_can_register(flight));
    assert_int_equal(flight_on_admitted(flight), FLIGHT_CALL);
    assert_int_equal(flight_on_call_end(flight, &cut, &world.budget, 0, 0, 0), FLIGHT_PAUSE);
    assert_int_equal(flight_on_pause_end(flight), FLIGHT_ADMIT);
    assert_int_equal(flight_register(flight), 2); /* the next one is counted with it */
    assert_int_equal(flight_on_registered(flight, OK), FLIGHT_WAIT);
    assert_int_equal(flight_on_admitted(flight), FLIGHT_CALL);
}

TEST(flight, stopping_aborts_a_call_and_releases_the_key_without_giving_back)
{
    struct world world = keyed_world();
    struct flight *flight = claiming(&world);
    assert_int_equal(flight_on_claim(flight, FLIGHT_KEY_FREE), FLIGHT_CALL);
    assert_int_equal(flight_stop(flight, HTTP_ERROR_DRAINING, NULL), FLIGHT_ABORT);
    assert_int_equal(flight_stop(flight, HTTP_ERROR_DRAINING, NULL), FLIGHT_WAIT);
    assert_int_equal(flight_on_stopped(flight), FLIGHT_RELEASE);
    assert_false(flight->call_in_hand);
    assert_int_equal(flight_on_commit(flight, OK), FLIGHT_ANSWER);
    assert_int_equal(flight->verdict.status, 503);
}

TEST(flight, stopping_during_the_claim_gives_the_counted_call_back)
{
    struct world world = keyed_world();
    struct flight *flight = claiming(&world);
    assert_int_equal(flight_stop(flight, HTTP_ERROR_DRAINING, NULL), FLIGHT_WAIT);
    assert_int_equal(flight_on_claim(flight, FLIGHT_KEY_FREE), FLIGHT_RELEASE);
    assert_true(flight->call_in_hand);
    assert_int_equal(flight_on_commit(flight, OK), FLIGHT_ANSWER);
}
