/* Long answers through short edges: what a waiter gets when its hold is over before its flight
 * (core/edge.h), and how a flight's result URL is made durable first.
 *
 * A flight is published when the store has what its URL needs: a row, the digest of its token,
 * and for an accepted request its body.  A keyless flight gets a key of its own for that.  A
 * waiter whose hold is over is due until its flight is published; where that fails it goes on
 * waiting, which costs the caller nothing. */
#include "app/engine_internal.h"

#include "app/clock.h"
#include "base/crash_point.h"

#include <stdlib.h>
#include <string.h>

/* A publication on its way to the store.  The flight may be gone when it comes back. */
struct publishing {
    struct engine_flight *run; /* NULL: gone */
    bool accepts;
};

static struct timers *timers_of(const struct waiter *waiter)
{
    return event_loop_timers(waiter->engine->loop);
}

/* ---- tokens and keys of a flight's own */

/* False: out of memory. */
static bool make_token(struct engine_flight *run)
{
    uint8_t random[RESULT_TOKEN_BYTES];
    if (run->token.text[0])
        return true;
    clock_random(random, sizeof random);
    const struct result_token token = result_token_make(random);
    if (result_token_digest(&token, &run->token_digest) != OK ||
        map_put(&run->engine->by_token, run->token_digest.bytes, run) != OK)
        return false;
    run->token = token;
    return true;
}

enum rc engine_own_key(const struct flight_id *id, struct digest *ret)
{
    const struct span parts[] = {SPAN("own-key-v1"),
                                 {(const char *)id->bytes, sizeof id->bytes}};
    return sha256_of(parts, COUNT_OF(parts), ret);
}

/* ---- publications */

static struct store_publication publication_of(struct engine_flight *run,
                                               const struct intake *intake,
                                               struct store_request *request)
{
    struct store_publication publication = {.token = NULL};
    if (!run->has_token && make_token(run))
        publication.token = &run->token_digest;
    if (!intake || run->flight.params.accepted)
        return publication;
    int64_t left_ms = run->flight.params.deadline_ms - engine_now_ms(run->engine);
    *request = intake_store_request(intake, clock_unix_ms() + left_ms);
    publication.request = request;
    return publication;
}

struct store_publication engine_edge_publication(struct engine_flight *run,
                                                 struct store_request *request)
{
    if (!run->intake->edge.accepts)
        return (struct store_publication){.token = NULL};
    return publication_of(run, run->intake, request);
}

static void accepted(struct engine_flight *run)
{
    run->flight.params.accepted = true;
    run->flight.params.may_outlive = true;
}

void engine_edge_claimed(struct engine_flight *run)
{
    if (!run->intake->edge.accepts)
        return;
    run->has_token = run->token.text[0] != '\0';
    engine_note_rc(run, TIMELINE_PUBLISHED, OK);
    accepted(run);
    if (!intake_may_splice_again(run->intake))
        intake_keep_splice(run->intake);
}

static struct publishing *publishing_new(struct engine_flight *run)
{
    struct publishing *publishing = calloc(1, sizeof *publishing);
    if (!publishing)
        return NULL;
    publishing->run = run;
    run->publishing = publishing;
    return publishing;
}

static void publishing_free(struct publishing *publishing)
{
    if (publishing->run)
        publishing->run->publishing = NULL;
    free(publishing);
}

void engine_edge_discard(struct engine_flight *run)
{
    if (run->publishing)
        run->publishing->run = NULL;
    run->publishing = NULL;
}

static void on_published(void *context, enum rc rc)
{
    struct publishing *publishing = context;
    struct engine_flight *run = publishing->run;
    bool accepts = publishing->accepts;
    publishing_free(publishing);
    CRASH_POINT("publication_committed");
    if (!run)
        return;
    run->has_token |= rc == OK;
    engine_note_rc(run, TIMELINE_PUBLISHED, rc);
    if (rc == OK && accepts)
        accepted(run);
    engine_edge_continue(run, rc);
}

