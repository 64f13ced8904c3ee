#include "io/upstream_internal.h"

#include "base/crash_point.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum {
    DNS_CACHE_S = 300,
    CONNECTION_IDLE_S_MAX = 25, /* below what providers close by themselves */
    KEEPALIVE_IDLE_S = 60,
    KEEPALIVE_INTERVAL_S = 30,
    UPLOAD_BUFFER_BYTES = 16 * 1024
};

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

/* ---- libcurl's callbacks for what goes out */

static size_t read_request(char *room, size_t size, size_t count, void *user)
{
    struct call *call = user;
    struct span left = span_from(blob_span(call->transfer->body), call->sent_bytes);
    size_t n = left.n < size * count ? left.n : size * count;
    memcpy(room, left.p, n);
    call->sent_bytes += n;
    CRASH_POINT("request_handed_over");
    return n;
}

/* libcurl connects anew, rewinds the body and sends it again by itself when a connection that
 * it used again turns out to be dead.  The provider may have seen the first one, so that only
 * the retry policy may do that: once a byte of the body was handed over, every step of it is
 * refused. */
static bool is_second_try(struct call *call)
{
    call->sent_before = call->sent_before || call->sent_bytes;
    return call->sent_before;
}

static int never_rewind(void *user, curl_off_t offset, int origin)
{
    (void)user;
    (void)offset;
    (void)origin;
    return CURL_SEEKFUNC_FAIL;
}

/* A socket was made, so that the address is known. */
static int socket_made(void *user, curl_socket_t fd, curlsocktype purpose)
{
    (void)fd;
    (void)purpose;
    struct call *call = user;
    upstream_gate_leave(call);
    return is_second_try(call) ? CURL_SOCKOPT_ERROR : CURL_SOCKOPT_OK;
}

/* Connected, by a new connection or one used again; the request follows. */
static int about_to_send(void *user, char *remote_ip, char *local_ip, int remote_port,
                         int local_port)
{
    (void)remote_ip;
    (void)local_ip;
    (void)remote_port;
    (void)local_port;
    struct call *call = user;
    upstream_gate_leave(call);
    if (is_second_try(call))
        return CURL_PREREQFUNC_ABORT;
    if (call->phase == CALL_CONNECTING)
        upstream_call_set_phase(call, CALL_REQUESTING);
    return CURL_PREREQFUNC_OK;
}

/* ---- handing over to libcurl */

static bool set_constants(CURL *easy)
{
    static const struct {
        CURLoption option;
        long value;
    } longs[] = {
        {CURLOPT_NOSIGNAL, 1},
        {CURLOPT_QUICK_EXIT, 1}, /* an abort does not wait for getaddrinfo */
        {CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1},
        {CURLOPT_FOLLOWLOCATION, 0},
        {CURLOPT_POST, 1},
        {CURLOPT_PATH_AS_IS, 1},
        {CURLOPT_TCP_NODELAY, 1},
        {CURLOPT_TCP_KEEPALIVE, 1},
        {CURLOPT_TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
        {CURLOPT_TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S},
        {CURLOPT_DNS_CACHE_TIMEOUT, DNS_CACHE_S},
        {CURLOPT_MAXAGE_CONN, CONNECTION_IDLE_S_MAX},
        {CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BUFFER_BYTES},
        {CURLOPT_SUPPRESS_CONNECT_HEADERS, 1},
    };
    bool fine = curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK;
    for (size_t i = 0; i < COUNT_OF(longs); i++)
        fine &= curl_easy_setopt(easy, longs[i].option, longs[i].value) == CURLE_OK;
    return fine;
}

/* A CA directory (Debian's default) would keep libcurl from sharing the parsed bundle. */
static bool set_trust(CURL *easy, const char *ca_file)
{
    bool fine = curl_easy_setopt(easy, CURLOPT_CAPATH, NULL) == CURLE_OK;
    fine &= curl_easy_setopt(easy, CURLOPT_PROXY_CAPATH, NULL) == CURLE_OK;
    if (ca_file) {
        fine &= curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file) == CURLE_OK;
        fine &= curl_easy_setopt(easy, CURLOPT_PROXY_CAINFO, ca_file) == CURLE_OK;
    }
    return fine;
}

