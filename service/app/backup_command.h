/* unstream backup FILE [--config FILE]: a copy of the configured store, while the service runs
 * or not.  Thread: the main one. */
#ifndef APP_BACKUP_COMMAND_H
#define APP_BACKUP_COMMAND_H

#include "core/config.h"

/* `argv` begins with the word "backup"; `arguments` are those before it.  Returns the exit
 * code: EX_OK, EX_USAGE, EX_CONFIG (refused), EX_SOFTWARE. */
int backup_command(const struct config_source *source, struct config_arguments arguments,
                   int argc, char **argv);

#endif
