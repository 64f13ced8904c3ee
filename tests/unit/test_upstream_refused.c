#include "unit/upstream_fixture.h"

#include <dirent.h>

/* ---- answers that are none */

static void refuses(struct peer *peer)
{
    while (peer_read_request(peer))
        (void)peer_send(peer, "HTTP/1.1 429 Too Many Requests\r\n"
                              "Content-Type: application/json\r\n"
                              "Retry-After:  7 \r\n"
                              "RETRY-AFTER-MS: 7000\r\n"
                              "X-Should-Retry: true\r\n"
                              "X-RateLimit-Remaining-Tokens: 0\r\n"
                              "anthropic-ratelimit-requests-reset: 2026-01-01T00:00:00Z\r\n"
                              "Request-Id: req_1\r\n"
                              "Set-Cookie: a=b\r\n"
                              "X-RateLimit-Bad: a\x01z\r\n"
                              "Content-Length: 15\r\n\r\n{\"error\":\"slow\"}");
}

TEST(upstream_refused, an_error_status_keeps_its_body_and_the_headers_worth_keeping)
{
    struct bench *bench = bench_new(refuses);
    struct try try;
    try_run(&try, bench);
    assert_end(&try, ATTEMPT_REFUSED);
    assert_int_equal(try.outcome.status, 429);
    assert_null(try.outcome.cause);
    assert_span_equal(blob_span(try.outcome.body), "{\"error\":\"slow\"");
    struct headers headers = outcome_headers(&try);
    assert_int_equal(headers.count, 7);
    assert_span_equal(header_get(&headers, "content-type"), "application/json");
    assert_span_equal(header_get(&headers, "retry-after"), "7");
    assert_span_equal(header_get(&headers, "retry-after-ms"), "7000");
    assert_span_equal(header_get(&headers, "x-should-retry"), "true");
    assert_span_equal(header_get(&headers, "x-ratelimit-remaining-tokens"), "0");
    assert_span_equal(header_get(&headers, "anthropic-ratelimit-requests-reset"),
                      "2026-01-01T00:00:00Z");
    assert_span_equal(header_get(&headers, "request-id"), "req_1");
    try_done(&try);
    bench_free(bench);
}

static void sends_many_headers(struct peer *peer)
{
    if (!peer_read_request(peer))
        return;
    (void)peer_send(peer, "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n");
    BUF(line, 16384);
    buf_add_text(&line, "x-ratelimit-long: ");
    for (int i = 0; i < ATTEMPT_HEADER_BYTES_MAX; i++)
        buf_add_byte(&line, 'x');
    buf_add_text(&line, "\r\n");
    for (int i = 0; i < ATTEMPT_HEADERS_MAX + 1; i++)
        buf_printf(&line, "x-ratelimit-%d: %d\r\n", i, i);
    (void)peer_send(peer, buf_text(&line));
    (void)peer_send(peer, "\r\n");
}

TEST(upstream_refused, kept_headers_are_bounded)
{
    struct bench *bench = bench_new(sends_many_headers);
    struct try try;
    try_run(&try, bench);
    assert_end(&try, ATTEMPT_REFUSED);
    assert_int_equal(blob_span(try.outcome.body).n, 0);
    struct headers headers = outcome_headers(&try);
    assert_int_equal(headers.count, ATTEMPT_HEADERS_MAX);
    assert_null(header_get(&headers, "x-ratelimit-long").p);
    assert_span_equal(header_get(&headers, "x-ratelimit-31"), "31");
    assert_null(header_get(&headers, "x-ratelimit-32").p);
    try_done(&try);
    bench_free(bench);
}

static void refuse_at_length(struct peer *peer, size_t bytes)
{
    BUF(body, 2 << 20);
    if (!peer_read_request(peer))
        return;
    buf_printf(&body, "HTTP/1.1 500 Oops\r\nContent-Length: %zu\r\n\r\n", bytes);
    memset(buf_reserve(&body, bytes), 'e', bytes);
    body.n += bytes;
    (void)peer_send_bytes(peer, body.p, body.n);
}

