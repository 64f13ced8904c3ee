#include "io/store_sqlite_internal.h"

#include "base/crash_point.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUSY_TIMEOUT_MS = 5000 };
enum { APPLICATION_ID = 1970172788 }; /* as schema/001_keys.sql sets it */
/* What SQLite takes at most; with 8 KiB pages 32 TiB. */
static const uint64_t page_count_limit = 4294967294;

/* ---- directory, path and lock */

/* A new directory entry survives a power cut only once its parent was synced. */
static bool sync_parent(const char *path)
{
    char parent[PATH_MAX];
    int n = snprintf(parent, sizeof parent, "%s/..", path);
    if (n < 0 || (size_t)n >= sizeof parent)
        return false;
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool synced = fsync(fd) == 0;
    (void)close(fd);
    return synced;
}

static bool make_directory(const char *path)
{
    if (mkdir(path, 0700) != 0)
        return errno == EEXIST;
    return sync_parent(path);
}

/* All that stand in front of a '/' in `path`, which is unchanged afterwards. */
static bool make_directories(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        bool there = make_directory(path);
        *slash = '/';
        if (!there)
            return false;
    }
    return true;
}

/* The path without symbolic links, so that two names of one file share one lock; from malloc.
 * NULL: errno.  The file itself need not exist. */
static char *resolve(char *path)
{
    char *whole = realpath(path, NULL);
    if (whole || errno != ENOENT)
        return whole;
    char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    if (slash)
        *slash = '\0';
    char *directory = realpath(!slash ? "." : slash == path ? "/" : path, NULL);
    if (slash)
        *slash = '/';
    if (directory && asprintf(&whole, "%s/%s", directory, name) < 0)
        whole = NULL;
    free(directory);
    return whole;
}

static enum rc refuse_path(struct buf *problem, const char *path)
{
    int error = errno;
    buf_printf(problem,
               "%s: cannot make or reach the store: %s; name a path that this user "
               "may write (store, --store, UNSTREAM_STORE)",
               path, strerror(error));
    return error == ENOMEM ? E_NOMEM : E_IO;
}

static enum rc find_paths(struct store_sqlite *sqlite, struct span path, struct buf *problem)
{
    char *given = span_dup(path);
    if (!given)
        return E_NOMEM;
    bool found = make_directories(given) && (sqlite->path = resolve(given));
    enum rc rc = found ? OK : refuse_path(problem, given);
    free(given);
    if (rc != OK)
        return rc;
    if (asprintf(&sqlite->wal_path, "%s-wal", sqlite->path) < 0) {
        sqlite->wal_path = NULL;
        return E_NOMEM;
    }
    sqlite->directory = span_dup(
        (struct span){sqlite->path, (size_t)(strrchr(sqlite->path, '/') - sqlite->path) + 1});
    return sqlite->directory ? OK : E_NOMEM;
}

/* Who holds the lock, as it wrote into it. */
static enum rc refuse_lock(int fd, struct buf *problem, const char *path)
{
    char pid[16] = "";
    ssize_t n = pread(fd, pid, sizeof pid - 1, 0);
    pid[n > 0 ? n : 0] = '\0';
    buf_printf(problem,
               "%s: in use by another unstream process (pid %d); stop it, or give "
               "this one a store of its own (store, --store, UNSTREAM_STORE)",
               path, atoi(pid));
    return E_INVALID;
}

/* The lock is a file of its own: opening and closing the database's would drop the locks that
 * SQLite holds on it (POSIX). */
static enum rc lock(struct store_sqlite *sqlite, struct buf *problem)
{
    char lock_path[PATH_MAX];
    int n = snprintf(lock_path, sizeof lock_path, "%s.lock", sqlite->path);
    if (n < 0 || (size_t)n >= sizeof lock_path) {
        errno = ENAMETOOLONG;
        return refuse_path(problem, sqlite->path);
    }
    int fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return refuse_path(problem, lock_path);
    sqlite->lock_fd = fd;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        return errno == EWOULDBLOCK ? refuse_lock(fd, problem, sqlite->path)
                                    : refuse_path(problem, lock_path);
    }
    /* The number only helps people; a full disk must not stop us here. */
    if (ftruncate(fd, 0) == 0)
        (void)dprintf(fd, "%d\n", (int)getpid());
    return OK;
}

