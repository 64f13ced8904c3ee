/* Plain transfers: what is no stream is kept as it comes. */
#include "unit/upstream_fixture.h"

#define JSON_HEAD "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

/* body NULL: GET */
static void plain_init(struct try *try, struct bench *bench)
{
    try_init(try, bench);
    try->params.plain = true;
}

static void plain_start(struct try *try, struct bench *bench)
{
    assert_int_equal(upstream_start(bench->upstream, &try->params, &try->transfer), OK);
}

static void plain_run(struct try *try, struct bench *bench)
{
    plain_init(try, bench);
    plain_start(try, bench);
    try_wait(try, bench);
}

static void assert_plain_ends(void (*script)(struct peer *peer), enum attempt_end end)
{
    struct bench *bench = bench_new(script);
    struct try try;
    plain_run(&try, bench);
    assert_end(&try, end);
    assert_int_equal(try.outputs, 0);
    assert_int_equal(try.ends, 1);
    assert_true((try.outcome.body != NULL) == (end == ATTEMPT_ANSWERED));
    try_done(&try);
    bench_free(bench);
}

static void lists(struct peer *peer)
{
    while (peer_read_request(peer))
        (void)peer_send(peer, JSON_HEAD "X-Request-Id: r1\r\nContent-Length: 12\r\n\r\n"
                                        "{\"data\" :[]}");
}

TEST(upstream_plain, a_get_has_no_body_and_its_answer_is_kept_byte_for_byte)
{
    struct bench *bench = bench_new(lists);
    struct try try;
    plain_run(&try, bench);
    char expected[256];
    (void)snprintf(expected, sizeof expected,
                   "GET /v1/chat/completions HTTP/1.1\r\n"
                   "Host: 127.0.0.1:%u\r\n"
                   "Accept-Encoding: identity\r\n"
                   "\r\n",
                   bench->provider->port);
    assert_string_equal(bench->provider->request, expected);
    assert_end(&try, ATTEMPT_ANSWERED);
    assert_int_equal(try.outcome.status, 200);
    assert_span_equal(blob_span(try.outcome.body), "{\"data\" :[]}");
    assert_true(try.outcome.request_sent);
    assert_int_equal(try.outcome.first_event_ms, -1);
    assert_int_equal(try.outputs, 0);
    struct headers headers = outcome_headers(&try);
    assert_span_equal(header_get(&headers, "content-type"), "application/json");
    assert_span_equal(header_get(&headers, "x-request-id"), "r1");
    try_done(&try);
    bench_free(bench);
}

TEST(upstream_plain, gets_posts_and_streams_share_a_connection)
{
    struct bench *bench = bench_new(lists);
    OWNED(blob) body = blob_new(SPAN("{}"));
    for (int i = 0; i < 4; i++) {
        struct try try;
        plain_init(&try, bench);
        try.params.body = i % 2 ? body : NULL;
        plain_start(&try, bench);
        try_wait(&try, bench);
        assert_end(&try, ATTEMPT_ANSWERED);
        assert_int_equal(strncmp(bench->provider->request, i % 2 ? "POST " : "GET ", 4), 0);
        try_done(&try);
    }
    assert_int_equal(bench->provider->accepted, 1);
    bench_free(bench);
}

TEST(upstream_plain, a_post_may_have_an_empty_body)
{
    struct bench *bench = bench_new(lists);
    OWNED(blob) body = blob_new(SPAN(""));
    struct try try;
    plain_init(&try, bench);
    try.params.body = body;
    plain_start(&try, bench);
    try_wait(&try, bench);
    assert_end(&try, ATTEMPT_ANSWERED);
    assert_non_null(strstr(bench->provider->request, "POST /v1/chat/completions HTTP/1.1\r\n"));
    assert_non_null(strstr(bench->provider->request, "\r\nContent-Length: 0\r\n"));
    try_done(&try);
    bench_free(bench);
}

static void has_no_content(struct peer *peer)
{
    while (peer_read_request(peer))
        (void)peer_send(peer, "HTTP/1.1 204 No Content\r\n\r\n");
}

TEST(upstream_plain, an_answer_may_be_empty)
{
    struct bench *bench = bench_new(has_no_content);
    struct try try;
    plain_run(&try, bench);
    assert_end(&try, ATTEMPT_ANSWERED);
    assert_int_equal(try.outcome.status, 204);
    assert_int_equal(blob_span(try.outcome.body).n, 0);
    try_done(&try);
    bench_free(bench);
}

