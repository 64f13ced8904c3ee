/* Running the service: from a checked configuration to a drained exit.  Thread: the main one,
 * which becomes the loop. */
#ifndef APP_SERVE_H
#define APP_SERVE_H

#include "app/reload.h"
#include "io/http_inherited.h"
#include "io/notify.h"

struct serve_params {
    struct config *config; /* of the start; the reference is taken over */
    struct log *log;       /* level and format follow the configuration */
    struct reload reload;
    const struct http_inherited *inherited; /* the addresses stand in the configuration */
    const struct notify *notify;            /* systemd gets to know what happens */
};

/* Serves until SIGTERM or SIGINT, then drains: new work is refused, what runs is finished, at
 * most drain_s long; a second signal ends the draining.  SIGHUP reads the configuration again:
 * running flights keep the one they began with, and one that is refused changes nothing.  Returns an exit code: 0, EX_CONFIG
 * (78: listener or store refused, the log says why and what to do), EX_SOFTWARE (70). */
int serve(const struct serve_params *params);

#endif
