/* Listening sockets that were opened before the process was started, by systemd's protocol
 * (sd_listen_fds(3)): descriptors 3, 4 ...; LISTEN_FDS says how many, LISTEN_PID for whom, and
 * LISTEN_FDNAMES what they are called.  One called "ops" is for operators, all others for clients.
 * Who opened them keeps them open, so that connections wait there while the service restarts.
 * Thread: the main one, before others start. */
#ifndef IO_HTTP_INHERITED_H
#define IO_HTTP_INHERITED_H

#include "base/buf.h"

enum {
    HTTP_INHERITED_MAX = 17, /* CONFIG_LISTEN_MAX for clients and one for operators */
    HTTP_INHERITED_FIRST_FD = 3,
    HTTP_INHERITED_ADDRESS_MAX = 160,
};

/* In struct config_arguments' spelling, as the configuration is to be checked with where they
 * really listen. */
struct http_inherited {
    size_t count; /* for clients */
    int sockets[HTTP_INHERITED_MAX];
    struct span addresses[HTTP_INHERITED_MAX]; /* into text */
    int ops_socket;                            /* -1: none */
    struct span ops_address;                   /* into text; absent: none */
    char text[HTTP_INHERITED_MAX][HTTP_INHERITED_ADDRESS_MAX];
};

/* Fills in *ret, which must stay where it is, and takes the three variables out of the environment.
 * Without them, or when they are for another process, there are no sockets.  E_INVALID: a variable
 * that cannot be read, over HTTP_INHERITED_MAX sockets, one that is no listening stream socket, or
 * two called "ops"; `problem` gets a line with the remedy. */
MUST_CHECK enum rc http_inherited_take(struct http_inherited *ret, struct buf *problem);

#endif
