#include "io/upstream_internal.h"

#include "base/crash_point.h"
#include "core/usage.h"

#include <stdlib.h>

/* Our timer and libcurl's run for the same time, and either may be the first. */
static const char timeout_reached[] = "The connect timeout was reached";

struct call *upstream_call_new(struct upstream_thread *thread)
{
    struct call *call = calloc(1, sizeof *call);
    if (!call)
        return NULL;
    call->easy = curl_easy_init();
    if (!call->easy) {
        free(call);
        return NULL;
    }
    call->thread = thread;
    list_init(&call->link);
    list_init(&call->waiting);
    return call;
}

void upstream_call_free(struct call *call)
{
    ASSERT(!call->transfer && !call->added);
    curl_easy_cleanup(call->easy);
    free(call);
}

void upstream_call_set_phase(struct call *call, enum call_phase phase)
{
    ASSERT(phase > call->phase && call->phase != CALL_ENDED);
    call->phase = phase;
    upstream_call_reschedule(call);
}

/* ---- how it ends */

static bool request_was_sent(const struct call *call)
{
    if (call->response.began)
        return true;
    if (!call->added)
        return false;
    /* A second try made libcurl forget what it had sent. */
    if (call->sent_before)
        return call->sent_bytes == blob_span(call->transfer->body).n;
    curl_off_t body_bytes = 0;
    long head_bytes = 0;
    (void)curl_easy_getinfo(call->easy, CURLINFO_SIZE_UPLOAD_T, &body_bytes);
    (void)curl_easy_getinfo(call->easy, CURLINFO_REQUEST_SIZE, &head_bytes);
    return head_bytes > 0 && (size_t)body_bytes >= blob_span(call->transfer->body).n;
}

/* The body that belongs to this end; false: out of memory. */
static bool end_body(struct response *response, enum attempt_end end, struct blob **ret)
{
    bool kept = end == ATTEMPT_ANSWERED && !response->assembler;
    if (end == ATTEMPT_REFUSED || kept) {
        if (buf_rc(&response->body) == E_NOMEM)
            return false;
        return (*ret = blob_take(&response->body)) != NULL;
    }
    if (end == ATTEMPT_STREAM_ERROR) {
        struct span error = assemble_error(response->assembler);
        return !error.p || (*ret = blob_new(error)) != NULL;
    }
    if (end != ATTEMPT_ANSWERED)
        return true;
    struct buf body;
    assemble_take_body(response->assembler, &body);
    *ret = blob_take(&body);
    if (!*ret)
        buf_done(&body);
    return *ret != NULL;
}

static void count_usage(struct call *call, const struct blob *body)
{
    struct assemble_progress *progress = &call->response.progress;
    if (!call->transfer->counts_usage || !body)
        return;
    const struct usage usage = usage_of_answer(blob_span(body));
    progress->input_tokens = usage.input_tokens;
    progress->output_tokens = usage.output_tokens;
}

static int64_t since_start(const struct transfer *transfer, int64_t at_ms)
{
    return at_ms > transfer->start_ms ? at_ms - transfer->start_ms : 0;
}

void upstream_call_end(struct call *call, enum attempt_end end)
{
    if (call->phase == CALL_ENDED)
        return;
    struct transfer *transfer = call->transfer;
    struct response *response = &call->response;
    struct attempt_outcome *outcome = &transfer->outcome;
    if (!end_body(response, end, &outcome->body))
        end = ATTEMPT_NO_RESOURCES;
    if (end == ATTEMPT_ANSWERED)
        count_usage(call, outcome->body);
    outcome->end = end;
    outcome->status = (int)response->status;
    outcome->cause = outcome->body ? NULL : call->cause; /* a body says more */
    outcome->request_sent = request_was_sent(call);
    outcome->output_began = response->progress.output_began || end == ATTEMPT_ANSWERED;
    outcome->progress = response->progress;
    outcome->first_event_ms =
        response->first_event_ms < 0 ? -1 : since_start(transfer, response->first_event_ms);
    outcome->total_ms = since_start(transfer, upstream_clock_ms());
    outcome->last_byte_us = response->last_byte_us;
    upstream_response_take_headers(response, outcome);
    transfer->call = NULL;
    upstream_call_set_phase(call, CALL_ENDED);
    mailbox_post(call->thread->settings->loop, &transfer->end_note);
}

