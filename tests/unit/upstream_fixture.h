/* For the tests of the upstream adapter: a provider on loopback that speaks raw bytes by a
 * script, a thread per connection, and a loop that waits for the end of transfers. */
#ifndef UPSTREAM_FIXTURE_H
#define UPSTREAM_FIXTURE_H

#include "base/buf.h"
#include "io/upstream.h"
#include "test.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PEERS_MAX = 512, REQUEST_BYTES_MAX = 16 << 20, PATIENCE_MS = 60000 };

struct fake_provider;

/* One connection, seen from the provider. */
struct peer {
    struct fake_provider *provider;
    int fd; /* -1: closed */
    pthread_t thread;
    struct buf request; /* the last one, head and body */
};

struct fake_provider {
    int fd;
    unsigned port;
    void (*script)(struct peer *peer);
    pthread_t thread;
    pthread_mutex_t mutex; /* of the peers' file descriptors and requests */
    struct peer peers[PEERS_MAX];
    _Atomic unsigned accepted, requests, left; /* left: the other side closed */
    char request[65536];                       /* the last one, cut */
};

static inline void peer_close(struct peer *peer)
{
    (void)pthread_mutex_lock(&peer->provider->mutex);
    if (peer->fd >= 0)
        (void)close(peer->fd);
    peer->fd = -1;
    (void)pthread_mutex_unlock(&peer->provider->mutex);
}

/* With a RST instead of a FIN. */
static inline void peer_reset(struct peer *peer)
{
    struct linger linger = {.l_onoff = 1};
    (void)setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    peer_close(peer);
}

static inline bool peer_send_bytes(struct peer *peer, const char *bytes, size_t n)
{
    while (n) {
        ssize_t sent = send(peer->fd, bytes, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        bytes += sent;
        n -= (size_t)sent;
    }
    return true;
}

static inline bool peer_send(struct peer *peer, const char *text)
{
    return peer_send_bytes(peer, text, strlen(text));
}

static inline void pause_ms(unsigned ms)
{
    (void)usleep(ms * 1000);
}

/* More of the request; false: the other side is gone. */
static inline bool peer_read(struct peer *peer)
{
    char *room = buf_reserve(&peer->request, 65536);
    ssize_t got = room ? recv(peer->fd, room, 65536, 0) : -1;
    if (got <= 0)
        return false;
    peer->request.n += (size_t)got;
    return true;
}

/* A whole request, remembered as provider->request; false: none came. */
static inline bool peer_read_request(struct peer *peer)
{
    buf_clear(&peer->request);
    const char *end;
    while (!(end = strstr(buf_text(&peer->request), "\r\n\r\n")))
        if (!peer_read(peer))
            return false;
    size_t head = (size_t)(end - peer->request.p) + 4;
    const char *length = strcasestr(peer->request.p, "\r\ncontent-length:");
    size_t body = length ? strtoul(length + 17, NULL, 10) : 0;
    while (peer->request.n < head + body)
        if (!peer_read(peer))
            return false;
    (void)pthread_mutex_lock(&peer->provider->mutex);
    (void)snprintf(peer->provider->request, sizeof peer->provider->request, "%s",
                   buf_text(&peer->request));
    (void)pthread_mutex_unlock(&peer->provider->mutex);
    (void)atomic_fetch_add(&peer->provider->requests, 1);
    return true;
}

/* Until the other side closes. */
static inline void peer_wait_left(struct peer *peer)
{
    char byte;
    while (recv(peer->fd, &byte, 1, 0) > 0)
        ;
    (void)atomic_fetch_add(&peer->provider->left, 1);
}

static inline void *peer_run(void *user)
{
    struct peer *peer = user;
    peer->provider->script(peer);
    peer_close(peer);
    return NULL;
}

static inline void *provider_run(void *user)
{
    struct fake_provider *provider = user;
    for (;;) {
        int fd = accept(provider->fd, NULL, NULL);
        if (fd < 0)
            return NULL;
        int one = 1;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        unsigned index = atomic_load(&provider->accepted);
        if (index == PEERS_MAX)
            abort();
        struct peer *peer = &provider->peers[index];
        (void)pthread_mutex_lock(&provider->mutex);
        *peer = (struct peer){.provider = provider, .fd = fd};
        (void)pthread_mutex_unlock(&provider->mutex);
        buf_init(&peer->request, REQUEST_BYTES_MAX);
        if (pthread_create(&peer->thread, NULL, peer_run, peer) != 0)
            abort();
        atomic_store(&provider->accepted, index + 1);
    }
}

static inline struct fake_provider *provider_new(void (*script)(struct peer *peer))
{
    struct fake_provider *provider = calloc(1, sizeof *provider);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof address;
    provider->script = script;
    (void)pthread_mutex_init(&provider->mutex, NULL);
    provider->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(provider->fd, (struct sockaddr *)&address, n), 0);
    assert_int_equal(listen(provider->fd, PEERS_MAX), 0);
    assert_int_equal(getsockname(provider->fd, (struct sockaddr *)&address, &n), 0);
    provider->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&provider->thread, NULL, provider_run, provider), 0);
    return provider;
}

