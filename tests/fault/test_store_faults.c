/* Every read, write, sync, truncate and open that an operation makes fails in turn, once or for
 * ever: the operation succeeds or says so, and nothing acknowledged is missing afterwards. */
#include "fault_operations.h"

enum { TRIES_MAX = 5000 };

static const struct fault faults[] = {
    {FAULT_READ, FAULT_FAIL, 0, false},    {FAULT_READ, FAULT_FAIL, 0, true},
    {FAULT_READ, FAULT_TEAR, 0, false},    {FAULT_WRITE, FAULT_FAIL, 0, false},
    {FAULT_WRITE, FAULT_FAIL, 0, true},    {FAULT_WRITE, FAULT_TEAR, 0, false},
    {FAULT_WRITE, FAULT_TEAR, 0, true},    {FAULT_WRITE, FAULT_FULL, 0, false},
    {FAULT_WRITE, FAULT_FULL, 0, true},    {FAULT_SYNC, FAULT_FAIL, 0, false},
    {FAULT_SYNC, FAULT_FAIL, 0, true},     {FAULT_TRUNCATE, FAULT_FAIL, 0, false},
    {FAULT_TRUNCATE, FAULT_FAIL, 0, true}, {FAULT_OPEN, FAULT_FAIL, 0, false},
    {FAULT_OPEN, FAULT_FAIL, 0, true},
};

static bool is_clean(enum rc rc, bool opens)
{
    return rc == OK || rc == E_IO || rc == E_LIMIT || (opens && rc == E_INVALID);
}

/* What failed must not look as if it ran on: nobody would ever end it. */
static void assert_not_stuck(struct world *w, enum rc rc)
{
    if (rc == OK || !w->store)
        return;
    REPLY found = lookup(w, 'n', NOW_MS);
    assert_true(found.rc != OK || found.record.state == KEY_ABSENT);
}

/* Older schemas know no accepted requests: what ran was released. */
static void check_migrated(struct world *w, enum rc rc)
{
    (void)rc;
    REPLY found = lookup(w, 'a', NOW_MS);
    assert_int_equal(found.record.state, KEY_RELEASED);
    assert_int_equal(w->store->accepted, 0);
    assert_int_equal(fault_ask(w, "SELECT count(*) FROM flights WHERE state = 'running'"), 0);
}

/* One try.  True: the fault struck. */
static bool try_operation(struct world *w, const struct buf *template,
                          const struct operation *operation, const struct fault *fault)
{
    fault_world_reset(w, template);
    if (!operation->opens)
        fault_open(w);
    if (operation->prepare)
        operation->prepare(w);
    fault_vfs_arm(fault);
    enum rc rc = operation->run(w);
    if (fault->for_ever)
        world_close(w);
    bool struck = fault_vfs_disarm();
    if (!is_clean(rc, operation->opens))
        fail_msg("%s: %s", operation->name, rc_text(rc));
    assert_true(rc == OK || struck);
    assert_true(!operation->opens || rc == OK || w->problem.n > 0);
    assert_not_stuck(w, rc);
    world_close(w);
    fault_open(w);
    operation->check(w, rc);
    if (operation->check != check_migrated)
        fault_published_check(w);
    fault_world_check(w);
    world_close(w);
    return struck;
}

static void try_every_fault(struct world *w, const struct buf *template,
                            const struct operation *operation)
{
    unsigned tries = 0;
    for (size_t j = 0; j < COUNT_OF(faults); j++) {
        struct fault fault = faults[j];
        do {
            fault.at++;
            tries++;
            assert_true(fault.at < TRIES_MAX);
        } while (try_operation(w, template, operation, &fault));
    }
    print_message("%s: %u tries\n", operation->name, tries);
    assert_true(tries > COUNT_OF(faults)); /* something did strike */
}

TEST(store_faults, every_operation_succeeds_or_says_so_and_loses_nothing)
{
    struct world w;
    struct buf template;
    fault_world_make(&w, &template);
    for (size_t i = 0; i < COUNT_OF(operations); i++)
        try_every_fault(&w, &template, &operations[i]);
    buf_done(&template);
    world_end(&w);
}

TEST(store_faults, an_older_file_is_brought_up_to_date_or_stays_as_it_was)
{
    static const struct operation migration = {"migration", true, NULL, run_open,
                                               check_migrated};
    struct world w;
    struct buf template;
    fault_world_make(&w, &template);
    fault_world_reset(&w, &template);
    make_schema_1(&w);
    buf_clear(&template);
    fault_file_read(w.path, &template);
    try_every_fault(&w, &template, &migration);
    buf_done(&template);
    world_end(&w);
}

/* ---- making a new file */

static bool try_making(struct world *w, const struct fault *fault)
{
    fault_files_remove(w);
    fault_vfs_arm(fault);
    enum rc rc = world_open(w);
    if (fault->for_ever)
        world_close(w);
    bool struck = fault_vfs_disarm();
    assert_true(is_clean(rc, true));
    world_close(w);
    fault_open(w);
    REPLY claimed = claim(w, 'n', 'n', NOW_MS);
    assert_int_equal(claimed.result, CLAIM_OK);
    world_close(w);
    assert_int_equal(fault_ask(w, "SELECT integrity_check = 'ok' FROM pragma_integrity_check"),
                     1);
    return struck;
}

TEST(store_faults, a_new_file_is_made_or_can_be_made_later)
{
    struct world w;
    unsigned tries = 0;
    fault_vfs_install();
    world_make(&w);
    for (size_t j = 0; j < COUNT_OF(faults); j++) {
        struct fault fault = faults[j];
        do {
            fault.at++;
            tries++;
        } while (try_making(&w, &fault));
    }
    print_message("making: %u tries\n", tries);
    world_end(&w);
}

/* ---- housekeeping */

static const char *const old_rows = "SELECT count(*) FROM keys WHERE forget_ms <= 2000000";

/* The store learns that the time has come. */
static void let_time_pass(struct world *w)
{
    (void)release(w, 255, 255, false, NOW_MS + EXPIRED_MS);
}

static bool try_reaping(struct world *w, const struct buf *template, const struct fault *fault)
{
    fault_world_reset(w, template);
    w->params.reap_interval_ms = 1;
    fault_open(w);
    fault_vfs_arm(fault);
    let_time_pass(w);
    while (!fault_vfs_struck() && fault_ask(w, old_rows) > 0)
        assert_int_equal(usleep(500), 0);
    bool struck = fault_vfs_disarm();
    world_close(w);
    fault_open(w);
    let_time_pass(w);
    while (fault_ask(w, old_rows) > 0)
        assert_int_equal(usleep(500), 0);
    fault_published_check(w);
    fault_world_check(w);
    world_close(w);
    return struck;
}

TEST(store_faults, housekeeping_that_fails_is_done_later)
{
    struct world w;
    struct buf template;
    unsigned tries = 0;
    fault_world_make(&w, &template);
    for (size_t j = 0; j < COUNT_OF(faults); j++) {
        struct fault fault = faults[j];
        do {
            fault.at++;
            tries++;
        } while (try_reaping(&w, &template, &fault));
    }
    print_message("housekeeping: %u tries\n", tries);
    buf_done(&template);
    world_end(&w);
}
