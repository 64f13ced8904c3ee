/* What the engine's files share: its tables, and one flight with its waiters. */
#ifndef APP_ENGINE_INTERNAL_H
#define APP_ENGINE_INTERNAL_H

#include "app/answers.h"
#include "app/engine.h"
#include "app/history.h"
#include "app/intake.h"
#include "app/reply.h"
#include "app/telemetry.h"
#include "base/list.h"
#include "base/map.h"
#include "core/admission.h"
#include "core/credential.h"
#include "core/edge.h"
#include "core/fallback.h"
#include "core/flight.h"
#include "core/rate_limit.h"
#include "core/result_url.h"
#include "core/usage.h"

enum {
    BOOT_ID_TEXT_BYTES = 17,
    FLIGHT_BODIES = 4, /* request, request with the splice, outcome of a call, answer */
};

/* A question to the store whose answer may have a body.  They take turns, so that few such bodies
 * are on their way to the engine, which counts them when they have come. */
struct engine_read {
    struct list link; /* in engine.reads while it waits for its turn */
    /* False: it could not be started, and whoever asked was told. */
    bool (*start)(struct engine_read *read);
};

/* What is remembered of an upstream between flights.  It belongs to the name: it lives as long as
 * the configuration has an upstream of this name or a flight that runs at one, so that neither a
 * reload nor a flight of the configuration before loses count. */
struct upstream_memory {
    struct list link; /* in engine.upstreams */
    struct engine *engine;
    bool configured;
    unsigned holders; /* flights that point here, also ended ones */
    struct retry_budget budget;
    struct fallback_memory fallback;
    size_t slot;                    /* in engine.admission */
    int64_t usage_refused_until_ms; /* include_usage "auto": it did not know stream_options */
    size_t name_bytes;
    char name[];
};

enum { KIN_ID_BYTES = 2 * SHA256_BYTES };

/* Who is asked the same: the fingerprint, then the scope (a map hashes the first bytes). */
struct kin_id {
    uint8_t bytes[KIN_ID_BYTES];
};

/* The adoptable flights of one scope and fingerprint, and when such a request was last answered
 * with an error that invites a retry. */
struct kin {
    struct engine *engine;
    struct kin_id id;
    struct list flights;  /* struct engine_flight.kin_link, oldest first */
    struct timer refused; /* runs for ADOPTION_REFUSAL_MS after such an error */
};

struct engine {
    struct config *config;
    struct event_loop *loop;
    struct store *store;       /* NULL once closed */
    struct upstream *upstream; /* NULL once closed */
    const struct log *log;
    char boot_id[BOOT_ID_TEXT_BYTES];
    struct map keys;        /* digest of a running key -> struct engine_flight */
    struct map by_id;       /* flight id -> struct engine_flight that runs or is in `ended` */
    struct map by_token;    /* digest of a result token -> likewise */
    struct list flights;    /* all that run */
    struct list ended;      /* those whose answer is not delivered yet */
    struct map kin;         /* struct kin_id -> struct kin */
    unsigned kin_refused;   /* kin that remember an error */
    int64_t twins_after_ms; /* an error could not be remembered: no twin is joined before */
    unsigned orphan_count;
    struct answers answers; /* keyed ones that are not in the store */
    struct list unstored;   /* those that the store is to get yet (engine_memory.c) */
    unsigned unstored_count;
    unsigned flight_count, waiter_count;
    size_t memory_bytes; /* of all bodies that are held: by flights, answers, replies */
    struct map told;     /* flight id -> struct waiter, one of those that are told its answer */
    struct list reads;   /* struct engine_read.link, oldest first */
    unsigned reads_running;
    unsigned open_requests;
    struct admission admission;
    struct timer admission_due;     /* always started: when somebody's turn may come */
    struct list upstreams;          /* struct upstream_memory.link */
    struct rate_limit *rate_limits; /* one per configured client */
    struct engine_counts counts;
    struct telemetry telemetry;
    struct history *history;
    bool draining;
    bool recovering; /* accepted requests of an earlier process are being taken up */
};

