/* Requests that were accepted to be answered later: at rest while they run, driven again after a
 * crash. */
#include "store_publications.h"

#include "io/store_job.h"

#include <signal.h>
#include <sys/wait.h>

static void assert_request(const struct accepted_reply *found, const char *body)
{
    assert_int_equal(found->rc, OK);
    assert_false(found->record.corrupt);
    assert_string_equal(found->query, "beta=true");
    assert_string_equal(found->client, "batch");
    assert_string_equal(found->headers, "anthropic-version: 2023\ntraceparent: \n");
    assert_int_equal(found->record.request.deadline_ms, DEADLINE_MS);
    assert_span_equal(blob_span(found->body), body);
}

TEST(store_accepted, an_accepted_request_is_there_with_all_that_drives_it)
{
    WORLD(w);
    struct digest key = digest_of('a'), scope = digest_of('s'), fingerprint = digest_of('p');
    struct flight_id flight = flight_of(1);
    REPLY claimed = claim_accepted(&w, 'a', 1, 't', NOW_MS);
    REPLY counted = count_call(&w, 'a', 1);
    assert_int_equal(claimed.result, CLAIM_OK);
    assert_int_equal(counted.paid_calls, 2);
    ACCEPTED found = accepted_after(&w, -1);
    assert_request(&found, "{\"prompt\":\"hi\"}");
    assert_memory_equal(&found.record.flight, &flight, sizeof flight);
    assert_memory_equal(&found.record.key, &key, sizeof key);
    assert_memory_equal(&found.record.scope, &scope, sizeof scope);
    assert_memory_equal(&found.record.fingerprint, &fingerprint, sizeof fingerprint);
    assert_string_equal(found.route, "/v1/messages");
    assert_int_equal(found.record.paid_calls, 2);
    assert_int_equal(found.record.started_ms, NOW_MS);
    ACCEPTED none = accepted_after(&w, 1);
    assert_int_equal(none.rc, E_NOT_FOUND);
}

TEST(store_accepted, nothing_that_may_be_missing_is_made_up)
{
    WORLD(w);
    REPLY claimed = claim(&w, 'a', 1, NOW_MS);
    assert_int_equal(claimed.result, CLAIM_OK);
    struct store_request bare = {.body = blob_new(SPAN("{}")), .deadline_ms = 5};
    struct store_publication publication = {.request = &bare};
    assert_int_equal(publish_with(&w, 1, &publication), OK);
    blob_free(bare.body);
    ACCEPTED found = accepted_after(&w, -1);
    assert_int_equal(found.rc, OK);
    assert_null(found.record.request.query.p);
    assert_null(found.record.request.client.p);
    assert_int_equal(found.record.request.headers.count, 0);
    assert_int_equal(found.record.request.deadline_ms, 5);
    assert_span_equal(blob_span(found.body), "{}");
}

/* The smallest ones take most memory when they are read: nothing that was taken may be unreadable. */
TEST(store_accepted, as_many_headers_as_are_taken_can_be_read_again)
{
    enum { EMPTY_HEADER_BYTES = 8, MOST = STORE_JOB_TEXT_BYTES_MAX / EMPTY_HEADER_BYTES };
    WORLD(w);
    REPLY claimed = claim(&w, 'a', 1, NOW_MS);
    assert_int_equal(claimed.result, CLAIM_OK);
    struct header *headers = calloc(MOST + 1, sizeof *headers);
    assert_non_null(headers);
    struct store_request request = {.headers = {headers, MOST + 1},
                                    .body = blob_new(SPAN("{}"))};
    const struct store_publication publication = {.request = &request};
    struct reply reply = {0};
    assert_int_equal(store_publish(w.store, flight_of(1), &publication, on_done, &reply),
                     E_NOMEM);
    request.headers.count = MOST;
    assert_int_equal(publish_with(&w, 1, &publication), OK);
    blob_free(request.body);
    free(headers);
    ACCEPTED found = accepted_after(&w, -1);
    assert_int_equal(found.rc, OK);
    assert_int_equal(found.record.request.headers.count, MOST);
}

