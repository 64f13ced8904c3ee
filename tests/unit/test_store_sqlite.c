#include "store_world.h"

TEST(store_sqlite, an_unknown_key_is_absent)
{
    WORLD(w);
    REPLY found = lookup(&w, 'a', NOW_MS);
    assert_int_equal(found.rc, OK);
    assert_int_equal(found.record.state, KEY_ABSENT);
}

TEST(store_sqlite, a_claim_makes_the_key_running_with_one_paid_call)
{
    WORLD(w);
    REPLY claimed = claim(&w, 'a', 1, NOW_MS);
    assert_int_equal(claimed.rc, OK);
    assert_int_equal(claimed.result, CLAIM_OK);
    assert_int_equal(claimed.record.state, KEY_RUNNING);
    assert_int_equal(claimed.record.paid_calls, 1);
    assert_int_equal(claimed.record.created_ms, NOW_MS);

    REPLY found = lookup(&w, 'a', NOW_MS + 1);
    struct digest fingerprint = digest_of('p');
    struct flight_id flight = flight_of(1);
    assert_int_equal(found.rc, OK);
    assert_int_equal(found.record.state, KEY_RUNNING);
    assert_memory_equal(&found.record.fingerprint, &fingerprint, sizeof fingerprint);
    assert_memory_equal(&found.record.flight, &flight, sizeof flight);
    assert_int_equal(found.record.paid_calls, 1);
    assert_int_equal(found.record.created_ms, NOW_MS);
    assert_null(found.body);
}

TEST(store_sqlite, a_running_key_is_not_claimed_twice)
{
    WORLD(w);
    REPLY first = claim(&w, 'a', 1, NOW_MS);
    REPLY second = claim(&w, 'a', 2, NOW_MS + 5);
    struct flight_id flight = flight_of(1);
    assert_int_equal(first.result, CLAIM_OK);
    assert_int_equal(second.rc, OK);
    assert_int_equal(second.result, CLAIM_EXISTS);
    assert_int_equal(second.record.state, KEY_RUNNING);
    assert_memory_equal(&second.record.flight, &flight, sizeof flight);
    assert_int_equal(second.record.paid_calls, 1);
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM flights"), 1);
}

TEST(store_sqlite, of_two_claims_queued_together_one_wins)
{
    WORLD(w);
    REPLY first = {0};
    REPLY second = {0};
    struct store_claim one = claim_of('a', 1, NOW_MS), two = claim_of('a', 2, NOW_MS);
    assert_int_equal(store_claim(w.store, &one, on_claim, &first), OK);
    assert_int_equal(store_claim(w.store, &two, on_claim, &second), OK);
    world_wait(&w, &first, 1);
    world_wait(&w, &second, 1);
    assert_int_equal(first.result, CLAIM_OK);
    assert_int_equal(second.result, CLAIM_EXISTS);
}

TEST(store_sqlite, a_running_key_never_ends_by_time)
{
    WORLD(w);
    int64_t years_later_ms = NOW_MS + INT64_C(1000) * TTL_MS;
    REPLY first = claim(&w, 'a', 1, NOW_MS);
    REPLY found = lookup(&w, 'a', years_later_ms);
    REPLY second = claim(&w, 'a', 2, years_later_ms);
    assert_int_equal(first.result, CLAIM_OK);
    assert_int_equal(found.record.state, KEY_RUNNING);
    assert_int_equal(second.result, CLAIM_EXISTS);
}

TEST(store_sqlite, an_answer_is_found_as_it_was_completed)
{
    WORLD(w);
    REPLY claimed = claim(&w, 'a', 1, NOW_MS);
    assert_int_equal(claimed.result, CLAIM_OK);
    assert_int_equal(complete(&w, 'a', 1, SPAN("{\"id\":1}"), NOW_MS + 70), OK);

    REPLY found = lookup(&w, 'a', NOW_MS + 80);
    assert_int_equal(found.rc, OK);
    assert_int_equal(found.record.state, KEY_DONE);
    assert_int_equal(found.record.answer.status, 200);
    assert_span_equal(blob_span(found.body), "{\"id\":1}");
    assert_string_equal(found.content_type, "application/json");
    assert_string_equal(found.request_id, "req_1");
    assert_null(found.record.answer.error_code.p);
    assert_int_equal(found.record.created_ms, NOW_MS);
    assert_int_equal(found.record.ended_ms, NOW_MS + 70);
    assert_false(found.record.corrupt);
}