struct engine_flight {
    struct list link; /* in engine.flights, then in engine.ended */
    struct engine *engine;
    struct flight flight;
    struct intake *intake;
    struct upstream_memory *memory; /* of its upstream, held */
    struct flight_id id;
    char id_text[FLIGHT_ID_TEXT_BYTES];
    struct list waiters;
    unsigned attending;   /* waiters whose client has not left */
    unsigned telling;     /* replies whose delivery is not known yet */
    unsigned retry_count; /* the highest of its waiters */
    bool is_over;         /* ended: only kept until its answer is delivered */
    bool delivered;       /* to one waiter at least */
    bool is_orphan;
    struct admission_ticket ticket; /* its slots */
    int64_t queued_ms;              /* when it asked for leave to call, the last time */
    int64_t queue_ms;               /* how long it waited for that, all together */
    bool had_output;                /* in any call */
    /* Its result URL: see engine_edge.c. */
    struct publishing *publishing; /* NULL: no publication is on its way to the store */
    bool has_token;                /* `token` is in the store */
    bool handed_out; /* a client can find its result: it goes on without waiters */
    struct result_token token;
    struct digest token_digest;
    struct kin *kin; /* NULL: it cannot become an orphan */
    struct list kin_link;
    struct timer orphan;              /* runs while it is one that will be given up */
    struct blob *held[FLIGHT_BODIES]; /* the bodies that are counted */
    struct engine_read read;          /* the look-up of its key */
    struct transfer *transfer;        /* NULL: no call runs */
    struct timer deadline, pause;
    struct attempt_outcome outcome; /* of the last call */
    const char *detail;   /* more about the verdict, in the intake's arena; NULL: nothing */
    struct answer answer; /* of the verdict; body owned, spans in the intake's arena */
    enum source source;   /* for the waiter that started it */
    int64_t start_ms, first_call_ms, call_start_ms, end_ms; /* monotonic, -1: not yet */
    int64_t first_event_ms;                                 /* since first_call_ms, -1: none */
    int64_t asked_us; /* monotonic: the request that started it was complete; 0: nobody's was */
    /* For operators: see engine_history.c. */
    struct timeline timeline; /* until it is over */
    int64_t start_unix_ms;
    int64_t first_output_ms; /* since first_call_ms, -1: none */
    int paid_calls;          /* of its key, as the store last said; -1: not known */
};

/* One client connection that waits, or a request on its way to being one.  Lives in the
 * request's arena. */
struct waiter {
    struct list link; /* in engine_flight.waiters, while it waits */
    struct engine *engine;
    struct http_request *request;
    struct intake *intake;        /* owned until a flight takes it */
    struct engine_flight *flight; /* NULL: not waiting (any more) */
    struct engine_flight *told;   /* whose answer was written; NULL: delivery is no matter */
    /* The answer that is being told, until the end: see engine_memory.c. */
    struct blob *body; /* held; NULL: none */
    struct flight_id body_of;
    struct list same_body; /* the others that are told it */
    bool left;             /* the client closed its side */
    bool adopted;
    bool has_kin; /* keyless, on a route with adoption; then kin is known */
    struct kin_id kin;
    struct timer deadline;
    int64_t deadline_ms;
    bool started_flight;
    bool is_probe; /* GET /livez and /readyz */
    /* What happens when its flight takes long: see engine_edge.c. */
    struct edge_plan edge;
    struct timer hold;  /* until the hold is over; then, while beating, until the next beat */
    int64_t arrival_ms; /* the hold begins */
    bool due;           /* the hold is over, but its flight must be published first */
    bool beating;       /* the reply has begun */
    /* GET and DELETE of a result: see engine_result.c. */
    bool is_result, cancels;
    bool shows_credential, has_credential; /* has: a known one, of `scope` */
    struct digest scope;
    struct result_ref ref;
    unsigned hop;               /* of a redirect chain, 0: none */
    struct result_query *query; /* NULL: the store is not being asked */
    /* For the log line at the end. */
    char id_text[FLIGHT_ID_TEXT_BYTES];
    struct flight_id id;
    enum error_shape shape;
    const char *route;
    struct span client, model, upstream; /* in the request's arena */
    char key_text[KEY_TEXT_BYTES];       /* of the caller's key; empty: keyless */
    int status;
    enum source source;
    enum source duplicate; /* how it cost no generation: JOINED, ADOPTED or REPLAYED */
    const char *error_code,
        *hold_end; /* hold_end: what the end of its hold brought; NULL: nothing */
    unsigned attempts;
    int64_t queue_ms, first_event_ms, generation_ms;
    struct usage usage;
    int64_t complete_us; /* monotonic: all of the request was there */
};

/* ---- engine_flight.c: one flight from order to order */

