/* systemd's notifications without libsystemd (sd_notify(3)): one datagram per message to the unix
 * socket that NOTIFY_SOCKET names, by a path or by an abstract name ("@...").  Without the variable
 * nothing is sent and all is well.  Thread: the main one. */
#ifndef IO_NOTIFY_H
#define IO_NOTIFY_H

#include "base/rc.h"

#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { NOTIFY_BYTES_MAX = 1024, NOTIFY_WAIT_MS = 1000 };

struct notify {
    int fd; /* -1: nobody listens */
    struct sockaddr_un name;
    socklen_t name_bytes;
    /* How often to send "WATCHDOG=1": half of the time in which systemd wants one; 0: never. */
    int64_t watchdog_ms;
};

/* Takes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID out of the environment, which no other
 * thread may be reading.  E_INVALID: a socket that is neither a path nor an abstract name, or a
 * watchdog time that is no number; E_IO: no descriptor left.  Then *ret sends nothing. */
MUST_CHECK enum rc notify_open(struct notify *ret);
void notify_done(struct notify *notify);

/* Send these assignments, a line each ("READY=1\nSTATUS=..."), at most NOTIFY_BYTES_MAX.  Waits
 * NOTIFY_WAIT_MS at most for a full socket.  E_IO: lost. */
MUST_CHECK enum rc notify_send(const struct notify *notify, const char *format, ...)
    PRINTF_LIKE(2, 3);
/* A reload begins; it ends with "READY=1". */
MUST_CHECK enum rc notify_reloading(const struct notify *notify);

#endif
