#include "front_fixture.h"

TEST(http_front_deadlines, a_head_that_comes_a_byte_at_a_time_is_cut_off)
{
    FIXTURE_WITH(f, request_timeout_ms, 200);
    BUF(in, 1 << 20);
    int fd = client_new(&f);
    int64_t start_ms = test_now_ms();
    while (!client_receive(fd, &in)) {
        assert_true(test_now_ms() - start_ms < PATIENCE_MS);
        (void)send(fd, "X", 1, MSG_NOSIGNAL);
        rounds_for(&f, 20);
    }
    assert_true(test_now_ms() - start_ms >= 200);
    assert_int_equal(in.n, 0);
    assert_int_equal(f.ended, 0);
    close(fd);
}

TEST(http_front_deadlines, a_second_slow_head_on_a_connection_is_cut_off_as_well)
{
    FIXTURE_WITH(f, request_timeout_ms, 200);
    BUF(in, 1 << 20);
    int fd = client_new(&f);
    SEND(&f, fd, "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT(&f, fd, OK_REPLY("3", "now"));
    SEND(&f, fd, "GET /now HTTP/1.1\r\n");
    EXPECT_CLOSE(&f, fd, &in);
    assert_int_equal(in.n, 0);
    close(fd);
}

TEST(http_front_deadlines, an_idle_connection_is_cut_off_by_keepalive_only)
{
    FIXTURE_WITH(f, request_timeout_ms, 50);
    int fresh = client_new(&f), used = client_new(&f);
    SEND(&f, used, "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT(&f, used, OK_REPLY("3", "now"));
    rounds_for(&f, 300);
    assert_int_equal(http_front_connections(f.front), 2);
    SEND(&f, fresh, "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT(&f, fresh, OK_REPLY("3", "now"));
    SEND(&f, used, "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT(&f, used, OK_REPLY("3", "now"));
    close(fresh);
    close(used);

    FIXTURE_WITH(g, keepalive_ms, 100);
    BUF(in, 1 << 20);
    int idle = client_new(&g);
    int waiting = client_new(&g);
    SEND(&g, waiting, "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_CLOSE(&g, idle, &in);
    rounds_for(&g, 300);
    assert_int_equal(http_front_connections(g.front), 1);
    reply_with(g.waiting[0], 200, SPAN("x"));
    EXPECT(&g, waiting, OK_REPLY("1", "x"));
    EXPECT_CLOSE(&g, waiting, &in);
    close(idle);
    close(waiting);
}

TEST(http_front_deadlines, a_slow_body_gets_a_408_and_is_cut_off)
{
    FIXTURE_WITH(f, request_timeout_ms, 200);
    static const char *const heads[] = {
        "POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 999\r\n\r\n",
        "POST /wait HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"};
    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        BUF(in, 1 << 20);
        BUF(out, 1 << 20);
        int fd = client_new(&f);
        assert_true(client_send(&f, fd, span_of(heads[i])));
        int64_t start_ms = test_now_ms();
        while (!client_receive(fd, &in)) {
            assert_true(test_now_ms() - start_ms < PATIENCE_MS);
            if (i == 0)
                (void)send(fd, "X", 1, MSG_NOSIGNAL);
            rounds_for(&f, 20);
        }
        assert_true(test_now_ms() - start_ms >= 200);
        take_reply(&in, reply_bytes(&in, false), &out);
        assert_string_equal(buf_text(&out), PROBLEM("408 Request Timeout", "34",
                                                    "the request did not arrive in time"));
        UNTIL(&f, f.ended == i + 1);
        close(fd);
    }
    assert_string_equal(buf_text(&f.log),
                        "head /wait; problem 408; end; head /wait; problem 408; end; ");
}

TEST(http_front_deadlines, a_refused_request_whose_body_comes_too_slowly_still_gets_its_refusal)
{
    FIXTURE_WITH(f, request_timeout_ms, 100);
    BUF(in, 1 << 20);
    BUF(out, 1 << 20);
    int fd = client_new(&f);
    SEND(&f, fd, "POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345");
    EXPECT_CLOSE(&f, fd, &in);
    take_reply(&in, reply_bytes(&in, false), &out);
    assert_string_equal(
        buf_text(&out),
        "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 7\r\n\r\nrefused");
    UNTIL(&f, f.ended == 1);
    assert_string_equal(buf_text(&f.log), "head /refuse; end; ");
    close(fd);
}

TEST(http_front_deadlines, a_body_at_the_minimum_rate_may_take_longer_than_the_timeout)
{
    __attribute__((cleanup(fixture_done))) struct fixture f;
    fixture_new(&f);
    f.params.request_timeout_ms = 300;
    f.params.request_bytes_per_s_min = 100; /* 60 bytes are worth 600 ms more */
    fixture_start(&f);
    int fd = client_new(&f);
    SEND(&f, fd, "POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 61\r\n\r\n");
    SEND(&f, fd, "123456789012345678901234567890123456789012345678901234567890");
    rounds_for(&f, 500);
    SEND(&f, fd, "!");
    UNTIL(&f, f.waiting_count == 1);
    assert_int_equal(http_request_body(f.waiting[0]).n, 61);
    close(fd);
    UNTIL(&f, strstr(buf_text(&f.log), "left"));
    reply_with(f.waiting[0], 200, SPAN("x"));
    UNTIL(&f, f.ended == 1);
}

TEST(http_front_deadlines, a_client_that_does_not_read_its_reply_is_cut_off)
{
    __attribute__((cleanup(fixture_done))) struct fixture f;
    fixture_new(&f);
    f.params.request_timeout_ms = 100;
    f.params.reply_bytes_per_s_min = 1 << 30;
    fixture_start(&f);
    int fd = client_new(&f);
    SEND(&f, fd, "GET /bytes?33554432 HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL(&f, f.ended == 1);
    assert_string_equal(buf_text(&f.log), "head /bytes; request 0; end; ");
    UNTIL(&f, http_front_connections(f.front) == 0);
    close(fd);
}
