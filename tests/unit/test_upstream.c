#include "unit/upstream_fixture.h"

/* ---- answers */

TEST(upstream, a_stream_becomes_an_answer)
{
    struct bench *bench = bench_new(answers);
    struct try try;
    try_run(&try, bench);
    assert_end(&try, ATTEMPT_ANSWERED);
    assert_int_equal(try.outcome.status, 200);
    assert_true(try.outcome.request_sent);
    assert_true(try.outcome.output_began);
    assert_int_equal(try.outputs, 1);
    assert_int_equal(try.ends, 1);
    assert_body_has(&try, "\"content\":\"hello\"");
    assert_true(try.outcome.progress.events >= 2);
    assert_true(try.outcome.first_event_ms >= 0);
    assert_true(try.outcome.total_ms >= try.outcome.first_event_ms);
    struct headers headers = outcome_headers(&try);
    assert_span_equal(header_get(&headers, "content-type"), "text/event-stream");
    try_done(&try);
    bench_free(bench);
}

TEST(upstream, the_request_is_sent_as_given_and_nothing_is_added_but_framing)
{
    struct bench *bench = bench_new(answers);
    struct try try;
    struct header headers[] = {{SPAN("Authorization"), SPAN("Bearer k")},
                               {SPAN("x-empty"), SPAN("")}};
    OWNED(blob) body = blob_new(SPAN("{\"n\" : 12345678901234567890}"));
    try_init(&try, bench);
    try.params.headers = (struct headers){headers, COUNT_OF(headers)};
    try.params.body = body;
    (void)snprintf(try.url, sizeof try.url, "http://127.0.0.1:%u/a/../b?x=1&y=%%20",
                   bench->provider->port);
    try.params.url = span_of(try.url);
    try_start(&try, bench);
    try_wait(&try, bench);
    char expected[512];
    (void)snprintf(expected, sizeof expected,
                   "POST /a/../b?x=1&y=%%20 HTTP/1.1\r\n"
                   "Host: 127.0.0.1:%u\r\n"
                   "Authorization: Bearer k\r\n"
                   "x-empty:\r\n"
                   "Accept-Encoding: identity\r\n"
                   "Content-Length: 28\r\n"
                   "\r\n"
                   "{\"n\" : 12345678901234567890}",
                   bench->provider->port);
    assert_string_equal(bench->provider->request, expected);
    try_done(&try);
    bench_free(bench);
}

TEST(upstream, a_body_of_megabytes_arrives_whole_without_expect)
{
    struct bench *bench = bench_new(answers);
    struct try try;
    enum { BYTES = 4 << 20 };
    BUF(text, BYTES);
    memset(buf_reserve(&text, BYTES), 'x', BYTES);
    text.n = BYTES;
    OWNED(blob) body = blob_take(&text);
    try_init(&try, bench);
    try.params.body = body;
    try_start(&try, bench);
    try_wait(&try, bench);
    assert_end(&try, ATTEMPT_ANSWERED);
    assert_non_null(strstr(bench->provider->request, "\r\nContent-Length: 4194304\r\n"));
    assert_null(strstr(bench->provider->request, "Expect"));
    try_done(&try);
    bench_free(bench);
}

static void answers_byte_by_byte(struct peer *peer)
{
    static const char answer[] = STREAM_HEAD HELLO STOP DONE;
    if (!peer_read_request(peer))
        return;
    for (size_t i = 0; i + 1 < sizeof answer; i++) {
        (void)peer_send_bytes(peer, answer + i, 1);
        (void)usleep(100);
    }
}

TEST(upstream, bytes_may_come_one_by_one)
{
    struct bench *bench = bench_new(answers_byte_by_byte);
    struct try try;
    try_run(&try, bench);
    assert_end(&try, ATTEMPT_ANSWERED);
    assert_int_equal(try.outputs, 1);
    assert_body_has(&try, "\"content\":\"hello\"");
    try_done(&try);
    bench_free(bench);
}

