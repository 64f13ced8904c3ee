#include "io/http_inherited.h"

#include "io/http_listen.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static enum rc refuse(struct buf *problem, const char *format, ...) PRINTF_LIKE(2, 3);
static enum rc refuse(struct buf *problem, const char *format, ...)
{
    va_list arguments;
    buf_add_text(problem, "inherited sockets: ");
    va_start(arguments, format);
    buf_vprintf(problem, format, arguments);
    va_end(arguments);
    return E_INVALID;
}

static bool option_is(int fd, int option, int wanted)
{
    int value = -1;
    socklen_t bytes = sizeof value;
    return getsockopt(fd, SOL_SOCKET, option, &value, &bytes) == 0 && value == wanted;
}

static bool is_listener(int fd)
{
    bool family = option_is(fd, SO_DOMAIN, AF_INET) || option_is(fd, SO_DOMAIN, AF_INET6) ||
                  option_is(fd, SO_DOMAIN, AF_UNIX);
    return family && option_is(fd, SO_TYPE, SOCK_STREAM) && option_is(fd, SO_ACCEPTCONN, 1);
}

static bool prepare(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 &&
           fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

static enum rc take_one(struct http_inherited *inherited, int fd, struct span name,
                        struct buf *problem)
{
    BUF(address, HTTP_INHERITED_ADDRESS_MAX - 1);
    char *text = inherited->text[fd - HTTP_INHERITED_FIRST_FD];
    bool is_ops = span_is(name, "ops");
    if (!is_listener(fd) || !prepare(fd))
        return refuse(problem,
                      "descriptor %d is no listening stream socket; the socket unit needs "
                      "ListenStream= and Accept=no\n",
                      fd);
    if (is_ops && inherited->ops_socket >= 0)
        return refuse(problem, "two are called \"ops\"; give one another name\n");
    http_listen_print(fd, &address);
    if (buf_rc(&address) != OK)
        return refuse(problem, "the address of descriptor %d is too long\n", fd);
    memcpy(text, buf_text(&address), address.n + 1);
    if (is_ops) {
        inherited->ops_socket = fd;
        inherited->ops_address = span_of(text);
    } else {
        inherited->sockets[inherited->count] = fd;
        inherited->addresses[inherited->count++] = span_of(text);
    }
    return OK;
}

static enum rc take_all(struct http_inherited *inherited, struct buf *problem)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    struct span names = span_of(getenv("LISTEN_FDNAMES"));
    uint64_t number, count;
    if (!pid || !fds)
        return OK;
    if (!span_to_u64(span_of(pid), &number) || !span_to_u64(span_of(fds), &count))
        return refuse(problem, "LISTEN_PID and LISTEN_FDS must be numbers; unset them\n");
    if (number != (uint64_t)getpid())
        return OK;
    if (count > HTTP_INHERITED_MAX)
        return refuse(problem, "there are over %d\n", HTTP_INHERITED_MAX);
    enum rc rc = OK;
    for (int i = 0; i < (int)count && rc == OK; i++) {
        struct span name = names.p ? span_cut(&names, ':') : SPAN_ABSENT;
        rc = take_one(inherited, HTTP_INHERITED_FIRST_FD + i, name, problem);
    }
    return rc;
}

enum rc http_inherited_take(struct http_inherited *ret, struct buf *problem)
{
    *ret = (struct http_inherited){.ops_socket = -1};
    enum rc rc = take_all(ret, problem);
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_FDNAMES");
    return rc;
}