/* The intake of a waiter that is to be told 202, if the flight's request is not at rest yet. */
static const struct intake *request_to_accept(const struct engine_flight *run)
{
    if (run->flight.params.accepted)
        return NULL;
    for (struct list *link = run->waiters.next; link != &run->waiters; link = link->next) {
        const struct waiter *waiter = CONTAINER_OF(link, struct waiter, link);
        if (waiter->due && waiter->edge.accepts && waiter->intake)
            return waiter->intake;
    }
    return NULL;
}

static enum rc publish(struct engine_flight *run)
{
    struct store_request request;
    const struct intake *intake = request_to_accept(run);
    const struct store_publication what = publication_of(run, intake, &request);
    bool has_token = run->has_token || what.token;
    struct publishing *publishing =
        run->engine->store && has_token ? publishing_new(run) : NULL;
    if (!publishing)
        return E_NOMEM;
    publishing->accepts = intake != NULL;
    enum rc rc = store_publish(run->engine->store, run->id, &what, on_published, publishing);
    if (rc != OK)
        publishing_free(publishing);
    return rc;
}

static void on_registered(void *context, enum rc rc, enum claim_result result,
                          const struct key_record *record)
{
    struct publishing *publishing = context;
    struct engine_flight *run = publishing->run;
    (void)record;
    publishing_free(publishing);
    CRASH_POINT("registration_committed");
    ASSERT(run); /* its verdict waits for this */
    if (rc == OK && result != CLAIM_OK)
        rc = E_CONFLICT;
    run->has_token = rc == OK && run->token.text[0];
    engine_note_rc(run, TIMELINE_PUBLISHED, rc);
    enum flight_order order = flight_on_registered(&run->flight, rc);
    if (order == FLIGHT_WAIT || order == FLIGHT_CALL || order == FLIGHT_COUNT)
        engine_edge_continue(run, rc);
    engine_flight_perform(run, order);
}

/* A keyless flight gets a row, under a key that nobody can send. */
static enum rc enter_in_store(struct engine_flight *run)
{
    struct intake *intake = run->intake;
    struct store_request request;
    enum rc rc = engine_own_key(&run->id, &intake->key);
    if (rc != OK || !run->engine->store)
        return rc != OK ? rc : E_CLOSED;
    const struct store_claim claim = {
        .key = intake->key,
        .scope = intake->caller.scope,
        .fingerprint = intake->fingerprint,
        .flight = run->id,
        .route = span_of(api_route(intake->api)),
        .now_ms = clock_unix_ms(),
        .paid_calls_max = intake->config->idempotency.paid_calls_max,
        .paid_calls = flight_register(&run->flight),
        .publication = publication_of(run, NULL, &request),
    };
    struct publishing *publishing = publishing_new(run);
    rc = publishing ? store_claim(run->engine->store, &claim, on_registered, publishing)
                    : E_NOMEM;
    if (rc == OK)
        return OK;
    if (publishing)
        publishing_free(publishing);
    enum flight_order order = flight_on_registered(&run->flight, rc);
    ASSERT(order == FLIGHT_WAIT); /* nothing was concluded meanwhile */
    return rc;
}

/* ---- the end of a hold */

static bool can_publish(const struct engine_flight *run)
{
    switch (run->flight.state) {
    case FLIGHT_CALLING:
    case FLIGHT_PAUSING:
    case FLIGHT_COUNTING:
    case FLIGHT_QUEUED:
        return run->flight.claimed;
    case FLIGHT_NEW:
    case FLIGHT_LOOKING_UP:
    case FLIGHT_CLAIMING:
    case FLIGHT_COMMITTING:
    case FLIGHT_ENDED:
    case FLIGHT_STATE_COUNT:
        break;
    }
    return false;
}

/* Whether the store has what this waiter is to be told. */
static bool is_published_for(const struct waiter *waiter)
{
    const struct engine_flight *run = waiter->flight;
    bool claimed = can_publish(run);
    if (waiter->edge.accepts)
        return waiter->is_result || (claimed && run->has_token && run->flight.params.accepted);
    switch (waiter->edge.edge) {
    case EDGE_REDIRECT:
        return waiter->is_result || (claimed && run->has_token);
    case EDGE_HEARTBEAT:
        return claimed;
    case EDGE_WAIT:
    case EDGE_CONFLICT:
        break;
    }
    return true;
}

