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
    {"lookup", false, NULL, run_lookup, check_nothing},
    {"purge", false, NULL, run_purge, check_purge},
    {"close", false, prepare_claim, run_close, check_claimed},
};

#endif
