/* The loop thread's epoll: file descriptors, timers, the mailbox of the other threads, signals.
 * Thread: the loop, but for event_loop_mailbox, where any thread may post. */
#ifndef IO_EVENT_LOOP_H
#define IO_EVENT_LOOP_H

#include "base/mailbox.h"
#include "base/rc.h"
#include "base/timers.h"

struct event_loop;

/* A watched file descriptor, embedded in its owner.  `run` may unwatch any watch, itself
 * included; a watch that was unwatched does not run any more, also not in the same round. */
struct watch {
    int fd;
    void (*run)(struct watch *watch, uint32_t events);
    bool watched;
};

/* E_IO, E_NOMEM. */
MUST_CHECK enum rc event_loop_new(struct event_loop **ret);
void event_loop_free(struct event_loop *loop);
OWNED_DEFINE(event_loop)

/* `events` as epoll_ctl takes them (EPOLLIN, EPOLLRDHUP, EPOLLONESHOT ...).  A watch that is
 * watched already gets the new events.  E_IO. */
MUST_CHECK enum rc event_loop_watch(struct event_loop *loop, struct watch *watch,
                                    uint32_t events);
void event_loop_unwatch(struct event_loop *loop, struct watch *watch);
/* Milliseconds of the monotonic clock, as of the start of this round. */
int64_t event_loop_now_ms(const struct event_loop *loop);
struct timers *event_loop_timers(struct event_loop *loop);
struct mailbox *event_loop_mailbox(struct event_loop *loop);
/* Call `run` at the end of every round, after events, messages and timers, until it is
 * unhooked.  At most EVENT_LOOP_HOOKS_MAX.  For an adapter that must act once per round
 * (libmicrohttpd after resumes). */
enum { EVENT_LOOP_HOOKS_MAX = 4 };
struct round_hook {
    /* Returns when it wants to be called again at the latest, or TIMERS_NEVER. */
    int64_t (*run)(struct round_hook *hook, int64_t now_ms);
};
void event_loop_hook(struct event_loop *loop, struct round_hook *hook);
void event_loop_unhook(struct event_loop *loop, struct round_hook *hook);
/* One round: wait for events, timers or messages, at most until timeout_ms passed (-1: no
 * limit), and run them. */
void event_loop_round(struct event_loop *loop, int timeout_ms);

#endif
