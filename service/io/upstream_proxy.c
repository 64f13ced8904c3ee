#include "io/upstream_proxy.h"

#include <arpa/inet.h>
#include <string.h>

enum { IP_BYTES_MAX = 16, IP_TEXT_MAX = INET6_ADDRSTRLEN };

struct ip {
    unsigned char bytes[IP_BYTES_MAX];
    size_t n; /* 4, 16, or 0: not an address */
};

static struct span until(struct span text, const char *stops)
{
    size_t n = 0;
    while (n < text.n && !strchr(stops, text.p[n]))
        n++;
    return (struct span){text.p, n};
}

/* "host", "host:port", "[v6]", "[v6]:port", "v6".  *ret_port is absent without a port. */
static bool split_port(struct span text, struct span *ret_host, struct span *ret_port)
{
    struct span rest;
    struct span host;
    if (span_starts(text, "[")) {
        rest = span_from(text, 1);
        host = span_cut(&rest, ']');
        if (!rest.p)
            return false;
        if (rest.n && rest.p[0] != ':')
            return false;
        rest = rest.n ? span_from(rest, 1) : SPAN_ABSENT;
    } else {
        rest = text;
        host = span_cut(&rest, ':');
        if (rest.p && span_find(rest, ':') < rest.n) { /* a bare IPv6 address */
            host = text;
            rest = SPAN_ABSENT;
        }
    }
    *ret_host = host;
    *ret_port = rest;
    return host.n > 0;
}

bool upstream_url_parts(struct span url, struct url_parts *ret)
{
    struct url_parts parts = {.scheme = until(url, ":/?#")};
    struct span rest = span_from(url, parts.scheme.n);
    if (span_starts(rest, "://")) {
        rest = span_from(rest, 3);
    } else {
        rest = url;
        parts.scheme = SPAN_ABSENT;
    }
    struct span authority = until(rest, "/?#");
    size_t at = span_find(authority, '@');
    while (at < authority.n) {
        authority = span_from(authority, at + 1);
        at = span_find(authority, '@');
    }
    struct span port;
    if (!split_port(authority, &parts.host, &port))
        return false;
    uint64_t number = parts.scheme.p && span_is_nocase(parts.scheme, "https") ? 443 : 80;
    if (port.n && (!span_to_u64(port, &number) || number == 0 || number > UINT16_MAX))
        return false;
    parts.port = (unsigned)number;
    *ret = parts;
    return true;
}

static struct ip ip_of(struct span text)
{
    struct ip ip = {.n = 0};
    char copy[IP_TEXT_MAX];
    if (text.n >= sizeof copy)
        return ip;
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    if (inet_pton(AF_INET, copy, ip.bytes) == 1)
        ip.n = 4;
    else if (inet_pton(AF_INET6, copy, ip.bytes) == 1)
        ip.n = 16;
    return ip;
}

static bool ip_in(const struct ip *ip, const struct ip *network, uint64_t bits)
{
    if (ip->n != network->n || bits > 8 * network->n)
        return false;
    size_t whole = bits / 8;
    if (memcmp(ip->bytes, network->bytes, whole) != 0)
        return false;
    unsigned left = bits % 8;
    return left == 0 || (ip->bytes[whole] ^ network->bytes[whole]) >> (8 - left) == 0;
}

static bool in_network(struct span host, struct span network)
{
    struct span bits_text = network;
    struct span address = span_cut(&bits_text, '/');
    struct ip ip = ip_of(host);
    struct ip base = ip_of(address);
    uint64_t bits = 8 * base.n;
    if (ip.n == 0 || base.n == 0 || (bits_text.p && !span_to_u64(bits_text, &bits)))
        return false;
    return ip_in(&ip, &base, bits);
}

static struct span without_dot(struct span host)
{
    return span_ends(host, ".") ? (struct span){host.p, host.n - 1} : host;
}

/* The domain itself and everything below it. */
static bool in_domain(struct span host, struct span domain)
{
    if (span_starts(domain, "*."))
        domain = span_from(domain, 2);
    else if (span_starts(domain, "."))
        domain = span_from(domain, 1);
    domain = without_dot(domain);
    if (domain.n == 0 || domain.n > host.n || ip_of(host).n)
        return false;
    struct span tail = span_from(host, host.n - domain.n);
    return span_eq_nocase(tail, domain) &&
           (tail.n == host.n || host.p[host.n - domain.n - 1] == '.');
}

static bool entry_matches(struct span entry, const struct url_parts *url)
{
    if (span_is(entry, "*"))
        return true;
    struct span host = without_dot(url->host);
    if (span_find(entry, '/') < entry.n)
        return in_network(host, entry);
    struct span name, port;
    uint64_t number;
    if (!split_port(entry, &name, &port))
        return false;
    if (port.n && (!span_to_u64(port, &number) || number != url->port))
        return false;
    return in_network(host, name) || in_domain(host, name);
}

static bool is_listed(struct span list, const struct url_parts *url)
{
    while (list.n) {
        struct span entry = until(list, ", \t");
        list = span_from(list, entry.n < list.n ? entry.n + 1 : list.n);
        if (entry.n && entry_matches(entry, url))
            return true;
    }
    return false;
}

static bool is_this_machine(struct span host)
{
    host = without_dot(host);
    return in_domain(host, SPAN("localhost")) || in_network(host, SPAN("127.0.0.0/8")) ||
           in_network(host, SPAN("::1"));
}

struct proxy_environment upstream_proxy_environment(char *(*get)(const char *name))
{
    const char *https = get("https_proxy");
    const char *none = get("no_proxy");
    return (struct proxy_environment){
        .https_proxy = span_of(https ? https : get("HTTPS_PROXY")),
        .http_proxy = span_of(get("http_proxy")),
        .no_proxy = span_of(none ? none : get("NO_PROXY")),
    };
}

struct span upstream_proxy_for(struct span url, const struct proxy_environment *environment)
{
    struct url_parts parts;
    if (!upstream_url_parts(url, &parts) || is_this_machine(parts.host))
        return SPAN("");
    bool https = parts.scheme.p && span_is_nocase(parts.scheme, "https");
    struct span proxy = span_trim(https ? environment->https_proxy : environment->http_proxy);
    if (proxy.n == 0 || is_listed(environment->no_proxy, &parts))
        return SPAN("");
    return proxy;
}
