/* Results beyond waiters: the rows of flights, and result tokens. */
#include "store_publications.h"

/* ---- claims and counts */

TEST(store_published, a_claim_counts_the_calls_that_were_made_without_it)
{
    WORLD(w);
    struct store_claim params = claim_of('a', 1, NOW_MS);
    params.paid_calls = 3;
    REPLY claimed = claim_with(&w, &params);
    REPLY found = lookup(&w, 'a', NOW_MS);
    assert_int_equal(claimed.result, CLAIM_OK);
    assert_int_equal(claimed.record.paid_calls, 3);
    assert_int_equal(found.record.paid_calls, 3);
}

TEST(store_published, a_claim_that_counts_several_calls_needs_as_many)
{
    WORLD(w);
    REPLY first = claim(&w, 'a', 1, NOW_MS);
    assert_int_equal(first.result, CLAIM_OK);
    assert_int_equal(release(&w, 'a', 1, false, NOW_MS), OK);
    struct store_claim params = claim_of('a', 2, NOW_MS);
    params.paid_calls = PAID_CALLS_MAX;
    REPLY over = claim_with(&w, &params);
    params.paid_calls = PAID_CALLS_MAX - 1;
    REPLY at = claim_with(&w, &params);
    assert_int_equal(over.result, CLAIM_EXHAUSTED);
    assert_int_equal(at.result, CLAIM_OK);
    assert_int_equal(at.record.paid_calls, PAID_CALLS_MAX);
}

/* ---- results */

TEST(store_published, a_flight_is_found_by_its_id_while_it_runs_and_after)
{
    WORLD(w);
    struct digest key = digest_of('a'), scope = digest_of('s');
    struct flight_id flight = flight_of(1);
    REPLY claimed = claim(&w, 'a', 1, NOW_MS);
    assert_int_equal(claimed.result, CLAIM_OK);
    RESULT running = result_of_flight(&w, 1, NOW_MS + 5);
    assert_int_equal(running.rc, OK);
    assert_int_equal(running.record.state, FLIGHT_ROW_RUNNING);
    assert_memory_equal(&running.record.flight, &flight, sizeof flight);
    assert_memory_equal(&running.record.key, &key, sizeof key);
    assert_memory_equal(&running.record.scope, &scope, sizeof scope);
    assert_string_equal(running.route, "/v1/messages");
    assert_int_equal(running.record.started_ms, NOW_MS);
    assert_int_equal(running.record.ended_ms, 0);
    assert_null(running.body);
    assert_false(running.record.corrupt);

    assert_int_equal(complete(&w, 'a', 1, SPAN("{\"id\":1}"), NOW_MS + 70), OK);
    RESULT done = result_of_flight(&w, 1, NOW_MS + 80);
    assert_int_equal(done.rc, OK);
    assert_int_equal(done.record.state, FLIGHT_ROW_DONE);
    assert_int_equal(done.record.ended_ms, NOW_MS + 70);
    assert_int_equal(done.record.answer.status, 200);
    assert_span_equal(blob_span(done.body), "{\"id\":1}");
    assert_string_equal(done.content_type, "application/json");
    assert_string_equal(done.request_id, "req_1");
    assert_null(done.record.answer.error_code.p);
    assert_false(done.record.corrupt);
}

TEST(store_published, an_unknown_flight_or_token_is_absent)
{
    WORLD(w);
    REPLY claimed = claim(&w, 'a', 1, NOW_MS);
    assert_int_equal(claimed.result, CLAIM_OK);
    RESULT flight = result_of_flight(&w, 2, NOW_MS);
    RESULT token = result_of_token(&w, 't', NOW_MS);
    assert_int_equal(flight.rc, OK);
    assert_int_equal(flight.record.state, FLIGHT_ROW_ABSENT);
    assert_int_equal(token.rc, OK);
    assert_int_equal(token.record.state, FLIGHT_ROW_ABSENT);
}

