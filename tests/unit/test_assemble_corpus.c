/* The recorded streams of ${UNSTREAM_CORPUS}/streams give the same outcome however they are
 * cut. Whether it is the right one is the matter of tests/system/corpus.py. */
#include "assemble_fixture.h"

#include <dirent.h>
#include <stdio.h>

/* Small streams are cut at every byte, others at SPLITS places. */
enum { SMALL_BYTES = 3000, SPLITS = 40, STREAM_MAX = 1 << 20, PATH_LENGTH = 1024 };

static void check_stream(enum api api, const char *path)
{
    BUF(stream, STREAM_MAX);
    BUF(out, STREAM_MAX);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    stream.n = fread(buf_reserve(&stream, STREAM_MAX), 1, STREAM_MAX, file);
    assert_true(feof(file));
    (void)fclose(file);
    struct assemble_params params = fixture_params(api);
    size_t stride = stream.n <= SMALL_BYTES ? 1 : stream.n / SPLITS;
    assemble_every_way(&params, buf_span(&stream), stride, &out);
}

static void check_directory(enum api api, const char *name)
{
    char path[PATH_LENGTH];
    size_t count = 0;
    const char *corpus = getenv("UNSTREAM_CORPUS");
    (void)snprintf(path, sizeof path, "%s/streams/%s", corpus ? corpus : "", name);
    DIR *directory = corpus ? opendir(path) : NULL;
    if (!directory)
        skip();
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof path, "%s/streams/%s/%s", corpus, name, entry->d_name);
        check_stream(api, path);
        count++;
    }
    (void)closedir(directory);
    print_message("%zu streams\n", count);
    assert_true(count > 0);
}

TEST(assemble_corpus, chat_streams_do_not_depend_on_the_cuts)
{
    check_directory(API_CHAT, "openai-chat");
}

TEST(assemble_corpus, messages_streams_do_not_depend_on_the_cuts)
{
    check_directory(API_MESSAGES, "anthropic-messages");
}

TEST(assemble_corpus, responses_streams_do_not_depend_on_the_cuts)
{
    check_directory(API_RESPONSES, "openai-responses");
}
