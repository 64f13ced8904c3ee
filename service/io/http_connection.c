#include "io/http_connection.h"

#include "io/http_request.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    TCP_IDLE_S = 60,
    TCP_INTERVAL_S = 15,
    /* An acknowledgement that did not come with the write comes within a delayed-ACK time. */
    CONFIRM_PAUSE_MS = 5,
    CONFIRM_PAUSE_MS_MAX = 1000,
    /* Each holds a descriptor beyond connections_max. */
    LINGERING_MAX = 256,
};

static void on_socket(struct watch *watch, uint32_t events);
static void on_deadline(struct timer *timer);
static void on_confirm(struct timer *timer);

/* What cannot be set (all of it on a unix socket) is done without. */
static void set_options(int fd)
{
    const int on = 1, idle_s = TCP_IDLE_S, interval_s = TCP_INTERVAL_S;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
}

static void begin(struct http_listener *listener, struct MHD_Connection *mhd,
                  void **socket_context)
{
    struct http_front *front = listener->front;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    ASSERT(info);
    struct http_connection *connection = calloc(1, sizeof *connection);
    if (!connection) {
        (void)shutdown(info->connect_fd, SHUT_RDWR);
        return;
    }
    connection->front = front;
    connection->listener = listener;
    connection->mhd = mhd;
    connection->fd = info->connect_fd;
    connection->watch = (struct watch){.fd = connection->fd, .run = on_socket};
    connection->deadline.run = on_deadline;
    connection->confirm.run = on_confirm;
    connection->start_ms = event_loop_now_ms(front->loop);
    list_init(&connection->link);
    list_init(&connection->unconfirmed);
    list_append(&front->connections, &connection->link);
    front->connection_count++;
    *socket_context = connection;
    set_options(connection->fd);
    http_connection_enter(connection, PHASE_IDLE);
}

static void release(struct http_connection *connection)
{
    struct http_front *front = connection->front;
    timers_stop(event_loop_timers(front->loop), &connection->confirm);
    list_remove(&connection->link);
    if (!connection->mhd && connection->fd >= 0) {
        (void)close(connection->fd);
        front->lingering_count--;
    }
    free(connection);
}

/* ---- confirmation */

bool http_connection_client_is_gone(const struct http_connection *connection)
{
    struct pollfd socket = {.fd = connection->fd, .events = POLLRDHUP};
    return poll(&socket, 1, 0) > 0;
}

enum arrival { ARRIVED, LOST, UNKNOWN };

static enum arrival see_arrival(const struct http_connection *connection)
{
    struct pollfd socket = {.fd = connection->fd};
    int queued_bytes = 0;
    if (poll(&socket, 1, 0) < 0 || ioctl(connection->fd, SIOCOUTQ, &queued_bytes) != 0)
        return LOST;
    /* A reset: the client closed with bytes unread, or was gone before they came. */
    if (socket.revents & (POLLERR | POLLNVAL))
        return LOST;
    /* On a closed connection our own FIN counts as a byte. */
    if (queued_bytes <= (connection->mhd ? 0 : 1))
        return ARRIVED;
    return socket.revents & POLLHUP ? LOST : UNKNOWN;
}

/* True when no request waits any more. */
static bool settle(struct http_connection *connection)
{
    struct list *all = &connection->unconfirmed;
    if (list_is_empty(all))
        return true;
    enum arrival arrival = see_arrival(connection);
    int64_t now_ms = event_loop_now_ms(connection->front->loop);
    while (!list_is_empty(all)) {
        struct http_request *request = CONTAINER_OF(all->next, struct http_request, link);
        if (arrival == UNKNOWN && now_ms < request->reply_deadline_ms)
            return false;
        http_request_end(request, arrival == ARRIVED);
    }
    timers_stop(event_loop_timers(connection->front->loop), &connection->confirm);
    return true;
}

static void settle_later(struct http_connection *connection)
{
    struct event_loop *loop = connection->front->loop;
    int64_t due_ms = event_loop_now_ms(loop) + connection->confirm_pause_ms;
    connection->confirm_pause_ms *= 2;
    if (connection->confirm_pause_ms > CONFIRM_PAUSE_MS_MAX)
        connection->confirm_pause_ms = CONFIRM_PAUSE_MS_MAX;
    if (timers_start(event_loop_timers(loop), &connection->confirm, due_ms) != OK)
        http_connection_give_up(connection);
}

static void on_confirm(struct timer *timer)
{
    struct http_connection *connection = CONTAINER_OF(timer, struct http_connection, confirm);
    if (!settle(connection))
        settle_later(connection);
    else if (!connection->mhd)
        release(connection);
}

void http_connection_confirm(struct http_connection *connection, struct http_request *request)
{
    list_append(&connection->unconfirmed, &request->link);
    if (settle(connection))
        return;
    connection->confirm_pause_ms = CONFIRM_PAUSE_MS;
    settle_later(connection);
}

