#include "io/store_sqlite_internal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

static struct store_sqlite *sqlite_of(struct store *store)
{
    return CONTAINER_OF(store, struct store_sqlite, store);
}

static enum rc send_to(struct store_sqlite *sqlite, struct store_sqlite_thread *thread,
                       struct store_job *job)
{
    if (!job)
        return E_NOMEM;
    atomic_fetch_add(&sqlite->counters.queue_length, 1);
    mailbox_post(&thread->box, &job->message);
    return OK;
}

static enum rc lookup(struct store *store, const struct digest *key, int64_t now_ms,
                      store_lookup_cb *callback, void *context)
{
    struct store_sqlite *sqlite = sqlite_of(store);
    return send_to(sqlite, &sqlite->reader, store_job_lookup(key, now_ms, callback, context));
}

static enum rc claim(struct store *store, const struct store_claim *params,
                     store_claim_cb *callback, void *context)
{
    struct store_sqlite *sqlite = sqlite_of(store);
    return send_to(sqlite, &sqlite->writer, store_job_claim(params, callback, context));
}

static enum rc count(struct store *store, const struct digest *key, struct flight_id flight,
                     unsigned paid_calls_max, store_count_cb *callback, void *context)
{
    struct store_sqlite *sqlite = sqlite_of(store);
    return send_to(sqlite, &sqlite->writer,
                   store_job_count(key, flight, paid_calls_max, callback, context));
}

static enum rc complete(struct store *store, const struct store_completion *completion,
                        store_done_cb *callback, void *context)
{
    struct store_sqlite *sqlite = sqlite_of(store);
    return send_to(sqlite, &sqlite->writer, store_job_complete(completion, callback, context));
}

static enum rc release(struct store *store, const struct store_release *params,
                       store_done_cb *callback, void *context)
{
    struct store_sqlite *sqlite = sqlite_of(store);
    return send_to(sqlite, &sqlite->writer, store_job_release(params, callback, context));
}

static enum rc publish(struct store *store, struct flight_id flight,
                       const struct store_publication *publication, store_done_cb *callback,
                       void *context)
{
    struct store_sqlite *sqlite = sqlite_of(store);
    return send_to(sqlite, &sqlite->writer,
                   store_job_publish(flight, publication, callback, context));
}

static enum rc result(struct store *store, const struct store_result_query *query,
                      store_result_cb *callback, void *context)
{
    struct store_sqlite *sqlite = sqlite_of(store);
    return send_to(sqlite, &sqlite->reader, store_job_result(query, callback, context));
}

static enum rc accepted(struct store *store, const struct flight_id *after,
                        store_accepted_cb *callback, void *context)
{
    struct store_sqlite *sqlite = sqlite_of(store);
    return send_to(sqlite, &sqlite->reader, store_job_accepted(after, callback, context));
}

static enum rc task(struct store *store, const struct store_task *params,
                    store_task_cb *callback, void *context)
{
    struct store_sqlite *sqlite = sqlite_of(store);
    return send_to(sqlite, &sqlite->writer, store_job_task(params, callback, context));
}

static struct store_stats stats(struct store *store)
{
    struct store_sqlite_counters *counters = &sqlite_of(store)->counters;
    struct store_stats told = {
        .commits = atomic_load(&counters->commits),
        .operations = atomic_load(&counters->operations),
        .failures = atomic_load(&counters->failures),
        .queue_length = atomic_load(&counters->queue_length),
        .bytes = atomic_load(&counters->bytes),
        .free_bytes = atomic_load(&counters->free_bytes),
        .commit_us_sum = atomic_load(&counters->commit_us_sum),
        .commit_us_max = atomic_load(&counters->commit_us_max),
        .readable = atomic_load(&counters->readable),
        .writable = atomic_load(&counters->writable),
        .lost = atomic_load(&counters->lost),
    };
    for (size_t i = 0; i < COUNT_OF(told.commit_buckets); i++)
        told.commit_buckets[i] = atomic_load(&counters->commit_buckets[i]);
    return told;
}

void store_sqlite_send_back(struct store_sqlite *sqlite, struct store_job *job)
{
    struct store_sqlite_counters *counters = &sqlite->counters;
    /* E_CONFLICT, E_NOT_FOUND, and E_LIMIT of a count, are answers of a store that works. */
    bool answered = job->rc == OK || job->rc == E_CONFLICT || job->rc == E_NOT_FOUND ||
                    (job->rc == E_LIMIT && job->kind == STORE_JOB_COUNT);
    if (!answered)
        atomic_fetch_add(&counters->failures, 1);
    atomic_fetch_add(&counters->operations, 1);
    atomic_fetch_sub(&counters->queue_length, 1);
    mailbox_post(sqlite->loop, &job->message);
}