static inline void provider_free(struct fake_provider *provider)
{
    (void)shutdown(provider->fd, SHUT_RDWR);
    (void)pthread_join(provider->thread, NULL);
    (void)close(provider->fd);
    (void)pthread_mutex_lock(&provider->mutex);
    for (unsigned i = 0; i < provider->accepted; i++)
        if (provider->peers[i].fd >= 0)
            (void)shutdown(provider->peers[i].fd, SHUT_RDWR);
    (void)pthread_mutex_unlock(&provider->mutex);
    for (unsigned i = 0; i < provider->accepted; i++) {
        (void)pthread_join(provider->peers[i].thread, NULL);
        buf_done(&provider->peers[i].request);
    }
    (void)pthread_mutex_destroy(&provider->mutex);
    free(provider);
}

/* ---- the loop's side */

struct bench {
    struct mailbox loop;
    struct upstream *upstream;
    struct fake_provider *provider; /* NULL: none */
};

/* A transfer and what became of it. */
struct
try {
    struct transfer_params params;
    char url[128];
    struct transfer *transfer;
    unsigned outputs, ends;
    bool cancel_at_output;
    struct attempt_outcome outcome;
};

static inline struct bench *bench_new_with(void (*script)(struct peer *peer),
                                           struct upstream_params params)
{
    struct bench *bench = calloc(1, sizeof *bench);
    assert_int_equal(mailbox_init(&bench->loop), OK);
    params.loop = &bench->loop;
    assert_int_equal(upstream_new(&params, &bench->upstream), OK);
    if (script)
        bench->provider = provider_new(script);
    return bench;
}

static inline struct bench *bench_new(void (*script)(struct peer *peer))
{
    return bench_new_with(script, (struct upstream_params){.threads = 1, .transfers_max = 400});
}

static inline void bench_free(struct bench *bench)
{
    upstream_free(bench->upstream);
    (void)mailbox_run(&bench->loop);
    mailbox_done(&bench->loop);
    if (bench->provider)
        provider_free(bench->provider);
    free(bench);
}

static inline void try_on_output(void *context)
{
    struct try *try = context;
    assert_int_equal(try->ends, 0);
    try->outputs++;
    if (try->cancel_at_output)
        transfer_cancel(try->transfer);
}

static inline void try_on_end(void *context, struct attempt_outcome *outcome)
{
    struct try *try = context;
    try->ends++;
    try->outcome = *outcome;
}

