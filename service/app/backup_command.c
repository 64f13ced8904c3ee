#include "app/backup_command.h"

#include "io/store_sqlite.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

enum { PROBLEM_BYTES_MAX = 65536 };

static const char usage[] = "usage: unstream backup FILE [--config FILE]\n";

static bool parse(int argc, char **argv, struct config_arguments *arguments, struct span *file)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc)
            arguments->file = span_of(argv[++i]);
        else if (argv[i][0] != '-' && argv[i][0] != '\0' && !file->p)
            *file = span_of(argv[i]);
        else
            return false;
    }
    return file->p != NULL;
}

int backup_command(const struct config_source *source, struct config_arguments arguments,
                   int argc, char **argv)
{
    BUF(problem, PROBLEM_BYTES_MAX);
    OWNED(config) config = NULL;
    struct span file = SPAN_ABSENT;
    if (!parse(argc, argv, &arguments, &file)) {
        (void)fputs(usage, stderr);
        return EX_USAGE;
    }
    enum rc rc = config_load(source, &arguments, &problem, &config);
    if (rc == OK) {
        buf_clear(&problem); /* warnings are for those who serve */
        rc =
            store_sqlite_backup(span_from(config->store, sizeof "sqlite:" - 1), file, &problem);
    }
    if (rc == OK)
        return EX_OK;
    (void)fprintf(stderr, "unstream backup: %s\n",
                  problem.n ? buf_text(&problem) : rc_text(rc));
    return rc == E_INVALID ? EX_CONFIG : EX_SOFTWARE;
}
