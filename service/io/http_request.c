#include "io/http_request.h"

#include "base/crash_point.h"
#include "io/http_reply.h"

#include <stdlib.h>
#include <string.h>

enum {
    ARENA_BYTES_MAX = 1 << 20,
    /* Of a body nobody will look at, so that its sender can finish and then read our reply. */
    READ_AWAY_BYTES_MAX = 1 << 20,
    /* Reserved on the word of Content-Length alone; beyond it the buffer doubles. */
    BODY_AHEAD_BYTES_MAX = 64 << 10,
};

static struct http_front *front_of(const struct http_request *request)
{
    return request->connection->front;
}

/* ---- begin and end */

void *http_request_begin(void *context, const char *target, struct MHD_Connection *mhd)
{
    (void)context;
    struct http_connection *connection = http_connection_of(mhd);
    struct http_request *request = connection ? calloc(1, sizeof *request) : NULL;
    if (!request)
        return NULL;
    if (connection->phase == PHASE_IDLE)
        http_connection_enter(connection, PHASE_HEAD);
    struct http_front *front = connection->front;
    request->connection = connection;
    request->start_ms = connection->start_ms;
    request->read_bytes_max = front->body_bytes_max + READ_AWAY_BYTES_MAX;
    list_init(&request->link);
    arena_init(&request->arena, ARENA_BYTES_MAX);
    buf_init(&request->body, front->body_bytes_max);
    request->head.path = arena_copy(&request->arena, span_of(target));
    connection->request = request;
    connection->used = true;
    return request;
}

void http_request_end(struct http_request *request, bool delivered)
{
    const struct http_handler *handler = &front_of(request)->handler;
    list_remove(&request->link);
    if (request->known)
        handler->on_end(handler->context, request, delivered);
    http_reply_drop(request);
    blob_free(request->padded.body);
    buf_done(&request->body);
    arena_done(&request->arena);
    free(request);
}

bool http_request_is_pending(const struct http_request *request)
{
    return !request->replied || (request->padded.bytes && !request->padded.finished);
}

void http_request_lost(struct http_request *request)
{
    const struct http_handler *handler = &front_of(request)->handler;
    request->connection->request = NULL;
    if (request->known && http_request_is_pending(request) && !request->broken) {
        request->broken = true;
        handler->on_left(handler->context, request, true);
    }
    request->broken = true;
    http_request_end(request, false);
}

void http_request_completed(void *context, struct MHD_Connection *mhd, void **request_context,
                            enum MHD_RequestTerminationCode how)
{
    (void)context;
    (void)mhd;
    struct http_request *request = *request_context;
    if (!request)
        return;
    *request_context = NULL;
    struct http_connection *connection = request->connection;
    bool written =
        request->state == REQUEST_REPLY && how == MHD_REQUEST_TERMINATED_COMPLETED_OK;
    if (!written || request->left) {
        http_request_lost(request);
    } else {
        CRASH_POINT("reply_written");
        request->state = REQUEST_SENT;
        connection->request = NULL;
        buf_done(&request->body);
        blob_free(take(request->padded.body));
        http_connection_confirm(connection, request);
    }
    http_connection_enter(connection, PHASE_IDLE);
}

/* ---- waiting for the handler's reply */

static void tell_problem(struct http_request *request, enum front_problem problem)
{
    const struct http_handler *handler = &front_of(request)->handler;
    request->known = true;
    handler->on_problem(handler->context, request, problem);
}

void http_request_enter_reply(struct http_request *request, uint64_t body_bytes)
{
    struct http_front *front = front_of(request);
    request->reply_deadline_ms = event_loop_now_ms(front->loop) + front->request_timeout_ms +
                                 (int64_t)(body_bytes * 1000 / front->reply_bytes_per_s_min);
    request->state = REQUEST_REPLY;
    /* From here on what the client's machine acknowledges tells.  Asked after the write it
     * would be too late: a client may close as soon as it has read its reply. */
    request->left = request->left || http_connection_client_is_gone(request->connection);
    http_connection_enter(request->connection, PHASE_REPLY);
}

