#include "app/intake.h"

#include "core/canonical.h"
#include "core/clients.h"
#include "core/credential.h"
#include "core/exposure.h"
#include "core/fingerprint.h"
#include "core/idem_key.h"
#include "core/scope.h"
#include "core/simple_api.h"
#include "core/splice.h"
#include "core/upstream_request.h"

#include <stdlib.h>

/* Of one request: the copied head of the upstream call, lists for the fingerprint, messages. */
enum {
    INTAKE_ARENA_BYTES_MAX = 4 << 20,
    INTAKE_DETAIL_BYTES_MAX = 2048,
    INTAKE_URL_BYTES_MAX = 16384
};

struct intake *intake_new(const struct intake_context *context)
{
    struct intake *intake = calloc(1, sizeof *intake);
    if (!intake)
        return NULL;
    arena_init(&intake->arena, INTAKE_ARENA_BYTES_MAX);
    intake->config = config_ref(context->config);
    return intake;
}

void intake_free(struct intake *intake)
{
    if (!intake)
        return;
    blob_free(intake->client_body);
    blob_free(intake->upstream_body);
    config_free(intake->config);
    arena_done(&intake->arena);
    free(intake);
}

static enum rc refuse(struct intake_refusal *ret, enum http_error error, const char *detail)
{
    *ret = (struct intake_refusal){.error = error, .detail = detail};
    return E_INVALID;
}

/* The same with a message put together for this request. */
PRINTF_LIKE(4, 5)
static enum rc refuse_with(struct intake *intake, struct intake_refusal *ret,
                           enum http_error error, const char *format, ...)
{
    BUF(detail, INTAKE_DETAIL_BYTES_MAX);
    va_list arguments;
    va_start(arguments, format);
    buf_vprintf(&detail, format, arguments);
    va_end(arguments);
    struct span copy = arena_copy(&intake->arena, buf_span(&detail));
    return refuse(ret, error, buf_rc(&detail) == OK ? copy.p : NULL);
}

/* ---- with the head */

static enum rc find_route(struct intake *intake, const struct http_head *head,
                          struct intake_refusal *ret)
{
    struct span host = header_get(&head->headers, "host");
    if (!api_from_route(head->path, &intake->api))
        return refuse_with(intake, ret, HTTP_ERROR_NOT_FOUND,
                           "there is nothing at %.*s. Served are POST /v1/chat/completions, "
                           "/v1/responses, /v1/messages and /api/llm, GET /livez and /readyz. "
                           "The base URL is http://%.*s/v1 for OpenAI's SDKs and http://%.*s "
                           "for Anthropic's",
                           SPAN_ARG(head->path), SPAN_ARG(host), SPAN_ARG(host));
    if (!span_is(head->method, "POST")) {
        (void)refuse_with(intake, ret, HTTP_ERROR_METHOD_NOT_ALLOWED,
                          "%s takes POST with a JSON body, not %.*s", api_route(intake->api),
                          SPAN_ARG(head->method));
        ret->allow = SPAN("POST");
        return E_INVALID;
    }
    intake->route = &intake->config->routes[intake->api];
    intake->upstream = intake->route->upstream;
    intake->wait_ms = intake->route->deadline_ms;
    if (intake->route->off)
        return refuse_with(intake, ret, HTTP_ERROR_ROUTE_NOT_CONFIGURED,
                           "%s is switched off in the configuration", api_route(intake->api));
    if (!intake->upstream)
        return refuse_with(intake, ret, HTTP_ERROR_ROUTE_NOT_CONFIGURED,
                           "%s has no upstream: set %s, or routes and upstreams in the "
                           "configuration file",
                           api_route(intake->api),
                           intake->api == API_MESSAGES ? "ANTHROPIC_API_KEY"
                                                       : "OPENAI_API_KEY");
    return OK;
}

static enum rc check_exposure(struct intake *intake, const struct intake_context *context,
                              const struct http_head *head, struct intake_refusal *ret)
{
    enum exposure exposure = exposure_of_request(intake->config, head, context->unix_listener);
    if (exposure == EXPOSURE_NONE)
        return OK;
    return refuse_with(intake, ret, HTTP_ERROR_OPEN_NOT_ALLOWED,
                       "%s, and this service holds its operator's key: its operator must "
                       "configure clients, or \"open\": true",
                       exposure_text(exposure));
}

