/* The operations of a store that tests of faults try, each with what must be found after it: an
 * operation that was acknowledged is there after a restart, whatever happened. */
#ifndef FAULT_OPERATIONS_H
#define FAULT_OPERATIONS_H

#include "fault_world.h"

struct operation {
    const char *name;
    bool opens;                       /* the fault strikes while the store is opened */
    void (*prepare)(struct world *w); /* before the fault; NULL: nothing */
    enum rc (*run)(struct world *w);  /* with the fault armed */
    void (*check)(struct world *w, enum rc rc); /* after a restart, without faults */
};

static inline void prepare_claim(struct world *w)
{
    REPLY claimed = claim(w, 'c', 'c', NOW_MS);
    assert_int_equal(claimed.result, CLAIM_OK);
}

static inline enum rc run_open(struct world *w)
{
    return world_open(w);
}

static inline void check_nothing(struct world *w, enum rc rc)
{
    (void)w;
    (void)rc;
}

static inline enum rc run_claim(struct world *w)
{
    REPLY claimed = claim(w, 'n', 'n', NOW_MS);
    if (claimed.rc == OK)
        assert_int_equal(claimed.result, CLAIM_OK);
    return claimed.rc;
}

static inline void check_claim(struct world *w, enum rc rc)
{
    REPLY found = lookup(w, 'n', NOW_MS);
    if (rc == OK || found.record.state != KEY_ABSENT) {
        assert_int_equal(found.record.state, KEY_RELEASED);
        assert_int_equal(found.record.paid_calls, 1);
        assert_string_equal(found.error_code, "interrupted");
    }
}

static inline enum rc run_claim_again(struct world *w)
{
    REPLY claimed = claim(w, 'r', 'n', NOW_MS);
    if (claimed.rc == OK)
        assert_int_equal(claimed.result, CLAIM_OK);
    return claimed.rc;
}

static inline void check_claim_again(struct world *w, enum rc rc)
{
    REPLY found = lookup(w, 'r', NOW_MS);
    assert_int_equal(found.record.state, KEY_RELEASED);
    assert_in_range(found.record.paid_calls, rc == OK ? 2 : 1, 2);
}

static inline enum rc run_count(struct world *w)
{
    REPLY counted = count_call(w, 'c', 'c');
    if (counted.rc == OK)
        assert_int_equal(counted.paid_calls, 2);
    return counted.rc;
}

static inline void check_count(struct world *w, enum rc rc)
{
    REPLY found = lookup(w, 'c', NOW_MS);
    assert_int_equal(found.record.state, KEY_RELEASED);
    assert_in_range(found.record.paid_calls, rc == OK ? 2 : 1, 2);
}

/* Several pages of a body, with the number of its bytes at each place. */
static inline struct span large_body(void)
{
    enum { NUMBERS = 8000 };
    static uint32_t numbers[NUMBERS];
    for (uint32_t i = 0; i < NUMBERS; i++)
        numbers[i] = i;
    return (struct span){(const char *)numbers, sizeof numbers};
}

static inline enum rc run_complete(struct world *w)
{
    return complete(w, 'c', 'c', large_body(), NOW_MS);
}

static inline void check_complete(struct world *w, enum rc rc)
{
    REPLY found = lookup(w, 'c', NOW_MS);
    assert_int_equal(found.rc, OK);
    if (rc == OK || found.record.state != KEY_RELEASED) {
        assert_int_equal(found.record.state, KEY_DONE);
        assert_non_null(found.body);
        assert_true(span_eq(blob_span(found.body), large_body()));
    }
}

static inline enum rc run_release(struct world *w)
{
    return release(w, 'c', 'c', true, NOW_MS);
}

static inline void check_release(struct world *w, enum rc rc)
{
    REPLY found = lookup(w, 'c', NOW_MS);
    assert_int_equal(found.record.state, KEY_RELEASED);
    assert_in_range(found.record.paid_calls, 0, rc == OK ? 0 : 1);
}

/* ---- published flights */

