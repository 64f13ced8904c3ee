/* Which HTTP proxy the way to an upstream takes, and who said so.
 *
 * The upstream's `proxy` key wins.  Else the environment decides as curl reads it: HTTPS_PROXY
 * (or https_proxy) for https URLs, http_proxy (lower case only) for http URLs, then ALL_PROXY
 * (or all_proxy); NO_PROXY (or no_proxy) lists hosts that are reached directly: names, which
 * cover what ends in them, "*" for all.  Pure; thread: any. */
#ifndef CORE_CONFIG_PROXY_H
#define CORE_CONFIG_PROXY_H

#include "core/config.h"

struct config_proxy {
    struct span url;  /* empty: none */
    const char *from; /* "proxy" (the key), a variable's name, or NULL: nobody said anything */
};

/* `url` views the configuration or what source->getenv returned. */
struct config_proxy config_proxy_of(const struct config_upstream *upstream,
                                    const struct config_source *source);
/* Whether a NO_PROXY list covers this host. */
bool config_no_proxy_covers(struct span list, struct span host);

#endif
