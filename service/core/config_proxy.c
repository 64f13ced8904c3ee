#include "core/config_proxy.h"

#include "core/config_address.h"

#include <strings.h>

/* The first of the variables that is set and not empty. */
static struct config_proxy first_set(const struct config_source *source,
                                     const char *const *names)
{
    for (; *names; names++) {
        struct span value = span_of(source->getenv(source->context, *names));
        if (value.n)
            return (struct config_proxy){value, *names};
    }
    return (struct config_proxy){SPAN(""), NULL};
}

static bool ends_nocase(struct span host, struct span domain)
{
    return host.n >= domain.n &&
           strncasecmp(host.p + host.n - domain.n, domain.p, domain.n) == 0;
}

static bool entry_covers(struct span entry, struct span host)
{
    if (entry.n > 2 && entry.p[0] == '[' && span_ends(entry, "]"))
        entry = (struct span){entry.p + 1, entry.n - 2};
    if (span_is(entry, "*"))
        return true;
    if (span_starts(entry, "."))
        entry = span_from(entry, 1);
    if (!entry.n || !ends_nocase(host, entry))
        return false;
    return host.n == entry.n || host.p[host.n - entry.n - 1] == '.';
}

bool config_no_proxy_covers(struct span list, struct span host)
{
    size_t start = 0;
    for (size_t i = 0; i <= list.n; i++) {
        if (i < list.n && list.p[i] != ',' && list.p[i] != ' ' && list.p[i] != '\t')
            continue;
        if (entry_covers((struct span){list.p + start, i - start}, host))
            return true;
        start = i + 1;
    }
    return false;
}

struct config_proxy config_proxy_of(const struct config_upstream *upstream,
                                    const struct config_source *source)
{
    static const char *const https[] = {"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY",
                                        NULL};
    static const char *const http[] = {"http_proxy", "all_proxy", "ALL_PROXY", NULL};
    static const char *const none[] = {"no_proxy", "NO_PROXY", NULL};
    struct url url;
    if (upstream->proxy.p)
        return (struct config_proxy){upstream->proxy, "proxy"};
    const char *wrong = url_parse(upstream->base_url, &url);
    ASSERT(!wrong);
    struct config_proxy proxy = first_set(source, url.is_https ? https : http);
    struct config_proxy exempt = first_set(source, none);
    if (proxy.url.n && exempt.url.n && config_no_proxy_covers(exempt.url, url.host))
        return (struct config_proxy){SPAN(""), exempt.from};
    return proxy;
}
