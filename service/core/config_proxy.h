/* Which proxy the way to an upstream takes, and who said so.
 *
 * The upstream's `proxy` key wins.  Else this machine itself is reached directly, and for all
 * others the environment decides.  There is no standard for that; this follows what curl and Go
 * agree on: https_proxy or HTTPS_PROXY for https URLs, http_proxy for http URLs (lower case
 * only: under CGI, HTTP_PROXY is a client's `Proxy` header), then all_proxy or ALL_PROXY; lower
 * case first, and an empty variable is as good as none.  no_proxy or NO_PROXY is a list
 * separated by commas or blanks of what is reached directly: `*`, host names (with everything
 * below them), addresses, networks as 10.0.0.0/8; each but the last with an optional port.
 * Pure; thread: any. */
#ifndef CORE_CONFIG_PROXY_H
#define CORE_CONFIG_PROXY_H

#include "core/config.h"

/* Without the key, base_url must be one (base_url_parse).  The value views the configuration or what
 * source->getenv returned; it was not checked. */
struct config_effective config_proxy_of(const struct config_upstream *upstream,
                                        const struct config_source *source);
/* Whether this is a proxy that can be asked: a host with an optional port, user, and scheme
 * (http, https, socks4, socks4a, socks5, socks5h; none: http). */
bool config_proxy_is_fine(struct span proxy);

#endif