static void answers_in_chunks_with_trailers(struct peer *peer)
{
    while (peer_read_request(peer))
        (void)peer_send(peer, "HTTP/1.1 100 Continue\r\nX-Request-Id: interim\r\n\r\n"
                              "HTTP/1.1 103 Early Hints\r\nRetry-After: 1\r\n\r\n"
                              "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
                              "X-Request-Id: final\r\n\r\n"
                              "e\r\ndata: [DONE]\n\n\r\n0\r\nX-Request-Id: trailer\r\n\r\n");
}

TEST(upstream, interim_answers_and_trailers_are_not_the_answers_head)
{
    struct bench *bench = bench_new(answers_in_chunks_with_trailers);
    struct try try;
    try_run(&try, bench);
    assert_end(&try, ATTEMPT_TRUNCATED); /* [DONE] alone is no answer */
    assert_int_equal(try.outcome.status, 200);
    assert_int_equal(try.outcome.header_count, 1);
    assert_span_equal(try.outcome.headers[0].value, "final");
    assert_false(try.outcome.output_began);
    assert_int_equal(try.outputs, 0);
    try_done(&try);
    bench_free(bench);
}

static void sends_an_error_in_the_stream(struct peer *peer)
{
    if (peer_read_request(peer))
        peer_answer(peer, HELLO "data: {\"error\":{\"type\":\"overloaded\"}}\n\n");
}

TEST(upstream, an_error_in_the_stream_comes_with_its_object)
{
    struct bench *bench = bench_new(sends_an_error_in_the_stream);
    struct try try;
    try_run(&try, bench);
    assert_end(&try, ATTEMPT_STREAM_ERROR);
    assert_body_has(&try, "\"overloaded\"");
    assert_true(try.outcome.output_began);
    try_done(&try);
    bench_free(bench);
}

/* ---- connections */

TEST(upstream, a_connection_is_used_again)
{
    struct bench *bench = bench_new(answers);
    for (unsigned i = 0; i < 5; i++) {
        struct try try;
        try_run(&try, bench);
        assert_end(&try, ATTEMPT_ANSWERED);
        try_done(&try);
        wait_for(&bench->provider->requests, i + 1);
        pause_ms(20); /* the rest of the answer is read after its end was told */
    }
    assert_int_equal(bench->provider->accepted, 1);
    bench_free(bench);
}

static void answers_once_then_closes(struct peer *peer)
{
    if (peer_read_request(peer))
        peer_answer(peer, HELLO STOP DONE);
    (void)peer_read_request(peer);
}

TEST(upstream, a_request_on_a_dead_connection_is_not_sent_again_in_silence)
{
    struct bench *bench = bench_new(answers_once_then_closes);
    struct try try;
    try_run(&try, bench);
    assert_end(&try, ATTEMPT_ANSWERED);
    try_done(&try);
    pause_ms(50);
    try_run(&try, bench);
    assert_end(&try, ATTEMPT_CONNECTION_LOST);
    assert_cause(&try, "The connection, used before, was closed");
    assert_true(try.outcome.request_sent);
    assert_int_equal(bench->provider->requests, 2);
    assert_int_equal(bench->provider->accepted, 1);
    try_done(&try);
    try_run(&try, bench); /* which is not made to fail by what libcurl wanted to do before */
    assert_end(&try, ATTEMPT_ANSWERED);
    assert_int_equal(bench->provider->accepted, 2);
    try_done(&try);
    bench_free(bench);
}

/* libcurl would try again by itself on another connection that it kept. */
TEST(upstream, a_request_is_known_as_sent_when_another_connection_is_kept)
{
    struct bench *bench = bench_new(answers_once_then_closes);
    struct try tries[2];
    for (int i = 0; i < 2; i++) {
        try_init(&tries[i], bench);
        try_start(&tries[i], bench);
    }
    for (int i = 0; i < 2; i++) {
        try_wait(&tries[i], bench);
        assert_end(&tries[i], ATTEMPT_ANSWERED);
        try_done(&tries[i]);
    }
    assert_int_equal(bench->provider->accepted, 2);
    pause_ms(50);
    struct try try;
    try_run(&try, bench);
    assert_end(&try, ATTEMPT_CONNECTION_LOST);
    assert_true(try.outcome.request_sent);
    assert_int_equal(bench->provider->requests, 3);
    try_done(&try);
    bench_free(bench);
}