static enum rc find_scope(struct intake *intake, const struct intake_context *context,
                          const struct http_head *head, struct intake_refusal *ret)
{
    struct credential credential;
    if (credential_find(&head->headers, &credential) != OK)
        return refuse(ret, HTTP_ERROR_CREDENTIAL_CONFLICT, NULL);
    enum scope_kind kind = credential.secret.p ? SCOPE_CREDENTIAL : SCOPE_ANONYMOUS;
    struct span tenant = credential.secret.p ? credential.secret : SPAN("");
    if (intake->config->client_count > 0) {
        enum rc rc = credential.secret.p
                         ? clients_find(intake->config, credential.secret, &intake->client)
                         : E_NOT_FOUND;
        if (rc == E_NOT_FOUND)
            return refuse(ret, HTTP_ERROR_UNAUTHORIZED, NULL);
        if (rc != OK)
            return rc;
        kind = SCOPE_CLIENT;
        tenant = intake->client->name;
    }
    intake->anonymous = kind == SCOPE_ANONYMOUS;
    return scope_digest(context->salt, kind, tenant, &intake->scope);
}

static enum rc find_key(struct intake *intake, const struct http_head *head,
                        struct intake_refusal *ret)
{
    enum idem_key_error error = idem_key_from_headers(&head->headers, &intake->idem_key);
    return error == IDEM_KEY_FINE
               ? OK
               : refuse(ret, HTTP_ERROR_KEY_INVALID, idem_key_error_text(error));
}

/* The parameters of a media type: only a charset of UTF-8 is fine. */
static bool charset_is_utf8(struct span parameters)
{
    while (parameters.p) {
        struct span one = span_trim(span_cut(&parameters, ';'));
        struct span name = span_trim(span_cut(&one, '='));
        struct span value = one.p ? span_trim(one) : SPAN("");
        if (value.n >= 2 && value.p[0] == '"' && value.p[value.n - 1] == '"')
            value = (struct span){value.p + 1, value.n - 2};
        if (span_is_nocase(name, "charset") && !span_is_nocase(value, "utf-8") &&
            !span_is_nocase(value, "utf8") && !span_is_nocase(value, "us-ascii"))
            return false;
    }
    return true;
}

static bool media_type_is_json(struct span content_type)
{
    struct span type = span_trim(span_cut(&content_type, ';'));
    struct span suffix = type.n > 5 ? span_from(type, type.n - 5) : SPAN("");
    bool json = span_is_nocase(type, "application/json") || span_is_nocase(type, "text/json") ||
                (type.n > sizeof "application/+json" - 1 && span_is_nocase(suffix, "+json"));
    return json && charset_is_utf8(content_type);
}

static enum rc check_media_type(const struct http_head *head, struct intake_refusal *ret)
{
    struct span type = header_get(&head->headers, "content-type");
    struct span coding = header_get(&head->headers, "content-encoding");
    if (coding.p && !span_is_nocase(coding, "identity"))
        return refuse(ret, HTTP_ERROR_MEDIA_TYPE,
                      "compressed bodies are not read: send it without Content-Encoding");
    if (type.p ? media_type_is_json(type) : !header_get(&head->headers, "origin").p)
        return OK;
    return refuse(ret, HTTP_ERROR_MEDIA_TYPE, NULL);
}

/* Unstream-Deadline: how long this caller wants to wait, in seconds. */
static enum rc find_deadline(struct intake *intake, const struct http_head *head,
                             struct intake_refusal *ret)
{
    struct span text = header_get(&head->headers, "unstream-deadline");
    int64_t max_ms = intake->config->limits.deadline_max_ms;
    uint64_t seconds;
    if (!text.p)
        return OK;
    if (!span_to_u64(text, &seconds) || seconds == 0)
        return refuse(ret, HTTP_ERROR_INVALID_REQUEST,
                      "Unstream-Deadline must be a whole number of seconds, at least 1");
    intake->wait_ms = seconds < (uint64_t)max_ms / 1000 ? (int64_t)seconds * 1000 : max_ms;
    return OK;
}

/* What a retry without a key is recognised by. */
static void find_adoption(struct intake *intake, const struct http_head *head)
{
    intake->adoption = (struct adoption_request){
        .adopt = intake->route->adopt,
        .shared_scope = intake->anonymous && intake->config->open,
    };
    adoption_read_count(&intake->adoption, &head->headers);
}

/* RFC 9111 5.2.1.5 */
static bool asks_no_store(const struct headers *headers)
{
    for (size_t i = 0; i < headers->count; i++) {
        struct span rest = headers->items[i].value;
        if (!span_is_nocase(headers->items[i].name, "cache-control"))
            continue;
        while (rest.p)
            if (span_is_nocase(span_trim(span_cut(&rest, ',')), "no-store"))
                return true;
    }
    return false;
}

