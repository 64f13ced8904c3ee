/* How operators' commands are answered: by the running service at ops_listen, or where none
 * answers there, from the store, which is opened.  Blocks; thread: the main one. */
#ifndef APP_OPS_TRANSPORT_H
#define APP_OPS_TRANSPORT_H

#include "base/mailbox.h"
#include "core/config.h"
#include "io/store.h"

struct ops_transport {
    const struct config *config;
    const char *token; /* for the ops listener; NULL: none */
    void *curl;        /* once it is known that a service answers */
    struct mailbox box;
    bool box_made;
    struct store *store; /* once it was opened here */
};

/* Takes no resources yet.  The token is UNSTREAM_OPS_TOKEN of the source's environment. */
void ops_transport_init(struct ops_transport *transport, const struct config *config,
                        const struct config_source *source);
void ops_transport_done(struct ops_transport *transport);
/* Ask the service: POST `body`, or without one (NULL) GET; appends the reply of a 200.  E_CLOSED:
 * there is no ops_listen, or nobody listens there.  E_NOT_FOUND: 404; E_INVALID: the request was
 * refused otherwise; E_IO: the service failed; `problem` says why.  E_NOMEM. */
MUST_CHECK enum rc ops_transport_ask(struct ops_transport *transport, const char *path,
                                     struct buf *body, struct buf *reply, struct buf *problem);
/* Open the store, if it is not yet.  E_INVALID: it is not there, or refused; E_IO; `problem` says
 * why.  E_NOMEM. */
MUST_CHECK enum rc ops_transport_open_store(struct ops_transport *transport,
                                            struct buf *problem);
/* Run the store's callbacks until one of them sets *came. */
void ops_transport_wait(struct ops_transport *transport, const bool *came);

#endif