/* Due waiters are told once this comes back, or once the flight has got so far that it can be
 * tried.  False: it cannot be published. */
static bool begin_publishing(struct engine_flight *run)
{
    if (run->publishing || !run->engine->store)
        return run->publishing != NULL;
    if (can_publish(run))
        return publish(run) == OK;
    if (flight_can_register(&run->flight))
        return enter_in_store(run) == OK;
    return !run->flight.without_store;
}

static void wait_on(struct waiter *waiter)
{
    engine_edge_end(waiter);
    waiter->edge = EDGE_PLAN_WAIT;
}

static void begin_beating(struct waiter *waiter);

static void tell_conflict(struct waiter *waiter)
{
    waiter->engine->counts.conflicts++;
    waiter->hold_end = "conflict";
    engine_send_away(waiter, HTTP_ERROR_IN_PROGRESS, waiter->edge.conflict_status, NULL);
}

/* The token that this waiter may be told; NULL: there is none in the store. */
static const struct result_token *token_for(const struct waiter *waiter)
{
    if (waiter->is_result && waiter->ref.by_token)
        return &waiter->ref.token;
    return waiter->flight->has_token ? &waiter->flight->token : NULL;
}

/* What a URL is handed out with: 303 or 202. */
static void tell_url(struct waiter *waiter)
{
    struct engine_flight *run = waiter->flight;
    const struct assemble_progress progress =
        run->transfer ? transfer_progress(run->transfer) : (struct assemble_progress){0};
    const struct reply_running running = {
        .flight_id = run->id_text,
        .status = waiter->edge.accepts ? 202 : 303,
        .token = token_for(waiter),
        .hop = waiter->edge.accepts ? 0 : waiter->hop + 1,
        .edge = &waiter->edge,
        .attempt = run->flight.attempts,
        .elapsed_ms = engine_now_ms(waiter->engine) - run->start_ms,
        .output_bytes = progress.output_bytes,
    };
    struct engine_counts *counts = &waiter->engine->counts;
    *(running.status == 202 ? &counts->accepted : &counts->redirects) += 1;
    waiter->hold_end = running.status == 202 ? "accepted" : "redirect";
    memcpy(waiter->id_text, run->id_text, sizeof waiter->id_text);
    waiter->status = running.status;
    waiter->due = false;
    run->handed_out |= running.token != NULL;
    engine_detach(waiter);
    reply_running(waiter->request, &running);
    engine_unattended(run);
}

/* The chain of redirects is as long as it may be. */
static void tell_end_of_chain(struct waiter *waiter)
{
    waiter->hold_end = "end_of_chain";
    engine_send_away(waiter, HTTP_ERROR_IN_PROGRESS, EDGE_CONFLICT_STATUS, NULL);
}

static void tell_due(struct waiter *waiter)
{
    const struct engine_flight *run = waiter->flight;
    waiter->due = false;
    if (waiter->edge.accepts) {
        tell_url(waiter);
        return;
    }
    switch (waiter->edge.edge) {
    case EDGE_WAIT:
        return;
    case EDGE_CONFLICT:
        tell_conflict(waiter);
        return;
    case EDGE_REDIRECT:
        if (waiter->is_result && waiter->hop >= run->intake->route->hops_max)
            tell_end_of_chain(waiter);
        else
            tell_url(waiter);
        return;
    case EDGE_HEARTBEAT:
        begin_beating(waiter);
        return;
    }
}

/* The hold is over and the flight has no slot yet: nothing can be promised, and to keep the
 * caller longer is to lose it.  Its retry finds the flight, if it can, in its place. */
static void tell_overload(struct waiter *waiter)
{
    waiter->hold_end = "overloaded";
    engine_send_away(waiter, HTTP_ERROR_OVERLOADED, 0, "no flight slot became free in time");
}

static void on_due(struct waiter *waiter)
{
    if (is_published_for(waiter)) {
        tell_due(waiter);
        return;
    }
    if (!waiter->edge.accepts && waiter->flight->flight.state == FLIGHT_QUEUED &&
        flight_has_not_begun(&waiter->flight->flight)) {
        tell_overload(waiter);
        return;
    }
    waiter->due = true;
    if (!begin_publishing(waiter->flight))
        wait_on(waiter);
}