TEST(store_accepted, accepted_requests_come_in_the_order_of_their_flights)
{
    WORLD(w);
    static const int flights[] = {3, 200, 1};
    for (size_t i = 0; i < COUNT_OF(flights); i++) {
        REPLY claimed = claim_accepted(&w, flights[i], flights[i], flights[i], NOW_MS);
        assert_int_equal(claimed.result, CLAIM_OK);
    }
    REPLY plain = claim(&w, 'x', 2, NOW_MS);
    assert_int_equal(plain.result, CLAIM_OK);
    static const int expected[] = {1, 3, 200};
    int after = -1;
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        ACCEPTED found = accepted_after(&w, after);
        struct flight_id flight = flight_of(expected[i]);
        assert_int_equal(found.rc, OK);
        assert_memory_equal(&found.record.flight, &flight, sizeof flight);
        after = expected[i];
    }
    ACCEPTED none = accepted_after(&w, after);
    assert_int_equal(none.rc, E_NOT_FOUND);
    assert_int_equal(store_stats(w.store).failures, 0);
}

TEST(store_accepted, of_two_requests_of_a_flight_the_first_is_kept)
{
    WORLD(w);
    REPLY claimed = claim(&w, 'a', 1, NOW_MS);
    assert_int_equal(claimed.result, CLAIM_OK);
    assert_int_equal(accept_flight(&w, 1, 't', SPAN("first")), OK);
    assert_int_equal(accept_flight(&w, 1, 'u', SPAN("second")), OK);
    ACCEPTED found = accepted_after(&w, -1);
    assert_request(&found, "first");
}

TEST(store_accepted, a_damaged_request_is_not_handed_out)
{
    WORLD(w);
    static const char *const damages[] = {
        "UPDATE requests SET body = CAST('{\"prompt\":\"ho\"}' AS BLOB)",
        "UPDATE requests SET headers = x'00'",
        "UPDATE requests SET query = NULL",
    };
    REPLY claimed = claim_accepted(&w, 'a', 1, 't', NOW_MS);
    assert_int_equal(claimed.result, CLAIM_OK);
    for (size_t i = 0; i < COUNT_OF(damages); i++) {
        (void)ask_file(&w, damages[i]);
        ACCEPTED found = accepted_after(&w, -1);
        assert_int_equal(found.rc, OK);
        assert_true(found.record.corrupt);
        assert_null(found.body);
        assert_string_equal(found.headers, "");
        assert_int_equal(found.record.request.deadline_ms, DEADLINE_MS);
    }
}

TEST(store_accepted, a_request_goes_with_its_flight_however_it_ends)
{
    WORLD(w);
    for (int i = 1; i <= 3; i++) {
        REPLY claimed = claim_accepted(&w, i, i, i, NOW_MS);
        assert_int_equal(claimed.result, CLAIM_OK);
    }
    assert_int_equal(complete(&w, 1, 1, SPAN("{}"), NOW_MS), OK);
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM requests"), 2);
    assert_int_equal(fail_key(&w, 2, 2, NOW_MS), OK);
    assert_int_equal(release(&w, 3, 3, false, NOW_MS), OK);
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM requests"), 0);
    for (int i = 1; i <= 3; i++) {
        RESULT found = result_of_token(&w, i, NOW_MS);
        assert_true(found.record.state > FLIGHT_ROW_RUNNING);
    }
    ACCEPTED none = accepted_after(&w, -1);
    assert_int_equal(none.rc, E_NOT_FOUND);
}

