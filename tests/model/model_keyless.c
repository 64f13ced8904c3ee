/* Requests without a key: an answer that nobody got may go to a retry, and to nobody else. */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ATTENDANCE_SLACK_MS = 1000 };

void keyless_name(const struct http_request *request, char marker[MODEL_TEXT_BYTES])
{
    if (request->counted)
        (void)snprintf(marker, MODEL_TEXT_BYTES, "<s%u>", request->session);
    else
        (void)snprintf(marker, MODEL_TEXT_BYTES, "<n%u>", request->serial);
}

void keyless_call_starts(struct world *world, unsigned serial, unsigned scope)
{
    if (!world->calls)
        world->calls = calloc(MODEL_CALLS, sizeof *world->calls);
    CHECK(world, world->calls && serial < MODEL_CALLS);
    world->calls[serial] =
        (struct model_call){.start_ms = world->now_ms, .delivered_ms = -1, .scope = scope};
}

/* The provider's answer names its call. */
static unsigned call_of(struct world *world, struct blob *answer)
{
    static const char word[] = "call-";
    struct span body = blob_span(answer);
    const char *at = memmem(body.p, body.n, word, sizeof word - 1);
    CHECK(world, at);
    return (unsigned)strtoul(at + sizeof word - 1, NULL, 10);
}

void keyless_reply(struct http_request *request, const struct http_reply *reply)
{
    struct world *world = request->world;
    struct span word = header_get(&reply->headers, "idempotency-status");
    bool adopted = span_is(word, "adopted");
    CHECK(world, !word.p || adopted);
    CHECK(world, !adopted || request->retry_count > 0);
    CHECK(world, !adopted || world->config->routes[API_CHAT].adopt == ADOPT_SDK);
    world->seen.adopted += adopted;
    if (reply->status == 200)
        keyless_answered(request, reply->body);
}

/* Parallel requests that are equal are not merged, scopes do not meet, and what was delivered
 * is not given out again, but to who asks for that very flight. */
void keyless_answered(struct http_request *request, struct blob *body)
{
    struct world *world = request->world;
    request->answered_by = call_of(world, body);
    struct model_call *call = &world->calls[request->answered_by];
    CHECK(world, call->scope == request->scope);
    if (request->method != MODEL_POST)
        return;
    CHECK(world, call->delivered_ms < 0 || call->delivered_ms >= request->start_ms);
    if (request->retry_count > 0)
        return;
    CHECK(world, !call->taken && call->start_ms >= request->start_ms);
    call->taken = true;
}

void keyless_end(const struct http_request *request, bool delivered)
{
    struct world *world = request->world;
    if (delivered && request->key == MODEL_KEYLESS && request->answered_by)
        world->calls[request->answered_by].delivered_ms = world->now_ms;
}

void keyless_attends(const struct http_request *request)
{
    if (request->counted)
        request->world->attended_ms[request->scope][request->session] = request->world->now_ms;
}

/* A call that nobody waits for ends with its grace. */
void keyless_check(struct world *world)
{
    const struct config *config = world->config;
    if (config->routes[API_CHAT].on_disconnect == ON_DISCONNECT_CONTINUE)
        return;
    int64_t grace_ms = config->idempotency.orphan_grace_ms + ATTENDANCE_SLACK_MS;
    struct http_request request = {.counted = true};
    char marker[MODEL_TEXT_BYTES];
    for (; request.session < MODEL_SESSIONS; request.session++) {
        keyless_name(&request, marker);
        for (unsigned scope = 0; scope < MODEL_SCOPES; scope++)
            CHECK(world,
                  world->now_ms - world->attended_ms[scope][request.session] <= grace_ms ||
                      !model_upstream_runs(world, marker, scope) ||
                      model_flights_session(world, scope));
    }
}