static void lists_in_chunks(struct peer *peer)
{
    while (peer_read_request(peer))
        (void)peer_send(peer, JSON_HEAD "Transfer-Encoding: chunked\r\n\r\n"
                                        "5\r\n{\"dat\r\n7\r\na\" :[]}\r\n0\r\n\r\n");
}

static void lists_until_it_closes(struct peer *peer)
{
    if (peer_read_request(peer))
        (void)peer_send(peer, JSON_HEAD "\r\n{\"data\" :[]}");
}

TEST(upstream_plain, framing_says_where_an_answer_ends)
{
    void (*const scripts[])(struct peer * peer) = {lists_in_chunks, lists_until_it_closes};
    for (size_t i = 0; i < COUNT_OF(scripts); i++) {
        struct bench *bench = bench_new(scripts[i]);
        struct try try;
        plain_run(&try, bench);
        assert_end(&try, ATTEMPT_ANSWERED);
        assert_span_equal(blob_span(try.outcome.body), "{\"data\" :[]}");
        try_done(&try);
        bench_free(bench);
    }
}

static void ends_before_content_length(struct peer *peer)
{
    if (peer_read_request(peer))
        (void)peer_send(peer, JSON_HEAD "Content-Length: 13\r\n\r\n{\"data\" :[]}");
}

static void ends_before_its_last_chunk(struct peer *peer)
{
    if (peer_read_request(peer))
        (void)peer_send(peer, JSON_HEAD "Transfer-Encoding: chunked\r\n\r\n"
                                        "c\r\n{\"data\" :[]}\r\n");
}

static void resets_inside(struct peer *peer)
{
    if (!peer_read_request(peer))
        return;
    (void)peer_send(peer, JSON_HEAD "Content-Length: 100\r\n\r\n{\"data\"");
    pause_ms(50);
    peer_reset(peer);
}

static void sends_a_malformed_chunk(struct peer *peer)
{
    if (peer_read_request(peer))
        (void)peer_send(peer, JSON_HEAD "Transfer-Encoding: chunked\r\n\r\n"
                                        "c\r\n{\"data\" :[]}\r\nnone\r\n");
    peer_wait_left(peer);
}

static void ends_before_its_head(struct peer *peer)
{
    (void)peer_read_request(peer);
}

static void sends_gzip(struct peer *peer)
{
    if (peer_read_request(peer))
        (void)peer_send(peer,
                        JSON_HEAD "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nxx");
    peer_wait_left(peer);
}

TEST(upstream_plain, an_answer_that_is_not_whole_is_none)
{
    assert_plain_ends(ends_before_content_length, ATTEMPT_TRUNCATED);
    assert_plain_ends(ends_before_its_last_chunk, ATTEMPT_TRUNCATED);
    assert_plain_ends(resets_inside, ATTEMPT_TRUNCATED);
    assert_plain_ends(sends_a_malformed_chunk, ATTEMPT_TRUNCATED);
    assert_plain_ends(ends_before_its_head, ATTEMPT_CONNECTION_LOST);
    assert_plain_ends(sends_gzip, ATTEMPT_MALFORMED);
}

static void sends_100_bytes(struct peer *peer)
{
    char body[101];
    memset(body, 'x', 100);
    body[100] = '\0';
    if (peer_read_request(peer))
        peer_answer(peer, body);
    peer_wait_left(peer);
}

TEST(upstream_plain, an_answer_has_answer_bytes_max_at_most)
{
    for (size_t max = 99; max <= 100; max++) {
        struct bench *bench = bench_new(sends_100_bytes);
        struct try try;
        plain_init(&try, bench);
        try.params.assemble.answer_bytes_max = max;
        plain_start(&try, bench);
        try_wait(&try, bench);
        assert_end(&try, max == 100 ? ATTEMPT_ANSWERED : ATTEMPT_TOO_LARGE);
        try_done(&try);
        bench_free(bench);
    }
}

static void refuses(struct peer *peer)
{
    while (peer_read_request(peer))
        (void)peer_send(peer, "HTTP/1.1 404 Not Found\r\nContent-Length: 14\r\n\r\n"
                              "no such model.");
}

