#include "io/event_loop.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS_PER_ROUND = 256 };

struct event_loop {
    int fd;
    int64_t now_ms;
    struct timers timers;
    struct mailbox mailbox;
    struct watch mailbox_watch;
    struct round_hook *hooks[EVENT_LOOP_HOOKS_MAX];
    int64_t hooks_due_ms;
    /* What epoll reported and has not run yet; unwatch forgets it here. */
    struct epoll_event events[EVENTS_PER_ROUND];
    int event_count;
};

static int64_t clock_ms(void)
{
    struct timespec now;
    int got = clock_gettime(CLOCK_MONOTONIC, &now);
    ASSERT(got == 0);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void run_messages(struct watch *watch, uint32_t events)
{
    (void)events;
    struct event_loop *loop = CONTAINER_OF(watch, struct event_loop, mailbox_watch);
    (void)mailbox_run(&loop->mailbox);
}

enum rc event_loop_new(struct event_loop **ret)
{
    struct event_loop *loop = calloc(1, sizeof *loop);
    if (!loop)
        return E_NOMEM;
    loop->now_ms = clock_ms();
    loop->hooks_due_ms = TIMERS_NEVER;
    timers_init(&loop->timers);
    loop->fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->fd < 0 || mailbox_init(&loop->mailbox) != OK) {
        if (loop->fd >= 0)
            (void)close(loop->fd);
        free(loop);
        return E_IO;
    }
    loop->mailbox_watch = (struct watch){.fd = loop->mailbox.fd, .run = run_messages};
    enum rc rc = event_loop_watch(loop, &loop->mailbox_watch, EPOLLIN);
    if (rc != OK) {
        event_loop_free(loop);
        return rc;
    }
    *ret = loop;
    return OK;
}

void event_loop_free(struct event_loop *loop)
{
    if (!loop)
        return;
    timers_done(&loop->timers);
    mailbox_done(&loop->mailbox);
    (void)close(loop->fd);
    free(loop);
}

enum rc event_loop_watch(struct event_loop *loop, struct watch *watch, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};
    int how = watch->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (epoll_ctl(loop->fd, how, watch->fd, &event) != 0)
        return E_IO;
    watch->watched = true;
    return OK;
}

void event_loop_unwatch(struct event_loop *loop, struct watch *watch)
{
    if (!watch->watched)
        return;
    watch->watched = false;
    /* Fails only when the descriptor was closed before, which took it out as well. */
    (void)epoll_ctl(loop->fd, EPOLL_CTL_DEL, watch->fd, NULL);
    for (int i = 0; i < loop->event_count; i++)
        if (loop->events[i].data.ptr == watch)
            loop->events[i].data.ptr = NULL;
}

int64_t event_loop_now_ms(const struct event_loop *loop)
{
    return loop->now_ms;
}

struct timers *event_loop_timers(struct event_loop *loop)
{
    return &loop->timers;
}

struct mailbox *event_loop_mailbox(struct event_loop *loop)
{
    return &loop->mailbox;
}

void event_loop_hook(struct event_loop *loop, struct round_hook *hook)
{
    bool hooked = false;
    for (size_t i = 0; i < EVENT_LOOP_HOOKS_MAX && !hooked; i++)
        if (!loop->hooks[i]) {
            loop->hooks[i] = hook;
            hooked = true;
        }
    ASSERT(hooked);
    loop->hooks_due_ms = loop->now_ms;
}

void event_loop_unhook(struct event_loop *loop, struct round_hook *hook)
{
    for (size_t i = 0; i < EVENT_LOOP_HOOKS_MAX; i++)
        if (loop->hooks[i] == hook)
            loop->hooks[i] = NULL;
}

static int wait_ms(const struct event_loop *loop, int timeout_ms)
{
    int64_t due_ms = timers_next_ms(&loop->timers);
    if (loop->hooks_due_ms < due_ms)
        due_ms = loop->hooks_due_ms;
    if (due_ms == TIMERS_NEVER)
        return timeout_ms;
    int64_t left_ms = due_ms - clock_ms();
    if (left_ms < 0)
        left_ms = 0;
    if (timeout_ms >= 0 && left_ms > timeout_ms)
        return timeout_ms;
    return left_ms > INT_MAX ? INT_MAX : (int)left_ms;
}

static void run_events(struct event_loop *loop)
{
    for (int i = 0; i < loop->event_count; i++) {
        struct watch *watch = loop->events[i].data.ptr;
        if (watch)
            watch->run(watch, loop->events[i].events);
    }
    loop->event_count = 0;
}

static void run_hooks(struct event_loop *loop)
{
    int64_t earliest_ms = TIMERS_NEVER;
    for (size_t i = 0; i < EVENT_LOOP_HOOKS_MAX; i++) {
        if (!loop->hooks[i])
            continue;
        int64_t due_ms = loop->hooks[i]->run(loop->hooks[i], loop->now_ms);
        if (due_ms < earliest_ms)
            earliest_ms = due_ms;
    }
    loop->hooks_due_ms = earliest_ms;
}

void event_loop_round(struct event_loop *loop, int timeout_ms)
{
    int got = epoll_wait(loop->fd, loop->events, EVENTS_PER_ROUND, wait_ms(loop, timeout_ms));
    ASSERT(got >= 0 || errno == EINTR);
    loop->now_ms = clock_ms();
    loop->event_count = got > 0 ? got : 0;
    run_events(loop);
    timers_run(&loop->timers, loop->now_ms);
    run_hooks(loop);
}
