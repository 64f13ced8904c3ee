/* A library for LD_PRELOAD: a disk that fails on command.  FAILING_DISK names a directory:
 *
 *     while it has a file "sync"   fsync and fdatasync: EIO
 *     while it has a file "full"   write and pwrite to the files of an SQLite store: ENOSPC
 *
 * The system is called directly, past the interceptors of the sanitizers. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PATH_BYTES_MAX = 4096 };

static bool is_ordered(const char *failure)
{
    char path[PATH_BYTES_MAX];
    const char *directory = getenv("FAILING_DISK");
    if (!directory)
        return false;
    int n = snprintf(path, sizeof path, "%s/%s", directory, failure);
    return n > 0 && (size_t)n < sizeof path && access(path, F_OK) == 0;
}

/* The store's file or its log; not sockets, pipes and what else goes through write. */
static bool is_store(int fd)
{
    char link[64], path[PATH_BYTES_MAX];
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0)
        return false;
    path[n] = '\0';
    const char *name = strrchr(path, '/');
    return name && strstr(name, ".db") != NULL;
}

static bool is_full(int fd)
{
    int kept = errno; /* a successful write leaves it alone */
    bool full = is_store(fd) && is_ordered("full");
    errno = full ? ENOSPC : kept;
    return full;
}

static bool cannot_sync(void)
{
    int kept = errno;
    bool failing = is_ordered("sync");
    errno = failing ? EIO : kept;
    return failing;
}

int fsync(int fd)
{
    return cannot_sync() ? -1 : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return cannot_sync() ? -1 : (int)syscall(SYS_fdatasync, fd);
}

ssize_t write(int fd, const void *bytes, size_t n)
{
    return is_full(fd) ? -1 : syscall(SYS_write, fd, bytes, n);
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t offset)
{
    return is_full(fd) ? -1 : syscall(SYS_pwrite64, fd, bytes, n, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t offset)
{
    return pwrite64(fd, bytes, n, offset);
}
