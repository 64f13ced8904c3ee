/* Which proxy an upstream is called through, as the environment says it, and the little of a
 * URL that must be known for that.  Pure but for the getenv it is given.  Thread: any.
 *
 * There is no standard; this follows what curl, Go and Python agree on: https_proxy and
 * HTTPS_PROXY for https URLs, http_proxy (lower case only: HTTP_PROXY can be set by a client's
 * `Proxy` header under CGI) for http URLs, lower case first, empty means none.  NO_PROXY is a
 * list separated by commas or blanks: `*`, host names (with everything below them), addresses,
 * networks as 10.0.0.0/8, each but the last with an optional port.  This machine itself is
 * never reached through a proxy of the environment. */
#ifndef IO_UPSTREAM_PROXY_H
#define IO_UPSTREAM_PROXY_H

#include "base/rc.h"
#include "base/span.h"

struct url_parts {
    struct span scheme; /* "https"; absent: none was written */
    struct span host;   /* without brackets and user information */
    unsigned port;      /* as written, else 443 for https and 80 for all others */
};

/* False: no host, or a port that is none. */
bool upstream_url_parts(struct span url, struct url_parts *ret);

struct proxy_environment {
    struct span https_proxy, http_proxy, no_proxy; /* absent: not set */
};

/* The variables above, as `get` (getenv, or a test's own) has them. */
struct proxy_environment upstream_proxy_environment(char *(*get)(const char *name));
/* The URL of the proxy for this URL; empty: none. */
struct span upstream_proxy_for(struct span url, const struct proxy_environment *environment);

#endif
