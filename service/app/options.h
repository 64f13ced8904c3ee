/* The command line, as config.h and the manual describe it:
 *
 *     unstream [--config FILE] [--listen ADDR]... [--store URL]
 *              [--check-config] [--print-config] [--version] [--help]
 *     unstream assemble|keys|why|backup|token ...
 *
 * Thread: the main one, before others start (getopt keeps state). */
#ifndef APP_OPTIONS_H
#define APP_OPTIONS_H

#include "core/config.h"
#include "core/config_table.h"

enum options_action {
    OPTIONS_SERVE,
    OPTIONS_CHECK_CONFIG,
    OPTIONS_PRINT_CONFIG,
    OPTIONS_VERSION,
    OPTIONS_HELP,
    OPTIONS_ASSEMBLE,
    OPTIONS_KEYS,
    OPTIONS_WHY,
    OPTIONS_BACKUP,
    OPTIONS_TOKEN
};

struct options {
    enum options_action action;
    struct config_arguments arguments; /* views argv and `listen` below */
    struct span listen[CONFIG_LISTEN_MAX];
    /* ASSEMBLE, KEYS, WHY, BACKUP, TOKEN: its own command line, beginning with the command's word. */
    int command_argc;
    char **command_argv;
};

/* Read the command line into *ret, which must stay where it is as long as it is used.
 * E_INVALID: `problem` has one line that says what to write instead, without a newline; the
 * program then exits with EX_USAGE (64). */
MUST_CHECK enum rc options_parse(int argc, char **argv, struct buf *problem,
                                 struct options *ret);
/* What --help prints; fits a screen of 24 lines and 80 columns. */
const char *options_help(void);

#endif
