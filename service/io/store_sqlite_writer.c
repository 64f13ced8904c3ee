#include "io/store_sqlite_internal.h"

/* The log goes into the file when it has this many pages (8 MiB). */
enum { CHECKPOINT_PAGES = 1024 };
/* Housekeeping waits for an empty queue, but not longer than this once it is due. */
enum { BUSY_REAP_DELAY_US = 100000 };
enum { MEASURE_INTERVAL_US = 1000000 };

static struct store_job *job_of(struct message *message)
{
    return CONTAINER_OF(message, struct store_job, message);
}

/* After a failed fsync the kernel may have dropped the pages and report success the next time;
 * and damage must not spread.  Then only the file as it is now can be trusted. */
static bool is_lost(int code)
{
    return code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC;
}

static bool is_final(int code)
{
    return is_lost(code) || (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB;
}

static bool is_writable(struct store_sqlite *sqlite)
{
    return atomic_load(&sqlite->counters.writable);
}

/* Ends the transaction that failed, if one is open, and returns why. */
static int clean_up(struct store_sqlite *sqlite)
{
    struct sqlite_db *db = &sqlite->writer.db;
    int code = db->code;
    sqlite_db_roll_back(db);
    if (is_final(code)) {
        atomic_store(&sqlite->counters.writable, false);
        if (is_lost(code)) {
            atomic_store(&sqlite->counters.lost, true);
            mailbox_wake(sqlite->loop); /* housekeeping has no job that would tell the loop */
        }
        /* Closing would write the log into the file. */
        int set = sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        ASSERT(set == SQLITE_OK);
    }
    return code;
}

static void note_time(struct store_sqlite *sqlite, int64_t now_ms)
{
    sqlite->now_ms = now_ms;
    sqlite->now_seen_ms = store_sqlite_monotonic_us() / 1000;
}

static void note_time_of(struct store_sqlite *sqlite, const struct store_job *job)
{
    switch (job->kind) {
    case STORE_JOB_CLAIM:
        note_time(sqlite, job->claim.now_ms);
        break;
    case STORE_JOB_COMPLETE:
        note_time(sqlite, job->completion.now_ms);
        break;
    case STORE_JOB_RELEASE:
        note_time(sqlite, job->release.now_ms);
        break;
    case STORE_JOB_TASK:
        note_time(sqlite, job->task.now_ms);
        break;
    case STORE_JOB_LOOKUP:
    case STORE_JOB_COUNT:
    case STORE_JOB_PUBLISH:
    case STORE_JOB_RESULT:
    case STORE_JOB_ACCEPTED:
        break;
    }
}

static void note_commit(struct store_sqlite *sqlite, int64_t us)
{
    struct store_sqlite_counters *counters = &sqlite->counters;
    atomic_fetch_add(&counters->commits, 1);
    atomic_fetch_add(&counters->commit_us_sum, (uint64_t)us);
    if ((uint64_t)us > atomic_load(&counters->commit_us_max))
        atomic_store(&counters->commit_us_max, (uint64_t)us);
    size_t bucket = 0;
    while (bucket < STORE_COMMIT_BOUNDS && us > store_commit_bounds_us[bucket])
        bucket++;
    atomic_fetch_add(&counters->commit_buckets[bucket], 1);
}

/* New work needs room for its answer; what ends a flight may use the last bytes. */
static bool has_room_for(struct store_sqlite *sqlite, const struct store_job *job)
{
    return job->kind != STORE_JOB_CLAIM ||
           atomic_load(&sqlite->counters.free_bytes) >= sqlite->free_bytes_min;
}

static void perform(struct store_sqlite *sqlite, struct store_job *job)
{
    if (has_room_for(sqlite, job))
        store_sqlite_perform(sqlite, &sqlite->writer.db, job);
    else
        store_job_reset(job, E_LIMIT);
}

/* One transaction over the jobs from `first` to before `end`.  SQLITE_OK: their results are
 * durable; else nothing is, and why. */
static int transact(struct store_sqlite *sqlite, struct message *first, struct message *end)
{
    struct sqlite_db *db = &sqlite->writer.db;
    int64_t start_us = store_sqlite_monotonic_us();
    sqlite_db_query(db, QUERY_BEGIN);
    (void)sqlite_db_run(db);
    for (struct message *m = first; m != end && db->code == SQLITE_OK; m = m->next)
        perform(sqlite, job_of(m));
    sqlite_db_query(db, QUERY_COMMIT);
    (void)sqlite_db_run(db);
    if (db->code != SQLITE_OK)
        return clean_up(sqlite);
    note_commit(sqlite, store_sqlite_monotonic_us() - start_us);
    return SQLITE_OK;
}

static void refuse(struct store_job *job, int code)
{
    enum rc rc = sqlite_db_rc(code);
    /* To a count E_LIMIT means that all paid calls are used up. */
    store_job_reset(job, job->kind == STORE_JOB_COUNT && rc == E_LIMIT ? E_IO : rc);
}

/* Can one job have failed the whole group? */
static bool one_is_to_blame(int code)
{
    switch (code & 0xff) {
    case SQLITE_FULL:
    case SQLITE_TOOBIG:
    case SQLITE_NOMEM:
    case SQLITE_CONSTRAINT:
        return true;
    default:
        return false;
    }
}

/* Every job from `first` to before `end` gets its result. */
static void run_group(struct store_sqlite *sqlite, struct message *first, struct message *end)
{
    int code = is_writable(sqlite) ? transact(sqlite, first, end) : SQLITE_IOERR;
    if (code == SQLITE_OK)
        return;
    bool one_by_one = one_is_to_blame(code) && first->next != end;
    for (struct message *m = first; m != end; m = m->next) {
        if (one_by_one)
            run_group(sqlite, m, m->next);
        else
            refuse(job_of(m), code);
    }
}

static void check_point(struct store_sqlite *sqlite)
{
    struct sqlite_db *db = &sqlite->writer.db;
    if (sqlite->wal_pages < CHECKPOINT_PAGES || !is_writable(sqlite))
        return;
    sqlite->wal_pages = 0;
    int code =
        sqlite3_wal_checkpoint_v2(db->handle, "main", SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    if (code != SQLITE_OK) {
        /* Busy or full: the log keeps everything, and the next commit tries again. */
        sqlite_db_fail(db, code);
        (void)clean_up(sqlite);
    }
}

/* The log still has what was purged, until it is brought into the file and cut to nothing. */
static void erase_log(struct store_sqlite *sqlite, struct store_job *job)
{
    bool purged = job->kind == STORE_JOB_TASK && job->task.kind == STORE_TASK_PURGE;
    if (!purged || job->rc != OK || job->task_result.more)
        return;
    struct sqlite_db *db = &sqlite->writer.db;
    sqlite->wal_pages = 0;
    int code =
        sqlite3_wal_checkpoint_v2(db->handle, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    if (code != SQLITE_OK) {
        sqlite_db_fail(db, code);
        store_job_reset(job, sqlite_db_rc(clean_up(sqlite)));
    }
}

static void run_batch(struct store_sqlite *sqlite, struct message *first, struct message *end)
{
    if (first == end)
        return;
    for (struct message *m = first; m != end; m = m->next)
        note_time_of(sqlite, job_of(m));
    run_group(sqlite, first, end);
    while (first != end) {
        struct message *next = first->next; /* the loop may free it at once */
        erase_log(sqlite, job_of(first));
        store_sqlite_send_back(sqlite, job_of(first));
        first = next;
    }
    check_point(sqlite);
}

/* True: there is more to do. */
static bool keep_house(struct store_sqlite *sqlite)
{
    if (!is_writable(sqlite) || !sqlite->now_seen_ms)
        return false;
    int64_t seen_for_ms = store_sqlite_monotonic_us() / 1000 - sqlite->now_seen_ms;
    bool more = store_sqlite_reap(&sqlite->writer.db, sqlite->now_ms + seen_for_ms);
    if (sqlite->writer.db.code != SQLITE_OK)
        (void)clean_up(sqlite);
    check_point(sqlite);
    return more;
}

static int count_wal_pages(void *context, sqlite3 *db, const char *name, int pages)
{
    (void)db, (void)name;
    struct store_sqlite *sqlite = context;
    sqlite->wal_pages = pages;
    return SQLITE_OK;
}

static int milliseconds_until(int64_t due_us)
{
    int64_t left_us = due_us - store_sqlite_monotonic_us();
    return left_us > 0 ? (int)((left_us + 999) / 1000) : 0;
}

/* The first message that is no job. */
static struct message *end_of(struct message *first, struct message *stop)
{
    while (first && first != stop)
        first = first->next;
    return first;
}

void *store_sqlite_writer_main(void *context)
{
    struct store_sqlite *sqlite = context;
    struct store_sqlite_thread *thread = &sqlite->writer;
    int64_t interval_us = sqlite->reap_interval_ms * 1000;
    int64_t reap_due_us = store_sqlite_monotonic_us() + interval_us, measured_us = 0;
    (void)sqlite3_wal_hook(thread->db.handle, count_wal_pages, sqlite);
    for (;;) {
        struct message *first =
            store_sqlite_take(&thread->box, milliseconds_until(reap_due_us));
        struct message *end = end_of(first, &thread->stop);
        int64_t now_us = store_sqlite_monotonic_us();
        if (now_us - measured_us >= MEASURE_INTERVAL_US) {
            store_sqlite_disk_measure(sqlite);
            measured_us = now_us;
        }
        run_batch(sqlite, first, end);
        if (end)
            return NULL;
        now_us = store_sqlite_monotonic_us();
        if (now_us >= reap_due_us + (first ? BUSY_REAP_DELAY_US : 0))
            reap_due_us = now_us + (keep_house(sqlite) ? 0 : interval_us);
    }
}
