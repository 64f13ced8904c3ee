#include "base/crash_point.h"

#ifdef UNSTREAM_CRASH_POINTS

#include "base/span.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

bool crash_point_is_due(const char *name)
{
    static _Atomic uint64_t passes; /* of the one that is asked for */
    struct span number = span_of(getenv("UNSTREAM_CRASH_AT"));
    struct span wanted = span_cut(&number, ':');
    uint64_t due = 1;
    if (!span_is(wanted, name) || (number.p && !span_to_u64(number, &due)))
        return false;
    return atomic_fetch_add(&passes, 1) + 1 == due;
}

void crash_point_die(void)
{
    (void)kill(getpid(), SIGKILL);
    for (;;)
        (void)pause();
}

#endif
