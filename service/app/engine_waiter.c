/* Waiters: how a request waits for a flight, and how it gets its reply. */
#include "app/engine_internal.h"

#include "app/clock.h"

#include <string.h>

enum {
    /* How long a waiter stays past its deadline for a verdict that is being made durable. */
    VERDICT_GRACE_MS = 5000,
};

/* ---- replies to waiters */

void engine_note_flight(struct waiter *waiter, const struct engine_flight *run)
{
    int64_t until_ms = run->end_ms < 0 ? engine_now_ms(waiter->engine) : run->end_ms;
    waiter->attempts = run->flight.attempts;
    waiter->queue_ms = engine_queue_ms(run);
    waiter->first_event_ms = run->first_event_ms;
    waiter->generation_ms = run->first_call_ms < 0 ? -1 : until_ms - run->first_call_ms;
    if (!waiter->upstream.p)
        waiter->upstream =
            arena_copy(http_request_arena(waiter->request), run->intake->upstream->name);
}

void engine_detach(struct waiter *waiter)
{
    if (!waiter->flight)
        return;
    engine_note_flight(waiter, waiter->flight);
    timers_stop(event_loop_timers(waiter->engine->loop), &waiter->deadline);
    engine_edge_end(waiter);
    list_remove(&waiter->link);
    waiter->flight->attending -= !waiter->left;
    waiter->engine->waiter_count--;
    waiter->flight = NULL;
}

/* A reply that has begun cannot become an error any more: it is cut off. */
static void cut_off(struct waiter *waiter)
{
    enum rc rc = http_request_finish_reply(waiter->request, NULL);
    ASSERT(rc == OK);
}

static void refuse(struct waiter *waiter, const struct reply_refusal *refusal)
{
    const struct http_error_info *info = http_error_info(refusal->error);
    waiter->status = (int)(refusal->status ? refusal->status : info->status);
    waiter->error_code = info->code;
    waiter->engine->counts.refused++;
    if (adoption_invites_retry(waiter->status, info->retry))
        engine_note_invitation(waiter);
    if (waiter->beating)
        cut_off(waiter);
    else
        reply_refuse(waiter->request, refusal);
}

void engine_refuse_method(struct waiter *waiter, enum http_error error, const char *detail,
                          struct span allow)
{
    const struct reply_refusal what = {
        .shape = waiter->shape,
        .error = error,
        .detail = detail,
        .flight_id = waiter->id_text,
        .allow = allow,
    };
    refuse(waiter, &what);
}

void engine_refuse_because(struct waiter *waiter, enum http_error error, const char *why)
{
    const struct reply_refusal what = {
        .shape = waiter->shape,
        .error = error,
        .why = why,
        .flight_id = waiter->id_text,
    };
    refuse(waiter, &what);
}

void engine_send_away(struct waiter *waiter, enum http_error error, unsigned status,
                      const char *why)
{
    struct engine_flight *run = waiter->flight;
    const struct reply_refusal what = {
        .shape = waiter->shape,
        .error = error,
        .status = status,
        .why = why,
        .flight_id = waiter->id_text,
        .edge = &waiter->edge,
    };
    memcpy(waiter->id_text, run->id_text, sizeof waiter->id_text);
    engine_detach(waiter);
    refuse(waiter, &what);
    engine_unattended(run);
}

void engine_tell(struct waiter *waiter, struct flight_id flight, const struct reply *reply)
{
    bool is_cut = waiter->beating && reply->answer.status != 200;
    struct blob *body = is_cut ? NULL : reply->answer.body;
    if (body)
        engine_hold_body(waiter, flight, body);
    if (!waiter->beating)
        reply_send(waiter->request, reply);
    else if (http_request_finish_reply(waiter->request, body) != OK)
        waiter->error_code = "heartbeat_overflow";
}

void engine_refuse(struct waiter *waiter, enum http_error error, const char *detail)
{
    engine_refuse_method(waiter, error, detail, SPAN_ABSENT);
}

static void note_for_log(struct waiter *waiter, const struct engine_flight *run)
{
    const struct assemble_progress *progress = &run->outcome.progress;
    bool stored = run->flight.verdict.body == VERDICT_STORED;
    engine_note_flight(waiter, run);
    waiter->status = run->answer.status;
    waiter->usage = stored ? usage_of_answer(blob_span(run->answer.body))
                           : (struct usage){progress->input_tokens, progress->output_tokens};
    if (stored && waiter->started_flight)
        waiter->duplicate = SOURCE_REPLAYED;
    if (run->flight.verdict.body == VERDICT_OWN_ERROR)
        waiter->error_code = http_error_info(run->flight.verdict.error)->code;
    memcpy(waiter->id_text, run->id_text, sizeof waiter->id_text);
}

/* Where this waiter's answer came from. */
static enum source source_of(const struct waiter *waiter, const struct engine_flight *run)
{
    if (waiter->adopted)
        return SOURCE_ADOPTED;
    bool joined = !waiter->started_flight && run->source == SOURCE_EXECUTED;
    return joined ? SOURCE_JOINED : run->source;
}

/* What is stored and not a 200 is a paid failure, which a retry would only get again. */
static enum http_error_retry retry_advice(const struct engine_flight *run)
{
    bool stored = run->flight.verdict.body == VERDICT_STORED;
    return stored && run->answer.error_code.p ? HTTP_ERROR_RETRY_NO : run->flight.verdict.retry;
}

