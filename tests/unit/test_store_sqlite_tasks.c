/* What operators ask for: list, release, purge. */
#include "store_publications.h"

struct told {
    int came;
    enum rc rc;
    size_t count;
    bool more;
    struct digest next;
    struct key_summary keys[STORE_TASK_KEYS_MAX];
    char route[64]; /* of the first key */
};

static void on_task(void *context, enum rc rc, const struct store_task_result *result)
{
    struct told *told = context;
    told->came++;
    told->rc = rc;
    told->count = result->count;
    told->more = result->more;
    told->next = result->next;
    if (!result->keys || result->count == 0)
        return;
    memcpy(told->keys, result->keys, result->count * sizeof *result->keys);
    copy_text(told->route, result->keys[0].route);
}

static struct store_task task_of(enum store_task_kind kind, int64_t now_ms)
{
    return (struct store_task){.kind = kind, .created_before_ms = INT64_MAX, .now_ms = now_ms};
}

static struct told run_task(struct world *w, const struct store_task *task)
{
    static struct told told;
    told = (struct told){0};
    assert_int_equal(store_task(w->store, task, on_task, &told), OK);
    assert_int_equal(told.came, 0);
    while (told.came == 0) {
        struct pollfd poll_fd = {.fd = w->loop.fd, .events = POLLIN};
        assert_int_not_equal(poll(&poll_fd, 1, PATIENCE_MS), 0);
        (void)mailbox_run(&w->loop);
    }
    assert_int_equal(told.rc, OK);
    return told;
}

/* 'a' is DONE, 'b' RUNNING, 'c' FAILED, 'd' RELEASED; 'd' is of another scope. */
static void fill(struct world *w)
{
    REPLY a = claim(w, 'a', 1, NOW_MS);
    REPLY b = claim(w, 'b', 2, NOW_MS + 1);
    REPLY c = claim(w, 'c', 3, NOW_MS + 2);
    struct store_claim other = claim_of('d', 4, NOW_MS + 3);
    other.scope = digest_of('t');
    REPLY d = claim_with(w, &other);
    assert_int_equal(a.result + b.result + c.result + d.result, 4 * CLAIM_OK);
    assert_int_equal(complete(w, 'a', 1, SPAN("an answer to forget"), NOW_MS + 10), OK);
    assert_int_equal(fail_key(w, 'c', 3, NOW_MS + 10), OK);
    assert_int_equal(release(w, 'd', 4, false, NOW_MS + 10), OK);
}

TEST(store_sqlite_tasks, a_list_tells_what_is_known_of_each_key)
{
    WORLD(w);
    fill(&w);
    struct store_task list = task_of(STORE_TASK_LIST, NOW_MS + 20);
    struct told told = run_task(&w, &list);
    assert_int_equal(told.count, 4);
    assert_false(told.more);
    static const enum key_state states[] = {KEY_DONE, KEY_RUNNING, KEY_FAILED, KEY_RELEASED};
    for (int i = 0; i < 4; i++) {
        struct digest key = digest_of('a' + i);
        assert_memory_equal(&told.keys[i].key, &key, sizeof key);
        assert_int_equal(told.keys[i].state, states[i]);
        assert_int_equal(told.keys[i].created_ms, NOW_MS + i);
        assert_int_equal(told.keys[i].paid_calls, 1);
    }
    struct digest scope = digest_of('s'), other = digest_of('t');
    struct flight_id flight = flight_of(1);
    assert_string_equal(told.route, "/v1/messages");
    assert_int_equal(told.keys[0].status, 200);
    assert_int_equal(told.keys[0].body_bytes, strlen("an answer to forget"));
    assert_int_equal(told.keys[0].ended_ms, NOW_MS + 10);
    assert_memory_equal(&told.keys[0].flight, &flight, sizeof flight);
    assert_memory_equal(&told.keys[0].scope, &scope, sizeof scope);
    assert_memory_equal(&told.keys[3].scope, &other, sizeof other);
    assert_int_equal(told.keys[1].ended_ms, 0);
    assert_int_equal(told.keys[1].status, 0);
}

TEST(store_sqlite_tasks, conditions_are_met_together)
{
    WORLD(w);
    fill(&w);
    struct store_task list = task_of(STORE_TASK_LIST, NOW_MS + 20);
    list.by_scope = true;
    list.scope = digest_of('s');
    assert_int_equal(run_task(&w, &list).count, 3);
    list.created_before_ms = NOW_MS + 1;
    assert_int_equal(run_task(&w, &list).count, 1);
    list.created_before_ms = NOW_MS;
    assert_int_equal(run_task(&w, &list).count, 0);
    list = task_of(STORE_TASK_LIST, NOW_MS + 20);
    list.by_key = true;
    list.key = digest_of('d');
    struct told told = run_task(&w, &list);
    assert_int_equal(told.count, 1);
    assert_int_equal(told.keys[0].state, KEY_RELEASED);
    list.by_scope = true;
    list.scope = digest_of('s');
    assert_int_equal(run_task(&w, &list).count, 0);
}