void http_connection_give_up(struct http_connection *connection)
{
    bool arrived = see_arrival(connection) == ARRIVED;
    while (!list_is_empty(&connection->unconfirmed))
        http_request_end(CONTAINER_OF(connection->unconfirmed.next, struct http_request, link),
                         arrived);
    if (!connection->mhd)
        release(connection);
}

/* ---- end */

/* libmicrohttpd closes its descriptor when this returns.  With bytes on their way the socket
 * lives on as a duplicate: to see them arrive, and because closing it with bytes unread would
 * send a reset after them, which can take the reply away from the client. */
static void end(struct http_connection *connection)
{
    struct http_front *front = connection->front;
    timers_stop(event_loop_timers(front->loop), &connection->deadline);
    event_loop_unwatch(front->loop, &connection->watch);
    front->connection_count--;
    connection->listener->run = true; /* at its limit, the daemon accepts again only then */
    if (connection->request)
        http_request_lost(connection->request);
    connection->mhd = NULL;
    list_remove(&connection->link);
    if (settle(connection)) {
        connection->fd = -1;
        release(connection);
        return;
    }
    int kept =
        front->lingering_count < LINGERING_MAX ? fcntl(connection->fd, F_DUPFD_CLOEXEC, 0) : -1;
    connection->fd = kept;
    if (kept < 0) {
        http_connection_give_up(connection);
        return;
    }
    front->lingering_count++;
    list_append(&front->lingering, &connection->link);
    (void)shutdown(kept, SHUT_WR);
}

void http_connection_notify(void *context, struct MHD_Connection *mhd, void **socket_context,
                            enum MHD_ConnectionNotificationCode what)
{
    if (what == MHD_CONNECTION_NOTIFY_STARTED)
        begin(context, mhd, socket_context);
    else if (*socket_context)
        end(*socket_context);
}

struct http_connection *http_connection_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

/* ---- phases */

void http_connection_abort(struct http_connection *connection)
{
    (void)shutdown(connection->fd, SHUT_RDWR);
}

void http_connection_enter(struct http_connection *connection, enum http_phase phase)
{
    struct http_front *front = connection->front;
    struct timers *timers = event_loop_timers(front->loop);
    int64_t now_ms = event_loop_now_ms(front->loop);
    int64_t due_ms = now_ms + front->request_timeout_ms;
    uint32_t events = 0;
    connection->phase = phase;
    connection->phase_ms = now_ms;
    switch (phase) {
    case PHASE_IDLE:
        due_ms = now_ms + front->keepalive_ms;
        events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT;
        break;
    case PHASE_HEAD:
        connection->start_ms = now_ms;
        break;
    case PHASE_BODY:
        break;
    case PHASE_WAIT:
    case PHASE_BEAT:
        timers_stop(timers, &connection->deadline);
        due_ms = TIMERS_NEVER;
        events = EPOLLRDHUP | EPOLLONESHOT;
        break;
    case PHASE_REPLY:
        due_ms = connection->request->reply_deadline_ms;
        break;
    }
    if (due_ms != TIMERS_NEVER && timers_start(timers, &connection->deadline, due_ms) != OK)
        http_connection_abort(connection);
    if (events && event_loop_watch(front->loop, &connection->watch, events) != OK)
        http_connection_abort(connection);
}

/* libmicrohttpd's edge-triggered epoll forgets a FIN that came together with the last bytes it
 * read, and would keep such a connection for ever. */
static bool is_finished(const struct http_connection *connection, uint32_t events)
{
    int unread_bytes = 0;
    return (events & EPOLLRDHUP) &&
           (ioctl(connection->fd, SIOCINQ, &unread_bytes) != 0 || unread_bytes == 0);
}

/* A watch of an earlier phase may still fire once; it says nothing about this one. */
static void on_socket(struct watch *watch, uint32_t events)
{
    struct http_connection *connection = CONTAINER_OF(watch, struct http_connection, watch);
    if (connection->phase == PHASE_IDLE) {
        (void)settle(connection);
        http_connection_enter(connection, PHASE_HEAD);
        if (is_finished(connection, events))
            http_connection_abort(connection);
        return;
    }
    if (connection->phase != PHASE_WAIT && connection->phase != PHASE_BEAT)
        return;
    bool broken = events & (EPOLLERR | EPOLLHUP);
    /* After the client's FIN only a break can follow; epoll always reports that. */
    if (!broken && event_loop_watch(connection->front->loop, watch, EPOLLONESHOT) != OK)
        broken = true;
    http_request_left(connection->request, broken);
}

static void on_deadline(struct timer *timer)
{
    struct http_connection *connection = CONTAINER_OF(timer, struct http_connection, deadline);
    struct http_front *front = connection->front;
    if (connection->phase != PHASE_BODY) {
        http_connection_abort(connection);
        return;
    }
    int64_t due_ms = connection->phase_ms + front->request_timeout_ms +
                     http_request_body_ms(connection->request);
    if (due_ms <= event_loop_now_ms(front->loop) ||
        timers_start(event_loop_timers(front->loop), timer, due_ms) != OK)
        http_request_too_slow(connection->request);
}
