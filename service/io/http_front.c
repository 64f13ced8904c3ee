#include "io/http_front.h"

#include "io/http_connection.h"
#include "io/http_listen.h"
#include "io/http_request.h"

#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

enum {
    /* Beside the head: libmicrohttpd's record per header and the reply's head.  It clears all
     * of a connection's memory after each request, so that all of it is resident, and above
     * 32 KiB each is a mapping of its own. */
    MEMORY_BESIDE_HEAD_BYTES = 8 << 10,
    STOP_ROUNDS_MAX = 8,
    VAIN_RUNS_MAX = 16,
    VAIN_PAUSE_MS = 2,
};

static const struct {
    int status;
    const char *text;
} problems[] = {
#define X(name, status, text) [name] = {status, text},
    FRONT_PROBLEM_TABLE(X)
#undef X
};

int front_problem_status(enum front_problem problem)
{
    return problems[problem].status;
}

const char *front_problem_text(enum front_problem problem)
{
    return problems[problem].text;
}

/* ---- driving libmicrohttpd */

static void on_ready(struct watch *watch, uint32_t events)
{
    (void)events;
    struct http_listener *listener = CONTAINER_OF(watch, struct http_listener, watch);
    listener->run = true;
    listener->vain_runs = 0;
}

/* When a listener that says it has work left wants to be run again.  libmicrohttpd says so all
 * the time of a connection with a line of a chunked body that does not fit its memory, and does
 * nothing about it: until that connection's deadline it is only asked now and then. */
static int64_t next_run_ms(struct http_listener *listener, int64_t now_ms)
{
    if (listener->vain_runs >= VAIN_RUNS_MAX)
        return now_ms + VAIN_PAUSE_MS;
    listener->vain_runs++;
    return now_ms;
}

/* One MHD_run per round however many resumes there were: each of them walks all suspended
 * connections. */
static int64_t run_round(struct round_hook *hook, int64_t now_ms)
{
    struct http_front *front = CONTAINER_OF(hook, struct http_front, hook);
    int64_t due_ms = TIMERS_NEVER;
    timers_stop(event_loop_timers(front->loop), &front->wake);
    for (size_t i = 0; i < front->listener_count; i++) {
        struct http_listener *listener = &front->listeners[i];
        MHD_UNSIGNED_LONG_LONG timeout_ms;
        if (listener->run) {
            listener->run = false;
            (void)MHD_run(listener->mhd);
        }
        if (MHD_get_timeout(listener->mhd, &timeout_ms) == MHD_YES)
            listener->run = true; /* no timeouts are set, so there is work left */
        int64_t next_ms = listener->run ? next_run_ms(listener, now_ms) : TIMERS_NEVER;
        due_ms = next_ms < due_ms ? next_ms : due_ms;
    }
    return due_ms;
}

static void on_wake(struct timer *timer)
{
    (void)timer; /* run_round comes at the end of this round */
}

/* Over all listeners; a single one stops accepting by itself and leaves clients in the backlog.
 */
static enum MHD_Result accepts(void *context, const struct sockaddr *address, socklen_t bytes)
{
    const struct http_front *front = context;
    (void)address;
    (void)bytes;
    return front->connection_count < front->connections_max ? MHD_YES : MHD_NO;
}

/* Targets stay as sent. */
static size_t leave_escaped(void *context, struct MHD_Connection *mhd, char *text)
{
    (void)context;
    (void)mhd;
    return strlen(text);
}

static enum rc start(struct http_listener *listener, struct buf *problem)
{
    struct http_front *front = listener->front;
    size_t memory_bytes = front->header_bytes_max + MEMORY_BESIDE_HEAD_BYTES;
    listener->mhd = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, accepts, front, http_request_handle,
        listener, MHD_OPTION_LISTEN_SOCKET, listener->fd, MHD_OPTION_CONNECTION_LIMIT,
        front->connections_max, MHD_OPTION_CONNECTION_MEMORY_LIMIT, memory_bytes,
        MHD_OPTION_NOTIFY_CONNECTION, http_connection_notify, listener,
        MHD_OPTION_NOTIFY_COMPLETED, http_request_completed, listener,
        MHD_OPTION_URI_LOG_CALLBACK, http_request_begin, listener, MHD_OPTION_UNESCAPE_CALLBACK,
        leave_escaped, NULL, MHD_OPTION_END);
    const union MHD_DaemonInfo *info =
        listener->mhd ? MHD_get_daemon_info(listener->mhd, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (!info) {
        buf_add_text(problem, "cannot start the HTTP front: no memory or no file descriptor "
                              "left; raise the limits of this process\n");
        return E_IO;
    }
    listener->watch = (struct watch){.fd = info->epoll_fd, .run = on_ready};
    listener->run = true;
    return event_loop_watch(front->loop, &listener->watch, EPOLLIN);
}

/* ---- new and free */

void http_front_adjust(struct http_front *front, const struct http_front_params *params)
{
    ASSERT(params->request_bytes_per_s_min > 0 && params->reply_bytes_per_s_min > 0);
    front->body_bytes_max = params->body_bytes_max;
    front->keepalive_ms = params->keepalive_ms;
    front->request_timeout_ms = params->request_timeout_ms;
    front->request_bytes_per_s_min = params->request_bytes_per_s_min;
    front->reply_bytes_per_s_min = params->reply_bytes_per_s_min;
}

