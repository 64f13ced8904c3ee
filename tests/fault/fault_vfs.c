#include "fault_vfs.h"

#include "base/rc.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

/* The real file follows it in memory. */
struct shim_file {
    sqlite3_file base;
    enum fault_file file; /* FAULT_FILES: of no interest */
    bool syncs_directory; /* with its next sync, as SQLite does for new logs and journals */
    sqlite3_file *real;
};

static struct {
    pthread_mutex_t mutex;
    sqlite3_vfs *real;
    bool armed, struck, recording;
    struct fault fault;
    unsigned seen; /* operations of the fault's kind since it was armed */
    unsigned acknowledged;
    struct fault_recording recorded;
} shim = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void lock(void)
{
    int locked = pthread_mutex_lock(&shim.mutex);
    ASSERT(locked == 0);
}

static void unlock(void)
{
    int unlocked = pthread_mutex_unlock(&shim.mutex);
    ASSERT(unlocked == 0);
}

/* ---- faults */

void fault_vfs_arm(const struct fault *fault)
{
    lock();
    shim.fault = *fault;
    shim.armed = true;
    shim.struck = false;
    shim.seen = 0;
    unlock();
}

bool fault_vfs_disarm(void)
{
    lock();
    shim.armed = false;
    bool struck = shim.struck;
    unlock();
    return struck;
}

bool fault_vfs_struck(void)
{
    lock();
    bool struck = shim.struck;
    unlock();
    return struck;
}

static bool strikes(enum fault_operation operation)
{
    lock();
    bool strike = false;
    if (shim.armed && shim.fault.operation == operation) {
        shim.seen++;
        strike =
            shim.seen == shim.fault.at || (shim.seen > shim.fault.at && shim.fault.for_ever);
    }
    shim.struck |= strike;
    unlock();
    return strike;
}

/* ---- the recording */

const char *fault_file_ending(enum fault_file file)
{
    static const char *const endings[FAULT_FILES] = {"", "-wal", "-journal"};
    return endings[file];
}

void fault_vfs_record(void)
{
    lock();
    shim.recorded = (struct fault_recording){0};
    shim.acknowledged = 0;
    shim.recording = true;
    unlock();
}

void fault_vfs_note(unsigned acknowledged)
{
    lock();
    shim.acknowledged = acknowledged;
    unlock();
}

struct fault_recording fault_vfs_take(void)
{
    lock();
    struct fault_recording recording = shim.recorded;
    shim.recorded = (struct fault_recording){0};
    shim.recording = false;
    unlock();
    return recording;
}

void fault_recording_done(struct fault_recording *recording)
{
    for (size_t i = 0; i < recording->count; i++)
        free(recording->records[i].bytes);
    free(recording->records);
    *recording = (struct fault_recording){0};
}

/* Copies the bytes of a write. */
static void note(struct fault_record record, const void *bytes)
{
    lock();
    if (shim.recording && record.file != FAULT_FILES) {
        struct fault_recording *recorded = &shim.recorded;
        if (recorded->count == recorded->capacity) {
            recorded->capacity = recorded->capacity ? 2 * recorded->capacity : 1024;
            recorded->records = realloc(recorded->records, recorded->capacity * sizeof record);
            ASSERT(recorded->records);
        }
        if (record.change == FAULT_WRITTEN) {
            record.bytes = malloc(record.n);
            ASSERT(record.bytes);
            memcpy(record.bytes, bytes, record.n);
        }
        record.acknowledged = shim.acknowledged;
        recorded->records[recorded->count++] = record;
    }
    unlock();
}

/* ---- files */

static struct shim_file *shim_of(sqlite3_file *file)
{
    return CONTAINER_OF(file, struct shim_file, base);
}

static sqlite3_file *real_of(sqlite3_file *file)
{
    return shim_of(file)->real;
}

static int file_close(sqlite3_file *file)
{
    return real_of(file)->pMethods->xClose(real_of(file));
}

static int file_read(sqlite3_file *file, void *bytes, int n, sqlite3_int64 offset)
{
    sqlite3_file *real = real_of(file);
    if (!strikes(FAULT_READ))
        return real->pMethods->xRead(real, bytes, n, offset);
    if (shim.fault.effect == FAULT_TEAR)
        (void)real->pMethods->xRead(real, bytes, n / 2, offset);
    return SQLITE_IOERR_READ;
}

static int write_through(sqlite3_file *file, const void *bytes, int n, sqlite3_int64 offset)
{
    sqlite3_file *real = real_of(file);
    int code = real->pMethods->xWrite(real, bytes, n, offset);
    if (code == SQLITE_OK)
        note((struct fault_record){.change = FAULT_WRITTEN,
                                   .file = shim_of(file)->file,
                                   .offset = offset,
                                   .n = (size_t)n},
             bytes);
    return code;
}