static _Atomic unsigned strays;

/* And a moment later once more, which nobody has asked for. */
static void answers_and_speaks_again(struct peer *peer)
{
    while (peer_read_request(peer)) {
        peer_answer(peer, HELLO STOP DONE);
        pause_ms(20); /* libcurl drops what it reads together with the end of an answer */
        peer_answer(peer, "data: {\"error\":{\"message\":\"stray\"}}\n\n");
        (void)atomic_fetch_add(&strays, 1);
    }
}

TEST(upstream, what_comes_while_nobody_asks_is_not_the_next_answer)
{
    struct bench *bench = bench_new(answers_and_speaks_again);
    for (unsigned i = 0; i < 5; i++) {
        struct try try;
        try_run(&try, bench);
        assert_end(&try, ATTEMPT_ANSWERED);
        try_done(&try);
        wait_for(&strays, i + 1);
    }
    assert_int_equal(bench->provider->accepted, 5);
    bench_free(bench);
}

static void answers_once(struct peer *peer)
{
    if (peer_read_request(peer))
        peer_answer(peer, HELLO STOP DONE);
}

TEST(upstream, a_connection_that_was_closed_meanwhile_is_not_used_again)
{
    struct bench *bench = bench_new(answers_once);
    for (unsigned i = 0; i < 5; i++) {
        struct try try;
        try_run(&try, bench);
        assert_end(&try, ATTEMPT_ANSWERED);
        try_done(&try);
        pause_ms(20); /* until it is closed */
    }
    assert_int_equal(bench->provider->accepted, 5);
    bench_free(bench);
}

static void answers_and_keeps_the_body_open(struct peer *peer)
{
    if (peer_read_request(peer))
        (void)peer_send(peer, STREAM_HEAD HELLO STOP DONE);
    peer_wait_left(peer);
}

TEST(upstream, the_terminal_event_answers_at_once_and_an_open_body_is_closed_soon)
{
    struct bench *bench = bench_new(answers_and_keeps_the_body_open);
    struct try try;
    try_run(&try, bench);
    assert_end(&try, ATTEMPT_ANSWERED);
    assert_int_equal(bench->provider->left, 0);
    wait_for(&bench->provider->left, 1);
    try_done(&try);
    bench_free(bench);
}

static void answers_and_goes_on_for_ever(struct peer *peer)
{
    if (peer_read_request(peer))
        (void)peer_send(peer, STREAM_HEAD HELLO STOP DONE);
    while (peer_send(peer, HELLO))
        ;
    (void)atomic_fetch_add(&peer->provider->left, 1);
}

TEST(upstream, what_follows_the_terminal_event_is_ignored_and_bounded)
{
    struct bench *bench = bench_new(answers_and_goes_on_for_ever);
    struct try try;
    try_run(&try, bench);
    assert_end(&try, ATTEMPT_ANSWERED);
    wait_for(&bench->provider->left, 1);
    try_done(&try);
    bench_free(bench);
}

/* ---- streams that break */

static void leaves_before_the_head(struct peer *peer)
{
    (void)peer_read_request(peer);
}

static void leaves_inside_the_head(struct peer *peer)
{
    if (peer_read_request(peer))
        (void)peer_send(peer, "HTTP/1.1 200 OK\r\nContent-Type: text/ev");
}

static void leaves_inside_the_body(struct peer *peer)
{
    if (peer_read_request(peer))
        (void)peer_send(peer, STREAM_HEAD HELLO "data: {\"id\":");
}

static void leaves_after_the_finish_reason(struct peer *peer)
{
    if (peer_read_request(peer))
        (void)peer_send(peer, STREAM_HEAD HELLO STOP);
}

