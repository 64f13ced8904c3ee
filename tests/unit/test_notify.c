#include "test.h"

#include "io/notify.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char directory[] = "/tmp/unstream-notify-XXXXXX";

/* A socket of this name that gets datagrams. */
static int listener_at(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t n = strlen(name);
    memcpy(address.sun_path, name, n);
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)),
                     0);
    return fd;
}

static void expect(int fd, const char *wanted)
{
    char text[2048] = "";
    ssize_t n = recv(fd, text, sizeof text - 1, 0);
    assert_int_equal(n, (ssize_t)strlen(wanted));
    assert_string_equal(text, wanted);
}

static void send_to(const char *name)
{
    struct notify notify;
    int fd = listener_at(name);
    assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
    assert_int_equal(notify_open(&notify), OK);
    assert_null(getenv("NOTIFY_SOCKET"));
    assert_int_equal(notify_send(&notify, "READY=%d\nSTATUS=%s", 1, "fine"), OK);
    expect(fd, "READY=1\nSTATUS=fine");
    close(fd);
    assert_int_equal(notify_send(&notify, "READY=1"), E_IO);
    notify_done(&notify);
    assert_int_equal(notify_send(&notify, "READY=1"), OK);
}

TEST(notify, messages_go_to_a_path_or_to_an_abstract_name)
{
    char path[108], abstract[108];
    assert_non_null(mkdtemp(directory));
    (void)snprintf(path, sizeof path, "%s/socket", directory);
    send_to(path);
    assert_int_equal(unlink(path), 0);
    (void)snprintf(abstract, sizeof abstract, "@%s", directory);
    send_to(abstract);
    /* The longest: a path needs its NUL, an abstract name none. */
    char longest[109];
    memset(longest, 'x', sizeof longest);
    longest[108] = '\0';
    longest[0] = '@';
    send_to(longest);
    assert_int_equal(rmdir(directory), 0);
}

TEST(notify, without_a_socket_there_is_nothing_to_say)
{
    struct notify notify;
    assert_int_equal(setenv("WATCHDOG_USEC", "1000000", 1), 0);
    assert_int_equal(notify_open(&notify), OK);
    assert_int_equal(notify.watchdog_ms, 0);
    assert_int_equal(notify_send(&notify, "READY=1"), OK);
    assert_int_equal(notify_reloading(&notify), OK);
    assert_null(getenv("WATCHDOG_USEC"));
    notify_done(&notify);
}

TEST(notify, a_name_that_is_none_is_refused)
{
    static const char path_108[] = "/123456789/123456789/123456789/123456789/123456789/"
                                   "123456789/123456789/123456789/123456789/123456789/1234567";
    static const char *const names[] = {"relative", "vsock:2:1", "/", "@", path_108};
    struct notify notify;
    assert_int_equal(sizeof path_108 - 1, 108);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        assert_int_equal(setenv("NOTIFY_SOCKET", names[i], 1), 0);
        assert_int_equal(notify_open(&notify), E_INVALID);
        assert_int_equal(notify.fd, -1);
    }
}

static int64_t watchdog(const char *usec, const char *pid, enum rc wanted)
{
    struct notify notify;
    assert_int_equal(setenv("NOTIFY_SOCKET", "@nobody", 1), 0);
    assert_int_equal(setenv("WATCHDOG_USEC", usec, 1), 0);
    if (pid)
        assert_int_equal(setenv("WATCHDOG_PID", pid, 1), 0);
    assert_int_equal(notify_open(&notify), wanted);
    assert_null(getenv("WATCHDOG_PID"));
    int64_t watchdog_ms = notify.watchdog_ms;
    notify_done(&notify);
    return watchdog_ms;
}

TEST(notify, signs_of_life_are_due_at_half_of_the_watchdogs_time)
{
    char own[32];
    (void)snprintf(own, sizeof own, "%d", (int)getpid());
    assert_int_equal(watchdog("30000000", NULL, OK), 15000);
    assert_int_equal(watchdog("30000000", own, OK), 15000);
    assert_int_equal(watchdog("30000000", "1", OK), 0);
    assert_int_equal(watchdog("30000000", "none", OK), 0);
    assert_int_equal(watchdog("1", NULL, OK), 1);
    assert_int_equal(watchdog("", NULL, OK), 0);
    assert_int_equal(watchdog("0", NULL, E_INVALID), 0);
    assert_int_equal(watchdog("soon", NULL, E_INVALID), 0);
}

TEST(notify, a_message_over_its_limit_is_not_cut)
{
    char path[108], text[NOTIFY_BYTES_MAX + 2];
    struct notify notify;
    (void)snprintf(path, sizeof path, "@%s-limit", directory);
    int fd = listener_at(path);
    assert_int_equal(setenv("NOTIFY_SOCKET", path, 1), 0);
    assert_int_equal(notify_open(&notify), OK);
    memset(text, 'x', sizeof text);
    text[NOTIFY_BYTES_MAX] = '\0';
    assert_int_equal(notify_send(&notify, "%s", text), OK);
    expect(fd, text);
    text[NOTIFY_BYTES_MAX] = 'x';
    text[NOTIFY_BYTES_MAX + 1] = '\0';
    assert_int_equal(notify_send(&notify, "%s", text), E_IO);
    notify_done(&notify);
    close(fd);
}
