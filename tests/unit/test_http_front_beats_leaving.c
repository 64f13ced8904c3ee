#include "front_beats.h"

#include <netinet/tcp.h>

static void reset(int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    close(fd);
}

TEST(http_front_beats_leaving, a_half_closed_client_gets_the_rest_which_is_not_delivered)
{
    FIXTURE(f);
    BUF(in, 4096);
    int fd = client_new(&f);
    struct http_request *request = waiting_request(&f, fd, SPAN(GET_WAIT));
    begin(request, 9);
    expect_body(&f, fd, &in, " ");
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    UNTIL(&f, strstr(buf_text(&f.log), "left; "));
    beat(request, 1);
    expect_body(&f, fd, &in, "  ");
    assert_int_equal(finish(request, SPAN("[]")), OK);
    EXPECT_CLOSE(&f, fd, &in);
    assert_span_equal(body_of(&in), "  []     ");
    UNTIL(&f, f.ended == 1);
    assert_string_equal(buf_text(&f.log), "head /wait; request 0; left; end; ");
    close(fd);
}

TEST(http_front_beats_leaving, a_client_that_half_closed_while_waiting_is_told_of_once)
{
    FIXTURE(f);
    int fd = client_new(&f);
    struct http_request *request = waiting_request(&f, fd, SPAN(GET_WAIT));
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    UNTIL(&f, strstr(buf_text(&f.log), "left; "));
    begin(request, 9);
    rounds_for(&f, 20);
    assert_int_equal(finish(request, SPAN("[]")), OK);
    EXPECT(&f, fd, PADDED("9", " []      "));
    UNTIL(&f, f.ended == 1);
    assert_string_equal(buf_text(&f.log), "head /wait; request 0; left; end; ");
    close(fd);
}

/* A FIN that comes with the beginning is told as well, not only taken note of. */
TEST(http_front_beats_leaving, a_client_that_leaves_as_the_reply_begins_is_told_of)
{
    FIXTURE(f);
    int fd = client_new(&f);
    struct http_request *request = waiting_request(&f, fd, SPAN(GET_WAIT));
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    begin(request, 9);
    UNTIL(&f, strstr(buf_text(&f.log), "left; "));
    /* One that comes with the end is only taken note of. */
    int late = client_new(&f);
    struct http_request *other = waiting_request(&f, late, SPAN(GET_WAIT));
    begin(other, 9);
    rounds_for(&f, 20);
    buf_clear(&f.log);
    assert_int_equal(shutdown(late, SHUT_WR), 0);
    assert_int_equal(finish(other, SPAN("[]")), OK);
    EXPECT(&f, late, PADDED("9", " []      "));
    UNTIL(&f, f.ended == 1);
    assert_string_equal(buf_text(&f.log), "end; ");
    close(fd);
    close(late);
}

TEST(http_front_beats_leaving, a_reset_between_beats_ends_the_request)
{
    FIXTURE(f);
    int fd = client_new(&f);
    struct http_request *request = waiting_request(&f, fd, SPAN(GET_WAIT));
    begin(request, 9);
    rounds_for(&f, 20);
    reset(fd);
    UNTIL(&f, f.ended == 1);
    assert_string_equal(buf_text(&f.log), "head /wait; request 0; left broken; end; ");
    UNTIL(&f, http_front_connections(f.front) == 0);
}

TEST(http_front_beats_leaving, a_client_that_closed_for_good_is_found_out_by_the_next_beat)
{
    FIXTURE(f);
    int fd = client_new(&f);
    struct http_request *request = waiting_request(&f, fd, SPAN(GET_WAIT));
    begin(request, 9);
    BUF(in, 4096);
    expect_body(&f, fd, &in, " ");
    close(fd);
    UNTIL(&f, strstr(buf_text(&f.log), "left; "));
    rounds_for(&f, 20);
    assert_int_equal(f.ended, 0);
    beat(request, 1);
    UNTIL(&f, f.ended == 1);
    assert_string_equal(buf_text(&f.log), "head /wait; request 0; left; left broken; end; ");
}

static void answer_the_broken(void *context, struct http_request *request, bool broken)
{
    on_left(context, request, broken);
    begin(request, 9);
    beat(request, 3);
    assert_int_equal(finish(request, SPAN("[1,2,3,4,5,6]")), OK);
}

static void finish_the_broken(void *context, struct http_request *request, bool broken)
{
    on_left(context, request, broken);
    beat(request, 1);
    assert_int_equal(http_request_finish_reply(request, NULL), OK);
}

TEST(http_front_beats_leaving, what_comes_after_the_break_is_dropped)
{
    for (int is_begun = 0; is_begun < 2; is_begun++) {
        __attribute__((cleanup(fixture_done))) struct fixture f;
        fixture_new(&f);
        f.params.handler.on_left = is_begun ? finish_the_broken : answer_the_broken;
        fixture_start(&f);
        int fd = client_new(&f);
        struct http_request *request = waiting_request(&f, fd, SPAN(GET_WAIT));
        if (is_begun)
            begin(request, 9);
        rounds_for(&f, 20);
        reset(fd);
        UNTIL(&f, f.ended == 1);
        assert_string_equal(buf_text(&f.log), "head /wait; request 0; left broken; end; ");
    }
}