static struct http_front *allocate(const struct http_front_params *params)
{
    struct http_front *front = calloc(1, sizeof *front);
    if (!front)
        return NULL;
    front->listeners = calloc(params->listen_count, sizeof *front->listeners);
    if (!front->listeners) {
        free(front);
        return NULL;
    }
    front->loop = params->loop;
    front->handler = params->handler;
    front->connections_max = params->connections_max;
    front->header_bytes_max = params->header_bytes_max;
    http_front_adjust(front, params);
    front->hook.run = run_round;
    front->wake.run = on_wake;
    list_init(&front->connections);
    list_init(&front->lingering);
    /* The one whose parser was read and tested for it.  Later ones refuse by themselves what
     * this check is for. */
    front->parses_in_place = strcmp(MHD_get_version(), "0.9.75") == 0;
    return front;
}

static enum rc add_listener(struct http_front *front, const struct http_front_params *params,
                            size_t i, struct buf *problem)
{
    struct http_listener *listener = &front->listeners[front->listener_count];
    *listener = (struct http_listener){
        .front = front, .fd = -1, .is_inherited = params->sockets != NULL};
    if (params->sockets)
        listener->fd = params->sockets[i];
    else {
        enum rc rc = http_listen_open(params->listen[i], problem, &listener->fd);
        if (rc != OK)
            return rc;
    }
    listener->is_unix = http_listen_is_unix(listener->fd);
    front->listener_count++;
    return start(listener, problem);
}

enum rc http_front_new(const struct http_front_params *params, struct buf *problem,
                       struct http_front **ret)
{
    ASSERT(params->listen_count > 0 && params->connections_max > 0);
    OWNED(http_front) front = allocate(params);
    if (!front)
        return E_NOMEM;
    event_loop_hook(front->loop, &front->hook);
    for (size_t i = 0; i < params->listen_count; i++) {
        enum rc rc = add_listener(front, params, i, problem);
        if (rc != OK && !(rc == E_NOT_FOUND && params->may_leave_out))
            return rc;
    }
    if (front->listener_count == 0)
        return E_NOT_FOUND;
    *ret = take(front);
    return OK;
}

/* The handler should have replied to all. */
static void reply_to_rest(struct http_front *front)
{
    const struct http_reply reply = {.status = 503, .close = true};
    for (struct list *at = front->connections.next; at != &front->connections; at = at->next) {
        struct http_request *request = CONTAINER_OF(at, struct http_connection, link)->request;
        if (!request || !request->known || !http_request_is_pending(request))
            continue;
        if (!request->replied)
            http_request_reply(request, &reply);
        else
            (void)!http_request_finish_reply(request, NULL);
    }
}

static void stop(struct http_listener *listener)
{
    /* Resumes what was replied to; to stop with suspended connections aborts. */
    for (int round = 0; listener->mhd && round < STOP_ROUNDS_MAX; round++)
        (void)MHD_run(listener->mhd);
    event_loop_unwatch(listener->front->loop, &listener->watch);
    if (listener->mhd)
        MHD_stop_daemon(listener->mhd);
}

void http_front_free(struct http_front *front)
{
    if (!front)
        return;
    front->stopping = true;
    http_front_quiesce(front);
    reply_to_rest(front);
    for (size_t i = 0; i < front->listener_count; i++)
        stop(&front->listeners[i]);
    while (!list_is_empty(&front->lingering))
        http_connection_give_up(
            CONTAINER_OF(front->lingering.next, struct http_connection, link));
    timers_stop(event_loop_timers(front->loop), &front->wake);
    event_loop_unhook(front->loop, &front->hook);
    free(front->listeners);
    free(front);
}

void http_front_quiesce(struct http_front *front)
{
    for (size_t i = 0; i < front->listener_count; i++) {
        struct http_listener *listener = &front->listeners[i];
        if (listener->fd < 0)
            continue;
        if (listener->mhd)
            (void)MHD_quiesce_daemon(listener->mhd);
        if (!listener->is_inherited)
            http_listen_close(listener->fd);
        listener->fd = -1;
    }
}

static bool is_quiet(const struct http_connection *connection, int64_t now_ms)
{
    int unread_bytes = 0;
    if (connection->phase != PHASE_IDLE || !list_is_empty(&connection->unconfirmed))
        return false;
    if (!connection->used)
        return now_ms - connection->start_ms >= HTTP_FRONT_FRESH_MS;
    return ioctl(connection->fd, SIOCINQ, &unread_bytes) != 0 || unread_bytes == 0;
}

bool http_front_is_quiet(const struct http_front *front)
{
    int64_t now_ms = event_loop_now_ms(front->loop);
    const struct list *all = &front->connections;
    for (struct list *at = all->next; at != all; at = at->next)
        if (!is_quiet(CONTAINER_OF(at, struct http_connection, link), now_ms))
            return false;
    return true;
}

void http_front_close_after_reply(struct http_front *front)
{
    front->close_after_reply = true;
}

unsigned http_front_connections(const struct http_front *front)
{
    return front->connection_count;
}

void http_front_addresses(const struct http_front *front, struct buf *out)
{
    for (size_t i = 0; i < front->listener_count; i++) {
        if (front->listeners[i].fd < 0)
            continue;
        http_listen_print(front->listeners[i].fd, out);
        buf_add_byte(out, '\n');
    }
}
