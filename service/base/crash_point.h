/* Places at which a test lets the process die as if by kill -9, to prove what survives.
 *
 * Built with UNSTREAM_CRASH_POINTS the environment variable UNSTREAM_CRASH_AT=name[:n] ends the
 * process with SIGKILL at the n-th pass (default 1) of CRASH_POINT("name"), over all threads.
 * Without it, as in every release, the points leave no trace in the program.  Thread: any. */
#ifndef BASE_CRASH_POINT_H
#define BASE_CRASH_POINT_H

#ifdef UNSTREAM_CRASH_POINTS

#include <stdbool.h>

/* Counts a pass; true: this is the one to die at. */
bool crash_point_is_due(const char *name);
_Noreturn void crash_point_die(void);

/* `last_act` is done before the end. */
#define CRASH_POINT_AFTER(name, last_act)                                                      \
    (crash_point_is_due(name) ? ((last_act), crash_point_die()) : (void)0)
#else
#define CRASH_POINT_AFTER(name, last_act) ((void)0)
#endif

#define CRASH_POINT(name) CRASH_POINT_AFTER(name, (void)0)

#endif