/* A new flight for this intake (taken over on success), with no waiter yet.  E_NOMEM. */
MUST_CHECK enum rc engine_flight_new(struct engine *engine, struct intake *intake,
                                     struct flight_id id, struct engine_flight **ret);
/* Free a flight that was not started or is over. */
void engine_flight_discard(struct engine_flight *run);
/* Its id, for GET and DELETE of its result, changes to that of the flight it repeats. */
void engine_flight_rename(struct engine_flight *run, struct flight_id id);
/* The first order; replies may come from inside. */
void engine_flight_start(struct engine_flight *run);
/* Carry out an order and those that follow at once.  The flight may be gone afterwards. */
void engine_flight_perform(struct engine_flight *run, enum flight_order order);
/* Another request waits for it until deadline_ms. */
void engine_flight_join(struct engine_flight *run, int64_t deadline_ms);
/* Give it up for a reason of ours.  The flight may be gone afterwards. */
void engine_flight_stop(struct engine_flight *run, enum http_error why);

/* ---- engine_store.c: orders that need the store.  Each returns what is to be done next: to
 * wait for its callback, or what follows when it could not even be started. */

enum flight_order engine_store_look_up(struct engine_flight *run);
enum flight_order engine_store_claim(struct engine_flight *run);
enum flight_order engine_store_count(struct engine_flight *run);
enum flight_order engine_store_complete(struct engine_flight *run, bool failed);
enum flight_order engine_store_release(struct engine_flight *run);

/* The release of a key whose flight ended without anybody knowing how. */
struct store_release engine_interrupted(const struct engine *engine, const struct digest *key,
                                        struct flight_id flight);
/* How long this ended flight's answer is kept. */
int64_t engine_answer_ttl_ms(const struct engine_flight *run);

/* Start it now or, when enough others run, later. */
void engine_read(struct engine *engine, struct engine_read *read);
/* One that was started has its answer. */
void engine_read_ended(struct engine *engine);

/* ---- engine_memory.c: keyed answers in memory, and how much there is */

/* If the answer of this ended flight should be kept and is not in the store: keep it in memory,
 * and go on offering it to the store where that may help. */
void engine_keep_answer(struct engine_flight *run);
/* Reply from memory.  False: no answer is kept for the request's key. */
bool engine_replay(struct waiter *waiter);
/* Count what this flight holds, after a change: bodies of its request and of its answer. */
void engine_weigh(struct engine_flight *run);
/* This answer is being told: held, and found by those that are to tell it too, until
 * engine_let_body_go. */
void engine_hold_body(struct waiter *waiter, struct flight_id flight, struct blob *body);
/* The request is over. */
void engine_let_body_go(struct waiter *waiter);
/* The body to tell of an ended flight that the store has: the one that is in memory already, else
 * `stored`; neither is referenced.  NULL: there is no room for one more, and that was counted as a refusal. */
struct blob *engine_body_to_tell(struct engine *engine, struct flight_id flight,
                                 struct blob *stored);
/* Forget kept answers, then finished orphans, oldest first, until there are at most
 * memory_bytes_max.  False: what runs or is being told is more than that. */
bool engine_make_room(struct engine *engine);
/* Stop offering answers to the store, which is closed. */
void engine_unstored_done(struct engine *engine);

/* ---- engine_admission.c: slots, brakes, limits of clients, the fallback */

/* E_NOMEM. */
MUST_CHECK enum rc engine_admission_init(struct engine *engine);
void engine_admission_done(struct engine *engine);
/* Slots or places may be free. */
void engine_admission_wake(struct engine *engine);
/* What is remembered of the clients of `config`, by their names; *ret is to be freed, NULL on
 * failure.  E_NOMEM. */
MUST_CHECK enum rc engine_rate_limits_for(const struct engine *engine,
                                          const struct config *config, struct rate_limit **ret);
/* Leave for the first call, or the next one: what is next? */
enum flight_order engine_admit(struct engine_flight *run);
/* Its call is over, see run->outcome. */
void engine_admission_call_ended(struct engine_flight *run);
/* The next call was decided on: its pause begins. */
void engine_admission_pause_begins(struct engine_flight *run);
/* After an event: a flight that was concluded while it waited waits no more. */
void engine_admission_follow(struct engine_flight *run);
/* It calls no more, and needs no slot.  Twice is fine. */
void engine_admission_leave(struct engine_flight *run);
/* How long it has waited for slots and brakes, all together. */
int64_t engine_queue_ms(const struct engine_flight *run);
/* Nobody waits for a slot any more. */
void engine_admission_drain(struct engine *engine);

