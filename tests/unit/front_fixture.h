/* A front on a loop of its own, a handler that does what the path says and writes down what it
 * saw, and clients that are plain sockets in the same thread. */
#ifndef FRONT_FIXTURE_H
#define FRONT_FIXTURE_H

#include "io/http_front.h"
#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    WAITING_MAX = 1024,
    PATIENCE_MS = 10000, /* far above what any step takes; only a failing test waits so long */
    ROUND_MS = 5,
};

struct fixture {
    struct event_loop *loop;
    struct http_front *front;
    struct buf log; /* what the handler saw, a word or two each, separated by "; " */
    struct http_request *waiting[WAITING_MAX];
    size_t waiting_count;
    size_t ended, delivered;
    int64_t patience_end_ms;
    bool quiet;
    bool problems_wait; /* on_problem replies later, too */
    struct http_front_params params;
};

#define NOTE(f, ...)                                                                           \
    do {                                                                                       \
        if (!(f)->quiet)                                                                       \
            buf_printf(&(f)->log, __VA_ARGS__);                                                \
    } while (0)

static inline void reply_with(struct http_request *request, int status, struct span body)
{
    struct blob *blob = blob_new(body);
    assert_non_null(blob);
    struct http_reply reply = {.status = status, .body = blob};
    http_request_reply(request, &reply);
    blob_free(blob);
}

static inline void on_head(void *context, struct http_request *request)
{
    struct fixture *f = context;
    const struct http_head *head = http_request_head(request);
    NOTE(f, "head %.*s; ", SPAN_ARG(head->path));
    if (span_is(head->path, "/now"))
        reply_with(request, 200, SPAN("now"));
    else if (span_is(head->path, "/refuse"))
        reply_with(request, 401, SPAN("refused"));
    else if (span_is(head->path, "/empty"))
        http_request_reply(request, &(struct http_reply){.status = 204});
    else if (span_is(head->path, "/close"))
        http_request_reply(request, &(struct http_reply){.status = 200, .close = true});
}

static inline void on_request(void *context, struct http_request *request)
{
    struct fixture *f = context;
    const struct http_head *head = http_request_head(request);
    struct span body = http_request_body(request);
    uint64_t n = 0;
    NOTE(f, "request %zu; ", body.n);
    if (span_is(head->path, "/wait")) {
        assert_true(f->waiting_count < WAITING_MAX);
        http_request_set_tag(request, &f->waiting[f->waiting_count]);
        f->waiting[f->waiting_count++] = request;
    } else if (span_is(head->path, "/bytes") && span_to_u64(head->query, &n)) {
        BUF(many, 64 << 20);
        char *room = buf_reserve(&many, n);
        assert_non_null(room);
        memset(room, 'x', n);
        many.n = n;
        reply_with(request, 200, buf_span(&many));
    } else {
        reply_with(request, 200, body);
    }
}

static inline void on_problem(void *context, struct http_request *request,
                              enum front_problem problem)
{
    struct fixture *f = context;
    NOTE(f, "problem %d; ", front_problem_status(problem));
    if (f->problems_wait) {
        f->waiting[f->waiting_count++] = request;
        return;
    }
    reply_with(request, front_problem_status(problem), span_of(front_problem_text(problem)));
}

static inline void on_left(void *context, struct http_request *request, bool broken)
{
    struct fixture *f = context;
    (void)request;
    NOTE(f, broken ? "left broken; " : "left; ");
}

static inline void on_end(void *context, struct http_request *request, bool delivered)
{
    struct fixture *f = context;
    struct http_request **tag = http_request_tag(request);
    if (tag)
        *tag = NULL;
    f->ended++;
    f->delivered += delivered;
    NOTE(f, delivered ? "end delivered; " : "end; ");
}

static inline void fixture_new(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    buf_init(&f->log, 1 << 20);
    assert_int_equal(event_loop_new(&f->loop), OK);
    static const struct span any_port[] = {{"127.0.0.1:0", 11}};
    f->params = (struct http_front_params){
        .loop = f->loop,
        .listen = any_port,
        .listen_count = 1,
        .handler = {on_head, on_request, on_problem, on_left, on_end, f},
        .connections_max = 2000,
        .header_bytes_max = 16384,
        .body_bytes_max = 1000,
        .keepalive_ms = 60000,
        .request_timeout_ms = 60000,
        .request_bytes_per_s_min = 16384,
        .reply_bytes_per_s_min = 65536,
    };
}

static inline void fixture_start(struct fixture *f)
{
    BUF(problem, 4096);
    enum rc rc = http_front_new(&f->params, &problem, &f->front);
    if (rc != OK)
        print_error("%s", buf_text(&problem));
    assert_int_equal(rc, OK);
}

static inline void fixture_done(struct fixture *f)
{
    http_front_free(f->front);
    event_loop_free(f->loop);
    buf_done(&f->log);
}

/* A fixture with the usual limits, ended with its scope. */
#define FIXTURE(f)                                                                             \
    __attribute__((cleanup(fixture_done))) struct fixture f;                                   \
    fixture_new(&f);                                                                           \
    fixture_start(&f)

