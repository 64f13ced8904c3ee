/* Opening, refusing, restarting, and what happens when the disk fails. */
#include "store_publications.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* Files whose name ends like this cannot be synced; NULL: all can. */
static _Atomic(const char *) unsyncable;

/* In place of libc's, also for SQLite. */
int fdatasync(int fd)
{
    const char *ending = atomic_load(&unsyncable);
    char link_path[64], name[256];
    (void)snprintf(link_path, sizeof link_path, "/proc/self/fd/%d", fd);
    ssize_t n = ending ? readlink(link_path, name, sizeof name) : 0;
    if (n > 0 && span_ends((struct span){name, (size_t)n}, ending)) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

static void write_file(const char *path, const void *bytes, size_t n, off_t at)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, n, at), n);
    assert_int_equal(close(fd), 0);
}

static mode_t mode_of(const struct world *w, const char *name)
{
    char path[160];
    struct stat file;
    (void)snprintf(path, sizeof path, "%s/%s", w->directory, name);
    assert_int_equal(stat(path, &file), 0);
    return file.st_mode & 0777;
}

static void assert_refused(struct world *w, enum rc rc, const char *why)
{
    assert_int_equal(world_open(w), rc);
    assert_null(w->store);
    if (!strstr(buf_text(&w->problem), why) || !strstr(buf_text(&w->problem), w->path))
        fail_msg("the problem reads: %s", buf_text(&w->problem));
}

TEST(store_sqlite_file, everything_is_made_for_its_owner_only)
{
    EMPTY_WORLD(w);
    char deep[160];
    (void)snprintf(deep, sizeof deep, "%s/state/unstream/keys.db", w.directory);
    w.params.path = span_of(deep);
    mode_t before = umask(0);
    enum rc rc = world_open(&w);
    mode_t after = umask(before);
    assert_int_equal(rc, OK);
    assert_int_equal(after, 0);
    REPLY claimed = claim(&w, 'a', 1, NOW_MS);
    assert_int_equal(claimed.result, CLAIM_OK);
    assert_int_equal(mode_of(&w, "state"), 0700);
    assert_int_equal(mode_of(&w, "state/unstream"), 0700);
    assert_int_equal(mode_of(&w, "state/unstream/keys.db"), 0600);
    assert_int_equal(mode_of(&w, "state/unstream/keys.db-wal"), 0600);
    assert_int_equal(mode_of(&w, "state/unstream/keys.db.lock"), 0600);
}

TEST(store_sqlite_file, the_file_has_the_layout_that_was_measured)
{
    WORLD(w);
    assert_int_equal(ask_file(&w, "PRAGMA page_size"), 8192);
    assert_int_equal(ask_file(&w, "PRAGMA auto_vacuum"), 2);
    assert_int_equal(ask_file(&w, "PRAGMA user_version"), 4);
    assert_int_equal(ask_file(&w, "PRAGMA application_id"), 0x756e7374);
    assert_int_equal(ask_file(&w, "SELECT journal_mode = 'wal' FROM pragma_journal_mode"), 1);
}

TEST(store_sqlite_file, a_restart_keeps_answers_and_salt)
{
    WORLD(w);
    uint8_t salt[STORE_SALT_BYTES];
    memcpy(salt, w.store->salt, sizeof salt);
    REPLY claimed = claim(&w, 'a', 1, NOW_MS);
    assert_int_equal(claimed.result, CLAIM_OK);
    assert_int_equal(complete(&w, 'a', 1, SPAN("{\"id\":1}"), NOW_MS), OK);
    world_restart(&w);
    assert_int_equal(w.store->interrupted, 0);
    assert_memory_equal(w.store->salt, salt, sizeof salt);
    REPLY found = lookup(&w, 'a', NOW_MS + 1);
    assert_int_equal(found.record.state, KEY_DONE);
    assert_span_equal(blob_span(found.body), "{\"id\":1}");
}

TEST(store_sqlite_file, two_stores_have_two_salts)
{
    WORLD(one);
    WORLD(two);
    assert_memory_not_equal(one.store->salt, two.store->salt, STORE_SALT_BYTES);
}