static int file_write(sqlite3_file *file, const void *bytes, int n, sqlite3_int64 offset)
{
    if (!strikes(FAULT_WRITE))
        return write_through(file, bytes, n, offset);
    if (shim.fault.effect != FAULT_FAIL && n > 1)
        (void)write_through(file, bytes, n / 2, offset);
    return shim.fault.effect == FAULT_FULL ? SQLITE_FULL : SQLITE_IOERR_WRITE;
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    sqlite3_file *real = real_of(file);
    if (strikes(FAULT_TRUNCATE))
        return SQLITE_IOERR_TRUNCATE;
    int code = real->pMethods->xTruncate(real, size);
    if (code == SQLITE_OK)
        note((struct fault_record){.change = FAULT_TRUNCATED,
                                   .file = shim_of(file)->file,
                                   .offset = size},
             NULL);
    return code;
}

static int file_sync(sqlite3_file *file, int flags)
{
    (void)flags;
    bool strike = strikes(FAULT_SYNC);
    note((struct fault_record){.change = strike ? FAULT_UNSYNCED : FAULT_SYNCED,
                               .file = shim_of(file)->file,
                               .directory = !strike && shim_of(file)->syncs_directory},
         NULL);
    if (!strike)
        shim_of(file)->syncs_directory = false;
    return strike ? SQLITE_IOERR_FSYNC : SQLITE_OK;
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    return real_of(file)->pMethods->xFileSize(real_of(file), size);
}

static int file_lock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xLock(real_of(file), level);
}

static int file_unlock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int file_check_reserved(sqlite3_file *file, int *reserved)
{
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), reserved);
}

static int file_control(sqlite3_file *file, int operation, void *argument)
{
    return real_of(file)->pMethods->xFileControl(real_of(file), operation, argument);
}

static int file_sector_size(sqlite3_file *file)
{
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int file_characteristics(sqlite3_file *file)
{
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

static int file_shm_map(sqlite3_file *file, int page, int size, int extend, void volatile **ret)
{
    return real_of(file)->pMethods->xShmMap(real_of(file), page, size, extend, ret);
}

static int file_shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
    return real_of(file)->pMethods->xShmLock(real_of(file), offset, n, flags);
}

static void file_shm_barrier(sqlite3_file *file)
{
    real_of(file)->pMethods->xShmBarrier(real_of(file));
}

static int file_shm_unmap(sqlite3_file *file, int delete_it)
{
    return real_of(file)->pMethods->xShmUnmap(real_of(file), delete_it);
}

static const sqlite3_io_methods file_methods = {
    .iVersion = 2,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_check_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
    .xShmMap = file_shm_map,
    .xShmLock = file_shm_lock,
    .xShmBarrier = file_shm_barrier,
    .xShmUnmap = file_shm_unmap,
};

/* ---- the file system */

static enum fault_file file_of_flags(int flags)
{
    if (flags & SQLITE_OPEN_MAIN_DB)
        return FAULT_DATABASE;
    if (flags & SQLITE_OPEN_WAL)
        return FAULT_LOG;
    return flags & SQLITE_OPEN_MAIN_JOURNAL ? FAULT_JOURNAL : FAULT_FILES;
}

static enum fault_file file_of_name(const char *name)
{
    size_t n = strlen(name);
    for (enum fault_file file = FAULT_LOG; file < FAULT_FILES; file++) {
        const char *ending = fault_file_ending(file);
        if (n > strlen(ending) && strcmp(name + n - strlen(ending), ending) == 0)
            return file;
    }
    return FAULT_FILES;
}

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                    int *ret_flags)
{
    (void)vfs;
    struct shim_file *made = shim_of(file);
    made->base.pMethods = NULL; /* as SQLite asks for when opening fails */
    if (strikes(FAULT_OPEN))
        return SQLITE_CANTOPEN;
    made->file = file_of_flags(flags);
    made->syncs_directory = (flags & SQLITE_OPEN_CREATE) &&
                            (made->file == FAULT_LOG || made->file == FAULT_JOURNAL);
    made->real = (sqlite3_file *)(void *)(made + 1);
    int code = shim.real->xOpen(shim.real, name, made->real, flags, ret_flags);
    if (code == SQLITE_OK)
        made->base.pMethods = &file_methods;
    return code;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_directory)
{
    (void)vfs;
    int code = shim.real->xDelete(shim.real, name, 0);
    if (code == SQLITE_OK)
        note((struct fault_record){.change = FAULT_DELETED,
                                   .file = file_of_name(name),
                                   .directory = sync_directory != 0},
             NULL);
    return code;
}

void fault_vfs_install(void)
{
    static sqlite3_vfs vfs;
    if (shim.real)
        return;
    shim.real = sqlite3_vfs_find("unix");
    ASSERT(shim.real);
    vfs = *shim.real; /* all that is not ours is the real one's, which asks for no state */
    vfs.zName = "fault";
    vfs.szOsFile = (int)sizeof(struct shim_file) + shim.real->szOsFile;
    vfs.xOpen = vfs_open;
    vfs.xDelete = vfs_delete;
    int code = sqlite3_vfs_register(&vfs, 1);
    ASSERT(code == SQLITE_OK);
}
