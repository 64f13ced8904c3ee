#include "app/intake_internal.h"

#include "core/canonical.h"
#include "core/clients.h"
#include "core/credential.h"
#include "core/exposure.h"
#include "core/fingerprint.h"
#include "core/idem_key.h"
#include "core/scope.h"
#include "core/simple_api.h"
#include "core/upstream_request.h"

#include <stdlib.h>
#include <string.h>

/* Of one request: the copied head of the upstream call, lists for the fingerprint, messages. */
enum {
    INTAKE_ARENA_BYTES_MAX = 4 << 20,
    INTAKE_DETAIL_BYTES_MAX = 2048,
};

struct intake *intake_new(const struct intake_context *context)
{
    struct intake *intake = calloc(1, sizeof *intake);
    if (!intake)
        return NULL;
    arena_init(&intake->arena, INTAKE_ARENA_BYTES_MAX);
    intake->config = config_ref(context->config);
    intake->operation = "chat";
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

enum rc intake_refuse(struct intake_refusal *ret, enum http_error error, const char *detail)
{
    *ret = (struct intake_refusal){.error = error, .detail = detail};
    return E_INVALID;
}

enum rc intake_refuse_with(struct intake *intake, struct intake_refusal *ret,
                           enum http_error error, const char *format, ...)
{
    BUF(detail, INTAKE_DETAIL_BYTES_MAX);
    va_list arguments;
    va_start(arguments, format);
    buf_vprintf(&detail, format, arguments);
    va_end(arguments);
    struct span copy = arena_copy(&intake->arena, buf_span(&detail));
    return intake_refuse(ret, error, buf_rc(&detail) == OK ? copy.p : NULL);
}

/* ---- with the head */

enum rc intake_find_upstream(struct intake *intake, struct intake_refusal *ret)
{
    intake->route = &intake->config->routes[intake->api];
    intake->upstream = intake->route->upstream;
    intake->wait_ms = intake->route->deadline_ms;
    if (intake->route->off)
        return intake_refuse_with(intake, ret, HTTP_ERROR_ROUTE_NOT_CONFIGURED,
                                  "%s is switched off in the configuration",
                                  api_route(intake->api));
    if (!intake->upstream)
        return intake_refuse_with(intake, ret, HTTP_ERROR_ROUTE_NOT_CONFIGURED,
                                  "%s has no upstream: set %s, or routes and upstreams in the "
                                  "configuration file",
                                  api_route(intake->api),
                                  intake->api == API_MESSAGES ? "ANTHROPIC_API_KEY"
                                                              : "OPENAI_API_KEY");
    return OK;
}

static enum rc find_route(struct intake *intake, const struct http_head *head,
                          struct intake_refusal *ret)
{
    if (!api_from_path(head->path, &intake->api))
        return intake_relay_route(intake, head, ret);
    if (!span_is(head->method, "POST")) {
        (void)intake_refuse_with(intake, ret, HTTP_ERROR_METHOD_NOT_ALLOWED,
                                 "%s takes POST with a JSON body, not %.*s",
                                 api_route(intake->api), SPAN_ARG(head->method));
        ret->allow = SPAN("POST");
        return E_INVALID;
    }
    return intake_find_upstream(intake, ret);
}

/* First of all: whatever else is wrong with it, it is a call that we made ourselves. */
static enum rc check_loop(const struct intake_context *context, const struct http_head *head,
                          struct intake_refusal *ret)
{
    return upstream_request_is_loop(&head->headers, context->boot_id)
               ? intake_refuse(ret, HTTP_ERROR_LOOP_DETECTED, NULL)
               : OK;
}

static enum rc check_exposure(struct intake *intake, const struct intake_context *context,
                              const struct http_head *head, struct intake_refusal *ret)
{
    enum exposure exposure = exposure_of_request(intake->config, head, context->unix_listener);
    if (exposure == EXPOSURE_NONE)
        return OK;
    return intake_refuse_with(
        intake, ret, HTTP_ERROR_OPEN_NOT_ALLOWED,
        "%s, and this service holds its operator's key: its operator must "
        "configure clients, or \"open\": true",
        exposure_text(exposure));
}

enum rc caller_find(const struct intake_context *context, const struct headers *headers,
                    struct caller *ret)
{
    struct caller caller = {.client = NULL};
    struct credential credential;
    if (credential_find(headers, &credential) != OK)
        return E_CONFLICT;
    enum scope_kind kind = credential.secret.p ? SCOPE_CREDENTIAL : SCOPE_ANONYMOUS;
    struct span tenant = credential.secret.p ? credential.secret : SPAN("");
    if (context->config->client_count > 0) {
        enum rc rc = credential.secret.p
                         ? clients_find(context->config, credential.secret, &caller.client)
                         : E_NOT_FOUND;
        if (rc != OK)
            return rc;
        kind = SCOPE_CLIENT;
        tenant = caller.client->name;
    }
    caller.anonymous = kind == SCOPE_ANONYMOUS;
    enum rc rc = scope_digest(context->salt, kind, tenant, &caller.scope);
    if (rc == OK)
        *ret = caller;
    return rc;
}

static enum rc find_caller(struct intake *intake, const struct intake_context *context,
                           const struct http_head *head, struct intake_refusal *ret)
{
    enum rc rc = caller_find(context, &head->headers, &intake->caller);
    if (rc == E_CONFLICT)
        return intake_refuse(ret, HTTP_ERROR_CREDENTIAL_CONFLICT, NULL);
    return rc == E_NOT_FOUND ? intake_refuse(ret, HTTP_ERROR_UNAUTHORIZED, NULL) : rc;
}

static enum rc find_key(struct intake *intake, const struct http_head *head,
                        struct intake_refusal *ret)
{
    if (intake->relay.p)
        return OK;
    enum idem_key_error error = idem_key_from_headers(&head->headers, &intake->idem_key);
    return error == IDEM_KEY_FINE
               ? OK
               : intake_refuse(ret, HTTP_ERROR_KEY_INVALID, idem_key_error_text(error));
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
    if (!span_is(head->method, "POST"))
        return OK; /* a body means nothing there, and is dropped */
    struct span type = header_get(&head->headers, "content-type");
    struct span coding = header_get(&head->headers, "content-encoding");
    if (coding.p && !span_is_nocase(coding, "identity"))
        return intake_refuse(
            ret, HTTP_ERROR_MEDIA_TYPE,
            "compressed bodies are not read: send it without Content-Encoding");
    if (type.p ? media_type_is_json(type) : !header_get(&head->headers, "origin").p)
        return OK;
    return intake_refuse(ret, HTTP_ERROR_MEDIA_TYPE, NULL);
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
        return intake_refuse(ret, HTTP_ERROR_INVALID_REQUEST,
                             "Unstream-Deadline must be a whole number of seconds, at least 1");
    intake->wait_ms = seconds < (uint64_t)max_ms / 1000 ? (int64_t)seconds * 1000 : max_ms;
    return OK;
}

/* What a retry without a key is recognised by. */
static void find_adoption(struct intake *intake, const struct http_head *head)
{
    intake->adoption = (struct adoption_request){
        .adopt = intake->route->adopt,
        .shared_scope = intake->caller.anonymous && intake->config->open,
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
    intake->memory_only =
        intake->route->store == ANSWER_STORE_MEMORY ||
        (intake->caller.client && intake->caller.client->store == ANSWER_STORE_MEMORY) ||
        asks_no_store(&head->headers);
}

enum rc intake_head(struct intake *intake, const struct intake_context *context,
                    const struct http_head *head, struct intake_refusal *ret)
{
    enum rc rc = find_route(intake, head, ret);
    if (rc == OK)
        rc = check_loop(context, head, ret);
    if (rc == OK)
        rc = check_exposure(intake, context, head, ret);
    if (rc == OK)
        rc = find_caller(intake, context, head, ret);
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
        return intake_refuse_with(intake, ret, HTTP_ERROR_INVALID_JSON,
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
        return intake_refuse(ret, HTTP_ERROR_KEY_MISSING, NULL);
    if (!key.p) {
        intake->adoptable = adoption_may_orphan(&intake->adoption) &&
                            intake->route->on_disconnect != ON_DISCONNECT_CANCEL;
        return OK;
    }
    intake->adoption = (struct adoption_request){.adopt = ADOPT_OFF};
    if (intake->caller.anonymous && intake->config->open) {
        enum idem_key_error error = idem_key_check_anonymous(&intake->idem_key);
        if (error != IDEM_KEY_FINE)
            return intake_refuse(ret, HTTP_ERROR_KEY_INVALID, idem_key_error_text(error));
    }
    intake->keyed = true;
    return scope_key_digest(&intake->caller.scope, key, &intake->key);
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
        return intake_refuse_with(intake, ret, simple_api_refusal_error(refusal), "%s",
                                  buf_text(&detail));
    }
    enum idem_key_error error =
        idem_key_join_member(&intake->idem_key, request.idempotency_key);
    if (error != IDEM_KEY_FINE)
        return intake_refuse(ret, HTTP_ERROR_KEY_INVALID, idem_key_error_text(error));
    intake->client_body = buf_rc(&mapped) == OK ? blob_take(&mapped) : NULL;
    return intake->client_body ? OK : E_NOMEM;
}

static bool is_from_sdk(const struct headers *headers)
{
    static const char prefix[] = "x-stainless-";
    for (size_t i = 0; i < headers->count; i++) {
        struct span name = headers->items[i].name;
        if (name.n >= strlen(prefix) &&
            span_is_nocase((struct span){name.p, strlen(prefix)}, prefix))
            return true;
    }
    return false;
}

/* What is in the way between this caller and us. */
static void plan_edge(struct intake *intake, const struct http_head *head)
{
    const struct edge_request request = {
        .route = intake->route,
        .prefer = prefer_read(&head->headers),
        .retry_finds = intake->keyed || intake->adoptable,
        .from_sdk = is_from_sdk(&head->headers),
        .may_be_driven = intake->upstream->api_key.p && !intake->memory_only,
        .max_tokens = intake->max_tokens,
        .choices = intake->choices,
        .logprobs = intake->logprobs,
    };
    intake->edge = edge_plan(&request);
}

enum rc intake_body(struct intake *intake, const struct intake_context *context,
                    const struct http_head *head, struct span body, struct intake_refusal *ret)
{
    if (intake->relay.p)
        return intake_relay_body(intake, context, head, body, ret);
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
    intake->include_usage = intake_wants_include_usage(intake, context);
    if (rc == OK)
        rc = intake_splice(intake, ret);
    if (rc == OK)
        rc = intake_address(intake, context, head, ret);
    if (rc == OK)
        plan_edge(intake, head);
    if (rc == OK && intake->edge.accepts)
        rc = intake_keep_request(intake, head);
    else if (!intake_may_splice_again(intake))
        intake_keep_splice(intake);
    return rc;
}
