/* The operators' listener: probes, metrics (Prometheus text format 0.0.4), what flights are doing
 * (app/ops_state.h) and work on keys (app/ops_keys.h), on connections of its own.  Beyond loopback
 * it asks for a token; on loopback Host and Origin must be local, so that no web page can read it
 * by DNS rebinding.  Thread: the loop. */
#ifndef APP_OPS_H
#define APP_OPS_H

#include "app/engine.h"

struct ops;

/* All must outlive the ops, but for the configuration, of which it takes a reference.  `front` is
 * the clients' front, for its connections; NULL is fine. */
struct ops_params {
    struct config *config;
    struct engine *engine;
    struct store *store;
    const struct http_front *front;
};

/* E_NOMEM. */
MUST_CHECK enum rc ops_new(const struct ops_params *params, struct ops **ret);
void ops_free(struct ops *ops);
/* A reload: requests are held to this configuration from now on; NULL: it was refused.  Both are
 * counted. */
void ops_reloaded(struct ops *ops, struct config *config);
OWNED_DEFINE(ops)
struct http_handler ops_handler(struct ops *ops);

#endif