TEST(store_sqlite, a_claim_of_a_done_key_gets_the_answer)
{
    WORLD(w);
    REPLY claimed = claim(&w, 'a', 1, NOW_MS);
    assert_int_equal(complete(&w, 'a', 1, SPAN("{}"), NOW_MS), OK);
    REPLY again = claim(&w, 'a', 2, NOW_MS + 1);
    assert_int_equal(claimed.result, CLAIM_OK);
    assert_int_equal(again.rc, OK);
    assert_int_equal(again.result, CLAIM_EXISTS);
    assert_int_equal(again.record.state, KEY_DONE);
    assert_span_equal(blob_span(again.body), "{}");
}

TEST(store_sqlite, bodies_may_be_empty_binary_and_large)
{
    WORLD(w);
    enum { LARGE = 8 << 20 };
    char *large = malloc(LARGE);
    assert_non_null(large);
    for (size_t i = 0; i < LARGE; i++)
        large[i] = (char)(i * 31 + i / 251);
    struct span bodies[] = {SPAN(""), SPAN("\0a\0\xff\0"), {large, LARGE}};
    for (int i = 0; i < 3; i++) {
        REPLY claimed = claim(&w, 'a' + i, i, NOW_MS);
        assert_int_equal(claimed.result, CLAIM_OK);
        assert_int_equal(complete(&w, 'a' + i, i, bodies[i], NOW_MS), OK);
        REPLY found = lookup(&w, 'a' + i, NOW_MS);
        assert_int_equal(found.record.state, KEY_DONE);
        assert_non_null(found.body);
        assert_true(span_eq(blob_span(found.body), bodies[i]));
    }
    free(large);
}

TEST(store_sqlite, an_answer_without_a_body_has_none)
{
    WORLD(w);
    REPLY claimed = claim(&w, 'a', 1, NOW_MS);
    struct store_completion completion = completion_of('a', 1, SPAN(""), NOW_MS);
    blob_free(take(completion.answer.body));
    assert_int_equal(claimed.result, CLAIM_OK);
    assert_int_equal(complete_with(&w, &completion), OK);
    REPLY found = lookup(&w, 'a', NOW_MS);
    assert_int_equal(found.record.state, KEY_DONE);
    assert_null(found.body);
    assert_false(found.record.corrupt);
}

TEST(store_sqlite, a_damaged_body_is_not_handed_out)
{
    WORLD(w);
    REPLY claimed = claim(&w, 'a', 1, NOW_MS);
    assert_int_equal(claimed.result, CLAIM_OK);
    assert_int_equal(complete(&w, 'a', 1, SPAN("{\"sum\":1}"), NOW_MS), OK);
    (void)ask_file(&w, "UPDATE bodies SET bytes = CAST('{\"sum\":2}' AS BLOB)");
    REPLY found = lookup(&w, 'a', NOW_MS);
    assert_int_equal(found.rc, OK);
    assert_int_equal(found.record.state, KEY_DONE);
    assert_true(found.record.corrupt);
    assert_null(found.body);
}

TEST(store_sqlite, a_missing_body_or_flight_is_damage_too)
{
    WORLD(w);
    REPLY claimed = claim(&w, 'a', 1, NOW_MS);
    assert_int_equal(claimed.result, CLAIM_OK);
    assert_int_equal(complete(&w, 'a', 1, SPAN("{}"), NOW_MS), OK);
    (void)ask_file(&w, "DELETE FROM bodies");
    REPLY without_body = lookup(&w, 'a', NOW_MS);
    assert_int_equal(without_body.record.state, KEY_DONE);
    assert_true(without_body.record.corrupt);
    (void)ask_file(&w, "DELETE FROM flights");
    REPLY without_flight = lookup(&w, 'a', NOW_MS);
    assert_int_equal(without_flight.record.state, KEY_DONE);
    assert_true(without_flight.record.corrupt);
}