static void leaves_a_chunked_body_after_the_finish_reason(struct peer *peer)
{
    if (peer_read_request(peer))
        (void)peer_send(peer, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                              "FFFF\r\n" HELLO STOP);
}

static void leaves_a_chunked_body_inside(struct peer *peer)
{
    if (peer_read_request(peer))
        (void)peer_send(peer, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                              "FFFF\r\n" HELLO);
}

static void leaves_after_the_terminal_event(struct peer *peer)
{
    if (peer_read_request(peer))
        (void)peer_send(peer,
                        "HTTP/1.1 200 OK\r\nContent-Length: 65535\r\n\r\n" HELLO STOP DONE);
}

TEST(upstream, a_cut_is_judged_by_where_it_is)
{
    assert_script_ends(leaves_before_the_head, ATTEMPT_CONNECTION_LOST);
    assert_script_ends(leaves_inside_the_head, ATTEMPT_CONNECTION_LOST);
    assert_script_ends(leaves_inside_the_body, ATTEMPT_TRUNCATED);
    assert_script_ends(leaves_after_the_finish_reason, ATTEMPT_ANSWERED);
    assert_script_ends(leaves_a_chunked_body_after_the_finish_reason, ATTEMPT_ANSWERED);
    assert_script_ends(leaves_after_the_terminal_event, ATTEMPT_ANSWERED);
}

TEST(upstream, a_cut_comes_with_its_cause_unless_the_answer_was_whole)
{
    static const struct {
        void (*script)(struct peer *peer);
        const char *cause;
    } cuts[] = {
        {leaves_before_the_head, "Server returned nothing (no headers, no data)"},
        {leaves_a_chunked_body_inside, "Transferred a partial file"},
        {leaves_a_chunked_body_after_the_finish_reason, NULL},
    };
    for (size_t i = 0; i < COUNT_OF(cuts); i++) {
        struct bench *bench = bench_new(cuts[i].script);
        struct try try;
        try_run(&try, bench);
        if (cuts[i].cause)
            assert_cause(&try, cuts[i].cause);
        else
            assert_null(try.outcome.cause);
        try_done(&try);
        bench_free(bench);
    }
}

static void resets_without_reading(struct peer *peer)
{
    char byte;
    (void)recv(peer->fd, &byte, 1, 0);
    pause_ms(50);
    peer_reset(peer);
}

TEST(upstream, a_request_that_was_not_wholly_sent_is_known_as_such)
{
    struct bench *bench = bench_new(resets_without_reading);
    struct try try;
    enum { BYTES = 12 << 20 };
    BUF(text, BYTES);
    memset(buf_reserve(&text, BYTES), 'x', BYTES);
    text.n = BYTES;
    OWNED(blob) body = blob_take(&text);
    try_init(&try, bench);
    try.params.body = body;
    try_start(&try, bench);
    try_wait(&try, bench);
    assert_end(&try, ATTEMPT_CONNECTION_LOST);
    assert_false(try.outcome.request_sent);
    assert_int_equal(bench->provider->accepted, 1);
    try_done(&try);
    bench_free(bench);
}

/* ---- many */

TEST(upstream, two_hundred_transfers_at_once_all_end)
{
    enum { TRIES = 200 };
    struct bench *bench = bench_new_with(
        answers_byte_by_byte, (struct upstream_params){.threads = 2, .transfers_max = TRIES});
    struct try *tries = calloc(TRIES, sizeof *tries);
    for (size_t i = 0; i < TRIES; i++) {
        try_init(&tries[i], bench);
        try_start(&tries[i], bench);
    }
    for (size_t i = 0; i < TRIES; i++) {
        try_wait(&tries[i], bench);
        assert_end(&tries[i], ATTEMPT_ANSWERED);
        assert_int_equal(tries[i].outputs, 1);
        assert_int_equal(tries[i].ends, 1);
        try_done(&tries[i]);
    }
    assert_int_equal(bench->provider->requests, TRIES);
    free(tries);
    bench_free(bench);
}