TEST(store_published, failures_and_releases_keep_their_outcome)
{
    WORLD(w);
    REPLY a = claim(&w, 'a', 1, NOW_MS);
    REPLY b = claim(&w, 'b', 2, NOW_MS);
    assert_int_equal(a.result + b.result, 2 * CLAIM_OK);
    assert_int_equal(fail_key(&w, 'a', 1, NOW_MS), OK);
    struct store_release params = {.key = digest_of('b'),
                                   .flight = flight_of(2),
                                   .outcome = {.status = 429,
                                               .body = blob_new(SPAN("slow down")),
                                               .content_type = SPAN("text/plain")},
                                   .now_ms = NOW_MS};
    struct reply released = {0};
    assert_int_equal(store_release(w.store, &params, on_done, &released), OK);
    blob_free(params.outcome.body);
    world_wait(&w, &released, 1);
    assert_int_equal(released.rc, OK);

    RESULT failed = result_of_flight(&w, 1, NOW_MS);
    RESULT refused = result_of_flight(&w, 2, NOW_MS);
    assert_int_equal(failed.record.state, FLIGHT_ROW_FAILED);
    assert_int_equal(failed.record.answer.status, 502);
    assert_string_equal(failed.error_code, "answer_too_large");
    assert_int_equal(refused.record.state, FLIGHT_ROW_RELEASED);
    assert_int_equal(refused.record.answer.status, 429);
    assert_span_equal(blob_span(refused.body), "slow down");
    assert_string_equal(refused.content_type, "text/plain");
}

TEST(store_published, an_outcome_stays_whatever_becomes_of_its_key)
{
    WORLD(w);
    REPLY first = claim(&w, 'a', 1, NOW_MS);
    assert_int_equal(first.result, CLAIM_OK);
    struct store_completion completion = completion_of('a', 1, SPAN("first"), NOW_MS);
    completion.keep_until_ms = NOW_MS + TTL_MS + 10;
    assert_int_equal(complete_with(&w, &completion), OK);
    REPLY second = claim(&w, 'a', 2, NOW_MS + TTL_MS); /* a new life */
    assert_int_equal(second.result, CLAIM_OK);
    assert_int_equal(complete(&w, 'a', 2, SPAN("second"), NOW_MS + TTL_MS), OK);
    RESULT kept = result_of_flight(&w, 1, NOW_MS + TTL_MS + 9);
    RESULT newer = result_of_flight(&w, 2, NOW_MS + TTL_MS + 9);
    RESULT over = result_of_flight(&w, 1, NOW_MS + TTL_MS + 10);
    assert_span_equal(blob_span(kept.body), "first");
    assert_span_equal(blob_span(newer.body), "second");
    assert_int_equal(over.record.state, FLIGHT_ROW_ABSENT);
    assert_null(over.body);
}