TEST(store_sqlite, each_call_is_counted_up_to_the_maximum)
{
    WORLD(w);
    REPLY claimed = claim(&w, 'a', 1, NOW_MS);
    assert_int_equal(claimed.result, CLAIM_OK);
    for (unsigned paid_calls = 2; paid_calls <= PAID_CALLS_MAX; paid_calls++) {
        REPLY counted = count_call(&w, 'a', 1);
        assert_int_equal(counted.rc, OK);
        assert_int_equal(counted.paid_calls, paid_calls);
    }
    REPLY over = count_call(&w, 'a', 1);
    assert_int_equal(over.rc, E_LIMIT);
    assert_int_equal(over.paid_calls, PAID_CALLS_MAX);
    REPLY found = lookup(&w, 'a', NOW_MS);
    assert_int_equal(found.record.paid_calls, PAID_CALLS_MAX);
}

TEST(store_sqlite, only_the_owner_counts_completes_or_releases)
{
    WORLD(w);
    REPLY claimed = claim(&w, 'a', 1, NOW_MS);
    REPLY counted = count_call(&w, 'a', 2);
    assert_int_equal(claimed.result, CLAIM_OK);
    assert_int_equal(counted.rc, E_CONFLICT);
    assert_int_equal(complete(&w, 'a', 2, SPAN("{}"), NOW_MS), E_CONFLICT);
    assert_int_equal(release(&w, 'a', 2, true, NOW_MS), E_CONFLICT);
    REPLY found = lookup(&w, 'a', NOW_MS);
    assert_int_equal(found.record.state, KEY_RUNNING);
    assert_int_equal(found.record.paid_calls, 1);
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM bodies"), 0);
}

TEST(store_sqlite, a_key_has_one_answer_in_its_life)
{
    WORLD(w);
    REPLY claimed = claim(&w, 'a', 1, NOW_MS);
    assert_int_equal(claimed.result, CLAIM_OK);
    assert_int_equal(complete(&w, 'a', 1, SPAN("first"), NOW_MS), OK);
    assert_int_equal(complete(&w, 'a', 1, SPAN("second"), NOW_MS), E_CONFLICT);
    assert_int_equal(release(&w, 'a', 1, true, NOW_MS), E_CONFLICT);
    REPLY counted = count_call(&w, 'a', 1);
    assert_int_equal(counted.rc, E_CONFLICT);
    REPLY found = lookup(&w, 'a', NOW_MS);
    assert_int_equal(found.record.state, KEY_DONE);
    assert_span_equal(blob_span(found.body), "first");
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM bodies"), 1);
}

TEST(store_sqlite, a_late_success_of_a_released_flight_is_dropped)
{
    WORLD(w);
    REPLY first = claim(&w, 'a', 1, NOW_MS);
    assert_int_equal(first.result, CLAIM_OK);
    assert_int_equal(release(&w, 'a', 1, false, NOW_MS), OK);
    assert_int_equal(complete(&w, 'a', 1, SPAN("late"), NOW_MS), E_CONFLICT);
    REPLY second = claim(&w, 'a', 2, NOW_MS);
    assert_int_equal(second.result, CLAIM_OK);
    assert_int_equal(complete(&w, 'a', 1, SPAN("late"), NOW_MS), E_CONFLICT);
    REPLY found = lookup(&w, 'a', NOW_MS);
    assert_int_equal(found.record.state, KEY_RUNNING);
}