TEST(store_sqlite_file, what_was_running_is_released_as_interrupted_with_its_count)
{
    WORLD(w);
    REPLY first = claim(&w, 'a', 1, NOW_MS);
    REPLY counted = count_call(&w, 'a', 1);
    REPLY second = claim(&w, 'b', 2, NOW_MS);
    assert_int_equal(first.result, CLAIM_OK);
    assert_int_equal(counted.paid_calls, 2);
    assert_int_equal(second.result, CLAIM_OK);
    w.params.now_ms = NOW_MS + 500;
    world_restart(&w);
    assert_int_equal(w.store->interrupted, 2);

    REPLY found = lookup(&w, 'a', NOW_MS + 500 + TTL_MS - 1);
    assert_int_equal(found.record.state, KEY_RELEASED);
    assert_int_equal(found.record.paid_calls, 2);
    assert_int_equal(found.record.ended_ms, NOW_MS + 500);
    assert_string_equal(found.error_code, "interrupted");
    assert_int_equal(complete(&w, 'a', 1, SPAN("late"), NOW_MS), E_CONFLICT);

    REPLY again = claim(&w, 'a', 3, NOW_MS + 600);
    assert_int_equal(again.result, CLAIM_OK);
    assert_int_equal(again.record.paid_calls, 3);
}

