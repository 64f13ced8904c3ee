/* Publishing, results and accepted requests, one operation at a time, see store_world.h.
 * Tokens are one repeated byte. */
#ifndef STORE_PUBLICATIONS_H
#define STORE_PUBLICATIONS_H

#include "store_world.h"

enum { DEADLINE_MS = NOW_MS + 590000 };

struct result_reply {
    int came;
    enum rc rc;
    struct flight_record record;
    struct blob *body;
    char content_type[64], request_id[64], error_code[64], route[64];
};

struct accepted_reply {
    int came;
    enum rc rc;
    struct accepted_record record;
    struct blob *body;
    char query[64], client[64], route[64];
    char headers[256]; /* "name: value" lines */
};

static inline void result_reply_done(struct result_reply *reply)
{
    blob_free(reply->body);
}
#define RESULT __attribute__((cleanup(result_reply_done))) struct result_reply

static inline void accepted_reply_done(struct accepted_reply *reply)
{
    blob_free(reply->body);
}
#define ACCEPTED __attribute__((cleanup(accepted_reply_done))) struct accepted_reply

/* Until *came is 1. */
static inline void world_wait_for(struct world *w, const int *came)
{
    while (*came == 0) {
        struct pollfd poll_fd = {.fd = w->loop.fd, .events = POLLIN};
        if (poll(&poll_fd, 1, PATIENCE_MS) == 0)
            fail_msg("no callback came");
        (void)mailbox_run(&w->loop);
    }
}

static inline void on_result(void *context, enum rc rc, const struct flight_record *record)
{
    struct result_reply *reply = context;
    reply->came++;
    reply->rc = rc;
    reply->record = *record;
    reply->body = blob_ref(record->answer.body);
    copy_text(reply->content_type, record->answer.content_type);
    copy_text(reply->request_id, record->answer.request_id);
    copy_text(reply->error_code, record->answer.error_code);
    copy_text(reply->route, record->route);
}

static inline void on_accepted(void *context, enum rc rc, const struct accepted_record *record)
{
    struct accepted_reply *reply = context;
    const struct headers *headers = &record->request.headers;
    reply->came++;
    reply->rc = rc;
    reply->record = *record;
    reply->body = blob_ref(record->request.body);
    copy_text(reply->query, record->request.query);
    copy_text(reply->client, record->request.client);
    copy_text(reply->route, record->route);
    size_t n = 0;
    for (size_t i = 0; i < headers->count && n < sizeof reply->headers; i++)
        n += (size_t)snprintf(reply->headers + n, sizeof reply->headers - n, "%.*s: %.*s\n",
                              SPAN_ARG(headers->items[i].name),
                              SPAN_ARG(headers->items[i].value));
}

static inline struct result_reply result_with(struct world *w,
                                              const struct store_result_query *query)
{
    struct result_reply reply = {0};
    assert_int_equal(store_result(w->store, query, on_result, &reply), OK);
    assert_int_equal(reply.came, 0);
    world_wait_for(w, &reply.came);
    return reply;
}

static inline struct result_reply result_of_flight(struct world *w, int flight, int64_t now_ms)
{
    struct store_result_query query = {.flight = flight_of(flight), .now_ms = now_ms};
    return result_with(w, &query);
}

static inline struct result_reply result_of_token(struct world *w, int token, int64_t now_ms)
{
    struct store_result_query query = {
        .by_token = true, .token = digest_of(token), .now_ms = now_ms};
    return result_with(w, &query);
}

/* `after` -1: the first one. */
static inline struct accepted_reply accepted_after(struct world *w, int after)
{
    struct accepted_reply reply = {0};
    struct flight_id flight = flight_of(after);
    assert_int_equal(store_accepted(w->store, after < 0 ? NULL : &flight, on_accepted, &reply),
                     OK);
    assert_int_equal(reply.came, 0);
    world_wait_for(w, &reply.came);
    return reply;
}

static const struct header accepted_headers[] = {{SPAN("anthropic-version"), SPAN("2023")},
                                                 {SPAN("traceparent"), SPAN("")}};

/* The caller frees the body. */
static inline struct store_request request_of(struct span body)
{
    return (struct store_request){.query = SPAN("beta=true"),
                                  .headers = {accepted_headers, COUNT_OF(accepted_headers)},
                                  .body = blob_new(body),
                                  .client = SPAN("batch"),
                                  .deadline_ms = DEADLINE_MS};
}

static inline enum rc publish_with(struct world *w, int flight,
                                   const struct store_publication *publication)
{
    struct reply reply = {0};
    assert_int_equal(store_publish(w->store, flight_of(flight), publication, on_done, &reply),
                     OK);
    assert_int_equal(reply.came, 0);
    world_wait(w, &reply, 1);
    return reply.rc;
}

static inline enum rc publish_token(struct world *w, int flight, int token)
{
    struct digest digest = digest_of(token);
    struct store_publication publication = {.token = &digest};
    return publish_with(w, flight, &publication);
}

/* Token and request. */
static inline enum rc accept_flight(struct world *w, int flight, int token, struct span body)
{
    struct digest digest = digest_of(token);
    struct store_request request = request_of(body);
    struct store_publication publication = {.token = &digest, .request = &request};
    enum rc rc = publish_with(w, flight, &publication);
    blob_free(request.body);
    return rc;
}

/* As `claim`, with token and request of an accepted one. */
static inline struct reply claim_accepted(struct world *w, int key, int flight, int token,
                                          int64_t now_ms)
{
    struct digest digest = digest_of(token);
    struct store_request request = request_of(SPAN("{\"prompt\":\"hi\"}"));
    struct store_claim params = claim_of(key, flight, now_ms);
    params.publication = (struct store_publication){.token = &digest, .request = &request};
    struct reply reply = claim_with(w, &params);
    blob_free(request.body);
    return reply;
}

#endif
