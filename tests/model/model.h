/* A model of everything around the engine, in virtual time: clients, provider, store and clocks.
 *
 * The engine is the real one (service/app), linked with the fakes of this folder in place of
 * service/io's adapters.  A schedule is a random sequence of posts, disconnects, faults, crashes
 * and restarts, made from one seed; what the outside sees is judged by model_oracle.c after
 * every event.  A failed check prints the seed and the schedule's trace and ends the program:
 * UNSTREAM_SEED=n runs that schedule alone. */
#ifndef TESTS_MODEL_H
#define TESTS_MODEL_H

#include "app/engine.h"
#include "base/list.h"
#include "core/result_url.h"

enum {
    MODEL_KEYS = 3,
    MODEL_OWN_KEYS = 1024, /* of flights whose callers gave none */
    MODEL_KNOWN = 512,     /* flights that clients know of */
    MODEL_PATH_BYTES = 128,
    MODEL_VARIANTS = 2, /* requests with different fingerprints per key */
    MODEL_KEYLESS = -1,
    MODEL_TEXT_BYTES = 96,
    MODEL_HEADERS = 8,
    MODEL_SESSIONS = 2, /* of keyless clients whose requests are equal */
    MODEL_SCOPES = 2,
    MODEL_CALLS = 8192,
    VERDICT_GRACE_MS = 5000, /* how long a waiter may stay past its deadline, see engine.c */
};

/* ---- dice */

struct dice {
    uint64_t state;
};

uint64_t dice_next(struct dice *dice);
/* 0 .. n - 1 */
unsigned dice_pick(struct dice *dice, unsigned n);
bool dice_chance(struct dice *dice, unsigned percent);
/* Mostly a moment, sometimes long, at most max_ms. */
int64_t dice_delay(struct dice *dice, int64_t max_ms);

/* ---- what survives a crash */

struct row {
    bool exists;
    enum key_state state;
    struct digest fingerprint;
    struct flight_id flight;
    unsigned paid_calls;
    int64_t created_ms, ended_ms, answer_until_ms, forget_ms; /* forget_ms 0: running */
    int status;
    struct blob *body;
    char content_type[MODEL_TEXT_BYTES], request_id[MODEL_TEXT_BYTES],
        error_code[MODEL_TEXT_BYTES];
};

/* As a caller sees the row at this time. */
enum key_state row_state(const struct row *row, int64_t unix_ms);

/* What the oracle knows of the present life of a key. */
struct life {
    unsigned maybe_billed; /* calls that were made and not refused for free */
    unsigned excuses;      /* counts that could not be given back: crashes, store trouble */
    bool store_failed;     /* a commit of `failed_flight` failed */
    struct flight_id failed_flight;
    struct blob *unstored; /* an answer that the store did not take; NULL: none */
    int unstored_status;
    int64_t unstored_until_ms; /* as long as this it is kept in memory */
};

struct model_key {
    char text[MODEL_TEXT_BYTES]; /* of an own key: the marker of its request, or "a session" */
    struct digest digest;
    struct row row;
    struct life life;
    unsigned running_calls;           /* upstream, now */
    uint64_t changes;                 /* of the row */
    int64_t deadline_ms;              /* the latest of all who asked for it */
    int64_t asked_ms[MODEL_VARIANTS]; /* when each was posted last, -1: never */
    bool had_output;                  /* in any call of its flight */
    /* A key of a flight's own.  Those of sessions, whose requests are equal, are known from
     * their claim on; others from their post on, and their calls with them. */
    bool is_own, is_sessions, has_digest;
    bool handed_out; /* a client has the URL of its flight */
    struct digest fingerprint;
    unsigned scope;
    unsigned paid_before; /* calls that its claim counted */
    int64_t attended_ms;  /* when somebody waited last */
};

