#include "core/flight.h"

const char *flight_state_name(enum flight_state state)
{
    static const char *const names[FLIGHT_STATE_COUNT] = {
#define X(name, word) [name] = word,
        FLIGHT_STATE_TABLE(X)
#undef X
    };
    return names[state];
}

void flight_init(struct flight *flight, const struct flight_params *params)
{
    *flight = (struct flight){.params = *params, .state = FLIGHT_NEW};
}

/* Whether there is something to count and to make durable. */
static bool uses_store(const struct flight *flight)
{
    return flight->params.keyed && !flight->without_store;
}

/* Where the state changes: each order leads to the state in which its completion is awaited. */
static enum flight_order enter(struct flight *flight, enum flight_order order)
{
    switch (order) {
    case FLIGHT_WAIT:
    case FLIGHT_ABORT:
        break;
    case FLIGHT_LOOK_UP:
        flight->state = FLIGHT_LOOKING_UP;
        break;
    case FLIGHT_ADMIT:
        flight->state = FLIGHT_QUEUED;
        break;
    case FLIGHT_CLAIM:
        flight->state = FLIGHT_CLAIMING;
        break;
    case FLIGHT_CALL:
        ASSERT(!uses_store(flight) || flight->call_in_hand);
        flight->state = FLIGHT_CALLING;
        flight->call_in_hand = false;
        flight->output_began = false;
        flight->attempts++;
        break;
    case FLIGHT_PAUSE:
        flight->state = FLIGHT_PAUSING;
        break;
    case FLIGHT_COUNT:
        flight->state = FLIGHT_COUNTING;
        break;
    case FLIGHT_COMPLETE:
    case FLIGHT_FAIL:
    case FLIGHT_RELEASE:
        flight->state = FLIGHT_COMMITTING;
        break;
    case FLIGHT_ANSWER:
        flight->state = FLIGHT_ENDED;
        break;
    }
    return order;
}

/* The verdict stands: make it durable if there is a key, then answer. */
static enum flight_order conclude(struct flight *flight, struct verdict verdict)
{
    flight->verdict = verdict;
    flight->unstored = flight->without_store;
    if (flight->registering) {
        flight->state = FLIGHT_COMMITTING;
        return FLIGHT_WAIT;
    }
    if (!uses_store(flight))
        return enter(flight, FLIGHT_ANSWER);
    switch (verdict.keep) {
    case KEEP_ANSWER:
        return enter(flight, FLIGHT_COMPLETE);
    case KEEP_FAILURE:
        return enter(flight, FLIGHT_FAIL);
    case KEEP_RUNNING:
        return enter(flight, FLIGHT_ANSWER);
    case KEEP_NOTHING:
        break;
    }
    return enter(flight, FLIGHT_RELEASE);
}

/* The flight never owned its key: nothing to make durable. */
static enum flight_order refuse(struct flight *flight, struct verdict verdict)
{
    flight->verdict = verdict;
    return enter(flight, FLIGHT_ANSWER);
}

enum flight_order flight_start(struct flight *flight)
{
    ASSERT(flight->state == FLIGHT_NEW);
    bool looks_up = flight->params.keyed && !flight->params.own_key;
    return enter(flight, looks_up ? FLIGHT_LOOK_UP : FLIGHT_ADMIT);
}

enum flight_order flight_resume(struct flight *flight, int64_t now_ms, bool may_run)
{
    ASSERT(flight->state == FLIGHT_NEW && flight->params.keyed);
    flight->claimed = true;
    if (!may_run)
        return conclude(flight, verdict_error(HTTP_ERROR_OUTCOME_UNKNOWN, NULL));
    if (now_ms >= flight->params.deadline_ms)
        return conclude(flight, verdict_error(HTTP_ERROR_DEADLINE, NULL));
    return enter(flight, FLIGHT_ADMIT);
}

/* No call starts any more: somebody stopped it, or the store took longer than its waiters do. */
static bool must_end(struct flight *flight)
{
    if (flight->late && !flight->stopping) {
        flight->stopping = true;
        flight->verdict = verdict_error(HTTP_ERROR_DEADLINE, NULL);
    }
    return flight->stopping;
}

/* The answer for a key that this flight cannot run. */
static enum flight_order refuse_key(struct flight *flight, enum flight_key key)
{
    switch (key) {
    case FLIGHT_KEY_ANSWERED:
        return refuse(flight, (struct verdict){.body = VERDICT_STORED});
    case FLIGHT_KEY_OTHER:
        return refuse(flight, verdict_error(HTTP_ERROR_KEY_REUSED, NULL));
    case FLIGHT_KEY_CORRUPT:
        return refuse(flight, verdict_error(HTTP_ERROR_STORE_CORRUPT, NULL));
    case FLIGHT_KEY_UNKNOWN:
        return refuse(flight, verdict_error(HTTP_ERROR_OUTCOME_UNKNOWN, NULL));
    case FLIGHT_KEY_NO_ROOM:
        return refuse(flight, verdict_error(HTTP_ERROR_OVERLOADED, "its memory is full"));
    case FLIGHT_KEY_USED_UP:
        return refuse(flight, verdict_error(HTTP_ERROR_PAID_CALLS_EXHAUSTED, NULL));
    case FLIGHT_KEY_FREE:
    case FLIGHT_KEY_TROUBLE:
        break;
    }
    return refuse(flight, verdict_error(HTTP_ERROR_STORE_UNAVAILABLE, NULL));
}