/* Hand the reply to libmicrohttpd.  MHD_NO: there is none, or no memory for it; close. */
static enum MHD_Result answer(struct http_request *request)
{
    struct http_connection *connection = request->connection;
    if (!request->response)
        return MHD_NO;
    uint64_t bytes = http_reply_bytes(request);
    /* The reply to a HEAD is whole with its head. */
    if (http_request_is_pending(request) && !span_is(request->head.method, "HEAD")) {
        request->state = REQUEST_BEAT;
        http_connection_enter(connection, PHASE_BEAT);
    } else {
        http_request_enter_reply(request, bytes);
    }
    CRASH_POINT_AFTER("reply_half_written", http_reply_write(request, (size_t)bytes / 2));
    enum MHD_Result queued =
        MHD_queue_response(connection->mhd, (unsigned)request->reply_status, request->response);
    http_reply_drop(request);
    return queued;
}

static enum MHD_Result answer_or_suspend(struct http_request *request)
{
    if (request->replied)
        return answer(request);
    http_request_suspend(request);
    http_connection_enter(request->connection, PHASE_WAIT);
    return MHD_YES;
}

void http_request_suspend(struct http_request *request)
{
    request->suspended = true;
    MHD_suspend_connection(request->connection->mhd);
}

void http_request_resume(struct http_request *request)
{
    struct http_front *front = front_of(request);
    request->suspended = false;
    MHD_resume_connection(request->connection->mhd);
    request->connection->listener->run = true;
    /* If this fails, an idle loop resumes it with the next event instead of now. */
    (void)!timers_start(event_loop_timers(front->loop), &front->wake,
                        event_loop_now_ms(front->loop));
}

void http_request_left(struct http_request *request, bool broken)
{
    const struct http_handler *handler = &front_of(request)->handler;
    if (request->cut)
        return;
    if (broken) {
        request->broken = true;
        handler->on_left(handler->context, request, true);
        if (request->suspended)
            http_request_resume(request); /* handle() or the padded reply then closes it */
        else
            http_connection_abort(request->connection);
    } else if (!request->left) {
        request->left = true;
        handler->on_left(handler->context, request, false);
    }
}

void http_request_reply(struct http_request *request, const struct http_reply *reply)
{
    ASSERT(request->known && !request->replied);
    request->replied = true;
    if (request->broken || request->cut)
        return;
    http_reply_prepare(request, reply);
    http_request_send(request);
}

void http_request_send(struct http_request *request)
{
    if (request->state == REQUEST_BODY)
        request->read_bytes_max = request->received_bytes + READ_AWAY_BYTES_MAX;
    if (!request->suspended)
        return;
    if (answer(request) != MHD_YES)
        request->cut = true;
    http_request_resume(request);
}

/* ---- head */

struct collected {
    struct header *items;
    size_t count, room;
};

static enum MHD_Result collect(void *context, enum MHD_ValueKind kind, const char *name,
                               size_t name_bytes, const char *value, size_t value_bytes)
{
    (void)kind;
    struct collected *collected = context;
    if (collected->count == collected->room)
        return MHD_NO;
    collected->items[collected->count++] = (struct header){
        .name = {name, name_bytes}, .value = {value ? value : "", value ? value_bytes : 0}};
    return MHD_YES;
}

/* A view of the head inside libmicrohttpd.  False: out of memory. */
static bool view_head(struct http_request *request, struct headers *ret)
{
    struct MHD_Connection *mhd = request->connection->mhd;
    struct collected collected = {0};
    int count = MHD_get_connection_values_n(mhd, MHD_HEADER_KIND, NULL, NULL);
    collected.room = count > 0 ? (size_t)count : 0;
    collected.items =
        arena_alloc(&request->arena, (collected.room + 1) * sizeof *collected.items);
    if (!collected.items)
        return false;
    (void)MHD_get_connection_values_n(mhd, MHD_HEADER_KIND, collect, &collected);
    *ret = (struct headers){collected.items, collected.count};
    return true;
}