TEST(store_accepted, results_are_reaped_with_all_that_belongs_to_them)
{
    EMPTY_WORLD(w);
    w.params.reap_interval_ms = 1;
    assert_int_equal(world_open(&w), OK);
    REPLY first = claim_accepted(&w, 'a', 1, 't', NOW_MS);
    assert_int_equal(first.result, CLAIM_OK);
    struct store_completion completion = completion_of('a', 1, SPAN("first"), NOW_MS);
    completion.keep_until_ms = NOW_MS + 2 * TTL_MS;
    assert_int_equal(complete_with(&w, &completion), OK);
    REPLY later = claim(&w, 'b', 2, NOW_MS + TTL_MS); /* the store learns the time */
    assert_int_equal(later.result, CLAIM_OK);
    await_file(&w, "SELECT count(*) FROM keys", 1);
    RESULT kept = result_of_token(&w, 't', NOW_MS + TTL_MS);
    assert_span_equal(blob_span(kept.body), "first");
    REPLY end = claim(&w, 'c', 3, NOW_MS + 2 * TTL_MS);
    assert_int_equal(end.result, CLAIM_OK);
    await_file(&w, "SELECT count(*) FROM flights", 2);
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM bodies"), 0);
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM tokens"), 0);
}

/* ---- crashes */

TEST(store_accepted, an_accepted_request_runs_on_after_a_crash_and_nothing_else_does)
{
    WORLD(w);
    REPLY accepted = claim_accepted(&w, 'a', 1, 't', NOW_MS);
    REPLY counted = count_call(&w, 'a', 1);
    REPLY plain = claim(&w, 'b', 2, NOW_MS);
    assert_int_equal(accepted.result + plain.result, 2 * CLAIM_OK);
    assert_int_equal(counted.paid_calls, 2);
    assert_int_equal(publish_token(&w, 2, 'u'), OK);
    w.params.now_ms = NOW_MS + 500;
    world_restart(&w);
    assert_int_equal(w.store->interrupted, 1);
    assert_int_equal(w.store->accepted, 1);

    REPLY running = lookup(&w, 'a', NOW_MS + 600);
    REPLY released = lookup(&w, 'b', NOW_MS + 600);
    assert_int_equal(running.record.state, KEY_RUNNING);
    assert_int_equal(running.record.paid_calls, 2);
    assert_int_equal(released.record.state, KEY_RELEASED);
    RESULT interrupted = result_of_token(&w, 'u', NOW_MS + 600);
    assert_int_equal(interrupted.record.state, FLIGHT_ROW_INTERRUPTED);
    assert_int_equal(interrupted.record.ended_ms, NOW_MS + 500);
    assert_int_equal(interrupted.record.answer.status, 503);
    assert_string_equal(interrupted.error_code, "interrupted");
    ACCEPTED found = accepted_after(&w, -1);
    assert_request(&found, "{\"prompt\":\"hi\"}");
    assert_int_equal(found.record.paid_calls, 2);

    REPLY third = count_call(&w, 'a', 1);
    assert_int_equal(third.paid_calls, 3);
    assert_int_equal(complete(&w, 'a', 1, SPAN("late but there"), NOW_MS + 700), OK);
    RESULT done = result_of_token(&w, 't', NOW_MS + 700);
    assert_span_equal(blob_span(done.body), "late but there");
    world_restart(&w);
    assert_int_equal(w.store->interrupted, 0);
    assert_int_equal(w.store->accepted, 0);
}

/* Files that cannot come from our own hand. */
TEST(store_accepted, no_key_runs_on_without_all_that_drives_it)
{
    static const char *const damages[] = {
        "DELETE FROM requests",
        "DELETE FROM flights",
        "DELETE FROM keys",
        "UPDATE keys SET flight = x'09090909090909090909090909090909'",
        "UPDATE flights SET key = zeroblob(32)",
        "UPDATE requests SET flight = zeroblob(16)",
        "UPDATE keys SET state = 'released', ended_ms = 5, forget_ms = 9000000000",
    };
    for (size_t i = 0; i < COUNT_OF(damages); i++) {
        WORLD(w);
        REPLY claimed = claim_accepted(&w, 'a', 1, 't', NOW_MS);
        assert_int_equal(claimed.result, CLAIM_OK);
        world_close(&w);
        (void)ask_file(&w, damages[i]);
        assert_int_equal(world_open(&w), OK);
        assert_int_equal(w.store->accepted, 0);
        assert_int_equal(ask_file(&w, "SELECT count(*) FROM keys WHERE state = 'running'"), 0);
        assert_int_equal(ask_file(&w, "SELECT count(*) FROM flights WHERE state = 'running'"),
                         0);
        assert_int_equal(ask_file(&w, "SELECT count(*) FROM requests"), 0);
        ACCEPTED none = accepted_after(&w, -1);
        assert_int_equal(none.rc, E_NOT_FOUND);
    }
}

