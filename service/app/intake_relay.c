/* Requests that are passed on as they are (core/relay.h). */
#include "app/intake_internal.h"

#include "core/json.h"
#include "core/relay.h"

/* Of the list of all that is relayed, in an error. */
enum { LISTED_BYTES_MAX = 512 };

static void list_relayed(const struct intake *intake, struct buf *out)
{
    const struct span_list *relay = &intake->config->relay;
    for (size_t i = 0; i < relay->count; i++) {
        struct span item = relay->items[i];
        if (out->n + item.n + sizeof ", , ..." > out->bytes_max) {
            buf_add_text(out, ", ...");
            return;
        }
        buf_printf(out, ", %.*s", SPAN_ARG(item));
    }
}

static enum rc refuse_path(struct intake *intake, const struct http_head *head,
                           struct intake_refusal *ret)
{
    struct span host = header_get(&head->headers, "host");
    BUF(relayed, LISTED_BYTES_MAX);
    list_relayed(intake, &relayed);
    return intake_refuse_with(
        intake, ret, HTTP_ERROR_NOT_FOUND,
        "there is nothing at %.*s. Served are POST /v1/chat/completions, "
        "/v1/responses, /v1/messages and /api/llm%s, GET /livez and /readyz. "
        "The base URL is http://%.*s/v1 for OpenAI's SDKs and http://%.*s "
        "for Anthropic's",
        SPAN_ARG(head->path), buf_text(&relayed), SPAN_ARG(host), SPAN_ARG(host));
}

static enum rc refuse_method(struct intake *intake, const struct http_head *head,
                             const struct relay_match *match, struct intake_refusal *ret)
{
    const char *allow = !match->posts ? "GET, HEAD" : match->gets ? "GET, HEAD, POST" : "POST";
    (void)intake_refuse_with(intake, ret, HTTP_ERROR_METHOD_NOT_ALLOWED,
                             "%.*s takes %s, not %.*s", SPAN_ARG(head->path), allow,
                             SPAN_ARG(head->method));
    ret->allow = span_of(allow);
    return E_INVALID;
}

/* Its upstream and times are those of a generation's route.  But no retry is recognised, nothing
 * outlives its client, and there is no fallback: what is asked for may be there for one account
 * only. */
static enum rc use_route(struct intake *intake)
{
    struct config_route *route = arena_alloc(&intake->arena, sizeof *route);
    if (!route)
        return E_NOMEM;
    *route = *intake->route;
    route->fallback = NULL;
    route->adopt = ADOPT_OFF;
    route->on_disconnect = ON_DISCONNECT_CANCEL;
    route->edge = EDGE_WAIT;
    intake->route = route;
    return OK;
}

enum rc intake_relay_route(struct intake *intake, const struct http_head *head,
                           struct intake_refusal *ret)
{
    const struct config *config = intake->config;
    const struct relay_match match = relay_match(&config->relay, head->method, head->path);
    if (!match.gets && !match.posts)
        return refuse_path(intake, head, ret);
    if (!match.route.p)
        return refuse_method(intake, head, &match, ret);
    intake->relay = match.route;
    intake->operation = relay_operation(head->path);
    intake->api = relay_api(config, head);
    enum rc rc = intake_find_upstream(intake, ret);
    return rc == OK ? use_route(intake) : rc;
}

enum rc intake_relay_body(struct intake *intake, const struct intake_context *context,
                          const struct http_head *head, struct span body,
                          struct intake_refusal *ret)
{
    const struct edge_request edge = {.route = intake->route};
    intake->edge = edge_plan(&edge);
    if (!span_is(head->method, "POST"))
        return intake_address(intake, context, head, ret);
    intake_name_model(intake, json_get(body, "model"));
    intake->upstream_body = blob_new(body);
    return intake->upstream_body ? intake_address(intake, context, head, ret) : E_NOMEM;
}
