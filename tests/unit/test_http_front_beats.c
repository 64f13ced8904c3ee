#include "front_fixture.h"

#include <dlfcn.h>
#include <microhttpd.h>
#include <netinet/tcp.h>

/* ---- libmicrohttpd without memory: these stand before its own */

static bool no_response, no_header, no_queue;

struct MHD_Response *MHD_create_response_from_callback(uint64_t size, size_t block_size,
                                                       MHD_ContentReaderCallback crc,
                                                       void *crc_cls,
                                                       MHD_ContentReaderFreeCallback crfc)
{
    __typeof__(&MHD_create_response_from_callback) real;
    *(void **)&real = dlsym(RTLD_NEXT, "MHD_create_response_from_callback");
    return no_response ? NULL : real(size, block_size, crc, crc_cls, crfc);
}

enum MHD_Result MHD_add_response_header(struct MHD_Response *response, const char *header,
                                        const char *content)
{
    __typeof__(&MHD_add_response_header) real;
    *(void **)&real = dlsym(RTLD_NEXT, "MHD_add_response_header");
    return no_header ? MHD_NO : real(response, header, content);
}

enum MHD_Result MHD_queue_response(struct MHD_Connection *connection, unsigned int status_code,
                                   struct MHD_Response *response)
{
    __typeof__(&MHD_queue_response) real;
    *(void **)&real = dlsym(RTLD_NEXT, "MHD_queue_response");
    return no_queue ? MHD_NO : real(connection, status_code, response);
}

static unsigned runs;

enum MHD_Result MHD_run(struct MHD_Daemon *daemon)
{
    __typeof__(&MHD_run) real;
    *(void **)&real = dlsym(RTLD_NEXT, "MHD_run");
    runs++;
    return real(daemon);
}

/* ---- steps */

static const struct header json_type = {{"Content-Type", 12}, {"application/json", 16}};

static void begin(struct http_request *request, size_t bytes)
{
    const struct http_reply head = {.status = 200, .headers = {&json_type, 1}};
    http_request_begin_reply(request, &head, bytes);
}

static enum rc finish(struct http_request *request, struct span body)
{
    OWNED(blob) blob = blob_new(body);
    assert_non_null(blob);
    return http_request_finish_reply(request, blob);
}

static void beat(struct http_request *request, size_t times)
{
    while (times--)
        http_request_beat(request);
}

#define GET_WAIT "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n"
#define PADDED(length, body)                                                                   \
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " length             \
    "\r\n\r\n" body

static struct http_request *waiting_request(struct fixture *f, int fd, struct span head)
{
    size_t before = f->waiting_count;
    assert_true(client_send(f, fd, head));
    UNTIL(f, f->waiting_count == before + 1);
    return f->waiting[before];
}

static struct span body_of(struct buf *in)
{
    const char *end = strstr(buf_text(in), "\r\n\r\n");
    return end ? span_from(buf_span(in), (size_t)(end - in->p) + 4) : SPAN("no head");
}

/* The body as far as it has come, and that no more comes by itself. */
static void expect_body(struct fixture *f, int fd, struct buf *in, const char *body)
{
    UNTIL(f, (client_receive(fd, in), body_of(in).n >= strlen(body)));
    rounds_for(f, 20);
    assert_false(client_receive(fd, in));
    assert_span_equal(body_of(in), body);
}

static void reset(int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    close(fd);
}

/* ---- the bytes */

TEST(http_front_beats, head_and_first_blank_come_at_once_then_one_per_beat_then_the_body)
{
    FIXTURE(f);
    int fd = client_new(&f);
    BUF(in, 4096);
    BUF(out, 4096);
    struct http_request *request = waiting_request(&f, fd, SPAN(GET_WAIT));
    begin(request, 20);
    expect_body(&f, fd, &in, " ");
    beat(request, 1);
    expect_body(&f, fd, &in, "  ");
    beat(request, 2);
    expect_body(&f, fd, &in, "    ");
    assert_int_equal(f.ended, 0);
    assert_int_equal(finish(request, SPAN("{\"a\":1}")), OK);
    UNTIL(&f, f.ended == 1);
    assert_false(client_receive(fd, &in));
    assert_int_equal(reply_bytes(&in, false), in.n);
    take_reply(&in, in.n, &out);
    assert_string_equal(buf_text(&out), PADDED("20", "    {\"a\":1}         "));
    assert_string_equal(buf_text(&f.log), "head /wait; request 0; end delivered; ");
    SEND(&f, fd, "GET /now HTTP/1.1\r\nHost: a\r\n\r\n"); /* the connection stays */
    EXPECT(&f, fd, OK_REPLY("3", "now"));
    close(fd);
}

