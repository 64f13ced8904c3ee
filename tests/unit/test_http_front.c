#include "front_fixture.h"

#include <sys/resource.h>

/* ---- plain exchanges */

TEST(http_front, a_get_is_answered_from_on_head_and_the_connection_stays)
{
    FIXTURE(f);
    int fd = client_new(&f);
    SEND(&f, fd, "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT(&f, fd, OK_REPLY("3", "now"));
    SEND(&f, fd, "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT(&f, fd, OK_REPLY("3", "now"));
    UNTIL(&f, f.ended == 2);
    assert_string_equal(buf_text(&f.log),
                        "head /now; end delivered; head /now; end delivered; ");
    assert_int_equal(http_front_connections(f.front), 1);
    close(fd);
    UNTIL(&f, http_front_connections(f.front) == 0);
}

TEST(http_front, a_body_is_handed_over_whole_whether_counted_or_chunked)
{
    FIXTURE(f);
    int fd = client_new(&f);
    SEND(&f, fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    EXPECT(&f, fd, OK_REPLY("5", "hello"));
    SEND(&f, fd,
         "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
         "3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nTrailer: t\r\n\r\n");
    EXPECT(&f, fd, OK_REPLY("5", "hello"));
    SEND(&f, fd, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    EXPECT(&f, fd, OK_REPLY("0", ""));
    close(fd);
}

TEST(http_front, http_1_0_is_closed_unless_it_asks_to_be_kept)
{
    FIXTURE(f);
    int fd = client_new(&f);
    BUF(in, 65536);
    SEND(&f, fd, "GET /now HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    EXPECT(&f, fd, "HTTP/1.1 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 3\r\n\r\nnow");
    SEND(&f, fd, "GET /now HTTP/1.0\r\n\r\n");
    EXPECT(&f, fd, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nnow");
    EXPECT_CLOSE(&f, fd, &in);
    close(fd);
}

TEST(http_front, head_gets_the_length_without_the_body)
{
    FIXTURE(f);
    int fd = client_new(&f);
    BUF(in, 65536);
    BUF(out, 65536);
    size_t n = 0;
    SEND(&f, fd, "HEAD /now HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL(&f, (client_receive(fd, &in), n = reply_bytes(&in, true)));
    take_reply(&in, n, &out);
    assert_string_equal(buf_text(&out), OK_REPLY("3", ""));
    SEND(&f, fd, "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT(&f, fd, OK_REPLY("3", "now"));
    close(fd);
}

TEST(http_front, a_204_has_no_length_and_keeps_the_connection)
{
    FIXTURE(f);
    int fd = client_new(&f);
    SEND(&f, fd, "DELETE /empty HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT(&f, fd, "HTTP/1.1 204 No Content\r\n\r\n");
    SEND(&f, fd, "DELETE /empty HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT(&f, fd, "HTTP/1.1 204 No Content\r\n\r\n");
    close(fd);
}

TEST(http_front, close_is_said_and_done_when_asked_for_by_either_side_or_a_drain)
{
    FIXTURE(f);
    const struct span requests[] = {SPAN("GET /close HTTP/1.1\r\nHost: a\r\n\r\n"),
                                    SPAN("GET /echo HTTP/1.1\r\nHost: a\r\n"
                                         "Connection: close\r\n\r\n"),
                                    SPAN("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n")};
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        BUF(in, 65536);
        if (i == 2)
            http_front_close_after_reply(f.front);
        int fd = client_new(&f);
        assert_true(client_send(&f, fd, requests[i]));
        EXPECT(&f, fd, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        EXPECT_CLOSE(&f, fd, &in);
        close(fd);
    }
    UNTIL(&f, f.ended == 3);
    assert_int_equal(f.delivered, 3);
}

static void write_down_head(void *context, struct http_request *request)
{
    struct buf *text = context;
    const struct http_head *head = http_request_head(request);
    buf_printf(text, "%.*s|%.*s|%.*s|1.%d|", SPAN_ARG(head->method), SPAN_ARG(head->path),
               SPAN_ARG(head->query), head->version_minor);
    for (size_t i = 0; i < head->headers.count; i++)
        buf_printf(text, "%.*s=%.*s|", SPAN_ARG(head->headers.items[i].name),
                   SPAN_ARG(head->headers.items[i].value));
    reply_with(request, 200, SPAN("x"));
}

static void ignore_end(void *context, struct http_request *request, bool delivered)
{
    (void)context;
    (void)request;
    (void)delivered;
}

TEST(http_front, the_head_arrives_as_sent_with_values_trimmed)
{
    BUF(text, 65536);
    __attribute__((cleanup(fixture_done))) struct fixture f;
    fixture_new(&f);
    f.params.handler = (struct http_handler){
        .on_head = write_down_head, .on_end = ignore_end, .context = &text};
    fixture_start(&f);
    int fd = client_new(&f);
    SEND(&f, fd,
         "PATCH /a%20b/%2e?x=%41&y&z=+&&=1 HTTP/1.1\r\nHost: h\r\nX-A:  one \ttwo\t \r\n"
         "x-a:three\r\nX-Empty:\r\n\r\n");
    EXPECT(&f, fd, OK_REPLY("1", "x"));
    assert_string_equal(buf_text(&text), "PATCH|/a%20b/%2e|x=%41&y&z=+&&=1|1.1|Host=h|"
                                         "X-A=one \ttwo|x-a=three|X-Empty=|");
    buf_clear(&text);
    SEND(&f, fd, "GET http://H/p? HTTP/1.1\r\nHost: h\r\n\r\n");
    EXPECT(&f, fd, OK_REPLY("1", "x"));
    assert_string_equal(buf_text(&text), "GET|/p||1.1|Host=h|");
    close(fd);
}

TEST(http_front, a_head_may_come_a_byte_at_a_time)
{
    FIXTURE(f);
    int fd = client_new(&f);
    struct span request =
        SPAN("POST /echo?q=1&r=2 HTTP/1.1\r\nHost: a\r\nCookie: a=b; c=\"d\"\r\n"
             "X-Empty: \r\nContent-Length: 3\r\n\r\nabc");
    for (size_t i = 0; i < request.n; i++) {
        assert_true(client_send(&f, fd, (struct span){request.p + i, 1}));
        event_loop_round(f.loop, 0);
        event_loop_round(f.loop, 0);
    }
    EXPECT(&f, fd, OK_REPLY("3", "abc"));
    close(fd);
}

/* ---- replies */

TEST(http_front, replies_of_no_bytes_and_of_eight_mebibytes_arrive_whole)
{
    FIXTURE(f);
    int fd = client_new(&f);
    SEND(&f, fd, "GET /bytes?0 HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT(&f, fd, OK_REPLY("0", ""));
    SEND(&f, fd, "GET /bytes?8388608 HTTP/1.1\r\nHost: a\r\n\r\n");
    BUF(in, 64 << 20);
    size_t n = 0;
    UNTIL(&f, (client_receive(fd, &in), n = reply_bytes(&in, false)));
    assert_int_equal(n, in.n);
    size_t body = (size_t)(strstr(buf_text(&in), "\r\n\r\n") + 4 - in.p);
    assert_int_equal(in.n - body, 8388608);
    for (size_t i = body; i < in.n; i++)
        assert_int_equal(in.p[i], 'x');
    UNTIL(&f, f.ended == 2);
    assert_int_equal(f.delivered, 2);
    close(fd);
}

static void reply_with_headers(void *context, struct http_request *request)
{
    (void)context;
    static const struct header headers[] = {{{"Content-Type", 12}, {"application/json", 16}},
                                            {{"X-Tab", 5}, {"a\tb", 3}},
                                            {{"X-Empty", 7}, {"", 0}}};
    struct http_reply reply = {.status = 429, .headers = {headers, COUNT_OF(headers)}};
    http_request_reply(request, &reply);
}

TEST(http_front, reply_headers_are_copied_a_tab_becomes_a_blank_and_an_empty_one_is_left_out)
{
    __attribute__((cleanup(fixture_done))) struct fixture f;
    fixture_new(&f);
    f.params.handler =
        (struct http_handler){.on_head = reply_with_headers, .on_end = ignore_end};
    fixture_start(&f);
    int fd = client_new(&f);
    SEND(&f, fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT(&f, fd,
           "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\n"
           "X-Tab: a b\r\nContent-Length: 0\r\n\r\n");
    close(fd);
}

/* ---- waiting */

TEST(http_front, a_reply_may_come_any_time_later)
{
    FIXTURE(f);
    int fd = client_new(&f);
    SEND(&f, fd, "POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    UNTIL(&f, f.waiting_count == 1);
    rounds_for(&f, 50);
    assert_span_equal(http_request_body(f.waiting[0]), "hi");
    http_request_drop_body(f.waiting[0]);
    assert_int_equal(http_request_body(f.waiting[0]).n, 0);
    reply_with(f.waiting[0], 200, SPAN("later"));
    EXPECT(&f, fd, OK_REPLY("5", "later"));
    UNTIL(&f, f.ended == 1);
    assert_string_equal(buf_text(&f.log), "head /wait; request 2; end delivered; ");
    close(fd);
}

TEST(http_front, a_reply_between_two_rounds_needs_no_other_event_to_go_out)
{
    FIXTURE(f);
    int fd = client_new(&f);
    SEND(&f, fd, "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL(&f, f.waiting_count == 1);
    rounds_for(&f, 50);
    reply_with(f.waiting[0], 200, SPAN("x"));
    event_loop_round(f.loop, -1); /* would hang */
    EXPECT(&f, fd, OK_REPLY("1", "x"));
    close(fd);
}

TEST(http_front, pipelined_requests_are_answered_in_order)
{
    FIXTURE(f);
    int fd = client_new(&f);
    SEND(&f, fd,
         "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n1"
         "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n2"
         "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
         "1\r\n3\r\n0\r\n\r\n");
    EXPECT(&f, fd, OK_REPLY("1", "1"), OK_REPLY("1", "2"), OK_REPLY("1", "3"));
    close(fd);
}

TEST(http_front, what_is_pipelined_behind_a_waiting_request_waits_its_turn)
{
    FIXTURE(f);
    int fd = client_new(&f);
    SEND(&f, fd, "GET /wait HTTP/1.1\r\nHost: a\r\n\r\nGET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL(&f, f.waiting_count == 1);
    SEND(&f, fd, "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
    rounds_for(&f, 50);
    assert_string_equal(buf_text(&f.log), "head /wait; request 0; ");
    reply_with(f.waiting[0], 200, SPAN("first"));
    EXPECT(&f, fd, OK_REPLY("5", "first"), OK_REPLY("3", "now"));
    UNTIL(&f, f.waiting_count == 2);
    reply_with(f.waiting[1], 200, SPAN("third"));
    EXPECT(&f, fd, OK_REPLY("5", "third"));
    UNTIL(&f, f.ended == 3);
    assert_int_equal(f.delivered, 3);
    close(fd);
}

TEST(http_front, a_thousand_waiting_requests_are_answered_in_one_round)
{
    enum { MANY = 1000 };
    struct rlimit files = {0};
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    if (files.rlim_cur < 2 * MANY + 64)
        skip();
    FIXTURE(f);
    f.quiet = true;
    int fds[MANY];
    for (size_t i = 0; i < MANY; i++) {
        fds[i] = client_new(&f);
        SEND(&f, fds[i], "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n");
        event_loop_round(f.loop, 0);
    }
    UNTIL(&f, f.waiting_count == MANY);
    for (size_t i = 0; i < MANY; i++)
        reply_with(f.waiting[i], 200, SPAN("all"));
    event_loop_round(f.loop, 0);
    BUF(in, 1 << 20);
    for (size_t i = 0; i < MANY; i++) {
        buf_clear(&in);
        assert_false(client_receive(fds[i], &in));
        assert_true(span_ends(buf_span(&in), "\r\n\r\nall"));
    }
    UNTIL(&f, f.ended == MANY);
    assert_int_equal(f.delivered, MANY);
    for (size_t i = 0; i < MANY; i++)
        close(fds[i]);
}

/* Rounds without anything to do last as long as they may: a loop that spins makes thousands. */
static void expect_rest(struct fixture *f)
{
    rounds_for(f, 30); /* what has begun settles */
    unsigned rounds = 0;
    for (int64_t end_ms = test_now_ms() + 300; test_now_ms() < end_ms; rounds++)
        event_loop_round(f->loop, 20);
    assert_in_range(rounds, 1, 60);
}

TEST(http_front, a_front_whose_clients_do_nothing_does_nothing)
{
    FIXTURE_WITH(f, connections_max, 6);
    expect_rest(&f);
    static const struct span all[] = {
        SPAN("GET /wait HTTP/1.1\r\nHost: a\r\n\r\nGET /wait HTTP/1.1\r\nHost: a\r\n\r\n"),
        SPAN("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n"),
        SPAN("POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhal"),
        SPAN("GET /now HTTP/1.1\r\nHo"),
        SPAN("GET /now HTTP/1.1\r\nHost: a\r\n\r\n"),
        SPAN("GET /bytes?33554432 HTTP/1.1\r\nHost: a\r\n\r\n"),
        SPAN("GET /now HTTP/1.1\r\nHost: a\r\n\r\n")}; /* one too many: waits in the backlog */
    int fds[COUNT_OF(all)];
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        fds[i] = client_new(&f);
        assert_true(client_send(&f, fds[i], all[i]));
        expect_rest(&f);
    }
    assert_int_equal(shutdown(fds[1], SHUT_WR), 0);
    expect_rest(&f);
    for (size_t i = 0; i < COUNT_OF(all); i++)
        close(fds[i]);
}
