/* Runs a fuzz target over its seeds, as one test of the TAP kind.
 * usage: test_fuzz_MODULE [FILE]...     e.g. a finding of tests/fuzz-run */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>

static void replay_file(const char *path)
{
    BUF(content, FUZZ_BYTES_MAX);
    FILE *file = fopen(path, "rb");
    char *room = buf_reserve(&content, 1 << 20);
    ASSERT(file && room);
    content.n = fread(room, 1, 1 << 20, file);
    ASSERT(feof(file));
    (void)fclose(file);
    printf("# %s\n", path);
    (void)fflush(stdout);
    char *exact = fuzz_copy(buf_span(&content));
    (void)LLVMFuzzerTestOneInput((const uint8_t *)exact, content.n);
    free(exact);
}

/* Returns how many seeds were there. */
static int replay_directory(struct span path)
{
    BUF(name, FUZZ_BYTES_MAX);
    int count = 0;
    buf_add(&name, path);
    DIR *directory = opendir(buf_text(&name));
    ASSERT(directory);
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (entry->d_type != DT_REG)
            continue;
        buf_clear(&name);
        buf_printf(&name, "%.*s/%s", SPAN_ARG(path), entry->d_name);
        replay_file(buf_text(&name));
        count++;
    }
    (void)closedir(directory);
    return count;
}

int main(int argc, char **argv)
{
    int count = argc - 1;
    struct span directories = SPAN(FUZZ_SEEDS);
    for (int i = 1; i < argc; i++)
        replay_file(argv[i]);
    while (argc == 1 && directories.p)
        count += replay_directory(span_cut(&directories, ':'));
    ASSERT(count > 0);
    printf("1..1\nok 1 - " FUZZ_NAME " seeds (%d)\n", count);
    return 0;
}
