#include "fault_memory.h"

#include "base/rc.h"

#include <sqlite3.h>
#include <stdatomic.h>
#include <stdlib.h>

/* What the linker makes of malloc and its kin with --wrap. */
void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t n);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t n);
void *__wrap_realloc(void *p, size_t n);

static struct {
    atomic_bool armed, struck, exempt;
    atomic_uint seen;
    unsigned at;
    bool for_ever;
} memory;

static sqlite3_mem_methods real_sqlite;

void fault_memory_arm(unsigned at, bool for_ever)
{
    memory.at = at;
    memory.for_ever = for_ever;
    atomic_store(&memory.seen, 0);
    atomic_store(&memory.struck, false);
    atomic_store(&memory.exempt, false);
    atomic_store(&memory.armed, true);
}

void fault_memory_exempt(bool exempt)
{
    atomic_store(&memory.exempt, exempt);
}

bool fault_memory_disarm(void)
{
    atomic_store(&memory.armed, false);
    return atomic_load(&memory.struck);
}

static bool strikes(void)
{
    if (!atomic_load(&memory.armed) || atomic_load(&memory.exempt))
        return false;
    unsigned seen = atomic_fetch_add(&memory.seen, 1) + 1;
    bool strike = seen == memory.at || (seen > memory.at && memory.for_ever);
    if (strike)
        atomic_store(&memory.struck, true);
    return strike;
}

void *__wrap_malloc(size_t n)
{
    return strikes() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t count, size_t n)
{
    return strikes() ? NULL : __real_calloc(count, n);
}

void *__wrap_realloc(void *p, size_t n)
{
    return strikes() ? NULL : __real_realloc(p, n);
}

static void *sqlite_malloc(int n)
{
    return strikes() ? NULL : real_sqlite.xMalloc(n);
}

static void *sqlite_realloc(void *p, int n)
{
    return strikes() ? NULL : real_sqlite.xRealloc(p, n);
}

void fault_memory_install(void)
{
    static bool installed;
    if (installed)
        return;
    installed = true;
    int code = sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_sqlite);
    ASSERT(code == SQLITE_OK);
    sqlite3_mem_methods ours = real_sqlite;
    ours.xMalloc = sqlite_malloc;
    ours.xRealloc = sqlite_realloc;
    code = sqlite3_config(SQLITE_CONFIG_MALLOC, &ours);
    ASSERT(code == SQLITE_OK);
}
