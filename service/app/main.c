/* unstream: complete JSON answers for clients that cannot stream, from providers that do. */
#include "app/assemble_command.h"
#include "app/backup_command.h"
#include "app/config_command.h"
#include "app/keys_command.h"
#include "app/options.h"
#include "app/serve.h"
#include "app/token_command.h"
#include "app/why_command.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

enum { PROBLEMS_BYTES_MAX = 65536 };

/* Credentials and answers are in memory: no core dump writes them down, and no other process
 * of this user looks at them (ptrace(2), /proc/PID).  False: the system refused. */
static bool hide_memory(void)
{
    const struct rlimit none = {0, 0};
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 && setrlimit(RLIMIT_CORE, &none) == 0;
}

/* What systemd hands over, before other threads can look at the environment. */
static enum rc take_inherited(struct http_inherited *inherited,
                              struct config_arguments *arguments, struct buf *problems)
{
    enum rc rc = http_inherited_take(inherited, problems);
    if (inherited->count > 0)
        arguments->inherited_listen =
            (struct span_list){inherited->addresses, inherited->count};
    arguments->inherited_ops_listen = inherited->ops_address;
    return rc;
}

static void log_what_failed(const struct log *log, bool hidden, bool notified)
{
    if (!hidden)
        log_message(log, LOG_LEVEL_WARNING, "memory_not_hidden",
                    SPAN("core dumps and debuggers of this user may show credentials: the "
                         "system refused prctl or setrlimit"));
    if (!notified)
        log_message(
            log, LOG_LEVEL_WARNING, "notify_failed",
            SPAN("NOTIFY_SOCKET or WATCHDOG_USEC cannot be used: systemd is told nothing"));
}

static int serve_command(const struct options *options, bool hidden)
{
    const struct config_source source = config_source_system();
    struct config_arguments arguments = options->arguments;
    struct http_inherited inherited;
    struct notify notify;
    BUF(problems, PROBLEMS_BYTES_MAX);
    struct config *loaded;
    enum rc notified = notify_open(&notify);
    enum rc rc = take_inherited(&inherited, &arguments, &problems);
    if (rc == OK)
        rc = config_load(&source, &arguments, &problems, &loaded);
    if (rc != OK) {
        (void)fprintf(stderr, "%.*s", SPAN_ARG(buf_span(&problems)));
        return rc == E_NOMEM ? EX_SOFTWARE : EX_CONFIG;
    }
    OWNED(config) config = loaded;
    struct log log = {
        .fd = STDERR_FILENO, .level = config->log_level, .format = config->log_format};
    reload_log_warnings(&log, buf_span(&problems));
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return EX_SOFTWARE;
    const struct serve_params params = {
        .config = take(config),
        .log = &log,
        .reload = {.source = source, .arguments = arguments, .log = &log},
        .inherited = &inherited,
        .notify = &notify,
    };
    log_what_failed(&log, hidden, notified == OK);
    int status = serve(&params);
    notify_done(&notify);
    curl_global_cleanup();
    return status;
}

int main(int argc, char **argv)
{
    struct options options;
    BUF(problem, PROBLEMS_BYTES_MAX);
    const struct config_source source = config_source_system();
    const bool hidden = hide_memory(); /* first of all: also of what config_load will read */
    if (options_parse(argc, argv, &problem, &options) != OK) {
        (void)fprintf(stderr, "unstream: %s\n", buf_text(&problem));
        return EX_USAGE;
    }
    switch (options.action) {
    case OPTIONS_SERVE:
        return serve_command(&options, hidden);
    case OPTIONS_CHECK_CONFIG:
        return config_check_command(&source, &options.arguments, stdout, stderr);
    case OPTIONS_PRINT_CONFIG:
        return config_print_command(&source, &options.arguments, stdout, stderr);
    case OPTIONS_VERSION:
        (void)puts("unstream " UNSTREAM_VERSION);
        return EX_OK;
    case OPTIONS_HELP:
        (void)fputs(options_help(), stdout);
        return EX_OK;
    case OPTIONS_ASSEMBLE:
        return assemble_command(options.command_argc, options.command_argv);
    case OPTIONS_KEYS:
        return keys_command(&source, options.arguments, options.command_argc,
                            options.command_argv);
    case OPTIONS_BACKUP:
        return backup_command(&source, options.arguments, options.command_argc,
                              options.command_argv);
    case OPTIONS_WHY:
        return why_command(&source, options.arguments, options.command_argc,
                           options.command_argv);
    case OPTIONS_TOKEN:
        return token_command(options.command_argc, options.command_argv, stdout, stderr);
    }
    return EX_SOFTWARE;
}
