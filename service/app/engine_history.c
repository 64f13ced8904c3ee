/* What operators are told: each flight's timeline, the flights and requests that are over. */
#include "app/engine_internal.h"

#include "app/clock.h"

#include <stdlib.h>
#include <string.h>

/* ---- timelines */

static void add(struct engine_flight *run, struct timeline_note note)
{
    struct ended_flight *ended =
        run->is_over ? history_flight(run->engine->history, run->id) : NULL;
    note.at_ms = engine_now_ms(run->engine) - run->start_ms;
    timeline_add(ended ? &ended->timeline : &run->timeline, &note);
}

void engine_note(struct engine_flight *run, enum timeline_event event, const char *word)
{
    add(run, (struct timeline_note){.event = event, .word = word});
}

void engine_note_ms(struct engine_flight *run, enum timeline_event event, int64_t ms)
{
    add(run, (struct timeline_note){.event = event, .ms = ms});
}

void engine_note_rc(struct engine_flight *run, enum timeline_event event, enum rc rc)
{
    engine_note(run, event, rc == OK ? NULL : rc_text(rc));
}

static const char *key_text(enum flight_key key)
{
    switch (key) {
    case FLIGHT_KEY_FREE:
        return "it is free";
    case FLIGHT_KEY_ANSWERED:
        return "it is answered";
    case FLIGHT_KEY_OTHER:
        return "it belongs to another request";
    case FLIGHT_KEY_CORRUPT:
        return "its answer is damaged";
    case FLIGHT_KEY_UNKNOWN:
        return "a crash cut its flight off";
    case FLIGHT_KEY_NO_ROOM:
        return "memory has no room for its answer";
    case FLIGHT_KEY_USED_UP:
        return "its paid calls are used up";
    case FLIGHT_KEY_TROUBLE:
        break;
    }
    return "the store failed";
}

void engine_note_lookup(struct engine_flight *run, enum flight_key key,
                        const struct key_record *record)
{
    if (record)
        run->paid_calls = (int)record->paid_calls;
    engine_note(run, TIMELINE_LOOKED_UP, key_text(key));
}

void engine_note_claim(struct engine_flight *run, enum flight_key key)
{
    bool claimed = key == FLIGHT_KEY_FREE;
    if (claimed)
        run->paid_calls = run->paid_calls < 0 ? 1 : run->paid_calls + 1;
    engine_note(run, TIMELINE_CLAIMED, claimed ? NULL : key_text(key));
}

void engine_note_count(struct engine_flight *run, enum rc rc, unsigned paid_calls)
{
    const char *used_up = key_text(FLIGHT_KEY_USED_UP);
    if (rc == OK)
        run->paid_calls = (int)paid_calls;
    add(run, (struct timeline_note){
                 .event = TIMELINE_COUNTED,
                 .word = rc == OK        ? NULL
                         : rc == E_LIMIT ? used_up
                                         : rc_text(rc),
                 .number = paid_calls,
             });
}

void engine_note_release(struct engine_flight *run, enum rc rc)
{
    if (rc == OK && run->flight.call_in_hand && run->paid_calls > 0)
        run->paid_calls--;
    engine_note_rc(run, TIMELINE_RELEASED, rc);
}

void engine_note_call(struct engine_flight *run, enum timeline_event event)
{
    add(run, (struct timeline_note){
                 .event = event,
                 .attempt = run->flight.attempts,
                 .upstream = run->intake->upstream->name,
             });
}

void engine_note_output(struct engine_flight *run)
{
    int64_t now_ms = engine_now_ms(run->engine);
    if (run->first_output_ms < 0)
        run->first_output_ms = now_ms - run->first_call_ms;
    add(run, (struct timeline_note){
                 .event = TIMELINE_OUTPUT,
                 .attempt = run->flight.attempts,
                 .ms = now_ms - run->call_start_ms,
             });
}

void engine_note_call_end(struct engine_flight *run, bool cancelled)
{
    const struct attempt_outcome *outcome = &run->outcome;
    struct headers headers = {outcome->headers, outcome->header_count};
    struct span request_id = header_get(&headers, "request-id");
    add(run, (struct timeline_note){
                 .event = TIMELINE_CALL_ENDED,
                 .attempt = run->flight.attempts,
                 .upstream = run->intake->upstream->name,
                 .word = cancelled ? "cancelled" : attempt_end_name(outcome->end),
                 .status = outcome->status,
                 .ms = outcome->total_ms,
                 .number = outcome->progress.output_bytes,
                 .request_id = request_id.p ? request_id : header_get(&headers, "x-request-id"),
                 .yes = run->intake->operation && attempt_may_be_billed(outcome),
             });
}