TEST(store_sqlite, a_released_key_remembers_its_paid_calls)
{
    WORLD(w);
    REPLY first = claim(&w, 'a', 1, NOW_MS);
    assert_int_equal(first.result, CLAIM_OK);
    assert_int_equal(release(&w, 'a', 1, false, NOW_MS + 10), OK);
    REPLY found = lookup(&w, 'a', NOW_MS + 20);
    assert_int_equal(found.record.state, KEY_RELEASED);
    assert_int_equal(found.record.paid_calls, 1);
    assert_int_equal(found.record.ended_ms, NOW_MS + 10);
    assert_int_equal(found.record.answer.status, 429);
    assert_string_equal(found.error_code, "rate_limited");
    assert_null(found.body);

    REPLY second = claim(&w, 'a', 2, NOW_MS + 30);
    assert_int_equal(second.result, CLAIM_OK);
    assert_int_equal(second.record.paid_calls, 2);
    assert_int_equal(second.record.created_ms, NOW_MS);
}

TEST(store_sqlite, paid_calls_are_remembered_as_long_as_was_said_last)
{
    WORLD(w);
    REPLY a = claim(&w, 'a', 1, NOW_MS), b = claim(&w, 'b', 2, NOW_MS);
    assert_int_equal(a.result, CLAIM_OK);
    assert_int_equal(b.result, CLAIM_OK);
    assert_int_equal(release(&w, 'a', 1, false, NOW_MS), OK);
    store_sqlite_set_released_ttl(w.store, TTL_MS + 10);
    assert_int_equal(release(&w, 'b', 2, false, NOW_MS), OK);
    REPLY before = lookup(&w, 'a', NOW_MS + TTL_MS);
    REPLY last = lookup(&w, 'b', NOW_MS + TTL_MS + 9);
    REPLY gone = lookup(&w, 'b', NOW_MS + TTL_MS + 10);
    assert_int_equal(before.record.state, KEY_ABSENT);
    assert_int_equal(last.record.state, KEY_RELEASED);
    assert_int_equal(gone.record.state, KEY_ABSENT);
}

TEST(store_sqlite, a_call_that_cost_nothing_is_given_back)
{
    WORLD(w);
    for (int flight = 1; flight <= 2 * PAID_CALLS_MAX; flight++) {
        REPLY claimed = claim(&w, 'a', flight, NOW_MS);
        assert_int_equal(claimed.result, CLAIM_OK);
        assert_int_equal(claimed.record.paid_calls, 1);
        assert_int_equal(release(&w, 'a', flight, true, NOW_MS), OK);
    }
    REPLY found = lookup(&w, 'a', NOW_MS);
    assert_int_equal(found.record.state, KEY_RELEASED);
    assert_int_equal(found.record.paid_calls, 0);
}

TEST(store_sqlite, a_key_is_exhausted_at_the_maximum_and_not_before)
{
    WORLD(w);
    for (int flight = 1; flight <= PAID_CALLS_MAX; flight++) {
        REPLY claimed = claim(&w, 'a', flight, NOW_MS);
        assert_int_equal(claimed.result, CLAIM_OK);
        assert_int_equal(claimed.record.paid_calls, flight);
        assert_int_equal(release(&w, 'a', flight, false, NOW_MS), OK);
    }
    REPLY over = claim(&w, 'a', 9, NOW_MS);
    assert_int_equal(over.rc, OK);
    assert_int_equal(over.result, CLAIM_EXHAUSTED);
    assert_int_equal(over.record.state, KEY_RELEASED);
    assert_int_equal(over.record.paid_calls, PAID_CALLS_MAX);
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM flights"), PAID_CALLS_MAX);
}

