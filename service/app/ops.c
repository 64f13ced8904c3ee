#include "app/ops.h"

#include "app/clock.h"
#include "app/metrics.h"
#include "app/ops_keys.h"
#include "app/ops_page.h"
#include "app/ops_state.h"
#include "app/probes.h"
#include "app/reply.h"
#include "core/credential.h"
#include "core/exposure.h"

#include <stdlib.h>

enum { DETAIL_BYTES_MAX = 1024 };

struct ops {
    struct ops_params params;
    struct metrics_service service;
    struct ops_page page;
    int64_t started_unix_ms;
};

enum rc ops_new(const struct ops_params *params, struct ops **ret)
{
    struct ops *ops = calloc(1, sizeof *ops);
    if (!ops)
        return E_NOMEM;
    enum rc rc = ops_page_init(&ops->page);
    if (rc != OK) {
        free(ops);
        return rc;
    }
    ops->params = *params;
    ops->params.config = config_ref(params->config);
    ops->started_unix_ms = clock_unix_ms();
    *ret = ops;
    return OK;
}

void ops_free(struct ops *ops)
{
    if (!ops)
        return;
    config_free(ops->params.config);
    ops_page_done(&ops->page);
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

static void refuse(struct http_request *request, enum http_error error, const char *detail)
{
    reply_error(request, SHAPE_PROBLEM, error, detail, NULL, SPAN_ABSENT);
}

/* This status, if there was memory for all of the text. */
static void send_text(struct http_request *request, int status, struct span content_type,
                      struct buf *text)
{
    OWNED(blob) body = buf_rc(text) == OK ? blob_take(text) : NULL;
    const struct reply reply = {
        .answer = {.status = body ? status : 503, .body = body, .content_type = content_type},
    };
    reply_send(request, &reply);
}

static void send_json(struct http_request *request, int status, struct buf *text)
{
    send_text(request, status, SPAN("application/json"), text);
}

static void serve_page(struct ops *ops, struct http_request *request)
{
    ops_page_send(&ops->page, request);
}

static void serve_metrics(struct ops *ops, struct http_request *request)
{
    struct store_stats store = store_stats(ops->params.store);
    BUF(text, METRICS_BYTES_MAX);
    ops->service.connections =
        ops->params.front ? http_front_connections(ops->params.front) : 0;
    metrics_render(ops->params.engine, &store, &ops->service, &text);
    send_text(request, 200, SPAN("text/plain; version=0.0.4; charset=utf-8"), &text);
}

static void serve_state(struct ops *ops, struct http_request *request)
{
    const struct ops_state state = {
        .engine = ops->params.engine,
        .config = ops->params.config,
        .store = store_stats(ops->params.store),
        .now_unix_ms = clock_unix_ms(),
        .started_unix_ms = ops->started_unix_ms,
    };
    BUF(text, OPS_STATE_BYTES_MAX);
    ops_state_render(&state, &text);
    send_json(request, 200, &text);
}

/* ---- questions to the store */

/* From the request until the store's callback. */
struct ops_call {
    struct ops *ops;
    struct http_request *request; /* NULL: it has ended */
};

/* NULL: out of memory, and that was replied. */
static struct ops_call *call_begin(struct ops *ops, struct http_request *request)
{
    struct ops_call *call = malloc(sizeof *call);
    if (!call) {
        refuse(request, HTTP_ERROR_STORE_UNAVAILABLE, NULL);
        return NULL;
    }
    *call = (struct ops_call){ops, request};
    http_request_set_tag(request, call);
    return call;
}

/* The request, to be replied to now; NULL: it has ended. */
static struct http_request *call_end(struct ops_call *call)
{
    struct http_request *request = call->request;
    if (request)
        http_request_set_tag(request, NULL);
    free(call);
    return request;
}

/* ---- POST /ops/keys/... */

static const char keys_path[] = "/ops/keys/";

static struct ops_keys keys_of(const struct ops *ops)
{
    const struct store *store = ops->params.store;
    return (struct ops_keys){ops->params.config, {(const char *)store->salt, STORE_SALT_BYTES}};
}

static void on_task(void *context, enum rc rc, const struct store_task_result *result)
{
    struct ops_call *call = context;
    struct ops *ops = call->ops;
    struct http_request *request = call_end(call);
    if (!request)
        return;
    if (rc != OK) {
        refuse(request, HTTP_ERROR_STORE_UNAVAILABLE, NULL);
        return;
    }
    const struct ops_keys keys = keys_of(ops);
    BUF(text, OPS_KEYS_REPLY_BYTES_MAX);
    ops_keys_render(&keys, result, &text);
    send_json(request, 200, &text);
}

static void start_task(struct ops *ops, struct http_request *request,
                       const struct store_task *task)
{
    struct ops_call *call = call_begin(ops, request);
    if (call && store_task(ops->params.store, task, on_task, call) != OK)
        refuse(call_end(call), HTTP_ERROR_STORE_UNAVAILABLE, NULL);
}

static void serve_keys(struct ops *ops, struct http_request *request)
{
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

/* ---- /ops/flights/{id} */

static const char flights_path[] = "/ops/flights/";

static void refuse_unknown(struct http_request *request)
{
    BUF(detail, DETAIL_BYTES_MAX);
    buf_printf(&detail,
               "no flight of this id is known: memory holds what runs and the last %d that "
               "ended, the store the rows of keyed and accepted ones as long as their outcome "
               "is kept",
               OPS_ENDED_FLIGHTS_MAX);
    refuse(request, HTTP_ERROR_NOT_FOUND, buf_text(&detail));
}

static void send_flight(struct http_request *request, const struct flight_summary *summary,
                        const struct timeline *timeline)
{
    const struct ops_flight flight = {summary, timeline, clock_unix_ms()};
    BUF(text, OPS_FLIGHT_BYTES_MAX);
    ops_flight_render(&flight, &text);
    send_json(request, 200, &text);
}

static void on_row(void *context, enum rc rc, const struct flight_record *record)
{
    struct http_request *request = call_end(context);
    if (!request)
        return;
    if (rc != OK) {
        refuse(request, HTTP_ERROR_STORE_UNAVAILABLE, NULL);
    } else if (record->state == FLIGHT_ROW_ABSENT) {
        refuse_unknown(request);
    } else {
        const struct flight_summary summary = ops_flight_of_row(record);
        send_flight(request, &summary, NULL);
    }
}

static void show_flight(struct ops *ops, struct http_request *request, struct flight_id id)
{
    struct flight_summary summary;
    const struct timeline *timeline;
    if (engine_find_flight(ops->params.engine, id, &summary, &timeline)) {
        send_flight(request, &summary, timeline);
        return;
    }
    struct ops_call *call = call_begin(ops, request);
    if (call && engine_ask_row(ops->params.engine, id, on_row, call) != OK)
        refuse(call_end(call), HTTP_ERROR_STORE_UNAVAILABLE, NULL);
}

static void cancel_flight(struct ops *ops, struct http_request *request, struct flight_id id)
{
    const char *state;
    char id_text[FLIGHT_ID_TEXT_BYTES];
    enum rc rc = engine_cancel_flight(ops->params.engine, id, &state);
    if (rc == E_NOT_FOUND) {
        refuse(request, HTTP_ERROR_NOT_FOUND, "no flight of this id runs here");
        return;
    }
    if (rc != OK) {
        refuse(request, HTTP_ERROR_ALREADY_FINISHED, NULL);
        return;
    }
    BUF(text, DETAIL_BYTES_MAX);
    flight_id_text(id, id_text);
    buf_printf(&text, "{\"id\":\"%s\",\"state\":\"%s\"}\n", id_text, state);
    send_json(request, 202, &text);
}

static void serve_flight(struct ops *ops, struct http_request *request)
{
    const struct http_head *head = http_request_head(request);
    struct span name = span_from(head->path, sizeof flights_path - 1);
    struct flight_id id = {.bytes = {0}};
    if (!span_hex_to_bytes(name, id.bytes, sizeof id.bytes))
        refuse_unknown(request);
    else if (span_is(head->method, "DELETE"))
        cancel_flight(ops, request, id);
    else
        show_flight(ops, request, id);
}

/* ---- the listener */

/* Beside the probes. */
static const struct ops_path {
    const char *path; /* with a slash at its end: all below it */
    const char *methods;
    bool needs_token;
    /* Replies, at once or later; the body is there. */
    void (*serve)(struct ops *ops, struct http_request *request);
} paths[] = {
    {"/ops", "GET, HEAD", .needs_token = false, .serve = serve_page},
    {"/metrics", "GET, HEAD", .needs_token = true, .serve = serve_metrics},
    {"/ops/state", "GET, HEAD", .needs_token = true, .serve = serve_state},
    {flights_path, "GET, HEAD, DELETE", .needs_token = true, .serve = serve_flight},
    {keys_path, "POST", .needs_token = true, .serve = serve_keys},
};

/* NULL: nothing is served there. */
static const struct ops_path *find_path(struct span path)
{
    if (span_is(path, "/ops/")) /* the page too, as people type it */
        path = SPAN("/ops");
    for (size_t i = 0; i < COUNT_OF(paths); i++)
        if (span_ends(span_of(paths[i].path), "/") ? span_starts(path, paths[i].path)
                                                   : span_is(path, paths[i].path))
            return &paths[i];
    return NULL;
}

static bool takes_method(const struct ops_path *path, struct span method)
{
    struct span rest = span_of(path->methods);
    while (rest.p)
        if (span_eq(span_trim(span_cut(&rest, ',')), method))
            return true;
    return false;
}

static void refuse_path(struct http_request *request)
{
    BUF(detail, DETAIL_BYTES_MAX);
    buf_add_text(&detail, "served here are ");
    for (size_t i = 0; i < COUNT_OF(paths); i++)
        buf_printf(&detail, "%s%s, ", paths[i].path,
                   span_ends(span_of(paths[i].path), "/") ? "..." : "");
    buf_add_text(&detail, "/livez and /readyz");
    refuse(request, HTTP_ERROR_NOT_FOUND, buf_text(&detail));
}

static void refuse_method(struct http_request *request, const struct ops_path *path)
{
    BUF(detail, DETAIL_BYTES_MAX);
    buf_printf(&detail, "%s takes %s", path->path, path->methods);
    reply_error(request, SHAPE_PROBLEM, HTTP_ERROR_METHOD_NOT_ALLOWED, buf_text(&detail), NULL,
                span_of(path->methods));
}

static void on_head(void *context, struct http_request *request)
{
    struct ops *ops = context;
    const struct http_head *head = http_request_head(request);
    const struct ops_path *path = find_path(head->path);
    int status;
    enum exposure exposure = exposure_of_ops(ops->params.config, head);
    if (exposure != EXPOSURE_NONE)
        refuse(request, HTTP_ERROR_OPEN_NOT_ALLOWED, exposure_text(exposure));
    else if (probes_reply(request, engine_is_ready(ops->params.engine), NULL, &status))
        return;
    else if ((!path || path->needs_token) && !has_token(ops->params.config, head))
        refuse(request, HTTP_ERROR_UNAUTHORIZED,
               "send the token of ops_token_sha256 as Authorization: Bearer");
    else if (!path)
        refuse_path(request);
    else if (!takes_method(path, head->method))
        refuse_method(request, path);
}

static void on_request(void *context, struct http_request *request)
{
    const struct ops_path *path = find_path(http_request_head(request)->path);
    ASSERT(path); /* on_head has refused all others */
    path->serve(context, request);
}

static void on_problem(void *context, struct http_request *request, enum front_problem problem)
{
    (void)context;
    refuse(request, reply_error_of(problem), front_problem_text(problem));
}

static void on_left(void *context, struct http_request *request, bool broken)
{
    (void)context;
    (void)request;
    (void)broken;
}

static void on_end(void *context, struct http_request *request, bool delivered)
{
    struct ops_call *call = http_request_tag(request);
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