static void sends_an_error_at_the_limit(struct peer *peer)
{
    refuse_at_length(peer, ATTEMPT_ERROR_BYTES_MAX);
}

static void sends_an_error_over_the_limit(struct peer *peer)
{
    refuse_at_length(peer, ATTEMPT_ERROR_BYTES_MAX + 1);
}

TEST(upstream_refused, an_error_body_is_cut_at_its_limit)
{
    void (*scripts[])(struct peer *) = {sends_an_error_at_the_limit,
                                        sends_an_error_over_the_limit};
    for (size_t i = 0; i < COUNT_OF(scripts); i++) {
        struct bench *bench = bench_new(scripts[i]);
        struct try try;
        try_run(&try, bench);
        assert_end(&try, ATTEMPT_REFUSED);
        assert_int_equal(blob_span(try.outcome.body).n, ATTEMPT_ERROR_BYTES_MAX);
        try_done(&try);
        bench_free(bench);
    }
}

static void refuses_before_the_body(struct peer *peer)
{
    char byte;
    (void)recv(peer->fd, &byte, 1, 0);
    (void)peer_send(peer, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig");
    peer_wait_left(peer);
}

TEST(upstream_refused, an_answer_before_the_body_was_read_counts)
{
    struct bench *bench = bench_new(refuses_before_the_body);
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
    assert_end(&try, ATTEMPT_REFUSED);
    assert_int_equal(try.outcome.status, 413);
    assert_span_equal(blob_span(try.outcome.body), "big");
    try_done(&try);
    bench_free(bench);
}

static void redirects(struct peer *peer)
{
    while (peer_read_request(peer))
        (void)peer_send(peer, "HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\n"
                              "Content-Length: 0\r\n\r\n");
}

static void compresses(struct peer *peer)
{
    if (peer_read_request(peer))
        (void)peer_send(peer, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
                              "Content-Length: 2\r\n\r\n\x1f\x8b");
}

static void talks_garbage(struct peer *peer)
{
    if (peer_read_request(peer))
        (void)peer_send(peer, "220 mail.example ESMTP ready\r\n");
}

static void sends_an_endless_head(struct peer *peer)
{
    if (!peer_read_request(peer))
        return;
    (void)peer_send(peer, "HTTP/1.1 200 OK\r\n");
    while (peer_send(peer, "X-Filler: 0123456789012345678901234567890123456789\r\n"))
        ;
}

TEST(upstream_refused, an_answer_that_is_none_is_told_apart)
{
    assert_script_ends(redirects, ATTEMPT_REFUSED);
    assert_script_ends(compresses, ATTEMPT_MALFORMED);
    assert_script_ends(talks_garbage, ATTEMPT_MALFORMED);
    assert_script_ends(sends_an_endless_head, ATTEMPT_MALFORMED);
}

/* ---- no connection */

TEST(upstream_refused, a_refused_connection_is_told_as_such)
{
    struct bench *bench = bench_new(NULL); /* nobody listens on port 1 */
    struct try try;
    try_run(&try, bench);
    assert_end(&try, ATTEMPT_CONNECT_FAILED);
    assert_cause(&try, "Couldn't connect to server");
    assert_int_equal(try.outcome.status, 0);
    assert_false(try.outcome.request_sent);
    assert_int_equal(try.outcome.first_event_ms, -1);
    assert_null(try.outcome.body);
    try_done(&try);
    bench_free(bench);
}

static unsigned threads_running(void)
{
    unsigned count = 0;
    DIR *tasks = opendir("/proc/self/task");
    while (readdir(tasks))
        count++;
    (void)closedir(tasks);
    return count;
}

TEST(upstream_refused, one_lookup_of_a_host_that_does_not_resolve_fails_all_that_wait_for_it)
{
    enum { TRIES = 100 };
    struct bench *bench = bench_new(NULL);
    struct try *tries = calloc(TRIES, sizeof *tries);
    unsigned threads = threads_running();
    for (size_t i = 0; i < TRIES; i++) {
        try_init(&tries[i], bench);
        tries[i].params.url = SPAN("https://host.invalid/v1/messages");
        try_start(&tries[i], bench);
        assert_true(threads_running() <= threads + 2); /* one looks up, one may be leaving */
    }
    for (size_t i = 0; i < TRIES; i++) {
        try_wait(&tries[i], bench);
        assert_end(&tries[i], ATTEMPT_DNS_FAILED);
        assert_cause(&tries[i], "Couldn't resolve host name");
        assert_false(tries[i].outcome.request_sent);
        try_done(&tries[i]);
    }
    free(tries);
    bench_free(bench);
}

TEST(upstream_refused, all_that_wait_for_a_host_go_on_when_it_is_resolved)
{
    enum { TRIES = 50 };
    struct bench *bench = bench_new(answers);
    struct try *tries = calloc(TRIES, sizeof *tries);
    for (size_t i = 0; i < TRIES; i++) {
        try_init(&tries[i], bench);
        (void)snprintf(tries[i].url, sizeof tries[i].url, "http://localhost:%u/v1",
                       bench->provider->port);
        tries[i].params.url = span_of(tries[i].url);
        try_start(&tries[i], bench);
    }
    for (size_t i = 0; i < TRIES; i++) {
        try_wait(&tries[i], bench);
        assert_end(&tries[i], ATTEMPT_ANSWERED);
        try_done(&tries[i]);
    }
    free(tries);
    bench_free(bench);
}

static void speaks_no_tls(struct peer *peer)
{
    char byte;
    (void)recv(peer->fd, &byte, 1, 0);
    (void)peer_send(peer, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
}

static void says_nothing(struct peer *peer)
{
    peer_wait_left(peer);
}

TEST(upstream_refused, tls_to_a_plain_port_fails_to_connect)
{
    void (*scripts[])(struct peer *) = {speaks_no_tls, says_nothing};
    for (size_t i = 0; i < COUNT_OF(scripts); i++) {
        struct bench *bench = bench_new(scripts[i]);
        struct try try;
        try_init(&try, bench);
        (void)snprintf(try.url, sizeof try.url, "https://127.0.0.1:%u/v1",
                       bench->provider->port);
        try.params.url = span_of(try.url);
        try.params.connect_timeout_ms = scripts[i] == says_nothing ? 100 : PATIENCE_MS;
        try_start(&try, bench);
        try_wait(&try, bench);
        assert_end(&try, ATTEMPT_CONNECT_FAILED);
        assert_cause(&try, scripts[i] == says_nothing ? "The connect timeout was reached"
                                                      : "SSL connect error");
        assert_false(try.outcome.request_sent);
        try_done(&try);
        bench_free(bench);
    }
}

TEST(upstream_refused, a_proxy_is_asked_for_the_whole_url)
{
    struct bench *bench = bench_new(answers);
    struct try try;
    char proxy[64];
    (void)snprintf(proxy, sizeof proxy, "http://127.0.0.1:%u", bench->provider->port);
    try_init(&try, bench);
    try.params.url = SPAN("http://provider.invalid/v1/chat/completions");
    try.params.proxy = span_of(proxy);
    try_start(&try, bench);
    try_wait(&try, bench);
    assert_end(&try, ATTEMPT_ANSWERED);
    assert_true(span_starts(span_of(bench->provider->request),
                            "POST http://provider.invalid/v1/chat/completions HTTP/1.1\r\n"));
    try_done(&try);
    bench_free(bench);
}

TEST(upstream_refused, the_environment_names_no_proxy_here)
{
    struct bench *bench = bench_new(answers);
    struct try try;
    assert_int_equal(setenv("http_proxy", "http://127.0.0.1:1", 1), 0);
    try_run(&try, bench);
    assert_int_equal(unsetenv("http_proxy"), 0);
    assert_end(&try, ATTEMPT_ANSWERED);
    try_done(&try);
    bench_free(bench);
}

/* ---- what is refused at the start */

static enum rc start_with(struct bench *bench, struct header header, struct span url)
{
    struct try try;
    try_init(&try, bench);
    try.params.headers = (struct headers){&header, 1};
    OWNED(blob) body = blob_new(SPAN("{}"));
    try.params.body = body;
    if (url.p)
        try.params.url = url;
    return upstream_start(bench->upstream, &try.params, &try.transfer);
}

TEST(upstream_refused, control_bytes_in_headers_and_urls_are_refused)
{
    struct bench *bench = bench_new(NULL);
    struct span name = SPAN("x-a");
    static const struct span values[] = {SPAN("a\r\nx-b: c"), SPAN("a\nb"), SPAN("a\rb"),
                                         SPAN("a\0b"),        SPAN("\x1f"), SPAN("\x7f")};
    for (size_t i = 0; i < COUNT_OF(values); i++)
        assert_int_equal(start_with(bench, (struct header){name, values[i]}, SPAN_ABSENT),
                         E_INVALID);
    static const struct span names[] = {SPAN(""),       SPAN("a b"),   SPAN("a:"),
                                        SPAN("a\r\nb"), SPAN("a\x7f"), SPAN("\xc3\xa4")};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        assert_int_equal(start_with(bench, (struct header){names[i], SPAN("v")}, SPAN_ABSENT),
                         E_INVALID);
    static const struct span urls[] = {SPAN("http://127.0.0.1:1/a\r\nb"),
                                       SPAN("http://127.0.0.1:1/a b"),
                                       SPAN("ftp://127.0.0.1:1/"),
                                       SPAN("127.0.0.1:1/"),
                                       SPAN("http:///v1"),
                                       SPAN("http://127.0.0.1:65536/"),
                                       SPAN("")};
    for (size_t i = 0; i < COUNT_OF(urls); i++)
        assert_int_equal(start_with(bench, (struct header){name, SPAN("v")}, urls[i]),
                         E_INVALID);
    /* At the limit: what is just allowed starts, and is aborted by bench_free. */
    assert_int_equal(start_with(bench, (struct header){name, SPAN("\x20~\t\x80")}, SPAN_ABSENT),
                     OK);
    bench_free(bench);
}

/* All that libcurl is told of a call: an item of its list for each header line, the client's one
 * and four of ours. */
TEST(upstream_refused, what_goes_with_a_request_is_bounded)
{
    enum {
        ITEMS = 5 * 2 * sizeof(void *),
        WAY = sizeof "http://127.0.0.1:1/v1/chat/completions" + sizeof "" + sizeof "127.0.0.1",
        LINES = sizeof "x-a: " + sizeof "Accept:" + sizeof "Content-Type:" + sizeof "Expect:" +
                sizeof "Accept-Encoding: identity",
    };
    struct bench *bench = bench_new(NULL);
    size_t most = UPSTREAM_STRINGS_MAX - ITEMS - WAY - LINES;
    char *value = malloc(most + 1);
    assert_non_null(value);
    memset(value, 'x', most + 1);
    struct header header = {SPAN("x-a"), {value, most + 1}};
    assert_int_equal(start_with(bench, header, SPAN_ABSENT), E_NOMEM);
    header.value.n = most;
    assert_int_equal(start_with(bench, header, SPAN_ABSENT), OK);
    free(value);
    bench_free(bench);
}

TEST(upstream_refused, transfers_are_limited)
{
    struct bench *bench = bench_new_with(
        says_nothing, (struct upstream_params){.threads = 2, .transfers_max = 3});
    struct try tries[4];
    for (size_t i = 0; i < 3; i++) {
        try_init(&tries[i], bench);
        try_start(&tries[i], bench);
    }
    try_init(&tries[3], bench);
    OWNED(blob) body = blob_new(SPAN("{}"));
    tries[3].params.body = body;
    assert_int_equal(upstream_start(bench->upstream, &tries[3].params, &tries[3].transfer),
                     E_LIMIT);
    transfer_cancel(tries[0].transfer);
    try_start(&tries[3], bench);
    bench_free(bench);
}