TEST(store_sqlite, another_fingerprint_never_takes_a_live_key)
{
    WORLD(w);
    struct store_claim other = claim_of('a', 2, NOW_MS);
    struct digest fingerprint = digest_of('p');
    other.fingerprint = digest_of('q');
    REPLY claimed = claim(&w, 'a', 1, NOW_MS);
    REPLY running = claim_with(&w, &other);
    assert_int_equal(claimed.result, CLAIM_OK);
    assert_int_equal(running.result, CLAIM_EXISTS);
    assert_int_equal(running.record.state, KEY_RUNNING);

    assert_int_equal(release(&w, 'a', 1, true, NOW_MS), OK);
    REPLY released = claim_with(&w, &other);
    assert_int_equal(released.result, CLAIM_EXISTS);
    assert_int_equal(released.record.state, KEY_RELEASED);
    assert_memory_equal(&released.record.fingerprint, &fingerprint, sizeof fingerprint);

    REPLY again = claim(&w, 'a', 3, NOW_MS);
    assert_int_equal(again.result, CLAIM_OK);
    assert_int_equal(complete(&w, 'a', 3, SPAN("{}"), NOW_MS), OK);
    REPLY done = claim_with(&w, &other);
    assert_int_equal(done.result, CLAIM_EXISTS);
    assert_int_equal(done.record.state, KEY_DONE);
    assert_memory_equal(&done.record.fingerprint, &fingerprint, sizeof fingerprint);
}

TEST(store_sqlite, what_the_first_request_was_made_of_is_told_to_the_next)
{
    WORLD(w);
    struct store_claim first = claim_of('a', 1, NOW_MS), other = claim_of('a', 2, NOW_MS + 5);
    first.members = SPAN("hashes of the first");
    other.members = SPAN("of the other");
    other.fingerprint = digest_of('q');
    REPLY claimed = claim_with(&w, &first);
    assert_string_equal(claimed.members, "hashes of the first");
    REPLY found = lookup(&w, 'a', NOW_MS);
    REPLY refused = claim_with(&w, &other);
    assert_string_equal(found.members, "hashes of the first");
    assert_int_equal(refused.result, CLAIM_EXISTS);
    assert_string_equal(refused.members, "hashes of the first");
    assert_int_equal(refused.record.created_ms, NOW_MS);

    assert_int_equal(complete(&w, 'a', 1, SPAN("{}"), NOW_MS), OK);
    other.now_ms = NOW_MS + TTL_MS;
    REPLY reborn = claim_with(&w, &other);
    REPLY now = lookup(&w, 'a', NOW_MS + TTL_MS);
    assert_int_equal(reborn.result, CLAIM_OK);
    assert_string_equal(now.members, "of the other");
}

TEST(store_sqlite, a_claim_without_members_has_none)
{
    WORLD(w);
    REPLY claimed = claim(&w, 'a', 1, NOW_MS);
    REPLY found = lookup(&w, 'a', NOW_MS);
    assert_int_equal(claimed.result, CLAIM_OK);
    assert_null(found.record.members.p);
}

TEST(store_sqlite, an_answer_ends_exactly_at_its_ttl)
{
    WORLD(w);
    REPLY claimed = claim(&w, 'a', 1, NOW_MS);
    assert_int_equal(claimed.result, CLAIM_OK);
    assert_int_equal(complete(&w, 'a', 1, SPAN("{}"), NOW_MS), OK);
    REPLY before = lookup(&w, 'a', NOW_MS + TTL_MS - 1);
    REPLY refused = claim(&w, 'a', 2, NOW_MS + TTL_MS - 1);
    REPLY at = lookup(&w, 'a', NOW_MS + TTL_MS);
    assert_int_equal(before.record.state, KEY_DONE);
    assert_int_equal(refused.result, CLAIM_EXISTS);
    assert_int_equal(at.record.state, KEY_ABSENT);
}

TEST(store_sqlite, a_claim_after_the_end_starts_a_new_life)
{
    WORLD(w);
    REPLY claimed = claim(&w, 'a', 1, NOW_MS);
    REPLY counted = count_call(&w, 'a', 1);
    assert_int_equal(claimed.result, CLAIM_OK);
    assert_int_equal(counted.paid_calls, 2);
    assert_int_equal(complete(&w, 'a', 1, SPAN("old"), NOW_MS), OK);

    struct store_claim other = claim_of('a', 2, NOW_MS + TTL_MS);
    other.fingerprint = digest_of('q');
    REPLY again = claim_with(&w, &other);
    assert_int_equal(again.result, CLAIM_OK);
    assert_int_equal(again.record.paid_calls, 1);
    assert_int_equal(again.record.created_ms, NOW_MS + TTL_MS);
    /* The old answer is still its flight's, until that ends too. */
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM bodies"), 1);
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM flights"), 2);
}

