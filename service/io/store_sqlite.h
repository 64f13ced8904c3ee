/* The store in one SQLite file, for one process.
 *
 * Layout: schema/001_keys.sql; queries: schema/queries.sql.  A writer thread owns the only
 * writing connection: it takes whatever is queued into one transaction and posts the results
 * when COMMIT has reached the disk (WAL, synchronous = FULL).  When a transaction fails over
 * one of its operations (full disk, value too large), they are run again one by one, each with
 * its own result.  A reader thread with a read-only connection answers lookups, so that the
 * loop never waits for the disk, and checks the SHA-256 of each body it hands out; whatever was
 * reported as durable before a look-up was started is seen by it.
 *
 * Lives of rows.  DONE is absent from expires_ms on.  FAILED counts as RELEASED from expires_ms
 * on.  RELEASED keeps its fingerprint and its paid calls for released_ttl_ms after the last
 * flight's end, then is absent.  RUNNING never ends by time.  The row of a flight, with its
 * outcome and tokens, lives as long as it left its key at its end, or longer if its result URLs
 * were to (keep_until_ms), whatever becomes of the key meanwhile.  An accepted request is there
 * while its flight runs.  Rows past their end are deleted by the writer when it is idle, a few at
 * a time, and the file is made smaller in small steps.
 *
 * Trouble.  With less than free_bytes_min left on the disk, looked at once a second, claims get
 * E_LIMIT; all that ends a flight goes on, and so do lookups.  A file over bytes_max, or a full
 * disk, is E_LIMIT for what does not fit.  When the disk lost data under us (fsync failed) or the
 * file is damaged, nothing is written any more by this process: all but lookups get E_IO and
 * stats say writable = false, after a failed fsync also lost = true, for which the loop's mailbox
 * is woken. */
#ifndef IO_STORE_SQLITE_H
#define IO_STORE_SQLITE_H

#include "base/mailbox.h"
#include "io/store.h"

enum { STORE_SQLITE_REAP_INTERVAL_MS = 5000 };

struct store_sqlite_params {
    struct span path;         /* made with its directory if missing, for its owner only */
    struct mailbox *loop;     /* where results are posted */
    uint64_t bytes_max;       /* of the file, without its log (up to 64 MiB, more in a burst);
                               * 0: no limit */
    uint64_t free_bytes_min;  /* with less left on the disk claims get E_LIMIT; 0: no mark */
    int64_t released_ttl_ms;  /* idempotency.ttl_s: paid calls must be remembered as long */
    int64_t now_ms;           /* wall clock, for flights that a crash has left running */
    int64_t reap_interval_ms; /* 0: STORE_SQLITE_REAP_INTERVAL_MS */
};

/* Open or make the file, bring its schema up to date, release what a crash has left running
 * (store->interrupted) but for accepted requests (store->accepted), start the threads.  The caller owns *ret: store_free.
 * On failure *ret is untouched and `problem` names the file and what to do.  E_INVALID: refused
 * (in use by another process, on a network file system, not our database, damaged, of a newer
 * version).  E_IO: file,
 * directory or thread cannot be made, or the disk is full.  E_NOMEM.  Reads and writes the
 * disk; umask is changed for a moment, so no other thread should be making files. */
MUST_CHECK enum rc store_sqlite_open(const struct store_sqlite_params *params,
                                     struct buf *problem, struct store **ret);

/* From now on released_ttl_ms is this, for a store of store_sqlite_open.  Thread: any. */
void store_sqlite_set_released_ttl(struct store *store, int64_t released_ttl_ms);

/* Copies the store at `path`, which a service may have open, into the new file `file`, durable
 * and for its owner only.  What runs is released as interrupted when the copy is opened, accepted
 * requests too: their bodies and headers are not in it.
 * Blocks; thread: any.  `problem` names the file: E_INVALID (there is no store, `file` exists or
 * cannot be made), E_LIMIT (full disk), E_IO.  E_NOMEM. */
MUST_CHECK enum rc store_sqlite_backup(struct span path, struct span file, struct buf *problem);

/* The name of a network file system, from statfs's f_type (statfs(2), linux/magic.h); NULL: it
 * is none that we know.  Pure. */
const char *store_sqlite_network_file_system(uint64_t magic);

#endif
