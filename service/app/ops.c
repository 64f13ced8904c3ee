#include "app/ops.h"

#include "app/clock.h"
#include "app/metrics.h"
#include "app/ops_keys.h"
#include "app/probes.h"
#include "app/reply.h"
#include "core/credential.h"
#include "core/exposure.h"

#include <stdlib.h>

struct ops {
    struct ops_params params;
    struct metrics_service service;
};

enum rc ops_new(const struct ops_params *params, struct ops **ret)
{
    struct ops *ops = calloc(1, sizeof *ops);
    if (!ops)
        return E_NOMEM;
    ops->params = *params;
    ops->params.config = config_ref(params->config);
    *ret = ops;
    return OK;
}

void ops_free(struct ops *ops)
{
    if (ops)
        config_free(ops->params.config);
    free(ops);
}

void ops_reloaded(struct ops *ops, struct config *config)
{
    ops->service.reloads += config != NULL;
    ops->service.reloads_refused += config == NULL;
    if (!config)
        return;
    config_free(ops->params.config);
    ops->params.config = config_ref(config);
}

/* Whether the request shows the operators' token, if there is one. */
static bool has_token(const struct config *config, const struct http_head *head)
{
    struct credential credential;
    struct digest digest;
    if (!config->ops_token_set)
        return true;
    return credential_find(&head->headers, &credential) == OK && credential.secret.p &&
           sha256_of(&credential.secret, 1, &digest) == OK &&
           digest_eq(&digest, &config->ops_token_sha256);
}

static void send_metrics(struct ops *ops, struct http_request *request)
{
    struct store_stats store = store_stats(ops->params.store);
    BUF(text, METRICS_BYTES_MAX);
    ops->service.connections =
        ops->params.front ? http_front_connections(ops->params.front) : 0;
    metrics_render(ops->params.engine, &store, &ops->service, &text);
    OWNED(blob) body = buf_rc(&text) == OK ? blob_take(&text) : NULL;
    const struct reply reply = {
        .answer = {.status = body ? 200 : 503,
                   .body = body,
                   .content_type = SPAN("text/plain; version=0.0.4; charset=utf-8")},
    };
    reply_send(request, &reply);
}

/* ---- POST /ops/keys/... */

static const char keys_path[] = "/ops/keys/";

/* From the request until the store's callback. */
struct keys_call {
    struct ops *ops;
    struct http_request *request; /* NULL: it has ended */
};

static struct ops_keys keys_of(const struct ops *ops)
{
    const struct store *store = ops->params.store;
    return (struct ops_keys){ops->params.config, {(const char *)store->salt, STORE_SALT_BYTES}};
}

static void refuse(struct http_request *request, enum http_error error, const char *detail)
{
    reply_error(request, SHAPE_PROBLEM, error, detail, NULL, SPAN_ABSENT);
}

static void send_keys(const struct keys_call *call, const struct store_task_result *result)
{
    const struct ops_keys keys = keys_of(call->ops);
    BUF(text, OPS_KEYS_REPLY_BYTES_MAX);
    ops_keys_render(&keys, result, &text);
    OWNED(blob) body = buf_rc(&text) == OK ? blob_take(&text) : NULL;
    const struct reply reply = {
        .answer = {.status = body ? 200 : 503,
                   .body = body,
                   .content_type = SPAN("application/json")},
    };
    reply_send(call->request, &reply);
}

static void on_task(void *context, enum rc rc, const struct store_task_result *result)
{
    struct keys_call *call = context;
    if (call->request) {
        http_request_set_tag(call->request, NULL);
        if (rc == OK)
            send_keys(call, result);
        else
            refuse(call->request, HTTP_ERROR_STORE_UNAVAILABLE, NULL);
    }
    free(call);
}

static void start_task(struct ops *ops, struct http_request *request,
                       const struct store_task *task)
{
    struct keys_call *call = malloc(sizeof *call);
    if (call)
        *call = (struct keys_call){ops, request};
    if (!call || store_task(ops->params.store, task, on_task, call) != OK) {
        free(call);
        refuse(request, HTTP_ERROR_STORE_UNAVAILABLE, NULL);
        return;
    }
    http_request_set_tag(request, call);
}

static void on_request(void *context, struct http_request *request)
{
    struct ops *ops = context;
    const struct ops_keys keys = keys_of(ops);
    struct span verb = span_from(http_request_head(request)->path, sizeof keys_path - 1);
    struct store_task task;
    const char *problem = NULL;
    enum rc rc = ops_keys_parse(&keys, verb, http_request_body(request), clock_unix_ms(), &task,
                                &problem);
    if (rc == OK)
        start_task(ops, request, &task);
    else if (rc == E_NOT_FOUND)
        refuse(request, HTTP_ERROR_NOT_FOUND,
               "served here are /ops/keys/list, show, release and purge");
    else if (rc == E_INVALID)
        refuse(request, HTTP_ERROR_INVALID_REQUEST, problem);
    else
        refuse(request, HTTP_ERROR_STORE_UNAVAILABLE, NULL);
}

/* ---- the listener */

static void on_head(void *context, struct http_request *request)
{
    struct ops *ops = context;
    const struct http_head *head = http_request_head(request);
    int status;
    bool reads = span_is(head->method, "GET") || span_is(head->method, "HEAD");
    enum exposure exposure = exposure_of_ops(ops->params.config, head);
    if (exposure != EXPOSURE_NONE)
        reply_error(request, SHAPE_PROBLEM, HTTP_ERROR_OPEN_NOT_ALLOWED,
                    exposure_text(exposure), NULL, SPAN_ABSENT);
    else if (probes_reply(request, engine_is_ready(ops->params.engine), NULL, &status))
        return;
    else if (!has_token(ops->params.config, head))
        reply_error(request, SHAPE_PROBLEM, HTTP_ERROR_UNAUTHORIZED,
                    "send the token of ops_token_sha256 as Authorization: Bearer", NULL,
                    SPAN_ABSENT);
    else if (span_starts(head->path, keys_path)) {
        if (!span_is(head->method, "POST"))
            reply_error(request, SHAPE_PROBLEM, HTTP_ERROR_METHOD_NOT_ALLOWED,
                        "/ops/keys/... takes POST", NULL, SPAN("POST"));
    } else if (!span_is(head->path, "/metrics"))
        refuse(request, HTTP_ERROR_NOT_FOUND,
               "served here are /metrics, /ops/keys/..., /livez and /readyz");
    else if (!reads)
        reply_error(request, SHAPE_PROBLEM, HTTP_ERROR_METHOD_NOT_ALLOWED,
                    "/metrics takes GET and HEAD", NULL, SPAN("GET, HEAD"));
    else
        send_metrics(ops, request);
}

static void on_problem(void *context, struct http_request *request, enum front_problem problem)
{
    (void)context;
    reply_error(request, SHAPE_PROBLEM, HTTP_ERROR_BAD_FRAMING, front_problem_text(problem),
                NULL, SPAN_ABSENT);
}

static void on_left(void *context, struct http_request *request, bool broken)
{
    (void)context;
    (void)request;
    (void)broken;
}

static void on_end(void *context, struct http_request *request, bool delivered)
{
    struct keys_call *call = http_request_tag(request);
    (void)context;
    (void)delivered;
    if (call)
        call->request = NULL;
}

struct http_handler ops_handler(struct ops *ops)
{
    return (struct http_handler){
        .on_head = on_head,
        .on_request = on_request,
        .on_problem = on_problem,
        .on_left = on_left,
        .on_end = on_end,
        .context = ops,
    };
}