TEST(store_sqlite_tasks, what_is_over_is_not_listed)
{
    WORLD(w);
    fill(&w);
    struct store_task list = task_of(STORE_TASK_LIST, NOW_MS + 10 + ERROR_TTL_MS);
    assert_int_equal(run_task(&w, &list).keys[2].state, KEY_RELEASED);
    list.now_ms = NOW_MS + 10 + TTL_MS;
    struct told told = run_task(&w, &list);
    assert_int_equal(told.count, 1);
    assert_int_equal(told.keys[0].state, KEY_RUNNING);
}

TEST(store_sqlite_tasks, a_long_list_comes_in_steps)
{
    enum { KEYS = 2 * STORE_TASK_KEYS_MAX };
    WORLD(w);
    REPLY claimed = {0};
    for (int i = 0; i < KEYS; i++) {
        struct store_claim params = claim_of(0, 0, NOW_MS);
        params.key.bytes[0] = (uint8_t)(i / 256);
        params.key.bytes[1] = (uint8_t)i;
        memcpy(params.flight.bytes, &i, sizeof i);
        assert_int_equal(store_claim(w.store, &params, on_claim, &claimed), OK);
    }
    world_wait(&w, &claimed, KEYS);
    struct store_task list = task_of(STORE_TASK_LIST, NOW_MS);
    struct told told = run_task(&w, &list);
    assert_int_equal(told.count, STORE_TASK_KEYS_MAX);
    assert_true(told.more);
    list.goes_on = true;
    list.after = told.next;
    told = run_task(&w, &list);
    assert_int_equal(told.count, STORE_TASK_KEYS_MAX);
    assert_int_equal(told.keys[0].key.bytes[0], 1);
    assert_int_equal(told.keys[0].key.bytes[1], 0);
    list.after = told.next;
    told = run_task(&w, &list);
    assert_int_equal(told.count, 0);
    assert_false(told.more);
}

TEST(store_sqlite_tasks, a_release_frees_what_runs_or_failed_and_remembers_what_was_paid)
{
    WORLD(w);
    fill(&w);
    struct store_task task = task_of(STORE_TASK_RELEASE, NOW_MS + 20);
    assert_int_equal(run_task(&w, &task).count, 2);
    for (int key = 'b'; key <= 'c'; key++) {
        REPLY found = lookup(&w, key, NOW_MS + 20);
        assert_int_equal(found.record.state, KEY_RELEASED);
        assert_int_equal(found.record.paid_calls, 1);
        assert_null(found.body);
        REPLY forgotten = lookup(&w, key, NOW_MS + 20 + TTL_MS);
        assert_int_equal(forgotten.record.state, KEY_ABSENT);
    }
    REPLY done = lookup(&w, 'a', NOW_MS + 20);
    assert_int_equal(done.record.state, KEY_DONE);
    assert_int_equal(complete(&w, 'b', 2, SPAN("late"), NOW_MS + 30), E_CONFLICT);
    REPLY again = claim(&w, 'b', 9, NOW_MS + 30);
    assert_int_equal(again.result, CLAIM_OK);
    assert_int_equal(again.record.paid_calls, 2);
}

TEST(store_sqlite_tasks, a_purge_forgets_all_but_what_runs_and_leaves_no_trace)
{
    WORLD(w);
    char log_path[128];
    (void)snprintf(log_path, sizeof log_path, "%s-wal", w.path);
    fill(&w);
    assert_true(file_holds(log_path, "an answer to forget"));
    struct store_task task = task_of(STORE_TASK_PURGE, NOW_MS + 20);
    assert_int_equal(run_task(&w, &task).count, 3);
    assert_false(file_holds(log_path, "an answer to forget"));
    assert_false(file_holds(w.path, "an answer to forget"));
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM keys"), 1);
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM flights"), 1);
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM bodies"), 0);
    assert_int_equal(complete(&w, 'b', 2, SPAN("{}"), NOW_MS + 30), OK);
    REPLY purged = lookup(&w, 'a', NOW_MS + 30);
    assert_int_equal(purged.record.state, KEY_ABSENT);
}

TEST(store_sqlite_tasks, a_purge_takes_all_flights_of_a_key_and_of_no_other)
{
    WORLD(w);
    fill(&w);
    REPLY again = claim(&w, 'd', 5, NOW_MS + 20);
    assert_int_equal(again.result, CLAIM_OK);
    assert_int_equal(release(&w, 'd', 5, false, NOW_MS + 30), OK);
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM flights"), 5);
    struct store_task task = task_of(STORE_TASK_PURGE, NOW_MS + 40);
    task.by_key = true;
    task.key = digest_of('d');
    assert_int_equal(run_task(&w, &task).count, 1);
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM flights"), 3);
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM keys"), 3);
}

