/* From a flight's verdict to the answer that is stored and that all its waiters get. */
#include "app/engine_internal.h"

#include "core/http_date.h"
#include "core/json.h"

/* A provider's error body and what is put around it. */
enum { ERROR_BODY_BYTES_MAX = ATTEMPT_ERROR_BYTES_MAX + 16384, ERROR_MESSAGE_BYTES_MAX = 4096 };

static bool is_json_object(struct span body)
{
    struct json json;
    json_init(&json, body.p ? body : SPAN(""), JSON_LENIENT);
    bool is_object = json_peek(&json) == JSON_OBJECT;
    json_skip(&json);
    return is_object && json_end(&json);
}

/* The provider's error as it came, if it is JSON; a stream's error object gets the wrapping
 * that the same error has outside of a stream.  Returns the content type. */
static const char *render_upstream_error(const struct engine_flight *run, struct buf *out)
{
    enum error_shape shape = api_error_shape(run->intake->api);
    bool anthropic = run->intake->upstream->provider == PROVIDER_ANTHROPIC;
    bool wrap = run->outcome.end == ATTEMPT_STREAM_ERROR;
    struct span body = blob_span(run->outcome.body);
    if (!is_json_object(body)) {
        const struct http_error_params params = {
            .shape = shape,
            .status = run->flight.verdict.status,
            .request_id = span_of(run->id_text),
        };
        http_error_wrap_upstream(&params, body, out);
        return http_error_content_type(shape);
    }
    if (wrap)
        buf_add_text(out, anthropic ? "{\"type\":\"error\",\"error\":" : "{\"error\":");
    buf_add(out, body);
    if (wrap)
        buf_add_byte(out, '}');
    return "application/json";
}

const char *engine_explain_reuse(struct intake *intake, struct span first_members,
                                 int64_t first_unix_ms)
{
    BUF(text, ERROR_MESSAGE_BYTES_MAX);
    buf_add_text(&text, "first seen ");
    http_date_print(first_unix_ms / 1000, &text);
    size_t seen = text.n;
    buf_add_text(&text, "; ");
    members_explain(&intake->members, first_members, &text);
    if (text.n == seen + 2)
        text.n = seen;
    struct span copy = arena_copy(&intake->arena, buf_span(&text));
    return buf_rc(&text) == OK ? copy.p : NULL;
}

static void render_own_error(const struct engine_flight *run, struct buf *out)
{
    const struct verdict *verdict = &run->flight.verdict;
    BUF(message, ERROR_MESSAGE_BYTES_MAX);
    http_error_explain(verdict->error, verdict->detail ? verdict->detail : run->detail,
                       &message);
    const struct http_error_params params = {
        .shape = api_error_shape(run->intake->api),
        .error = verdict->error,
        .message = buf_span(&message),
        .request_id = span_of(run->id_text),
    };
    http_error_render(&params, out);
}

void engine_build_answer(struct engine_flight *run)
{
    const struct verdict *verdict = &run->flight.verdict;
    struct headers headers = {run->outcome.headers, run->outcome.header_count};
    bool anthropic = run->intake->upstream->provider == PROVIDER_ANTHROPIC;
    BUF(body, ERROR_BODY_BYTES_MAX);
    run->answer.status = (int)verdict->status;
    run->answer.content_type = SPAN("application/json");
    run->answer.request_id = header_get(&headers, anthropic ? "request-id" : "x-request-id");
    switch (verdict->body) {
    case VERDICT_STORED:
        return; /* not reached: perform leaves what keep_record made */
    case VERDICT_ANSWER:
        if (run->intake->relay.p)
            run->answer.content_type = header_get(&headers, "content-type");
        run->answer.body = blob_ref(run->outcome.body);
        return;
    case VERDICT_UPSTREAM_BODY:
        run->answer.content_type = span_of(render_upstream_error(run, &body));
        break;
    case VERDICT_OWN_ERROR:
        run->answer.content_type =
            span_of(http_error_content_type(api_error_shape(run->intake->api)));
        run->answer.error_code = span_of(http_error_info(verdict->error)->code);
        render_own_error(run, &body);
        break;
    }
    run->answer.body = buf_rc(&body) == OK ? blob_take(&body) : NULL;
}