static bool set_callbacks(struct call *call)
{
    CURL *easy = call->easy;
    bool fine = curl_easy_setopt(easy, CURLOPT_READFUNCTION, read_request) == CURLE_OK;
    fine &= curl_easy_setopt(easy, CURLOPT_READDATA, call) == CURLE_OK;
    fine &= curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, never_rewind) == CURLE_OK;
    fine &= curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, socket_made) == CURLE_OK;
    fine &= curl_easy_setopt(easy, CURLOPT_SOCKOPTDATA, call) == CURLE_OK;
    fine &= curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, about_to_send) == CURLE_OK;
    fine &= curl_easy_setopt(easy, CURLOPT_PREREQDATA, call) == CURLE_OK;
    fine &= curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, upstream_response_header) == 0;
    fine &= curl_easy_setopt(easy, CURLOPT_HEADERDATA, call) == CURLE_OK;
    fine &= curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, upstream_response_body) == 0;
    fine &= curl_easy_setopt(easy, CURLOPT_WRITEDATA, call) == CURLE_OK;
    fine &= curl_easy_setopt(easy, CURLOPT_PRIVATE, call) == CURLE_OK;
    return fine;
}

static bool set_request(struct call *call)
{
    CURL *easy = call->easy;
    const struct transfer *transfer = call->transfer;
    curl_off_t body_bytes = (curl_off_t)blob_span(transfer->body).n;
    int64_t connect_ms = transfer->connect_timeout_ms;
    long connect_timeout_ms = connect_ms < INT_MAX ? (long)connect_ms : 0;
    const char *ca_bundle = call->thread->settings->ca_bundle;
    bool fine = curl_easy_setopt(easy, CURLOPT_URL, transfer->url) == CURLE_OK;
    fine &= curl_easy_setopt(easy, CURLOPT_PROXY, transfer->proxy) == CURLE_OK;
    fine &= curl_easy_setopt(easy, CURLOPT_NOPROXY, "") == CURLE_OK; /* decided already */
    fine &= curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers) == CURLE_OK;
    fine &= curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, body_bytes) == CURLE_OK;
    /* So that libcurl gives each address its share; our own timer has the last word. */
    fine &= curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, connect_timeout_ms) == CURLE_OK;
    return fine && set_trust(easy, transfer->ca_file ? transfer->ca_file : ca_bundle);
}

void upstream_call_connect(struct call *call)
{
    upstream_call_set_phase(call, CALL_CONNECTING);
    if (!set_constants(call->easy) || !set_callbacks(call) || !set_request(call) ||
        curl_multi_add_handle(call->thread->multi, call->easy) != CURLM_OK) {
        upstream_call_abort(call, ATTEMPT_NO_RESOURCES);
        return;
    }
    call->added = true;
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
    if (end == ATTEMPT_REFUSED) {
        if (buf_rc(&response->error_body) == E_NOMEM)
            return false;
        return (*ret = blob_take(&response->error_body)) != NULL;
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
    outcome->end = end;
    outcome->status = (int)response->status;
    outcome->cause = outcome->body ? NULL : call->cause; /* a body says more */
    outcome->request_sent = request_was_sent(call);
    outcome->output_began = response->progress.output_began || end == ATTEMPT_ANSWERED;
    outcome->progress = response->progress;
    outcome->first_event_ms =
        response->first_event_ms < 0 ? -1 : since_start(transfer, response->first_event_ms);
    outcome->total_ms = since_start(transfer, upstream_clock_ms());
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
    upstream_response_done(&call->response);
    transfer_unref(call->transfer);
    call->transfer = NULL;
    upstream_thread_put_call(call->thread, call);
}

void upstream_call_abort(struct call *call, enum attempt_end end)
{
    upstream_call_end(call, end);
    close_call(call);
}

/* The text of libcurl's result.  Where its second try was refused, that is not the reason. */
static const char *cause_of(const struct call *call, CURLcode code)
{
    if (call->sent_before)
        return "The connection, used before, was closed";
    if (code == CURLE_OPERATION_TIMEDOUT) /* only ever the connect timeout */
        return timeout_reached;
    return code == CURLE_OK ? NULL : curl_easy_strerror(code);
}

/* Why there was no head, from libcurl's result. */
static enum attempt_end end_of(const struct call *call, CURLcode code)
{
    bool connected = call->phase > CALL_CONNECTING;
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
    int64_t due = atomic_load(&transfer->deadline_ms);
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
    case CALL_ENDED:
        return call->read_on_until_ms;
    }
    return due;
}

static void expire(struct call *call)
{
    const struct response *response = &call->response;
    bool deadline = call->thread->now_ms >= atomic_load(&call->transfer->deadline_ms);
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
