#include "front_fixture.h"

TEST(http_front_listen, a_unix_socket_serves_and_its_file_goes_with_the_front)
{
    char path[] = "/tmp/unstream-test-XXXXXX";
    assert_non_null(mkdtemp(path));
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    (void)snprintf(name.sun_path, sizeof name.sun_path, "%s/socket", path);
    char text[160];
    (void)snprintf(text, sizeof text, "unix:%s", name.sun_path);
    const struct span listen_on[] = {span_of(text)};
    for (int run = 0; run < 2; run++) { /* the second finds a stale file */
        __attribute__((cleanup(fixture_done))) struct fixture f;
        fixture_new(&f);
        f.params.listen = listen_on;
        fixture_start(&f);
        BUF(addresses, 4096);
        http_front_addresses(f.front, &addresses);
        assert_true(span_starts(buf_span(&addresses), text));
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&name, sizeof name), 0);
        assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
        SEND(&f, fd, "POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nz");
        UNTIL(&f, f.waiting_count == 1);
        reply_with(f.waiting[0], 200, SPAN("u"));
        EXPECT(&f, fd, OK_REPLY("1", "u"));
        UNTIL(&f, f.ended == 1);
        assert_int_equal(f.delivered, 1);
        close(fd);
        http_front_quiesce(f.front);
        assert_int_not_equal(access(name.sun_path, F_OK), 0);
        int stale = socket(AF_UNIX, SOCK_STREAM, 0);
        assert_int_equal(bind(stale, (struct sockaddr *)&name, sizeof name), 0);
        close(stale);
    }
    assert_int_equal(unlink(name.sun_path), 0);
    assert_int_equal(rmdir(path), 0);
}

TEST(http_front_listen, it_listens_on_all_addresses_or_on_none)
{
    FIXTURE(first);
    BUF(taken, 4096);
    http_front_addresses(first.front, &taken);
    assert_true(span_starts(buf_span(&taken), "127.0.0.1:"));
    __attribute__((cleanup(fixture_done))) struct fixture f;
    fixture_new(&f);
    BUF(problem, 4096);
    struct span listen_on[] = {SPAN("127.0.0.1:0"), {taken.p, taken.n - 1}};
    f.params.listen = listen_on;
    f.params.listen_count = 2;
    assert_int_equal(http_front_new(&f.params, &problem, &f.front), E_IO);
    assert_non_null(strstr(buf_text(&problem), "Address already in use; another process"));
    static const char *const unreadable[] = {
        "", "8080", "127.0.0.1", "127.0.0.1:x", "::1:80", "127.0.0.1:65536", "unix:", ":80"};
    for (size_t i = 0; i < COUNT_OF(unreadable); i++) {
        listen_on[1] = span_of(unreadable[i]);
        assert_int_equal(http_front_new(&f.params, &problem, &f.front), E_INVALID);
    }
}

/* 192.0.2.0/24 is for documentation (RFC 5737): no machine has such an address. */
#define NOT_OURS SPAN("192.0.2.1:0")