enum flight_order flight_on_lookup(struct flight *flight, enum flight_key key)
{
    ASSERT(flight->state == FLIGHT_LOOKING_UP);
    /* A claim looks the key up too, and may yet succeed. */
    bool tries = key == FLIGHT_KEY_TROUBLE && flight->params.store_optional;
    if (key != FLIGHT_KEY_FREE && !tries)
        return refuse_key(flight, key);
    if (must_end(flight))
        return enter(flight, FLIGHT_ANSWER);
    return enter(flight, FLIGHT_ADMIT);
}

/* ---- admission */

static bool is_to_be_claimed(const struct flight *flight)
{
    return uses_store(flight) && !flight->claimed;
}

bool flight_has_not_begun(const struct flight *flight)
{
    bool early = flight->state == FLIGHT_NEW || flight->state == FLIGHT_LOOKING_UP ||
                 flight->state == FLIGHT_QUEUED;
    return early && !flight->claimed && flight->attempts == 0;
}

/* It ends while it waits for admission. */
static enum flight_order leave_queue(struct flight *flight, struct verdict verdict)
{
    ASSERT(flight->state == FLIGHT_QUEUED);
    return is_to_be_claimed(flight) ? refuse(flight, verdict) : conclude(flight, verdict);
}

enum flight_order flight_on_admitted(struct flight *flight)
{
    ASSERT(flight->state == FLIGHT_QUEUED);
    if (must_end(flight))
        return leave_queue(flight, flight->verdict);
    if (is_to_be_claimed(flight))
        return enter(flight, FLIGHT_CLAIM);
    if (flight->registering && !flight->counted_ahead) {
        flight->next_waits = true;
        return FLIGHT_WAIT;
    }
    flight->counted_ahead = false;
    bool counted = !uses_store(flight) || flight->call_in_hand;
    return enter(flight, counted ? FLIGHT_CALL : FLIGHT_COUNT);
}

enum flight_order flight_refuse(struct flight *flight, enum http_error why, const char *detail,
                                unsigned retry_after_s)
{
    struct verdict verdict = verdict_error(why, detail);
    if (retry_after_s > 0)
        verdict.retry_after_s = retry_after_s;
    return leave_queue(flight, verdict);
}

/* ---- claim and calls */

enum flight_order flight_on_claim(struct flight *flight, enum flight_key key)
{
    ASSERT(flight->state == FLIGHT_CLAIMING);
    flight->without_store = key == FLIGHT_KEY_TROUBLE && flight->params.store_optional;
    if (key != FLIGHT_KEY_FREE && !flight->without_store)
        return refuse_key(flight, key);
    flight->claimed = flight->call_in_hand = !flight->without_store;
    if (must_end(flight))
        return conclude(flight, flight->verdict);
    return enter(flight, FLIGHT_CALL);
}

void flight_on_output(struct flight *flight)
{
    ASSERT(flight->state == FLIGHT_CALLING);
    flight->output_began = true;
}

enum flight_order flight_on_call_end(struct flight *flight,
                                     const struct attempt_outcome *outcome,
                                     struct retry_budget *budget, int64_t now_ms,
                                     int64_t now_unix_s, uint64_t dice)
{
    ASSERT(flight->state == FLIGHT_CALLING);
    flight->malformed += outcome->end == ATTEMPT_MALFORMED;
    flight->call_in_hand = uses_store(flight) && !attempt_may_be_billed(outcome);
    if (flight->params.relayed)
        return conclude(flight,
                        verdict_of_relayed(outcome, attempt_retry_after_ms(outcome, now_unix_s),
                                           flight->params.key_is_ours));
    const struct retry_situation situation = {
        .attempts = flight->attempts,
        .malformed = flight->malformed,
        .now_ms = now_ms,
        .deadline_ms = flight->params.deadline_ms,
        .now_unix_s = now_unix_s,
        .dice = dice,
        .elsewhere = flight->fallback_open,
    };
    struct retry_decision decision =
        retry_decide(&flight->params.retry, budget, outcome, &situation);
    flight->elsewhere = decision.verdict == RETRY_ELSEWHERE;
    if (decision.verdict == RETRY_LATER || flight->elsewhere) {
        flight->pause_ms = flight->elsewhere ? 0 : decision.pause_ms;
        return enter(flight, FLIGHT_PAUSE);
    }
    return conclude(flight, verdict_of(outcome, &decision, flight->params.key_is_ours));
}

enum flight_order flight_on_pause_end(struct flight *flight)
{
    ASSERT(flight->state == FLIGHT_PAUSING);
    return enter(flight, FLIGHT_ADMIT);
}

