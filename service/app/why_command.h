/* unstream why ID [--json] [--config FILE]
 *
 * What became of a flight, or is becoming, and when: asks the running service at its ops listener
 * (token: UNSTREAM_OPS_TOKEN) or, when none answers there, the store, which only knows the end.
 * Thread: the main one, before others start. */
#ifndef APP_WHY_COMMAND_H
#define APP_WHY_COMMAND_H

#include "core/config.h"

/* `argv` begins with the word "why"; `arguments` are those before it.  Returns the exit code:
 * EX_OK, 1 (no such flight), EX_USAGE, EX_CONFIG (refused), EX_SOFTWARE. */
int why_command(const struct config_source *source, struct config_arguments arguments, int argc,
                char **argv);

#endif