void engine_telling(struct waiter *waiter, struct engine_flight *run)
{
    if (!engine_keeps(run) || waiter->left)
        return;
    engine_attended(run);
    waiter->told = run;
    run->telling++;
}

void engine_answer(struct waiter *waiter, struct engine_flight *run)
{
    bool called = run->flight.attempts > 0;
    waiter->source = source_of(waiter, run);
    note_for_log(waiter, run);
    const struct reply_timing timing = {
        .queue_ms = run->queue_ms,
        .first_event_ms = run->first_event_ms,
        .generation_ms = waiter->generation_ms,
        .attempts = run->flight.attempts,
    };
    const struct reply reply = {
        .answer = run->answer,
        .flight_id = run->id_text,
        .provider = run->intake->upstream->provider,
        .source = waiter->source,
        .retry = retry_advice(run),
        .retry_after_s = run->flight.verdict.retry_after_s,
        .timing = called ? &timing : NULL,
        .upstream = called && !run->is_over ? &run->outcome : NULL,
        .edge = &waiter->edge,
        .vary = !run->intake->relay.p,
    };
    if (adoption_invites_retry(run->answer.status, reply.retry))
        engine_note_invitation(waiter);
    engine_tell(waiter, run->id, &reply);
    engine_telling(waiter, run);
}

void engine_answer_waiters(struct engine_flight *run)
{
    struct list *link;
    while (!list_is_empty(&run->waiters)) {
        link = run->waiters.next;
        struct waiter *waiter = CONTAINER_OF(link, struct waiter, link);
        if (run->flight.verdict.keep == KEEP_RUNNING && engine_edge_hand_over(waiter))
            continue;
        engine_detach(waiter);
        if (waiter->cancels)
            engine_answer_cancel(waiter, run);
        else if (run->answer.body)
            engine_answer(waiter, run);
        else
            engine_refuse_because(waiter, HTTP_ERROR_OVERLOADED, "out of memory");
    }
}

/* This request's time is over, its flight perhaps not. */
static void on_waiter_deadline(struct timer *timer)
{
    struct waiter *waiter = CONTAINER_OF(timer, struct waiter, deadline);
    struct engine_flight *run = waiter->flight;
    struct timers *timers = event_loop_timers(waiter->engine->loop);
    int64_t now_ms = engine_now_ms(waiter->engine);
    bool goes_on = run->flight.params.deadline_ms > now_ms ||
                   (run->flight.params.may_outlive && run->flight.output_began);
    bool waited_for_verdict = now_ms >= waiter->deadline_ms + VERDICT_GRACE_MS;
    if (!goes_on && !waited_for_verdict &&
        timers_start(timers, timer, waiter->deadline_ms + VERDICT_GRACE_MS) == OK)
        return; /* the flight ends at this moment too, and its verdict says more */
    engine_send_away(waiter, HTTP_ERROR_DEADLINE_RUNNING, 0, NULL);
}

enum rc engine_wait_for(struct waiter *waiter, struct engine_flight *run, int64_t wait_ms)
{
    struct timers *timers = event_loop_timers(waiter->engine->loop);
    waiter->deadline_ms = engine_now_ms(waiter->engine) + wait_ms;
    waiter->deadline.run = on_waiter_deadline;
    enum rc rc = timers_start(timers, &waiter->deadline, waiter->deadline_ms);
    if (rc != OK)
        return rc;
    waiter->flight = run;
    list_append(&run->waiters, &waiter->link);
    run->attending += !waiter->left;
    waiter->engine->waiter_count++;
    engine_note_waiter(run, waiter);
    engine_attended(run);
    rc = engine_edge_begin(waiter);
    if (rc != OK)
        engine_detach(waiter);
    return rc;
}

/* The key runs, for another request. */
static void refuse_reuse(struct waiter *waiter, const struct engine_flight *run)
{
    int64_t running_ms = engine_now_ms(waiter->engine) - run->start_ms;
    const char *how = engine_explain_reuse(waiter->intake, run->intake->members.hashes,
                                           clock_unix_ms() - running_ms);
    engine_refuse_because(waiter, HTTP_ERROR_KEY_REUSED, how);
}

void engine_join(struct waiter *waiter, struct engine_flight *run)
{
    const struct intake *intake = waiter->intake;
    if (!digest_eq(&run->intake->fingerprint, &intake->fingerprint)) {
        refuse_reuse(waiter, run);
        return;
    }
    memcpy(waiter->id_text, run->id_text, sizeof waiter->id_text);
    if (run->attending >= intake->config->idempotency.waiters_max) {
        engine_refuse(waiter, HTTP_ERROR_IN_PROGRESS, NULL);
        return;
    }
    if (run->flight.state < FLIGHT_COMMITTING) /* who forbids it at rest decides for all */
        run->intake->memory_only |= intake->memory_only;
    waiter->edge = intake->edge;
    if (engine_wait_for(waiter, run, intake->wait_ms) != OK) {
        engine_refuse_because(waiter, HTTP_ERROR_OVERLOADED, "out of memory");
        return;
    }
    waiter->duplicate = waiter->adopted ? SOURCE_ADOPTED : SOURCE_JOINED;
    engine_flight_join(run, waiter->deadline_ms);
}
