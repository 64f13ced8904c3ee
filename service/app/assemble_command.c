#include "app/assemble_command.h"
#include "core/assemble.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

enum { EX_NO_ANSWER = 3 };
/* The service's default limits. */
enum { READ_BYTES = 65536, CHOICES_MAX = 1024, LIMIT_BYTES = 32 * 1024 * 1024 };

static const char usage[] =
    "usage: unstream assemble chat|responses|messages [--chunk N] [--n N] < stream.sse\n";

struct command {
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

static bool parse_command(int argc, char **argv, struct command *ret)
{
    uint64_t chunk = READ_BYTES, choices = 1;
    enum api api;
    if (argc < 2 || !api_from_name(span_of(argv[1]), &api) || api == API_SIMPLE)
        return false;
    for (int i = 2; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        bool good = strcmp(argv[i], "--chunk") == 0 ? parse_count(value, LIMIT_BYTES, &chunk)
                    : strcmp(argv[i], "--n") == 0   ? parse_count(value, CHOICES_MAX, &choices)
                                                    : false;
        if (!good)
            return false;
    }
    *ret = (struct command){{.api = api,
                             .choices = (unsigned)choices,
                             .failed_is_body = true,
                             .event_bytes_max = LIMIT_BYTES,
                             .answer_bytes_max = LIMIT_BYTES},
                            chunk};
    return true;
}

/* Feed standard input.  E_IO: it could not be read. */
static enum rc feed_input(struct assemble *assembler, size_t chunk_bytes,
                          enum assemble_state *ret_state)
{
    enum assemble_state state = ASSEMBLE_MORE;
    size_t n;
    char *bytes = malloc(chunk_bytes);
    if (!bytes)
        return E_NOMEM;
    while (state == ASSEMBLE_MORE && (n = fread(bytes, 1, chunk_bytes, stdin)) > 0)
        state = assemble_feed(assembler, (struct span){bytes, n});
    free(bytes);
    if (ferror(stdin))
        return E_IO;
    *ret_state = state == ASSEMBLE_MORE ? assemble_end(assembler) : state;
    return OK;
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
    struct command command;
    enum assemble_state state;
    if (!parse_command(argc, argv, &command)) {
        (void)fputs(usage, stderr);
        return EX_USAGE;
    }
    OWNED(assemble) assembler = assemble_new(&command.params);
    enum rc rc = assembler ? feed_input(assembler, command.chunk_bytes, &state) : E_NOMEM;
    if (rc == OK && !print_result(assembler, state))
        rc = E_IO;
    if (rc != OK) {
        (void)fprintf(stderr, "unstream assemble: %s\n", rc_text(rc));
        return EX_SOFTWARE;
    }
    return state == ASSEMBLE_COMPLETE ? EX_OK : EX_NO_ANSWER;
}
