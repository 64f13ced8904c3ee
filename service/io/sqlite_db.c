#include "io/sqlite_db.h"

#include <stdio.h>
#include <string.h>

void sqlite_db_fail(struct sqlite_db *db, int code)
{
    if (db->code != SQLITE_OK)
        return;
    db->code = code;
    bool own = db->handle && sqlite3_extended_errcode(db->handle) == code;
    const char *text = own ? sqlite3_errmsg(db->handle) : sqlite3_errstr(code);
    (void)snprintf(db->text, sizeof db->text, "%s", text);
}

static void check(struct sqlite_db *db, int code)
{
    if (code != SQLITE_OK)
        sqlite_db_fail(db, code);
}

void sqlite_db_open(struct sqlite_db *db, const char *path, int flags, int busy_timeout_ms)
{
    *db = (struct sqlite_db){.code = SQLITE_OK};
    check(db, sqlite3_open_v2(path, &db->handle, flags, NULL));
    if (!db->handle)
        return;
    check(db, sqlite3_extended_result_codes(db->handle, 1));
    check(db, sqlite3_busy_timeout(db->handle, busy_timeout_ms));
}

void sqlite_db_close(struct sqlite_db *db)
{
    sqlite_db_end(db);
    for (size_t i = 0; i < QUERY_COUNT; i++) {
        /* Repeats the error of the last step, which was seen then. */
        (void)sqlite3_finalize(db->prepared[i]);
        db->prepared[i] = NULL;
    }
    int code = sqlite3_close(take(db->handle));
    ASSERT(code == SQLITE_OK); /* else a statement was left open */
}

enum rc sqlite_db_rc(int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
        return OK;
    case SQLITE_FULL:
    case SQLITE_TOOBIG:
        return E_LIMIT;
    case SQLITE_NOMEM:
        return E_NOMEM;
    case SQLITE_CONSTRAINT:
        return E_CONFLICT;
    default:
        return E_IO;
    }
}

void sqlite_db_forget(struct sqlite_db *db)
{
    db->code = SQLITE_OK;
    db->text[0] = '\0';
}

void sqlite_db_roll_back(struct sqlite_db *db)
{
    sqlite_db_end(db);
    sqlite_db_forget(db);
    /* SQLite rolls back by itself after some failures. */
    if (!sqlite3_get_autocommit(db->handle)) {
        sqlite_db_query(db, QUERY_ROLLBACK);
        (void)sqlite_db_run(db);
        /* If this failed too, the next BEGIN says so. */
        sqlite_db_forget(db);
    }
}

void sqlite_db_script(struct sqlite_db *db, const char *text)
{
    if (db->code == SQLITE_OK)
        check(db, sqlite3_exec(db->handle, text, NULL, NULL, NULL));
}

void sqlite_db_query(struct sqlite_db *db, enum query query)
{
    ASSERT(!db->current);
    if (db->code != SQLITE_OK)
        return;
    if (!db->prepared[query]) {
        check(db, sqlite3_prepare_v3(db->handle, schema_queries[query], -1,
                                     SQLITE_PREPARE_PERSISTENT, &db->prepared[query], NULL));
    }
    db->current = db->prepared[query];
}

static int parameter(const struct sqlite_db *db, const char *name)
{
    int index = sqlite3_bind_parameter_index(db->current, name);
    ASSERT(index > 0);
    return index;
}

void sqlite_db_bind_int(struct sqlite_db *db, const char *name, int64_t value)
{
    if (db->code == SQLITE_OK)
        check(db, sqlite3_bind_int64(db->current, parameter(db, name), value));
}

void sqlite_db_bind_blob(struct sqlite_db *db, const char *name, const void *bytes, size_t n)
{
    if (db->code == SQLITE_OK)
        check(db,
              sqlite3_bind_blob64(db->current, parameter(db, name), bytes, n, SQLITE_STATIC));
}

void sqlite_db_bind_text(struct sqlite_db *db, const char *name, struct span text)
{
    if (db->code == SQLITE_OK)
        check(db, sqlite3_bind_text64(db->current, parameter(db, name), text.p, text.n,
                                      SQLITE_STATIC, SQLITE_UTF8));
}

bool sqlite_db_step(struct sqlite_db *db)
{
    if (db->code != SQLITE_OK)
        return false;
    int code = sqlite3_step(db->current);
    if (code == SQLITE_ROW)
        return true;
    if (code != SQLITE_DONE)
        sqlite_db_fail(db, code);
    return false;
}

int64_t sqlite_db_int(struct sqlite_db *db, int column)
{
    return sqlite3_column_int64(db->current, column);
}

struct span sqlite_db_bytes(struct sqlite_db *db, int column)
{
    if (sqlite3_column_type(db->current, column) == SQLITE_NULL)
        return SPAN_ABSENT;
    const char *bytes = sqlite3_column_blob(db->current, column);
    size_t n = (size_t)sqlite3_column_bytes(db->current, column);
    if (bytes)
        return (struct span){bytes, n};
    /* NULL is also how SQLite hands out no bytes at all. */
    if (n > 0 || sqlite3_errcode(db->handle) == SQLITE_NOMEM)
        sqlite_db_fail(db, SQLITE_NOMEM);
    return SPAN("");
}

bool sqlite_db_copy(struct sqlite_db *db, int column, void *to, size_t n)
{
    struct span bytes = sqlite_db_bytes(db, column);
    if (!bytes.p || bytes.n != n)
        return false;
    memcpy(to, bytes.p, n);
    return true;
}

void sqlite_db_end(struct sqlite_db *db)
{
    if (!db->current)
        return;
    /* Reset repeats the error of the last step, which was seen then; clearing cannot fail. */
    (void)sqlite3_reset(db->current);
    (void)sqlite3_clear_bindings(db->current);
    db->current = NULL;
}

int sqlite_db_run(struct sqlite_db *db)
{
    while (sqlite_db_step(db))
        continue;
    int changes = db->code == SQLITE_OK ? sqlite3_changes(db->handle) : 0;
    sqlite_db_end(db);
    return changes;
}

int64_t sqlite_db_number(struct sqlite_db *db, enum query query)
{
    sqlite_db_query(db, query);
    int64_t number = sqlite_db_step(db) ? sqlite_db_int(db, 0) : 0;
    sqlite_db_end(db);
    return number;
}
