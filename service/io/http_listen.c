#include "io/http_listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { HOST_BYTES_MAX = 256, PORT_BYTES_MAX = 6, BACKLOG = 4096 };

static enum rc refuse(struct buf *problem, struct span address, const char *reason,
                      const char *remedy)
{
    buf_printf(problem, "cannot listen on %.*s: %s; %s\n", SPAN_ARG(address), reason, remedy);
    return E_INVALID;
}

static const char *remedy_for(int error)
{
    switch (error) {
    case EADDRINUSE:
        return "another process has it: stop that one or listen elsewhere";
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
        return "this machine has no such address: listen on one it has";
    case EACCES:
        return "no permission: take a port above 1023, or a directory this user may write to";
    case ENOENT:
        return "the directory does not exist: create it";
    default:
        return "listen on another address";
    }
}

static enum rc fail(struct buf *problem, struct span address, int fd)
{
    int error = errno;
    if (fd >= 0)
        (void)close(fd);
    char text[128];
    (void)refuse(problem, address, strerror_r(error, text, sizeof text), remedy_for(error));
    return error == EADDRNOTAVAIL || error == EAFNOSUPPORT ? E_NOT_FOUND : E_IO;
}

static bool text_of(struct span part, char *text, size_t room)
{
    if (part.n == 0 || part.n >= room || memchr(part.p, '\0', part.n))
        return false;
    memcpy(text, part.p, part.n);
    text[part.n] = '\0';
    return true;
}

/* "host:port" or "[host]:port". */
static bool split(struct span address, char host[HOST_BYTES_MAX], char port[PORT_BYTES_MAX])
{
    size_t colon = address.n;
    while (colon > 0 && address.p[colon - 1] != ':')
        colon--;
    if (colon == 0)
        return false;
    struct span left = {address.p, colon - 1};
    struct span right = span_from(address, colon);
    bool bracketed = left.n > 2 && left.p[0] == '[' && left.p[left.n - 1] == ']';
    if (bracketed)
        left = (struct span){left.p + 1, left.n - 2};
    uint64_t number;
    return (bracketed || span_find(left, ':') == left.n) && span_to_u64(right, &number) &&
           number <= UINT16_MAX && text_of(left, host, HOST_BYTES_MAX) &&
           text_of(right, port, PORT_BYTES_MAX);
}

static enum rc open_tcp(struct span address, struct buf *problem, int *ret)
{
    char host[HOST_BYTES_MAX], port[PORT_BYTES_MAX];
    if (!split(address, host, port))
        return refuse(problem, address, "not an address",
                      "write host:port, [host]:port or unix:/path");
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int failure = getaddrinfo(host, port, &hints, &found);
    if (failure)
        return refuse(problem, address, gai_strerror(failure),
                      "name an address of this machine");
    int on = 1;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool bound = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
                 (found->ai_family != AF_INET6 ||
                  setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0) &&
                 bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0;
    int error = errno;
    freeaddrinfo(found);
    errno = error;
    if (!bound)
        return fail(problem, address, fd);
    *ret = fd;
    return OK;
}

/* Nobody accepts there any more: a file left over by a process that was killed. */
static bool is_stale(const struct sockaddr_un *name)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool refused =
        connect(fd, (const struct sockaddr *)name, sizeof *name) != 0 && errno == ECONNREFUSED;
    (void)close(fd);
    return refused;
}

static enum rc open_unix(struct span address, struct buf *problem, int *ret)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    if (!text_of(span_from(address, strlen("unix:")), name.sun_path, sizeof name.sun_path))
        return refuse(problem, address, "not a path of 1 to 107 bytes", "shorten it");
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail(problem, address, fd);
    int bound = bind(fd, (const struct sockaddr *)&name, sizeof name);
    if (bound != 0 && errno == EADDRINUSE) {
        if (is_stale(&name) && unlink(name.sun_path) == 0)
            bound = bind(fd, (const struct sockaddr *)&name, sizeof name);
        else
            errno = EADDRINUSE;
    }
    if (bound != 0 || listen(fd, BACKLOG) != 0)
        return fail(problem, address, fd);
    *ret = fd;
    return OK;
}

enum rc http_listen_open(struct span address, struct buf *problem, int *ret)
{
    return span_starts(address, "unix:") ? open_unix(address, problem, ret)
                                         : open_tcp(address, problem, ret);
}

/* The path is cut to what fits; always ended by a NUL. */
static bool unix_name_of(int fd, struct sockaddr_un *ret)
{
    socklen_t size = sizeof *ret;
    memset(ret, 0, sizeof *ret);
    bool is_unix =
        getsockname(fd, (struct sockaddr *)ret, &size) == 0 && ret->sun_family == AF_UNIX;
    ret->sun_path[sizeof ret->sun_path - 1] = '\0';
    return is_unix;
}

bool http_listen_is_unix(int fd)
{
    struct sockaddr_un name;
    return unix_name_of(fd, &name);
}

void http_listen_print(int fd, struct buf *out)
{
    struct sockaddr_un name;
    if (unix_name_of(fd, &name)) {
        bool abstract = !name.sun_path[0] && name.sun_path[1];
        buf_printf(out, "unix:%s%s", abstract ? "@" : "", name.sun_path + abstract);
        return;
    }
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    char host[HOST_BYTES_MAX], port[PORT_BYTES_MAX];
    if (getsockname(fd, (struct sockaddr *)&address, &size) != 0 ||
        getnameinfo((struct sockaddr *)&address, size, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return;
    buf_printf(out, address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

void http_listen_close(int fd)
{
    struct sockaddr_un name;
    if (unix_name_of(fd, &name) && name.sun_path[0])
        (void)unlink(name.sun_path);
    (void)close(fd);
}