/* What a client was told of a flight. */
struct known {
    char flight[FLIGHT_ID_TEXT_BYTES];
    char token[RESULT_TOKEN_TEXT_BYTES]; /* "": none */
    char marker[MODEL_TEXT_BYTES];
    unsigned scope, session;
    bool counted;
    bool accepted;         /* it was told so with the token */
    struct model_key *key; /* NULL: a session's */
};

/* ---- the process and its surroundings */

struct told; /* what was replied under a flight id */

/* An upstream call, by its serial number. */
struct model_call {
    int64_t start_ms, delivered_ms; /* delivered_ms -1: nobody got its answer */
    unsigned scope;
    bool taken; /* by a request that was no retry */
};

/* What schedules meet, and how often 100 of them do at the least.  X(what, times) */
#define SEEN_TABLE(X)                                                                          \
    X(calls, 100)                                                                              \
    X(replies, 1000)                                                                           \
    X(joins, 50)                                                                               \
    X(replays, 100)                                                                            \
    X(unstored, 1)                                                                             \
    X(adopted, 1)                                                                              \
    X(mismatches, 100)                                                                         \
    X(crashes, 50)                                                                             \
    X(stuck, 0)                                                                                \
    X(accepted, 20)                                                                            \
    X(resumed, 4)                                                                              \
    X(redirects, 10)                                                                           \
    X(conflicts, 100)                                                                          \
    X(heartbeats, 10)                                                                          \
    X(registered, 5)                                                                           \
    X(results, 50)                                                                             \
    X(denied, 40)                                                                              \
    X(cancelled, 1)

struct world {
    uint64_t seed;
    struct dice dice;
    struct buf trace;
    struct log log;

    /* Clocks.  `surroundings` are the timers of everything but the engine. */
    int64_t now_ms, wall_offset_ms;
    struct timers surroundings;
    uint64_t events;

    /* The process. */
    struct config *config;
    struct event_loop *loop;
    struct engine *engine;
    struct store *store;
    struct upstream *upstream;
    struct http_handler handler;
    bool draining, dead; /* dead: a crash, nothing has effects any more */
    bool is_open;        /* the front takes requests */
    unsigned processes;
    unsigned taken_up; /* accepted requests at the start of this process */
    unsigned troubles; /* of the store, so far */

    /* Surroundings. */
    struct model_key keys[MODEL_KEYS];
    struct model_key *own_keys[MODEL_OWN_KEYS];
    size_t own_key_count;
    struct model_flight *flights; /* see model_flights.c */
    struct known known[MODEL_KNOWN];
    size_t known_count;
    struct list clients;       /* who comes back in a moment */
    struct blob *unknown_body; /* what who may not see a result is told */
    uint64_t jumps;            /* of the wall clock */
    struct list requests;      /* open: on_end did not come yet */
    unsigned open_requests;
    unsigned serial;
    int last_status;   /* of the last reply */
    bool last_starved; /* it spoke of memory */
    int memory_key;    /* its answers must not be at rest; MODEL_KEYLESS: none */
    bool store_full;
    bool slow_store;              /* its longest delay was more than a second, at first */
    bool prefer_async;            /* every post says so */
    bool relays;                  /* posts are for embeddings, which are passed on */
    int64_t store_delay_ms;       /* the longest of a commit, and of the way back */
    int64_t store_exact_ms;       /* it takes exactly this long; -1: the dice say */
    unsigned fault_percent;       /* of store operations that fail by chance */
    unsigned provider_trouble;    /* percent of calls that go wrong */
    bool calm;                    /* no faults any more, everything is quick */
    bool starved;                 /* memory ran out: what it is for may be missing */
    bool was_starved;             /* it did before: what was not taken up then is lost */
    const char *fate;             /* of calls, by name; NULL: the dice's */
    int64_t call_ms;              /* how long calls take; -1: the dice's */
    int sdk_retry_count;          /* who posts without a key is an SDK; -1: the dice's */
    bool engine_runs;             /* whose code runs now, see world_set_engine */
    void (*on_engine)(bool runs); /* told whenever that changes; NULL: nobody is */
    void (*on_end)(struct world *world); /* the process is about to end; likewise */
    struct told *told;
    size_t told_count;
    struct model_call *calls;
    int64_t attended_ms[MODEL_SCOPES][MODEL_SESSIONS]; /* when somebody waited last */
    struct {
#define X(name, least) uint64_t name;
        SEEN_TABLE(X)
#undef X
    } seen;
};

