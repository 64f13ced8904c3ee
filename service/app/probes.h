/* GET /livez and /readyz, the same on every listener.  Thread: the loop. */
#ifndef APP_PROBES_H
#define APP_PROBES_H

#include "io/http_front.h"

/* Replies if the request is for a probe, and says with which status; false: it is not.
 * ready: new work is taken. */
bool probes_reply(struct http_request *request, bool ready, const char *flight_id,
                  int *ret_status);

#endif