struct message *store_sqlite_take(struct mailbox *box, int timeout_ms)
{
    struct pollfd poll_fd = {.fd = box->fd, .events = POLLIN};
    int ready = poll(&poll_fd, 1, timeout_ms);
    ASSERT(ready >= 0 || errno == EINTR);
    return mailbox_take(box);
}

int64_t store_sqlite_monotonic_us(void)
{
    struct timespec now;
    int got = clock_gettime(CLOCK_MONOTONIC, &now);
    ASSERT(got == 0);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void thread_stop(struct store_sqlite_thread *thread)
{
    if (thread->running) {
        mailbox_post(&thread->box, &thread->stop);
        int joined = pthread_join(thread->id, NULL);
        ASSERT(joined == 0);
    }
    if (thread->box_made)
        mailbox_done(&thread->box);
}

static void sqlite_free(struct store *store)
{
    struct store_sqlite *sqlite = sqlite_of(store);
    thread_stop(&sqlite->reader);
    thread_stop(&sqlite->writer);
    store_sqlite_file_close(sqlite);
    free(sqlite);
}

static const struct store_ops sqlite_ops = {
    .lookup = lookup,
    .claim = claim,
    .count = count,
    .complete = complete,
    .release = release,
    .publish = publish,
    .result = result,
    .accepted = accepted,
    .task = task,
    .stats = stats,
    .free = sqlite_free,
};

static enum rc thread_start(struct store_sqlite *sqlite, struct store_sqlite_thread *thread,
                            void *(*main)(void *), const char *name)
{
    enum rc rc = mailbox_init(&thread->box);
    if (rc != OK)
        return rc;
    thread->box_made = true;
    /* Signals are for the loop. */
    sigset_t all, before;
    (void)sigfillset(&all);
    int masked = pthread_sigmask(SIG_SETMASK, &all, &before);
    ASSERT(masked == 0);
    thread->running = pthread_create(&thread->id, NULL, main, sqlite) == 0;
    masked = pthread_sigmask(SIG_SETMASK, &before, NULL);
    ASSERT(masked == 0);
    if (!thread->running)
        return E_IO;
    (void)pthread_setname_np(thread->id, name); /* only for those who look with top */
    return OK;
}

static struct store_sqlite *sqlite_new(const struct store_sqlite_params *params)
{
    struct store_sqlite *sqlite = calloc(1, sizeof *sqlite);
    if (!sqlite)
        return NULL;
    sqlite->store.ops = &sqlite_ops;
    sqlite->loop = params->loop;
    atomic_init(&sqlite->released_ttl_ms, params->released_ttl_ms);
    sqlite->free_bytes_min = params->free_bytes_min;
    sqlite->reap_interval_ms =
        params->reap_interval_ms ? params->reap_interval_ms : STORE_SQLITE_REAP_INTERVAL_MS;
    sqlite->lock_fd = -1;
    atomic_store(&sqlite->counters.readable, true);
    atomic_store(&sqlite->counters.writable, true);
    return sqlite;
}

enum rc store_sqlite_open(const struct store_sqlite_params *params, struct buf *problem,
                          struct store **ret)
{
    struct store_sqlite *sqlite = sqlite_new(params);
    if (!sqlite)
        return E_NOMEM;
    OWNED(store) store = &sqlite->store;
    enum rc rc = store_sqlite_file_open(sqlite, params, problem);
    if (rc != OK)
        return rc;
    rc = thread_start(sqlite, &sqlite->reader, store_sqlite_reader_main, "store-reader");
    if (rc == OK)
        rc = thread_start(sqlite, &sqlite->writer, store_sqlite_writer_main, "store-writer");
    if (rc != OK) {
        buf_printf(problem,
                   "%s: no thread or file descriptor left for the store; raise the "
                   "limits of this process",
                   sqlite->path);
        return rc;
    }
    *ret = take(store);
    return OK;
}

void store_sqlite_set_released_ttl(struct store *store, int64_t released_ttl_ms)
{
    struct store_sqlite *sqlite = CONTAINER_OF(store, struct store_sqlite, store);
    ASSERT(store->ops == &sqlite_ops);
    atomic_store(&sqlite->released_ttl_ms, released_ttl_ms);
}
