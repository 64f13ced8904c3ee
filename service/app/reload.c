#include "app/reload.h"

enum { PROBLEMS_BYTES_MAX = 1 << 20 };

static void log_lines(const struct log *log, enum log_level level, const char *event,
                      struct span lines)
{
    while (lines.n)
        log_message(log, level, event, span_cut(&lines, '\n'));
}

void reload_log_warnings(const struct log *log, struct span lines)
{
    log_lines(log, LOG_LEVEL_WARNING, "configuration", lines);
}

enum rc reload_config(const struct reload *reload, const struct config *running,
                      struct config **ret)
{
    BUF(problems, PROBLEMS_BYTES_MAX);
    struct config_arguments arguments = reload->arguments;
    arguments.running = running;
    enum rc rc = config_load(&reload->source, &arguments, &problems, ret);
    if (rc == OK)
        reload_log_warnings(reload->log, buf_span(&problems));
    else if (rc == E_INVALID)
        log_lines(reload->log, LOG_LEVEL_ERROR, "configuration_refused", buf_span(&problems));
    return rc;
}