TEST(store_sqlite_file, what_was_reported_survives_a_process_that_just_dies)
{
    EMPTY_WORLD(w);
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        bool fine = world_open(&w) == OK && claim(&w, 'a', 1, NOW_MS).result == CLAIM_OK &&
                    claim(&w, 'b', 2, NOW_MS).result == CLAIM_OK &&
                    complete(&w, 'b', 2, SPAN("paid"), NOW_MS) == OK;
        _exit(fine ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(world_open(&w), OK);
    assert_int_equal(w.store->interrupted, 1);
    REPLY lost = lookup(&w, 'a', NOW_MS);
    REPLY kept = lookup(&w, 'b', NOW_MS);
    assert_int_equal(lost.record.state, KEY_RELEASED);
    assert_int_equal(lost.record.paid_calls, 1);
    assert_int_equal(kept.record.state, KEY_DONE);
    assert_span_equal(blob_span(kept.body), "paid");
}

TEST(store_sqlite_file, a_second_process_is_refused)
{
    WORLD(w);
    EMPTY_WORLD(second);
    char pid[32];
    memcpy(second.path, w.path, sizeof second.path);
    (void)snprintf(pid, sizeof pid, "(pid %d)", (int)getpid());
    assert_refused(&second, E_INVALID, pid);
    REPLY claimed = claim(&w, 'a', 1, NOW_MS);
    assert_int_equal(claimed.result, CLAIM_OK);
}

TEST(store_sqlite_file, a_symbolic_link_does_not_hide_the_lock)
{
    WORLD(w);
    EMPTY_WORLD(second);
    assert_int_equal(symlink(w.path, second.path), 0);
    assert_int_equal(world_open(&second), E_INVALID);
    assert_non_null(strstr(buf_text(&second.problem), "in use by another unstream process"));
}

TEST(store_sqlite_file, a_newer_schema_is_refused_and_left_alone)
{
    WORLD(w);
    world_close(&w);
    (void)ask_file(&w, "PRAGMA user_version = 5");
    assert_refused(&w, E_INVALID, "newer unstream (schema 5, this program knows 4)");
    assert_int_equal(ask_file(&w, "PRAGMA user_version"), 5);
}

TEST(store_sqlite_file, an_older_file_is_brought_up_to_date_with_its_keys)
{
    WORLD(w);
    REPLY claimed = claim(&w, 'a', 1, NOW_MS);
    assert_int_equal(claimed.result, CLAIM_OK);
    assert_int_equal(complete(&w, 'a', 1, SPAN("kept"), NOW_MS), OK);
    world_close(&w);
    make_schema_1(&w);
    assert_int_equal(world_open(&w), OK);
    assert_int_equal(ask_file(&w, "PRAGMA user_version"), 4);
    REPLY kept = lookup(&w, 'a', NOW_MS);
    assert_int_equal(kept.record.state, KEY_DONE);
    assert_span_equal(blob_span(kept.body), "kept");
    assert_null(kept.record.members.p);
}

TEST(store_sqlite_file, a_file_of_schema_3_runs_nothing_on_and_keeps_old_results_from_then_on)
{
    WORLD(w);
    REPLY done = claim(&w, 'a', 1, NOW_MS);
    REPLY running = claim(&w, 'b', 2, NOW_MS);
    assert_int_equal(done.result + running.result, 2 * CLAIM_OK);
    struct store_completion completion = completion_of('a', 1, SPAN("kept"), NOW_MS);
    completion.keep_until_ms = NOW_MS + 2 * TTL_MS;
    assert_int_equal(complete_with(&w, &completion), OK);
    world_close(&w);
    make_schema_3(&w);
    assert_int_equal(world_open(&w), OK);
    assert_int_equal(ask_file(&w, "PRAGMA user_version"), 4);
    assert_int_equal(w.store->interrupted, 1);
    assert_int_equal(w.store->accepted, 0);
    REPLY reborn = claim(&w, 'a', 3, NOW_MS + TTL_MS);
    assert_int_equal(reborn.result, CLAIM_OK);
    assert_int_equal(accept_flight(&w, 3, 't', SPAN("{}")), OK);
    RESULT old = result_of_flight(&w, 1, NOW_MS + TTL_MS);
    assert_span_equal(blob_span(old.body), "kept");
    assert_int_equal(complete(&w, 'a', 3, SPAN("new"), NOW_MS + TTL_MS), OK);
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM requests"), 0);
    RESULT new = result_of_token(&w, 't', NOW_MS + TTL_MS);
    assert_span_equal(blob_span(new.body), "new");
}

TEST(store_sqlite_file, a_file_that_is_no_database_is_refused_and_left_alone)
{
    EMPTY_WORLD(w);
    struct stat file;
    char text[8192];
    memset(text, 'x', sizeof text);
    write_file(w.path, text, sizeof text, 0);
    assert_refused(&w, E_INVALID, "not an SQLite database");
    assert_int_equal(stat(w.path, &file), 0);
    assert_int_equal(file.st_size, sizeof text);
}

TEST(store_sqlite_file, a_database_of_another_program_is_refused_and_left_alone)
{
    EMPTY_WORLD(w);
    (void)ask_file(&w, "CREATE TABLE songs (title TEXT)");
    assert_refused(&w, E_INVALID, "a database of another program");
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM sqlite_schema"), 1);
    assert_int_equal(ask_file(&w, "SELECT journal_mode = 'delete' FROM pragma_journal_mode"),
                     1);
}

TEST(store_sqlite_file, a_damaged_database_is_refused)
{
    WORLD(w);
    world_close(&w);
    char damage[4096];
    memset(damage, 0xAA, sizeof damage);
    write_file(w.path, damage, sizeof damage, 100); /* behind the header of the file */
    assert_refused(&w, E_INVALID, "damaged");
}

TEST(store_sqlite_file, a_path_that_cannot_be_made_is_refused)
{
    EMPTY_WORLD(w);
    char below[128];
    write_file(w.path, "x", 1, 0);
    (void)snprintf(below, sizeof below, "%s/deeper/store.db", w.path);
    w.params.path = span_of(below);
    assert_refused(&w, E_IO, strerror(ENOTDIR));
}

TEST(store_sqlite_file, a_full_store_refuses_what_is_too_large_and_keeps_the_rest)
{
    enum { LARGE = 4 << 20 };
    EMPTY_WORLD(w);
    w.params.bytes_max = LARGE;
    assert_int_equal(world_open(&w), OK);
    REPLY first = claim(&w, 'a', 1, NOW_MS);
    REPLY second = claim(&w, 'b', 2, NOW_MS);
    assert_int_equal(first.result, CLAIM_OK);
    assert_int_equal(second.result, CLAIM_OK);
    assert_int_equal(complete(&w, 'a', 1, SPAN("kept"), NOW_MS), OK);

    /* Queued together: the large one must not take the small ones along. */
    char *zeros = calloc(1, LARGE);
    assert_non_null(zeros);
    struct store_completion large = completion_of('b', 2, (struct span){zeros, LARGE}, NOW_MS);
    struct store_claim before = claim_of('c', 3, NOW_MS), after = claim_of('d', 4, NOW_MS);
    REPLY small_before = {0};
    REPLY full = {0};
    REPLY small_after = {0};
    free(zeros);
    assert_int_equal(store_claim(w.store, &before, on_claim, &small_before), OK);
    assert_int_equal(store_complete(w.store, &large, on_done, &full), OK);
    assert_int_equal(store_claim(w.store, &after, on_claim, &small_after), OK);
    blob_free(large.answer.body);
    world_wait(&w, &small_after, 1);
    assert_int_equal(small_before.rc, OK);
    assert_int_equal(small_before.result, CLAIM_OK);
    assert_int_equal(full.rc, E_LIMIT);
    assert_int_equal(small_after.rc, OK);
    assert_int_equal(small_after.result, CLAIM_OK);

    REPLY kept = lookup(&w, 'a', NOW_MS);
    REPLY running = lookup(&w, 'b', NOW_MS);
    assert_span_equal(blob_span(kept.body), "kept");
    assert_int_equal(running.record.state, KEY_RUNNING);
    assert_int_equal(complete(&w, 'b', 2, SPAN("smaller"), NOW_MS), OK);
    struct store_stats stats = store_stats(w.store);
    assert_int_equal(stats.failures, 1);
    assert_true(stats.writable);
    assert_true(stats.readable);
}

TEST(store_sqlite_file, a_file_that_cannot_grow_refuses_claims_with_a_limit)
{
    EMPTY_WORLD(w);
    w.params.bytes_max = 1; /* less than the empty file has */
    assert_int_equal(world_open(&w), OK);
    enum rc rc = OK;
    int flights = 0;
    while (rc == OK && flights < 200) {
        REPLY claimed = claim(&w, flights, flights, NOW_MS);
        rc = claimed.rc;
        flights += rc == OK;
    }
    assert_int_equal(rc, E_LIMIT);
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM keys"), flights);
    assert_int_equal(ask_file(&w, "SELECT count(*) FROM flights"), flights);
    assert_true(store_stats(w.store).writable);
}

TEST(store_sqlite_file, after_a_failed_sync_nothing_is_written_any_more)
{
    WORLD(w);
    REPLY first = claim(&w, 'a', 1, NOW_MS);
    assert_int_equal(first.result, CLAIM_OK);
    assert_int_equal(complete(&w, 'a', 1, SPAN("kept"), NOW_MS), OK);
    assert_true(store_stats(w.store).writable);

    atomic_store(&unsyncable, "-wal");
    REPLY lost = claim(&w, 'b', 2, NOW_MS);
    atomic_store(&unsyncable, NULL);
    assert_int_equal(lost.rc, E_IO);
    assert_false(store_stats(w.store).writable);
    assert_true(store_stats(w.store).lost);

    REPLY later = claim(&w, 'c', 3, NOW_MS);
    REPLY counted = count_call(&w, 'a', 1);
    REPLY found = lookup(&w, 'a', NOW_MS);
    REPLY not_there = lookup(&w, 'b', NOW_MS);
    assert_int_equal(later.rc, E_IO);
    assert_int_equal(counted.rc, E_IO);
    assert_int_equal(found.rc, OK);
    assert_span_equal(blob_span(found.body), "kept");
    assert_int_equal(not_there.record.state, KEY_ABSENT);
    assert_int_equal(store_stats(w.store).failures, 3);
    assert_true(store_stats(w.store).readable);

    world_restart(&w);
    assert_true(store_stats(w.store).writable);
    assert_false(store_stats(w.store).lost);
    REPLY kept = lookup(&w, 'a', NOW_MS);
    REPLY again = claim(&w, 'c', 4, NOW_MS);
    assert_span_equal(blob_span(kept.body), "kept");
    assert_int_equal(again.result, CLAIM_OK);
}

TEST(store_sqlite_file, a_failed_sync_of_a_checkpoint_is_not_overlooked)
{
    enum { BODY = 12 << 20 }; /* more than the log takes before a checkpoint */
    WORLD(w);
    char *body = calloc(1, BODY);
    assert_non_null(body);
    REPLY claimed = claim(&w, 'a', 1, NOW_MS);
    assert_int_equal(claimed.result, CLAIM_OK);
    atomic_store(&unsyncable, "store.db");
    assert_int_equal(complete(&w, 'a', 1, (struct span){body, BODY}, NOW_MS), OK);
    REPLY later = claim(&w, 'b', 2, NOW_MS); /* the checkpoint came before it */
    atomic_store(&unsyncable, NULL);
    assert_int_equal(later.rc, E_IO);
    assert_false(store_stats(w.store).writable);

    world_restart(&w);
    REPLY found = lookup(&w, 'a', NOW_MS);
    assert_int_equal(found.record.state, KEY_DONE);
    assert_true(span_eq(blob_span(found.body), (struct span){body, BODY}));
    free(body);
}

TEST(store_sqlite_file, a_damaged_page_fails_its_lookups_and_no_others)
{
    WORLD(w);
    REPLY claimed = claim(&w, 'a', 1, NOW_MS);
    assert_int_equal(claimed.result, CLAIM_OK);
    assert_int_equal(complete(&w, 'a', 1, SPAN("{}"), NOW_MS), OK);
    int64_t page = ask_file(&w, "SELECT rootpage FROM sqlite_schema WHERE name = 'bodies'");
    world_close(&w);
    char damage[8192];
    memset(damage, 0xAA, sizeof damage);
    write_file(w.path, damage, sizeof damage, (page - 1) * 8192);
    assert_int_equal(world_open(&w), OK);
    REPLY damaged = lookup(&w, 'a', NOW_MS);
    REPLY absent = lookup(&w, 'b', NOW_MS);
    assert_int_equal(damaged.rc, E_IO);
    assert_int_equal(absent.rc, OK);
    assert_int_equal(absent.record.state, KEY_ABSENT);
    assert_true(store_stats(w.store).readable);
}

TEST(store_sqlite_file, sizes_are_measured)
{
    WORLD(w);
    struct store_stats stats = store_stats(w.store);
    assert_in_range(stats.bytes, 8192, 1 << 20);
    assert_true(stats.free_bytes > 0);
}