/* Token and request of `body`; E_NOMEM also when it cannot be started. */
static inline enum rc try_publish(struct world *w, int flight, int token, struct blob *body)
{
    struct digest digest = digest_of(token);
    struct store_request request = {.query = SPAN("q"),
                                    .headers = {accepted_headers, COUNT_OF(accepted_headers)},
                                    .body = body,
                                    .client = SPAN("batch"),
                                    .deadline_ms = DEADLINE_MS};
    struct store_publication publication = {.token = &digest, .request = &request};
    struct reply reply = {0};
    enum rc rc = store_publish(w->store, flight_of(flight), &publication, on_done, &reply);
    if (rc != OK)
        return rc;
    world_wait(w, &reply, 1);
    return reply.rc;
}

static inline enum rc try_claim_accepted(struct world *w, struct blob *body)
{
    struct digest digest = digest_of('n');
    struct store_request request = {.body = body, .deadline_ms = DEADLINE_MS};
    struct store_claim params = claim_of('n', 'n', NOW_MS);
    params.publication = (struct store_publication){.token = &digest, .request = &request};
    REPLY reply = {0};
    enum rc rc = store_claim(w->store, &params, on_claim, &reply);
    if (rc != OK)
        return rc;
    world_wait(w, &reply, 1);
    return reply.rc;
}

/* All of it or nothing: the flight runs on with its whole request, or it is not there (claims),
 * or interrupted and without any token. */
static inline void check_whole(struct world *w, int flight, enum rc rc)
{
    ACCEPTED found = accepted_after(w, flight - 1);
    struct flight_id id = flight_of(flight);
    bool is_there = found.rc == OK && memcmp(&found.record.flight, &id, sizeof id) == 0;
    RESULT by_token = result_of_token(w, flight, NOW_MS);
    RESULT by_id = result_of_flight(w, flight, NOW_MS);
    assert_true(is_there || rc != OK);
    if (is_there) {
        assert_false(found.record.corrupt);
        assert_true(span_eq(blob_span(found.body), large_body()));
        assert_int_equal(by_token.record.state, FLIGHT_ROW_RUNNING);
        assert_int_equal(w->store->accepted, 2);
    } else {
        assert_int_equal(by_token.record.state, FLIGHT_ROW_ABSENT);
        assert_int_not_equal(by_id.record.state, FLIGHT_ROW_RUNNING);
    }
}

static struct blob *prepared_body; /* of an answer or request: made before the fault */

static inline void prepare_body(struct world *w)
{
    (void)w;
    prepared_body = blob_new(large_body());
    assert_non_null(prepared_body);
}

static inline void prepare_claim_and_body(struct world *w)
{
    prepare_claim(w);
    prepare_body(w);
}

static inline enum rc run_publish(struct world *w)
{
    enum rc rc = try_publish(w, 'c', 'c', prepared_body);
    blob_free(take(prepared_body));
    return rc;
}

static inline void check_publish(struct world *w, enum rc rc)
{
    check_whole(w, 'c', rc);
}

static inline enum rc run_claim_accepted(struct world *w)
{
    enum rc rc = try_claim_accepted(w, prepared_body);
    blob_free(take(prepared_body));
    return rc;
}

static inline void check_claim_accepted(struct world *w, enum rc rc)
{
    check_whole(w, 'n', rc);
}

/* Ends the accepted flight 'c', whose request must be gone with the answer there. */
static inline void prepare_accepted(struct world *w)
{
    prepare_claim_and_body(w);
    assert_int_equal(try_publish(w, 'c', 'c', prepared_body), OK);
}

static inline enum rc run_complete_prepared(struct world *w)
{
    struct store_completion completion = {
        .key = digest_of('c'),
        .flight = flight_of('c'),
        .answer = {.status = 200,
                   .body = prepared_body,
                   .content_type = SPAN("application/json"),
                   .request_id = SPAN("req_1")},
        .now_ms = NOW_MS,
        .expires_ms = NOW_MS + TTL_MS,
    };
    struct reply reply = {0};
    enum rc rc = store_complete(w->store, &completion, on_done, &reply);
    blob_free(take(prepared_body));
    if (rc != OK)
        return rc;
    world_wait(w, &reply, 1);
    return reply.rc;
}