void engine_note_stop(struct engine_flight *run, enum http_error why)
{
    if (run->flight.state < FLIGHT_COMMITTING && !run->flight.stopping)
        engine_note(run, TIMELINE_STOPPED, http_error_info(why)->code);
}

static const char *error_of(const struct engine_flight *run)
{
    const struct verdict *verdict = &run->flight.verdict;
    return verdict->body == VERDICT_OWN_ERROR ? http_error_info(verdict->error)->code : NULL;
}

void engine_note_end(struct engine_flight *run)
{
    add(run, (struct timeline_note){
                 .event = TIMELINE_ANSWERED,
                 .status = run->answer.status,
                 .word = error_of(run),
             });
}

/* ---- its waiters */

void engine_note_waiter(struct engine_flight *run, const struct waiter *waiter)
{
    add(run, (struct timeline_note){
                 .event = TIMELINE_WAITER_IN,
                 .word = waiter->started_flight ? "the first one"
                         : waiter->cancels      ? "to cancel it"
                         : waiter->is_result    ? "at its result URL"
                         : waiter->adopted      ? source_name(SOURCE_ADOPTED)
                                                : source_name(SOURCE_JOINED),
                 .number = run->attending,
             });
}

void engine_note_left(struct engine_flight *run)
{
    add(run, (struct timeline_note){
                 .event = TIMELINE_WAITER_LEFT,
                 .number = run->attending,
             });
}

static const char *what_was_told(const struct waiter *waiter)
{
    if (waiter->error_code)
        return waiter->error_code;
    if (waiter->source != SOURCE_NONE)
        return source_name(waiter->source);
    return waiter->hold_end;
}

/* To the flight that it waited for or whose answer it was told, as far as that is known. */
static void note_told(const struct waiter *waiter, bool delivered)
{
    struct engine *engine = waiter->engine;
    struct flight_id id = {.bytes = {0}};
    if (!waiter->status ||
        !span_hex_to_bytes(span_of(waiter->id_text), id.bytes, sizeof id.bytes))
        return;
    struct engine_flight *run = map_get(&engine->by_id, id.bytes);
    bool runs = run && !run->is_over;
    struct ended_flight *ended = runs ? NULL : history_flight(engine->history, id);
    if (!runs && !ended)
        return;
    const struct timeline_note note = {
        .event = TIMELINE_WAITER_OUT,
        .at_ms = engine_now_ms(engine) - (runs ? run->start_ms : ended->start_ms),
        .status = waiter->status,
        .word = what_was_told(waiter),
        .number = runs ? run->attending : 0,
        .yes = delivered,
    };
    timeline_add(runs ? &run->timeline : &ended->timeline, &note);
}

void engine_note_request(const struct waiter *waiter, bool delivered)
{
    if (waiter->is_probe)
        return;
    note_told(waiter, delivered);
    struct request_summary request = {
        .ended_unix_ms = clock_unix_ms(),
        .duration_ms = engine_now_ms(waiter->engine) - http_request_start_ms(waiter->request),
        .queue_ms = waiter->attempts || waiter->queue_ms ? waiter->queue_ms : -1,
        .first_event_ms = waiter->first_event_ms,
        .status = waiter->left ? 0 : waiter->status,
        .source = waiter->source,
        .error = waiter->error_code,
        .attempts = waiter->attempts,
        .input_tokens = waiter->usage.input_tokens,
        .output_tokens = waiter->usage.output_tokens,
    };
    memcpy(request.id, waiter->id_text, sizeof request.id);
    memcpy(request.names.key, waiter->key_text, sizeof request.names.key);
    if (strcmp(waiter->route, "other") != 0)
        history_name_route(&request.names, span_of(waiter->route));
    history_name_client(&request.names, waiter->client);
    history_name_upstream(&request.names, waiter->upstream);
    history_name_model(&request.names, waiter->model);
    history_add_request(waiter->engine->history, &request);
}

/* ---- flights */

static void name_all(const struct engine_flight *run, struct history_names *names)
{
    const struct intake *intake = run->intake;
    history_name_route(names,
                       intake->relay.p ? intake->relay : span_of(api_route(intake->api)));
    history_name_upstream(names, intake->upstream->name);
    history_name_model(names, intake->model);
    if (intake->caller.client)
        history_name_client(names, intake->caller.client->name);
    if (intake->keyed)
        history_key_text(&intake->key, names->key);
}

