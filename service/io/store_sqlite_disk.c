#include "io/store_sqlite_internal.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

/* Those that linux/magic.h does not name. */
enum { CIFS_MAGIC = 0xff534d42, LUSTRE_MAGIC = 0x0bd00bd0, GPFS_MAGIC = 0x47504653 };

const char *store_sqlite_network_file_system(uint64_t magic)
{
    static const struct {
        uint64_t magic;
        const char *name;
    } known[] = {
        {NFS_SUPER_MAGIC, "NFS"},       {SMB_SUPER_MAGIC, "SMB"},
        {SMB2_SUPER_MAGIC, "SMB"},      {(uint32_t)CIFS_MAGIC, "CIFS"},
        {FUSE_SUPER_MAGIC, "FUSE"},     {V9FS_MAGIC, "9P"},
        {AFS_SUPER_MAGIC, "AFS"},       {AFS_FS_MAGIC, "AFS"},
        {CODA_SUPER_MAGIC, "Coda"},     {CEPH_SUPER_MAGIC, "Ceph"},
        {OCFS2_SUPER_MAGIC, "OCFS2"},   {(uint32_t)LUSTRE_MAGIC, "Lustre"},
        {(uint32_t)GPFS_MAGIC, "GPFS"},
    };
    for (size_t i = 0; i < COUNT_OF(known); i++)
        if (known[i].magic == magic)
            return known[i].name;
    return NULL;
}

enum rc store_sqlite_disk_check(const struct store_sqlite *sqlite, struct buf *problem)
{
    struct statfs disk;
    if (statfs(sqlite->directory, &disk) != 0)
        return OK; /* what is wrong with it is told when the file is opened */
    /* f_type is signed on some machines and sign-extended. */
    const char *name = store_sqlite_network_file_system((uint32_t)disk.f_type);
    if (!name)
        return OK;
    buf_printf(problem,
               "%s: on a network file system (%s), where neither locks nor syncs can be "
               "trusted; name a file on a local disk (store, --store, UNSTREAM_STORE)",
               sqlite->path, name);
    return E_INVALID;
}

static uint64_t file_bytes(const char *path)
{
    struct stat file;
    return stat(path, &file) == 0 ? (uint64_t)file.st_size : 0;
}

void store_sqlite_disk_measure(struct store_sqlite *sqlite)
{
    struct statvfs disk;
    atomic_store(&sqlite->counters.bytes,
                 file_bytes(sqlite->path) + file_bytes(sqlite->wal_path));
    if (statvfs(sqlite->directory, &disk) == 0)
        atomic_store(&sqlite->counters.free_bytes, (uint64_t)disk.f_bavail * disk.f_frsize);
}
