#include "app/probes.h"

#include "app/reply.h"

static void send(struct http_request *request, int status, const char *text,
                 const char *flight_id)
{
    OWNED(blob) body = blob_new(span_of(text));
    const struct reply reply = {
        .answer = {.status = body ? status : 503,
                   .body = body,
                   .content_type = SPAN("application/json")},
        .flight_id = flight_id,
    };
    reply_send(request, &reply);
}

bool probes_reply(struct http_request *request, bool ready, const char *flight_id,
                  int *ret_status)
{
    const struct http_head *head = http_request_head(request);
    bool livez = span_is(head->path, "/livez"), readyz = span_is(head->path, "/readyz");
    if (!livez && !readyz)
        return false;
    if (!span_is(head->method, "GET") && !span_is(head->method, "HEAD")) {
        *ret_status = 405;
        reply_error(request, SHAPE_PROBLEM, HTTP_ERROR_METHOD_NOT_ALLOWED,
                    "the probes take GET and HEAD", flight_id, SPAN("GET, HEAD"));
        return true;
    }
    *ret_status = livez || ready ? 200 : 503;
    if (livez)
        send(request, 200, "{\"status\":\"alive\"}", flight_id);
    else if (ready)
        send(request, 200, "{\"status\":\"ready\"}", flight_id);
    else
        send(request, 503, "{\"status\":\"not ready\"}", flight_id);
    return true;
}