void engine_edge_continue(struct engine_flight *run, enum rc rc)
{
    struct list *link = run->waiters.next;
    while (link != &run->waiters) {
        struct list *next = link->next;
        struct waiter *waiter = CONTAINER_OF(link, struct waiter, link);
        if (waiter->due && (rc == OK || is_published_for(waiter)))
            on_due(waiter);
        else if (waiter->due)
            wait_on(waiter);
        link = next;
    }
}

bool engine_edge_hand_over(struct waiter *waiter)
{
    const struct engine_flight *run = waiter->flight;
    bool to_be_told = waiter->edge.accepts || waiter->edge.edge == EDGE_REDIRECT;
    bool told = to_be_told && (waiter->is_result || run->has_token);
    if (told)
        tell_due(waiter);
    return told;
}

/* ---- holds */

/* A heartbeat begins with the output, not before heartbeat_after_ms, but when the hold is over
 * at the latest. */
static int64_t next_look_ms(const struct waiter *waiter, int64_t now_ms)
{
    const struct edge_plan *plan = &waiter->edge;
    bool early = plan->edge == EDGE_HEARTBEAT && plan->heartbeat_after_ms < plan->hold_ms;
    int64_t after_ms = waiter->arrival_ms + plan->heartbeat_after_ms;
    return early && now_ms < after_ms ? after_ms : waiter->arrival_ms + plan->hold_ms;
}

static void on_hold(struct timer *timer);

static enum rc arm_hold(struct waiter *waiter)
{
    int64_t now_ms = engine_now_ms(waiter->engine);
    waiter->hold.run = on_hold;
    return timers_start(timers_of(waiter), &waiter->hold, next_look_ms(waiter, now_ms));
}

static void on_hold(struct timer *timer)
{
    struct waiter *waiter = CONTAINER_OF(timer, struct waiter, hold);
    bool over = engine_now_ms(waiter->engine) >= waiter->arrival_ms + waiter->edge.hold_ms;
    if (over || waiter->flight->had_output)
        on_due(waiter);
    else if (arm_hold(waiter) != OK)
        wait_on(waiter);
}

void engine_edge_on_output(struct engine_flight *run)
{
    int64_t now_ms = engine_now_ms(run->engine);
    for (struct list *link = run->waiters.next; link != &run->waiters; link = link->next) {
        struct waiter *waiter = CONTAINER_OF(link, struct waiter, link);
        bool early = waiter->edge.edge == EDGE_HEARTBEAT && !waiter->edge.accepts &&
                     !waiter->beating && !waiter->due;
        if (early && now_ms >= waiter->arrival_ms + waiter->edge.heartbeat_after_ms)
            on_due(waiter);
    }
}

enum rc engine_edge_begin(struct waiter *waiter)
{
    waiter->arrival_ms = engine_now_ms(waiter->engine);
    if (waiter->edge.hold_ms == EDGE_NEVER)
        return OK;
    return arm_hold(waiter);
}

void engine_edge_end(struct waiter *waiter)
{
    waiter->due = false;
    timers_stop(timers_of(waiter), &waiter->hold);
}

/* ---- heartbeats */

static void on_beat(struct timer *timer);

/* Without memory for its timer it goes on without beats. */
static void arm_beat(struct waiter *waiter)
{
    int64_t due_ms = edge_next_beat_ms(engine_now_ms(waiter->engine), waiter->edge.beat_ms);
    waiter->hold.run = on_beat;
    (void)!timers_start(timers_of(waiter), &waiter->hold, due_ms);
}

static void on_beat(struct timer *timer)
{
    struct waiter *waiter = CONTAINER_OF(timer, struct waiter, hold);
    http_request_beat(waiter->request);
    arm_beat(waiter);
}

static void begin_beating(struct waiter *waiter)
{
    memcpy(waiter->id_text, waiter->flight->id_text, sizeof waiter->id_text);
    waiter->beating = true;
    waiter->flight->handed_out = true; /* its id finds the result */
    waiter->engine->counts.heartbeats++;
    waiter->hold_end = "heartbeat";
    reply_begin(waiter->request, waiter->id_text, waiter->edge.bytes);
    arm_beat(waiter);
}
