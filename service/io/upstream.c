#include "io/upstream_internal.h"

#include <stdlib.h>
#include <unistd.h>

static const char debian_bundle[] = "/etc/ssl/certs/ca-certificates.crt";

struct upstream {
    struct upstream_settings settings;
    unsigned transfers_max, running;
    struct list transfers; /* running */
    unsigned thread_count;
    struct upstream_thread *threads[];
};

void transfer_unref(struct transfer *transfer)
{
    if (atomic_fetch_sub(&transfer->references, 1) > 1)
        return;
    attempt_outcome_done(&transfer->outcome);
    blob_free(transfer->body);
    arena_done(&transfer->arena);
    free(transfer);
}

static struct transfer *transfer_ref(struct transfer *transfer)
{
    (void)atomic_fetch_add(&transfer->references, 1);
    return transfer;
}

/* ---- in the upstream thread: orders */

static void start_ordered(struct message *message)
{
    struct transfer *transfer = CONTAINER_OF(message, struct transfer, start_order);
    upstream_call_start(transfer->thread, transfer);
}

static void cancel_ordered(struct message *message)
{
    struct transfer *transfer = CONTAINER_OF(message, struct transfer, cancel_order);
    if (transfer->call)
        upstream_call_abort(transfer->call, ATTEMPT_NO_RESOURCES); /* nobody will see it */
    transfer_unref(transfer);
}

/* ---- in the loop: notes */

static void output_noted(struct message *message)
{
    struct transfer *transfer = CONTAINER_OF(message, struct transfer, output_note);
    if (!transfer->cancelled)
        transfer->on_output(transfer->context);
}

/* The transfer is not running any more: no callback, no place taken. */
static void leave_upstream(struct transfer *transfer)
{
    transfer->cancelled = true;
    list_remove(&transfer->link);
    transfer->thread->load--;
    transfer->upstream->running--;
}

static void end_noted(struct message *message)
{
    struct transfer *transfer = CONTAINER_OF(message, struct transfer, end_note);
    if (!transfer->cancelled) {
        leave_upstream(transfer);
        struct attempt_outcome outcome = transfer->outcome;
        transfer->outcome = (struct attempt_outcome){0};
        transfer->on_end(transfer->context, &outcome);
    }
    transfer_unref(transfer);
}

/* ---- transfers */

/* The least loaded, the first of equals: while there is little to do one thread does it all,
 * and its open connections are used again. */
static struct upstream_thread *choose_thread(struct upstream *upstream)
{
    struct upstream_thread *chosen = upstream->threads[0];
    for (unsigned i = 1; i < upstream->thread_count; i++)
        if (upstream->threads[i]->load < chosen->load)
            chosen = upstream->threads[i];
    return chosen;
}

static struct transfer *transfer_new(const struct transfer_params *params)
{
    struct transfer *transfer = calloc(1, sizeof *transfer);
    if (!transfer)
        return NULL;
    transfer->references = 1;
    arena_init(&transfer->arena, UPSTREAM_STRINGS_MAX);
    list_init(&transfer->link);
    transfer->body = blob_ref(params->body);
    transfer->start_ms = upstream_clock_ms();
    transfer->connect_timeout_ms = params->connect_timeout_ms;
    transfer->first_event_timeout_ms = params->first_event_timeout_ms;
    transfer->idle_timeout_ms = params->idle_timeout_ms;
    transfer->deadline_ms = upstream_later(transfer->start_ms, params->time_left_ms);
    transfer->plain = params->plain;
    transfer->counts_usage = params->counts_usage;
    transfer->assemble = params->assemble;
    transfer->start_order.run = start_ordered;
    transfer->cancel_order.run = cancel_ordered;
    transfer->output_note.run = output_noted;
    transfer->end_note.run = end_noted;
    transfer->on_output = params->on_output;
    transfer->on_end = params->on_end;
    transfer->context = params->context;
    return transfer;
}

enum rc upstream_start(struct upstream *upstream, const struct transfer_params *params,
                       struct transfer **ret)
{
    ASSERT(params->plain || blob_span(params->body).n > 0);
    if (upstream->running >= upstream->transfers_max)
        return E_LIMIT;
    struct transfer *transfer = transfer_new(params);
    if (!transfer)
        return E_NOMEM;
    enum rc rc = upstream_transfer_build(transfer, params);
    if (rc != OK) {
        transfer_unref(transfer);
        return rc;
    }
    transfer->upstream = upstream;
    transfer->thread = choose_thread(upstream);
    transfer->thread->load++;
    upstream->running++;
    list_append(&upstream->transfers, &transfer->link);
    (void)transfer_ref(transfer); /* one for the call, one for the end note */
    mailbox_post(&transfer->thread->orders, &transfer->start_order);
    *ret = transfer;
    return OK;
}

void transfer_cancel(struct transfer *transfer)
{
    struct upstream_thread *thread = transfer->thread;
    leave_upstream(transfer);
    mailbox_post(&thread->orders, &transfer_ref(transfer)->cancel_order);
}

struct assemble_progress transfer_progress(const struct transfer *transfer)
{
    return (struct assemble_progress){
        .events = atomic_load_explicit(&transfer->progress.events, memory_order_relaxed),
        .output_bytes =
            atomic_load_explicit(&transfer->progress.output_bytes, memory_order_relaxed),
        .output_began =
            atomic_load_explicit(&transfer->progress.output_began, memory_order_relaxed),
        .input_tokens =
            atomic_load_explicit(&transfer->progress.input_tokens, memory_order_relaxed),
        .output_tokens =
            atomic_load_explicit(&transfer->progress.output_tokens, memory_order_relaxed),
    };
}

/* ---- the whole */

static enum rc start_threads(struct upstream *upstream, unsigned count)
{
    enum rc rc = OK;
    while (rc == OK && upstream->thread_count < count) {
        rc = upstream_thread_new(&upstream->settings,
                                 &upstream->threads[upstream->thread_count]);
        if (rc == OK)
            upstream->thread_count++;
    }
    return rc;
}

enum rc upstream_new(const struct upstream_params *params, struct upstream **ret)
{
    ASSERT(params->threads >= 1 && params->transfers_max >= 1);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return E_NOMEM;
    struct upstream *upstream =
        calloc(1, sizeof *upstream + params->threads * sizeof(struct upstream_thread *));
    if (!upstream) {
        curl_global_cleanup();
        return E_NOMEM;
    }
    upstream->transfers_max = params->transfers_max;
    list_init(&upstream->transfers);
    upstream->settings = (struct upstream_settings){
        .loop = params->loop,
        .ca_bundle = access(debian_bundle, R_OK) == 0 ? debian_bundle : NULL,
        .silence_ms = params->silence_ms ? params->silence_ms : UPSTREAM_SILENCE_MS,
        .connections_max = params->transfers_max,
    };
    enum rc rc = start_threads(upstream, params->threads);
    if (rc != OK) {
        upstream_free(upstream);
        return rc;
    }
    *ret = upstream;
    return OK;
}

void upstream_set_transfers_max(struct upstream *upstream, unsigned transfers_max)
{
    ASSERT(transfers_max >= 1);
    upstream->transfers_max = transfers_max;
}

void upstream_free(struct upstream *upstream)
{
    if (!upstream)
        return;
    while (!list_is_empty(&upstream->transfers))
        leave_upstream(CONTAINER_OF(upstream->transfers.next, struct transfer, link));
    for (unsigned i = 0; i < upstream->thread_count; i++)
        upstream_thread_free(upstream->threads[i]);
    curl_global_cleanup();
    free(upstream);
}
