/* Timers in a heap, driven by whoever owns the clock.
 *
 * A timer is embedded in its owner and must stay in place while it is started.  Milliseconds
 * are of any one clock (monotonic in production, virtual in tests).  Thread: one owner. */
#ifndef BASE_TIMERS_H
#define BASE_TIMERS_H

#include "base/rc.h"

#define TIMERS_NEVER INT64_MAX

struct timer {
    int64_t due_ms;
    size_t place; /* 1-based place in the heap, 0: not started */
    void (*run)(struct timer *timer);
};

struct timers {
    struct timer **heap;
    size_t count, capacity;
};

void timers_init(struct timers *timers);
/* Started timers are forgotten, not run. */
void timers_done(struct timers *timers);
/* Run `timer->run` at the first timers_run with now_ms >= due_ms.  A started timer is moved to
 * the new time.  E_NOMEM: it is not started; cannot happen for a timer that was started. */
MUST_CHECK enum rc timers_start(struct timers *timers, struct timer *timer, int64_t due_ms);
/* After this it does not run; stopping a timer that is not started does nothing. */
void timers_stop(struct timers *timers, struct timer *timer);
/* When the next one is due, or TIMERS_NEVER. */
int64_t timers_next_ms(const struct timers *timers);
/* Run everything due, earliest first.  A timer may start or stop any timer, itself included;
 * one started for a time that has come runs in the next call, so that this one ends. */
void timers_run(struct timers *timers, int64_t now_ms);

#endif
