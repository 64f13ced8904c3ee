/* One SQLite connection: its prepared queries, one of them in use at a time, and the first
 * failure, which sticks.
 *
 *     sqlite_db_query(db, QUERY_KEY_GET);
 *     sqlite_db_bind_blob(db, ":key", key, sizeof key);
 *     if (sqlite_db_step(db))
 *         paid_calls = sqlite_db_int(db, 3);
 *     sqlite_db_end(db);
 *
 * After a failure every call does nothing, until sqlite_db_forget; so it is enough to look at
 * db->code once, at the end of a unit of work.  All SQL comes from schema/queries.sql.
 * Thread: one owner at a time. */
#ifndef IO_SQLITE_DB_H
#define IO_SQLITE_DB_H

#include "base/span.h"
#include "base/rc.h"
#include "schema/schema.h"

#include <sqlite3.h>

enum { SQLITE_DB_TEXT_BYTES = 160 };

struct sqlite_db {
    sqlite3 *handle;
    sqlite3_stmt *prepared[QUERY_COUNT];
    sqlite3_stmt *current;
    int code;                        /* extended result code of the first failure, SQLITE_OK */
    char text[SQLITE_DB_TEXT_BYTES]; /* SQLite's words for it */
};

/* `flags` as sqlite3_open_v2 takes them.  A lock of another program is waited for
 * busy_timeout_ms.  *db is ready for sqlite_db_close whatever happened; failures: db->code. */
void sqlite_db_open(struct sqlite_db *db, const char *path, int flags, int busy_timeout_ms);
/* Closing twice, or a zeroed db, does no harm. */
void sqlite_db_close(struct sqlite_db *db);

/* What callers of the store see of a result code: E_LIMIT (disk or maximum size is full, or a
 * value too large), E_NOMEM, E_CONFLICT (a constraint), else E_IO. */
enum rc sqlite_db_rc(int code);
/* Makes `code` the failure unless there is one: for what goes wrong between two SQLite calls.
 */
void sqlite_db_fail(struct sqlite_db *db, int code);
/* Clears the failure. */
void sqlite_db_forget(struct sqlite_db *db);
/* A transaction that is still open is rolled back and the failure cleared. */
void sqlite_db_roll_back(struct sqlite_db *db);

/* Runs all statements of a text, ignoring rows; `text` is from schema.h. */
void sqlite_db_script(struct sqlite_db *db, const char *text);

void sqlite_db_query(struct sqlite_db *db, enum query query);
/* Parameters by name; bytes are not copied and must stay until sqlite_db_end.  An absent span
 * binds NULL. */
void sqlite_db_bind_int(struct sqlite_db *db, const char *name, int64_t value);
void sqlite_db_bind_blob(struct sqlite_db *db, const char *name, const void *bytes, size_t n);
void sqlite_db_bind_text(struct sqlite_db *db, const char *name, struct span text);
/* True: a row is there, valid until the next step or the end. */
bool sqlite_db_step(struct sqlite_db *db);
/* Columns count from 0.  NULL reads as 0, as an absent span. */
int64_t sqlite_db_int(struct sqlite_db *db, int column);
struct span sqlite_db_bytes(struct sqlite_db *db, int column);
/* Copies a blob of exactly n bytes; of another length: false. */
bool sqlite_db_copy(struct sqlite_db *db, int column, void *to, size_t n);
void sqlite_db_end(struct sqlite_db *db);
/* Steps through all rows and ends; returns how many rows the statement changed. */
int sqlite_db_run(struct sqlite_db *db);
/* The first column of the first row of a query without parameters; 0: none, or a failure. */
int64_t sqlite_db_number(struct sqlite_db *db, enum query query);

#endif
