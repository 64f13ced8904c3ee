#include "io/store_sqlite_internal.h"

#include "base/crash_point.h"

/* One transaction keeps claims waiting no longer than a commit does. */
enum { REAP_ROWS_MAX = 100, REAP_US_MAX = 20000 };
/* Free pages that are kept for the next answers: 8 MiB. */
enum { FREE_PAGES_KEPT = 1024 };

static bool delete_one(struct sqlite_db *db, enum query query, int64_t now_ms)
{
    sqlite_db_query(db, query);
    sqlite_db_bind_int(db, ":now_ms", now_ms);
    return sqlite_db_run(db) > 0;
}

/* Returns how many rows went. */
static int delete_some(struct sqlite_db *db, int64_t now_ms)
{
    int64_t until_us = store_sqlite_monotonic_us() + REAP_US_MAX;
    int deleted = 0;
    sqlite_db_query(db, QUERY_BEGIN);
    (void)sqlite_db_run(db);
    while (
        deleted < REAP_ROWS_MAX && store_sqlite_monotonic_us() < until_us &&
        (delete_one(db, QUERY_KEY_REAP, now_ms) || delete_one(db, QUERY_FLIGHT_REAP, now_ms))) {
        CRASH_POINT("reaper_half_done");
        deleted++;
    }
    sqlite_db_query(db, QUERY_COMMIT);
    (void)sqlite_db_run(db);
    return deleted;
}

bool store_sqlite_reap(struct sqlite_db *db, int64_t now_ms)
{
    if (delete_some(db, now_ms) > 0)
        return db->code == SQLITE_OK;
    if (sqlite_db_number(db, QUERY_FREELIST_COUNT) <= FREE_PAGES_KEPT)
        return false;
    sqlite_db_query(db, QUERY_VACUUM_SOME);
    (void)sqlite_db_run(db);
    return db->code == SQLITE_OK;
}
