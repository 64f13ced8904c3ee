/* The engine: requests become waiters of flights, flights are driven through store and
 * upstream, and every waiter gets its reply.
 *
 * It carries out what core/flight.h orders and owns the tables: all flights, and running keys
 * by their digest, so that a second post of a key joins even while the first claim is being
 * committed (I1).  Connections own nothing: a keyed flight goes on when its waiters leave (I7),
 * and a keyless one that a retry would be recognised for becomes an orphan.
 * Thread: the loop. */
#ifndef APP_ENGINE_H
#define APP_ENGINE_H

#include "app/history.h"
#include "app/reply.h"
#include "core/config.h"
#include "io/event_loop.h"
#include "io/http_front.h"
#include "io/log.h"
#include "io/store.h"
#include "io/upstream.h"

struct engine;

/* All must outlive the engine, but for the configuration, of which it takes a reference. */
struct engine_params {
    struct config *config;
    struct event_loop *loop;
    struct store *store;
    struct upstream *upstream;
    const struct log *log;
};

/* E_NOMEM. */
MUST_CHECK enum rc engine_new(const struct engine_params *params, struct engine **ret);
/* There must be no flights left (engine_is_idle). */
void engine_free(struct engine *engine);
OWNED_DEFINE(engine)

/* New requests are held to this configuration, of which a reference is taken; flights go on with
 * the one they began with.  Retry budgets and the like stay with an upstream's name.  E_NOMEM:
 * nothing has changed. */
MUST_CHECK enum rc engine_reconfigure(struct engine *engine, struct config *config);
/* Take up the requests that an earlier process accepted, before a front is opened; done when
 * engine_is_recovering is false.  E_NOMEM. */
MUST_CHECK enum rc engine_recover(struct engine *engine);
bool engine_is_recovering(const struct engine *engine);
/* What a front for clients calls. */
struct http_handler engine_handler(struct engine *engine);
/* From now on nothing new is claimed; joins, replays and running flights go on. */
void engine_drain(struct engine *engine);
/* Give up whatever still runs: keys are released, waiters get 503. */
void engine_stop(struct engine *engine);
/* Store and upstream are about to be closed: what flights still await comes with E_CLOSED. */
void engine_close(struct engine *engine);
/* No flight runs and no request is open. */
bool engine_is_idle(const struct engine *engine);
/* Whether new work is taken: not draining, and the store can be read. */
bool engine_is_ready(const struct engine *engine);

/* X(enum, word for metrics, error, what happened; NULL: the error's own text says it) */
#define REFUSAL_TABLE(X)                                                                       \
    X(REFUSAL_DRAINING, "draining", HTTP_ERROR_DRAINING, NULL)                                 \
    X(REFUSAL_RATE_LIMITED, "rate_limited", HTTP_ERROR_RATE_LIMITED, NULL)                     \
    X(REFUSAL_MEMORY_FULL, "memory_full", HTTP_ERROR_OVERLOADED, "its memory is full")         \
    X(REFUSAL_QUEUE_FULL, "queue_full", HTTP_ERROR_OVERLOADED,                                 \
      "no flight slot is free, and no place in the queue")                                     \
    X(REFUSAL_QUEUE_TIME, "queue_time", HTTP_ERROR_OVERLOADED,                                 \
      "no flight slot became free in time")                                                    \
    X(REFUSAL_PAUSED, "paused", HTTP_ERROR_OVERLOADED,                                         \
      "the provider asked for a pause that is longer than the queue")                          \
    X(REFUSAL_NO_MEMORY, "no_memory", HTTP_ERROR_OVERLOADED, "out of memory")

/* Why admission refused a flight; memory_full also: why an answer of the store was not told. */
enum refusal {
#define X(refusal, word, error, text) refusal,
    REFUSAL_TABLE(X)
#undef X
        REFUSAL_COUNT
};

/* The word for metrics. */
const char *engine_refusal_name(enum refusal refusal);

/* Monotonic counts since the start, for metrics. */
struct engine_counts {
    uint64_t sources[SOURCE_COUNT];
    /* Requests that found a generation or its answer instead of starting another one: JOINED,
     * ADOPTED or REPLAYED; and the output tokens of the answers that they were told. */
    uint64_t duplicates[SOURCE_COUNT], tokens_saved[SOURCE_COUNT];
    uint64_t attempts[ATTEMPT_END_COUNT], attempts_cancelled; /* cancelled: by us, on a stop */
    uint64_t flights, called, retries, refused, disconnects;  /* called: flights that did */
    uint64_t refusals[REFUSAL_COUNT];
    uint64_t queued, fallbacks;     /* flights that had to wait for a slot; that changed over */
    uint64_t orphans, orphans_lost; /* became one; of these cancelled or forgotten */
    uint64_t answers_dropped;       /* from memory, before their time */
    uint64_t maybe_billed_in_vain;  /* calls that may have been billed and gave no answer */
    uint64_t input_tokens, output_tokens;
    uint64_t conflicts, redirects, accepted, heartbeats; /* holds that ended so */
    uint64_t results, cancelled, resumed; /* told at result URLs; cancelled and taken up */
};

struct engine_state {
    struct engine_counts counts;
    unsigned flights_running, waiters;
    unsigned flights_admitted, flights_queued; /* have a slot; wait for one, or for a brake */
    unsigned orphans;                          /* now, running or finished */
    unsigned answers_in_memory, answers_unstored;
    size_t memory_bytes; /* bodies of flights, kept answers and replies, each once */
    bool draining;
};

struct engine_state engine_state(const struct engine *engine);
/* What is counted by label. */
struct telemetry;
const struct telemetry *engine_telemetry(const struct engine *engine);

struct engine_upstream_state {
    struct span name;
    unsigned flights; /* that have a slot there */
    unsigned pauses;  /* credentials whose calls wait, because the provider asked for it */
};

/* Of the upstream with this index.  False: there are no more. */
bool engine_upstream_state(const struct engine *engine, size_t i,
                           struct engine_upstream_state *ret);

/* ---- what operators ask for */

struct engine_flight;

/* The flights under way, in the order in which they began: the one behind `before` (NULL: the
 * first); NULL: there are no more. */
const struct engine_flight *engine_next_flight(const struct engine *engine,
                                               const struct engine_flight *before);
struct flight_summary engine_flight_summary(const struct engine_flight *run);
/* What is over. */
const struct history *engine_history(const struct engine *engine);
/* Of a flight that runs, or ended not long ago; the timeline is valid until the loop goes on.
 * False: memory does not know it. */
bool engine_find_flight(const struct engine *engine, struct flight_id id,
                        struct flight_summary *ret, const struct timeline **ret_timeline);
/* Ask the store for a flight's row; the callback may come from inside.  E_NOMEM: none comes. */
MUST_CHECK enum rc engine_ask_row(struct engine *engine, struct flight_id id,
                                  store_result_cb *callback, void *context);
/* Cancel it, as DELETE of its result does; *ret_state is what it was doing.  E_NOT_FOUND: it does
 * not run here; E_CONFLICT: its outcome is being stored already. */
MUST_CHECK enum rc engine_cancel_flight(struct engine *engine, struct flight_id id,
                                        const char **ret_state);

#endif
