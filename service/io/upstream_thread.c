#include "io/upstream_internal.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    EVENTS_PER_ROUND = 256,
    IDLE_CALLS_MAX = 64, /* a pooled handle keeps its buffers */
    RECHECK_PAUSE_MS = 100,
    /* More than a socket holds, and nothing is copied. */
    DISCARD_BYTES = 1 << 20,
    DISCARDS_MAX = 64
};

struct call *upstream_thread_take_call(struct upstream_thread *thread)
{
    struct list *first = list_pop(&thread->idle);
    if (!first)
        return upstream_call_new(thread);
    thread->idle_count--;
    return CONTAINER_OF(first, struct call, link);
}

void upstream_thread_put_call(struct upstream_thread *thread, struct call *call)
{
    list_remove(&call->link);
    if (thread->idle_count == IDLE_CALLS_MAX) {
        upstream_call_free(call);
        return;
    }
    list_append(&thread->idle, &call->link);
    thread->idle_count++;
}

/* ---- connections that are kept for later */

/* Beside the descriptor, in an event's data. */
static const uint64_t IDLE = UINT64_C(1) << 32;

/* Bytes that come while nobody has asked would be taken for the answer to the next request, and
 * each answer after them for that of the request behind its own: one client's for another's.
 * libcurl 7.88 takes a connection with bytes to read for one that is alive; without any, and
 * shut down, it is found to be dead when it is to be used again. */
static void retire(int fd)
{
    /* Closing it sends a reset, as it did with bytes unread: the other side may still send. */
    const struct linger reset = {.l_onoff = 1};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    (void)shutdown(fd, SHUT_RDWR);
    for (int i = 0; i < DISCARDS_MAX; i++)
        if (recv(fd, NULL, DISCARD_BYTES, MSG_TRUNC | MSG_DONTWAIT) <= 0)
            return;
}

static void watch_idle(const struct upstream_thread *thread, int fd)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT,
                                .data.u64 = (uint32_t)fd | IDLE};
    char byte;
    /* Fails when libcurl has closed it already, which removed it as well. */
    if (epoll_ctl(thread->epoll_fd, EPOLL_CTL_MOD, fd, &event) != 0)
        return;
    /* It may be used again before the next round. */
    if (recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0)
        retire(fd);
}

/* To be called before anything that may close one of these descriptors. */
static void retire_spoilt(const struct epoll_event *events, int count)
{
    for (int i = 0; i < count; i++)
        if (events[i].data.u64 & IDLE)
            retire(events[i].data.fd);
}

/* ---- libcurl's two wishes: sockets to watch, and a time to be called */