void world_trace(struct world *world, const char *format, ...) PRINTF_LIKE(2, 3);
_Noreturn void world_fail(struct world *world, const char *file, int line,
                          const char *condition);
#define CHECK(world, condition)                                                                \
    ((condition) ? (void)0 : world_fail(world, __FILE__, __LINE__, #condition))

/* From here on the code of the engine runs, or that of its surroundings.  Returns who did. */
bool world_set_engine(struct world *world, bool runs);
int64_t world_unix_ms(const struct world *world);
/* Start a timer of the surroundings. */
void world_start_timer(struct world *world, struct timer *timer, int64_t delay_ms);

/* ---- model_front.c: the loop, the clocks and the connections */

struct event_loop *model_loop_new(struct world *world);
void model_loop_free(struct world *world);

enum model_method { MODEL_POST, MODEL_GET, MODEL_DELETE };
/* The credential that a GET or DELETE shows. */
enum model_shows { SHOWS_OWN, SHOWS_OTHER, SHOWS_NONE };
/* What happens when its flight takes long. */
enum model_plan { PLAN_WAIT, PLAN_CONFLICT, PLAN_REDIRECT, PLAN_HEARTBEAT, PLAN_ACCEPT };

struct http_request {
    struct list link;
    struct world *world;
    enum model_method method;
    int key;                    /* MODEL_KEYLESS: none, or not a POST */
    struct model_key *asks_for; /* the key of its flight; NULL: a session's */
    struct known target;        /* not POST: which flight */
    bool was_told;              /* likewise: its outcome, to somebody before */
    enum model_shows shows;     /* likewise */
    bool by_token;              /* GET */
    unsigned hop;               /* GET: in a chain of redirects; else 0 */
    bool prefers_async;
    int prefers_wait_s; /* -1: it does not say */
    enum model_plan plan;
    int64_t hold_ms; /* of the plan */
    unsigned tries;  /* POST: those before it, of the same client */
    bool comes_back; /* when told to, and follows redirects */
    bool began, cut; /* a reply with heartbeats */
    char begun_flight[FLIGHT_ID_TEXT_BYTES];
    uint64_t jumps_at_start;
    unsigned variant, serial;
    unsigned scope;
    bool counted;                  /* it says how often it was tried before: an SDK sent it */
    unsigned session, retry_count; /* counted */
    unsigned answered_by;          /* the call that gave it a 200, 0: none */
    struct digest fingerprint;
    char marker[MODEL_TEXT_BYTES]; /* in the body: names key and variant, or the request */
    char body_text[2 * MODEL_TEXT_BYTES], key_text[MODEL_TEXT_BYTES],
        deadline_text[MODEL_TEXT_BYTES], retry_text[MODEL_TEXT_BYTES],
        prefer_text[MODEL_TEXT_BYTES], path_text[MODEL_PATH_BYTES],
        query_text[MODEL_TEXT_BYTES], agent_text[MODEL_TEXT_BYTES];
    struct header headers[MODEL_HEADERS];
    struct http_head head;
    struct arena arena;
    struct timer end;
    void *tag;
    int64_t start_ms, deadline_ms;
    uint64_t changes_at_start; /* of its key's row */
    bool replied, left, broken;
    int status;
    struct blob *body; /* of the reply; NULL: none */
};

/* It is open, and knows its host; then it is sent. */
struct http_request *model_request_new(struct world *world, enum model_method method);
void model_add_header(struct http_request *request, const char *name, const char *value);
void model_request_send(struct http_request *request);
/* The n-th open request. */
struct http_request *model_request(struct world *world, unsigned n);
/* The front is freed: on_end for all. */
void model_requests_end(struct world *world);

/* ---- model_clients.c: what clients do */

/* A client posts; key MODEL_KEYLESS: without a key. */
void model_post(struct world *world, int key, unsigned variant);
/* A client asks for a result, or for its end. */
struct model_question {
    const struct known *target;
    enum model_method method;
    enum model_shows shows;
    bool by_token;
    unsigned hop;
    int wait_s;
};
void model_ask(struct world *world, const struct model_question *question);
/* A client closes its side, or its connection breaks. */
void model_leave(struct world *world, struct http_request *request, bool broken);
/* As SDKs and curl -L do. */
void model_react(struct http_request *request, const struct http_reply *reply);
void model_clients_forget(struct world *world);

/* ---- model_store.c */

struct store *model_store_open(struct world *world);
/* Finish what is queued (dead: without effect, E_CLOSED) and tell. */
void model_store_close(struct world *world);
bool model_store_is_idle(const struct world *world);
unsigned model_store_queued(const struct world *world);

/* ---- model_flights.c */

struct model_flight;
/* A struct store_publication of one's own. */
struct model_publication {
    bool has_token, has_request;
    struct digest token;
    struct store_request request;
    struct arena texts;
};
struct model_publication *model_publication_new(struct world *world,
                                                const struct store_publication *from);
void model_publication_free(struct model_publication *publication);
/* A claim was committed.  The publication is taken if the row keeps its request. */
void model_flight_start(struct world *world, const struct store_claim *claim,
                        struct model_publication **publication);
/* Likewise.  E_CONFLICT: it does not run. */
enum rc model_flight_publish(struct world *world, struct flight_id flight,
                             struct model_publication **publication);
void model_flight_end(struct world *world, struct flight_id flight, enum flight_row state,
                      const struct answer *answer, int64_t now_ms, int64_t forget_ms);
/* It runs and was accepted. */
bool model_flight_survives(struct world *world, struct flight_id flight);
/* Bodies in *ret stay the row's. */
void model_flight_get(struct world *world, const struct store_result_query *query,
                      struct flight_record *ret);
/* Without paid_calls.  E_NOT_FOUND: there are no more. */
enum rc model_flight_accepted(struct world *world, const struct flight_id *after,
                              struct accepted_record *ret);
void model_flights_forget(struct world *world);
/* NULL: none.  *ret_forget_ms 0: it runs. */
const struct flight_record *model_flight_row(const struct world *world, const char *flight_text,
                                             int64_t *ret_forget_ms);
/* Whether the store has this token, for this flight. */
bool model_flight_opens(struct world *world, const char *flight_text, const char *token);
bool model_flight_was_accepted(const struct world *world, const char *flight_text);
/* Rows that run, and accepted requests. */
unsigned model_flights_running(const struct world *world);
unsigned model_flights_accepted(const struct world *world);
/* A flight of a session of this scope runs in the store. */
bool model_flights_session(struct world *world, unsigned scope);

/* ---- model_rows.c: what operations of the store do, with its results */

struct key_record row_record(const struct row *row, int64_t unix_ms);
enum claim_result row_claim(struct world *world, struct model_key *key,
                            const struct store_claim *claim,
                            struct model_publication **publication);
enum rc row_count(struct model_key *key, struct flight_id flight, unsigned paid_calls_max,
                  unsigned *ret);
enum rc row_complete(struct world *world, struct model_key *key,
                     const struct store_completion *completion);
enum rc row_release(struct world *world, struct model_key *key,
                    const struct store_release *release);
/* After a crash: what runs died with the last process, unless it was accepted. */
enum row_fate { ROW_UNTOUCHED, ROW_INTERRUPTED, ROW_ACCEPTED };
enum row_fate row_recover(struct world *world, struct model_key *key, int64_t now_ms);

/* ---- model_keys.c */

/* The digest of a caller's scope. */
struct digest model_scope(struct world *world, unsigned scope);
/* A keyless post: what the key of its flight would be. */
struct model_key *model_own_key_new(struct world *world, const char *marker);
/* NULL: there is none. */
struct model_key *model_key_named(struct world *world, const char *marker);
struct model_key *model_key_of(struct world *world, const struct digest *digest);
/* Likewise, a key of a flight's own that is not known yet included. */
struct model_key *model_key_claimed(struct world *world, const struct store_claim *claim);
void model_own_keys_forget(struct world *world);

/* ---- model_upstream.c */

struct upstream *model_upstream_new(struct world *world);
void model_upstream_free(struct world *world);
/* Calls that run for keys, and for this keyless request. */
unsigned model_upstream_keyed(const struct world *world);
bool model_upstream_runs(const struct world *world, const char *marker, unsigned scope);
unsigned model_upstream_calls(const struct world *world);

/* ---- model_oracle.c */

void oracle_call_starts(struct world *world, struct model_key *key);
void oracle_call_ends(struct world *world, struct model_key *key, bool was_free);
/* A claim was committed; fresh: a new life of its key. */
void oracle_claimed(struct world *world, struct model_key *key, bool fresh);
/* The same for a key of a flight's own; `registered`: while the flight calls. */
void oracle_registered(struct world *world, struct model_key *key, bool registered);
/* A commit of this flight failed. */
void oracle_store_failed(struct world *world, struct model_key *key, struct flight_id flight);
/* Nor did it take this answer, which then is in memory. */
void oracle_not_stored(struct world *world, struct model_key *key, int status,
                       struct blob *body);
/* The process is gone, and its memory. */
void oracle_not_in_memory(struct model_key *key);
void oracle_reply(struct http_request *request, const struct http_reply *reply);
/* All waiters of a flight, and all replays and results, get the same (I3). */
void oracle_told(struct world *world, const struct http_reply *reply, struct span flight);
bool oracle_was_told(struct world *world, const char *flight);
/* An accepted flight is driven again: if it had ended, the store did not learn it. */
void oracle_driven_again(struct world *world, struct model_key *key);
/* From now on nothing but that is told of this flight. */
void oracle_told_cancelled(struct world *world, const char *flight);
bool oracle_body_has(const struct http_reply *reply, const char *word);
/* It tells a waiter to come back, as its flight goes on. */
bool oracle_is_sent_away(const struct world *world, const struct http_reply *reply);

/* ---- model_edges.c: result URLs and what ends a hold */

/* 202 or 303. */
void edges_url(struct http_request *request, const struct http_reply *reply);
/* A client learns of a flight; token "": by its id only. */
const struct known *edges_known(struct http_request *request, struct span flight,
                                const char *token);
/* A GET or DELETE is replied to. */
void edges_result(struct http_request *request, const struct http_reply *reply);
void edges_begin(struct http_request *request, const struct http_reply *head,
                 size_t body_bytes);
void edges_finish(struct http_request *request, struct blob *body);
/* It waits, until now. */
void edges_attends(const struct http_request *request);
/* Nobody is held longer than it should be, and nothing runs for nobody. */
void edges_check(struct world *world);

/* Without keys (model_keyless.c): what a session's request looks like, and who gets what. */
void keyless_name(const struct http_request *request, char marker[MODEL_TEXT_BYTES]);
void keyless_call_starts(struct world *world, unsigned serial, unsigned scope);
void keyless_reply(struct http_request *request, const struct http_reply *reply);
/* This answer goes to this request. */
void keyless_answered(struct http_request *request, struct blob *body);
void keyless_end(const struct http_request *request, bool delivered);
void keyless_attends(const struct http_request *request);
void keyless_check(struct world *world);

/* The promises that hold at any time. */
void oracle_check(struct world *world);
void oracle_forget(struct world *world);

#endif