TEST(store_sqlite, a_failure_is_kept_until_its_ttl_and_then_counts_as_released)
{
    WORLD(w);
    REPLY claimed = claim(&w, 'a', 1, NOW_MS);
    REPLY counted = count_call(&w, 'a', 1);
    assert_int_equal(claimed.result, CLAIM_OK);
    assert_int_equal(counted.paid_calls, 2);
    assert_int_equal(fail_key(&w, 'a', 1, NOW_MS), OK);

    REPLY before = lookup(&w, 'a', NOW_MS + ERROR_TTL_MS - 1);
    assert_int_equal(before.record.state, KEY_FAILED);
    assert_int_equal(before.record.answer.status, 502);
    assert_string_equal(before.error_code, "answer_too_large");
    assert_span_equal(blob_span(before.body), "{\"error\":{}}");
    REPLY refused = claim(&w, 'a', 2, NOW_MS + ERROR_TTL_MS - 1);
    assert_int_equal(refused.result, CLAIM_EXISTS);
    assert_int_equal(refused.record.state, KEY_FAILED);

    REPLY at = lookup(&w, 'a', NOW_MS + ERROR_TTL_MS);
    assert_int_equal(at.record.state, KEY_RELEASED);
    assert_int_equal(at.record.paid_calls, 2);
    assert_null(at.body);
    REPLY again = claim(&w, 'a', 3, NOW_MS + ERROR_TTL_MS);
    assert_int_equal(again.result, CLAIM_OK);
    assert_int_equal(again.record.paid_calls, 3);
}

TEST(store_sqlite, a_released_key_is_forgotten_after_its_own_ttl)
{
    WORLD(w);
    REPLY first = claim(&w, 'a', 1, NOW_MS);
    REPLY second = claim(&w, 'b', 2, NOW_MS);
    assert_int_equal(first.result, CLAIM_OK);
    assert_int_equal(second.result, CLAIM_OK);
    assert_int_equal(release(&w, 'a', 1, false, NOW_MS), OK);
    assert_int_equal(fail_key(&w, 'b', 2, NOW_MS), OK);
    for (int key = 'a'; key <= 'b'; key++) {
        REPLY before = lookup(&w, key, NOW_MS + TTL_MS - 1);
        REPLY at = lookup(&w, key, NOW_MS + TTL_MS);
        assert_int_equal(before.record.state, KEY_RELEASED);
        assert_int_equal(before.record.paid_calls, 1);
        assert_int_equal(at.record.state, KEY_ABSENT);
    }
}

TEST(store_sqlite, a_flight_id_is_used_once_and_harms_no_other_claim)
{
    WORLD(w);
    REPLY first = claim(&w, 'a', 1, NOW_MS);
    REPLY twice = {0};
    REPLY other = {0};
    struct store_claim same = claim_of('b', 1, NOW_MS), good = claim_of('c', 2, NOW_MS);
    assert_int_equal(first.result, CLAIM_OK);
    assert_int_equal(store_claim(w.store, &same, on_claim, &twice), OK);
    assert_int_equal(store_claim(w.store, &good, on_claim, &other), OK);
    world_wait(&w, &twice, 1);
    world_wait(&w, &other, 1);
    assert_int_equal(twice.rc, E_CONFLICT);
    assert_int_equal(other.rc, OK);
    assert_int_equal(other.result, CLAIM_OK);
    REPLY found = lookup(&w, 'b', NOW_MS);
    assert_int_equal(found.record.state, KEY_ABSENT);
}

