/* --check-config and --print-config, and where the real configuration comes from.
 * Thread: the main one. */
#ifndef APP_CONFIG_COMMAND_H
#define APP_CONFIG_COMMAND_H

#include "core/config.h"

#include <stdio.h>

/* getenv and files.  Files over the limit of the buffer they are read into are E_LIMIT, missing
 * ones E_NOT_FOUND, others E_IO. */
struct config_source config_source_system(void);

/* Tells every mistake on `err` (EX_CONFIG, 78), or every warning and how each upstream is
 * reached on `out` (0).  EX_SOFTWARE (70): out of memory. */
int config_check_command(const struct config_source *source,
                         const struct config_arguments *arguments, FILE *out, FILE *err);
/* Prints the complete configuration on `out`, warnings and mistakes on `err`; same results. */
int config_print_command(const struct config_source *source,
                         const struct config_arguments *arguments, FILE *out, FILE *err);

#endif
