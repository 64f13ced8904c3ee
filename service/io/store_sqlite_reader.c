#include "io/store_sqlite_internal.h"

enum { PROBE_INTERVAL_MS = 1000 };

/* Readable is a matter of the file as a whole: one damaged row does not take the service out
 * of rotation. */
static void probe(struct store_sqlite *sqlite)
{
    struct sqlite_db *db = &sqlite->reader.db;
    sqlite_db_forget(db);
    (void)sqlite_db_number(db, QUERY_TABLE_COUNT);
    atomic_store(&sqlite->counters.readable, db->code == SQLITE_OK);
    sqlite_db_forget(db);
}

/* Each query is a transaction of its own and begins with the last commit, so that whatever was
 * reported is seen. */
static void answer(struct store_sqlite *sqlite, struct store_job *job)
{
    struct sqlite_db *db = &sqlite->reader.db;
    store_sqlite_perform(sqlite, db, job);
    if (db->code != SQLITE_OK) {
        store_job_reset(job, sqlite_db_rc(db->code));
        probe(sqlite);
    }
    store_sqlite_send_back(sqlite, job);
}

void *store_sqlite_reader_main(void *context)
{
    struct store_sqlite *sqlite = context;
    struct store_sqlite_thread *thread = &sqlite->reader;
    for (;;) {
        /* While the store cannot be read no lookups may come, so the thread tries by itself. */
        bool readable = atomic_load(&sqlite->counters.readable);
        struct message *message =
            store_sqlite_take(&thread->box, readable ? -1 : PROBE_INTERVAL_MS);
        if (!message && !readable)
            probe(sqlite);
        while (message) {
            if (message == &thread->stop)
                return NULL;
            struct message *next = message->next; /* the loop may free it at once */
            answer(sqlite, CONTAINER_OF(message, struct store_job, message));
            message = next;
        }
    }
}
