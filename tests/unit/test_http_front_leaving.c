#include "front_fixture.h"

static void reset(int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    close(fd);
}

TEST(http_front_leaving, a_fin_while_waiting_is_told_and_its_answer_is_not_delivered)
{
    FIXTURE(f);
    int fd = client_new(&f);
    SEND(&f, fd, "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL(&f, f.waiting_count == 1);
    close(fd);
    UNTIL(&f, strstr(buf_text(&f.log), "left; "));
    rounds_for(&f, 50);
    assert_int_equal(f.ended, 0);
    reply_with(f.waiting[0], 200, SPAN("x"));
    UNTIL(&f, f.ended == 1);
    assert_string_equal(buf_text(&f.log), "head /wait; request 0; left; end; ");
    UNTIL(&f, http_front_connections(f.front) == 0);
}

TEST(http_front_leaving, a_half_closed_client_still_gets_its_answer)
{
    FIXTURE(f);
    BUF(in, 1 << 20);
    int fd = client_new(&f);
    SEND(&f, fd, "POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    UNTIL(&f, strstr(buf_text(&f.log), "left; "));
    reply_with(f.waiting[0], 200, SPAN("half"));
    EXPECT(&f, fd, OK_REPLY("4", "half"));
    EXPECT_CLOSE(&f, fd, &in);
    UNTIL(&f, f.ended == 1);
    assert_string_equal(buf_text(&f.log), "head /wait; request 1; left; end; ");
    close(fd);
    fd = client_new(&f);
    SEND(&f, fd, "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    EXPECT(&f, fd, OK_REPLY("3", "now"));
    EXPECT_CLOSE(&f, fd, &in);
    close(fd);
}

TEST(http_front_leaving, a_reset_while_waiting_ends_the_request_without_a_reply)
{
    FIXTURE(f);
    int fd = client_new(&f);
    SEND(&f, fd, "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL(&f, f.waiting_count == 1);
    reset(fd);
    UNTIL(&f, f.ended == 1);
    assert_string_equal(buf_text(&f.log), "head /wait; request 0; left broken; end; ");
    UNTIL(&f, http_front_connections(f.front) == 0);
}

TEST(http_front_leaving, a_reset_after_a_fin_is_told_as_well)
{
    FIXTURE(f);
    int fd = client_new(&f);
    SEND(&f, fd, "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL(&f, f.waiting_count == 1);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    UNTIL(&f, strstr(buf_text(&f.log), "left; "));
    reset(fd);
    UNTIL(&f, f.ended == 1);
    assert_string_equal(buf_text(&f.log), "head /wait; request 0; left; left broken; end; ");
}

TEST(http_front_leaving, a_client_that_leaves_in_the_middle_of_its_body_ends_the_request)
{
    FIXTURE(f);
    int fd = client_new(&f);
    SEND(&f, fd, "POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf");
    UNTIL(&f, f.log.n > 0);
    close(fd);
    UNTIL(&f, f.ended == 1);
    assert_string_equal(buf_text(&f.log), "head /wait; left broken; end; ");
    fd = client_new(&f);
    buf_clear(&f.log);
    SEND(&f, fd, "GET /wait HTTP/1.1\r\nHost:");
    rounds_for(&f, 30);
    close(fd);
    UNTIL(&f, http_front_connections(f.front) == 0);
    assert_string_equal(buf_text(&f.log), "");
}

TEST(http_front_leaving, a_reply_that_nobody_reads_is_not_delivered)
{
    FIXTURE(f);
    int fd = client_new(&f);
    SEND(&f, fd, "GET /bytes?100000 HTTP/1.1\r\nHost: a\r\n\r\n");
    while (f.log.n == 0 || !strstr(buf_text(&f.log), "request"))
        event_loop_round(f.loop, ROUND_MS);
    reset(fd);
    UNTIL(&f, f.ended == 1);
    assert_int_equal(f.delivered, 0);
}

TEST(http_front_leaving, a_client_that_closes_as_soon_as_it_has_its_reply_was_served)
{
    FIXTURE(f);
    static const struct span requests[] = {
        SPAN("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n"),
        SPAN("GET /now HTTP/1.1\r\nHost: a\r\n\r\n"),
        SPAN("GET /now HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
        SPAN("GET /now HTTP/1.0\r\n\r\n"),
        SPAN("GET /bytes?200000 HTTP/1.1\r\nHost: a\r\n\r\n")};
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        BUF(in, 1 << 20);
        int fd = client_new(&f);
        assert_true(client_send(&f, fd, requests[i]));
        if (i == 0) {
            UNTIL(&f, f.waiting_count == 1);
            reply_with(f.waiting[0], 200, SPAN("x"));
        }
        while (client_receive(fd, &in), !reply_bytes(&in, false))
            event_loop_round(f.loop, 0);
        close(fd);
        UNTIL(&f, f.ended == i + 1);
        assert_int_equal(f.delivered, i + 1);
    }
    UNTIL(&f, http_front_connections(f.front) == 0);
}