static void find_place_of_answer(struct intake *intake, const struct http_head *head)
{
    intake->memory_only = intake->route->store == ANSWER_STORE_MEMORY ||
                          (intake->client && intake->client->store == ANSWER_STORE_MEMORY) ||
                          asks_no_store(&head->headers);
}

enum rc intake_head(struct intake *intake, const struct intake_context *context,
                    const struct http_head *head, struct intake_refusal *ret)
{
    enum rc rc = find_route(intake, head, ret);
    if (rc == OK)
        rc = check_exposure(intake, context, head, ret);
    if (rc == OK)
        rc = find_scope(intake, context, head, ret);
    if (rc == OK)
        rc = find_key(intake, head, ret);
    if (rc != OK)
        return rc;
    find_adoption(intake, head);
    find_place_of_answer(intake, head);
    rc = find_deadline(intake, head, ret);
    if (rc == OK)
        rc = check_media_type(head, ret);
    return rc;
}

/* ---- with the body */

static enum rc find_fingerprint(struct intake *intake, const struct http_head *head,
                                struct span body, struct buf *canonical,
                                struct intake_refusal *ret)
{
    const char *without = intake->api == API_SIMPLE ? "idempotency_key" : NULL;
    struct json_refusal refusal;
    enum rc rc = canonical_json(body, without, canonical, &refusal);
    if (rc == E_SYNTAX)
        return refuse_with(intake, ret, HTTP_ERROR_INVALID_JSON,
                           "the body is not a valid JSON object: %s, at byte %zu",
                           json_error_text(refusal.error), refusal.offset);
    if (rc != OK)
        return rc;
    return fingerprint_of(head, intake->api, buf_span(canonical), &intake->arena,
                          &intake->fingerprint);
}

/* The key's digest, once all places where a key may stand were read. */
static enum rc settle_key(struct intake *intake, struct intake_refusal *ret)
{
    struct span key = idem_key_span(&intake->idem_key);
    if (!key.p && intake->route->require_key)
        return refuse(ret, HTTP_ERROR_KEY_MISSING, NULL);
    if (!key.p) {
        intake->adoptable = adoption_may_orphan(&intake->adoption) &&
                            intake->route->on_disconnect != ON_DISCONNECT_CANCEL;
        return OK;
    }
    intake->adoption = (struct adoption_request){.adopt = ADOPT_OFF};
    if (intake->anonymous && intake->config->open) {
        enum idem_key_error error = idem_key_check_anonymous(&intake->idem_key);
        if (error != IDEM_KEY_FINE)
            return refuse(ret, HTTP_ERROR_KEY_INVALID, idem_key_error_text(error));
    }
    intake->keyed = true;
    return scope_key_digest(&intake->scope, key, &intake->key);
}

/* /api/llm: the body of the configured api, and the key among its members. */
static enum rc map_simple(struct intake *intake, struct span body, struct intake_refusal *ret)
{
    BUF(mapped, intake->config->limits.body_bytes_max * 2);
    BUF(detail, INTAKE_DETAIL_BYTES_MAX);
    struct simple_api_request request;
    enum simple_api_refusal refusal =
        simple_api_request(intake->route, intake->upstream, body, &mapped, &request);
    if (refusal != SIMPLE_API_FINE) {
        simple_api_explain(refusal, request.refused, &detail);
        return refuse_with(intake, ret, simple_api_refusal_error(refusal), "%s",
                           buf_text(&detail));
    }
    enum idem_key_error error =
        idem_key_join_member(&intake->idem_key, request.idempotency_key);
    if (error != IDEM_KEY_FINE)
        return refuse(ret, HTTP_ERROR_KEY_INVALID, idem_key_error_text(error));
    intake->client_body = buf_rc(&mapped) == OK ? blob_take(&mapped) : NULL;
    return intake->client_body ? OK : E_NOMEM;
}

/* Writes upstream_body from client_body. */
static enum rc splice(struct intake *intake, struct intake_refusal *ret)
{
    struct splice splice;
    enum splice_refusal refusal = splice_plan(intake->route->api, intake->include_usage,
                                              blob_span(intake->client_body), &splice);
    if (refusal == SPLICE_STREAM_TRUE)
        return refuse_with(intake, ret, HTTP_ERROR_STREAM_NOT_SUPPORTED,
                           "\"stream\": true is not served here, answers come as one complete "
                           "body: leave it out, or stream from %.*s",
                           SPAN_ARG(intake->upstream->base_url));
    if (refusal != SPLICE_FINE)
        return refuse(ret, splice_refusal_error(refusal), splice_refusal_text(refusal));
    struct buf out = {.bytes_max = splice_bytes(&splice)};
    splice_write(&splice, &out);
    blob_free(intake->upstream_body);
    intake->upstream_body = buf_rc(&out) == OK ? blob_take(&out) : NULL;
    buf_done(&out);
    struct span model = json_inside(splice.model);
    intake->model = model.p ? arena_copy(&intake->arena, model) : SPAN_ABSENT;
    intake->choices = splice.choices;
    return intake->upstream_body ? OK : E_NOMEM;
}

