/* An SQLite VFS for tests, above the usual one: it makes chosen operations fail, and it records
 * what reaches the disk, so that every power cut of a workload can be played back.
 *
 * Syncs do not reach the real disk: what a power cut leaves is worked out from the recording,
 * and tests run faster.  Thread: any, but arm, disarm, record and take are the test's. */
#ifndef FAULT_VFS_H
#define FAULT_VFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fault_operation { FAULT_READ, FAULT_WRITE, FAULT_SYNC, FAULT_TRUNCATE, FAULT_OPEN };

enum fault_effect {
    FAULT_FAIL, /* nothing happens */
    FAULT_TEAR, /* half of the bytes are moved */
    FAULT_FULL  /* the same, and the disk is said to be full */
};

struct fault {
    enum fault_operation operation;
    enum fault_effect effect;
    unsigned at;   /* the at-th such operation from now on, counted from 1 ... */
    bool for_ever; /* ... and all after it */
};

/* Makes it the default VFS of this process. */
void fault_vfs_install(void);
void fault_vfs_arm(const struct fault *fault);
/* True: the fault struck. */
bool fault_vfs_disarm(void);
bool fault_vfs_struck(void);

enum fault_file { FAULT_DATABASE, FAULT_LOG, FAULT_JOURNAL, FAULT_FILES };
/* How a file's name goes on: "", "-wal", "-journal". */
const char *fault_file_ending(enum fault_file file);

enum fault_change {
    FAULT_WRITTEN,
    FAULT_TRUNCATED,
    FAULT_DELETED,
    FAULT_SYNCED,
    FAULT_UNSYNCED /* a sync that failed: what waited for it may be gone for good */
};

struct fault_record {
    enum fault_change change;
    enum fault_file file;
    bool directory; /* SYNCED, DELETED: the directory was synced as well */
    int64_t offset;
    size_t n;
    uint8_t *bytes;        /* WRITTEN */
    unsigned acknowledged; /* what the test had been told by then, see fault_vfs_note */
};

struct fault_recording {
    struct fault_record *records;
    size_t count, capacity;
};

/* Every change from now on, until it is taken. */
void fault_vfs_record(void);
void fault_vfs_note(unsigned acknowledged);
struct fault_recording fault_vfs_take(void);
void fault_recording_done(struct fault_recording *recording);

#endif
