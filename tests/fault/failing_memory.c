/* A library for LD_PRELOAD: memory that runs out on command.  FAILING_MEMORY names a file of eight
 * bytes, a number in the machine's order: each allocation takes one off while it is positive, and
 * the one that makes it zero fails. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* glibc's own names, as a preloaded library cannot ask for the next malloc without allocating. */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t count, size_t n);
void *__libc_realloc(void *p, size_t n);

static _Atomic int64_t *countdown;

__attribute__((constructor)) static void find_countdown(void)
{
    const char *path = getenv("FAILING_MEMORY");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *mapped = mmap(NULL, sizeof *countdown, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped != MAP_FAILED)
        countdown = mapped;
    (void)close(fd);
}

static bool runs_out(void)
{
    if (!countdown || atomic_load(countdown) <= 0 || atomic_fetch_sub(countdown, 1) != 1)
        return false;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t n)
{
    return runs_out() ? NULL : __libc_malloc(n);
}

void *calloc(size_t count, size_t n)
{
    return runs_out() ? NULL : __libc_calloc(count, n);
}

void *realloc(void *p, size_t n)
{
    return runs_out() ? NULL : __libc_realloc(p, n);
}