/* ---- engine_call.c: upstream calls */

enum flight_order engine_call(struct engine_flight *run);
/* End the running call.  Whether it was billed is not known, so it counts as if it was. */
void engine_call_abort(struct engine_flight *run);
/* The call's outcome is in run->outcome: what is next? */
enum flight_order engine_call_ended(struct engine_flight *run);

/* ---- engine_answer.c */

/* How a request differs from the one that first used its key, as far as is known; lives as long
 * as the intake; NULL: out of memory. */
const char *engine_explain_reuse(struct intake *intake, struct span first_members,
                                 int64_t first_unix_ms);

/* Builds run->answer from the verdict.  Out of memory leaves its body NULL. */
void engine_build_answer(struct engine_flight *run);

/* Until when the outcome of a flight that ends now is kept for result URLs. */
int64_t engine_keep_until_ms(const struct engine_flight *run, int64_t now_ms);

/* ---- engine_edge.c: long answers through short edges */

/* A waiter's hold begins; its plan is set.  E_NOMEM. */
MUST_CHECK enum rc engine_edge_begin(struct waiter *waiter);
/* It waits no more. */
void engine_edge_end(struct waiter *waiter);
/* What is published of this flight has changed, or could not be: waiters whose hold is over get
 * what they are due, or go on waiting. */
void engine_edge_continue(struct engine_flight *run, enum rc rc);
/* The first output came: heartbeats may begin. */
void engine_edge_on_output(struct engine_flight *run);
/* What the claim of this flight publishes; `request` is room for it. */
struct store_publication engine_edge_publication(struct engine_flight *run,
                                                 struct store_request *request);
/* The claim published it. */
void engine_edge_claimed(struct engine_flight *run);
/* The key of a flight whose caller gave none.  E_NOMEM. */
MUST_CHECK enum rc engine_own_key(const struct flight_id *id, struct digest *ret);
/* This flight goes away; what is on its way to the store must not find it. */
void engine_edge_discard(struct engine_flight *run);
/* Its flight goes on in the next process: say where its result will be.  False: the waiter cannot
 * be told that. */
bool engine_edge_hand_over(struct waiter *waiter);

/* ---- engine_result.c: GET and DELETE /requests/... */

void engine_result(struct waiter *waiter);
/* The flight that this waiter wants cancelled ended. */
void engine_answer_cancel(struct waiter *waiter, const struct engine_flight *run);
/* The request is over. */
void engine_result_end(struct waiter *waiter);

/* ---- engine_waiter.c: how requests wait and get their replies */

/* Reply with an error of ours; `detail` NULL: the error's own text. */
void engine_refuse(struct waiter *waiter, enum http_error error, const char *detail);
void engine_refuse_method(struct waiter *waiter, enum http_error error, const char *detail,
                          struct span allow);
/* With the error's own text, and `why` behind it; NULL: nothing. */
void engine_refuse_because(struct waiter *waiter, enum http_error error, const char *why);
/* Refuse one that waits, whose flight goes on if anything keeps it; the flight may be gone
 * afterwards.  `status` 0: the error's own. */
void engine_send_away(struct waiter *waiter, enum http_error error, unsigned status,
                      const char *why);
/* Send this reply with a flight's answer, or end with it the one that has begun. */
void engine_tell(struct waiter *waiter, struct flight_id flight, const struct reply *reply);
/* Wait for a flight, at most wait_ms.  E_NOMEM. */
MUST_CHECK enum rc engine_wait_for(struct waiter *waiter, struct engine_flight *run,
                                   int64_t wait_ms);
/* Wait for a running flight that another request started, or be refused. */
void engine_join(struct waiter *waiter, struct engine_flight *run);
/* Wait no more. */
void engine_detach(struct waiter *waiter);
/* The flight ended: reply to all waiters.  The flight is freed afterwards by its caller. */
void engine_answer_waiters(struct engine_flight *run);

/* The answer of this ended flight was written to this waiter: if it is kept until it is
 * delivered, that is to be known. */
void engine_telling(struct waiter *waiter, struct engine_flight *run);
/* What its flight says of itself so far, for the log line. */
void engine_note_flight(struct waiter *waiter, const struct engine_flight *run);
/* Reply with the answer of a flight that ended. */
void engine_answer(struct waiter *waiter, struct engine_flight *run);

