#include "io/upstream_internal.h"

#include "base/crash_point.h"

#include <stdlib.h>
#include <string.h>

enum {
    HEAD_BYTES_MAX =
        64 * 1024, /* of all heads of one response, interim ones and trailers too */
    READ_ON_BYTES_MAX = 64 * 1024, /* after the answer, for the connection's sake */
    READ_ON_MS = 1000,
    CLOSE = 0 /* told to libcurl: this connection is of no use any more */
};

void upstream_response_init(struct response *response)
{
    *response = (struct response){.first_event_ms = -1};
    buf_init(&response->body, ATTEMPT_ERROR_BYTES_MAX);
    buf_init(&response->header_text, ATTEMPT_HEADER_BYTES_MAX);
}

void upstream_response_done(struct response *response)
{
    assemble_free(response->assembler);
    buf_done(&response->body);
    buf_done(&response->header_text);
    upstream_response_init(response);
}

/* ---- the head */

static bool is_kept(struct span name)
{
    static const char *const names[] = {"content-type",   "retry-after",  "retry-after-ms",
                                        "x-should-retry", "x-request-id", "request-id"};
    static const char *const families[] = {"x-ratelimit-", "anthropic-ratelimit-"};
    if (span_is_any_nocase(name, names, COUNT_OF(names)))
        return true;
    for (size_t i = 0; i < COUNT_OF(families); i++) {
        size_t n = strlen(families[i]);
        if (name.n > n && span_is_nocase((struct span){name.p, n}, families[i]))
            return true;
    }
    return false;
}

/* What does not fit is left out: these headers are advice. */
static void keep(struct response *response, struct span name, struct span value)
{
    struct buf *text = &response->header_text;
    if (response->header_count == ATTEMPT_HEADERS_MAX || !header_value_is_sound(value) ||
        name.n + value.n > text->bytes_max - text->n)
        return;
    struct kept_header kept = {(uint16_t)text->n, (uint16_t)name.n,
                               (uint16_t)(text->n + name.n), (uint16_t)value.n};
    buf_add(text, name);
    buf_add(text, value);
    if (buf_rc(text) == OK)
        response->headers[response->header_count++] = kept;
}

void upstream_response_take_headers(struct response *response, struct attempt_outcome *ret)
{
    char *text = response->header_text.p;
    response->header_text.p = NULL;
    buf_done(&response->header_text);
    for (size_t i = 0; i < response->header_count; i++) {
        const struct kept_header *kept = &response->headers[i];
        ret->headers[i] = (struct header){{text + kept->name_at, kept->name_n},
                                          {text + kept->value_at, kept->value_n}};
    }
    ret->header_count = response->header_count;
    ret->header_bytes = text;
    response->header_count = 0;
}

static size_t header_line(struct call *call, struct span line)
{
    struct response *response = &call->response;
    if (span_starts(line, "HTTP/")) { /* an interim answer's headers are not the answer's */
        response->header_count = 0;
        response->encoded = false;
        buf_clear(&response->header_text);
        return line.n;
    }
    struct span value = line;
    struct span name = span_cut(&value, ':');
    if (!value.p || name.n == 0)
        return line.n;
    while (value.n && (value.p[value.n - 1] == '\n' || value.p[value.n - 1] == '\r'))
        value.n--;
    value = span_trim(value);
    if (span_is_nocase(name, "content-encoding") && value.n &&
        !span_is_nocase(value, "identity"))
        response->encoded = true;
    if (is_kept(name))
        keep(response, name, value);
    return line.n;
}

/* libcurl reads a counted body to its last byte.  What TLS has decrypted beyond it stays in the
 * memory of TLS, where nobody sees it until the next request on this connection takes it for its
 * answer. */
static void spare_next_request(struct call *call)
{
    const char *url = call->transfer->url, *proxy = call->transfer->proxy;
    curl_off_t body_bytes = -1;
    (void)curl_easy_getinfo(call->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &body_bytes);
    if (body_bytes >= 0 && (!strncasecmp(url, "https:", 6) || !strncasecmp(proxy, "https:", 6)))
        (void)curl_easy_setopt(call->easy, CURLOPT_FORBID_REUSE, 1L); /* cannot fail */
}

/* The empty line after a head has come. */
static size_t head_end(struct call *call, size_t line_bytes)
{
    struct response *response = &call->response;
    (void)curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &response->status);
    if (response->status < 200) {
        response->status = 0;
        return line_bytes;
    }
    spare_next_request(call);
    if (response->status >= 300) {
        upstream_call_set_phase(call, CALL_COLLECTING);
        return line_bytes;
    }
    if (response->encoded) {
        upstream_call_end(call, ATTEMPT_MALFORMED);
        return CLOSE;
    }
    if (call->transfer->plain) {
        response->body.bytes_max = call->transfer->assemble.answer_bytes_max;
        upstream_call_set_phase(call, CALL_KEEPING);
        return line_bytes;
    }
    response->assembler = assemble_new(&call->transfer->assemble);
    if (!response->assembler) {
        upstream_call_end(call, ATTEMPT_NO_RESOURCES);
        return CLOSE;
    }
    upstream_call_set_phase(call, CALL_ASSEMBLING);
    return line_bytes;
}

