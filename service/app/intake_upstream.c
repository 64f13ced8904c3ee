/* What an intake sends upstream, now or, once accepted, after a restart. */
#include "app/intake_internal.h"

#include "core/json.h"
#include "core/splice.h"
#include "core/upstream_request.h"

#include <string.h>

/* The largest head that limits.header_bytes_max allows, behind the longest base_url. */
enum { INTAKE_URL_BYTES_MAX = (64 << 10) + 4096 };

void intake_name_model(struct intake *intake, struct span value)
{
    struct span escaped = json_inside(value);
    BUF(name, escaped.n);
    if (escaped.p)
        json_unescape(escaped, &name);
    intake->model = name.n ? arena_copy(&intake->arena, buf_span(&name)) : SPAN_ABSENT;
}

/* Writes upstream_body from client_body. */
enum rc intake_splice(struct intake *intake, struct intake_refusal *ret)
{
    struct splice splice;
    enum splice_refusal refusal = splice_plan(intake->route->api, intake->include_usage,
                                              blob_span(intake->client_body), &splice);
    if (refusal == SPLICE_STREAM_TRUE)
        return intake_refuse_with(
            intake, ret, HTTP_ERROR_STREAM_NOT_SUPPORTED,
            "\"stream\": true is not served here, answers come as one complete "
            "body: leave it out, or stream from %.*s",
            SPAN_ARG(intake->upstream->base_url));
    if (refusal != SPLICE_FINE)
        return intake_refuse(ret, splice_refusal_error(refusal), splice_refusal_text(refusal));
    struct buf out = {.bytes_max = splice_bytes(&splice)};
    splice_write(&splice, &out);
    struct blob *body = buf_rc(&out) == OK ? blob_take(&out) : NULL;
    buf_done(&out);
    if (!body)
        return E_NOMEM;
    blob_free(intake->upstream_body);
    intake->upstream_body = body;
    intake_name_model(intake, splice.model);
    intake->choices = splice.choices;
    intake->max_tokens = splice.max_tokens;
    intake->logprobs = splice.logprobs;
    return OK;
}

enum rc intake_drop_include_usage(struct intake *intake)
{
    struct intake_refusal refusal;
    intake->include_usage = false;
    return intake_splice(intake, &refusal);
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

/* known: whether an upstream that is to be asked by "auto" may get it. */
static bool wants_include_usage(enum api api, enum include_usage include_usage, bool known)
{
    if (api != API_CHAT)
        return false;
    switch (include_usage) {
    case INCLUDE_USAGE_ALWAYS:
        return true;
    case INCLUDE_USAGE_NEVER:
        return false;
    case INCLUDE_USAGE_AUTO:
        break;
    }
    return known;
}

bool intake_wants_include_usage(const struct intake *intake,
                                const struct intake_context *context)
{
    return wants_include_usage(
        intake->route->api, intake->upstream->include_usage,
        context->knows_stream_options(context->memory, intake->upstream));
}

bool intake_may_splice_again(const struct intake *intake)
{
    const struct config_upstream *fallback = intake->fallback.upstream;
    return intake->include_usage ||
           (fallback && fallback->include_usage != intake->upstream->include_usage);
}

enum rc intake_use_fallback(struct intake *intake, bool knows_stream_options)
{
    const struct intake_target *fallback = &intake->fallback;
    bool before = intake->include_usage;
    bool wanted = wants_include_usage(intake->route->api, fallback->upstream->include_usage,
                                      knows_stream_options);
    if (wanted != before && intake->client_body) {
        struct intake_refusal refusal;
        intake->include_usage = wanted;
        if (intake_splice(intake, &refusal) != OK) {
            intake->include_usage = before;
            return E_NOMEM;
        }
    }
    intake->upstream = fallback->upstream;
    intake->url = fallback->url;
    intake->headers = fallback->headers;
    intake->fallback = (struct intake_target){.upstream = NULL};
    return OK;
}

/* The flight outlives the request, whose memory the header values stand in. */
static enum rc copy_headers(struct intake *intake, const struct headers *headers,
                            struct headers *ret)
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
    *ret = (struct headers){copy, headers->count};
    return OK;
}