static struct flight_summary summarize(const struct engine_flight *run)
{
    const struct assemble_progress progress =
        run->transfer ? transfer_progress(run->transfer) : run->outcome.progress;
    int64_t now_ms = engine_now_ms(run->engine);
    struct flight_summary summary = {
        .id = run->id,
        .state = flight_state_name(run->flight.state),
        .started_unix_ms = run->start_unix_ms,
        .elapsed_ms = (run->end_ms < 0 ? now_ms : run->end_ms) - run->start_ms,
        .deadline_ms = flight_deadline_ms(&run->flight, now_ms) - run->start_ms,
        .first_event_ms = run->first_event_ms < 0 ? run->first_output_ms : run->first_event_ms,
        .queue_ms = engine_queue_ms(run),
        .attempts = run->flight.attempts,
        .waiters = run->attending,
        .paid_calls = run->paid_calls,
        .events = progress.events,
        .output_bytes = progress.output_bytes,
        .output_tokens = progress.output_tokens,
        .accepted = run->flight.params.accepted,
        .orphan = run->is_orphan,
    };
    name_all(run, &summary.names);
    return summary;
}

void engine_remember(struct engine_flight *run)
{
    if (run->flight.verdict.body == VERDICT_STORED) {
        timeline_done(&run->timeline); /* it was a question: its id is another flight's now */
        return;
    }
    struct flight_summary summary = summarize(run);
    summary.ended_unix_ms = clock_unix_ms();
    summary.status = run->answer.status;
    summary.error = span_of(error_of(run));
    history_add_flight(run->engine->history, &summary, &run->timeline, run->start_ms);
}

/* ---- what is asked */

const struct history *engine_history(const struct engine *engine)
{
    return engine->history;
}

const struct engine_flight *engine_next_flight(const struct engine *engine,
                                               const struct engine_flight *before)
{
    struct list *link = before ? before->link.next : engine->flights.next;
    return link == &engine->flights ? NULL : CONTAINER_OF(link, struct engine_flight, link);
}

struct flight_summary engine_flight_summary(const struct engine_flight *run)
{
    return summarize(run);
}

static struct engine_flight *running(const struct engine *engine, struct flight_id id)
{
    struct engine_flight *run = map_get(&engine->by_id, id.bytes);
    return run && !run->is_over ? run : NULL;
}

bool engine_find_flight(const struct engine *engine, struct flight_id id,
                        struct flight_summary *ret, const struct timeline **ret_timeline)
{
    const struct engine_flight *run = running(engine, id);
    if (run) {
        *ret = summarize(run);
        *ret_timeline = &run->timeline;
        return true;
    }
    const struct ended_flight *ended = history_flight(engine->history, id);
    if (!ended)
        return false;
    *ret = ended->summary;
    *ret_timeline = &ended->timeline;
    return true;
}

enum rc engine_cancel_flight(struct engine *engine, struct flight_id id, const char **ret_state)
{
    struct engine_flight *run = running(engine, id);
    if (!run)
        return E_NOT_FOUND;
    const char *state = flight_state_name(run->flight.state);
    if (run->flight.state >= FLIGHT_COMMITTING)
        return E_CONFLICT;
    engine->counts.cancelled += !run->flight.stopping;
    engine_flight_stop(run, HTTP_ERROR_CANCELLED);
    *ret_state = state;
    return OK;
}

/* ---- rows of the store */

struct row_query {
    struct engine *engine;
    struct engine_read read;
    struct flight_id id;
    store_result_cb *callback;
    void *context;
};

static void on_row(void *context, enum rc rc, const struct flight_record *record)
{
    struct row_query *query = context;
    engine_read_ended(query->engine);
    query->callback(query->context, rc, record);
    free(query);
}

static bool start_row_query(struct engine_read *read)
{
    struct row_query *query = CONTAINER_OF(read, struct row_query, read);
    struct store *store = query->engine->store;
    const struct store_result_query what = {.flight = query->id, .now_ms = clock_unix_ms()};
    if (store && store_result(store, &what, on_row, query) == OK)
        return true;
    query->callback(query->context, E_CLOSED, NULL);
    free(query);
    return false;
}

enum rc engine_ask_row(struct engine *engine, struct flight_id id, store_result_cb *callback,
                       void *context)
{
    struct row_query *query = malloc(sizeof *query);
    if (!query)
        return E_NOMEM;
    *query = (struct row_query){
        .engine = engine, .id = id, .callback = callback, .context = context};
    query->read.start = start_row_query;
    list_init(&query->read.link);
    engine_read(engine, &query->read);
    return OK;
}
