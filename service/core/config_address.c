#include "core/config_address.h"

#include <arpa/inet.h>
#include <string.h>

enum {
    HOST_BYTES_MAX = 253, /* RFC 1035, section 2.3.4 */
    PORT_MAX = 65535,
    IPV4_BYTES = 4,
    IPV6_BYTES = 16
};

struct ip {
    unsigned char bytes[IPV6_BYTES];
    size_t n; /* IPV4_BYTES, IPV6_BYTES, or 0: not an address */
};

static struct ip ip_of(struct span text)
{
    struct ip ip = {.n = 0};
    char copy[INET6_ADDRSTRLEN];
    if (text.n == 0 || text.n >= sizeof copy)
        return ip;
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    if (inet_pton(AF_INET, copy, ip.bytes) == 1)
        ip.n = IPV4_BYTES;
    else if (inet_pton(AF_INET6, copy, ip.bytes) == 1)
        ip.n = IPV6_BYTES;
    return ip;
}

bool host_is_ip(struct span host)
{
    return ip_of(host).n > 0;
}

static bool same_start(const struct ip *a, const struct ip *b, uint64_t bits)
{
    if (a->n != b->n || bits > 8 * a->n)
        return false;
    size_t whole = bits / 8;
    if (memcmp(a->bytes, b->bytes, whole) != 0)
        return false;
    unsigned left = bits % 8;
    return left == 0 || (a->bytes[whole] ^ b->bytes[whole]) >> (8 - left) == 0;
}

bool host_in_network(struct span host, struct span network)
{
    struct span bits_text = network;
    struct span start = span_cut(&bits_text, '/');
    struct ip ip = ip_of(host), base = ip_of(start);
    uint64_t bits = 8 * base.n;
    if (ip.n == 0 || base.n == 0 || (bits_text.p && !span_to_u64(bits_text, &bits)))
        return false;
    return same_start(&ip, &base, bits);
}

static bool is_name(struct span host)
{
    if (host.n == 0 || host.n > HOST_BYTES_MAX)
        return false;
    for (size_t i = 0; i < host.n; i++) {
        char c = host.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(c >= '0' && c <= '9') && c != '.' && c != '-' && c != '_')
            return false;
    }
    return true;
}

/* Splits "host:port" and "[v6]:port".  *ret_port is absent when there is none. */
static const char *split_authority(struct span authority, struct span *ret_host,
                                   struct span *ret_port)
{
    struct span rest = authority;
    if (span_starts(authority, "[")) {
        rest = span_from(authority, 1);
        struct span host = span_cut(&rest, ']');
        if (!rest.p || ip_of(host).n != IPV6_BYTES)
            return "is no IPv6 address in brackets, such as [::1]:8080";
        if (rest.n && rest.p[0] != ':')
            return "needs a colon between ] and the port";
        *ret_host = host;
        *ret_port = rest.n ? span_from(rest, 1) : SPAN_ABSENT;
        return NULL;
    }
    struct span host = span_cut(&rest, ':');
    if (rest.p && span_find(rest, ':') < rest.n)
        return "has several colons; an IPv6 address stands in brackets, such as [::1]:8080";
    if (!is_name(host))
        return "has no valid host; write an address or a name, such as 127.0.0.1";
    *ret_host = host;
    *ret_port = rest;
    return NULL;
}

static bool read_port(struct span text, uint16_t *ret)
{
    uint64_t port;
    if (!span_to_u64(text, &port) || port > PORT_MAX)
        return false;
    *ret = (uint16_t)port;
    return true;
}

static const char *parse_unix(struct span path, struct address *ret)
{
    if (!span_starts(path, "/"))
        return "needs an absolute path, such as unix:/run/unstream/unstream.sock";
    if (path.n > ADDRESS_UNIX_PATH_BYTES_MAX)
        return "has a path that is too long for a unix socket (at most 107 bytes)";
    if (memchr(path.p, '\0', path.n))
        return "has a NUL in its path";
    *ret = (struct address){.is_unix = true, .path = path};
    return NULL;
}

