/* The store of keys and answers: what makes a retry free, across crashes.
 *
 * An asynchronous interface with one implementation per database (store_sqlite.h now; one for
 * several replicas may follow): every operation is started here and answered by a callback in
 * the loop thread, never from inside the call.  What a callback reports as OK is durable.
 * Callers know nothing of SQL, files or threads.  Thread: the loop.
 *
 * A key lives as core/key.h says, and expired ones are absent; a flight is a row beside it.  `now`
 * arguments are wall-clock milliseconds since 1970, as stored times must survive restarts. */
#ifndef IO_STORE_H
#define IO_STORE_H

#include "base/blob.h"
#include "core/http_message.h"
#include "core/key.h"

enum { STORE_SALT_BYTES = 32 };

/* The final status and body of a flight, with what a replay must repeat. */
struct answer {
    int status;
    struct blob *body;        /* referenced, not owned, unless said otherwise */
    struct span content_type; /* "application/json", or what the provider's error body has */
    struct span request_id;   /* the provider's, absent: none */
    struct span error_code;   /* our code word when it is an error of ours; absent: none */
};

struct key_record {
    enum key_state state; /* at the time of the question */
    struct digest fingerprint;
    struct flight_id flight; /* of the last claim */
    unsigned paid_calls;     /* counted so far in the key's life */
    int64_t created_ms;      /* first seen */
    int64_t ended_ms;
    struct span members;  /* as the claim that holds the key said; absent: it did not */
    struct answer answer; /* DONE and FAILED; valid during the callback, body owned by the
                           * record: take a reference with blob_ref.  RELEASED: what became of
                           * the last flight, without body (a crash: "interrupted") */
    bool corrupt;         /* the stored body does not match its checksum: no body */
};

/* A request that was accepted to be answered later (202): what drives it again after a crash. */
struct store_request {
    struct span query;      /* of the upstream URL; absent: none */
    struct headers headers; /* passed on from the client; never a credential */
    struct blob *body;      /* before the splice; referenced */
    struct span client;     /* configured name; absent: none */
    int64_t deadline_ms;    /* wall clock: no call starts after it */
};

/* What makes a running flight's outcome known beyond its waiters.  A flight may have several
 * tokens, as a process that drives it again cannot know those of the one before; each is good as
 * long as the flight's row.  The request, of which a flight keeps the first, is deleted when the
 * flight ends. */
struct store_publication {
    const struct digest *token;          /* SHA-256 of one more result token; NULL: none */
    const struct store_request *request; /* NULL: none */
};

struct store_claim {
    struct digest key; /* SHA-256 over scope and key, see core/scope.h */
    struct digest scope;
    struct digest fingerprint;
    struct flight_id flight;
    struct span members; /* of the request, opaque (core/members.h), at most
                          * MEMBERS_BYTES_MAX; absent: none are kept */
    struct span route;   /* for operators and result URLs */
    int64_t now_ms;
    unsigned paid_calls_max;
    unsigned paid_calls; /* counted by this claim: those made without a row; 0 means 1 */
    struct store_publication publication; /* of CLAIM_OK only */
};

enum claim_result {
    CLAIM_OK,        /* RUNNING, this flight owns it, its first call is counted */
    CLAIM_EXISTS,    /* the key is RUNNING, DONE or FAILED, or RELEASED with another fingerprint
                      * (I5): see the record, nothing changed */
    CLAIM_EXHAUSTED, /* RELEASED, but all paid calls are used up: nothing changed */
};

/* rc is OK, or why nothing was (durably) done: E_IO (store trouble), E_LIMIT (full disk,
 * maximum size; claims: little space left), E_NOMEM, E_CLOSED.  A claim with a flight id, or a
 * token, that another flight has: E_CONFLICT.
 * Spans and records are valid during the callback only. */
typedef void store_lookup_cb(void *context, enum rc rc, const struct key_record *record);
typedef void store_claim_cb(void *context, enum rc rc, enum claim_result result,
                            const struct key_record *record);
/* E_CONFLICT: the flight does not own the key any more (I6); nothing changed. */
typedef void store_done_cb(void *context, enum rc rc);
/* paid_calls: the key's count now; E_LIMIT: paid_calls_max reached, nothing changed (a full
 * disk is E_IO here). */
typedef void store_count_cb(void *context, enum rc rc, unsigned paid_calls);