/* URL and headers for ret->upstream. */
static enum rc address(struct intake *intake, const struct intake_context *context,
                       const struct http_head *head, struct intake_target *ret,
                       struct intake_refusal *ret_refusal)
{
    const struct upstream_request_params params = {
        .upstream = ret->upstream,
        .client = &head->headers,
        .route = intake->api,
        .api = intake->route->api,
        .relay = intake->relay.p,
        .no_body = blob_span(intake->upstream_body).n == 0,
        .boot_id = context->boot_id,
    };
    struct headers headers;
    switch (upstream_request_headers(&params, &intake->arena, &headers)) {
    case UPSTREAM_REQUEST_FINE:
        break;
    case UPSTREAM_REQUEST_BAD_VALUE:
        return intake_refuse(ret_refusal, HTTP_ERROR_BAD_FRAMING,
                             "a header holds a control character");
    case UPSTREAM_REQUEST_NO_MEMORY:
        return E_NOMEM;
    }
    BUF(url, INTAKE_URL_BYTES_MAX);
    struct span query = intake->api == API_SIMPLE ? SPAN_ABSENT : head->query;
    if (intake->relay.p)
        upstream_request_url_below(ret->upstream, span_from(head->path, strlen("/v1")), query,
                                   &url);
    else
        upstream_request_url(ret->upstream, intake->route->api, query, &url);
    ret->url = arena_copy(&intake->arena, buf_span(&url));
    return buf_rc(&url) == OK && ret->url.p ? copy_headers(intake, &headers, &ret->headers)
                                            : E_NOMEM;
}

enum rc intake_address(struct intake *intake, const struct intake_context *context,
                       const struct http_head *head, struct intake_refusal *ret)
{
    struct intake_target target = {.upstream = intake->upstream};
    struct intake_target fallback = {.upstream = intake->route->fallback};
    enum rc rc = address(intake, context, head, &target, ret);
    if (rc != OK)
        return rc;
    intake->url = target.url;
    intake->headers = target.headers;
    if (!fallback.upstream || fallback.upstream == intake->upstream)
        return OK;
    rc = address(intake, context, head, &fallback, ret);
    if (rc == OK)
        intake->fallback = fallback;
    return rc;
}

/* ---- accepted requests */

enum rc intake_keep_request(struct intake *intake, const struct http_head *head)
{
    const struct upstream_request_params params = {
        .upstream = intake->upstream,
        .client = &head->headers,
        .route = intake->api,
        .api = intake->route->api,
    };
    struct headers kept;
    enum rc rc = upstream_request_keep(&params, &intake->arena, &kept);
    if (rc == OK)
        rc = copy_headers(intake, &kept, &intake->kept);
    if (rc != OK || intake->api == API_SIMPLE || !head->query.p)
        return rc;
    intake->query = arena_copy(&intake->arena, head->query);
    return intake->query.p ? OK : E_NOMEM;
}

struct store_request intake_store_request(const struct intake *intake, int64_t deadline_unix_ms)
{
    ASSERT(intake->client_body);
    return (struct store_request){
        .query = intake->query,
        .headers = intake->kept,
        .body = intake->client_body,
        .client = intake->caller.client ? intake->caller.client->name : SPAN_ABSENT,
        .deadline_ms = deadline_unix_ms,
    };
}

/* The configured client of this name; NULL: there is none any more. */
static const struct config_client *client_named(const struct config *config, struct span name)
{
    for (size_t i = 0; name.p && i < config->client_count; i++)
        if (span_eq(config->clients[i].name, name))
            return &config->clients[i];
    return NULL;
}

static const char *find_accepted_route(struct intake *intake,
                                       const struct accepted_record *accepted)
{
    if (!api_from_route(accepted->route, &intake->api))
        return "its route is not known";
    intake->route = &intake->config->routes[intake->api];
    intake->upstream = intake->route->upstream;
    if (intake->route->off || !intake->upstream)
        return "its route is not configured any more";
    return intake->upstream->api_key.p ? NULL : "its upstream has no api_key any more";
}

enum rc intake_resume(struct intake *intake, const struct intake_context *context,
                      const struct accepted_record *accepted, const char **ret_why)
{
    const struct http_head head = {.method = SPAN("POST"),
                                   .query = accepted->request.query,
                                   .headers = accepted->request.headers};
    struct intake_refusal refusal = {.detail = NULL};
    const char *why = find_accepted_route(intake, accepted);
    if (why) {
        *ret_why = why;
        return E_INVALID;
    }
    intake->caller.scope = accepted->scope;
    intake->caller.client = client_named(intake->config, accepted->request.client);
    intake->key = accepted->key;
    intake->fingerprint = accepted->fingerprint;
    intake->edge.accepts = true;
    intake->client_body = blob_ref(accepted->request.body);
    intake->include_usage = intake_wants_include_usage(intake, context);
    enum rc rc = intake_splice(intake, &refusal);
    if (rc == OK)
        rc = intake_address(intake, context, &head, &refusal);
    if (rc == E_INVALID)
        *ret_why = "its body or headers do not fit the configuration any more";
    return rc;
}
