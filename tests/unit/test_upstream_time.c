#include "unit/upstream_fixture.h"

/* ---- timeouts */

static void sends_a_head_and_comments(struct peer *peer)
{
    if (!peer_read_request(peer) || !peer_send(peer, STREAM_HEAD))
        return;
    while (peer_send(peer, ": ping\n\n"))
        pause_ms(10);
}

TEST(upstream_time, comments_do_not_put_off_the_first_event)
{
    struct bench *bench = bench_new(sends_a_head_and_comments);
    struct try try;
    try_init(&try, bench);
    try.params.first_event_timeout_ms = 300;
    try_start(&try, bench);
    try_wait(&try, bench);
    assert_end(&try, ATTEMPT_FIRST_EVENT_TIMEOUT);
    assert_int_equal(try.outcome.status, 200);
    assert_int_equal(try.outcome.first_event_ms, -1);
    assert_true(try.outcome.total_ms >= 300);
    assert_true(try.outcome.request_sent);
    try_done(&try);
    bench_free(bench);
}

static void says_nothing(struct peer *peer)
{
    (void)peer_read_request(peer);
    peer_wait_left(peer);
}

TEST(upstream_time, silence_before_the_head_ends_with_the_first_event_timeout)
{
    struct bench *bench = bench_new(says_nothing);
    struct try try;
    try_init(&try, bench);
    try.params.first_event_timeout_ms = 100;
    try.params.idle_timeout_ms = 1; /* starts with the first event only */
    try_start(&try, bench);
    try_wait(&try, bench);
    assert_end(&try, ATTEMPT_FIRST_EVENT_TIMEOUT);
    assert_int_equal(try.outcome.status, 0);
    assert_true(try.outcome.request_sent);
    assert_true(try.outcome.total_ms >= 100);
    wait_for(&bench->provider->left, 1); /* the connection is closed */
    try_done(&try);
    bench_free(bench);
}

static void sends_an_event_and_comments_for_a_while(struct peer *peer)
{
    if (!peer_read_request(peer) || !peer_send(peer, STREAM_HEAD HELLO))
        return;
    for (int i = 0; i < 60 && peer_send(peer, ": ping\n\n"); i++)
        pause_ms(30);
    peer_wait_left(peer);
}

TEST(upstream_time, comments_put_off_the_idle_timeout)
{
    struct bench *bench = bench_new(sends_an_event_and_comments_for_a_while);
    struct try try;
    try_init(&try, bench);
    try.params.idle_timeout_ms = 1000; /* of the 1800 that comments come */
    try_start(&try, bench);
    try_wait(&try, bench);
    assert_end(&try, ATTEMPT_IDLE_TIMEOUT);
    assert_true(try.outcome.output_began);
    assert_int_equal(try.outputs, 1);
    assert_true(try.outcome.total_ms >= 1800);
    try_done(&try);
    bench_free(bench);
}

TEST(upstream_time, the_deadline_ends_everything)
{
    void (*scripts[])(struct peer *) = {says_nothing, sends_a_head_and_comments,
                                        sends_an_event_and_comments_for_a_while};
    for (size_t i = 0; i < COUNT_OF(scripts); i++) {
        struct bench *bench = bench_new(scripts[i]);
        struct try try;
        try_init(&try, bench);
        try.params.time_left_ms = 100;
        try_start(&try, bench);
        try_wait(&try, bench);
        assert_end(&try, ATTEMPT_DEADLINE);
        assert_true(try.outcome.total_ms >= 100);
        try_done(&try);
        bench_free(bench);
    }
}

TEST(upstream_time, without_time_left_nothing_is_sent)
{
    static const int64_t times[] = {0, -1, INT64_MIN / 2};
    struct bench *bench = bench_new(says_nothing);
    for (size_t i = 0; i < COUNT_OF(times); i++) {
        struct try try;
        try_init(&try, bench);
        try.params.time_left_ms = times[i];
        try_start(&try, bench);
        try_wait(&try, bench);
        assert_end(&try, ATTEMPT_DEADLINE);
        assert_false(try.outcome.request_sent);
        try_done(&try);
    }
    assert_int_equal(bench->provider->accepted, 0);
    bench_free(bench);
}

static void stops_without_a_terminal_event(struct peer *peer)
{
    if (peer_read_request(peer))
        (void)peer_send(peer, STREAM_HEAD HELLO STOP);
    peer_wait_left(peer);
}

static void resets_after_the_finish_reason(struct peer *peer)
{
    if (peer_read_request(peer))
        (void)peer_send(peer, STREAM_HEAD HELLO STOP);
    pause_ms(50);
    peer_reset(peer);
}

TEST(upstream_time, silence_or_a_reset_completes_what_an_end_would_complete)
{
    void (*scripts[])(struct peer *) = {stops_without_a_terminal_event,
                                        resets_after_the_finish_reason};
    for (size_t i = 0; i < COUNT_OF(scripts); i++) {
        struct bench *bench = bench_new_with(
            scripts[i],
            (struct upstream_params){.threads = 1, .transfers_max = 1, .silence_ms = 200});
        struct try try;
        try_run(&try, bench);
        assert_end(&try, ATTEMPT_ANSWERED);
        assert_body_has(&try, "\"content\":\"hello\"");
        try_done(&try);
        bench_free(bench);
    }
}