struct store_completion {
    struct digest key;
    struct flight_id flight;
    bool failed;          /* a paid failure: FAILED, kept error_ttl; else DONE, kept ttl */
    struct answer answer; /* copied or referenced; the caller keeps its own reference */
    int64_t now_ms;
    int64_t expires_ms;
    int64_t
        keep_until_ms; /* the flight's outcome is kept for result URLs at least until then */
};

struct store_release {
    struct digest key;
    struct flight_id flight;
    bool give_back;        /* the last counted call cannot have been billed */
    struct answer outcome; /* what became of the flight, for its row; body may be NULL */
    int64_t now_ms;
    int64_t keep_until_ms; /* as for a completion */
};

/* ---- result URLs */

#define FLIGHT_ROW_TABLE(X)                                                                    \
    X(FLIGHT_ROW_ABSENT, "absent")                                                             \
    X(FLIGHT_ROW_RUNNING, "running")                                                           \
    X(FLIGHT_ROW_DONE, "done")                                                                 \
    X(FLIGHT_ROW_FAILED, "failed")                                                             \
    X(FLIGHT_ROW_RELEASED, "released")                                                         \
    X(FLIGHT_ROW_INTERRUPTED, "interrupted")

enum flight_row {
#define X(name, word) name,
    FLIGHT_ROW_TABLE(X)
#undef X
};

const char *flight_row_name(enum flight_row state);

/* A flight's row, which outlives what becomes of its key. */
struct flight_record {
    enum flight_row state;
    struct flight_id flight;
    struct digest key, scope;
    struct span route;
    int64_t started_ms, ended_ms; /* ended_ms 0: running */
    struct answer answer;         /* ended; as in a key_record.  body NULL: none was kept */
    bool corrupt;                 /* the stored body does not match its checksum: no body */
};

/* By flight id, or by the digest of a result token. */
struct store_result_query {
    bool by_token;
    struct flight_id flight;
    struct digest token;
    int64_t now_ms;
};

/* OK also for FLIGHT_ROW_ABSENT.  The record is valid during the callback only. */
typedef void store_result_cb(void *context, enum rc rc, const struct flight_record *record);

/* An accepted request that runs in the store. */
struct accepted_record {
    struct flight_id flight;
    struct digest key, scope, fingerprint;
    struct span route;
    unsigned paid_calls;
    int64_t started_ms;
    struct store_request request;
    bool corrupt; /* the stored request does not match its checksum: nothing but its deadline */
};

/* E_NOT_FOUND: there are no more.  The record is valid during the callback only. */
typedef void store_accepted_cb(void *context, enum rc rc, const struct accepted_record *record);

/* ---- what operators ask for: a task looks at STORE_TASK_KEYS_MAX keys at most, in the order of
 * their digests, and is carried on with `after` until nothing is left. */

#define STORE_TASK_TABLE(X)                                                                    \
    X(STORE_TASK_LIST, "list") /* tell what is known, without bodies */                        \
    X(STORE_TASK_RELEASE,                                                                      \
      "release")                 /* RUNNING and FAILED become RELEASED, their paid calls   \
                                      * stay.  A flight that still runs goes on, but loses its \
                                      * key: its answer is not stored */   \
    X(STORE_TASK_PURGE, "purge") /* forget keys and answers; RUNNING ones stay.  With the  \
                                      * last step nothing of them is left in the files */

enum store_task_kind {
#define X(name, word) name,
    STORE_TASK_TABLE(X)
#undef X
};

enum { STORE_TASK_KEYS_MAX = 256 };

/* Which keys: those that meet all conditions. */
struct store_task {
    enum store_task_kind kind;
    bool by_key, by_scope, goes_on;
    struct digest key, scope;
    struct digest after;       /* goes_on: the `next` of the step before */
    int64_t created_before_ms; /* INT64_MAX: of any age */
    int64_t now_ms;
};

struct key_summary {
    struct digest key, scope;
    struct flight_id flight; /* the last one; its scope, route and status */
    enum key_state state;
    unsigned paid_calls;
    int64_t created_ms, ended_ms; /* ended_ms 0: running */
    struct span route;
    int status;          /* 0: none yet */
    uint64_t body_bytes; /* of the stored answer */
};

struct store_task_result {
    size_t count;                   /* listed, released or purged keys */
    const struct key_summary *keys; /* LIST */
    bool more;                      /* not all keys were looked at: go on after `next` */
    struct digest next;
};

/* The result is valid during the callback only. */
typedef void store_task_cb(void *context, enum rc rc, const struct store_task_result *result);

