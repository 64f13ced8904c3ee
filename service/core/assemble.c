#include "core/assemble_api.h"
#include "core/usage.h"
#include "core/utf8.h"

#include <stdlib.h>

/* An invalid byte becomes the three bytes of U+FFFD. */
enum { REPAIR_GROWTH = 3 };

const char *assemble_failure_name(enum assemble_failure failure)
{
    switch (failure) {
#define X(name, word, text)                                                                    \
    case name:                                                                                 \
        return word;
        ASSEMBLE_FAILURE_TABLE(X)
#undef X
    }
    return "unknown";
}

static const struct assemble_api *api_of(enum api api)
{
    switch (api) {
    case API_CHAT:
        return &assemble_chat;
    case API_MESSAGES:
        return &assemble_messages;
    case API_RESPONSES:
        return &assemble_responses;
    case API_SIMPLE:
    case API_COUNT:
        break;
    }
    return NULL;
}

struct assemble *assemble_new(const struct assemble_params *params)
{
    const struct assemble_api *api = api_of(params->api);
    ASSERT(api && params->choices >= 1);
    OWNED(assemble) a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->params = *params;
    a->api = api;
    sse_init(&a->sse, params->event_bytes_max);
    buf_init(&a->repaired, REPAIR_GROWTH * params->event_bytes_max);
    buf_init(&a->body, params->answer_bytes_max);
    buf_init(&a->error, params->answer_bytes_max);
    value_pool_init(&a->pool, params->answer_bytes_max);
    a->own = value_pool_alloc(&a->pool, api->own_bytes);
    if (!a->own)
        return NULL;
    api->start(a);
    return a->pool.rc == E_NOMEM ? NULL : take(a);
}

/* Give back what was only needed to get here. */
static void release(struct assemble *a)
{
    sse_done(&a->sse);
    buf_done(&a->repaired);
    value_pool_done(&a->pool);
    a->own = NULL;
}

void assemble_free(struct assemble *a)
{
    if (!a)
        return;
    release(a);
    buf_done(&a->body);
    buf_done(&a->error);
    free(a);
}

/* ---- outcomes */

void assemble_fail(struct assemble *a, enum assemble_failure failure)
{
    if (a->state != ASSEMBLE_MORE)
        return;
    a->state = ASSEMBLE_FAILED;
    a->failure = failure;
}

static void fail_for(struct assemble *a, enum rc rc)
{
    assemble_fail(a, rc == E_LIMIT ? ASSEMBLE_TOO_LARGE : ASSEMBLE_NO_MEMORY);
}

void assemble_fail_upstream(struct assemble *a, struct span sent)
{
    struct span error = json_get(sent, "error");
    if (json_type(error) == JSON_NONE || json_type(error) == JSON_NULL)
        error = json_type(sent) == JSON_OBJECT ? sent : SPAN_ABSENT;
    buf_add(&a->error, error);
    if (buf_rc(&a->error) != OK)
        fail_for(a, buf_rc(&a->error));
    if (a->error.n)
        json_close_surrogates(a->error.p, a->error.n);
    assemble_fail(a, ASSEMBLE_UPSTREAM_ERROR);
}

void assemble_complete(struct assemble *a)
{
    if (a->state != ASSEMBLE_MORE)
        return;
    if (a->pool.rc == OK && a->body.n == 0) {
        (void)buf_reserve(&a->body, a->pool.bytes); /* one allocation for most of it */
        a->api->write(a, &a->body);
    }
    if (a->state != ASSEMBLE_MORE)
        return;
    enum rc rc = a->pool.rc != OK ? a->pool.rc : buf_rc(&a->body);
    if (rc != OK) {
        fail_for(a, rc);
        return;
    }
    json_close_surrogates(a->body.p, a->body.n);
    a->state = ASSEMBLE_COMPLETE;
}

void assemble_note_usage(struct assemble *a, struct span object)
{
    struct usage usage = {a->progress.input_tokens, a->progress.output_tokens};
    usage_note(&usage, object);
    a->progress.input_tokens = usage.input_tokens;
    a->progress.output_tokens = usage.output_tokens;
}

void assemble_note_output(struct assemble *a, size_t bytes)
{
    a->progress.output_bytes += bytes;
    a->progress.output_began = true;
}

/* ---- events */

static struct span trim(struct span text)
{
    while (text.n && strchr(" \t\r\n", text.p[text.n - 1]) && text.p[text.n - 1])
        text.n--;
    while (text.n && strchr(" \t\r\n", text.p[0]) && text.p[0])
        text = span_from(text, 1);
    return text;
}

static enum json_error json_check(struct span text)
{
    struct json json;
    json_init(&json, text, JSON_LENIENT);
    json_skip(&json);
    (void)json_end(&json);
    return json.error;
}

