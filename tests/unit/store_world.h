/* A store in a folder of its own, driven one operation at a time, for the tests of
 * store_sqlite.  Times are virtual milliseconds; keys, flights and fingerprints are one
 * repeated byte. */
#ifndef STORE_WORLD_H
#define STORE_WORLD_H

#include "test.h"

#include "io/store_sqlite.h"

#include <poll.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { TTL_MS = 86400000, ERROR_TTL_MS = 300000, PAID_CALLS_MAX = 4, NOW_MS = 1000000 };
enum { PATIENCE_MS = 120000 }; /* only a hang takes as long */

struct world {
    char directory[64];
    char path[96];
    struct mailbox loop;
    struct store *store;
    struct store_sqlite_params params;
    struct buf problem;
};

/* What a callback reported, with copies of what lives during the callback only. */
struct reply {
    int came;
    enum rc rc;
    enum claim_result result;
    unsigned paid_calls;
    struct key_record record;
    struct blob *body;
    char content_type[64], request_id[64], error_code[64], members[64];
};

static inline enum rc world_open(struct world *w)
{
    buf_clear(&w->problem);
    return store_sqlite_open(&w->params, &w->problem, &w->store);
}

static inline void world_make(struct world *w)
{
    *w = (struct world){.directory = "/tmp/unstream-store-XXXXXX"};
    assert_non_null(mkdtemp(w->directory));
    (void)snprintf(w->path, sizeof w->path, "%s/store.db", w->directory);
    buf_init(&w->problem, 4096);
    assert_int_equal(mailbox_init(&w->loop), OK);
    w->params = (struct store_sqlite_params){
        .path = span_of(w->path),
        .loop = &w->loop,
        .released_ttl_ms = TTL_MS,
        .now_ms = NOW_MS,
    };
}

static inline void world_start(struct world *w)
{
    world_make(w);
    if (world_open(w) != OK)
        fail_msg("%s", buf_text(&w->problem));
}

static inline void world_close(struct world *w)
{
    store_free(w->store);
    w->store = NULL;
    (void)mailbox_run(&w->loop);
}

static inline void world_restart(struct world *w)
{
    world_close(w);
    if (world_open(w) != OK)
        fail_msg("%s", buf_text(&w->problem));
}

static inline void world_end(struct world *w)
{
    char command[128];
    world_close(w);
    mailbox_done(&w->loop);
    buf_done(&w->problem);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", w->directory);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c): a test's own folder */
}
/* Without a store yet, and with one. */
#define EMPTY_WORLD(name)                                                                      \
    __attribute__((cleanup(world_end))) struct world name;                                     \
    world_make(&(name))
#define WORLD(name)                                                                            \
    __attribute__((cleanup(world_end))) struct world name;                                     \
    world_start(&(name))

static inline void reply_done(struct reply *reply)
{
    blob_free(reply->body);
}
#define REPLY __attribute__((cleanup(reply_done))) struct reply

/* Until `came` callbacks have reported to `reply`. */
static inline void world_wait(struct world *w, const struct reply *reply, int came)
{
    while (reply->came < came) {
        struct pollfd poll_fd = {.fd = w->loop.fd, .events = POLLIN};
        if (poll(&poll_fd, 1, PATIENCE_MS) == 0)
            fail_msg("no callback came");
        (void)mailbox_run(&w->loop);
    }
}

static inline void copy_text(char to[64], struct span text)
{
    (void)snprintf(to, 64, "%.*s", SPAN_ARG(text));
}

static inline void keep_record(struct reply *reply, const struct key_record *record)
{
    reply->record = *record;
    blob_free(reply->body);
    reply->body = blob_ref(record->answer.body);
    copy_text(reply->content_type, record->answer.content_type);
    copy_text(reply->request_id, record->answer.request_id);
    copy_text(reply->error_code, record->answer.error_code);
    copy_text(reply->members, record->members);
}

static inline void on_lookup(void *context, enum rc rc, const struct key_record *record)
{
    struct reply *reply = context;
    reply->came++;
    reply->rc = rc;
    keep_record(reply, record);
}

static inline void on_claim(void *context, enum rc rc, enum claim_result result,
                            const struct key_record *record)
{
    struct reply *reply = context;
    reply->came++;
    reply->rc = rc;
    reply->result = result;
    keep_record(reply, record);
}

static inline void on_count(void *context, enum rc rc, unsigned paid_calls)
{
    struct reply *reply = context;
    reply->came++;
    reply->rc = rc;
    reply->paid_calls = paid_calls;
}

static inline void on_done(void *context, enum rc rc)
{
    struct reply *reply = context;
    reply->came++;
    reply->rc = rc;
}

static inline struct digest digest_of(int byte)
{
    struct digest digest;
    memset(&digest, byte, sizeof digest);
    return digest;
}

static inline struct flight_id flight_of(int byte)
{
    struct flight_id flight;
    memset(&flight, byte, sizeof flight);
    return flight;
}

static inline struct store_claim claim_of(int key, int flight, int64_t now_ms)
{
    return (struct store_claim){
        .key = digest_of(key),
        .scope = digest_of('s'),
        .fingerprint = digest_of('p'),
        .flight = flight_of(flight),
        .route = SPAN("/v1/messages"),
        .now_ms = now_ms,
        .paid_calls_max = PAID_CALLS_MAX,
    };
}

