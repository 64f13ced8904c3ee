#include "io/sqlite_db.h"
#include "io/store_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BUSY_TIMEOUT_MS = 60000 };

/* An empty file for its owner only: SQLite writes into it, and would take a larger mode and an
 * existing file otherwise. */
static enum rc make_file(const char *path, struct buf *problem)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0) {
        (void)close(fd);
        return OK;
    }
    if (errno == EEXIST)
        buf_printf(problem, "%s: exists; name a new file, nothing is overwritten", path);
    else
        buf_printf(problem, "%s: cannot be made: %s", path, strerror(errno));
    return E_INVALID;
}

static bool sync_path(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool synced = fsync(fd) == 0;
    (void)close(fd);
    return synced;
}

/* The file and its name. */
static bool sync_file(char *path)
{
    if (!sync_path(path, O_RDONLY))
        return false;
    char *slash = strrchr(path, '/');
    if (!slash)
        return sync_path(".", O_RDONLY | O_DIRECTORY);
    char kept = slash[1];
    slash[1] = '\0';
    bool synced = sync_path(path, O_RDONLY | O_DIRECTORY);
    slash[1] = kept;
    return synced;
}

static enum rc told(const struct sqlite_db *db, const char *from, const char *to,
                    struct buf *problem)
{
    enum rc rc = sqlite_db_rc(db->code);
    if (rc != OK && rc != E_NOMEM)
        buf_printf(problem, "%s: cannot be copied to %s: %s", from, to, db->text);
    return rc;
}

/* What was asked is at rest only while its flight runs, and nobody is to pay for it once more
 * where the copy is opened. */
static enum rc forget_requests(const char *from, const char *to, struct buf *problem)
{
    struct sqlite_db db;
    sqlite_db_open(&db, to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, BUSY_TIMEOUT_MS);
    if (sqlite_db_number(&db, QUERY_HAS_REQUESTS) > 0) /* older schemas have none */
        sqlite_db_script(&db, schema_queries[QUERY_BACKUP_FORGETS_REQUESTS]);
    enum rc rc = told(&db, from, to, problem);
    sqlite_db_close(&db);
    return rc;
}

static enum rc copy(const char *from, const char *to, struct buf *problem)
{
    struct sqlite_db db;
    sqlite_db_open(&db, from, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, BUSY_TIMEOUT_MS);
    sqlite_db_query(&db, QUERY_BACKUP);
    sqlite_db_bind_text(&db, ":path", span_of(to));
    (void)sqlite_db_run(&db);
    enum rc rc = told(&db, from, to, problem);
    sqlite_db_close(&db);
    return rc;
}

static enum rc sync_copy(const char *from, char *to, struct buf *problem)
{
    if (sync_file(to))
        return OK;
    buf_printf(problem, "%s: cannot be copied to %s: %s", from, to, strerror(errno));
    return E_IO;
}

enum rc store_sqlite_backup(struct span path, struct span file, struct buf *problem)
{
    char *from = span_dup(path), *to = span_dup(file);
    enum rc rc = from && to ? OK : E_NOMEM;
    if (rc == OK && access(from, F_OK) != 0) {
        buf_printf(problem, "%s: there is no store", from);
        rc = E_INVALID;
    }
    if (rc == OK)
        rc = make_file(to, problem);
    if (rc == OK) {
        rc = copy(from, to, problem);
        if (rc == OK)
            rc = forget_requests(from, to, problem);
        if (rc == OK)
            rc = sync_copy(from, to, problem);
        if (rc != OK)
            (void)unlink(to); /* half a backup is none */
    }
    free(from);
    free(to);
    return rc;
}