TEST(store_published, keeping_a_result_longer_keeps_no_key_and_keeping_it_less_ends_none)
{
    WORLD(w);
    for (int i = 1; i <= 2; i++) {
        int64_t keep_ms = i == 1 ? 2 * TTL_MS : 1;
        REPLY done = claim(&w, 'a' + i, i, NOW_MS);
        REPLY released = claim(&w, 'p' + i, 10 + i, NOW_MS);
        assert_int_equal(done.result + released.result, 2 * CLAIM_OK);
        struct store_completion completion = completion_of('a' + i, i, SPAN("{}"), NOW_MS);
        completion.keep_until_ms = NOW_MS + keep_ms;
        assert_int_equal(complete_with(&w, &completion), OK);
        struct store_release params = {.key = digest_of('p' + i),
                                       .flight = flight_of(10 + i),
                                       .outcome = {.status = 429},
                                       .now_ms = NOW_MS,
                                       .keep_until_ms = NOW_MS + keep_ms};
        struct reply reply = {0};
        assert_int_equal(store_release(w.store, &params, on_done, &reply), OK);
        world_wait(&w, &reply, 1);
        REPLY alive = lookup(&w, 'a' + i, NOW_MS + TTL_MS - 1);
        REPLY remembered = lookup(&w, 'p' + i, NOW_MS + TTL_MS - 1);
        REPLY absent = lookup(&w, 'a' + i, NOW_MS + TTL_MS);
        REPLY forgotten = lookup(&w, 'p' + i, NOW_MS + TTL_MS);
        assert_int_equal(alive.record.state, KEY_DONE);
        assert_int_equal(remembered.record.state, KEY_RELEASED);
        assert_int_equal(absent.record.state, KEY_ABSENT);
        assert_int_equal(forgotten.record.state, KEY_ABSENT);
        int64_t end_ms = NOW_MS + (i == 1 ? 2 * TTL_MS : TTL_MS);
        for (int flight = i; flight <= 10 + i; flight += 10) {
            RESULT before = result_of_flight(&w, flight, end_ms - 1);
            RESULT at = result_of_flight(&w, flight, end_ms);
            assert_int_not_equal(before.record.state, FLIGHT_ROW_ABSENT);
            assert_int_equal(at.record.state, FLIGHT_ROW_ABSENT);
        }
    }
}

TEST(store_published, a_damaged_result_is_not_handed_out)
{
    WORLD(w);
    REPLY claimed = claim(&w, 'a', 1, NOW_MS);
    assert_int_equal(claimed.result, CLAIM_OK);
    assert_int_equal(complete(&w, 'a', 1, SPAN("{\"sum\":1}"), NOW_MS), OK);
    (void)ask_file(&w, "UPDATE bodies SET bytes = CAST('{\"sum\":2}' AS BLOB)");
    RESULT damaged = result_of_flight(&w, 1, NOW_MS);
    assert_int_equal(damaged.rc, OK);
    assert_int_equal(damaged.record.state, FLIGHT_ROW_DONE);
    assert_int_equal(damaged.record.answer.status, 200);
    assert_true(damaged.record.corrupt);
    assert_null(damaged.body);
    (void)ask_file(&w, "DELETE FROM bodies");
    RESULT missing = result_of_flight(&w, 1, NOW_MS);
    assert_true(missing.record.corrupt);
    assert_null(missing.body);
}

TEST(store_published, a_result_without_a_body_is_no_damage)
{
    WORLD(w);
    REPLY claimed = claim(&w, 'a', 1, NOW_MS);
    assert_int_equal(claimed.result, CLAIM_OK);
    assert_int_equal(release(&w, 'a', 1, false, NOW_MS), OK);
    RESULT found = result_of_flight(&w, 1, NOW_MS);
    assert_int_equal(found.record.state, FLIGHT_ROW_RELEASED);
    assert_string_equal(found.error_code, "rate_limited");
    assert_false(found.record.corrupt);
    assert_null(found.body);
}

TEST(store_published, what_was_reported_is_seen_at_once)
{
    enum { TIMES = 200 };
    WORLD(w);
    for (int i = 1; i <= TIMES; i++) {
        REPLY claimed = claim(&w, i, i, NOW_MS);
        assert_int_equal(claimed.result, CLAIM_OK);
        assert_int_equal(publish_token(&w, i, i), OK);
        RESULT running = result_of_token(&w, i, NOW_MS);
        assert_int_equal(running.record.state, FLIGHT_ROW_RUNNING);
        assert_int_equal(complete(&w, i, i, SPAN("{}"), NOW_MS), OK);
        RESULT done = result_of_token(&w, i, NOW_MS);
        assert_int_equal(done.record.state, FLIGHT_ROW_DONE);
    }
}

/* ---- tokens */

