/* How operators' commands are answered: by the running service at ops_listen, or where none
 * answers there, from the store, which is opened.  Blocks; thread: the main one. */
#ifndef APP_OPS_TRANSPORT_H
#define APP_OPS_TRANSPORT_H

#include "base/mailbox.h"
#include "core/config.h"
#include "io/store.h"

struct ops_transport {
    const char *command; /* as it is called, for people */
    struct config *config;
    struct buf problem; /* what failed and what to do, for people */
    const char *token;  /* for the ops listener; NULL: none */
    void *curl;         /* once it is known that a service answers */
    struct mailbox box;
    bool box_made;
    struct store *store; /* once it was opened here */
};

/* Loads the configuration; the token is UNSTREAM_OPS_TOKEN of the source's environment.  EX_OK:
 * to be ended with ops_transport_done; else the exit code, and what was wrong is on stderr. */
MUST_CHECK int ops_transport_init(struct ops_transport *transport, const char *command,
                                  const struct config_source *source,
                                  const struct config_arguments *arguments);
void ops_transport_done(struct ops_transport *transport);
/* Says on stderr why the command failed, and returns its exit code. */
int ops_transport_fail(struct ops_transport *transport, enum rc rc);
/* Ask the service: POST `body`, or without one (NULL) GET; appends the reply of a 200.  E_CLOSED:
 * there is no ops_listen, or nobody listens there.  E_NOT_FOUND: 404; E_INVALID: the request was
 * refused otherwise; E_IO: the service failed.  E_NOMEM. */
MUST_CHECK enum rc ops_transport_ask(struct ops_transport *transport, const char *path,
                                     struct buf *body, struct buf *reply);
/* Open the store, if it is not yet.  E_INVALID: it is not there, or refused.  E_IO, E_NOMEM. */
MUST_CHECK enum rc ops_transport_open_store(struct ops_transport *transport);
/* Run the store's callbacks until one of them sets *came. */
void ops_transport_wait(struct ops_transport *transport, const bool *came);

#endif
