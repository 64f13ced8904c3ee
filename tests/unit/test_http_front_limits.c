#include "front_fixture.h"

/* ---- the guard, on raw bytes */

static void expect_refused(struct span request, const char *status_line, bool by_us)
{
    FIXTURE(f);
    BUF(in, 1 << 20);
    int fd = client_new(&f);
    (void)client_send(&f, fd, request);
    EXPECT_CLOSE(&f, fd, &in);
    if (!span_starts(buf_span(&in), status_line))
        fail_msg("%.*s...: expected %s, got %s", 60, request.p, status_line, buf_text(&in));
    const char *body = strstr(buf_text(&in), "\r\n\r\n");
    assert_non_null(body);
    /* Nothing else was answered; libmicrohttpd 0.9.75 itself repeats its head in some. */
    if (by_us && strstr(body, "\r\nDate: "))
        fail_msg("%.*s...: got %s", 60, request.p, buf_text(&in));
    close(fd);
}

#define REFUSED(status, request) expect_refused(SPAN(request), "HTTP/1.1 " status, true)
/* With libmicrohttpd's own page, before we are asked. */
#define REFUSED_BELOW(status, request) expect_refused(SPAN(request), "HTTP/1.1 " status, false)

TEST(http_front_limits, a_request_that_two_servers_could_frame_differently_is_refused)
{
    REFUSED("400", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
                   "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    REFUSED("400", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
                   "Content-Length: 3\r\n\r\n0\r\n\r\n");
    REFUSED("400",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc");
    REFUSED("400",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc");
    REFUSED("400", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello");
    REFUSED_BELOW("400", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello");
    REFUSED_BELOW("400", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello");
    REFUSED("400", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
                   "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    REFUSED("400", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    REFUSED("501", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n");
    REFUSED("501",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n");
    REFUSED("501", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n");
    REFUSED("501", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n");
    REFUSED("501", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n");
    REFUSED("413",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\nx");
}

TEST(http_front_limits, what_the_parser_underneath_hides_is_seen_all_the_same)
{
    REFUSED("400", "GET / HTTP/1.1\r\nHost: a\r\nX-A: one\r\n two\r\n\r\n");
    REFUSED("400", "GET / HTTP/1.1\r\nHost: a\r\nX-A: one\r\n\ttwo\r\nX-B: b\r\n\r\n");
    REFUSED("400", "GET / HTTP/1.1\r\nHost: a\r\n: nameless\r\n\r\n");
    REFUSED("400", "GET / HTTP/1.1\r\nHost: a\r\nX-A: on\0e\r\n\r\n");
    REFUSED("400", "GET / HTTP/1.1\r\nHost: a\r\nX-A: on\0e\r\nX-B: b\r\n\r\n");
    REFUSED("400", "GET / HTTP/1.1\r\nHost: a\r\nX-A\0: one\r\n\r\n");
    REFUSED("400", "GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED("400", "GET / HTTP/1.1\nHost: a\n\n");
    REFUSED("400", "GET / HTTP/1.1\r\nHost: a\nX-A: one\r\n\r\n");
}

TEST(http_front_limits, malformed_lines_and_headers_that_stand_twice_are_refused)
{
    REFUSED("400", "GET / HTTP/1.1\r\nHost: a\r\nX-A: on\re\r\n\r\n");
    REFUSED("400", "GET / HTTP/1.1\r\nHost: a\r\nX-A: on\x01\r\n\r\n");
    REFUSED("400", "GET / HTTP/1.1\r\nHost: a\r\nX-A: on\x7f\r\n\r\n");
    REFUSED("400", "GET / HTTP/1.1\r\n Host: a\r\n\r\n");
    REFUSED("400", "GET / HTTP/1.1\r\nHost: a\r\nX A: one\r\n\r\n");
    REFUSED("400", "GET / HTTP/1.1\r\nHost: a\r\nX-\xc3\xa4: one\r\n\r\n");
    REFUSED("400", "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n");
    REFUSED("400", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n");
    REFUSED("400",
            "GET / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nidempotency-key: k\r\n\r\n");
    REFUSED("400", "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: k\r\nAuthorization: l\r\n\r\n");
    REFUSED("400", "GET / HTTP/1.1\r\n\r\n");
    REFUSED("400", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED("400", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED("400", "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED("400", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED("400", "GET nowhere HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED("400", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n");
    REFUSED("400", "GET /\r\n\r\n");
    REFUSED("505", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    REFUSED("417",
            "POST / HTTP/1.1\r\nHost: a\r\nExpect: a miracle\r\nContent-Length: 1\r\n\r\nx");
}

TEST(http_front_limits, a_refusal_is_told_once_and_needs_no_on_head)
{
    FIXTURE(f);
    BUF(in, 1 << 20);
    int fd = client_new(&f);
    SEND(&f, fd, "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc");
    EXPECT(&f, fd, PROBLEM("400 Bad Request", "31", "HTTP/1.1 requires a Host header"));
    EXPECT_CLOSE(&f, fd, &in);
    UNTIL(&f, f.ended == 1);
    assert_memory_equal(buf_text(&f.log), "problem 400; end", 16);
    close(fd);
}

TEST(http_front_limits, a_refusal_may_be_replied_to_later_and_nothing_is_read_until_then)
{
    FIXTURE(f);
    f.problems_wait = true;
    BUF(in, 1 << 20);
    int fd = client_new(&f);
    SEND(&f, fd,
         "POST /now HTTP/1.1\r\nContent-Length: 3\r\n\r\n"
         "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL(&f, f.waiting_count == 1);
    rounds_for(&f, 50);
    reply_with(f.waiting[0], 400, SPAN("no"));
    EXPECT(&f, fd, PROBLEM("400 Bad Request", "2", "no"));
    EXPECT_CLOSE(&f, fd, &in);
    UNTIL(&f, f.ended == 1);
    assert_string_equal(buf_text(&f.log), "problem 400; end delivered; ");
    close(fd);
    fd = client_new(&f);
    SEND(&f, fd, "POST /now HTTP/1.1\r\nContent-Length: 3\r\n\r\n");
    UNTIL(&f, f.waiting_count == 2);
    f.problems_wait = false; /* fixture_done answers it */
    close(fd);
}

static void send_head_of(struct fixture *f, int fd, size_t bytes)
{
    BUF(head, 1 << 20);
    buf_add_text(&head, "GET /now HTTP/1.1\r\nHost: a\r\nX-Filler: ");
    while (head.n < bytes - 4)
        buf_add_byte(&head, 'x');
    buf_add_text(&head, "\r\n\r\n");
    assert_int_equal(head.n, bytes);
    assert_true(client_send(f, fd, buf_span(&head)));
}

TEST(http_front_limits, a_head_may_have_header_bytes_max_and_not_one_more)
{
    FIXTURE(f);
    BUF(in, 1 << 20);
    int fd = client_new(&f);
    send_head_of(&f, fd, 16384);
    EXPECT(&f, fd, OK_REPLY("3", "now"));
    send_head_of(&f, fd, 16385);
    EXPECT(&f, fd,
           PROBLEM("431 Request Header Fields Too Large", "36",
                   "the request's head is over the limit"));
    EXPECT_CLOSE(&f, fd, &in);
    close(fd);
}

/* ---- body limits; body_bytes_max is 1000 */

static void send_counted(struct fixture *f, int fd, const char *more, size_t bytes)
{
    BUF(request, 64 << 20);
    buf_printf(&request, "POST %s\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", more, bytes);
    for (size_t i = 0; i < bytes; i++)
        buf_add_byte(&request, 'b');
    (void)client_send(f, fd, buf_span(&request));
}

static void send_chunked(struct fixture *f, int fd, const char *more, size_t bytes)
{
    BUF(request, 64 << 20);
    buf_printf(&request, "POST %s\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", more);
    for (size_t sent = 0; sent < bytes;) {
        size_t n = bytes - sent < 300 ? bytes - sent : 300;
        buf_printf(
            &request, "%zx\r\n%.*s\r\n", n, (int)n,
            "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
            "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
            "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
            "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb");
        sent += n;
    }
    buf_add_text(&request, "0\r\n\r\n");
    (void)client_send(f, fd, buf_span(&request));
}

TEST(http_front_limits, a_body_may_have_body_bytes_max_and_not_one_more)
{
    FIXTURE(f);
    int fd = client_new(&f);
    send_counted(&f, fd, "/close HTTP/1.1", 0);
    close(fd);
    fd = client_new(&f);
    send_counted(&f, fd, "/refuse HTTP/1.1", 10);
    EXPECT(&f, fd, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 7\r\n\r\nrefused");
    buf_clear(&f.log);
    send_counted(&f, fd, "/wait HTTP/1.1", 1000);
    UNTIL(&f, f.waiting_count == 1);
    assert_int_equal(http_request_body(f.waiting[0]).n, 1000);
    reply_with(f.waiting[0], 200, SPAN("1"));
    EXPECT(&f, fd, OK_REPLY("1", "1"));
    send_chunked(&f, fd, "/wait HTTP/1.1", 1000);
    UNTIL(&f, f.waiting_count == 2);
    reply_with(f.waiting[1], 200, SPAN("2"));
    EXPECT(&f, fd, OK_REPLY("1", "2"));
    /* Read away, so that its sender gets to read the answer; the connection stays. */
    static const char large[] = "HTTP/1.1 413 Content Too Large\r\nContent-Length: "
                                "26\r\n\r\nthe body is over the limit";
    send_counted(&f, fd, "/wait HTTP/1.1", 1001);
    EXPECT(&f, fd, large);
    send_chunked(&f, fd, "/wait HTTP/1.1", 1001);
    EXPECT(&f, fd, large);
    close(fd);
}

TEST(http_front_limits, a_large_body_is_read_away_to_a_mebibyte_and_not_a_byte_further)
{
    enum { FURTHEST = 1000 + (1 << 20) };
    FIXTURE(f);
    static const char large[] = "HTTP/1.1 413 Content Too Large\r\nContent-Length: "
                                "26\r\n\r\nthe body is over the limit";
    int fd = client_new(&f);
    send_counted(&f, fd, "/wait HTTP/1.1", FURTHEST);
    EXPECT(&f, fd, large);
    send_chunked(&f, fd, "/wait HTTP/1.1", FURTHEST);
    EXPECT(&f, fd, large);
    UNTIL(&f, f.ended == 2);
    buf_clear(&f.log);
    BUF(in, 1 << 20);
    send_counted(&f, fd, "/wait HTTP/1.1", FURTHEST + 1);
    EXPECT_CLOSE(&f, fd, &in);
    UNTIL(&f, f.ended == 3);
    assert_memory_equal(buf_text(&f.log), "head /wait; problem 413; end", 28);
    close(fd);
    buf_clear(&f.log);
    fd = client_new(&f);
    send_chunked(&f, fd, "/wait HTTP/1.1", FURTHEST + 1);
    EXPECT_CLOSE(&f, fd, &in);
    UNTIL(&f, f.ended == 4);
    assert_string_equal(buf_text(&f.log), "head /wait; problem 413; end; ");
    assert_int_equal(http_front_connections(f.front), 0);
    close(fd);
}

TEST(http_front_limits, an_early_refusal_lets_the_body_come_first)
{
    FIXTURE(f);
    static const char refused[] =
        "HTTP/1.1 401 Unauthorized\r\nContent-Length: 7\r\n\r\nrefused";
    int fd = client_new(&f);
    SEND(&f, fd, "POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345");
    rounds_for(&f, 50);
    BUF(in, 1 << 20);
    assert_false(client_receive(fd, &in));
    assert_int_equal(in.n, 0);
    SEND(&f, fd, "67890");
    EXPECT(&f, fd, refused);
    send_counted(&f, fd, "/refuse HTTP/1.1", 1 << 20);
    EXPECT(&f, fd, refused);
    send_chunked(&f, fd, "/refuse HTTP/1.1", 1 << 20);
    EXPECT(&f, fd, refused);
    UNTIL(&f, f.ended == 3);
    buf_clear(&f.log);
    send_chunked(&f, fd, "/refuse HTTP/1.1", (1 << 20) + 1);
    EXPECT_CLOSE(&f, fd, &in);
    UNTIL(&f, f.ended == 4);
    assert_string_equal(buf_text(&f.log), "head /refuse; end; ");
    close(fd);
}

TEST(http_front_limits, expect_100_continue_is_granted_or_answered_at_once)
{
    FIXTURE(f);
    BUF(in, 1 << 20);
    int fd = client_new(&f);
    SEND(&f, fd,
         "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
         "Expect: 100-continue\r\n\r\n");
    UNTIL(&f, (client_receive(fd, &in), in.n >= 25));
    assert_string_equal(buf_text(&in), "HTTP/1.1 100 Continue\r\n\r\n");
    SEND(&f, fd, "ok");
    EXPECT(&f, fd, OK_REPLY("2", "ok"));
    SEND(&f, fd,
         "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n"
         "Expect: 100-continue\r\n\r\n");
    EXPECT(&f, fd, TOO_LARGE_REPLY);
    EXPECT_CLOSE(&f, fd, &in);
    close(fd);
    fd = client_new(&f);
    SEND(&f, fd,
         "POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n"
         "Expect: 100-Continue\r\n\r\n");
    EXPECT(
        &f, fd,
        "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 7\r\n\r\nrefused");
    EXPECT_CLOSE(&f, fd, &in);
    close(fd);
}