static void refuses_and_falls_silent(struct peer *peer)
{
    if (peer_read_request(peer))
        (void)peer_send(peer, "HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\n{\"error\":");
    peer_wait_left(peer);
}

TEST(upstream_time, an_error_body_that_stands_still_is_taken_as_it_is)
{
    struct bench *bench = bench_new_with(
        refuses_and_falls_silent,
        (struct upstream_params){.threads = 1, .transfers_max = 1, .silence_ms = 100});
    struct try try;
    try_run(&try, bench);
    assert_end(&try, ATTEMPT_REFUSED);
    assert_int_equal(try.outcome.status, 503);
    assert_span_equal(blob_span(try.outcome.body), "{\"error\":");
    try_done(&try);
    bench_free(bench);
}

/* ---- cancel */

static void assert_no_callback(struct try *try, struct bench *bench, unsigned outputs)
{
    pause_ms(100);
    (void)mailbox_run(&bench->loop);
    assert_int_equal(try->outputs, outputs);
    assert_int_equal(try->ends, 0);
}

TEST(upstream_time, a_transfer_can_be_cancelled_at_once)
{
    struct bench *bench = bench_new(says_nothing);
    struct try try;
    try_init(&try, bench);
    try_start(&try, bench);
    transfer_cancel(try.transfer);
    assert_no_callback(&try, bench, 0);
    bench_free(bench);
}

TEST(upstream_time, a_cancel_closes_the_connection_while_the_head_is_waited_for)
{
    struct bench *bench = bench_new(says_nothing);
    struct try try;
    try_init(&try, bench);
    try_start(&try, bench);
    wait_for(&bench->provider->requests, 1);
    transfer_cancel(try.transfer);
    wait_for(&bench->provider->left, 1);
    assert_no_callback(&try, bench, 0);
    bench_free(bench);
}

TEST(upstream_time, a_cancel_closes_the_connection_inside_the_stream)
{
    struct bench *bench = bench_new(sends_an_event_and_comments_for_a_while);
    struct try try;
    try_init(&try, bench);
    try.cancel_at_output = true;
    try_start(&try, bench);
    while (!try.outputs) {
        bench_wait(bench);
        (void)mailbox_run(&bench->loop);
    }
    wait_for(&bench->provider->left, 1);
    assert_no_callback(&try, bench, 1);
    bench_free(bench);
}

TEST(upstream_time, a_cancel_wins_over_an_end_that_is_on_its_way)
{
    struct bench *bench = bench_new(answers);
    for (unsigned i = 0; i < 20; i++) {
        struct try try;
        try_init(&try, bench);
        try_start(&try, bench);
        bench_wait(bench); /* the output note, and the end note in a moment */
        pause_ms(i);
        transfer_cancel(try.transfer);
        (void)mailbox_run(&bench->loop);
        assert_int_equal(try.outputs + try.ends, 0);
    }
    bench_free(bench);
}

TEST(upstream_time, those_who_wait_for_a_host_can_be_cancelled)
{
    struct bench *bench = bench_new(NULL);
    struct try tries[20];
    for (size_t i = 0; i < COUNT_OF(tries); i++) {
        try_init(&tries[i], bench);
        tries[i].params.url = SPAN("http://host.invalid/");
        try_start(&tries[i], bench);
    }
    for (size_t i = 0; i + 1 < COUNT_OF(tries); i++) /* the first of them, too */
        transfer_cancel(tries[i].transfer);
    try_wait(&tries[COUNT_OF(tries) - 1], bench);
    assert_end(&tries[COUNT_OF(tries) - 1], ATTEMPT_DNS_FAILED);
    try_done(&tries[COUNT_OF(tries) - 1]);
    bench_free(bench);
}

TEST(upstream_time, freeing_the_upstream_aborts_without_callbacks)
{
    struct bench *bench = bench_new_with(
        sends_a_head_and_comments, (struct upstream_params){.threads = 3, .transfers_max = 30});
    struct try tries[30];
    for (size_t i = 0; i < COUNT_OF(tries); i++) {
        try_init(&tries[i], bench);
        try_start(&tries[i], bench);
    }
    wait_for(&bench->provider->requests, COUNT_OF(tries) / 2);
    upstream_free(take(bench->upstream));
    assert_true(mailbox_run(&bench->loop) >= COUNT_OF(tries));
    for (size_t i = 0; i < COUNT_OF(tries); i++)
        assert_int_equal(tries[i].outputs + tries[i].ends, 0);
    bench_free(bench);
}

TEST(upstream_time, progress_can_be_watched)
{
    struct bench *bench = bench_new(sends_an_event_and_comments_for_a_while);
    struct try try;
    try_init(&try, bench);
    try_start(&try, bench);
    assert_int_equal(transfer_progress(try.transfer).events, 0);
    while (!try.outputs) {
        bench_wait(bench);
        (void)mailbox_run(&bench->loop);
    }
    struct assemble_progress progress = transfer_progress(try.transfer);
    assert_int_equal(progress.events, 1);
    assert_int_equal(progress.output_bytes, 5);
    assert_true(progress.output_began);
    bench_free(bench);
}
