#include "app/options.h"

#include "core/config_suggest.h"

#include <getopt.h>
#include <string.h>

enum { OPTION_CONFIG = 256, OPTION_LISTEN, OPTION_STORE, OPTION_CHECK, OPTION_PRINT };

static const struct option long_options[] = {
    {"config", required_argument, NULL, OPTION_CONFIG},
    {"listen", required_argument, NULL, OPTION_LISTEN},
    {"store", required_argument, NULL, OPTION_STORE},
    {"check-config", no_argument, NULL, OPTION_CHECK},
    {"print-config", no_argument, NULL, OPTION_PRINT},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

const char *options_help(void)
{
    return "unstream - plain JSON calls to language models, streamed upstream\n"
           "\n"
           "  unstream [OPTION]...           serve, configured by file or environment\n"
           "  unstream assemble chat|responses|messages [--chunk N] [--n N]\n"
           "                                 print the body of the stream on stdin\n"
           "  unstream keys list|show|release|purge ...      idempotency keys\n"
           "  unstream why ID                what happened to a request, and when\n"
           "  unstream backup FILE           copy the store, also of a running service\n"
           "  unstream token NAME            a new token for a client, and its entry\n"
           "\n"
           "  --config FILE      JSON with // comments (else $UNSTREAM_CONFIG)\n"
           "  --listen ADDR      host:port, [v6]:port or unix:/path; may be repeated\n"
           "  --store URL        sqlite:/path/to/unstream.db\n"
           "  --check-config     tell every mistake and how upstreams are reached\n"
           "  --print-config     print the complete configuration, secrets masked\n"
           "  --version          print the version\n"
           "  --help             print this\n"
           "\n"
           "Without a file: OPENAI_API_KEY, ANTHROPIC_API_KEY, OPENAI_BASE_URL,\n"
           "ANTHROPIC_BASE_URL (UNSTREAM_OPENAI_BASE_URL and\n"
           "UNSTREAM_ANTHROPIC_BASE_URL win), UNSTREAM_LISTEN, UNSTREAM_STORE,\n"
           "UNSTREAM_TOKEN, UNSTREAM_OPEN=1.\n"
           "\n"
           "Exit codes: 0 fine, 64 usage, 70 internal, 78 configuration or store refused.\n";
}

static enum rc refuse(struct buf *problem, const char *format, ...) PRINTF_LIKE(2, 3);
static enum rc refuse(struct buf *problem, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    buf_vprintf(problem, format, arguments);
    va_end(arguments);
    return E_INVALID;
}

static enum rc refuse_option(struct buf *problem, const char *argument)
{
    struct span name = span_of(argument);
    while (span_starts(name, "-"))
        name = span_from(name, 1);
    struct suggestion near = suggestion_for(span_cut(&name, '='));
    for (const struct option *option = long_options; option->name; option++)
        suggestion_offer(&near, span_of(option->name));
    if (near.best.p)
        return refuse(problem, "unknown option %s, did you mean --%s?", argument, near.best.p);
    return refuse(problem, "unknown option %s; unstream --help shows all", argument);
}

static enum rc choose(struct options *options, enum options_action action, struct buf *problem)
{
    if (options->action != OPTIONS_SERVE && options->action != action)
        return refuse(problem, "choose one of --check-config and --print-config");
    options->action = action;
    return OK;
}

static enum rc add_listen(struct options *options, struct span address, struct buf *problem)
{
    struct span_list *list = &options->arguments.listen;
    if (list->count == CONFIG_LISTEN_MAX)
        return refuse(problem, "--listen may be given %d times at most", CONFIG_LISTEN_MAX);
    options->listen[list->count++] = address;
    list->items = options->listen;
    return OK;
}

static enum rc take_option(struct options *options, int option, const char *argument,
                           struct buf *problem)
{
    if (optarg && !*optarg)
        return refuse(problem, "%s needs a value that is not empty", argument);
    switch (option) {
    case OPTION_CONFIG:
        options->arguments.file = span_of(optarg);
        return OK;
    case OPTION_LISTEN:
        return add_listen(options, span_of(optarg), problem);
    case OPTION_STORE:
        options->arguments.store = span_of(optarg);
        return OK;
    case OPTION_CHECK:
        return choose(options, OPTIONS_CHECK_CONFIG, problem);
    case OPTION_PRINT:
        return choose(options, OPTIONS_PRINT_CONFIG, problem);
    case ':':
        return refuse(problem, "%s needs a value; unstream --help shows all", argument);
    default:
        return refuse_option(problem, argument);
    }
}

static enum rc take_command(struct options *options, int argc, char **argv, struct buf *problem)
{
    static const struct {
        const char *name;
        enum options_action action;
    } commands[] = {{"assemble", OPTIONS_ASSEMBLE},
                    {"keys", OPTIONS_KEYS},
                    {"why", OPTIONS_WHY},
                    {"backup", OPTIONS_BACKUP},
                    {"token", OPTIONS_TOKEN}};
    for (size_t i = 0; i < COUNT_OF(commands); i++)
        if (strcmp(argv[0], commands[i].name) == 0) {
            options->action = commands[i].action;
            options->command_argc = argc;
            options->command_argv = argv;
            return OK;
        }
    return refuse(problem, "unknown command %s; unstream --help shows all", argv[0]);
}

static enum rc parse(int argc, char **argv, struct buf *problem, struct options *options)
{
    opterr = 0;
    optind = 0; /* glibc: begin anew */
    for (;;) {
        int at = optind ? optind : 1;
        int option = getopt_long(argc, argv, "+:hV", long_options, NULL);
        if (option == -1)
            break;
        if (option == 'h' || option == 'V') {
            options->action = option == 'h' ? OPTIONS_HELP : OPTIONS_VERSION;
            return OK;
        }
        enum rc rc = take_option(options, option, argv[at], problem);
        if (rc != OK)
            return rc;
    }
    return optind < argc ? take_command(options, argc - optind, argv + optind, problem) : OK;
}

enum rc options_parse(int argc, char **argv, struct buf *problem, struct options *ret)
{
    struct options options = {.action = OPTIONS_SERVE};
    enum rc rc = parse(argc, argv, problem, &options);
    if (rc != OK)
        return rc;
    *ret = options;
    ret->arguments.listen.items = ret->listen;
    return OK;
}