static void read_event(struct assemble *a, const struct sse_event *event)
{
    struct span data = trim(event->data);
    if (data.n == 0 || SAYS(data, "null"))
        return;
    if (SAYS(data, "[DONE]")) {
        a->api->done(a);
        return;
    }
    if (!utf8_is_valid(data)) {
        buf_clear(&a->repaired);
        utf8_repair(data, &a->repaired);
        if (buf_rc(&a->repaired) != OK) {
            fail_for(a, buf_rc(&a->repaired));
            return;
        }
        data = buf_span(&a->repaired);
    }
    if (event->unterminated && json_check(data) != JSON_FINE)
        return; /* cut: as if it had not begun */
    a->progress.events++;
    if (SAYS(event->name, "error"))
        assemble_fail_upstream(a, json_check(data) == JSON_FINE ? data : SPAN_ABSENT);
    else
        a->api->event(a, data);
    if (a->pool.rc != OK)
        fail_for(a, a->pool.rc);
}

static void read_events(struct assemble *a)
{
    struct sse_event event;
    enum sse_step step = SSE_MORE;
    while (a->state == ASSEMBLE_MORE && (step = sse_next(&a->sse, &event)) == SSE_EVENT)
        read_event(a, &event);
    if (step == SSE_FAILED)
        fail_for(a, a->sse.rc);
}

static void feed_events(struct assemble *a, struct span bytes)
{
    sse_feed(&a->sse, bytes);
    read_events(a);
}

/* ---- a body that is plain JSON: an error, or a server that does not stream */

static void keep_plain(struct assemble *a, struct span bytes)
{
    buf_add(&a->body, bytes);
    if (buf_rc(&a->body) != OK)
        fail_for(a, buf_rc(&a->body));
}

static void repair_plain(struct assemble *a)
{
    struct buf repaired;
    buf_init(&repaired, a->params.answer_bytes_max);
    utf8_repair(buf_span(&a->body), &repaired);
    buf_done(&a->body);
    a->body = repaired;
    if (buf_rc(&a->body) != OK)
        fail_for(a, buf_rc(&a->body));
}

static void end_plain(struct assemble *a)
{
    if (!utf8_is_valid(buf_span(&a->body)))
        repair_plain(a);
    struct span body = buf_span(&a->body);
    enum json_error error = json_check(body);
    if (error != JSON_FINE) {
        assemble_fail(a, error == JSON_EOF ? ASSEMBLE_TRUNCATED : ASSEMBLE_MALFORMED);
    } else if (a->api->is_answer(a, body)) {
        assemble_note_usage(a, json_get(body, "usage"));
        assemble_note_output(a, 0);
        assemble_complete(a);
    } else {
        assemble_fail_upstream(a, body);
    }
}

/* ---- the interface */

/* Where the first byte is that tells events from plain JSON; bytes.n: not here.  A byte order
 * mark and blanks mean nothing in either. */
static size_t find_begin(struct span bytes)
{
    size_t i = 0;
    while (i < bytes.n && bytes.p[i] && strchr("\xEF\xBB\xBF \t\r\n", bytes.p[i]))
        i++;
    return i;
}

static enum assemble_state finish_step(struct assemble *a)
{
    if (a->state != ASSEMBLE_MORE)
        release(a);
    return a->state;
}

enum assemble_state assemble_feed(struct assemble *a, struct span bytes)
{
    if (a->state != ASSEMBLE_MORE)
        return a->state;
    if (a->phase == ASSEMBLE_SNIFF) {
        size_t begin = find_begin(bytes);
        if (begin < bytes.n)
            a->phase = bytes.p[begin] == '{' ? ASSEMBLE_PLAIN : ASSEMBLE_EVENTS;
        if (a->phase == ASSEMBLE_PLAIN) {
            feed_events(a, (struct span){bytes.p, begin}); /* as when they came before */
            bytes = span_from(bytes, begin);
        }
    }
    if (a->phase == ASSEMBLE_PLAIN)
        keep_plain(a, bytes);
    else
        feed_events(a, bytes);
    return finish_step(a);
}

enum assemble_state assemble_end(struct assemble *a)
{
    if (a->state != ASSEMBLE_MORE)
        return a->state;
    if (a->phase == ASSEMBLE_PLAIN) {
        end_plain(a);
    } else {
        sse_end(&a->sse);
        read_events(a);
        if (a->api->could_end(a))
            assemble_complete(a);
        assemble_fail(a, ASSEMBLE_TRUNCATED);
    }
    return finish_step(a);
}

bool assemble_could_end(const struct assemble *a)
{
    return a->state == ASSEMBLE_MORE && a->phase == ASSEMBLE_EVENTS && a->api->could_end(a);
}

enum assemble_failure assemble_failure(const struct assemble *a)
{
    ASSERT(a->state == ASSEMBLE_FAILED);
    return a->failure;
}

struct span assemble_error(const struct assemble *a)
{
    return a->error.n ? buf_span(&a->error) : SPAN_ABSENT;
}

void assemble_take_body(struct assemble *a, struct buf *ret)
{
    ASSERT(a->state == ASSEMBLE_COMPLETE && a->body.p);
    *ret = a->body;
    buf_init(&a->body, 0);
}

struct assemble_progress assemble_progress(const struct assemble *a)
{
    return a->progress;
}