static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *watched)
{
    (void)easy;
    struct upstream_thread *thread = user;
    struct epoll_event event = {.data.u64 = (uint32_t)fd};
    if (what == CURL_POLL_REMOVE) {
        watch_idle(thread, fd);
        return 0;
    }
    if (what & CURL_POLL_IN)
        event.events |= EPOLLIN;
    if (what & CURL_POLL_OUT)
        event.events |= EPOLLOUT;
    int failed =
        epoll_ctl(thread->epoll_fd, watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
    if (failed && errno == (watched ? ENOENT : EEXIST))
        failed =
            epoll_ctl(thread->epoll_fd, watched ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event);
    if (failed)
        return -1;
    (void)curl_multi_assign(thread->multi, fd, thread);
    return 0;
}

static int call_me_in(CURLM *multi, long timeout_ms, void *user)
{
    (void)multi;
    struct upstream_thread *thread = user;
    thread->curl_due_ms =
        timeout_ms < 0 ? TIMERS_NEVER : upstream_later(upstream_clock_ms(), timeout_ms);
    return 0;
}

static void drive(struct upstream_thread *thread, curl_socket_t fd, int what)
{
    int running;
    if (curl_multi_socket_action(thread->multi, fd, what, &running) != CURLM_OK)
        thread->recheck_ms = thread->now_ms + RECHECK_PAUSE_MS;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
/* Out of memory libcurl may have failed to ask for a socket to be watched, and does not say of
 * which call: without this the call would stand still until its timeout.  curl_multi_socket_all
 * is deprecated as too slow for every day, but the only way to have all sockets asked for. */
static void recheck(struct upstream_thread *thread)
{
    int running;
    bool fine = curl_multi_socket_all(thread->multi, &running) == CURLM_OK;
    thread->recheck_ms = fine ? TIMERS_NEVER : thread->now_ms + RECHECK_PAUSE_MS;
}
#pragma GCC diagnostic pop

static void socket_ready(struct upstream_thread *thread, const struct epoll_event *event)
{
    int what = 0;
    if (event->events & (EPOLLIN | EPOLLHUP | EPOLLERR)) /* reading tells what is wrong */
        what |= CURL_CSELECT_IN;
    if (event->events & EPOLLOUT)
        what |= CURL_CSELECT_OUT;
    drive(thread, event->data.fd, what);
}

static void finish_calls(struct upstream_thread *thread)
{
    int left;
    CURLMsg *message;
    while ((message = curl_multi_info_read(thread->multi, &left))) {
        char *call = NULL;
        CURLcode code = message->data.result; /* the message goes with the handle */
        (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
        if (message->msg == CURLMSG_DONE)
            upstream_call_finished((struct call *)(void *)call, code);
    }
}

/* ---- the thread */

static int wait_ms(const struct upstream_thread *thread)
{
    int64_t due = timers_next_ms(&thread->timers);
    if (thread->curl_due_ms < due)
        due = thread->curl_due_ms;
    if (thread->recheck_ms < due)
        due = thread->recheck_ms;
    if (due == TIMERS_NEVER)
        return -1;
    int64_t wait = due - upstream_clock_ms();
    if (wait <= 0)
        return 0;
    return wait < INT_MAX ? (int)wait : INT_MAX;
}

static void round_trip(struct upstream_thread *thread)
{
    struct epoll_event events[EVENTS_PER_ROUND];
    int count = epoll_wait(thread->epoll_fd, events, EVENTS_PER_ROUND, wait_ms(thread));
    ASSERT(count >= 0 || errno == EINTR);
    thread->now_ms = upstream_clock_ms();
    bool ordered = false;
    retire_spoilt(events, count);
    for (int i = 0; i < count; i++) {
        if (events[i].data.fd == thread->orders.fd)
            ordered = true;
        else if (!(events[i].data.u64 & IDLE))
            socket_ready(thread, &events[i]);
    }
    if (thread->curl_due_ms <= thread->now_ms) {
        thread->curl_due_ms = TIMERS_NEVER;
        drive(thread, CURL_SOCKET_TIMEOUT, 0);
    }
    if (thread->recheck_ms <= thread->now_ms)
        recheck(thread);
    finish_calls(thread);
    timers_run(&thread->timers, thread->now_ms);
    if (ordered)
        (void)mailbox_run(&thread->orders);
    upstream_gates_release(thread);
}

static void *run(void *user)
{
    struct upstream_thread *thread = user;
    while (!thread->stopping)
        round_trip(thread);
    while (!list_is_empty(&thread->calls))
        upstream_call_abort(CONTAINER_OF(thread->calls.next, struct call, link),
                            ATTEMPT_NO_RESOURCES);
    upstream_gates_release(thread);
    return NULL;
}

static void stop(struct message *message)
{
    CONTAINER_OF(message, struct upstream_thread, stop_order)->stopping = true;
}

static enum rc open_multi(struct upstream_thread *thread)
{
    thread->multi = curl_multi_init();
    if (!thread->multi)
        return E_NOMEM;
    CURLM *multi = thread->multi;
    long connections_max = thread->settings->connections_max;
    bool fine = curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, watch_socket) == CURLM_OK;
    fine &= curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, thread) == CURLM_OK;
    fine &= curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, call_me_in) == CURLM_OK;
    fine &= curl_multi_setopt(multi, CURLMOPT_TIMERDATA, thread) == CURLM_OK;
    /* Left alone it follows the number of handles, and closes what could be used again. */
    fine &= curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, connections_max) == CURLM_OK;
    return fine ? OK : E_NOMEM;
}

static enum rc open_epoll(struct upstream_thread *thread)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint32_t)thread->orders.fd};
    thread->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (thread->epoll_fd < 0 ||
        epoll_ctl(thread->epoll_fd, EPOLL_CTL_ADD, thread->orders.fd, &event) != 0)
        return E_IO;
    return OK;
}

/* Signals are the loop's.  That blocks SIGPIPE here too, which libcurl leaves to us when it may
 * use no signals, and OpenSSL's writes can raise. */
static enum rc launch(struct upstream_thread *thread)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&thread->id, NULL, run, thread);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed ? E_IO : OK;
}

/* Everything but the running thread itself. */
static void discard(struct upstream_thread *thread)
{
    struct list *idle;
    while ((idle = list_pop(&thread->idle)))
        upstream_call_free(CONTAINER_OF(idle, struct call, link));
    if (thread->multi)
        (void)curl_multi_cleanup(thread->multi);
    timers_done(&thread->timers);
    if (thread->epoll_fd >= 0)
        (void)close(thread->epoll_fd);
    mailbox_done(&thread->orders);
    free(thread);
}

enum rc upstream_thread_new(const struct upstream_settings *settings,
                            struct upstream_thread **ret)
{
    struct upstream_thread *thread = calloc(1, sizeof *thread);
    if (!thread)
        return E_NOMEM;
    thread->settings = settings;
    thread->epoll_fd = -1;
    thread->curl_due_ms = thread->recheck_ms = TIMERS_NEVER;
    thread->stop_order.run = stop;
    list_init(&thread->calls);
    list_init(&thread->idle);
    list_init(&thread->gates);
    timers_init(&thread->timers);
    enum rc rc = mailbox_init(&thread->orders);
    if (rc != OK) {
        free(thread);
        return rc;
    }
    rc = open_multi(thread);
    if (rc == OK)
        rc = open_epoll(thread);
    if (rc == OK)
        rc = launch(thread);
    if (rc != OK) {
        discard(thread);
        return rc;
    }
    *ret = thread;
    return OK;
}

void upstream_thread_free(struct upstream_thread *thread)
{
    if (!thread)
        return;
    mailbox_post(&thread->orders, &thread->stop_order);
    int joined = pthread_join(thread->id, NULL);
    ASSERT(joined == 0);
    discard(thread);
}
