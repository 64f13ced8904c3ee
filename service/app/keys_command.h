/* unstream keys list|show|release|purge [--client NAME] [--key KEY] [--digest HEX]
 *     [--older-than SECONDS] [--config FILE]
 *
 * Talks to the ops listener of the running service (token: UNSTREAM_OPS_TOKEN) or, when none
 * answers there, opens the store itself.  Prints neither keys nor credentials.  Thread: the main
 * one, before others start. */
#ifndef APP_KEYS_COMMAND_H
#define APP_KEYS_COMMAND_H

#include "core/config.h"

/* `argv` begins with the word "keys"; `arguments` are those before it.  Returns the exit code:
 * EX_OK, 1 (show: no such key), EX_USAGE, EX_CONFIG (refused), EX_SOFTWARE. */
int keys_command(const struct config_source *source, struct config_arguments arguments,
                 int argc, char **argv);

#endif
