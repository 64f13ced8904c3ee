#include "io/store_sqlite_internal.h"

#include <string.h>

/* The columns of QUERY_TASK_SCAN. */
enum {
    TASK_KEY,
    TASK_STATE,
    TASK_IS_OVER,
    TASK_PAID_CALLS,
    TASK_CREATED_MS,
    TASK_ENDED_MS,
    TASK_FLIGHT,
    TASK_SCOPE,
    TASK_ROUTE,
    TASK_STATUS,
    TASK_BODY_BYTES
};

/* Some keys, and which of them the task is about. */
struct selection {
    struct key_summary *keys;
    size_t count;
    size_t scanned;
    struct digest last; /* of those scanned */
    bool more;          /* there may be others behind it */
};

/* The digests that a task may look at. */
struct range {
    struct digest first, last;
};

static struct range range_of(const struct store_task *task)
{
    struct range range;
    memset(&range.first, 0, sizeof range.first);
    memset(&range.last, 0xff, sizeof range.last);
    return task->by_key ? (struct range){task->key, task->key} : range;
}

static void bind_range(struct sqlite_db *db, const struct store_task *task,
                       const struct range *range)
{
    sqlite_db_bind_blob(db, ":after", task->after.bytes, task->goes_on ? SHA256_BYTES : 0);
    store_sqlite_bind_digest(db, ":first", &range->first);
    store_sqlite_bind_digest(db, ":last", &range->last);
}

static bool is_meant(const struct store_task *task, const struct key_summary *key, bool is_over)
{
    if (task->by_scope && memcmp(&key->scope, &task->scope, sizeof key->scope) != 0)
        return false;
    /* What is over counts as absent, but a purge takes its rows too. */
    if (is_over && task->kind != STORE_TASK_PURGE)
        return false;
    return key->created_ms < task->created_before_ms;
}

static void read_key(struct sqlite_db *db, struct store_job *job, struct selection *selection)
{
    struct key_summary key = {
        .state = store_sqlite_state_of(sqlite_db_bytes(db, TASK_STATE)),
        .paid_calls = (unsigned)sqlite_db_int(db, TASK_PAID_CALLS),
        .created_ms = sqlite_db_int(db, TASK_CREATED_MS),
        .ended_ms = sqlite_db_int(db, TASK_ENDED_MS),
        .status = (int)sqlite_db_int(db, TASK_STATUS),
        .body_bytes = (uint64_t)sqlite_db_int(db, TASK_BODY_BYTES),
    };
    if (!sqlite_db_copy(db, TASK_KEY, &key.key, sizeof key.key) ||
        !sqlite_db_copy(db, TASK_FLIGHT, &key.flight, sizeof key.flight))
        sqlite_db_fail(db, SQLITE_CORRUPT); /* the table's CHECKs forbid it */
    /* A flight's row that is missing is damage of one key: it can still be purged. */
    if (!sqlite_db_copy(db, TASK_SCOPE, &key.scope, sizeof key.scope))
        key.scope = (struct digest){{0}};
    selection->scanned++;
    selection->last = key.key;
    if (!is_meant(&job->task, &key, sqlite_db_int(db, TASK_IS_OVER) != 0))
        return;
    key.route = store_sqlite_read_bytes(db, TASK_ROUTE, job);
    selection->keys[selection->count++] = key;
}

static void scan(struct sqlite_db *db, struct store_job *job, struct selection *selection)
{
    const struct store_task *task = &job->task;
    struct range range = range_of(task);
    sqlite_db_query(db, QUERY_TASK_SCAN);
    sqlite_db_bind_int(db, ":now_ms", task->now_ms);
    bind_range(db, task, &range);
    sqlite_db_bind_int(db, ":rows", STORE_TASK_KEYS_MAX);
    while (sqlite_db_step(db))
        read_key(db, job, selection);
    sqlite_db_end(db);
    selection->more = selection->scanned == STORE_TASK_KEYS_MAX;
}

static bool release_key(struct sqlite_db *db, const struct key_summary *key, int64_t now_ms,
                        int64_t forget_ms)
{
    sqlite_db_query(db, QUERY_TASK_RELEASE_KEY);
    store_sqlite_bind_digest(db, ":key", &key->key);
    sqlite_db_bind_int(db, ":now_ms", now_ms);
    sqlite_db_bind_int(db, ":forget_ms", forget_ms);
    bool released = sqlite_db_run(db) > 0;
    if (!released)
        return false;
    sqlite_db_query(db, QUERY_TASK_RELEASE_FLIGHT);
    store_sqlite_bind_flight(db, &key->flight);
    sqlite_db_bind_int(db, ":now_ms", now_ms);
    sqlite_db_bind_int(db, ":forget_ms", forget_ms);
    (void)sqlite_db_run(db);
    return true;
}

static bool purge_key(struct sqlite_db *db, const struct key_summary *key)
{
    sqlite_db_query(db, QUERY_TASK_PURGE_KEY);
    store_sqlite_bind_digest(db, ":key", &key->key);
    bool purged = sqlite_db_run(db) > 0;
    sqlite_db_query(db, QUERY_TASK_PURGE_FLIGHTS);
    store_sqlite_bind_digest(db, ":key", &key->key);
    (void)sqlite_db_run(db);
    return purged;
}

/* Result URLs may keep a flight longer than its key, which then is in no selection. */
static void purge_keyless(struct sqlite_db *db, const struct store_task *task,
                          const struct selection *selection)
{
    struct range range = range_of(task);
    if (selection->more)
        range.last = selection->last;
    sqlite_db_query(db, QUERY_TASK_PURGE_KEYLESS);
    bind_range(db, task, &range);
    if (task->by_scope)
        store_sqlite_bind_digest(db, ":scope", &task->scope);
    sqlite_db_bind_int(db, ":created_before_ms", task->created_before_ms);
    (void)sqlite_db_run(db);
}

static size_t purge_all(struct sqlite_db *db, const struct store_task *task,
                        const struct selection *selection)
{
    size_t purged = 0;
    sqlite_db_script(db, schema_queries[QUERY_ERASE]);
    for (size_t i = 0; i < selection->count; i++)
        purged += purge_key(db, &selection->keys[i]);
    purge_keyless(db, task, selection);
    return purged;
}

void store_sqlite_perform_task(struct store_sqlite *sqlite, struct sqlite_db *db,
                               struct store_job *job)
{
    const struct store_task *task = &job->task;
    struct store_task_result *result = &job->task_result;
    struct selection selection = {
        .keys = arena_alloc(&job->texts, STORE_TASK_KEYS_MAX * sizeof *selection.keys)};
    if (!selection.keys) {
        sqlite_db_fail(db, SQLITE_NOMEM);
        return;
    }
    scan(db, job, &selection);
    switch (task->kind) {
    case STORE_TASK_LIST:
        result->keys = selection.keys;
        result->count = selection.count;
        break;
    case STORE_TASK_RELEASE:
        for (size_t i = 0; i < selection.count; i++)
            result->count += release_key(db, &selection.keys[i], task->now_ms,
                                         task->now_ms + sqlite->released_ttl_ms);
        break;
    case STORE_TASK_PURGE:
        result->count = purge_all(db, task, &selection);
        /* A failure before this leaves it on, which costs time and nothing else. */
        sqlite_db_script(db, schema_queries[QUERY_ERASE_CHEAPLY]);
        break;
    }
    result->more = selection.more;
    result->next = selection.last;
}