TEST(store_published, a_token_opens_its_flight_as_long_as_its_row_lives)
{
    WORLD(w);
    struct flight_id flight = flight_of(1);
    REPLY claimed = claim(&w, 'a', 1, NOW_MS);
    REPLY other = claim(&w, 'b', 2, NOW_MS);
    assert_int_equal(claimed.result + other.result, 2 * CLAIM_OK);
    assert_int_equal(publish_token(&w, 1, 't'), OK);
    assert_int_equal(publish_token(&w, 2, 'u'), OK);
    RESULT running = result_of_token(&w, 't', NOW_MS);
    assert_int_equal(running.record.state, FLIGHT_ROW_RUNNING);
    assert_memory_equal(&running.record.flight, &flight, sizeof flight);
    assert_int_equal(complete(&w, 'a', 1, SPAN("{}"), NOW_MS), OK);
    RESULT before = result_of_token(&w, 't', NOW_MS + TTL_MS - 1);
    RESULT at = result_of_token(&w, 't', NOW_MS + TTL_MS);
    assert_span_equal(blob_span(before.body), "{}");
    assert_int_equal(at.record.state, FLIGHT_ROW_ABSENT);
}

TEST(store_published, a_second_token_does_not_shut_the_first)
{
    WORLD(w);
    REPLY claimed = claim_accepted(&w, 'a', 1, 't', NOW_MS);
    assert_int_equal(claimed.result, CLAIM_OK);
    assert_int_equal(publish_token(&w, 1, 'u'), OK);
    assert_int_equal(publish_token(&w, 1, 'u'), OK); /* once more is the same */
    struct store_publication nothing = {NULL, NULL};
    assert_int_equal(publish_with(&w, 1, &nothing), OK);
    RESULT first = result_of_token(&w, 't', NOW_MS);
    RESULT second = result_of_token(&w, 'u', NOW_MS);
    assert_int_equal(first.record.state, FLIGHT_ROW_RUNNING);
    assert_int_equal(second.record.state, FLIGHT_ROW_RUNNING);
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM tokens"), 2);
}

TEST(store_published, a_token_of_another_flight_is_refused_and_stays_its_own)
{
    WORLD(w);
    struct flight_id flight = flight_of(1);
    REPLY one = claim(&w, 'a', 1, NOW_MS);
    REPLY two = claim(&w, 'b', 2, NOW_MS);
    assert_int_equal(one.result + two.result, 2 * CLAIM_OK);
    assert_int_equal(publish_token(&w, 1, 't'), OK);
    assert_int_equal(publish_token(&w, 2, 't'), E_CONFLICT);
    REPLY claimed = claim_accepted(&w, 'c', 3, 't', NOW_MS);
    assert_int_equal(claimed.rc, E_CONFLICT);
    RESULT found = result_of_token(&w, 't', NOW_MS);
    assert_memory_equal(&found.record.flight, &flight, sizeof flight);
    REPLY absent = lookup(&w, 'c', NOW_MS);
    assert_int_equal(absent.record.state, KEY_ABSENT);
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM requests"), 0);
}

TEST(store_published, only_a_flight_that_runs_is_published)
{
    WORLD(w);
    REPLY claimed = claim(&w, 'a', 1, NOW_MS);
    assert_int_equal(claimed.result, CLAIM_OK);
    assert_int_equal(accept_flight(&w, 2, 't', SPAN("{}")), E_CONFLICT);
    assert_int_equal(complete(&w, 'a', 1, SPAN("{}"), NOW_MS), OK);
    assert_int_equal(accept_flight(&w, 1, 't', SPAN("{}")), E_CONFLICT);
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM requests"), 0);
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM tokens"), 0);
    assert_int_equal(store_stats(w.store).failures, 0);
}

TEST(store_published, a_claim_that_changes_nothing_publishes_nothing)
{
    WORLD(w);
    REPLY claimed = claim(&w, 'a', 1, NOW_MS);
    REPLY again = claim_accepted(&w, 'a', 2, 't', NOW_MS);
    assert_int_equal(claimed.result, CLAIM_OK);
    assert_int_equal(again.result, CLAIM_EXISTS);
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM requests"), 0);
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM tokens"), 0);
}