TEST(upstream_plain, an_error_status_is_a_refusal_with_its_body)
{
    struct bench *bench = bench_new(refuses);
    struct try try;
    plain_run(&try, bench);
    assert_end(&try, ATTEMPT_REFUSED);
    assert_int_equal(try.outcome.status, 404);
    assert_body_has(&try, "no such model.");
    try_done(&try);
    bench_free(bench);
}

static void begins_and_stands_still(struct peer *peer)
{
    if (peer_read_request(peer))
        (void)peer_send(peer, JSON_HEAD "Content-Length: 100\r\n\r\n{");
    peer_wait_left(peer);
}

static void says_nothing(struct peer *peer)
{
    (void)peer_read_request(peer);
    peer_wait_left(peer);
}

TEST(upstream_plain, silence_ends_it_as_it_ends_a_stream)
{
    static const struct {
        void (*script)(struct peer *peer);
        int64_t first_event_ms, idle_ms, left_ms;
        enum attempt_end end;
    } cases[] = {
        {says_nothing, 50, PATIENCE_MS, PATIENCE_MS, ATTEMPT_FIRST_EVENT_TIMEOUT},
        {begins_and_stands_still, PATIENCE_MS, 50, PATIENCE_MS, ATTEMPT_IDLE_TIMEOUT},
        {begins_and_stands_still, PATIENCE_MS, PATIENCE_MS, 200, ATTEMPT_DEADLINE},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct bench *bench = bench_new(cases[i].script);
        struct try try;
        plain_init(&try, bench);
        try.params.first_event_timeout_ms = cases[i].first_event_ms;
        try.params.idle_timeout_ms = cases[i].idle_ms;
        try.params.time_left_ms = cases[i].left_ms;
        plain_start(&try, bench);
        try_wait(&try, bench);
        assert_end(&try, cases[i].end);
        wait_for(&bench->provider->left, 1);
        try_done(&try);
        bench_free(bench);
    }
}

/* ---- libcurl's second try on a connection that is dead */

static void lists_once_then_closes(struct peer *peer)
{
    if (peer_read_request(peer))
        (void)peer_send(peer, JSON_HEAD "Content-Length: 2\r\n\r\n{}");
    (void)peer_read_request(peer);
}

static void assert_second_try(struct blob *body, enum attempt_end end, unsigned accepted)
{
    struct bench *bench = bench_new(lists_once_then_closes);
    struct try try;
    for (int i = 0; i < 2; i++) {
        plain_init(&try, bench);
        try.params.body = body;
        plain_start(&try, bench);
        try_wait(&try, bench);
        assert_end(&try, i == 0 ? ATTEMPT_ANSWERED : end);
        assert_true(try.outcome.request_sent);
        try_done(&try);
        pause_ms(50);
    }
    assert_int_equal(bench->provider->accepted, accepted);
    bench_free(bench);
}

TEST(upstream_plain, a_get_is_sent_again_on_a_dead_connection_and_a_post_is_not)
{
    OWNED(blob) full = blob_new(SPAN("{}"));
    OWNED(blob) empty = blob_new(SPAN(""));
    assert_second_try(NULL, ATTEMPT_ANSWERED, 2);
    assert_second_try(full, ATTEMPT_CONNECTION_LOST, 1);
    assert_second_try(empty, ATTEMPT_CONNECTION_LOST, 1);
}

/* ---- tokens */

static void embeds(struct peer *peer)
{
    while (peer_read_request(peer))
        peer_answer(peer,
                    "{\"data\":[[1e400]],\"usage\":{\"prompt_tokens\":8,\"total_tokens\":8}}");
}

TEST(upstream_plain, tokens_are_counted_where_that_is_asked_for)
{
    for (int counts = 0; counts < 2; counts++) {
        struct bench *bench = bench_new(embeds);
        struct try try;
        plain_init(&try, bench);
        try.params.counts_usage = counts;
        plain_start(&try, bench);
        try_wait(&try, bench);
        assert_end(&try, ATTEMPT_ANSWERED);
        assert_int_equal(try.outcome.progress.input_tokens, counts ? 8 : 0);
        assert_int_equal(try.outcome.progress.output_tokens, 0);
        try_done(&try);
        bench_free(bench);
    }
}