TEST(store_sqlite_tasks, a_purge_takes_rows_that_are_over_too)
{
    WORLD(w);
    fill(&w);
    struct store_task task = task_of(STORE_TASK_PURGE, NOW_MS + 10 + TTL_MS);
    assert_int_equal(run_task(&w, &task).count, 3);
}

TEST(store_sqlite_tasks, a_released_flight_forgets_what_was_asked_and_keeps_its_url)
{
    WORLD(w);
    REPLY claimed = claim_accepted(&w, 'a', 1, 't', NOW_MS);
    assert_int_equal(claimed.result, CLAIM_OK);
    struct store_task task = task_of(STORE_TASK_RELEASE, NOW_MS + 20);
    assert_int_equal(run_task(&w, &task).count, 1);
    ACCEPTED none = accepted_after(&w, -1);
    assert_int_equal(none.rc, E_NOT_FOUND);
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM requests"), 0);
    RESULT found = result_of_token(&w, 't', NOW_MS + 20 + TTL_MS - 1);
    assert_int_equal(found.record.state, FLIGHT_ROW_INTERRUPTED);
    assert_int_equal(found.record.ended_ms, NOW_MS + 20);
    world_restart(&w);
    assert_int_equal(w.store->accepted, 0);
}

TEST(store_sqlite_tasks, a_purge_takes_results_and_their_tokens_but_nothing_that_runs)
{
    WORLD(w);
    REPLY running = claim_accepted(&w, 'a', 1, 't', NOW_MS);
    REPLY done = claim_accepted(&w, 'b', 2, 'u', NOW_MS);
    assert_int_equal(running.result + done.result, 2 * CLAIM_OK);
    assert_int_equal(complete(&w, 'b', 2, SPAN("{}"), NOW_MS), OK);
    struct store_task task = task_of(STORE_TASK_PURGE, NOW_MS);
    assert_int_equal(run_task(&w, &task).count, 1);
    RESULT kept = result_of_token(&w, 't', NOW_MS);
    RESULT gone = result_of_token(&w, 'u', NOW_MS);
    assert_int_equal(kept.record.state, FLIGHT_ROW_RUNNING);
    assert_int_equal(gone.record.state, FLIGHT_ROW_ABSENT);
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM tokens"), 1);
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM requests"), 1);
}

/* 'a', 'b', 'c' and 'x' (of another scope) are done and their keys reaped; flights 1 to 4 are
 * kept for their result URLs. */
static void fill_with_keyless(struct world *w)
{
    w->params.reap_interval_ms = 1;
    assert_int_equal(world_open(w), OK);
    for (int i = 1; i <= 4; i++) {
        struct store_claim params = claim_of(i < 4 ? 'a' + i - 1 : 'x', i, NOW_MS + i);
        params.scope = digest_of(i < 4 ? 's' : 't');
        REPLY claimed = claim_with(w, &params);
        assert_int_equal(claimed.result, CLAIM_OK);
        struct store_completion completion =
            completion_of(i < 4 ? 'a' + i - 1 : 'x', i, SPAN("kept on"), NOW_MS);
        completion.expires_ms = NOW_MS + 10;
        completion.keep_until_ms = NOW_MS + TTL_MS;
        assert_int_equal(complete_with(w, &completion), OK);
    }
    (void)release(w, 255, 255, false, NOW_MS + 10); /* the store learns the time */
    await_file(w, "SELECT count(*) FROM keys", 0);
    assert_int_equal(ask_file(w, "SELECT count(*) FROM flights"), 4);
}

TEST(store_sqlite_tasks, a_purge_takes_results_that_were_kept_longer_than_their_keys)
{
    EMPTY_WORLD(w);
    fill_with_keyless(&w);
    struct store_task task = task_of(STORE_TASK_PURGE, NOW_MS + 20);
    task.by_key = true;
    task.key = digest_of('b');
    assert_int_equal(run_task(&w, &task).count, 0);
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM flights"), 3);
    RESULT gone = result_of_flight(&w, 2, NOW_MS + 20);
    assert_int_equal(gone.record.state, FLIGHT_ROW_ABSENT);
    task = task_of(STORE_TASK_PURGE, NOW_MS + 20);
    task.by_scope = true;
    task.scope = digest_of('t');
    (void)run_task(&w, &task);
    RESULT other = result_of_flight(&w, 4, NOW_MS + 20);
    assert_int_equal(other.record.state, FLIGHT_ROW_ABSENT);
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM flights"), 2);
    task = task_of(STORE_TASK_PURGE, NOW_MS + 20);
    task.created_before_ms = NOW_MS + 3; /* the third's time */
    (void)run_task(&w, &task);
    RESULT kept = result_of_flight(&w, 3, NOW_MS + 20);
    assert_span_equal(blob_span(kept.body), "kept on");
    task.created_before_ms = NOW_MS + 4;
    (void)run_task(&w, &task);
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM flights"), 0);
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM bodies"), 0);
    assert_false(file_holds(w.path, "kept on"));
}
