/* A store on a disk that fails: a template database in a folder of its own, put back to its
 * first state before each try, and what must hold after any fault.
 *
 * The template: 'd' is DONE with the answer "kept" and the token 'd', 'f' FAILED, 'r' RELEASED
 * with one paid call, 'a' runs and is an accepted request with the token 'a', and EXPIRED_KEYS keys are over EXPIRED_MS after NOW_MS. */
#ifndef FAULT_WORLD_H
#define FAULT_WORLD_H

#include "../unit/store_publications.h"
#include "fault_vfs.h"

enum { EXPIRED_KEYS = 5, EXPIRED_MS = 1000, FAR_MS = 1000000000, FILE_BYTES_MAX = 64 << 20 };

static inline void fault_files_remove(const struct world *w)
{
    static const char *const endings[] = {"", "-wal", "-shm", "-journal", ".lock"};
    for (size_t i = 0; i < COUNT_OF(endings); i++) {
        char path[160];
        (void)snprintf(path, sizeof path, "%s%s", w->path, endings[i]);
        (void)unlink(path); /* most are not there */
    }
}

static inline void fault_file_write(const char *path, struct span bytes)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes.p, 1, bytes.n, file), bytes.n);
    assert_int_equal(fclose(file), 0);
}

static inline void fault_file_read(const char *path, struct buf *out)
{
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    char bytes[65536];
    for (size_t n; (n = fread(bytes, 1, sizeof bytes, file)) > 0;)
        buf_add(out, (struct span){bytes, n});
    assert_int_equal(fclose(file), 0);
    assert_int_equal(buf_rc(out), OK);
}

/* As ask_file, but on the real disk, past all faults. */
static inline int64_t fault_ask(const struct world *w, const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_open_v2(w->path, &db, SQLITE_OPEN_READWRITE, "unix"), SQLITE_OK);
    assert_int_equal(sqlite3_busy_timeout(db, PATIENCE_MS), SQLITE_OK);
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    int64_t number =
        sqlite3_step(statement) == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : -1;
    assert_int_equal(sqlite3_finalize(statement), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return number;
}

static inline void fault_fill(struct world *w)
{
    REPLY done = claim(w, 'd', 'd', NOW_MS);
    struct store_completion kept = completion_of('d', 'd', SPAN("kept"), NOW_MS);
    kept.expires_ms = NOW_MS + FAR_MS;
    assert_int_equal(done.result, CLAIM_OK);
    assert_int_equal(publish_token(w, 'd', 'd'), OK);
    assert_int_equal(complete_with(w, &kept), OK);
    REPLY failed = claim(w, 'f', 'f', NOW_MS);
    assert_int_equal(failed.result, CLAIM_OK);
    assert_int_equal(fail_key(w, 'f', 'f', NOW_MS), OK);
    REPLY released = claim(w, 'r', 'r', NOW_MS);
    assert_int_equal(released.result, CLAIM_OK);
    assert_int_equal(release(w, 'r', 'r', false, NOW_MS), OK);
    REPLY accepted = claim_accepted(w, 'a', 'a', 'a', NOW_MS);
    assert_int_equal(accepted.result, CLAIM_OK);
    for (int key = 1; key <= EXPIRED_KEYS; key++) {
        REPLY old = claim(w, key, key, NOW_MS);
        struct store_completion over = completion_of(key, key, SPAN("old"), NOW_MS);
        over.expires_ms = NOW_MS + EXPIRED_MS;
        assert_int_equal(old.result, CLAIM_OK);
        assert_int_equal(complete_with(w, &over), OK);
    }
}

/* The world is empty afterwards; the caller frees *ret_template. */
static inline void fault_world_make(struct world *w, struct buf *ret_template)
{
    fault_vfs_install();
    world_make(w);
    if (world_open(w) != OK)
        fail_msg("%s", buf_text(&w->problem));
    fault_fill(w);
    world_close(w);
    buf_init(ret_template, FILE_BYTES_MAX);
    fault_file_read(w->path, ret_template);
    fault_files_remove(w);
}

static inline void fault_world_reset(struct world *w, const struct buf *template)
{
    fault_files_remove(w);
    fault_file_write(w->path, buf_span(template));
    w->params.now_ms = NOW_MS;
    w->params.reap_interval_ms = 0;
}

static inline void fault_open(struct world *w)
{
    if (world_open(w) != OK)
        fail_msg("does not open: %s", buf_text(&w->problem));
}

/* After a restart: what the template published is there, its accepted request runs with all that
 * drives it, and nothing runs that was not accepted. */
static inline void fault_published_check(struct world *w)
{
    ACCEPTED found = accepted_after(w, 'a' - 1);
    struct flight_id flight = flight_of('a');
    assert_int_equal(found.rc, OK);
    assert_memory_equal(&found.record.flight, &flight, sizeof flight);
    assert_false(found.record.corrupt);
    assert_span_equal(blob_span(found.body), "{\"prompt\":\"hi\"}");
    RESULT kept = result_of_token(w, 'd', NOW_MS);
    assert_int_equal(kept.rc, OK);
    assert_span_equal(blob_span(kept.body), "kept");
    RESULT running = result_of_token(w, 'a', NOW_MS);
    assert_int_equal(running.record.state, FLIGHT_ROW_RUNNING);
    assert_int_equal(fault_ask(w, "SELECT count(*) FROM keys WHERE state = 'running'"),
                     w->store->accepted);
    assert_int_equal(fault_ask(w, "SELECT count(*) FROM flights WHERE state = 'running'"),
                     w->store->accepted);
    assert_int_equal(fault_ask(w, "SELECT count(*) FROM requests"), w->store->accepted);
    assert_int_equal(fault_ask(w, "SELECT count(*) FROM tokens "
                                  "WHERE flight NOT IN (SELECT flight FROM flights)"),
                     0);
}

/* After a restart: sound, nothing of the template lost, nothing stuck, ready for new keys. */
static inline void fault_world_check(struct world *w)
{
    assert_int_equal(fault_ask(w, "SELECT integrity_check = 'ok' FROM pragma_integrity_check"),
                     1);
    REPLY kept = lookup(w, 'd', NOW_MS);
    assert_int_equal(kept.rc, OK);
    assert_int_equal(kept.record.state, KEY_DONE);
    assert_span_equal(blob_span(kept.body), "kept");
    REPLY failed = lookup(w, 'f', NOW_MS);
    assert_int_equal(failed.record.state, KEY_FAILED);
    assert_int_equal(failed.record.answer.status, 502);
    REPLY released = lookup(w, 'r', NOW_MS);
    assert_int_equal(released.record.state, KEY_RELEASED);
    assert_true(released.record.paid_calls >= 1);
    REPLY fresh = claim(w, 'z', 'z', NOW_MS);
    assert_int_equal(fresh.rc, OK);
    assert_int_equal(fresh.result, CLAIM_OK);
    assert_int_equal(complete(w, 'z', 'z', SPAN("fresh"), NOW_MS), OK);
}

#endif
