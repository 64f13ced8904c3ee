#include "io/notify.h"

#include "base/buf.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* "/path" or "@abstract" (unix(7): there the first byte is a NUL). */
static bool name_of(struct span text, struct notify *notify)
{
    struct sockaddr_un *name = &notify->name;
    bool abstract = span_starts(text, "@");
    /* A path keeps a NUL behind it, which an abstract name does not. */
    size_t bytes_max = sizeof name->sun_path - (abstract ? 0 : 1);
    if ((!abstract && !span_starts(text, "/")) || text.n < 2 || text.n > bytes_max)
        return false;
    name->sun_family = AF_UNIX;
    memcpy(name->sun_path, text.p, text.n);
    if (abstract)
        name->sun_path[0] = '\0';
    notify->name_bytes =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + text.n + (abstract ? 0 : 1));
    return true;
}

static enum rc open_socket(struct notify *notify)
{
    const struct timeval wait = {.tv_sec = NOTIFY_WAIT_MS / 1000};
    const char *socket_name = getenv("NOTIFY_SOCKET");
    if (!socket_name || !*socket_name)
        return OK;
    if (!name_of(span_of(socket_name), notify))
        return E_INVALID;
    notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (notify->fd < 0)
        return E_IO;
    bool bounded = setsockopt(notify->fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait) == 0;
    return bounded ? OK : E_IO;
}

/* systemd's time is for the process of WATCHDOG_PID (sd_watchdog_enabled(3)). */
static enum rc read_watchdog(struct notify *notify)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    uint64_t number;
    if (!usec || !*usec)
        return OK;
    if (pid && (!span_to_u64(span_of(pid), &number) || number != (uint64_t)getpid()))
        return OK;
    if (!span_to_u64(span_of(usec), &number) || number == 0 || number > INT64_MAX)
        return E_INVALID;
    notify->watchdog_ms = (int64_t)(number / 2000);
    if (notify->watchdog_ms == 0)
        notify->watchdog_ms = 1;
    return OK;
}

enum rc notify_open(struct notify *ret)
{
    *ret = (struct notify){.fd = -1};
    enum rc rc = open_socket(ret);
    if (rc == OK && ret->fd >= 0)
        rc = read_watchdog(ret);
    if (rc != OK)
        notify_done(ret);
    (void)unsetenv("NOTIFY_SOCKET");
    (void)unsetenv("WATCHDOG_USEC");
    (void)unsetenv("WATCHDOG_PID");
    return rc;
}

void notify_done(struct notify *notify)
{
    if (notify->fd >= 0)
        (void)close(notify->fd);
    *notify = (struct notify){.fd = -1};
}

enum rc notify_send(const struct notify *notify, const char *format, ...)
{
    BUF(text, NOTIFY_BYTES_MAX);
    va_list arguments;
    if (notify->fd < 0)
        return OK;
    va_start(arguments, format);
    buf_vprintf(&text, format, arguments);
    va_end(arguments);
    if (buf_rc(&text) != OK)
        return E_IO;
    ssize_t sent = sendto(notify->fd, text.p, text.n, MSG_NOSIGNAL,
                          (const struct sockaddr *)&notify->name, notify->name_bytes);
    return sent == (ssize_t)text.n ? OK : E_IO;
}

enum rc notify_reloading(const struct notify *notify)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t usec = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
    return notify_send(notify, "RELOADING=1\nMONOTONIC_USEC=%" PRId64 "\nSTATUS=reloading",
                       usec);
}