enum rc intake_drop_include_usage(struct intake *intake)
{
    struct intake_refusal refusal;
    intake->include_usage = false;
    return splice(intake, &refusal);
}

void intake_keep_splice(struct intake *intake)
{
    blob_free(intake->client_body);
    intake->client_body = NULL;
}

void intake_drop_bodies(struct intake *intake)
{
    intake_keep_splice(intake);
    blob_free(intake->upstream_body);
    intake->upstream_body = NULL;
}

static bool wants_include_usage(const struct intake *intake,
                                const struct intake_context *context)
{
    if (intake->route->api != API_CHAT)
        return false;
    switch (intake->upstream->include_usage) {
    case INCLUDE_USAGE_ALWAYS:
        return true;
    case INCLUDE_USAGE_NEVER:
        return false;
    case INCLUDE_USAGE_AUTO:
        break;
    }
    return context->knows_stream_options(context->memory, intake->upstream);
}

/* The flight outlives the request, whose memory the header values stand in. */
static enum rc copy_headers(struct intake *intake, const struct headers *headers)
{
    struct header *copy = arena_alloc(&intake->arena, headers->count * sizeof *copy);
    if (!copy)
        return E_NOMEM;
    for (size_t i = 0; i < headers->count; i++) {
        copy[i].name = arena_copy(&intake->arena, headers->items[i].name);
        copy[i].value = arena_copy(&intake->arena, headers->items[i].value);
        if (!copy[i].name.p || !copy[i].value.p)
            return E_NOMEM;
    }
    intake->headers = (struct headers){copy, headers->count};
    return OK;
}

/* URL and headers of the upstream call. */
static enum rc address_upstream(struct intake *intake, const struct intake_context *context,
                                const struct http_head *head, struct intake_refusal *ret)
{
    const struct upstream_request_params params = {
        .upstream = intake->upstream,
        .client = &head->headers,
        .route = intake->api,
        .api = intake->route->api,
        .boot_id = context->boot_id,
    };
    struct headers headers;
    switch (upstream_request_headers(&params, &intake->arena, &headers)) {
    case UPSTREAM_REQUEST_FINE:
        break;
    case UPSTREAM_REQUEST_LOOP:
        return refuse(ret, HTTP_ERROR_LOOP_DETECTED, NULL);
    case UPSTREAM_REQUEST_BAD_VALUE:
        return refuse(ret, HTTP_ERROR_BAD_FRAMING, "a header holds a control character");
    case UPSTREAM_REQUEST_NO_MEMORY:
        return E_NOMEM;
    }
    BUF(url, INTAKE_URL_BYTES_MAX);
    struct span query = intake->api == API_SIMPLE ? SPAN_ABSENT : head->query;
    upstream_request_url(intake->upstream, intake->route->api, query, &url);
    intake->url = arena_copy(&intake->arena, buf_span(&url));
    return buf_rc(&url) == OK && intake->url.p ? copy_headers(intake, &headers) : E_NOMEM;
}

enum rc intake_body(struct intake *intake, const struct intake_context *context,
                    const struct http_head *head, struct span body, struct intake_refusal *ret)
{
    BUF(canonical, body.n);
    enum rc rc = find_fingerprint(intake, head, body, &canonical, ret);
    if (rc == OK && intake->api == API_SIMPLE)
        rc = map_simple(intake, body, ret);
    else if (rc == OK)
        rc = (intake->client_body = blob_new(body)) ? OK : E_NOMEM;
    if (rc == OK)
        rc = settle_key(intake, ret);
    if (rc == OK && intake->keyed)
        rc = members_of(&intake->key, buf_span(&canonical), &intake->arena, &intake->members);
    intake->include_usage = wants_include_usage(intake, context);
    if (rc == OK)
        rc = splice(intake, ret);
    if (rc == OK)
        rc = address_upstream(intake, context, head, ret);
    if (!intake->include_usage)
        intake_keep_splice(intake);
    return rc;
}
