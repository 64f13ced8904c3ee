/* Running the service: from a checked configuration to a drained exit.  Thread: the main one,
 * which becomes the loop. */
#ifndef APP_SERVE_H
#define APP_SERVE_H

#include "core/config.h"
#include "io/log.h"

/* Serves until SIGTERM or SIGINT, then drains: new work is refused, what runs is finished, at
 * most drain_s long; a second signal ends the draining.  Returns an exit code: 0, EX_CONFIG
 * (78: listener or store refused, the log says why and what to do), EX_SOFTWARE (70). */
int serve(struct config *config, const struct log *log);

#endif
