/* The configuration, read at the start and again at each SIGHUP.  Files are read in the calling
 * thread, which a slow disk holds up.  Thread: the main one, which becomes the loop. */
#ifndef APP_RELOAD_H
#define APP_RELOAD_H

#include "core/config.h"
#include "io/log.h"

/* Where it comes from; what the arguments view must outlive this. */
struct reload {
    struct config_source source;
    struct config_arguments arguments;
    const struct log *log;
};

/* Each warning of a configuration as a log line of its own. */
void reload_log_warnings(const struct log *log, struct span lines);
/* Read it again, as the next configuration of a service that runs with `running`.  E_INVALID: it is
 * refused; E_NOMEM.  Warnings and problems are logged, a line each. */
MUST_CHECK enum rc reload_config(const struct reload *reload, const struct config *running,
                                 struct config **ret);

#endif