const char *address_parse(struct span text, struct address *ret)
{
    struct address address = {.is_unix = false};
    struct span port = SPAN_ABSENT;
    if (span_starts(text, "unix:"))
        return parse_unix(span_from(text, strlen("unix:")), ret);
    bool port_alone = span_starts(text, ":") && !span_starts(text, "::");
    if (port_alone || span_find(text, ':') == text.n)
        return "needs a host and a port, such as 127.0.0.1:8080 (all interfaces: 0.0.0.0:8080)";
    const char *wrong = split_authority(text, &address.host, &port);
    if (wrong)
        return wrong;
    if (!read_port(port, &address.port))
        return "needs a port from 0 to 65535 after the host, such as 127.0.0.1:8080";
    *ret = address;
    return NULL;
}

static struct span without_final_dot(struct span host)
{
    return host.n > 1 && span_ends(host, ".") ? (struct span){host.p, host.n - 1} : host;
}

bool host_is_loopback(struct span host)
{
    return span_is_nocase(without_final_dot(host), "localhost") ||
           host_in_network(host, SPAN("127.0.0.0/8")) || host_in_network(host, SPAN("::1")) ||
           host_in_network(host, SPAN("::ffff:127.0.0.0/104"));
}

bool address_is_local(const struct address *address)
{
    return address->is_unix || host_is_loopback(address->host);
}

const char *authority_parse(struct span text, struct span *ret_host, uint16_t *ret_port)
{
    struct span host, port_text;
    uint16_t port = *ret_port;
    const char *wrong = split_authority(text, &host, &port_text);
    if (wrong)
        return wrong;
    if (port_text.n && (!read_port(port_text, &port) || port == 0))
        return "has a port that is not from 1 to 65535";
    *ret_host = without_final_dot(host);
    *ret_port = port;
    return NULL;
}

/* ---- URLs */

static size_t find_any(struct span text, const char *bytes)
{
    size_t i = 0;
    while (i < text.n && !(text.p[i] && strchr(bytes, text.p[i])))
        i++;
    return i;
}

/* Cuts "https://" off; absent: there is no such start. */
static struct span cut_scheme(struct span *rest)
{
    struct span scheme = {rest->p, find_any(*rest, ":/?#@")};
    struct span after = span_from(*rest, scheme.n);
    if (!span_starts(after, "://"))
        return SPAN_ABSENT;
    *rest = span_from(after, strlen("://"));
    return scheme;
}

/* Cuts "user:password@" off; a password may hold an @ too.  Absent: there is none. */
static struct span cut_user(struct span *authority)
{
    const char *at = authority->n ? memrchr(authority->p, '@', authority->n) : NULL;
    if (!at)
        return SPAN_ABSENT;
    struct span user = {authority->p, (size_t)(at - authority->p)};
    *authority = span_from(*authority, user.n + 1);
    return user;
}

const char *url_parse(struct span text, struct url *ret)
{
    struct span rest = text;
    struct url url = {.scheme = cut_scheme(&rest)};
    struct span authority = {rest.p, find_any(rest, "/?#")};
    url.path = span_from(rest, authority.n);
    url.user = cut_user(&authority);
    url.is_https = url.scheme.p && span_is_nocase(url.scheme, "https");
    url.port = url.is_https ? 443 : 80;
    const char *wrong = authority_parse(authority, &url.host, &url.port);
    if (!wrong)
        *ret = url;
    return wrong;
}

const char *base_url_parse(struct span text, struct url *ret)
{
    struct url url;
    struct span rest = text, scheme = cut_scheme(&rest);
    if (!scheme.p || !(span_is_nocase(scheme, "https") || span_is_nocase(scheme, "http")))
        return "must begin with https:// or http://";
    if (!span_is_visible(text) || find_any(text, "\"<>\\^`{|}") < text.n)
        return "has a character that no URL has";
    if (find_any(text, "?#") < text.n)
        return "must end with its path: no ? and no #";
    const char *wrong = url_parse(text, &url);
    if (wrong)
        return wrong;
    if (url.user.p)
        return "must not hold a user or a password; use api_key or headers";
    while (span_ends(url.path, "/"))
        url.path.n--;
    *ret = url;
    return NULL;
}
