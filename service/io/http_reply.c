#include "io/http_reply.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

enum { RAW_HEAD_BYTES_MAX = 16 << 10 };

static void free_blob(void *blob)
{
    blob_free(blob);
}

/* libmicrohttpd takes no tabs and no empty values: a tab becomes a blank (RFC 9110 5.5 calls
 * them equal), an empty header is left out.  Other control characters must not get here: they
 * would let the value's author write headers of his own. */
static bool add_header(struct http_request *request, const struct header *header)
{
    static const char *const ours[] = {"connection", "content-length", "date",
                                       "transfer-encoding"};
    for (size_t i = 0; i < COUNT_OF(ours); i++)
        ASSERT(!span_is_nocase(header->name, ours[i]));
    if (header->value.n == 0)
        return true;
    struct span name = arena_copy(&request->arena, header->name);
    char *value = arena_alloc(&request->arena, header->value.n + 1);
    if (!name.p || !value)
        return false;
    for (size_t i = 0; i < header->value.n; i++) {
        unsigned char byte = (unsigned char)header->value.p[i];
        ASSERT(byte == '\t' || (byte >= 0x20 && byte != 0x7F));
        value[i] = byte == '\t' ? ' ' : (char)byte;
    }
    return MHD_add_response_header(request->response, name.p, value) == MHD_YES;
}

static bool add_headers(struct http_request *request, const struct http_reply *reply)
{
    for (size_t i = 0; i < reply->headers.count; i++)
        if (!add_header(request, &reply->headers.items[i]))
            return false;
    if (!reply->close && !request->connection->front->close_after_reply)
        return true;
    return MHD_add_response_header(request->response, MHD_HTTP_HEADER_CONNECTION, "close") ==
           MHD_YES;
}

void http_reply_prepare(struct http_request *request, const struct http_reply *reply)
{
    struct span body = blob_span(reply->body);
    struct MHD_Response *response = MHD_create_response_from_buffer_with_free_callback_cls(
        body.n, body.n ? (void *)(uintptr_t)body.p : NULL, free_blob, blob_ref(reply->body));
    if (!response)
        blob_free(reply->body); /* the reference the response would have had */
    request->reply_body = blob_ref(reply->body);
    http_reply_adopt(request, reply, response);
}

void http_reply_adopt(struct http_request *request, const struct http_reply *reply,
                      struct MHD_Response *response)
{
    request->reply_status = reply->status;
    request->response = response;
    if (!response || !add_headers(request, reply))
        http_reply_drop(request);
}

size_t http_reply_bytes(const struct http_request *request)
{
    return request->padded.bytes ? request->padded.bytes : blob_span(request->reply_body).n;
}

void http_reply_drop(struct http_request *request)
{
    if (request->response)
        MHD_destroy_response(request->response);
    request->response = NULL;
    blob_free(request->reply_body);
    request->reply_body = NULL;
}

static enum MHD_Result print_header(void *context, enum MHD_ValueKind kind, const char *name,
                                    const char *value)
{
    (void)kind;
    struct buf *head = context;
    if (!span_is_nocase(span_of(name), MHD_HTTP_HEADER_CONNECTION))
        buf_printf(head, "%s: %s\r\n", name, value);
    return MHD_YES;
}

static void print_head(const struct http_request *request, struct buf *head)
{
    char date[64];
    struct tm tm;
    time_t now = time(NULL);
    size_t date_bytes =
        strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
    ASSERT(date_bytes > 0);
    buf_printf(head, "HTTP/1.1 %d %s\r\nDate: %s\r\nConnection: close\r\n",
               request->reply_status,
               MHD_get_reason_phrase_for((unsigned)request->reply_status), date);
    (void)MHD_get_response_headers(request->response, print_header, head);
    buf_printf(head, "Content-Length: %zu\r\n\r\n", http_reply_bytes(request));
}

void http_reply_write(struct http_request *request, size_t body_bytes_max)
{
    BUF(head, RAW_HEAD_BYTES_MAX);
    print_head(request, &head);
    if (buf_rc(&head) != OK)
        return;
    struct span body = blob_span(request->reply_body);
    size_t body_bytes = body.n < body_bytes_max ? body.n : body_bytes_max;
    struct iovec parts[2] = {{.iov_base = head.p, .iov_len = head.n},
                             {.iov_base = (void *)(uintptr_t)body.p, .iov_len = body_bytes}};
    struct msghdr message = {.msg_iov = parts,
                             .msg_iovlen = span_is(request->head.method, "HEAD") ? 1 : 2};
    /* The request is refused and the connection closed whatever becomes of this. */
    (void)!sendmsg(request->connection->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}