/* Copies what was viewed, as the request may outlive libmicrohttpd's memory of it. */
static bool copy_head(struct http_request *request, const char *method, const char *version,
                      const struct headers *view)
{
    struct arena *arena = &request->arena;
    struct http_head *head = &request->head;
    struct header *items = arena_alloc(arena, (view->count + 1) * sizeof *items);
    if (!items)
        return false;
    for (size_t i = 0; i < view->count; i++) {
        items[i].name = arena_copy(arena, view->items[i].name);
        items[i].value = arena_copy(arena, span_trim(view->items[i].value));
        if (!items[i].name.p || !items[i].value.p)
            return false;
    }
    head->headers = (struct headers){items, view->count};
    head->method = arena_copy(arena, span_of(method));
    head->version_minor = strcmp(version, "HTTP/1.0") == 0 ? 0 : 1;
    return head->method.p && head->path.p;
}

static bool has_fault(struct http_request *request, enum front_problem problem)
{
    request->problem = problem;
    return true;
}

/* The guard.  request->head.path is still the whole target. */
static bool find_fault(struct http_request *request, const struct framing_parts *parts)
{
    struct http_front *front = front_of(request);
    struct http_head *head = &request->head;
    if (parts->raw.n > front->header_bytes_max)
        return has_fault(request, FRONT_HEAD_TOO_LARGE);
    if ((front->parses_in_place && !framing_is_whole(parts)) ||
        !framing_split_target(head->path, &head->headers, &head->path, &head->query))
        return has_fault(request, FRONT_BAD_FRAMING);
    request->framing = framing_check(head);
    switch (request->framing.fault) {
    case FRAMING_FINE:
        return false;
    case FRAMING_AMBIGUOUS:
        return has_fault(request, FRONT_BAD_FRAMING);
    case FRAMING_BAD_HEADER:
        return has_fault(request, FRONT_BAD_HEADER);
    case FRAMING_NO_HOST:
        return has_fault(request, FRONT_NO_HOST);
    case FRAMING_BAD_TRANSFER_ENCODING:
        return has_fault(request, FRONT_BAD_TRANSFER_ENCODING);
    case FRAMING_BAD_EXPECT:
        return has_fault(request, FRONT_BAD_EXPECT);
    }
    return has_fault(request, FRONT_BAD_FRAMING);
}

static enum MHD_Result refuse_now(struct http_request *request, enum front_problem problem)
{
    request->state = REQUEST_WAIT;
    if (!request->replied)
        tell_problem(request, problem);
    return answer_or_suspend(request);
}

/* libmicrohttpd closes a connection whose reply is queued before the body was read: done for
 * what must not be read on, and where the client waits for our word or sends too much. */