/* Commit times are told in buckets up to these bounds, and one more for longer ones. */
enum { STORE_COMMIT_BOUNDS = 13 };
extern const unsigned store_commit_bounds_us[STORE_COMMIT_BOUNDS];

/* Numbers for metrics and health, as of a moment ago.  A commit is a transaction of queued
 * operations, timed from its begin until it is durable; bytes are the store's on disk,
 * free_bytes what its disk has left.  writable becomes false for good when writes can no longer
 * be trusted; a full disk does not make it false.  lost: because a sync failed, so that what
 * this process sees may not be on the disk; only a new process can tell (drain, and start anew).
 */
struct store_stats {
    uint64_t commits, operations, failures, queue_length, bytes, free_bytes;
    uint64_t commit_us_sum, commit_us_max;
    uint64_t commit_buckets[STORE_COMMIT_BOUNDS + 1];
    bool readable, writable, lost;
};

struct store;

/* What an implementation provides; callers use the functions below. */
struct store_ops {
    enum rc (*lookup)(struct store *, const struct digest *key, int64_t now_ms,
                      store_lookup_cb *, void *context);
    enum rc (*claim)(struct store *, const struct store_claim *, store_claim_cb *,
                     void *context);
    enum rc (*count)(struct store *, const struct digest *key, struct flight_id flight,
                     unsigned paid_calls_max, store_count_cb *, void *context);
    enum rc (*complete)(struct store *, const struct store_completion *, store_done_cb *,
                        void *context);
    enum rc (*release)(struct store *, const struct store_release *, store_done_cb *,
                       void *context);
    enum rc (*publish)(struct store *, struct flight_id flight,
                       const struct store_publication *, store_done_cb *, void *context);
    enum rc (*result)(struct store *, const struct store_result_query *, store_result_cb *,
                      void *context);
    enum rc (*accepted)(struct store *, const struct flight_id *after, store_accepted_cb *,
                        void *context);
    enum rc (*task)(struct store *, const struct store_task *, store_task_cb *, void *context);
    struct store_stats (*stats)(struct store *);
    void (*free)(struct store *);
};

/* The head of every implementation's own struct. */
struct store {
    const struct store_ops *ops;
    uint8_t salt[STORE_SALT_BYTES]; /* random, made with the store, for scope digests */
    unsigned interrupted; /* flights that a crash had left running, RELEASED at open */
    unsigned accepted; /* those of accepted requests, which still run and wait to be driven */
};

/* Each: E_NOMEM, and then no callback comes; else OK and the callback comes exactly once, also
 * while the store is being closed (E_CLOSED).  Parameters are copied. */
MUST_CHECK enum rc store_lookup(struct store *store, const struct digest *key, int64_t now_ms,
                                store_lookup_cb *callback, void *context);
MUST_CHECK enum rc store_claim(struct store *store, const struct store_claim *claim,
                               store_claim_cb *callback, void *context);
/* Count one more paid call, before its first byte is sent (I2). */
MUST_CHECK enum rc store_count(struct store *store, const struct digest *key,
                               struct flight_id flight, unsigned paid_calls_max,
                               store_count_cb *callback, void *context);
MUST_CHECK enum rc store_complete(struct store *store,
                                  const struct store_completion *completion,
                                  store_done_cb *callback, void *context);
MUST_CHECK enum rc store_release(struct store *store, const struct store_release *release,
                                 store_done_cb *callback, void *context);
/* Durably publish a running flight.  E_CONFLICT: it does not run in the store, or the token is
 * another flight's. */
MUST_CHECK enum rc store_publish(struct store *store, struct flight_id flight,
                                 const struct store_publication *publication,
                                 store_done_cb *callback, void *context);
MUST_CHECK enum rc store_result(struct store *store, const struct store_result_query *query,
                                store_result_cb *callback, void *context);
/* The first accepted request behind `after` (NULL: of all) in the order of flight ids; those
 * accepted by this process are among them as long as they run. */
MUST_CHECK enum rc store_accepted(struct store *store, const struct flight_id *after,
                                  store_accepted_cb *callback, void *context);
MUST_CHECK enum rc store_task(struct store *store, const struct store_task *task,
                              store_task_cb *callback, void *context);
const char *store_task_name(enum store_task_kind kind);
struct store_stats store_stats(struct store *store);
/* Finishes what is queued, then closes.  The loop's mailbox must be run once more. */
void store_free(struct store *store);
OWNED_DEFINE(store)

#endif
