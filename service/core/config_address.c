#include "core/config_address.h"

#include <arpa/inet.h>
#include <string.h>

enum { HOST_BYTES_MAX = 253, PORT_MAX = 65535 }; /* RFC 1035, section 2.3.4 */

static bool is_ipv6(struct span host, struct in6_addr *ret)
{
    char text[INET6_ADDRSTRLEN];
    if (host.n >= sizeof text)
        return false;
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    return inet_pton(AF_INET6, text, ret) == 1;
}

static bool is_ipv4(struct span host, struct in_addr *ret)
{
    char text[INET_ADDRSTRLEN];
    if (host.n >= sizeof text)
        return false;
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    return inet_pton(AF_INET, text, ret) == 1;
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
    struct in6_addr unused;
    struct span rest = authority;
    if (span_starts(authority, "[")) {
        rest = span_from(authority, 1);
        struct span host = span_cut(&rest, ']');
        if (!rest.p || !is_ipv6(host, &unused))
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
    struct in_addr v4;
    struct in6_addr v6;
    if (span_is_nocase(without_final_dot(host), "localhost"))
        return true;
    if (is_ipv4(host, &v4))
        return ntohl(v4.s_addr) >> 24 == 127;
    if (!is_ipv6(host, &v6))
        return false;
    return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
}

bool address_is_local(const struct address *address)
{
    return address->is_unix || host_is_loopback(address->host);
}

struct span host_of_authority(struct span authority)
{
    struct span host, port;
    uint16_t unused;
    if (split_authority(authority, &host, &port) != NULL)
        return SPAN_ABSENT;
    if (port.n && !read_port(port, &unused))
        return SPAN_ABSENT;
    return without_final_dot(host);
}

static bool is_url_text(struct span text)
{
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] <= 0x20 || text.p[i] >= 0x7F || strchr("\"<>\\^`{|}", text.p[i]))
            return false;
    return true;
}

const char *url_parse(struct span text, struct url *ret)
{
    struct url url = {.is_https = span_starts(text, "https://")};
    if (!url.is_https && !span_starts(text, "http://"))
        return "must begin with https:// or http://";
    if (!is_url_text(text))
        return "has a character that no URL has";
    if (span_find(text, '?') < text.n || span_find(text, '#') < text.n)
        return "must end with its path: no ? and no #";
    struct span rest = span_from(text, strlen(url.is_https ? "https://" : "http://"));
    size_t slash = span_find(rest, '/');
    url.authority = (struct span){rest.p, slash};
    url.path = span_from(rest, slash);
    while (span_ends(url.path, "/"))
        url.path.n--;
    if (span_find(url.authority, '@') < url.authority.n)
        return "must not hold a user or a password; use api_key or headers";
    struct span port = SPAN_ABSENT;
    if (split_authority(url.authority, &url.host, &port) != NULL)
        return "has no valid host";
    url.port = url.is_https ? 443 : 80;
    if (port.p && (!read_port(port, &url.port) || url.port == 0))
        return "has a port that is not from 1 to 65535";
    *ret = url;
    return NULL;
}
