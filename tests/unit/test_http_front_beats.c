#include "front_beats.h"

#include <dlfcn.h>
#include <microhttpd.h>

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
        struct span all = body_of(&in), blanks = {all.p, 1 + beats[i]};
        assert_int_equal(all.n, DECLARED);
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
    EXPECT_REST(&f);
    assert_in_range(runs, 1, 5);
    for (size_t i = 0; i < MANY; i++) {
        buf_clear(&in);
        assert_false(client_receive(fds[i], &in));
        assert_span_equal(body_of(&in), "  ");
    }
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(finish(f.waiting[i], SPAN("[]")), OK);
    runs = 0;
    EXPECT_REST(&f);
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

TEST(http_front_beats, between_beats_the_front_does_nothing_whatever_its_clients_do)
{
    FIXTURE(f);
    int fd = client_new(&f), half = client_new(&f);
    struct http_request *request = waiting_request(&f, fd, SPAN(GET_WAIT GET_WAIT));
    struct http_request *other = waiting_request(&f, half, SPAN(GET_WAIT));
    begin(request, 9);
    begin(other, 9);
    EXPECT_REST(&f);
    beat(request, 1);
    EXPECT_REST(&f);
    assert_int_equal(shutdown(half, SHUT_WR), 0);
    beat(other, 1);
    EXPECT_REST(&f);
    SEND(&f, fd, GET_WAIT);
    EXPECT_REST(&f);
    assert_int_equal(f.ended, 0);
    close(fd);
    close(half);
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
