#include "test.h"

#include "app/options.h"

enum { PROBLEM_BYTES_MAX = 1024, WORDS_MAX = 24 };

/* `words` ends with NULL; the command line is "unstream" and these. */
static enum rc parse(const char *const *words, struct buf *problem, struct options *ret)
{
    static const char *command_line[WORDS_MAX] = {"unstream"};
    static char *argv[WORDS_MAX];
    int argc = 1;
    for (; words[argc - 1]; argc++)
        command_line[argc] = words[argc - 1];
    command_line[argc] = NULL;
    memcpy(argv, command_line, sizeof argv);
    return options_parse(argc, argv, problem, ret);
}

#define PARSE(problem, options, ...)                                                           \
    parse((const char *const[]){__VA_ARGS__, NULL}, problem, options)

#define assert_usage(problem_text, ...)                                                        \
    do {                                                                                       \
        struct options options_ = {.action = OPTIONS_ASSEMBLE};                                \
        BUF(problem_, PROBLEM_BYTES_MAX);                                                      \
        assert_int_equal(PARSE(&problem_, &options_, __VA_ARGS__), E_INVALID);                 \
        assert_string_equal(buf_text(&problem_), problem_text);                                \
        assert_int_equal(options_.action, OPTIONS_ASSEMBLE);                                   \
    } while (0)

TEST(options, without_arguments_it_serves)
{
    struct options options;
    BUF(problem, PROBLEM_BYTES_MAX);
    assert_int_equal(parse((const char *const[]){NULL}, &problem, &options), OK);
    assert_int_equal(options.action, OPTIONS_SERVE);
    assert_null(options.arguments.file.p);
    assert_null(options.arguments.store.p);
    assert_int_equal(options.arguments.listen.count, 0);
}

TEST(options, every_option_is_read)
{
    struct options options;
    BUF(problem, PROBLEM_BYTES_MAX);
    assert_int_equal(PARSE(&problem, &options, "--config", "a.json", "--listen=127.0.0.1:1",
                           "--listen", "[::1]:2", "--store", "sqlite:/x", "--check-config"),
                     OK);
    assert_int_equal(options.action, OPTIONS_CHECK_CONFIG);
    assert_span_equal(options.arguments.file, "a.json");
    assert_span_equal(options.arguments.store, "sqlite:/x");
    assert_int_equal(options.arguments.listen.count, 2);
    assert_ptr_equal(options.arguments.listen.items, options.listen);
    assert_span_equal(options.arguments.listen.items[0], "127.0.0.1:1");
    assert_span_equal(options.arguments.listen.items[1], "[::1]:2");
    assert_int_equal(PARSE(&problem, &options, "--print-config"), OK);
    assert_int_equal(options.action, OPTIONS_PRINT_CONFIG);
    assert_int_equal(PARSE(&problem, &options, "--version", "--nonsense"), OK);
    assert_int_equal(options.action, OPTIONS_VERSION);
    assert_int_equal(PARSE(&problem, &options, "--help"), OK);
    assert_int_equal(options.action, OPTIONS_HELP);
    assert_int_equal(PARSE(&problem, &options, "-h"), OK);
    assert_int_equal(options.action, OPTIONS_HELP);
}

TEST(options, assemble_gets_its_own_command_line)
{
    struct options options;
    BUF(problem, PROBLEM_BYTES_MAX);
    assert_int_equal(PARSE(&problem, &options, "assemble", "chat", "--chunk", "1"), OK);
    assert_int_equal(options.action, OPTIONS_ASSEMBLE);
    assert_int_equal(options.command_argc, 4);
    assert_string_equal(options.command_argv[0], "assemble");
    assert_string_equal(options.command_argv[3], "1");
    assert_null(options.command_argv[4]);
}

TEST(options, keys_and_backup_get_theirs_behind_our_options)
{
    struct options options;
    BUF(problem, PROBLEM_BYTES_MAX);
    assert_int_equal(PARSE(&problem, &options, "--config", "a.json", "keys", "list"), OK);
    assert_int_equal(options.action, OPTIONS_KEYS);
    assert_span_equal(options.arguments.file, "a.json");
    assert_int_equal(options.command_argc, 2);
    assert_string_equal(options.command_argv[1], "list");
    assert_int_equal(PARSE(&problem, &options, "why", "--json"), OK);
    assert_int_equal(options.action, OPTIONS_WHY);
    assert_int_equal(PARSE(&problem, &options, "backup", "b.db"), OK);
    assert_int_equal(options.action, OPTIONS_BACKUP);
    assert_string_equal(options.command_argv[1], "b.db");
    assert_int_equal(PARSE(&problem, &options, "token", "billing"), OK);
    assert_int_equal(options.action, OPTIONS_TOKEN);
    assert_string_equal(options.command_argv[1], "billing");
}

TEST(options, what_is_unknown_is_told_in_one_line)
{
    assert_usage("unknown option --stroe, did you mean --store?", "--stroe", "x");
    assert_usage("unknown option --listne=a, did you mean --listen?", "--listne=a");
    assert_usage("unknown option --qqqqqqqqq; unstream --help shows all", "--qqqqqqqqq");
    assert_usage("unknown option -x; unstream --help shows all", "-x");
    assert_usage("unknown command serve; unstream --help shows all", "serve");
    assert_usage("--store needs a value; unstream --help shows all", "--store");
    assert_usage("--config needs a value that is not empty", "--config", "");
    assert_usage("choose one of --check-config and --print-config", "--check-config",
                 "--print-config");
}

TEST(options, sixteen_listeners_are_fine_and_seventeen_are_not)
{
    struct options options;
    BUF(problem, PROBLEM_BYTES_MAX);
    assert_int_equal(PARSE(&problem, &options, "--listen=1", "--listen=2", "--listen=3",
                           "--listen=4", "--listen=5", "--listen=6", "--listen=7", "--listen=8",
                           "--listen=9", "--listen=10", "--listen=11", "--listen=12",
                           "--listen=13", "--listen=14", "--listen=15", "--listen=16"),
                     OK);
    assert_int_equal(options.arguments.listen.count, 16);
    assert_usage("--listen may be given 16 times at most", "--listen=1", "--listen=2",
                 "--listen=3", "--listen=4", "--listen=5", "--listen=6", "--listen=7",
                 "--listen=8", "--listen=9", "--listen=10", "--listen=11", "--listen=12",
                 "--listen=13", "--listen=14", "--listen=15", "--listen=16", "--listen=17");
}

TEST(options, the_help_fits_a_screen)
{
    struct span rest = span_of(options_help());
    size_t lines = 0;
    while (rest.p && rest.n) {
        assert_true(span_cut(&rest, '\n').n <= 80);
        lines++;
    }
    assert_true(lines >= 10);
    assert_true(lines <= 24);
}
