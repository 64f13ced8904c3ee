/* Listening sockets of the HTTP front.  Thread: any. */
#ifndef IO_HTTP_LISTEN_H
#define IO_HTTP_LISTEN_H

#include "base/buf.h"

/* Bind and listen: "127.0.0.1:8080", "[::1]:8080" (IPv6 only, so that both can stand side by
 * side), "localhost:8080" (its first address), "unix:/path" (a socket file that nobody listens
 * on any more is replaced; its permissions are the umask's).  *ret is a non-blocking descriptor
 * that the caller owns.  E_INVALID: the address cannot be read; E_NOT_FOUND: this machine has no
 * such address, or not its family; E_IO: the system refused.  All append a line with the address,
 * the reason and the remedy to `problem`. */
MUST_CHECK enum rc http_listen_open(struct span address, struct buf *problem, int *ret);
/* Whether a descriptor of http_listen_open is a unix socket. */
bool http_listen_is_unix(int fd);
/* The address a descriptor is bound to, in the same spelling, with the real port; an abstract unix
 * name as "unix:@name". */
void http_listen_print(int fd, struct buf *out);
/* Close it and take the socket file of a unix address away. */
void http_listen_close(int fd);

#endif