TEST(store_sqlite, queued_operations_share_their_commits)
{
    enum { CLAIMS = 1000 };
    WORLD(w);
    REPLY claimed = {0};
    for (int i = 0; i < CLAIMS; i++) {
        struct store_claim params = claim_of('a', 1, NOW_MS);
        memcpy(params.key.bytes, &i, sizeof i);
        memcpy(params.flight.bytes, &i, sizeof i);
        assert_int_equal(store_claim(w.store, &params, on_claim, &claimed), OK);
    }
    world_wait(&w, &claimed, CLAIMS);
    struct store_stats stats = store_stats(w.store);
    assert_int_equal(stats.operations, CLAIMS);
    assert_int_equal(stats.failures, 0);
    assert_int_equal(stats.queue_length, 0);
    assert_in_range(stats.commits, 1, CLAIMS / 4);
    assert_true(stats.commit_us_sum >= stats.commit_us_max);
    uint64_t in_buckets = 0;
    for (size_t i = 0; i <= STORE_COMMIT_BOUNDS; i++)
        in_buckets += stats.commit_buckets[i];
    assert_int_equal(in_buckets, stats.commits);
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM keys WHERE state = 'running'"), CLAIMS);
}

TEST(store_sqlite, closing_finishes_what_is_queued)
{
    enum { CLAIMS = 100 };
    WORLD(w);
    REPLY claimed = {0};
    REPLY found = {0};
    for (int i = 0; i < CLAIMS; i++) {
        struct store_claim params = claim_of(i, i, NOW_MS);
        assert_int_equal(store_claim(w.store, &params, on_claim, &claimed), OK);
        assert_int_equal(store_lookup(w.store, &params.key, NOW_MS, on_lookup, &found), OK);
    }
    world_close(&w);
    assert_int_equal(claimed.came, CLAIMS);
    assert_int_equal(claimed.rc, OK);
    assert_int_equal(found.came, CLAIMS);
    assert_int_equal(found.rc, OK);
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM keys"), CLAIMS);
}

TEST(store_sqlite, rows_past_their_end_are_reaped_with_their_bodies)
{
    enum { KEYS = 150 }; /* more than one transaction takes */
    EMPTY_WORLD(w);
    w.params.reap_interval_ms = 1;
    assert_int_equal(world_open(&w), OK);
    for (int i = 0; i < KEYS; i++) {
        REPLY claimed = claim(&w, i, i, NOW_MS);
        assert_int_equal(claimed.result, CLAIM_OK);
        assert_int_equal(complete(&w, i, i, SPAN("{}"), NOW_MS), OK);
    }
    REPLY alive = claim(&w, 250, 250, NOW_MS + TTL_MS);
    assert_int_equal(alive.result, CLAIM_OK);
    await_file(&w, "SELECT count(*) FROM keys", 1);
    await_file(&w, "SELECT count(*) FROM flights", 1);
    await_file(&w, "SELECT count(*) FROM bodies", 0);
    REPLY found = lookup(&w, 250, NOW_MS + TTL_MS);
    assert_int_equal(found.record.state, KEY_RUNNING);
}

TEST(store_sqlite, the_file_shrinks_when_large_answers_are_gone)
{
    enum { BODY = 12 << 20 };
    EMPTY_WORLD(w);
    w.params.reap_interval_ms = 1;
    assert_int_equal(world_open(&w), OK);
    char *body = calloc(1, BODY);
    assert_non_null(body);
    REPLY claimed = claim(&w, 'a', 1, NOW_MS);
    assert_int_equal(claimed.result, CLAIM_OK);
    assert_int_equal(complete(&w, 'a', 1, (struct span){body, BODY}, NOW_MS), OK);
    free(body);
    assert_true(ask_file(&w, "PRAGMA page_count") > BODY / 8192);
    REPLY later = claim(&w, 'b', 2, NOW_MS + TTL_MS);
    assert_int_equal(later.result, CLAIM_OK);
    /* 1,024 free pages are kept. */
    await_file(&w, "SELECT freelist_count <= 1024 FROM pragma_freelist_count", 1);
    await_file(&w, "SELECT page_count <= 1100 FROM pragma_page_count", 1);
}