/* The same with one parameter set, the deadlines else out of reach. */
#define FIXTURE_WITH(f, limit, value)                                                          \
    __attribute__((cleanup(fixture_done))) struct fixture f;                                   \
    fixture_new(&f);                                                                           \
    f.params.limit = (value);                                                                  \
    fixture_start(&f)

static inline int64_t test_now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static inline void begin_waiting(struct fixture *f)
{
    f->patience_end_ms = test_now_ms() + PATIENCE_MS;
}

static inline void wait_a_round(struct fixture *f, const char *condition)
{
    if (test_now_ms() > f->patience_end_ms)
        fail_msg("never: %s (log: %s)", condition, buf_text(&f->log));
    event_loop_round(f->loop, ROUND_MS);
}

/* Rounds until the condition holds; fails the test when it never does. */
#define UNTIL(f, condition)                                                                    \
    for (begin_waiting(f); !(condition);)                                                      \
    wait_a_round(f, #condition)

static inline void rounds_for(struct fixture *f, int ms)
{
    for (int64_t end_ms = test_now_ms() + ms; test_now_ms() < end_ms;)
        event_loop_round(f->loop, ROUND_MS);
}

static inline uint16_t front_port(const struct fixture *f)
{
    BUF(addresses, 4096);
    http_front_addresses(f->front, &addresses);
    const char *colon = strrchr(buf_text(&addresses), ':');
    assert_non_null(colon);
    return (uint16_t)strtoul(colon + 1, NULL, 10);
}

static inline int client_new_at(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static inline int client_new(const struct fixture *f)
{
    return client_new_at(front_port(f));
}

/* Sends all, turning the loop when the socket is full; false: the front closed. */
static inline bool client_send(struct fixture *f, int fd, struct span bytes)
{
    while (bytes.n) {
        ssize_t n = send(fd, bytes.p, bytes.n, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            return false;
        if (n > 0)
            bytes = span_from(bytes, (size_t)n);
        else
            event_loop_round(f->loop, 0);
    }
    return true;
}

#define SEND(f, fd, text) assert_true(client_send(f, fd, SPAN(text)))

/* Appends what is there; true at the end of the stream. */
static inline bool client_receive(int fd, struct buf *in)
{
    for (;;) {
        char bytes[65536];
        ssize_t n = recv(fd, bytes, sizeof bytes, 0);
        if (n <= 0)
            return n == 0 || errno != EAGAIN;
        buf_add(in, (struct span){bytes, (size_t)n});
        assert_int_equal(buf_rc(in), OK);
    }
}

/* The end of the first reply in `in`, 0 when it is not whole.  A reply to HEAD has no body. */
static inline size_t reply_bytes(struct buf *in, bool is_head)
{
    const char *text = buf_text(in);
    const char *end = strstr(text, "\r\n\r\n");
    if (!end)
        return 0;
    const char *length = strcasestr(text, "\r\ncontent-length:");
    size_t n = (size_t)(end - text) + 4;
    if (length && length < end && !is_head)
        n += strtoul(length + strlen("\r\ncontent-length:"), NULL, 10);
    return n <= in->n ? n : 0;
}

/* Takes the first reply out of `in`, without its Date line (of which there must be one). */
static inline void take_reply(struct buf *in, size_t n, struct buf *out)
{
    const char *date = strcasestr(buf_text(in), "\r\nDate: ");
    assert_non_null(date);
    size_t before = (size_t)(date - in->p);
    size_t line = strlen("\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT");
    buf_clear(out);
    buf_add(out, (struct span){in->p, before});
    buf_add(out, (struct span){in->p + before + line, n - before - line});
    memmove(in->p, in->p + n, in->n - n);
    in->n -= n;
}

/* Waits for whole replies and compares them, Date aside. */
static inline void expect_replies(struct fixture *f, int fd, size_t count,
                                  const char *const *replies)
{
    BUF(in, 64 << 20);
    BUF(out, 64 << 20);
    for (size_t i = 0; i < count; i++) {
        size_t n = 0;
        UNTIL(f, (client_receive(fd, &in), n = reply_bytes(&in, false)));
        take_reply(&in, n, &out);
        assert_string_equal(buf_text(&out), replies[i]);
    }
    assert_int_equal(in.n, 0);
}

#define EXPECT(f, fd, ...)                                                                     \
    expect_replies(f, fd, sizeof((const char *[]){__VA_ARGS__}) / sizeof(const char *),        \
                   (const char *[]){__VA_ARGS__})

/* Waits for the end of the stream; what came before it (Date lines included) is in `in`. */
#define EXPECT_CLOSE(f, fd, in) UNTIL(f, client_receive(fd, in))

#define OK_REPLY(length, body) "HTTP/1.1 200 OK\r\nContent-Length: " length "\r\n\r\n" body
#define PROBLEM(status, length, body)                                                          \
    "HTTP/1.1 " status "\r\nConnection: close\r\nContent-Length: " length "\r\n\r\n" body
#define TOO_LARGE_REPLY PROBLEM("413 Content Too Large", "26", "the body is over the limit")

#endif