static inline void check_complete_accepted(struct world *w, enum rc rc)
{
    RESULT found = result_of_token(w, 'c', NOW_MS);
    bool ended = found.record.state == FLIGHT_ROW_DONE;
    assert_int_equal(found.rc, OK);
    assert_true(ended || rc != OK);
    if (ended)
        assert_true(span_eq(blob_span(found.body), large_body()));
    else
        assert_int_equal(found.record.state, FLIGHT_ROW_RUNNING);
    assert_int_equal(w->store->accepted, ended ? 1 : 2);
}

static inline enum rc run_result(struct world *w)
{
    struct store_result_query query = {
        .by_token = true, .token = digest_of('d'), .now_ms = NOW_MS};
    RESULT found = {0};
    enum rc rc = store_result(w->store, &query, on_result, &found);
    if (rc != OK)
        return rc;
    world_wait_for(w, &found.came);
    if (found.rc == OK) {
        assert_false(found.record.corrupt);
        assert_span_equal(blob_span(found.body), "kept");
    }
    return found.rc;
}

static inline enum rc run_accepted(struct world *w)
{
    ACCEPTED found = {0};
    enum rc rc = store_accepted(w->store, NULL, on_accepted, &found);
    if (rc != OK)
        return rc;
    world_wait_for(w, &found.came);
    if (found.rc == OK) {
        assert_false(found.record.corrupt);
        assert_string_equal(found.client, "batch");
        assert_span_equal(blob_span(found.body), "{\"prompt\":\"hi\"}");
    }
    return found.rc;
}

static inline enum rc run_lookup(struct world *w)
{
    REPLY found = lookup(w, 'd', NOW_MS);
    if (found.rc == OK) {
        assert_int_equal(found.record.state, KEY_DONE);
        assert_false(found.record.corrupt);
        assert_span_equal(blob_span(found.body), "kept");
    }
    return found.rc;
}

static inline void on_task(void *context, enum rc rc, const struct store_task_result *result)
{
    (void)result;
    on_done(context, rc);
}

static inline enum rc run_purge(struct world *w)
{
    struct store_task task = {.kind = STORE_TASK_PURGE,
                              .by_key = true,
                              .key = digest_of(1),
                              .created_before_ms = INT64_MAX,
                              .now_ms = NOW_MS};
    struct reply reply = {0};
    enum rc rc = store_task(w->store, &task, on_task, &reply);
    if (rc != OK)
        return rc;
    world_wait(w, &reply, 1);
    return reply.rc;
}

static inline void check_purge(struct world *w, enum rc rc)
{
    REPLY found = lookup(w, 1, NOW_MS);
    assert_true(rc != OK || found.record.state == KEY_ABSENT);
}

/* Brings the log into the file. */
static inline enum rc run_close(struct world *w)
{
    world_close(w);
    return OK;
}

static inline void check_claimed(struct world *w, enum rc rc)
{
    check_count(w, E_IO); /* 'c' is there, with its one call or, by no means here, two */
    (void)rc;
}

static const struct operation operations[] = {
    {"open", true, NULL, run_open, check_nothing},
    {"claim", false, NULL, run_claim, check_claim},
    {"claim again", false, NULL, run_claim_again, check_claim_again},
    {"count", false, prepare_claim, run_count, check_count},
    {"complete", false, prepare_claim, run_complete, check_complete},
    {"release", false, prepare_claim, run_release, check_release},
    {"publish", false, prepare_claim_and_body, run_publish, check_publish},
    {"claim accepted", false, prepare_body, run_claim_accepted, check_claim_accepted},
    {"complete accepted", false, prepare_accepted, run_complete_prepared,
     check_complete_accepted},
    {"result", false, NULL, run_result, check_nothing},
    {"accepted", false, NULL, run_accepted, check_nothing},
    {"lookup", false, NULL, run_lookup, check_nothing},
    {"purge", false, NULL, run_purge, check_purge},
    {"close", false, prepare_claim, run_close, check_claimed},
};

#endif
