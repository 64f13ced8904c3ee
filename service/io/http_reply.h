/* The inside of the HTTP front: replies.  Only http_*.c includes this.  Thread: the loop. */
#ifndef IO_HTTP_REPLY_H
#define IO_HTTP_REPLY_H

#include "io/http_request.h"

/* Make request->response of what the handler gave; it stays NULL when there is no memory. */
void http_reply_prepare(struct http_request *request, const struct http_reply *reply);
/* The same with a body of its own: takes over `response`, which is NULL without memory. */
void http_reply_adopt(struct http_request *request, const struct http_reply *reply,
                      struct MHD_Response *response);
/* The length of its body. */
size_t http_reply_bytes(const struct http_request *request);
/* Write it to the socket past libmicrohttpd, as far as one write gets, with Connection: close;
 * of its body body_bytes_max at most. */
void http_reply_write(struct http_request *request, size_t body_bytes_max);
/* Forget the prepared reply; libmicrohttpd keeps its own references. */
void http_reply_drop(struct http_request *request);

#endif
