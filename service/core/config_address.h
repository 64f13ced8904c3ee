/* Addresses and base URLs as the configuration writes them, and what counts as "this machine".
 * Pure text: no name is resolved.  Results view the text that was parsed.  Thread: any. */
#ifndef CORE_CONFIG_ADDRESS_H
#define CORE_CONFIG_ADDRESS_H

#include "base/span.h"

/* The longest path of a unix socket (sun_path without its NUL). */
enum { ADDRESS_UNIX_PATH_BYTES_MAX = 107 };

struct address {
    bool is_unix;
    struct span host; /* without brackets; a name or an IP address; absent for unix */
    uint16_t port;    /* 0: any free one */
    struct span path; /* of a unix socket; absent otherwise */
};

/* "host:port", "[v6]:port" or "unix:/path".  NULL: fine; else what is wrong and what to write
 * instead, and *ret is untouched. */
const char *address_parse(struct span text, struct address *ret);
/* Only this machine can reach it: a unix socket, or a loopback host. */
bool address_is_local(const struct address *address);
/* "localhost" (with or without a final dot, any case), 127.0.0.0/8, ::1, also as mapped IPv4.
 */
bool host_is_loopback(struct span host);
/* The host of a Host header or of a URL's authority: without port, brackets and final dot;
 * absent: it cannot be read. */
struct span host_of_authority(struct span authority);

struct url {
    bool is_https;
    struct span authority; /* "host:port" as written */
    struct span host;
    uint16_t port;    /* written, or the scheme's own */
    struct span path; /* with its leading '/', perhaps empty, without final slashes */
};

/* An absolute http:// or https:// URL without user, query and fragment (RFC 3986).  NULL: fine;
 * else what is wrong, and *ret is untouched. */
const char *url_parse(struct span text, struct url *ret);

#endif