void upstream_call_end_assembled(struct call *call, enum assemble_state state)
{
    ASSERT(state != ASSEMBLE_MORE);
    call->response.progress = assemble_progress(call->response.assembler);
    if (state == ASSEMBLE_COMPLETE) {
        CRASH_POINT("answer_complete");
        upstream_call_end(call, ATTEMPT_ANSWERED);
        return;
    }
    switch (assemble_failure(call->response.assembler)) {
    case ASSEMBLE_UPSTREAM_ERROR:
        upstream_call_end(call, ATTEMPT_STREAM_ERROR);
        return;
    case ASSEMBLE_TRUNCATED:
        upstream_call_end(call, ATTEMPT_TRUNCATED);
        return;
    case ASSEMBLE_MALFORMED:
        upstream_call_end(call, ATTEMPT_MALFORMED);
        return;
    case ASSEMBLE_TOO_LARGE:
        upstream_call_end(call, ATTEMPT_TOO_LARGE);
        return;
    case ASSEMBLE_NO_MEMORY:
        upstream_call_end(call, ATTEMPT_NO_RESOURCES);
        return;
    }
}

/* Give the transfer up and go back to the pool. */
static void close_call(struct call *call)
{
    ASSERT(call->phase == CALL_ENDED);
    upstream_gate_leave(call);
    timers_stop(&call->thread->timers, &call->timer);
    if (call->added) {
        CURLMcode removed = curl_multi_remove_handle(call->thread->multi, call->easy);
        ASSERT(removed == CURLM_OK);
        call->added = false;
    }
    curl_easy_reset(call->easy); /* before what it points to goes */
    bool fit_for_use = call->response.began;
    upstream_response_done(&call->response);
    transfer_unref(call->transfer);
    call->transfer = NULL;
    if (fit_for_use) {
        upstream_thread_put_call(call->thread, call);
        return;
    }
    /* Where libcurl wanted a second try, the handle remembers even after its reset that a body
     * is to be rewound, at which the next call would fail. */
    list_remove(&call->link);
    upstream_call_free(call);
}

void upstream_call_abort(struct call *call, enum attempt_end end)
{
    upstream_call_end(call, end);
    close_call(call);
}

/* libcurl says that memory is short of a line of a head over its limit, too. */
static bool is_line_too_long(const struct call *call, CURLcode code)
{
    enum { LINE_BYTES_MAX = 100 * 1024 };
    if (code != CURLE_OUT_OF_MEMORY || call->phase != CALL_REQUESTING)
        return false;
    void *volatile memory = malloc(LINE_BYTES_MAX); /* else compilers know that there is some */
    bool there_is_some = memory != NULL;
    free(memory);
    return there_is_some;
}

/* The text of libcurl's result.  Where its second try was refused, that is not the reason. */
static const char *cause_of(const struct call *call, CURLcode code)
{
    if (is_line_too_long(call, code))
        return "A line of the head is too long";
    if (call->sent_before)
        return "The connection, used before, was closed";
    if (code == CURLE_OPERATION_TIMEDOUT) /* only ever the connect timeout */
        return timeout_reached;
    return code == CURLE_OK ? NULL : curl_easy_strerror(code);
}

/* Of a plain transfer libcurl alone knows whether its body was whole: as long as Content-Length
 * said, or with its last chunk. */
static enum attempt_end end_of_kept(CURLcode code)
{
    if (code == CURLE_OK)
        return ATTEMPT_ANSWERED;
    return code == CURLE_OUT_OF_MEMORY ? ATTEMPT_NO_RESOURCES : ATTEMPT_TRUNCATED;
}

/* Why there was no head, from libcurl's result. */
static enum attempt_end end_of(const struct call *call, CURLcode code)
{
    bool connected = call->phase > CALL_CONNECTING;
    if (is_line_too_long(call, code))
        return ATTEMPT_MALFORMED;
    switch ((int)code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return ATTEMPT_DNS_FAILED;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CACERT_BADFILE:
        return ATTEMPT_CERTIFICATE_FAILED;
    case CURLE_OUT_OF_MEMORY:
    case CURLE_FAILED_INIT:
        return ATTEMPT_NO_RESOURCES;
    case CURLE_OPERATION_TIMEDOUT:
        return call->gate ? ATTEMPT_DNS_FAILED : ATTEMPT_CONNECT_FAILED;
    case CURLE_UNSUPPORTED_PROTOCOL: /* not HTTP/1.x */
    case CURLE_WEIRD_SERVER_REPLY:
        return connected ? ATTEMPT_MALFORMED : ATTEMPT_CONNECT_FAILED;
    default:
        return connected ? ATTEMPT_CONNECTION_LOST : ATTEMPT_CONNECT_FAILED;
    }
}

void upstream_call_finished(struct call *call, CURLcode code)
{
    enum attempt_end end = end_of(call, code);
    call->cause = cause_of(call, code);
    switch (call->phase) {
    case CALL_WAITING:
    case CALL_CONNECTING:
    case CALL_REQUESTING:
        if (end == ATTEMPT_DNS_FAILED)
            upstream_gate_fail(call);
        upstream_call_end(call, end);
        break;
    case CALL_ASSEMBLING: /* only the stream itself tells whether it was whole */
        upstream_call_end_assembled(call, assemble_end(call->response.assembler));
        break;
    case CALL_COLLECTING:
        upstream_call_end(call, ATTEMPT_REFUSED);
        break;
    case CALL_KEEPING:
        upstream_call_end(call, end_of_kept(code));
        break;
    case CALL_ENDED:
        break;
    }
    close_call(call);
}