size_t upstream_response_header(char *line, size_t size, size_t count, void *user)
{
    struct call *call = user;
    struct response *response = &call->response;
    struct span text = {line, size * count};
    CRASH_POINT("response_began");
    response->began = true;
    response->last_byte_ms = call->thread->now_ms;
    response->head_bytes += text.n;
    if (response->head_bytes > HEAD_BYTES_MAX) {
        upstream_call_end(call, ATTEMPT_MALFORMED);
        return CLOSE;
    }
    if (call->phase != CALL_REQUESTING) /* trailers */
        return text.n;
    if (span_is(text, "\r\n") || span_is(text, "\n"))
        return head_end(call, text.n);
    return header_line(call, text);
}

/* ---- the body */

static void publish(struct call *call)
{
    struct response *response = &call->response;
    struct transfer *transfer = call->transfer;
    struct assemble_progress now = assemble_progress(response->assembler);
    response->progress = now;
    atomic_store_explicit(&transfer->progress.events, now.events, memory_order_relaxed);
    atomic_store_explicit(&transfer->progress.output_bytes, now.output_bytes,
                          memory_order_relaxed);
    atomic_store_explicit(&transfer->progress.output_began, now.output_began,
                          memory_order_relaxed);
    atomic_store_explicit(&transfer->progress.input_tokens, now.input_tokens,
                          memory_order_relaxed);
    atomic_store_explicit(&transfer->progress.output_tokens, now.output_tokens,
                          memory_order_relaxed);
    if (now.events && response->first_event_ms < 0)
        response->first_event_ms = call->thread->now_ms;
    if (now.output_began && !response->output_told) {
        CRASH_POINT("first_output");
        response->output_told = true;
        mailbox_post(call->thread->settings->loop, &transfer->output_note);
    }
}

static size_t assemble(struct call *call, struct span bytes)
{
    struct response *response = &call->response;
    enum assemble_state state = assemble_feed(response->assembler, bytes);
    publish(call);
    if (state == ASSEMBLE_MORE) {
        response->could_end = assemble_could_end(response->assembler);
        upstream_call_reschedule(call);
        return bytes.n;
    }
    call->read_on_until_ms = upstream_later(call->thread->now_ms, READ_ON_MS);
    upstream_call_end_assembled(call, state);
    return state == ASSEMBLE_COMPLETE ? bytes.n : CLOSE;
}

static size_t collect(struct call *call, struct span bytes)
{
    struct response *response = &call->response;
    struct buf *body = &response->body;
    size_t room = body->bytes_max - body->n;
    if (!response->encoded)
        buf_add(body, (struct span){bytes.p, bytes.n < room ? bytes.n : room});
    if (bytes.n <= room && buf_rc(body) == OK)
        return bytes.n;
    upstream_call_end(call, ATTEMPT_REFUSED);
    return CLOSE;
}

static size_t keep_body(struct call *call, struct span bytes)
{
    struct buf *body = &call->response.body;
    buf_add(body, bytes);
    if (buf_rc(body) == OK)
        return bytes.n;
    upstream_call_end(call, buf_rc(body) == E_LIMIT ? ATTEMPT_TOO_LARGE : ATTEMPT_NO_RESOURCES);
    return CLOSE;
}

static size_t read_on(struct call *call, struct span bytes)
{
    call->read_on_bytes += bytes.n;
    return call->read_on_bytes <= READ_ON_BYTES_MAX ? bytes.n : CLOSE;
}

size_t upstream_response_body(char *text, size_t size, size_t count, void *user)
{
    struct call *call = user;
    struct span bytes = {text, size * count};
    call->response.last_byte_ms = call->thread->now_ms;
    call->response.last_byte_us = upstream_clock_us();
    switch (call->phase) {
    case CALL_ASSEMBLING:
        return assemble(call, bytes);
    case CALL_COLLECTING:
        return collect(call, bytes);
    case CALL_KEEPING:
        return keep_body(call, bytes);
    case CALL_ENDED:
        return read_on(call, bytes);
    case CALL_WAITING:
    case CALL_CONNECTING:
    case CALL_REQUESTING:
        break;
    }
    upstream_call_end(call, ATTEMPT_MALFORMED); /* a body without a head */
    return CLOSE;
}
