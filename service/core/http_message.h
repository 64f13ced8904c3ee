/* The head of an HTTP message as plain data, shared by the adapters that read and write HTTP
 * and the decisions that look at it.  Nothing here is owned; thread: any. */
#ifndef CORE_HTTP_MESSAGE_H
#define CORE_HTTP_MESSAGE_H

#include "base/rc.h"
#include "base/span.h"

struct header {
    struct span name;
    struct span value; /* without white space around it */
};

struct headers {
    const struct header *items;
    size_t count;
};

struct http_head {
    struct span method; /* as sent: "POST" */
    struct span path;   /* as sent, without the query: "/v1/messages" */
    struct span query;  /* as sent, without the '?'; absent when there is none */
    int version_minor;  /* 0 or 1 of HTTP/1.x */
    struct headers headers;
};

/* The value of the first field line of this name (compared without case); absent: none. */
struct span header_get(const struct headers *headers, const char *name);
/* How many field lines have this name. */
size_t header_count(const struct headers *headers, const char *name);

#endif