/* ---- engine_history.c: what operators are told.  Out of memory a timeline lacks an entry. */

/* Something happened to this flight; `word`: see struct timeline_note. */
void engine_note(struct engine_flight *run, enum timeline_event event, const char *word);
void engine_note_ms(struct engine_flight *run, enum timeline_event event, int64_t ms);
/* The store did it, or `rc` says why not. */
void engine_note_rc(struct engine_flight *run, enum timeline_event event, enum rc rc);
/* `record` NULL: there is none. */
void engine_note_lookup(struct engine_flight *run, enum flight_key key,
                        const struct key_record *record);
void engine_note_claim(struct engine_flight *run, enum flight_key key);
void engine_note_count(struct engine_flight *run, enum rc rc, unsigned paid_calls);
void engine_note_release(struct engine_flight *run, enum rc rc);
/* CALL, FALLBACK: its upstream is the one that is called now. */
void engine_note_call(struct engine_flight *run, enum timeline_event event);
void engine_note_output(struct engine_flight *run);
void engine_note_call_end(struct engine_flight *run, bool cancelled);
/* Before flight_stop, which may be too late. */
void engine_note_stop(struct engine_flight *run, enum http_error why);
/* Its answer is there, and its waiters get it. */
void engine_note_end(struct engine_flight *run);
/* This one waits for it now; one of its clients left. */
void engine_note_waiter(struct engine_flight *run, const struct waiter *waiter);
void engine_note_left(struct engine_flight *run);
/* A request is over. */
void engine_note_request(const struct waiter *waiter, bool delivered);
/* It is over: what is known of it outlives it. */
void engine_remember(struct engine_flight *run);

/* ---- engine_orphan.c: retries without a key (core/adoption.h) */

struct kin_id engine_kin_id(const struct intake *intake);
/* Enter a new flight that may be adopted; others are left alone.  E_NOMEM. */
MUST_CHECK enum rc engine_kin_add(struct engine_flight *run);
void engine_kin_remove(struct engine_flight *run);
/* Forget all kin; there must be no flights left. */
void engine_kin_done(struct engine *engine);
/* Make the request a waiter of an orphan or a twin of its kin.  False: there is none. */
bool engine_adopt(struct waiter *waiter);
/* The request was answered with an error that makes SDKs come back. */
void engine_note_invitation(const struct waiter *waiter);
/* Somebody waits for this flight (again). */
void engine_attended(struct engine_flight *run);
/* A waiter of this running flight is gone.  If it was the last one, a keyless flight becomes an
 * orphan or is cancelled; it may be gone afterwards. */
void engine_unattended(struct engine_flight *run);
/* Whether the answer of this ended flight is kept until it was delivered. */
bool engine_keeps(const struct engine_flight *run);
/* The flight ended and its waiters were replied to, or one of these replies was delivered or
 * not: it goes on being told, becomes an orphan, or is freed. */
void engine_settle(struct engine_flight *run);

/* ---- engine_request.c */

struct intake_context engine_intake_context(const struct engine *engine,
                                            const struct http_request *request);

/* ---- engine.c: tables */

static inline int64_t engine_now_ms(const struct engine *engine)
{
    return event_loop_now_ms(engine->loop);
}
/* The flight is over: out of the tables of what runs.  Twice is fine. */
void engine_forget(struct engine_flight *run);

/* ---- engine_upstream.c: what is remembered of upstreams */

/* Remember what the upstreams of `config` are called, and forget what is neither in it nor held.
 * E_NOMEM: nothing has changed. */
MUST_CHECK enum rc engine_upstreams_follow(struct engine *engine, const struct config *config);
/* NULL: there is none. */
struct upstream_memory *engine_upstream_memory(const struct engine *engine,
                                               const struct config_upstream *upstream);
/* The memory of this upstream, to be given back with engine_upstream_release.  E_NOMEM. */
MUST_CHECK enum rc engine_upstream_hold(struct engine *engine,
                                        const struct config_upstream *upstream,
                                        struct upstream_memory **ret);
/* NULL is fine. */
void engine_upstream_release(struct upstream_memory *memory);
/* include_usage "auto": until an upstream is known to refuse stream_options it gets them. */
bool engine_upstream_knows_stream_options(const void *engine,
                                          const struct config_upstream *upstream);
/* Nothing is held any more. */
void engine_upstreams_done(struct engine *engine);

#endif