static inline struct reply claim_with(struct world *w, const struct store_claim *claim)
{
    struct reply reply = {0};
    assert_int_equal(store_claim(w->store, claim, on_claim, &reply), OK);
    assert_int_equal(reply.came, 0);
    world_wait(w, &reply, 1);
    return reply;
}

static inline struct reply claim(struct world *w, int key, int flight, int64_t now_ms)
{
    struct store_claim params = claim_of(key, flight, now_ms);
    return claim_with(w, &params);
}

static inline struct reply lookup(struct world *w, int key, int64_t now_ms)
{
    struct reply reply = {0};
    struct digest digest = digest_of(key);
    assert_int_equal(store_lookup(w->store, &digest, now_ms, on_lookup, &reply), OK);
    assert_int_equal(reply.came, 0);
    world_wait(w, &reply, 1);
    return reply;
}

static inline struct reply count_call(struct world *w, int key, int flight)
{
    struct reply reply = {0};
    struct digest digest = digest_of(key);
    assert_int_equal(
        store_count(w->store, &digest, flight_of(flight), PAID_CALLS_MAX, on_count, &reply),
        OK);
    assert_int_equal(reply.came, 0);
    world_wait(w, &reply, 1);
    return reply;
}

/* The caller frees the body. */
static inline struct store_completion completion_of(int key, int flight, struct span body,
                                                    int64_t now_ms)
{
    return (struct store_completion){
        .key = digest_of(key),
        .flight = flight_of(flight),
        .answer = {.status = 200,
                   .body = blob_new(body),
                   .content_type = SPAN("application/json"),
                   .request_id = SPAN("req_1")},
        .now_ms = now_ms,
        .expires_ms = now_ms + TTL_MS,
    };
}

/* Frees the body at once: the store has its own reference. */
static inline enum rc complete_with(struct world *w, const struct store_completion *completion)
{
    struct reply reply = {0};
    assert_int_equal(store_complete(w->store, completion, on_done, &reply), OK);
    blob_free(completion->answer.body);
    assert_int_equal(reply.came, 0);
    world_wait(w, &reply, 1);
    return reply.rc;
}

static inline enum rc complete(struct world *w, int key, int flight, struct span body,
                               int64_t now_ms)
{
    struct store_completion completion = completion_of(key, flight, body, now_ms);
    return complete_with(w, &completion);
}

/* A paid failure, kept for ERROR_TTL_MS. */
static inline enum rc fail_key(struct world *w, int key, int flight, int64_t now_ms)
{
    struct store_completion completion =
        completion_of(key, flight, SPAN("{\"error\":{}}"), now_ms);
    completion.failed = true;
    completion.answer.status = 502;
    completion.answer.error_code = SPAN("answer_too_large");
    completion.expires_ms = now_ms + ERROR_TTL_MS;
    return complete_with(w, &completion);
}

static inline enum rc release(struct world *w, int key, int flight, bool give_back,
                              int64_t now_ms)
{
    struct store_release params = {
        .key = digest_of(key),
        .flight = flight_of(flight),
        .give_back = give_back,
        .outcome = {.status = 429, .error_code = SPAN("rate_limited")},
        .now_ms = now_ms,
    };
    struct reply reply = {0};
    assert_int_equal(store_release(w->store, &params, on_done, &reply), OK);
    assert_int_equal(reply.came, 0);
    world_wait(w, &reply, 1);
    return reply.rc;
}

/* What an operator's sqlite3 would say: the first number of the first row; -1: no row. */
static inline int64_t ask_file(struct world *w, const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_open(w->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_busy_timeout(db, PATIENCE_MS), SQLITE_OK);
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    int code = sqlite3_step(statement);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    int64_t number = code == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : -1;
    assert_int_equal(sqlite3_finalize(statement), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return number;
}

/* Whether its first MiB has the text. */
static inline bool file_holds(const char *path, const char *text)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    static char bytes[1 << 20];
    size_t n = fread(bytes, 1, sizeof bytes, file);
    assert_int_equal(fclose(file), 0);
    return memmem(bytes, n, text, strlen(text)) != NULL;
}

/* Takes back what the migrations after the third one did, to a closed file. */
static inline void make_schema_3(struct world *w)
{
    (void)ask_file(w, "DROP TRIGGER flights_ended");
    (void)ask_file(w, "DROP TRIGGER flights_unpublished");
    (void)ask_file(w, "DROP TABLE tokens");
    (void)ask_file(w, "DROP TABLE requests");
    (void)ask_file(w, "CREATE TRIGGER keys_reborn AFTER UPDATE OF created_ms ON keys "
                      "WHEN OLD.created_ms <> NEW.created_ms "
                      "BEGIN DELETE FROM flights WHERE flight = OLD.flight; END");
    (void)ask_file(w, "PRAGMA user_version = 3");
}

/* And of those after the first one. */
static inline void make_schema_1(struct world *w)
{
    make_schema_3(w);
    (void)ask_file(w, "ALTER TABLE keys DROP COLUMN members");
    (void)ask_file(w, "DROP INDEX flights_by_key");
    (void)ask_file(w, "PRAGMA user_version = 1");
}

/* Waits until the file says so; the store works on it meanwhile. */
static inline void await_file(struct world *w, const char *sql, int64_t expected)
{
    for (int waited_ms = 0; ask_file(w, sql) != expected; waited_ms += 5) {
        if (waited_ms > PATIENCE_MS)
            fail_msg("%s: never became %lld", sql, (long long)expected);
        assert_int_equal(usleep(5000), 0);
    }
}

#endif
