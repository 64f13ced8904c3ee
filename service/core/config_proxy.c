#include "core/config_proxy.h"

#include "core/config_address.h"

/* The first of the variables that says something. */
static struct config_effective first_said(const struct config_source *source,
                                          const char *const *names)
{
    for (; *names; names++) {
        struct span value = span_trim(span_of(source->getenv(source->context, *names)));
        if (value.n)
            return (struct config_effective){value, *names};
    }
    return (struct config_effective){SPAN(""), "nothing names one"};
}

/* The domain itself and everything below it. */
static bool in_domain(struct span host, struct span domain)
{
    if (domain.n > host.n || host_is_ip(host))
        return false;
    struct span tail = span_from(host, host.n - domain.n);
    return span_eq_nocase(tail, domain) &&
           (tail.n == host.n || host.p[host.n - domain.n - 1] == '.');
}

static bool entry_covers(struct span entry, const struct url *url)
{
    if (span_is(entry, "*") || host_in_network(url->host, entry))
        return true;
    if (span_starts(entry, "*."))
        entry = span_from(entry, 2);
    else if (span_starts(entry, "."))
        entry = span_from(entry, 1);
    struct span name;
    uint16_t port = url->port;
    if (authority_parse(entry, &name, &port) != NULL || port != url->port)
        return false;
    return host_in_network(url->host, name) || in_domain(url->host, name);
}

static bool list_covers(struct span list, const struct url *url)
{
    size_t start = 0;
    for (size_t i = 0; i <= list.n; i++) {
        if (i < list.n && list.p[i] != ',' && list.p[i] != ' ' && list.p[i] != '\t')
            continue;
        if (entry_covers((struct span){list.p + start, i - start}, url))
            return true;
        start = i + 1;
    }
    return false;
}

/* All names below localhost are this machine, too (RFC 6761, section 6.3). */
static bool is_this_machine(struct span host)
{
    return host_is_loopback(host) || in_domain(host, SPAN("localhost"));
}

struct config_effective config_proxy_of(const struct config_upstream *upstream,
                                        const struct config_source *source)
{
    static const char *const https[] = {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY",
                                        NULL};
    static const char *const http[] = {"http_proxy", "all_proxy", "ALL_PROXY", NULL};
    static const char *const exempt[] = {"no_proxy", "NO_PROXY", NULL};
    struct url url;
    if (upstream->proxy.p)
        return (struct config_effective){upstream->proxy, "the key \"proxy\""};
    const char *wrong = base_url_parse(upstream->base_url, &url);
    ASSERT(!wrong);
    if (is_this_machine(url.host))
        return (struct config_effective){SPAN(""), "it is this machine"};
    struct config_effective proxy = first_said(source, url.is_https ? https : http);
    struct config_effective list = first_said(source, exempt);
    if (proxy.value.n && list_covers(list.value, &url))
        return (struct config_effective){SPAN(""), list.from};
    return proxy;
}

bool config_proxy_is_fine(struct span proxy)
{
    static const char *const schemes[] = {"http",    "https",  "socks4",
                                          "socks4a", "socks5", "socks5h"};
    struct url url;
    if (!span_is_visible(proxy) || url_parse(proxy, &url) != NULL ||
        !(url.path.n == 0 || span_is(url.path, "/")))
        return false;
    return !url.scheme.p || span_is_any_nocase(url.scheme, schemes, COUNT_OF(schemes));
}