/* ---- the database */

static enum rc refuse_database(struct store_sqlite *sqlite, const struct sqlite_db *db,
                               struct buf *problem)
{
    switch (db->code & 0xff) {
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
        buf_printf(problem,
                   "%s: damaged, or not an SQLite database (%s); restore a backup, or "
                   "move it away to begin an empty store",
                   sqlite->path, db->text);
        return E_INVALID;
    case SQLITE_BUSY:
        buf_printf(problem, "%s: locked by another program; close it and start again",
                   sqlite->path);
        return E_INVALID;
    case SQLITE_NOMEM:
        return E_NOMEM;
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
        buf_printf(problem,
                   "%s: cannot be written: %s; let this user write the file and its "
                   "directory, or name another file (store, --store, UNSTREAM_STORE)",
                   sqlite->path, db->text);
        return E_IO;
    default:
        buf_printf(problem,
                   "%s: cannot be used: %s; check its permissions and the free space "
                   "of its disk",
                   sqlite->path, db->text);
        return E_IO;
    }
}

/* Ours, or empty?  Nothing is changed yet. */
static enum rc recognise(struct store_sqlite *sqlite, struct sqlite_db *db, struct buf *problem,
                         int64_t *ret_version)
{
    int64_t tables = sqlite_db_number(db, QUERY_TABLE_COUNT);
    int64_t application_id = sqlite_db_number(db, QUERY_APPLICATION_ID);
    int64_t version = sqlite_db_number(db, QUERY_USER_VERSION);
    if (db->code != SQLITE_OK)
        return refuse_database(sqlite, db, problem);
    bool empty = tables == 0 && application_id == 0 && version == 0;
    if (!empty && application_id != APPLICATION_ID) {
        buf_printf(problem,
                   "%s: a database of another program; name another file (store, "
                   "--store, UNSTREAM_STORE)",
                   sqlite->path);
        return E_INVALID;
    }
    if (version > SCHEMA_VERSION) {
        buf_printf(problem,
                   "%s: written by a newer unstream (schema %lld, this program knows "
                   "%d); run that version, or name another file",
                   sqlite->path, (long long)version, SCHEMA_VERSION);
        return E_INVALID;
    }
    *ret_version = version;
    return OK;
}

static void migrate(struct sqlite_db *db, int64_t version)
{
    for (; version < SCHEMA_VERSION && db->code == SQLITE_OK; version++) {
        sqlite_db_query(db, QUERY_BEGIN);
        (void)sqlite_db_run(db);
        sqlite_db_script(db, schema_migrations[version]);
        CRASH_POINT("migration_not_committed");
        sqlite_db_query(db, QUERY_COMMIT);
        (void)sqlite_db_run(db);
        CRASH_POINT("migrated");
    }
}

static void limit_size(struct sqlite_db *db, uint64_t bytes_max)
{
    if (bytes_max == 0)
        return;
    BUF(text, 1024);
    int64_t page_size = sqlite_db_number(db, QUERY_PAGE_SIZE);
    uint64_t pages = page_size > 0 ? bytes_max / (uint64_t)page_size : 0;
    if (pages > page_count_limit)
        pages = page_count_limit;
    buf_printf(&text, "%s %llu", schema_queries[QUERY_SET_MAX_PAGE_COUNT],
               (unsigned long long)(pages ? pages : 1));
    if (buf_rc(&text) != OK)
        sqlite_db_fail(db, SQLITE_NOMEM);
    sqlite_db_script(db, buf_text(&text));
}

static int interrupt(struct sqlite_db *db, enum query query, int64_t now_ms, int64_t forget_ms)
{
    sqlite_db_query(db, query);
    sqlite_db_bind_int(db, ":now_ms", now_ms);
    sqlite_db_bind_int(db, ":forget_ms", forget_ms);
    return sqlite_db_run(db);
}

static void read_salt(struct sqlite_db *db, uint8_t salt[STORE_SALT_BYTES])
{
    sqlite_db_query(db, QUERY_SALT);
    if (!sqlite_db_step(db) || !sqlite_db_copy(db, 0, salt, STORE_SALT_BYTES))
        sqlite_db_fail(db, SQLITE_CORRUPT);
    sqlite_db_end(db);
}

/* One process per store: whatever runs in the file died with an earlier process, and only what
 * was accepted is driven again. */
