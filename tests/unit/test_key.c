#include "test.h"

#include "core/key.h"

enum { TTL_MS = 1000, ERROR_TTL_MS = 100, CALLS_MAX = 2 };

static struct flight_id flight_of(int byte)
{
    struct flight_id flight;
    memset(&flight, byte, sizeof flight);
    return flight;
}

static struct key_event event_of(enum key_event_kind kind, int flight, int64_t now_ms)
{
    struct key_event event = {
        .kind = kind,
        .now_ms = now_ms,
        .flight = flight_of(flight),
        .paid_calls_max = CALLS_MAX,
        .expires_ms = now_ms + (kind == KEY_FAIL ? ERROR_TTL_MS : TTL_MS),
        .released_ttl_ms = TTL_MS,
    };
    memset(&event.fingerprint, 'p', sizeof event.fingerprint);
    return event;
}

/* Applies an event that has to keep all invariants. */
static enum key_result step(struct key *key, const struct key_event *event)
{
    struct key before = *key;
    enum key_result result = key_apply(key, event);
    enum key_invariant broken = key_check(&before, event, result, key);
    if (broken != KEY_FINE)
        fail_msg("%s: %s", key_event_name(event->kind), key_invariant_text(broken));
    return result;
}

static enum key_result apply(struct key *key, enum key_event_kind kind, int flight,
                             int64_t now_ms)
{
    struct key_event event = event_of(kind, flight, now_ms);
    return step(key, &event);
}

TEST(key, a_claim_counts_its_first_call)
{
    struct key key = {0};
    assert_int_equal(apply(&key, KEY_CLAIM, 1, 10), KEY_APPLIED);
    assert_int_equal(key.state, KEY_RUNNING);
    assert_int_equal(key.paid_calls, 1);
    assert_int_equal(key.created_ms, 10);
    assert_int_equal(apply(&key, KEY_CLAIM, 2, 11), KEY_EXISTS);
}

TEST(key, calls_are_counted_up_to_the_maximum)
{
    struct key key = {0};
    assert_int_equal(apply(&key, KEY_CLAIM, 1, 10), KEY_APPLIED);
    assert_int_equal(apply(&key, KEY_COUNT, 1, 10), KEY_APPLIED);
    assert_int_equal(apply(&key, KEY_COUNT, 1, 10), KEY_EXHAUSTED);
    assert_int_equal(key.paid_calls, 2);
    assert_int_equal(apply(&key, KEY_RELEASE, 1, 10), KEY_APPLIED);
    assert_int_equal(apply(&key, KEY_CLAIM, 2, 11), KEY_EXHAUSTED);
    assert_int_equal(key_state_at(&key, 1009), KEY_RELEASED);
    assert_int_equal(key_state_at(&key, 1010), KEY_ABSENT);
    assert_int_equal(apply(&key, KEY_CLAIM, 2, 1010), KEY_APPLIED);
    assert_int_equal(key.paid_calls, 1);
}

TEST(key, a_call_that_was_not_billed_is_given_back)
{
    struct key key = {0};
    struct key_event release = event_of(KEY_RELEASE, 1, 20);
    release.give_back = true;
    assert_int_equal(apply(&key, KEY_CLAIM, 1, 10), KEY_APPLIED);
    assert_int_equal(step(&key, &release), KEY_APPLIED);
    assert_int_equal(key.paid_calls, 0);
    assert_int_equal(key.ended_ms, 20);
}

TEST(key, an_answer_lasts_until_its_end_and_a_row_until_it_is_deleted)
{
    struct key key = {0};
    assert_int_equal(apply(&key, KEY_CLAIM, 1, 10), KEY_APPLIED);
    assert_int_equal(apply(&key, KEY_COMPLETE, 1, 20), KEY_APPLIED);
    assert_int_equal(key_state_at(&key, 1019), KEY_DONE);
    assert_int_equal(apply(&key, KEY_CLAIM, 2, 1019), KEY_EXISTS);
    assert_int_equal(apply(&key, KEY_EXPIRE, 0, 1019), KEY_APPLIED);
    assert_int_equal(key_state_at(&key, 1020), KEY_ABSENT);
    assert_int_equal(key_state_at(&key, 1019), KEY_DONE); /* the clock jumped back */
    assert_int_equal(apply(&key, KEY_EXPIRE, 0, 1020), KEY_APPLIED);
    assert_int_equal(key_state_at(&key, 1019), KEY_ABSENT);
}