/* ---- time */

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t due_ms(const struct call *call)
{
    const struct transfer *transfer = call->transfer;
    const struct response *response = &call->response;
    int64_t silence_end =
        upstream_later(response->last_byte_ms, call->thread->settings->silence_ms);
    int64_t due = transfer->deadline_ms;
    if (response->first_event_ms < 0)
        due = sooner(due, upstream_later(transfer->start_ms, transfer->first_event_timeout_ms));
    switch (call->phase) {
    case CALL_WAITING:
    case CALL_CONNECTING:
        return sooner(due, upstream_later(transfer->start_ms, transfer->connect_timeout_ms));
    case CALL_REQUESTING:
        return due;
    case CALL_ASSEMBLING:
        if (response->could_end)
            due = sooner(due, silence_end);
        if (response->first_event_ms < 0)
            return due;
        return sooner(due, upstream_later(response->last_byte_ms, transfer->idle_timeout_ms));
    case CALL_COLLECTING:
        return sooner(due, silence_end);
    case CALL_KEEPING: /* its first bytes have come */
        return sooner(transfer->deadline_ms,
                      upstream_later(response->last_byte_ms, transfer->idle_timeout_ms));
    case CALL_ENDED:
        return call->read_on_until_ms;
    }
    return due;
}

static void expire(struct call *call)
{
    const struct response *response = &call->response;
    bool deadline = call->thread->now_ms >= call->transfer->deadline_ms;
    enum attempt_end end = deadline                       ? ATTEMPT_DEADLINE
                           : response->first_event_ms < 0 ? ATTEMPT_FIRST_EVENT_TIMEOUT
                                                          : ATTEMPT_IDLE_TIMEOUT;
    switch (call->phase) {
    case CALL_WAITING:
    case CALL_CONNECTING:
        if (!deadline) {
            end = call->gate ? ATTEMPT_DNS_FAILED : ATTEMPT_CONNECT_FAILED;
            call->cause = timeout_reached;
        }
        break;
    case CALL_ASSEMBLING:
        if (response->could_end)
            upstream_call_end_assembled(call, assemble_end(response->assembler));
        break;
    case CALL_COLLECTING:
        end = ATTEMPT_REFUSED;
        break;
    case CALL_KEEPING:
        end = deadline ? ATTEMPT_DEADLINE : ATTEMPT_IDLE_TIMEOUT;
        break;
    case CALL_REQUESTING:
    case CALL_ENDED:
        break;
    }
    upstream_call_abort(call, end);
}

/* Bytes put times off without touching the timer, which looks again when it fires. */
static void on_timer(struct timer *timer)
{
    struct call *call = CONTAINER_OF(timer, struct call, timer);
    int64_t due = due_ms(call);
    if (due <= call->thread->now_ms)
        expire(call);
    else if (timers_start(&call->thread->timers, timer, due) != OK)
        upstream_call_abort(call, ATTEMPT_NO_RESOURCES);
}

void upstream_call_reschedule(struct call *call)
{
    int64_t due = due_ms(call);
    if (!call->timer.place || due >= call->timer.due_ms)
        return;
    enum rc moved = timers_start(&call->thread->timers, &call->timer, due);
    ASSERT(moved == OK); /* it was started */
}

/* ---- the start */

static void begin(struct call *call, struct transfer *transfer)
{
    list_append(&call->thread->calls, &call->link);
    call->transfer = transfer;
    transfer->call = call;
    call->phase = CALL_WAITING;
    call->sent_bytes = call->read_on_bytes = 0;
    call->sent_before = false;
    call->cause = NULL;
    call->read_on_until_ms = 0;
    call->timer = (struct timer){.run = on_timer};
    upstream_response_init(&call->response);
}

static void refuse(struct transfer *transfer)
{
    transfer->outcome.end = ATTEMPT_NO_RESOURCES;
    transfer->outcome.first_event_ms = -1;
    mailbox_post(transfer->thread->settings->loop, &transfer->end_note);
    transfer_unref(transfer);
}

void upstream_call_start(struct upstream_thread *thread, struct transfer *transfer)
{
    struct call *call = upstream_thread_take_call(thread);
    if (!call) {
        refuse(transfer);
        return;
    }
    begin(call, transfer);
    bool first = false;
    if (due_ms(call) <= thread->now_ms)
        expire(call); /* its time was over before it came here */
    else if (timers_start(&thread->timers, &call->timer, due_ms(call)) != OK ||
             upstream_gate_enter(call, &first) != OK)
        upstream_call_abort(call, ATTEMPT_NO_RESOURCES);
    else if (first)
        upstream_call_connect(call);
}
