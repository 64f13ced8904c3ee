#include "core/http_error.h"

#include "core/json.h"

static const struct http_error_info errors[] = {
#define X(name, code, status, retry, after_s, text)                                            \
    [name] = {code, status, HTTP_ERROR_RETRY_##retry, after_s, text},
    HTTP_ERROR_TABLE(X)
#undef X
};

/* X(status, phrase (RFC 9110), OpenAI's type, Anthropic's type as its SDKs document it) */
#define STATUS_TABLE(X)                                                                        \
    X(400, "Bad Request", "invalid_request_error", "invalid_request_error")                    \
    X(401, "Unauthorized", "invalid_request_error", "authentication_error")                    \
    X(402, "Payment Required", "invalid_request_error", "billing_error")                       \
    X(403, "Forbidden", "invalid_request_error", "permission_error")                           \
    X(404, "Not Found", "invalid_request_error", "not_found_error")                            \
    X(405, "Method Not Allowed", "invalid_request_error", "invalid_request_error")             \
    X(408, "Request Timeout", "invalid_request_error", "invalid_request_error")                \
    X(409, "Conflict", "invalid_request_error", "invalid_request_error")                       \
    X(413, "Content Too Large", "invalid_request_error", "request_too_large")                  \
    X(415, "Unsupported Media Type", "invalid_request_error", "invalid_request_error")         \
    X(417, "Expectation Failed", "invalid_request_error", "invalid_request_error")             \
    X(422, "Unprocessable Content", "invalid_request_error", "invalid_request_error")          \
    X(429, "Too Many Requests", "rate_limit_error", "rate_limit_error")                        \
    X(431, "Request Header Fields Too Large", "invalid_request_error",                         \
      "invalid_request_error")                                                                 \
    X(500, "Internal Server Error", "server_error", "api_error")                               \
    X(501, "Not Implemented", "server_error", "api_error")                                     \
    X(502, "Bad Gateway", "server_error", "api_error")                                         \
    X(503, "Service Unavailable", "server_error", "overloaded_error")                          \
    X(504, "Gateway Timeout", "server_error", "timeout_error")                                 \
    X(508, "Loop Detected", "server_error", "api_error")                                       \
    X(529, "Overloaded", "server_error", "overloaded_error")

struct status {
    unsigned status;
    const char *phrase, *openai_type, *anthropic_type;
};

static const struct status statuses[] = {
#define X(status, phrase, openai_type, anthropic_type)                                         \
    {status, phrase, openai_type, anthropic_type},
    STATUS_TABLE(X)
#undef X
};

/* A status that is not in the table (an upstream's) is told by its class. */
static const struct status other_4xx = {400, "Client Error", "invalid_request_error",
                                        "invalid_request_error"};
static const struct status other_5xx = {500, "Server Error", "server_error", "api_error"};

static const struct status *status_of(unsigned status)
{
    for (size_t i = 0; i < COUNT_OF(statuses); i++)
        if (statuses[i].status == status)
            return &statuses[i];
    return status < 500 ? &other_4xx : &other_5xx;
}

const struct http_error_info *http_error_info(enum http_error error)
{
    return &errors[error];
}

void http_error_explain(enum http_error error, const char *why, struct buf *out)
{
    buf_add_text(out, http_error_info(error)->text);
    if (why)
        buf_printf(out, " (%s)", why);
}

const struct http_error_info *http_error_named(struct span code)
{
    for (size_t i = 0; i < COUNT_OF(errors); i++)
        if (span_is(code, errors[i].code))
            return &errors[i];
    return NULL;
}

const char *http_error_content_type(enum error_shape shape)
{
    return shape == SHAPE_PROBLEM ? "application/problem+json" : "application/json";
}

/* Appends `before` and the quoted text. */
static void add_quoted(const char *before, struct span text, struct buf *out)
{
    buf_add_text(out, before);
    json_quote(text, out);
}

static void render(const struct http_error_params *params, const char *code,
                   struct span message, struct buf *out)
{
    const struct status *status = status_of(params->status);
    switch (params->shape) {
    case SHAPE_OPENAI:
        add_quoted("{\"error\":{\"message\":", message, out);
        add_quoted(",\"type\":", span_of(status->openai_type), out);
        add_quoted(",\"param\":null,\"code\":", span_of(code), out);
        buf_add_text(out, "}}");
        return;
    case SHAPE_ANTHROPIC:
        add_quoted("{\"type\":\"error\",\"error\":{\"type\":", span_of(status->anthropic_type),
                   out);
        add_quoted(",\"message\":", message, out);
        add_quoted("},\"request_id\":", params->request_id.p ? params->request_id : SPAN(""),
                   out);
        buf_add_text(out, "}");
        return;
    case SHAPE_PROBLEM:
        add_quoted("{\"type\":\"about:blank\",\"title\":", span_of(status->phrase), out);
        buf_printf(out, ",\"status\":%u", params->status);
        add_quoted(",\"detail\":", message, out);
        add_quoted(",\"code\":", span_of(code), out);
        buf_add_text(out, "}");
        return;
    }
}

void http_error_render(const struct http_error_params *params, struct buf *out)
{
    const struct http_error_info *info = http_error_info(params->error);
    struct http_error_params known = *params;
    if (!known.status)
        known.status = info->status;
    render(&known, info->code, params->message.p ? params->message : span_of(info->text), out);
}

static void add_printable(struct span body, struct buf *out)
{
    size_t written = 0;
    bool gap = false; /* something was left out since the last character */
    for (size_t i = 0; i < body.n; i++) {
        bool printable = body.p[i] > 0x20 && body.p[i] < 0x7F;
        size_t needed = gap && written ? 2 : 1;
        if (!printable) {
            gap = true;
            continue;
        }
        if (written + needed > HTTP_ERROR_UPSTREAM_CHARACTERS_MAX)
            return;
        if (needed == 2)
            buf_add_byte(out, ' ');
        buf_add_byte(out, body.p[i]);
        written += needed;
        gap = false;
    }
}

void http_error_wrap_upstream(const struct http_error_params *params, struct span body,
                              struct buf *out)
{
    BUF(message, 512);
    buf_printf(&message, "the provider answered %u without JSON: ", params->status);
    add_printable(body, &message);
    if (buf_rc(&message) != OK) {
        out->rc = buf_rc(&message);
        return;
    }
    render(params, errors[HTTP_ERROR_UPSTREAM].code, buf_span(&message), out);
}