TEST(store_accepted, a_backup_drives_nothing_and_holds_nothing_that_was_asked)
{
    WORLD(w);
    char copy[128];
    (void)snprintf(copy, sizeof copy, "%s/copy.db", w.directory);
    REPLY accepted = claim(&w, 'a', 1, NOW_MS);
    REPLY done = claim_accepted(&w, 'b', 2, 'u', NOW_MS);
    assert_int_equal(accepted.result + done.result, 2 * CLAIM_OK);
    assert_int_equal(accept_flight(&w, 1, 't', SPAN("what nobody is to read")), OK);
    assert_int_equal(complete(&w, 'b', 2, SPAN("{}"), NOW_MS), OK);
    assert_int_equal(store_sqlite_backup(span_of(w.path), span_of(copy), &w.problem), OK);
    assert_false(file_holds(copy, "what nobody is to read"));
    assert_false(file_holds(copy, "anthropic-version"));
    ACCEPTED there = accepted_after(&w, -1);
    assert_int_equal(there.rc, OK);

    w.params.path = span_of(copy);
    world_restart(&w);
    assert_int_equal(w.store->interrupted, 1);
    assert_int_equal(w.store->accepted, 0);
    RESULT interrupted = result_of_token(&w, 't', NOW_MS);
    RESULT kept = result_of_token(&w, 'u', NOW_MS);
    assert_int_equal(interrupted.record.state, FLIGHT_ROW_INTERRUPTED);
    assert_span_equal(blob_span(kept.body), "{}");
}

TEST(store_accepted, an_older_store_is_backed_up_as_it_is)
{
    WORLD(w);
    char copy[128];
    (void)snprintf(copy, sizeof copy, "%s/copy.db", w.directory);
    world_close(&w);
    make_schema_3(&w);
    assert_int_equal(store_sqlite_backup(span_of(w.path), span_of(copy), &w.problem), OK);
    memcpy(w.path, copy, sizeof w.path);
    assert_int_equal(ask_file(&w, "PRAGMA user_version"), 3);
}

/* In a process of its own, which dies on the way. */
static void publish_until(struct world *w, const char *crash_point)
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        bool fine = setenv("UNSTREAM_CRASH_AT", crash_point, 1) == 0 && world_open(w) == OK &&
                    claim(w, 'a', 1, NOW_MS).result == CLAIM_OK &&
                    accept_flight(w, 1, 't', SPAN("{}")) == OK;
        _exit(fine ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
}

TEST(store_accepted, a_publication_is_whole_or_not_at_all)
{
#ifndef UNSTREAM_CRASH_POINTS
    skip();
#endif
    static const char *const points[] = {"publication_half_done:2",
                                         "publication_not_committed"};
    for (size_t i = 0; i < COUNT_OF(points); i++) {
        EMPTY_WORLD(w);
        publish_until(&w, points[i]);
        assert_int_equal(world_open(&w), OK);
        assert_int_equal(w.store->interrupted, 1);
        assert_int_equal(w.store->accepted, 0);
        assert_int_equal(ask_file(&w, "SELECT count(*) FROM tokens"), 0);
        assert_int_equal(ask_file(&w, "SELECT count(*) FROM requests"), 0);
        RESULT found = result_of_flight(&w, 1, NOW_MS);
        assert_int_equal(found.record.state, FLIGHT_ROW_INTERRUPTED);
    }
}