static void recover(struct store_sqlite *sqlite, struct sqlite_db *db, int64_t now_ms)
{
    int64_t forget_ms = now_ms + sqlite->released_ttl_ms;
    uint8_t salt[STORE_SALT_BYTES];
    if (getrandom(salt, sizeof salt, 0) != sizeof salt)
        sqlite_db_fail(db, SQLITE_IOERR);
    sqlite_db_query(db, QUERY_BEGIN);
    (void)sqlite_db_run(db);
    (void)interrupt(db, QUERY_INTERRUPT_FLIGHTS, now_ms, forget_ms);
    CRASH_POINT("recovery_half_done");
    sqlite->store.interrupted =
        (unsigned)interrupt(db, QUERY_INTERRUPT_KEYS, now_ms, forget_ms);
    sqlite_db_query(db, QUERY_FORGET_REQUESTS);
    (void)sqlite_db_run(db);
    sqlite_db_query(db, QUERY_MAKE_SALT);
    sqlite_db_bind_blob(db, ":salt", salt, sizeof salt);
    (void)sqlite_db_run(db);
    CRASH_POINT("recovery_not_committed");
    sqlite_db_query(db, QUERY_COMMIT);
    (void)sqlite_db_run(db);
    CRASH_POINT("recovered");
    sqlite->store.accepted = (unsigned)sqlite_db_number(db, QUERY_ACCEPTED_COUNT);
    read_salt(db, sqlite->store.salt);
}

static enum rc open_writer(struct store_sqlite *sqlite,
                           const struct store_sqlite_params *params, struct buf *problem)
{
    struct sqlite_db *db = &sqlite->writer.db;
    int64_t version = 0;
    sqlite_db_open(db, sqlite->path,
                   SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                   BUSY_TIMEOUT_MS);
    enum rc rc = recognise(sqlite, db, problem, &version);
    if (rc != OK)
        return rc;
    sqlite_db_script(db, schema_queries[QUERY_SHAPE_FILE]);
    sqlite_db_script(db, schema_queries[QUERY_SET_UP_WRITER]);
    bool has_log = sqlite_db_number(db, QUERY_JOURNAL_MODE) != 0;
    if (db->code == SQLITE_OK && !has_log) {
        buf_printf(problem,
                   "%s: its file system cannot hold a write-ahead log (shared memory is "
                   "missing); name a file on a local disk",
                   sqlite->path);
        return E_INVALID;
    }
    migrate(db, version);
    recover(sqlite, db, params->now_ms);
    limit_size(db, params->bytes_max);
    return db->code == SQLITE_OK ? OK : refuse_database(sqlite, db, problem);
}

static enum rc open_reader(struct store_sqlite *sqlite, struct buf *problem)
{
    struct sqlite_db *db = &sqlite->reader.db;
    sqlite_db_open(db, sqlite->path, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX,
                   BUSY_TIMEOUT_MS);
    sqlite_db_script(db, schema_queries[QUERY_SET_UP_READER]);
    return db->code == SQLITE_OK ? OK : refuse_database(sqlite, db, problem);
}

enum rc store_sqlite_file_open(struct store_sqlite *sqlite,
                               const struct store_sqlite_params *params, struct buf *problem)
{
    enum rc rc = find_paths(sqlite, params->path, problem);
    if (rc == OK)
        rc = store_sqlite_disk_check(sqlite, problem);
    if (rc == OK)
        rc = lock(sqlite, problem);
    if (rc != OK)
        return rc;
    /* SQLite makes its files 0644 otherwise; the log takes after the database. */
    mode_t before = umask(0077);
    rc = open_writer(sqlite, params, problem);
    if (rc == OK)
        rc = open_reader(sqlite, problem);
    (void)umask(before);
    if (rc == OK)
        store_sqlite_disk_measure(sqlite);
    return rc;
}

void store_sqlite_file_close(struct store_sqlite *sqlite)
{
    /* The writer last: the last one to close brings the log into the file. */
    sqlite_db_close(&sqlite->reader.db);
    sqlite_db_close(&sqlite->writer.db);
    if (sqlite->lock_fd >= 0)
        (void)close(sqlite->lock_fd);
    free(sqlite->path);
    free(sqlite->wal_path);
    free(sqlite->directory);
}