TEST(key, a_failure_counts_as_released_after_its_time)
{
    struct key key = {0};
    assert_int_equal(apply(&key, KEY_CLAIM, 1, 10), KEY_APPLIED);
    assert_int_equal(apply(&key, KEY_FAIL, 1, 20), KEY_APPLIED);
    assert_int_equal(apply(&key, KEY_CLAIM, 2, 119), KEY_EXISTS);
    assert_int_equal(key_state_at(&key, 119), KEY_FAILED);
    assert_int_equal(key_state_at(&key, 120), KEY_RELEASED);
    assert_int_equal(key_state_at(&key, 1019), KEY_RELEASED);
    assert_int_equal(key_state_at(&key, 1020), KEY_ABSENT);
    assert_int_equal(apply(&key, KEY_CLAIM, 2, 120), KEY_APPLIED);
    assert_int_equal(key.paid_calls, 2);
}

TEST(key, only_its_flight_changes_a_running_key)
{
    struct key key = {0};
    assert_int_equal(apply(&key, KEY_CLAIM, 1, 10), KEY_APPLIED);
    for (enum key_event_kind kind = KEY_COUNT; kind <= KEY_RELEASE; kind++)
        assert_int_equal(apply(&key, kind, 2, 10), KEY_CONFLICT);
    assert_int_equal(apply(&key, KEY_COMPLETE, 1, 10), KEY_APPLIED);
    for (enum key_event_kind kind = KEY_COUNT; kind <= KEY_RELEASE; kind++)
        assert_int_equal(apply(&key, kind, 1, 10), KEY_CONFLICT);
}

TEST(key, another_fingerprint_gets_nothing_while_the_key_lives)
{
    struct key key = {0};
    struct key_event other = event_of(KEY_CLAIM, 2, 10);
    memset(&other.fingerprint, 'q', sizeof other.fingerprint);
    assert_int_equal(apply(&key, KEY_CLAIM, 1, 10), KEY_APPLIED);
    assert_int_equal(step(&key, &other), KEY_OTHER);
    assert_int_equal(apply(&key, KEY_RELEASE, 1, 10), KEY_APPLIED);
    assert_int_equal(step(&key, &other), KEY_OTHER);
    other.now_ms = 1010;
    assert_int_equal(step(&key, &other), KEY_APPLIED);
}

TEST(key, a_crash_releases_what_runs_and_nothing_else)
{
    struct key running = {0}, done = {0}, absent = {0};
    assert_int_equal(apply(&running, KEY_CLAIM, 1, 10), KEY_APPLIED);
    assert_int_equal(apply(&running, KEY_EXPIRE, 0, 1000000), KEY_APPLIED);
    assert_int_equal(running.state, KEY_RUNNING);
    assert_int_equal(apply(&running, KEY_CRASH, 0, 20), KEY_APPLIED);
    assert_int_equal(running.state, KEY_RELEASED);
    assert_int_equal(running.paid_calls, 1);
    assert_int_equal(apply(&done, KEY_CLAIM, 2, 10), KEY_APPLIED);
    assert_int_equal(apply(&done, KEY_COMPLETE, 2, 10), KEY_APPLIED);
    assert_int_equal(apply(&done, KEY_CRASH, 0, 20), KEY_APPLIED);
    assert_int_equal(done.state, KEY_DONE);
    assert_int_equal(apply(&absent, KEY_CRASH, 0, 20), KEY_APPLIED);
    assert_int_equal(absent.state, KEY_ABSENT);
}

TEST(key, an_accepted_request_runs_on_after_a_crash)
{
    struct key running = {0}, done = {0};
    struct key_event crash = event_of(KEY_CRASH, 0, 20);
    crash.accepted = true;
    assert_int_equal(apply(&running, KEY_CLAIM, 1, 10), KEY_APPLIED);
    assert_int_equal(step(&running, &crash), KEY_APPLIED);
    assert_int_equal(running.state, KEY_RUNNING);
    assert_int_equal(apply(&running, KEY_COUNT, 1, 30), KEY_APPLIED);
    assert_int_equal(running.paid_calls, 2);
    assert_int_equal(apply(&done, KEY_CLAIM, 2, 10), KEY_APPLIED);
    assert_int_equal(apply(&done, KEY_COMPLETE, 2, 10), KEY_APPLIED);
    assert_int_equal(step(&done, &crash), KEY_APPLIED);
    assert_int_equal(done.state, KEY_DONE);
}

