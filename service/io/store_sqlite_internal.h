/* What the files of store_sqlite share.  Nobody else includes it. */
#ifndef IO_STORE_SQLITE_INTERNAL_H
#define IO_STORE_SQLITE_INTERNAL_H

#include "io/sqlite_db.h"
#include "io/store_job.h"
#include "io/store_sqlite.h"

#include <stdatomic.h>

/* Written by the store threads, read by the loop. */
struct store_sqlite_counters {
    _Atomic uint64_t commits, operations, failures, queue_length, bytes, free_bytes;
    _Atomic uint64_t commit_us_sum, commit_us_max;
    _Atomic uint64_t commit_buckets[STORE_COMMIT_BOUNDS + 1];
    atomic_bool readable, writable, lost;
};

/* A thread with its connection, its mailbox and the message that ends it. */
struct store_sqlite_thread {
    struct sqlite_db db;
    struct mailbox box;
    struct message stop; /* the last message; all before it are jobs */
    pthread_t id;
    bool box_made, running;
};

struct store_sqlite {
    struct store store;
    struct mailbox *loop;
    _Atomic int64_t released_ttl_ms;
    int64_t reap_interval_ms;
    uint64_t free_bytes_min;
    char *path, *wal_path, *directory; /* absolute, without symbolic links */
    int lock_fd;                       /* -1: none */
    struct store_sqlite_counters counters;
    struct store_sqlite_thread reader, writer;

    /* Of the writer. */
    int wal_pages;       /* in the log after the last commit */
    int64_t now_ms;      /* wall clock of the last operation ... */
    int64_t now_seen_ms; /* ... and the monotonic clock then; 0: none was seen */
};

/* store_sqlite_file.c.  Fills in paths, lock, both connections, salt, interrupted and accepted.  Results
 * and `problem` as store_sqlite_open; what was opened until a failure is left to
 * store_sqlite_file_close. */
MUST_CHECK enum rc store_sqlite_file_open(struct store_sqlite *sqlite,
                                          const struct store_sqlite_params *params,
                                          struct buf *problem);
void store_sqlite_file_close(struct store_sqlite *sqlite);

/* store_sqlite_disk.c.  E_INVALID: the store is on a network file system; `problem` says what to do. */
MUST_CHECK enum rc store_sqlite_disk_check(const struct store_sqlite *sqlite,
                                           struct buf *problem);
/* Updates counters.bytes and counters.free_bytes. */
void store_sqlite_disk_measure(struct store_sqlite *sqlite);

/* store_sqlite_queries.c.  Does what the job asks for, without a transaction of its own, and
 * fills in its result.  A failure of the database is in db->code, not in the job. */
void store_sqlite_perform(struct store_sqlite *sqlite, struct sqlite_db *db,
                          struct store_job *job);

/* store_sqlite_published.c.  Like store_sqlite_perform, for what makes flights known beyond
 * their waiters. */
void store_sqlite_perform_publish(struct sqlite_db *db, struct store_job *job);
void store_sqlite_perform_result(struct sqlite_db *db, struct store_job *job);
void store_sqlite_perform_accepted(struct sqlite_db *db, struct store_job *job);
/* What a job publishes of a flight that runs. */
void store_sqlite_publish(struct sqlite_db *db, const struct flight_id *flight,
                          const struct store_job_publication *publication);

/* store_sqlite_tasks.c.  Like store_sqlite_perform, for operators' tasks. */
void store_sqlite_perform_task(struct store_sqlite *sqlite, struct sqlite_db *db,
                               struct store_job *job);

/* How queries take digests and flights, which must stay until sqlite_db_end, and tell states.
 */
void store_sqlite_bind_digest(struct sqlite_db *db, const char *name,
                              const struct digest *digest);
void store_sqlite_bind_flight(struct sqlite_db *db, const struct flight_id *flight);
enum key_state store_sqlite_state_of(struct span name);
/* A copy in the job's memory; absent: NULL, or out of memory (db->code). */
struct span store_sqlite_read_bytes(struct sqlite_db *db, int column, struct store_job *job);

/* What queries tell of an answer, in columns side by side. */
enum {
    ANSWER_STATUS,
    ANSWER_CONTENT_TYPE,
    ANSWER_REQUEST_ID,
    ANSWER_ERROR_CODE,
    ANSWER_BODY, /* flights.body */
    ANSWER_BODY_SHA256,
    ANSWER_BODY_BYTES
};
/* The answer in the columns from `first` on, without its body. */
void store_sqlite_read_answer(struct sqlite_db *db, int first, struct store_job *job,
                              struct answer *ret);
/* Its body, if it has one; true: it has, but not as it was stored, and none is read. */
bool store_sqlite_read_body(struct sqlite_db *db, int first, struct answer *ret);

/* store_sqlite_reaper.c.  Deletes a few rows that ended before now_ms, or gives some free space
 * of the file back.  True: there is more to do.  Failures: db->code. */
bool store_sqlite_reap(struct sqlite_db *db, int64_t now_ms);

/* The threads; `context` is the struct store_sqlite. */
void *store_sqlite_writer_main(void *context);
void *store_sqlite_reader_main(void *context);

/* store_sqlite.c.  Sends a performed job home. */
void store_sqlite_send_back(struct store_sqlite *sqlite, struct store_job *job);
/* Waits for messages at most timeout_ms (-1: for ever) and takes them. */
struct message *store_sqlite_take(struct mailbox *box, int timeout_ms);
int64_t store_sqlite_monotonic_us(void);

#endif
