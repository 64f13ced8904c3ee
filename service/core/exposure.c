#include "core/exposure.h"

#include "core/config_address.h"

#include <string.h>
#include <strings.h>

/* Headers that proxies and content delivery networks add. */
static const char *const proxy_headers[] = {
    "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "forwarded", "via",
    "cf-connecting-ip"};

const char *exposure_text(enum exposure exposure)
{
    static const char *const texts[] = {
#define X(name, text) [name] = text,
        EXPOSURE_TABLE(X)
#undef X
    };
    return texts[exposure];
}

bool header_is_credential(struct span name)
{
    static const char *const parts[] = {"authorization", "x-auth",  "-key",
                                        "apikey",        "api_key", "token",
                                        "password",      "secret",  "cookie"};
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        size_t n = strlen(parts[i]);
        for (size_t at = 0; at + n <= name.n; at++)
            if (strncasecmp(name.p + at, parts[i], n) == 0)
                return true;
    }
    return false;
}

static bool upstream_has_credential(const struct config_upstream *upstream)
{
    for (size_t i = 0; i < upstream->headers.count; i++)
        if (header_is_credential(upstream->headers.items[i].name))
            return true;
    return upstream->api_key.p != NULL;
}

bool config_has_credential(const struct config *config)
{
    for (size_t i = 0; i < config->upstream_count; i++)
        if (upstream_has_credential(&config->upstreams[i]))
            return true;
    return false;
}

bool config_must_stay_local(const struct config *config)
{
    return !config->open && config->client_count == 0 && config_has_credential(config);
}

static bool names_listener(struct span listen, struct span host)
{
    struct address address;
    return address_parse(listen, &address) == NULL && !address.is_unix &&
           span_eq_nocase(address.host, host);
}

/* localhost, a loopback address, or the host of one of the listeners. */
static bool is_own_host(const struct span_list *listen, struct span authority)
{
    struct span host;
    uint16_t port = 0;
    if (authority_parse(authority, &host, &port) != NULL)
        return false;
    if (host_is_loopback(host))
        return true;
    for (size_t i = 0; i < listen->count; i++)
        if (names_listener(listen->items[i], host))
            return true;
    return false;
}

/* An Origin is "scheme://host[:port]" or "null" (RFC 6454, section 7.1). */
static bool has_foreign_origin(const struct span_list *listen, const struct headers *headers)
{
    struct span origin = header_get(headers, "origin");
    if (!origin.p)
        return false;
    const char *slashes = memmem(origin.p, origin.n, "://", 3);
    if (!slashes)
        return true;
    return !is_own_host(listen, span_from(origin, (size_t)(slashes - origin.p) + 3));
}

static bool has_foreign_host(const struct span_list *listen, const struct headers *headers)
{
    struct span host = header_get(headers, "host");
    return host.p && !is_own_host(listen, host);
}

enum exposure exposure_of_request(const struct config *config, const struct http_head *head,
                                  bool unix_listener)
{
    if (!config_must_stay_local(config))
        return EXPOSURE_NONE;
    for (size_t i = 0; i < COUNT_OF(proxy_headers); i++)
        if (header_get(&head->headers, proxy_headers[i]).p)
            return EXPOSURE_PROXY;
    if (has_foreign_origin(&config->listen, &head->headers))
        return EXPOSURE_ORIGIN;
    if (!unix_listener && has_foreign_host(&config->listen, &head->headers))
        return EXPOSURE_HOST;
    return EXPOSURE_NONE;
}

enum exposure exposure_of_ops(const struct config *config, const struct http_head *head)
{
    struct span_list listen = {&config->ops_listen, config->ops_listen.p ? 1 : 0};
    struct address address;
    if (!config->ops_listen.p || address_parse(config->ops_listen, &address) != NULL ||
        address.is_unix || !address_is_local(&address))
        return EXPOSURE_NONE;
    if (has_foreign_origin(&listen, &head->headers))
        return EXPOSURE_ORIGIN;
    return has_foreign_host(&listen, &head->headers) ? EXPOSURE_HOST : EXPOSURE_NONE;
}