TEST(http_front_listen, an_address_that_the_machine_has_not_is_left_out_where_that_is_allowed)
{
    const struct span listen_on[] = {NOT_OURS, SPAN("127.0.0.1:0")};
    __attribute__((cleanup(fixture_done))) struct fixture f;
    fixture_new(&f);
    BUF(problem, 4096);
    BUF(addresses, 4096);
    f.params.listen = listen_on;
    f.params.listen_count = 2;
    assert_int_equal(http_front_new(&f.params, &problem, &f.front), E_NOT_FOUND);
    f.params.may_leave_out = true;
    buf_clear(&problem);
    assert_int_equal(http_front_new(&f.params, &problem, &f.front), OK);
    assert_string_equal(buf_text(&problem),
                        "cannot listen on 192.0.2.1:0: Cannot assign requested address; this "
                        "machine has no such address: listen on one it has\n");
    http_front_addresses(f.front, &addresses);
    assert_true(span_starts(buf_span(&addresses), "127.0.0.1:"));
    int client = client_new(&f);
    SEND(&f, client, "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT(&f, client, OK_REPLY("3", "now"));
    close(client);
}

TEST(http_front_listen, one_address_must_be_left_and_one_that_is_taken_is_never_left_out)
{
    FIXTURE(first);
    BUF(taken, 4096);
    http_front_addresses(first.front, &taken);
    const struct span missing[] = {NOT_OURS, NOT_OURS};
    const struct span used[] = {SPAN("127.0.0.1:0"), {taken.p, taken.n - 1}};
    __attribute__((cleanup(fixture_done))) struct fixture f;
    fixture_new(&f);
    BUF(problem, 4096);
    f.params.may_leave_out = true;
    f.params.listen_count = 2;
    f.params.listen = missing;
    assert_int_equal(http_front_new(&f.params, &problem, &f.front), E_NOT_FOUND);
    f.params.listen = used;
    assert_int_equal(http_front_new(&f.params, &problem, &f.front), E_IO);
}

TEST(http_front_listen, ipv4_and_ipv6_stand_side_by_side_on_one_port)
{
    FIXTURE(v4);
    __attribute__((cleanup(fixture_done))) struct fixture v6;
    fixture_new(&v6);
    char text[32];
    (void)snprintf(text, sizeof text, "[::]:%u", front_port(&v4));
    struct span any[] = {span_of(text)};
    v6.params.listen = any;
    BUF(problem, 4096);
    BUF(addresses, 4096);
    if (http_front_new(&v6.params, &problem, &v6.front) != OK)
        skip(); /* a machine without IPv6 */
    http_front_addresses(v6.front, &addresses);
    assert_true(span_starts(buf_span(&addresses), text));
}

TEST(http_front_listen, a_front_with_two_addresses_serves_both_and_counts_them_together)
{
    static const struct span two[] = {{"127.0.0.2:0", 11}, {"127.0.0.1:0", 11}};
    __attribute__((cleanup(fixture_done))) struct fixture f;
    fixture_new(&f);
    f.params.listen = two;
    f.params.listen_count = 2;
    f.params.connections_max = 2;
    fixture_start(&f);
    BUF(addresses, 4096);
    BUF(in, 4096);
    http_front_addresses(f.front, &addresses);
    struct span rest = buf_span(&addresses), first = span_cut(&rest, '\n');
    struct sockaddr_in address = {.sin_family = AF_INET};
    assert_int_equal(inet_pton(AF_INET, "127.0.0.2", &address.sin_addr), 1);
    address.sin_port = htons((uint16_t)strtoul(first.p + strlen("127.0.0.2:"), NULL, 10));
    int a = socket(AF_INET, SOCK_STREAM, 0), b = client_new(&f);
    assert_int_equal(connect(a, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(fcntl(a, F_SETFL, O_NONBLOCK), 0);
    SEND(&f, a, "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT(&f, a, OK_REPLY("3", "now"));
    SEND(&f, b, "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT(&f, b, OK_REPLY("3", "now"));
    assert_int_equal(http_front_connections(f.front), 2);
    int third = client_new(&f);
    EXPECT_CLOSE(&f, third, &in);
    close(third);
    close(a);
    close(b);
}

TEST(http_front_listen, two_fronts_share_a_loop)
{
    FIXTURE(f);
    __attribute__((cleanup(fixture_done))) struct fixture g;
    fixture_new(&g);
    g.params.loop = f.loop;
    fixture_start(&g);
    int a = client_new(&f), b = client_new(&g);
    SEND(&f, a, "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    SEND(&f, b, "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL(&f, f.waiting_count == 1 && g.waiting_count == 1);
    reply_with(g.waiting[0], 200, SPAN("b"));
    EXPECT(&f, b, OK_REPLY("1", "b"));
    reply_with(f.waiting[0], 200, SPAN("a"));
    EXPECT(&f, a, OK_REPLY("1", "a"));
    http_front_free(take(g.front));
    close(a);
    close(b);
}

TEST(http_front_listen, after_quiesce_what_is_connected_is_served_and_nobody_else)
{
    FIXTURE(f);
    int fd = client_new(&f);
    uint16_t port = front_port(&f);
    SEND(&f, fd, "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL(&f, f.waiting_count == 1);
    http_front_quiesce(f.front);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int late = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(late, (struct sockaddr *)&address, sizeof address), -1);
    close(late);
    reply_with(f.waiting[0], 200, SPAN("x"));
    EXPECT(&f, fd, OK_REPLY("1", "x"));
    close(fd);
}

TEST(http_front_listen, free_ends_every_request_and_answers_what_nobody_answered)
{
    FIXTURE(f);
    int waiting = client_new(&f), reading = client_new(&f), idle = client_new(&f);
    SEND(&f, waiting, "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    SEND(&f, reading, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf");
    UNTIL(&f, f.waiting_count == 1 && http_front_connections(f.front) == 3 && f.log.n > 30);
    http_front_free(take(f.front));
    assert_int_equal(f.ended, 2);
    EXPECT(
        &f, waiting,
        "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    close(waiting);
    close(reading);
    close(idle);
}

TEST(http_front_listen, over_connections_max_clients_wait_in_the_backlog)
{
    __attribute__((cleanup(fixture_done))) struct fixture f;
    fixture_new(&f);
    f.params.connections_max = 2;
    fixture_start(&f);
    int fds[3];
    for (size_t i = 0; i < 3; i++) {
        fds[i] = client_new(&f);
        SEND(&f, fds[i], "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    UNTIL(&f, f.waiting_count == 2);
    rounds_for(&f, 50);
    assert_int_equal(f.waiting_count, 2);
    assert_int_equal(http_front_connections(f.front), 2);
    struct http_reply last = {.status = 200, .close = true};
    http_request_reply(f.waiting[0], &last);
    UNTIL(&f, f.waiting_count == 3);
    http_request_reply(f.waiting[1], &last);
    http_request_reply(f.waiting[2], &last);
    UNTIL(&f, f.ended == 3);
    for (size_t i = 0; i < 3; i++)
        close(fds[i]);
}

/* ---- sockets that were handed over, limits that change, the end */

static int listening_at(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    (void)snprintf(name.sun_path, sizeof name.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof name), 0);
    assert_int_equal(listen(fd, 16), 0);
    return fd;
}

static int client_at(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    (void)snprintf(name.sun_path, sizeof name.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&name, sizeof name), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

#define GET_NOW "GET /now HTTP/1.1\r\nHost: a\r\n\r\n"

TEST(http_front_listen, at_a_socket_that_was_handed_over_clients_wait_for_the_next_front)
{
    char directory[] = "/tmp/unstream-test-XXXXXX", path[64];
    assert_non_null(mkdtemp(directory));
    (void)snprintf(path, sizeof path, "%s/socket", directory);
    int listener = listening_at(path), early = client_at(path), late = -1;
    {
        __attribute__((cleanup(fixture_done))) struct fixture f;
        fixture_new(&f);
        f.params.sockets = &listener;
        fixture_start(&f);
        SEND(&f, early, GET_NOW);
        EXPECT(&f, early, OK_REPLY("3", "now"));
        http_front_quiesce(f.front);
        late = client_at(path);
        SEND(&f, late, GET_NOW);
        rounds_for(&f, 30);
        assert_int_equal(http_front_connections(f.front), 1);
    }
    assert_int_equal(access(path, F_OK), 0);
    {
        __attribute__((cleanup(fixture_done))) struct fixture f;
        fixture_new(&f);
        f.params.sockets = &listener;
        fixture_start(&f);
        EXPECT(&f, late, OK_REPLY("3", "now"));
    }
    close(early);
    close(late);
    assert_int_equal(close(listener), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(directory), 0);
}

TEST(http_front_listen, a_front_is_quiet_when_all_that_got_in_have_their_replies)
{
    FIXTURE(f);
    int used = client_new(&f), fresh = client_new(&f);
    SEND(&f, used, GET_NOW);
    EXPECT(&f, used, OK_REPLY("3", "now"));
    UNTIL(&f, http_front_connections(f.front) == 2);
    int64_t accepted_ms = test_now_ms();
    http_front_quiesce(f.front);
    if (test_now_ms() - accepted_ms < HTTP_FRONT_FRESH_MS / 2)
        assert_false(http_front_is_quiet(f.front));
    SEND(&f, fresh, "POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r");
    rounds_for(&f, 20);
    assert_false(http_front_is_quiet(f.front));
    SEND(&f, fresh, "\nz");
    UNTIL(&f, f.waiting_count == 1);
    assert_false(http_front_is_quiet(f.front));
    reply_with(f.waiting[0], 200, SPAN("u"));
    assert_false(http_front_is_quiet(f.front));
    EXPECT(&f, fresh, OK_REPLY("1", "u"));
    UNTIL(&f, http_front_is_quiet(f.front));
    assert_int_equal(f.delivered, 2);
    assert_int_equal(http_front_connections(f.front), 2); /* idle ones hold nothing up */
    close(used);
    close(fresh);
}

TEST(http_front_listen, a_connection_that_says_nothing_is_fresh_for_a_second)
{
    FIXTURE(f);
    int silent = client_new(&f);
    UNTIL(&f, http_front_connections(f.front) == 1);
    http_front_quiesce(f.front);
    UNTIL(&f, http_front_is_quiet(f.front));
    assert_int_equal(http_front_connections(f.front), 1);
    close(silent);
}

TEST(http_front_listen, limits_change_for_what_comes)
{
    FIXTURE(f); /* bodies up to 1000 */
    int before = client_new(&f), after = client_new(&f);
    SEND(&f, before, "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n1");
    UNTIL(&f, strstr(buf_text(&f.log), "head /a"));
    f.params.body_bytes_max = 1;
    http_front_adjust(f.front, &f.params);
    SEND(&f, before, "2");
    EXPECT(&f, before, OK_REPLY("2", "12"));
    SEND(&f, after, "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n12");
    EXPECT(&f, after,
           "HTTP/1.1 413 Content Too Large\r\nContent-Length: 26\r\n\r\n"
           "the body is over the limit");
    int third = client_new(&f);
    SEND(&f, third, "POST /c HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1");
    EXPECT(&f, third, OK_REPLY("1", "1"));
    f.params.keepalive_ms = 50;
    http_front_adjust(f.front, &f.params);
    SEND(&f, third, GET_NOW);
    EXPECT(&f, third, OK_REPLY("3", "now"));
    BUF(in, 4096);
    EXPECT_CLOSE(&f, third, &in);
    close(before);
    close(after);
    close(third);
}