static enum MHD_Result handle_head(struct http_request *request, const char *url,
                                   const char *method, const char *version)
{
    const struct http_handler *handler = &front_of(request)->handler;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(
        request->connection->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    struct framing_parts parts = {.raw = {method, info ? info->header_size : 0},
                                  .method = span_of(method),
                                  .target = {url, request->head.path.n},
                                  .version = span_of(version)};
    if (!view_head(request, &parts.headers) ||
        !copy_head(request, method, version, &parts.headers))
        return MHD_NO;
    if (find_fault(request, &parts))
        return refuse_now(request, request->problem);
    const struct framing *framing = &request->framing;
    request->state = REQUEST_BODY;
    request->known = true;
    handler->on_head(handler->context, request);
    if (!framing->chunked && framing->body_bytes == 0)
        return MHD_YES;
    if (!request->replied && framing->body_bytes > request->body.bytes_max) {
        request->faulty = true;
        request->problem = FRONT_BODY_TOO_LARGE;
    }
    if (framing->body_bytes > request->read_bytes_max ||
        (framing->expects_continue && (request->replied || request->faulty)))
        return refuse_now(request, request->problem);
    http_connection_enter(request->connection, PHASE_BODY);
    return MHD_YES;
}

/* ---- body */

int64_t http_request_body_ms(const struct http_request *request)
{
    return (int64_t)(request->received_bytes * 1000 /
                     front_of(request)->request_bytes_per_s_min);
}

/* In the middle of a body libmicrohttpd takes no reply: write it past it, as well as one write
 * can, and close. */
static void cut_off(struct http_request *request, enum front_problem problem)
{
    if (!request->replied)
        tell_problem(request, request->faulty ? request->problem : problem);
    request->cut = true;
    if (request->response)
        http_reply_write(request, SIZE_MAX);
    http_connection_abort(request->connection);
}

void http_request_too_slow(struct http_request *request)
{
    cut_off(request, FRONT_TOO_SLOW);
}

static void keep(struct http_request *request, struct span bytes)
{
    struct buf *body = &request->body;
    uint64_t expected_bytes = request->framing.body_bytes;
    if (body->n == 0 && expected_bytes > bytes.n)
        (void)buf_reserve(body, expected_bytes < BODY_AHEAD_BYTES_MAX ? (size_t)expected_bytes
                                                                      : BODY_AHEAD_BYTES_MAX);
    buf_add(body, bytes);
    if (buf_rc(body) == OK)
        return;
    request->faulty = true;
    request->problem = buf_rc(body) == E_LIMIT ? FRONT_BODY_TOO_LARGE : FRONT_NO_MEMORY;
    buf_done(body);
}

static enum MHD_Result handle_body(struct http_request *request, struct span bytes)
{
    request->received_bytes += bytes.n;
    if (!request->replied && !request->faulty)
        keep(request, bytes);
    if (request->received_bytes <= request->read_bytes_max)
        return MHD_YES;
    cut_off(request, FRONT_BODY_TOO_LARGE);
    return MHD_NO;
}

static enum MHD_Result handle_complete(struct http_request *request)
{
    const struct http_handler *handler = &front_of(request)->handler;
    request->state = REQUEST_WAIT;
    if (!request->replied && request->faulty)
        tell_problem(request, request->problem);
    else if (!request->replied)
        handler->on_request(handler->context, request);
    return answer_or_suspend(request);
}

/* NOLINTNEXTLINE(readability-function-size): the parameters are libmicrohttpd's. */
enum MHD_Result http_request_handle(void *context, struct MHD_Connection *mhd, const char *url,
                                    const char *method, const char *version, const char *bytes,
                                    size_t *count, void **request_context)
{
    struct http_listener *listener = context;
    struct http_request *request = *request_context;
    (void)mhd;
    listener->vain_runs = 0;
    if (!request || request->cut || request->broken || listener->front->stopping)
        return MHD_NO;
    if (request->state == REQUEST_HEAD)
        return handle_head(request, url, method, version);
    if (request->state != REQUEST_BODY)
        return MHD_NO;
    if (*count == 0)
        return handle_complete(request);
    struct span taken = {bytes, *count};
    *count = 0;
    return handle_body(request, taken);
}

/* ---- what the handler may ask */

const struct http_head *http_request_head(const struct http_request *request)
{
    return &request->head;
}

struct span http_request_body(const struct http_request *request)
{
    return buf_span(&request->body);
}

void http_request_drop_body(struct http_request *request)
{
    buf_done(&request->body);
}

struct arena *http_request_arena(struct http_request *request)
{
    return &request->arena;
}

bool http_request_is_unix(const struct http_request *request)
{
    return request->connection->listener->is_unix;
}

int64_t http_request_start_ms(const struct http_request *request)
{
    return request->start_ms;
}

void *http_request_tag(const struct http_request *request)
{
    return request->tag;
}

void http_request_set_tag(struct http_request *request, void *tag)
{
    request->tag = tag;
}
