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

/* A token (RFC 9110, section 5.6.2), as a header's name and a method must be. */
bool header_name_is_sound(struct span name);
/* No control character but tabs (RFC 9110, section 5.5): a line break in a value would become a
 * header of its own on the wire. */
bool header_value_is_sound(struct span value);
/* The value of the first field line of this name (compared without case); absent: none. */
struct span header_get(const struct headers *headers, const char *name);
/* How many field lines have this name. */
size_t header_count(const struct headers *headers, const char *name);

#endif
