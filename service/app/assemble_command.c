#include "app/assemble_command.h"
#include "core/assemble.h"

#include <stdio.h>
#include <string.h>

enum { EXIT_FINE = 0, EXIT_NO_ANSWER = 3, EXIT_USAGE_ERROR = 64, EXIT_INTERNAL = 70 };
enum { READ_BYTES = 65536, CHOICES_MAX = 128, LIMIT_BYTES = 32 * 1024 * 1024 };

static const char usage[] =
    "usage: unstream assemble chat|responses|messages [--chunk N] [--n N] < stream.sse\n";

struct options {
    struct assemble_params params;
    size_t chunk_bytes;
};

/* A decimal number of 1..max. */
static bool parse_count(const char *text, uint64_t max, uint64_t *ret)
{
    uint64_t count;
    if (!text || !span_to_u64(span_of(text), &count) || count < 1 || count > max)
        return false;
    *ret = count;
    return true;
}

static bool parse_options(int argc, char **argv, struct options *ret)
{
    uint64_t chunk = READ_BYTES, choices = 1;
    enum api api;
    if (argc < 2 || !api_from_name(span_of(argv[1]), &api) || api == API_SIMPLE)
        return false;
    for (int i = 2; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        bool good = strcmp(argv[i], "--chunk") == 0 ? parse_count(value, READ_BYTES, &chunk)
                    : strcmp(argv[i], "--n") == 0   ? parse_count(value, CHOICES_MAX, &choices)
                                                    : false;
        if (!good)
            return false;
    }
    *ret = (struct options){{.api = api,
                             .choices = (unsigned)choices,
                             .failed_is_body = true,
                             .event_bytes_max = LIMIT_BYTES,
                             .answer_bytes_max = LIMIT_BYTES},
                            chunk};
    return true;
}

/* Feed standard input; false: it could not be read. */
static bool feed_input(struct assemble *assembler, size_t chunk_bytes,
                       enum assemble_state *ret_state)
{
    static char bytes[READ_BYTES];
    enum assemble_state state = ASSEMBLE_MORE;
    size_t n;
    while (state == ASSEMBLE_MORE && (n = fread(bytes, 1, chunk_bytes, stdin)) > 0)
        state = assemble_feed(assembler, (struct span){bytes, n});
    if (ferror(stdin))
        return false;
    *ret_state = state == ASSEMBLE_MORE ? assemble_end(assembler) : state;
    return true;
}

static bool print_result(struct assemble *assembler, enum assemble_state state)
{
    struct buf body;
    if (state == ASSEMBLE_COMPLETE) {
        assemble_take_body(assembler, &body);
        (void)fwrite(body.p, 1, body.n, stdout);
        (void)putchar('\n');
        buf_done(&body);
    } else {
        struct span error = assemble_error(assembler);
        (void)printf("{\"kind\": \"%s\", \"error\": ",
                     assemble_failure_name(assemble_failure(assembler)));
        (void)fwrite(error.p ? error.p : "null", 1, error.p ? error.n : 4, stdout);
        (void)puts("}");
    }
    return fflush(stdout) == 0;
}

int assemble_command(int argc, char **argv)
{
    struct options options;
    enum assemble_state state;
    if (!parse_options(argc, argv, &options)) {
        (void)fputs(usage, stderr);
        return EXIT_USAGE_ERROR;
    }
    OWNED(assemble) assembler = assemble_new(&options.params);
    if (!assembler || !feed_input(assembler, options.chunk_bytes, &state)) {
        (void)fputs(assembler ? "unstream assemble: standard input cannot be read\n"
                              : "unstream assemble: out of memory\n",
                    stderr);
        return EXIT_INTERNAL;
    }
    if (!print_result(assembler, state)) {
        (void)fputs("unstream assemble: standard output cannot be written\n", stderr);
        return EXIT_INTERNAL;
    }
    return state == ASSEMBLE_COMPLETE ? EXIT_FINE : EXIT_NO_ANSWER;
}