/* Generous times, so that only what a test shortens can come. */
static inline void try_init(struct try *try, struct bench *bench)
{
    *try = (struct try){0};
    (void)snprintf(try->url, sizeof try->url, "http://127.0.0.1:%u/v1/chat/completions",
                   bench->provider ? bench->provider->port : 1);
    try->params = (struct transfer_params){
        .url = span_of(try->url),
        .proxy = SPAN(""),
        .connect_timeout_ms = PATIENCE_MS,
        .first_event_timeout_ms = PATIENCE_MS,
        .idle_timeout_ms = PATIENCE_MS,
        .time_left_ms = PATIENCE_MS,
        .assemble = {.api = API_CHAT,
                     .choices = 1,
                     .event_bytes_max = 1 << 20,
                     .answer_bytes_max = 1 << 20},
        .on_output = try_on_output,
        .on_end = try_on_end,
        .context = try,
    };
}

static inline void try_start(struct try *try, struct bench *bench)
{
    OWNED(blob) body = NULL;
    if (!try->params.body) {
        body = blob_new(SPAN("{\"stream\":true}"));
        try->params.body = body;
    }
    assert_int_equal(upstream_start(bench->upstream, &try->params, &try->transfer), OK);
    try->params.body = NULL;
}

/* Run the loop until something was posted; a test that gets nothing is a failed one. */
static inline void bench_wait(struct bench *bench)
{
    struct pollfd ready = {.fd = bench->loop.fd, .events = POLLIN};
    assert_int_equal(poll(&ready, 1, PATIENCE_MS), 1);
}

static inline void try_wait(struct try *try, struct bench *bench)
{
    while (!try->ends) {
        bench_wait(bench);
        (void)mailbox_run(&bench->loop);
    }
}

static inline void try_done(struct try *try)
{
    attempt_outcome_done(&try->outcome);
}

/* Wait for what the provider's threads count. */
static inline void wait_for(_Atomic unsigned *count, unsigned value)
{
    for (unsigned waited = 0; atomic_load(count) < value; waited++) {
        assert_true(waited < PATIENCE_MS);
        pause_ms(1);
    }
}

/* The usual try: start, wait for the end. */
static inline void try_run(struct try *try, struct bench *bench)
{
    try_init(try, bench);
    try_start(try, bench);
    try_wait(try, bench);
}

static inline struct headers outcome_headers(const struct try *try)
{
    return (struct headers){try->outcome.headers, try->outcome.header_count};
}

static inline void assert_end(const struct try *try, enum attempt_end end)
{
    assert_string_equal(attempt_end_name(try->outcome.end), attempt_end_name(end));
}

/* The outcome says why there was no connection, or why it broke. */
static inline void assert_cause(const struct try *try, const char *cause)
{
    assert_non_null(try->outcome.cause);
    assert_string_equal(try->outcome.cause, cause);
}

static inline void assert_body_has(const struct try *try, const char *text)
{
    struct span body = blob_span(try->outcome.body);
    assert_true(body.n > 0);
    assert_non_null(memmem(body.p, body.n, text, strlen(text)));
}

/* ---- an answer of the chat API, in pieces */

#define EVENT(delta, finish)                                                                   \
    "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\"," \
    "\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":" finish "}]}\n\n"
#define HELLO EVENT("{\"role\":\"assistant\",\"content\":\"hello\"}", "null")
#define STOP EVENT("{}", "\"stop\"")
#define DONE "data: [DONE]\n\n"
/* The body ends with the connection. */
#define STREAM_HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"

/* With a Content-Length, so that the connection can be used again. */
static inline void peer_answer(struct peer *peer, const char *body)
{
    char head[128];
    (void)snprintf(
        head, sizeof head,
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %zu\r\n\r\n",
        strlen(body));
    (void)peer_send(peer, head);
    (void)peer_send(peer, body);
}

static inline void answers(struct peer *peer)
{
    while (peer_read_request(peer))
        peer_answer(peer, HELLO STOP DONE);
}

/* A bench, a transfer, its end. */
static inline void assert_script_ends(void (*script)(struct peer *peer), enum attempt_end end)
{
    struct bench *bench = bench_new(script);
    struct try try;
    try_run(&try, bench);
    assert_end(&try, end);
    assert_true(try.outcome.request_sent);
    assert_int_equal(bench->provider->requests, 1);
    try_done(&try);
    bench_free(bench);
}

#endif