/* ---- the check finds what it is there for */

static struct key running_key(void)
{
    struct key key = {0};
    (void)apply(&key, KEY_CLAIM, 1, 10);
    return key;
}

static struct key done_key(void)
{
    struct key key = running_key();
    (void)apply(&key, KEY_COMPLETE, 1, 10);
    return key;
}

TEST(key, two_flights_at_a_time_are_found)
{
    struct key before = running_key(), after = before;
    struct key_event claim = event_of(KEY_CLAIM, 2, 20);
    after.flight = flight_of(2);
    after.paid_calls++;
    assert_int_equal(key_check(&before, &claim, KEY_APPLIED, &after), KEY_I1);
}

TEST(key, a_call_that_is_not_counted_or_over_the_maximum_is_found)
{
    struct key before = running_key(), after = before;
    struct key_event count = event_of(KEY_COUNT, 1, 20);
    assert_int_equal(key_check(&before, &count, KEY_APPLIED, &after), KEY_I2);
    before.paid_calls = CALLS_MAX;
    after.paid_calls = CALLS_MAX + 1;
    assert_int_equal(key_check(&before, &count, KEY_APPLIED, &after), KEY_I2);
    after.paid_calls = CALLS_MAX - 1;
    assert_int_equal(key_check(&before, &count, KEY_EXHAUSTED, &after), KEY_I2);
}

TEST(key, a_second_answer_is_found)
{
    struct key before = done_key(), after = before;
    struct key_event claim = event_of(KEY_CLAIM, 2, 20);
    after.ended_ms++;
    assert_int_equal(key_check(&before, &claim, KEY_APPLIED, &after), KEY_I3);
}

TEST(key, an_acknowledged_claim_that_a_crash_lost_is_found)
{
    struct key before = running_key(), lost = {0}, uncounted = before;
    struct key_event crash = event_of(KEY_CRASH, 0, 20);
    (void)apply(&uncounted, KEY_CRASH, 0, 20);
    uncounted.paid_calls = 0;
    assert_int_equal(key_check(&before, &crash, KEY_APPLIED, &lost), KEY_I4);
    assert_int_equal(key_check(&before, &crash, KEY_APPLIED, &uncounted), KEY_I4);
}

TEST(key, an_accepted_request_that_a_crash_released_is_found)
{
    struct key before = running_key(), released = before;
    struct key_event crash = event_of(KEY_CRASH, 0, 20);
    (void)apply(&released, KEY_CRASH, 0, 20);
    crash.accepted = true;
    assert_int_equal(key_check(&before, &crash, KEY_APPLIED, &released), KEY_I4);
}

TEST(key, another_fingerprint_that_took_the_key_is_found)
{
    struct key before = running_key(), after;
    struct key_event claim = event_of(KEY_CLAIM, 2, 20);
    (void)apply(&before, KEY_RELEASE, 1, 10);
    memset(&claim.fingerprint, 'q', sizeof claim.fingerprint);
    after = before;
    after.fingerprint = claim.fingerprint;
    assert_int_equal(key_check(&before, &claim, KEY_APPLIED, &after), KEY_I5);
}

TEST(key, a_stranger_that_ended_the_flight_is_found)
{
    struct key before = running_key(), after = done_key();
    struct key_event complete = event_of(KEY_COMPLETE, 2, 10);
    assert_int_equal(key_check(&before, &complete, KEY_APPLIED, &after), KEY_I6);
}

TEST(key, a_running_key_that_expired_or_outlived_its_process_is_found)
{
    struct key before = running_key(), absent = {0};
    struct key_event expire = event_of(KEY_EXPIRE, 0, 20), crash = event_of(KEY_CRASH, 0, 20);
    assert_int_equal(key_check(&before, &expire, KEY_APPLIED, &absent), KEY_I8);
    assert_int_equal(key_check(&before, &crash, KEY_APPLIED, &before), KEY_I8);
}

TEST(key, a_refusal_that_changed_something_and_fields_that_do_not_fit_are_found)
{
    struct key before = running_key(), after = before;
    struct key_event claim = event_of(KEY_CLAIM, 2, 20);
    after.created_ms++;
    assert_int_equal(key_check(&before, &claim, KEY_EXISTS, &after), KEY_SOUND);
    after = before;
    after.forget_ms = 5;
    assert_int_equal(key_check(&before, &claim, KEY_EXISTS, &after), KEY_SOUND);
}
