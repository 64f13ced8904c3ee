/* How `unstream keys` reaches the store: through the running service, or by opening it.
 * Blocks; thread: the main one. */
#ifndef APP_KEYS_TRANSPORT_H
#define APP_KEYS_TRANSPORT_H

#include "base/mailbox.h"
#include "core/config.h"
#include "io/store.h"

struct keys_transport {
    const struct config *config;
    const char *token; /* for the ops listener; NULL: none */
    void *curl;        /* once it is known that a service answers */
    struct mailbox box;
    bool box_made;
    struct store *store; /* once it was opened here */
};

/* Takes no resources yet. */
void keys_transport_init(struct keys_transport *transport, const struct config *config,
                         const char *token);
void keys_transport_done(struct keys_transport *transport);
/* Sends one request (app/ops_keys.h) and appends its reply.  E_INVALID: the request, or the
 * store, was refused; E_IO: the service or the store failed; `problem` says why.  E_NOMEM. */
MUST_CHECK enum rc keys_transport_send(struct keys_transport *transport, struct span verb,
                                       struct buf *request, struct buf *reply,
                                       struct buf *problem);

#endif