TEST(http_front_beats, http_1_0_gets_a_length_and_is_kept_only_when_it_asks)
{
    FIXTURE(f);
    int fd = client_new(&f);
    BUF(in, 4096);
    struct http_request *request =
        waiting_request(&f, fd, SPAN("GET /wait HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    begin(request, 9);
    assert_int_equal(finish(request, SPAN("[]")), OK);
    EXPECT(&f, fd,
           "HTTP/1.1 200 OK\r\nConnection: Keep-Alive\r\nContent-Type: application/json\r\n"
           "Content-Length: 9\r\n\r\n []      ");
    request = waiting_request(&f, fd, SPAN("GET /wait HTTP/1.0\r\n\r\n"));
    begin(request, 9);
    assert_int_equal(finish(request, SPAN("[]")), OK);
    EXPECT(&f, fd,
           "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n"
           "Content-Length: 9\r\n\r\n []      ");
    EXPECT_CLOSE(&f, fd, &in);
    UNTIL(&f, f.ended == 2);
    assert_int_equal(f.delivered, 2);
    close(fd);
}

TEST(http_front_beats, a_body_of_many_blocks_arrives_whole_behind_any_number_of_blanks)
{
    enum { BODY = 5000, DECLARED = 9000 };
    static const size_t beats[] = {0, 1, 1000, 2046, 2047, 2048, 3999};
    FIXTURE(f);
    BUF(body, BODY);
    BUF(in, 1 << 20);
    for (size_t i = 0; i < BODY; i++)
        buf_add_byte(&body, (char)('a' + i % 23));
    int fd = client_new(&f);
    for (size_t i = 0; i < COUNT_OF(beats); i++) {
        struct http_request *request = waiting_request(&f, fd, SPAN(GET_WAIT));
        begin(request, DECLARED);
        beat(request, beats[i]);
        rounds_for(&f, 10);
        assert_int_equal(finish(request, buf_span(&body)), OK);
        UNTIL(&f, (client_receive(fd, &in), reply_bytes(&in, false)));
        struct span all = body_of(&in), blanks = SPAN_ABSENT;
        assert_int_equal(all.n, DECLARED);
        blanks = (struct span){all.p, 1 + beats[i]};
        assert_int_equal(strspn(blanks.p, " "), blanks.n);
        assert_memory_equal(all.p + blanks.n, body.p, BODY);
        assert_int_equal(strspn(all.p + blanks.n + BODY, " "), DECLARED - BODY - blanks.n);
        buf_clear(&in);
    }
    UNTIL(&f, f.ended == COUNT_OF(beats));
    assert_int_equal(f.delivered, COUNT_OF(beats));
    close(fd);
}

TEST(http_front_beats, head_gets_the_head_only_and_its_beats_and_body_go_nowhere)
{
    FIXTURE(f);
    int fd = client_new(&f);
    static const enum {
        BODY,
        NO_BODY,
        LONG_BODY,
        NOTHING
    } ways[] = {BODY, NO_BODY, LONG_BODY, NOTHING};
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        BUF(in, 4096);
        BUF(out, 4096);
        size_t n = 0;
        struct http_request *request =
            waiting_request(&f, fd, SPAN("HEAD /wait HTTP/1.1\r\nHost: a\r\n\r\n"));
        begin(request, 9);
        beat(request, 2);
        if (ways[i] == BODY)
            assert_int_equal(finish(request, SPAN("[]")), OK);
        else if (ways[i] == NO_BODY)
            assert_int_equal(http_request_finish_reply(request, NULL), OK);
        else if (ways[i] == LONG_BODY)
            assert_int_equal(finish(request, SPAN("[1,2,3,4,5]")), OK);
        UNTIL(&f, (client_receive(fd, &in), n = reply_bytes(&in, true)));
        take_reply(&in, n, &out);
        assert_string_equal(buf_text(&out), PADDED("9", ""));
        UNTIL(&f, f.ended == i + 1);
        assert_int_equal(f.delivered, i + 1);
    }
    SEND(&f, fd, "GET /now HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT(&f, fd, OK_REPLY("3", "now"));
    assert_null(strstr(buf_text(&f.log), "left"));
    close(fd);
}

TEST(http_front_beats, what_is_pipelined_behind_waits_its_turn)
{
    FIXTURE(f);
    int fd = client_new(&f);
    struct http_request *request =
        waiting_request(&f, fd, SPAN(GET_WAIT "GET /now HTTP/1.1\r\nHost: a\r\n\r\n"));
    begin(request, 5);
    rounds_for(&f, 20);
    SEND(&f, fd, GET_WAIT);
    beat(request, 1);
    rounds_for(&f, 20);
    assert_string_equal(buf_text(&f.log), "head /wait; request 0; ");
    assert_int_equal(finish(request, SPAN("[]")), OK);
    EXPECT(&f, fd, PADDED("5", "  [] "), OK_REPLY("3", "now"));
    UNTIL(&f, f.waiting_count == 2);
    begin(f.waiting[1], 3);
    assert_int_equal(finish(f.waiting[1], SPAN("{}")), OK);
    EXPECT(&f, fd, PADDED("3", " {}"));
    UNTIL(&f, f.ended == 3);
    assert_int_equal(f.delivered, 3);
    close(fd);
}

/* ---- the room */

TEST(http_front_beats, a_body_may_fill_what_the_blanks_left_and_not_one_byte_more)
{
    static const struct {
        size_t bytes, beats;
        const char *body, *received;
        enum rc rc;
    } cases[] = {
        {9, 0, "[1,2,34]", PADDED("9", " [1,2,34]"), OK},
        {9, 0, "[1,23,45]", PADDED("9", " "), E_LIMIT},
        {9, 3, "[1,2]", PADDED("9", "    [1,2]"), OK},
        {9, 3, "[1,23]", PADDED("9", "    "), E_LIMIT},
        {5, 100, "7", PADDED("5", "    7"), OK},
        {5, 100, "78", PADDED("5", "    "), E_LIMIT},
        {1, 2, "7", PADDED("1", "7"), OK},
        {1, 2, "78", PADDED("1", ""), E_LIMIT},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        FIXTURE(f);
        BUF(in, 4096);
        BUF(out, 4096);
        int fd = client_new(&f);
        struct http_request *request = waiting_request(&f, fd, SPAN(GET_WAIT));
        begin(request, cases[i].bytes);
        beat(request, cases[i].beats);
        size_t n =
            strlen(cases[i].received) + strlen("\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT");
        if (cases[i].rc != OK)
            UNTIL(&f, (client_receive(fd, &in), in.n == n));
        assert_int_equal(finish(request, span_of(cases[i].body)), cases[i].rc);
        UNTIL(&f, f.ended == 1);
        assert_int_equal(client_receive(fd, &in), cases[i].rc != OK);
        take_reply(&in, in.n, &out);
        assert_string_equal(buf_text(&out), cases[i].received);
        assert_string_equal(buf_text(&f.log), cases[i].rc == OK
                                                  ? "head /wait; request 0; end delivered; "
                                                  : "head /wait; request 0; end; ");
        close(fd);
    }
}

TEST(http_front_beats, without_a_body_the_connection_is_cut_before_the_declared_length)
{
    FIXTURE(f);
    for (size_t i = 0; i < 3; i++) {
        BUF(in, 4096);
        int fd = client_new(&f);
        struct http_request *request = waiting_request(&f, fd, SPAN(GET_WAIT));
        begin(request, 9);
        if (i > 0) {
            beat(request, 1);
            expect_body(&f, fd, &in, "  ");
        }
        if (i == 2) /* of no bytes */
            assert_int_equal(finish(request, SPAN("")), OK);
        else
            assert_int_equal(http_request_finish_reply(request, NULL), OK);
        EXPECT_CLOSE(&f, fd, &in);
        if (i > 0)
            assert_span_equal(body_of(&in), "  ");
        UNTIL(&f, f.ended == i + 1);
        assert_int_equal(f.delivered, 0);
        UNTIL(&f, http_front_connections(f.front) == 0);
        close(fd);
    }
    assert_null(strstr(buf_text(&f.log), "left"));
}

/* ---- rounds */

TEST(http_front_beats, a_beat_between_two_rounds_needs_no_other_event_to_go_out)
{
    FIXTURE(f);
    BUF(in, 4096);
    int fd = client_new(&f);
    struct http_request *request = waiting_request(&f, fd, SPAN(GET_WAIT));
    begin(request, 9);
    expect_body(&f, fd, &in, " ");
    beat(request, 1);
    event_loop_round(f.loop, -1); /* would hang */
    expect_body(&f, fd, &in, "  ");
    assert_int_equal(finish(request, SPAN("[]")), OK);
    event_loop_round(f.loop, -1);
    UNTIL(&f, f.ended == 1);
    close(fd);
}

/* A block takes libmicrohttpd some runs, the same for many connections as for one. */
TEST(http_front_beats, the_beats_of_a_round_go_out_together_and_so_do_bodies)
{
    enum { MANY = 200 };
    FIXTURE(f);
    BUF(in, 4096);
    int fds[MANY];
    for (size_t i = 0; i < MANY; i++) {
        fds[i] = client_new(&f);
        begin(waiting_request(&f, fds[i], SPAN(GET_WAIT)), 9);
    }
    rounds_for(&f, 50);
    for (size_t i = 0; i < MANY; i++)
        beat(f.waiting[i], 1);
    runs = 0;
    rounds_for(&f, 50);
    assert_in_range(runs, 1, 5);
    for (size_t i = 0; i < MANY; i++) {
        buf_clear(&in);
        assert_false(client_receive(fds[i], &in));
        assert_span_equal(body_of(&in), "  ");
    }
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(finish(f.waiting[i], SPAN("[]")), OK);
    runs = 0;
    rounds_for(&f, 50);
    assert_in_range(runs, 1, 5);
    for (size_t i = 0; i < MANY; i++) {
        buf_clear(&in);
        assert_false(client_receive(fds[i], &in));
        assert_span_equal(buf_span(&in), "[]     ");
        close(fds[i]);
    }
    UNTIL(&f, f.ended == MANY);
    assert_int_equal(f.delivered, MANY);
}

/* Rounds without anything to do last as long as they may: a loop that spins makes thousands. */
static void expect_rest(struct fixture *f)
{
    unsigned rounds = 0;
    rounds_for(f, 30);
    for (int64_t end_ms = test_now_ms() + 300; test_now_ms() < end_ms; rounds++)
        event_loop_round(f->loop, 20);
    assert_in_range(rounds, 1, 60);
}

TEST(http_front_beats, between_beats_the_front_does_nothing_whatever_its_clients_do)
{
    FIXTURE(f);
    int fd = client_new(&f), half = client_new(&f);
    struct http_request *request = waiting_request(&f, fd, SPAN(GET_WAIT GET_WAIT));
    struct http_request *other = waiting_request(&f, half, SPAN(GET_WAIT));
    begin(request, 9);
    begin(other, 9);
    expect_rest(&f);
    beat(request, 1);
    expect_rest(&f);
    assert_int_equal(shutdown(half, SHUT_WR), 0);
    beat(other, 1);
    expect_rest(&f);
    SEND(&f, fd, GET_WAIT);
    expect_rest(&f);
    assert_int_equal(f.ended, 0);
    close(fd);
    close(half);
}

/* ---- clients that leave, or do not read */

TEST(http_front_beats, a_half_closed_client_gets_the_rest_which_is_not_delivered)
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

TEST(http_front_beats, a_client_that_half_closed_while_waiting_is_told_of_once)
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
TEST(http_front_beats, a_client_that_leaves_as_the_reply_begins_is_told_of)
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

TEST(http_front_beats, a_reset_between_beats_ends_the_request)
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

TEST(http_front_beats, a_client_that_closed_for_good_is_found_out_by_the_next_beat)
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

TEST(http_front_beats, what_comes_after_the_break_is_dropped)
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

/* Beats until the client's side takes no more. */
static void fill(struct fixture *f, struct http_request *request, int fd)
{
    const int small = 4096;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    begin(request, 32 << 20);
    beat(request, 16 << 20);
    rounds_for(f, 300);
}

TEST(http_front_beats, blanks_that_a_client_does_not_read_wait_and_its_leaving_is_seen)
{
    FIXTURE(f);
    int fd = client_new(&f);
    fill(&f, waiting_request(&f, fd, SPAN(GET_WAIT)), fd);
    expect_rest(&f);
    beat(f.waiting[0], 10);
    expect_rest(&f);
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

TEST(http_front_beats, the_last_blank_counts_for_delivery)
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

TEST(http_front_beats, there_is_no_deadline_before_the_body_and_the_usual_one_after_it)
{
    __attribute__((cleanup(fixture_done))) struct fixture f;
    fixture_new(&f);
    f.params.request_timeout_ms = 100;
    f.params.keepalive_ms = 100;
    f.params.reply_bytes_per_s_min = 1 << 30;
    fixture_start(&f);
    int fd = client_new(&f), deaf = client_new(&f);
    struct http_request *request = waiting_request(&f, fd, SPAN(GET_WAIT));
    begin(request, 9);
    rounds_for(&f, 300);
    beat(request, 1);
    rounds_for(&f, 300);
    assert_int_equal(finish(request, SPAN("[]")), OK);
    EXPECT(&f, fd, PADDED("9", "  []     "));
    UNTIL(&f, f.ended == 1);
    assert_int_equal(f.delivered, 1);
    deaf = client_new(&f);
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
TEST(http_front_beats, the_deadline_after_the_body_is_worth_the_declared_length)
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

/* ---- from other callbacks */

static void begin_at_head(void *context, struct http_request *request)
{
    on_head(context, request);
    begin(request, 9);
    beat(request, 1);
    struct span query = http_request_head(request)->query;
    if (span_is(query, "finish"))
        assert_int_equal(finish(request, SPAN("[]")), OK);
    else if (span_is(query, "none"))
        assert_int_equal(http_request_finish_reply(request, NULL), OK);
    else
        ((struct fixture *)context)->waiting[0] = request;
}

#define POST(query) "POST /?" query " HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12"

TEST(http_front_beats, a_reply_begun_at_the_head_begins_when_the_body_was_read_away)
{
    __attribute__((cleanup(fixture_done))) struct fixture f;
    fixture_new(&f);
    f.params.handler.on_head = begin_at_head;
    fixture_start(&f);
    BUF(in, 4096);
    int fd = client_new(&f);
    SEND(&f, fd, POST("finish"));
    rounds_for(&f, 20);
    assert_false(client_receive(fd, &in));
    assert_int_equal(in.n, 0);
    SEND(&f, fd, "345");
    EXPECT(&f, fd, PADDED("9", "  []     "));
    UNTIL(&f, f.ended == 1);
    SEND(&f, fd, POST("later") "345");
    expect_body(&f, fd, &in, "  ");
    buf_clear(&in);
    assert_int_equal(finish(f.waiting[0], SPAN("[]")), OK);
    UNTIL(&f, (client_receive(fd, &in), in.n == 7));
    assert_span_equal(buf_span(&in), "[]     ");
    UNTIL(&f, f.ended == 2);
    assert_int_equal(f.delivered, 2);
    buf_clear(&in);
    SEND(&f, fd, POST("none"));
    EXPECT_CLOSE(&f, fd, &in);
    assert_int_equal(in.n, 0);
    UNTIL(&f, f.ended == 3);
    assert_int_equal(f.delivered, 2);
    close(fd);
}

TEST(http_front_beats, a_body_that_comes_too_slowly_leaves_no_whole_reply)
{
    __attribute__((cleanup(fixture_done))) struct fixture f;
    fixture_new(&f);
    f.params.handler.on_head = begin_at_head;
    f.params.request_timeout_ms = 100;
    fixture_start(&f);
    BUF(in, 4096);
    int fd = client_new(&f);
    SEND(&f, fd, POST("later"));
    EXPECT_CLOSE(&f, fd, &in);
    assert_non_null(strstr(buf_text(&in), "\r\nContent-Length: 9\r\n"));
    assert_int_equal(body_of(&in).n, 0);
    UNTIL(&f, f.ended == 1);
    assert_string_equal(buf_text(&f.log), "head /; left broken; end; ");
    close(fd);
}

/* ---- drain, end, memory */

TEST(http_front_beats, while_draining_the_head_says_close)
{
    FIXTURE(f);
    BUF(in, 4096);
    int before = client_new(&f), after = client_new(&f);
    struct http_request *early = waiting_request(&f, before, SPAN(GET_WAIT));
    begin(early, 9);
    rounds_for(&f, 20);
    http_front_close_after_reply(f.front);
    struct http_request *late = waiting_request(&f, after, SPAN(GET_WAIT));
    begin(late, 9);
    assert_int_equal(finish(late, SPAN("[]")), OK);
    assert_int_equal(finish(early, SPAN("[]")), OK);
    EXPECT(&f, before, PADDED("9", " []      "));
    EXPECT(&f, after,
           "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n"
           "Content-Length: 9\r\n\r\n []      ");
    EXPECT_CLOSE(&f, after, &in);
    UNTIL(&f, f.ended == 2);
    assert_int_equal(f.delivered, 2);
    close(before);
    close(after);
}

TEST(http_front_beats, free_cuts_replies_without_a_body_and_ends_their_requests)
{
    FIXTURE(f);
    BUF(in, 4096);
    BUF(second, 4096);
    int fd = client_new(&f), fresh = client_new(&f), full = client_new(&f);
    begin(waiting_request(&f, fd, SPAN(GET_WAIT)), 9);
    fill(&f, waiting_request(&f, full, SPAN(GET_WAIT)), full);
    begin(waiting_request(&f, fresh, SPAN(GET_WAIT)), 9); /* no round since */
    http_front_free(take(f.front));
    assert_int_equal(f.ended, 3);
    assert_int_equal(f.delivered, 0);
    assert_null(strstr(buf_text(&f.log), "left"));
    EXPECT_CLOSE(&f, fd, &in);
    assert_span_equal(body_of(&in), " ");
    EXPECT_CLOSE(&f, fresh, &second);
    assert_null(strchr(buf_text(&second), '['));
    close(fd);
    close(fresh);
    close(full);
}

TEST(http_front_beats, without_memory_the_connection_is_cut)
{
    bool *const failures[] = {&no_response, &no_header, &no_queue};
    for (size_t i = 0; i < COUNT_OF(failures); i++) {
        FIXTURE(f);
        BUF(in, 4096);
        int fd = client_new(&f);
        struct http_request *request = waiting_request(&f, fd, SPAN(GET_WAIT));
        *failures[i] = true;
        begin(request, 9);
        *failures[i] = false;
        beat(request, 2);
        assert_int_equal(finish(request, SPAN("[1,2,3,4,5]")), OK);
        EXPECT_CLOSE(&f, fd, &in);
        assert_int_equal(in.n, 0);
        UNTIL(&f, f.ended == 1);
        assert_string_equal(buf_text(&f.log), "head /wait; request 0; end; ");
        close(fd);
    }
}

/* ---- the socket */

/* The front's end of a client's connection. */
static int other_end(int client)
{
    struct sockaddr_in own, peer;
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

TEST(http_front_beats, accepted_sockets_are_probed_when_nothing_comes_for_a_minute)
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