TEST(http_front_beats_leaving, blanks_that_a_client_does_not_read_wait_and_its_leaving_is_seen)
{
    FIXTURE(f);
    int fd = client_new(&f);
    fill(&f, waiting_request(&f, fd, SPAN(GET_WAIT)), fd);
    EXPECT_REST(&f);
    beat(f.waiting[0], 10);
    EXPECT_REST(&f);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    UNTIL(&f, strstr(buf_text(&f.log), "left; "));
    reset(fd);
    UNTIL(&f, f.ended == 1);
    assert_string_equal(buf_text(&f.log), "head /wait; request 0; left; left broken; end; ");
    fd = client_new(&f);
    fill(&f, waiting_request(&f, fd, SPAN(GET_WAIT)), fd);
    assert_int_equal(http_request_finish_reply(f.waiting[1], NULL), OK);
    UNTIL(&f, f.ended == 2);
    close(fd);
}

TEST(http_front_beats_leaving, the_last_blank_counts_for_delivery)
{
    FIXTURE(f);
    BUF(in, 64 << 20);
    int fd = client_new(&f);
    struct http_request *request = waiting_request(&f, fd, SPAN(GET_WAIT));
    begin(request, 16 << 20);
    assert_int_equal(finish(request, SPAN("{}")), OK);
    UNTIL(&f, (client_receive(fd, &in), strchr(buf_text(&in), '}')));
    assert_int_equal(f.ended, 0);
    reset(fd);
    UNTIL(&f, f.ended == 1);
    assert_string_equal(buf_text(&f.log), "head /wait; request 0; end; ");
}

/* ---- deadlines */

TEST(http_front_beats_leaving, there_is_no_deadline_before_the_body_and_the_usual_one_after_it)
{
    __attribute__((cleanup(fixture_done))) struct fixture f;
    fixture_new(&f);
    f.params.request_timeout_ms = 100;
    f.params.keepalive_ms = 100;
    f.params.reply_bytes_per_s_min = 1 << 30;
    fixture_start(&f);
    int fd = client_new(&f);
    struct http_request *request = waiting_request(&f, fd, SPAN(GET_WAIT));
    begin(request, 9);
    rounds_for(&f, 300);
    beat(request, 1);
    rounds_for(&f, 300);
    assert_int_equal(finish(request, SPAN("[]")), OK);
    EXPECT(&f, fd, PADDED("9", "  []     "));
    UNTIL(&f, f.ended == 1);
    assert_int_equal(f.delivered, 1);
    int deaf = client_new(&f);
    fill(&f, waiting_request(&f, deaf, SPAN(GET_WAIT)), deaf);
    assert_int_equal(f.ended, 1);
    assert_int_equal(finish(f.waiting[1], SPAN("[]")), OK);
    UNTIL(&f, f.ended == 2);
    assert_int_equal(f.delivered, 1);
    UNTIL(&f, http_front_connections(f.front) == 0);
    close(fd);
    close(deaf);
}

/* At the minimum rate the declared length is worth a minute, the body's two bytes nothing. */
TEST(http_front_beats_leaving, the_deadline_after_the_body_is_worth_the_declared_length)
{
    enum { DECLARED = 16 << 20 };
    __attribute__((cleanup(fixture_done))) struct fixture f;
    fixture_new(&f);
    f.params.request_timeout_ms = 50;
    f.params.reply_bytes_per_s_min = DECLARED / 60;
    fixture_start(&f);
    BUF(in, 64 << 20);
    int fd = client_new(&f);
    begin(waiting_request(&f, fd, SPAN(GET_WAIT)), DECLARED);
    assert_int_equal(finish(f.waiting[0], SPAN("[]")), OK);
    rounds_for(&f, 300);
    UNTIL(&f, (client_receive(fd, &in), in.n > DECLARED));
    assert_int_equal(reply_bytes(&in, false), in.n);
    UNTIL(&f, f.ended == 1);
    assert_int_equal(f.delivered, 1);
    close(fd);
}

/* ---- the socket */

/* The front's end of a client's connection. */
static int other_end(int client)
{
    struct sockaddr_in own = {0}, peer = {0};
    socklen_t n = sizeof own;
    assert_int_equal(getsockname(client, (struct sockaddr *)&own, &n), 0);
    for (int fd = 3; fd < 1024; fd++) {
        n = sizeof peer;
        if (getpeername(fd, (struct sockaddr *)&peer, &n) == 0 && n == sizeof peer &&
            peer.sin_port == own.sin_port)
            return fd;
    }
    fail();
    return -1;
}

static int socket_option(int fd, int level, int name)
{
    int value = -1;
    socklen_t n = sizeof value;
    assert_int_equal(getsockopt(fd, level, name, &value, &n), 0);
    return value;
}

TEST(http_front_beats_leaving, accepted_sockets_are_probed_when_nothing_comes_for_a_minute)
{
    FIXTURE(f);
    int client = client_new(&f);
    UNTIL(&f, http_front_connections(f.front) == 1);
    int fd = other_end(client);
    assert_int_equal(socket_option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    assert_int_equal(socket_option(fd, IPPROTO_TCP, TCP_KEEPIDLE), 60);
    assert_int_equal(socket_option(fd, IPPROTO_TCP, TCP_KEEPINTVL), 15);
    close(client);
}
