/* unstream: complete JSON answers for clients that cannot stream, from providers that do. */
#include "app/assemble_command.h"
#include "app/backup_command.h"
#include "app/config_command.h"
#include "app/keys_command.h"
#include "app/options.h"
#include "app/serve.h"
#include "app/token_command.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

enum { PROBLEMS_BYTES_MAX = 65536 };

static int serve_command(const struct options *options)
{
    const struct config_source source = config_source_system();
    BUF(problems, PROBLEMS_BYTES_MAX);
    struct config *loaded;
    enum rc rc = config_load(&source, &options->arguments, &problems, &loaded);
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
        .config = config,
        .log = &log,
        .reload = {.source = source, .arguments = options->arguments, .log = &log},
    };
    int status = serve(&params);
    curl_global_cleanup();
    return status;
}

int main(int argc, char **argv)
{
    struct options options;
    BUF(problem, PROBLEMS_BYTES_MAX);
    const struct config_source source = config_source_system();
    if (options_parse(argc, argv, &problem, &options) != OK) {
        (void)fprintf(stderr, "unstream: %s\n", buf_text(&problem));
        return EX_USAGE;
    }
    switch (options.action) {
    case OPTIONS_SERVE:
        return serve_command(&options);
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
    case OPTIONS_TOKEN:
        return token_command(options.command_argc, options.command_argv, stdout, stderr);
    }
    return EX_SOFTWARE;
}