enum flight_order flight_on_count(struct flight *flight, enum rc rc)
{
    ASSERT(flight->state == FLIGHT_COUNTING);
    if (rc == E_LIMIT) {
        struct verdict verdict = verdict_error(HTTP_ERROR_PAID_CALLS_EXHAUSTED, NULL);
        verdict.keep = KEEP_FAILURE;
        return conclude(flight, flight->stopping ? flight->verdict : verdict);
    }
    if (rc != OK) {
        struct verdict verdict = verdict_error(HTTP_ERROR_STORE_UNAVAILABLE, NULL);
        return conclude(flight, flight->stopping ? flight->verdict : verdict);
    }
    flight->call_in_hand = true;
    if (must_end(flight))
        return conclude(flight, flight->verdict);
    return enter(flight, FLIGHT_CALL);
}

enum flight_order flight_on_commit(struct flight *flight, enum rc rc)
{
    ASSERT(flight->state == FLIGHT_COMMITTING);
    flight->unstored = rc != OK;
    return enter(flight, FLIGHT_ANSWER);
}

void flight_on_join(struct flight *flight, int64_t deadline_ms)
{
    /* Else those who join one after the other could keep a slow stream alive for ever.  A flight
     * that is late stays so, as its ceiling may have passed, too. */
    bool beyond = deadline_ms > flight->params.ceiling_ms;
    if (beyond)
        deadline_ms = flight->params.ceiling_ms;
    if (deadline_ms <= flight->params.deadline_ms)
        return;
    flight->params.deadline_ms = deadline_ms;
    if (!beyond)
        flight->late = false;
}

int64_t flight_deadline_ms(const struct flight *flight, int64_t now_ms)
{
    return now_ms < flight->params.deadline_ms ? flight->params.deadline_ms
                                               : flight->params.ceiling_ms;
}

enum flight_order flight_on_deadline(struct flight *flight, int64_t now_ms)
{
    bool producing = flight->output_began && flight->params.may_outlive;
    if (flight->state == FLIGHT_QUEUED && now_ms >= flight->params.deadline_ms)
        return leave_queue(flight, verdict_error(HTTP_ERROR_DEADLINE, NULL));
    if (flight->state != FLIGHT_CALLING) {
        flight->late = now_ms >= flight->params.deadline_ms;
        return FLIGHT_WAIT;
    }
    return producing && now_ms < flight->params.ceiling_ms ? FLIGHT_WAIT : FLIGHT_ABORT;
}

/* Its last call is over, and the next one not yet to come. */
static bool is_between_calls(const struct flight *flight)
{
    return flight->state == FLIGHT_PAUSING ||
           (flight->state == FLIGHT_QUEUED && flight->attempts > 0);
}

bool flight_can_register(const struct flight *flight)
{
    bool called = flight->state == FLIGHT_CALLING || is_between_calls(flight);
    return called && !flight->params.keyed && !flight->registering && !flight->stopping;
}

unsigned flight_register(struct flight *flight)
{
    ASSERT(flight_can_register(flight));
    flight->registering = true;
    flight->next_waits = false;
    flight->counted_ahead = is_between_calls(flight);
    return flight->attempts + flight->counted_ahead;
}

enum flight_order flight_on_registered(struct flight *flight, enum rc rc)
{
    ASSERT(flight->registering);
    flight->registering = false;
    flight->params.keyed = flight->claimed = rc == OK;
    flight->call_in_hand = rc == OK && flight->counted_ahead;
    if (flight->state == FLIGHT_COMMITTING)
        return conclude(flight, flight->verdict);
    return flight->next_waits ? flight_on_admitted(flight) : FLIGHT_WAIT;
}

enum flight_order flight_stop(struct flight *flight, enum http_error why, const char *detail)
{
    bool concluded = flight->state == FLIGHT_COMMITTING || flight->state == FLIGHT_ENDED;
    if (concluded || flight->stopping)
        return FLIGHT_WAIT;
    flight->stopping = true;
    flight->verdict = verdict_error(why, detail);
    if (flight->params.accepted && why == HTTP_ERROR_DRAINING)
        flight->verdict.keep = KEEP_RUNNING;
    switch (flight->state) {
    case FLIGHT_CALLING:
        return FLIGHT_ABORT;
    case FLIGHT_PAUSING:
        return conclude(flight, flight->verdict);
    case FLIGHT_QUEUED:
        return leave_queue(flight, flight->verdict);
    case FLIGHT_NEW:
    case FLIGHT_LOOKING_UP:
    case FLIGHT_CLAIMING:
    case FLIGHT_COUNTING:
    case FLIGHT_COMMITTING:
    case FLIGHT_ENDED:
    case FLIGHT_STATE_COUNT:
        break;
    }
    return FLIGHT_WAIT;
}

enum flight_order flight_on_stopped(struct flight *flight)
{
    ASSERT(flight->state == FLIGHT_CALLING && flight->stopping);
    return conclude(flight, flight->verdict);
}
