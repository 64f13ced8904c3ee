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
/* An IPv4 or IPv6 address, without brackets; false: a name. */
bool host_is_ip(struct span host);
/* Whether a host lies in a network such as 10.0.0.0/8, or is this very address.  False for
 * names, for the other family, and for a network that is none. */
bool host_in_network(struct span host, struct span network);

/* "host", "host:port", "[v6]" or "[v6]:port", as in a Host header and in a URL (RFC 3986,
 * section 3.2).  NULL: fine, *ret_host is without brackets and final dot, and *ret_port stays
 * as it is when none is written; else what is wrong, and both are untouched. */
const char *authority_parse(struct span text, struct span *ret_host, uint16_t *ret_port);

struct url {
    struct span scheme; /* as written; absent: none */
    bool is_https;
    struct span user; /* "name:password", as written; absent: none */
    struct span host; /* without brackets and final dot */
    uint16_t port;    /* written, else 443 for https and 80 for all others */
    struct span path; /* what follows, query and fragment too; perhaps empty */
};

/* "[scheme://][user@]host[:port]" and whatever follows from a '/', '?' or '#' on; that is not
 * looked at.  NULL: fine; else what is wrong, and *ret is untouched. */
const char *url_parse(struct span text, struct url *ret);
/* An http:// or https:// URL of plain characters, without user, query and fragment (RFC 3986);
 * ret->path is without final slashes.  NULL: fine; else what is wrong, and *ret is untouched.
 */
const char *base_url_parse(struct span text, struct url *ret);

#endif
