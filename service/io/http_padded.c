/* Replies that begin before their body is known.
 *
 * What stands at which place of such a reply depends on struct padded alone, so that nothing is
 * kept of what was written, and blanks that a client does not read are a number. */
#include "io/http_reply.h"

#include <string.h>

/* libmicrohttpd allocates a block with each such reply, for as long as it lasts, and writes one
 * per round: small against a waiting connection, and a usual reply takes some tens of rounds. */
enum { BLOCK_BYTES = 2 << 10 };

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The part of the reply from `at` on.  Blanks go out as they are asked for, the rest when the
 * body is there. */
static ssize_t read_reply(void *context, uint64_t at, char *out, size_t room)
{
    struct http_request *request = context;
    const struct padded *padded = &request->padded;
    request->connection->listener->vain_runs = 0;
    if (request->cut || request->broken)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    size_t from = (size_t)at, end = padded->finished ? padded->bytes : padded->blanks;
    if (from >= end) {
        http_request_suspend(request); /* a 0 alone would have us asked again at once */
        return 0;
    }
    size_t n = min(room, end - from);
    memset(out, ' ', n);
    size_t before = padded->blanks > from ? padded->blanks - from : 0;
    size_t read = from > padded->blanks ? from - padded->blanks : 0;
    struct span rest = span_from(blob_span(padded->body), read);
    if (before < n && rest.n)
        memcpy(out + before, rest.p, min(rest.n, n - before));
    return (ssize_t)n;
}

static void cut(struct http_request *request)
{
    request->cut = true;
    if (request->suspended)
        http_request_resume(request); /* read_reply then closes it */
    else
        http_connection_abort(request->connection);
}

void http_request_begin_reply(struct http_request *request, const struct http_reply *head,
                              size_t body_bytes)
{
    ASSERT(request->known && !request->replied && !head->body && body_bytes > 0);
    request->replied = true;
    request->padded.bytes = body_bytes;
    request->padded.blanks = body_bytes > 1 ? 1 : 0;
    if (request->broken || request->cut)
        return;
    http_reply_adopt(
        request, head,
        MHD_create_response_from_callback(body_bytes, BLOCK_BYTES, read_reply, request, NULL));
    http_request_send(request);
}

void http_request_beat(struct http_request *request)
{
    struct padded *padded = &request->padded;
    ASSERT(padded->bytes > 0 && !padded->finished);
    if (padded->blanks + 1 == padded->bytes)
        return;
    padded->blanks++;
    if (request->suspended)
        http_request_resume(request);
}

enum rc http_request_finish_reply(struct http_request *request, struct blob *body)
{
    struct padded *padded = &request->padded;
    ASSERT(padded->bytes > 0 && !padded->finished);
    padded->finished = true;
    if (request->broken || request->cut || span_is(request->head.method, "HEAD"))
        return OK;
    size_t body_bytes = blob_span(body).n, room = padded->bytes - padded->blanks;
    if (body_bytes == 0 || body_bytes > room) {
        cut(request);
        return body_bytes > room ? E_LIMIT : OK;
    }
    padded->body = blob_ref(body);
    if (request->state != REQUEST_BEAT)
        return OK; /* goes with its head, when the request's body was read */
    http_request_enter_reply(request, padded->bytes);
    if (request->suspended)
        http_request_resume(request);
    return OK;
}
