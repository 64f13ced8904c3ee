/* Disks that are nearly full, read-only or far away. */
#include "store_world.h"

#include <linux/magic.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

enum { MARK = 1 << 20, NOBODY = 65534 };
static _Atomic uint64_t free_bytes = MARK;

/* In place of libc's. */
int statvfs(const char *restrict path, struct statvfs *restrict ret)
{
    (void)path;
    *ret = (struct statvfs){.f_bavail = atomic_load(&free_bytes), .f_frsize = 1};
    return 0;
}

static void set_free_bytes(struct world *w, uint64_t n)
{
    atomic_store(&free_bytes, n);
    for (int waited_ms = 0; store_stats(w->store).free_bytes != n; waited_ms += 10) {
        if (waited_ms > PATIENCE_MS)
            fail_msg("free space is not looked at");
        (void)release(w, 255, 255, false, NOW_MS); /* the writer looks when it works */
        assert_int_equal(usleep(10000), 0);
    }
}

TEST(store_sqlite_disk, below_the_mark_claims_are_refused_and_all_else_goes_on)
{
    EMPTY_WORLD(w);
    w.params.free_bytes_min = MARK;
    assert_int_equal(world_open(&w), OK);
    for (int key = 'a'; key <= 'c'; key++) {
        REPLY at_mark = claim(&w, key, key, NOW_MS);
        assert_int_equal(at_mark.result, CLAIM_OK);
    }
    set_free_bytes(&w, MARK - 1);
    REPLY below = claim(&w, 'd', 'd', NOW_MS);
    assert_int_equal(below.rc, E_LIMIT);
    REPLY absent = lookup(&w, 'd', NOW_MS);
    assert_int_equal(absent.record.state, KEY_ABSENT);

    REPLY counted = count_call(&w, 'a', 'a');
    assert_int_equal(counted.rc, OK);
    assert_int_equal(complete(&w, 'a', 'a', SPAN("paid for"), NOW_MS), OK);
    assert_int_equal(fail_key(&w, 'b', 'b', NOW_MS), OK);
    assert_int_equal(release(&w, 'c', 'c', true, NOW_MS), OK);
    REPLY replayed = lookup(&w, 'a', NOW_MS);
    assert_span_equal(blob_span(replayed.body), "paid for");
    assert_true(store_stats(w.store).writable);

    set_free_bytes(&w, MARK);
    REPLY again = claim(&w, 'd', 'd', NOW_MS);
    assert_int_equal(again.result, CLAIM_OK);
}

TEST(store_sqlite_disk, a_refused_claim_does_not_take_its_neighbours_along)
{
    EMPTY_WORLD(w);
    w.params.free_bytes_min = MARK;
    assert_int_equal(world_open(&w), OK);
    REPLY running = claim(&w, 'a', 1, NOW_MS);
    assert_int_equal(running.result, CLAIM_OK);
    set_free_bytes(&w, 0);
    struct store_claim params = claim_of('b', 2, NOW_MS);
    struct store_completion completion = completion_of('a', 1, SPAN("{}"), NOW_MS);
    REPLY refused = {0};
    REPLY done = {0};
    assert_int_equal(store_claim(w.store, &params, on_claim, &refused), OK);
    assert_int_equal(store_complete(w.store, &completion, on_done, &done), OK);
    blob_free(completion.answer.body);
    world_wait(&w, &refused, 1);
    world_wait(&w, &done, 1);
    assert_int_equal(refused.rc, E_LIMIT);
    assert_int_equal(done.rc, OK);
    atomic_store(&free_bytes, MARK);
}

TEST(store_sqlite_disk, without_a_mark_nothing_is_refused)
{
    atomic_store(&free_bytes, 0);
    WORLD(w);
    REPLY claimed = claim(&w, 'a', 1, NOW_MS);
    assert_int_equal(claimed.result, CLAIM_OK);
    atomic_store(&free_bytes, MARK);
}

TEST(store_sqlite_disk, network_file_systems_are_known_and_local_ones_are_not_refused)
{
    assert_string_equal(store_sqlite_network_file_system(NFS_SUPER_MAGIC), "NFS");
    assert_string_equal(store_sqlite_network_file_system(0xff534d42), "CIFS");
    assert_string_equal(store_sqlite_network_file_system(0xfe534d42), "SMB");
    assert_string_equal(store_sqlite_network_file_system(0x65735546), "FUSE");
    assert_string_equal(store_sqlite_network_file_system(0x01021997), "9P");
    assert_string_equal(store_sqlite_network_file_system(0x00c36400), "Ceph");
    assert_null(store_sqlite_network_file_system(EXT4_SUPER_MAGIC));
    assert_null(store_sqlite_network_file_system(BTRFS_SUPER_MAGIC));
    assert_null(store_sqlite_network_file_system(TMPFS_MAGIC));
    assert_null(store_sqlite_network_file_system(OVERLAYFS_SUPER_MAGIC));
    assert_null(store_sqlite_network_file_system(0x58465342)); /* XFS */
    assert_null(store_sqlite_network_file_system(0x2fc12fc1)); /* ZFS */
}

/* As a user without rights; root has them all. */
static enum rc open_as_nobody(struct world *w)
{
    bool root = geteuid() == 0;
    if (root)
        assert_int_equal(seteuid(NOBODY), 0);
    enum rc rc = world_open(w);
    if (root)
        assert_int_equal(seteuid(0), 0);
    return rc;
}

static void assert_told(struct world *w, enum rc rc, const char *what)
{
    assert_int_equal(rc, E_IO);
    assert_null(w->store);
    if (!strstr(buf_text(&w->problem), what) || !strstr(buf_text(&w->problem), w->path))
        fail_msg("the problem reads: %s", buf_text(&w->problem));
}

TEST(store_sqlite_disk, a_directory_that_may_not_be_written_is_told)
{
    EMPTY_WORLD(w);
    assert_int_equal(chmod(w.directory, 0555), 0);
    enum rc rc = open_as_nobody(&w);
    assert_int_equal(chmod(w.directory, 0700), 0);
    assert_told(&w, rc, "Permission denied; name a path that this user may write");
}

TEST(store_sqlite_disk, a_file_that_may_not_be_written_is_told)
{
    WORLD(w);
    world_close(&w);
    char lock_path[128];
    (void)snprintf(lock_path, sizeof lock_path, "%s.lock", w.path);
    assert_int_equal(unlink(lock_path), 0);
    assert_int_equal(chmod(w.directory, 0777), 0);
    assert_int_equal(chmod(w.path, 0444), 0);
    enum rc rc = open_as_nobody(&w);
    assert_int_equal(chmod(w.path, 0600), 0);
    assert_told(&w, rc, "let this user write the file and its directory");
    (void)unlink(lock_path); /* nobody's */
    assert_int_equal(world_open(&w), OK);
}
