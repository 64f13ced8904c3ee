/* The operator's key is never handed to the network.
 *
 * With a configured credential for a provider, no `clients` and no `open`, everyone who reaches
 * a listener would spend the operator's money.  Such a configuration may only listen on this
 * machine, and a request is refused that came through a proxy or from a web page: a proxy on
 * the same machine makes all public traffic local, and DNS rebinding (a public name that
 * resolves to 127.0.0.1) makes any web page local.  Pure; thread: any. */
#ifndef CORE_EXPOSURE_H
#define CORE_EXPOSURE_H

#include "core/config.h"

/* X(enum, what is wrong, for people) */
#define EXPOSURE_TABLE(X)                                                                      \
    X(EXPOSURE_NONE, "fine")                                                                   \
    X(EXPOSURE_PROXY, "the request came through a proxy")                                      \
    X(EXPOSURE_ORIGIN, "the request was sent by a web page of another origin")                 \
    X(EXPOSURE_HOST, "the request's Host is not this machine")

enum exposure {
#define X(name, text) name,
    EXPOSURE_TABLE(X)
#undef X
};

const char *exposure_text(enum exposure exposure);

/* An upstream has an api_key, or a fixed header that looks like a credential. */
bool config_has_credential(const struct config *config);
/* A header of this name carries a credential, as far as a name can tell. */
bool header_is_credential(struct span name);
/* Whoever reaches a listener uses the operator's credential, and nothing says that this is
 * meant: listeners must be local, and exposure_of_request judges every request. */
bool config_must_stay_local(const struct config *config);

/* Whether a request on a client listener may be served; always EXPOSURE_NONE unless
 * config_must_stay_local.  unix_listener: it came over a unix socket, which no web page can
 * reach, so that its Host says nothing. */
enum exposure exposure_of_request(const struct config *config, const struct http_head *head,
                                  bool unix_listener);
/* The same for the operators' listener: on loopback the Host and an Origin must be local.  (A
 * unix socket is out of a web page's reach; beyond loopback a token guards it.) */
enum exposure exposure_of_ops(const struct config *config, const struct http_head *head);

#endif
