/* Steps of the tests of replies that begin before their body is known. */
#ifndef FRONT_BEATS_H
#define FRONT_BEATS_H

#include "front_fixture.h"

static const struct header json_type = {{"Content-Type", 12}, {"application/json", 16}};

static inline void begin(struct http_request *request, size_t bytes)
{
    const struct http_reply head = {.status = 200, .headers = {&json_type, 1}};
    http_request_begin_reply(request, &head, bytes);
}

static inline enum rc finish(struct http_request *request, struct span body)
{
    OWNED(blob) blob = blob_new(body);
    assert_non_null(blob);
    return http_request_finish_reply(request, blob);
}

static inline void beat(struct http_request *request, size_t times)
{
    while (times--)
        http_request_beat(request);
}

#define GET_WAIT "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n"
#define PADDED(length, body)                                                                   \
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " length             \
    "\r\n\r\n" body

static inline struct http_request *waiting_request(struct fixture *f, int fd, struct span head)
{
    size_t before = f->waiting_count;
    assert_true(client_send(f, fd, head));
    UNTIL(f, f->waiting_count == before + 1);
    return f->waiting[before];
}

static inline struct span body_of(struct buf *in)
{
    const char *end = strstr(buf_text(in), "\r\n\r\n");
    return end ? span_from(buf_span(in), (size_t)(end - in->p) + 4) : SPAN_ABSENT;
}

/* The body as far as it has come, and that no more comes by itself. */
static inline void expect_body(struct fixture *f, int fd, struct buf *in, const char *body)
{
    UNTIL(f, (client_receive(fd, in), body_of(in).n >= strlen(body)));
    rounds_for(f, 20);
    assert_false(client_receive(fd, in));
    assert_span_equal(body_of(in), body);
}

/* Rounds without anything to do last as long as they may: a loop that spins never rests. */
static inline bool is_at_rest(struct fixture *f)
{
    unsigned rounds = 0;
    for (int64_t end_ms = test_now_ms() + 200; test_now_ms() < end_ms; rounds++)
        event_loop_round(f->loop, 20);
    return rounds <= 15;
}

#define EXPECT_REST(f) UNTIL(f, is_at_rest(f))

/* Beats until the client's side takes no more. */
static inline void fill(struct fixture *f, struct http_request *request, int fd)
{
    const int small = 4096;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    begin(request, 32 << 20);
    beat(request, 16 << 20);
    EXPECT_REST(f);
}

#endif
