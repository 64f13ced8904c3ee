#include "app/reply.h"

#include <stdio.h>
#include <string.h>

enum {
    REPLY_HEADERS_MAX = 16 + ATTEMPT_HEADERS_MAX,
    REPLY_TEXT_BYTES_MAX = 512,
    REPLY_ERROR_BYTES_MAX = 16384,
    REPLY_RUNNING_RETRY_AFTER_S = 2, /* how often to look at a result that is not there yet */
};

const char *source_name(enum source source)
{
    static const char *const names[SOURCE_COUNT] = {
#define X(name, word) [name] = word,
        SOURCE_TABLE(X)
#undef X
    };
    return names[source];
}

void flight_id_text(struct flight_id id, char text[FLIGHT_ID_TEXT_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    char *at = text;
    for (size_t i = 0; i < sizeof id.bytes; i++) {
        *at++ = digits[id.bytes[i] >> 4];
        *at++ = digits[id.bytes[i] & 15];
    }
    *at = '\0';
}

/* The head of a reply while it is put together; texts live until it was sent. */
struct head {
    struct header headers[REPLY_HEADERS_MAX];
    size_t count;
    char retry_after[16], retry_after_ms[16];
    struct buf timing, preferences, location;
};

static void add(struct head *head, const char *name, struct span value)
{
    if (!value.p)
        return;
    ASSERT(head->count < REPLY_HEADERS_MAX);
    head->headers[head->count++] = (struct header){span_of(name), value};
}

static void add_retry_advice(struct head *head, const struct reply *reply)
{
    if (reply->retry != HTTP_ERROR_RETRY_UNSAID)
        add(head, "x-should-retry",
            reply->retry == HTTP_ERROR_RETRY_YES ? SPAN("true") : SPAN("false"));
    if (reply->retry_after_s == 0)
        return;
    (void)snprintf(head->retry_after, sizeof head->retry_after, "%u", reply->retry_after_s);
    add(head, "Retry-After", span_of(head->retry_after));
    /* What official SDKs look at first. */
    (void)snprintf(head->retry_after_ms, sizeof head->retry_after_ms, "%u000",
                   reply->retry_after_s);
    add(head, "retry-after-ms", span_of(head->retry_after_ms));
}

/* RFC 7240, sections 2 and 3. */
static void add_preferences(struct head *head, const struct reply *reply)
{
    if (reply->vary)
        add(head, "Vary", SPAN("Prefer"));
    if (reply->edge)
        edge_preference_applied(reply->edge, reply->answer.status == 202, &head->preferences);
    if (buf_rc(&head->preferences) == OK && head->preferences.n)
        add(head, "Preference-Applied", buf_span(&head->preferences));
}

/* False: out of memory, and without it the reply leads nowhere. */
static bool add_location(struct head *head, const struct reply *reply)
{
    if (!reply->token)
        return true;
    result_url_write(reply->token, reply->hop, &head->location);
    if (buf_rc(&head->location) != OK)
        return false;
    add(head, "Location", buf_span(&head->location));
    return true;
}

/* https://www.w3.org/TR/server-timing/ */
static void add_timing(struct head *head, const struct reply_timing *timing)
{
    if (!timing)
        return;
    buf_printf(&head->timing, "queue;dur=%lld, attempts;desc=\"%u\"",
               (long long)timing->queue_ms, timing->attempts);
    if (timing->first_event_ms >= 0)
        buf_printf(&head->timing, ", ttft;dur=%lld", (long long)timing->first_event_ms);
    buf_printf(&head->timing, ", generation;dur=%lld", (long long)timing->generation_ms);
    if (buf_rc(&head->timing) == OK)
        add(head, "Server-Timing", buf_span(&head->timing));
}

static bool is_rate_limit(struct span name)
{
    static const char *const prefixes[] = {"x-ratelimit-", "anthropic-ratelimit-"};
    for (size_t i = 0; i < COUNT_OF(prefixes); i++) {
        size_t n = strlen(prefixes[i]);
        if (name.n > n && span_is_nocase((struct span){name.p, n}, prefixes[i]))
            return true;
    }
    return false;
}

static void add_rate_limits(struct head *head, const struct attempt_outcome *upstream)
{
    if (!upstream)
        return;
    for (size_t i = 0; i < upstream->header_count; i++)
        if (is_rate_limit(upstream->headers[i].name))
            head->headers[head->count++] = upstream->headers[i];
}

static struct head head_begin(void)
{
    return (struct head){.timing = {.bytes_max = REPLY_TEXT_BYTES_MAX},
                         .preferences = {.bytes_max = REPLY_TEXT_BYTES_MAX},
                         .location = {.bytes_max = REPLY_TEXT_BYTES_MAX}};
}

static void head_done(struct head *head)
{
    buf_done(&head->timing);
    buf_done(&head->preferences);
    buf_done(&head->location);
}

void reply_send(struct http_request *request, const struct reply *reply)
{
    struct head head = head_begin();
    const struct answer *answer = &reply->answer;
    add(&head, "Content-Type", answer->content_type);
    add(&head, "Cache-Control", SPAN("no-store"));
    add(&head, "Unstream-Request-Id", span_of(reply->flight_id));
    if (reply->source != SOURCE_NONE)
        add(&head, "Idempotency-Status", span_of(source_name(reply->source)));
    if (reply->source == SOURCE_REPLAYED)
        add(&head, "Idempotent-Replayed", SPAN("true"));
    add(&head, reply->provider == PROVIDER_ANTHROPIC ? "request-id" : "x-request-id",
        answer->request_id);
    add(&head, "Allow", reply->allow);
    add_retry_advice(&head, reply);
    add_preferences(&head, reply);
    bool whole = add_location(&head, reply);
    add_timing(&head, reply->timing);
    add_rate_limits(&head, reply->upstream);
    const struct http_reply http = {
        .status = whole ? answer->status : 503,
        .headers = {head.headers, head.count},
        .body = whole ? answer->body : NULL,
        .close = reply->close,
    };
    http_request_reply(request, &http);
    head_done(&head);
}

void reply_refuse(struct http_request *request, const struct reply_refusal *refusal)
{
    const struct http_error_info *info = http_error_info(refusal->error);
    const unsigned status = refusal->status ? refusal->status : info->status;
    BUF(message, REPLY_ERROR_BYTES_MAX);
    http_error_explain(refusal->error, refusal->why, &message);
    const struct http_error_params params = {
        .shape = refusal->shape,
        .error = refusal->error,
        .status = status,
        .message = refusal->detail ? span_of(refusal->detail) : buf_span(&message),
        .request_id = span_of(refusal->flight_id),
    };
    BUF(body, REPLY_ERROR_BYTES_MAX);
    http_error_render(&params, &body);
    OWNED(blob) blob = buf_rc(&body) == OK ? blob_take(&body) : NULL;
    const struct reply reply = {
        .answer = {.status = blob ? (int)status : 503,
                   .body = blob,
                   .content_type = span_of(http_error_content_type(refusal->shape))},
        .flight_id = refusal->flight_id,
        .retry = info->retry,
        .retry_after_s = info->retry_after_s,
        .allow = refusal->allow,
        .edge = refusal->edge,
        .vary = refusal->edge != NULL,
    };
    reply_send(request, &reply);
}

void reply_error(struct http_request *request, enum error_shape shape, enum http_error error,
                 const char *detail, const char *flight_id, struct span allow)
{
    const struct reply_refusal refusal = {
        .shape = shape,
        .error = error,
        .detail = detail,
        .flight_id = flight_id,
        .allow = allow,
    };
    reply_refuse(request, &refusal);
}

enum http_error reply_error_of(enum front_problem problem)
{
    switch (problem) {
    case FRONT_BAD_FRAMING:
    case FRONT_BAD_HEADER:
    case FRONT_NO_HOST:
        return HTTP_ERROR_BAD_FRAMING;
    case FRONT_BAD_TRANSFER_ENCODING:
        return HTTP_ERROR_TRANSFER_ENCODING;
    case FRONT_BAD_EXPECT:
        return HTTP_ERROR_BAD_EXPECT;
    case FRONT_BODY_TOO_LARGE:
        return HTTP_ERROR_BODY_TOO_LARGE;
    case FRONT_HEAD_TOO_LARGE:
        return HTTP_ERROR_HEAD_TOO_LARGE;
    case FRONT_TOO_SLOW:
        return HTTP_ERROR_REQUEST_TIMEOUT;
    case FRONT_NO_MEMORY:
        break;
    }
    return HTTP_ERROR_OVERLOADED;
}

void reply_running(struct http_request *request, const struct reply_running *running)
{
    BUF(body, REPLY_TEXT_BYTES_MAX);
    buf_printf(&body,
               "{\"id\":\"%s\",\"status\":\"running\",\"attempt\":%u,\"elapsed_s\":%lld,"
               "\"output_bytes\":%zu}",
               running->flight_id, running->attempt, (long long)(running->elapsed_ms / 1000),
               running->output_bytes);
    OWNED(blob) blob = buf_rc(&body) == OK ? blob_take(&body) : NULL;
    const struct reply reply = {
        .answer = {.status = blob ? running->status : 503,
                   .body = blob,
                   .content_type = SPAN("application/json")},
        .flight_id = running->flight_id,
        .retry_after_s = running->status == 202 ? REPLY_RUNNING_RETRY_AFTER_S : 0,
        .token = running->token,
        .hop = running->hop,
        .edge = running->edge,
        .vary = true,
    };
    reply_send(request, &reply);
}

void reply_nothing(struct http_request *request, const char *flight_id)
{
    reply_send(request, &(struct reply){.answer = {.status = 204}, .flight_id = flight_id});
}

void reply_page(struct http_request *request, struct blob *html, struct span policy)
{
    const struct header headers[] = {
        {SPAN("Content-Type"), SPAN("text/html; charset=utf-8")},
        {SPAN("Cache-Control"), SPAN("no-store")},
        {SPAN("Content-Security-Policy"), policy},
        {SPAN("X-Content-Type-Options"), SPAN("nosniff")},
        {SPAN("Referrer-Policy"), SPAN("no-referrer")},
    };
    const struct http_reply http = {
        .status = 200, .headers = {headers, COUNT_OF(headers)}, .body = html};
    http_request_reply(request, &http);
}

void reply_begin(struct http_request *request, const char *flight_id, size_t body_bytes)
{
    const struct header headers[] = {
        {SPAN("Content-Type"), SPAN("application/json")},
        {SPAN("Cache-Control"), SPAN("no-store")},
        {SPAN("Unstream-Request-Id"), span_of(flight_id)},
        {SPAN("X-Accel-Buffering"), SPAN("no")}, /* nginx: pass each byte on at once */
        {SPAN("Vary"), SPAN("Prefer")},
    };
    const struct http_reply http = {.status = 200, .headers = {headers, COUNT_OF(headers)}};
    http_request_begin_reply(request, &http, body_bytes);
}
