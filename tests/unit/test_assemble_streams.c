/* tests/streams/API/NAME.sse with the body NAME.json it must give, or NAME.error.json: the
 * `{"kind", "error"}` of its failure.  Compared as JSON values (canonical form), after every
 * stream was cut in two at every byte, and byte by byte.
 *
 * The recorded streams of ${UNSTREAM_CORPUS}/streams must give the same outcome however they
 * are cut; whether it is the right one is the matter of tests/system/corpus.py. */
#include "assemble_fixture.h"
#include "core/canonical.h"

#include <dirent.h>
#include <stdio.h>

/* Recorded streams up to SMALL_BYTES are cut at every byte, others at SPLITS places. */
enum { SMALL_BYTES = 3000, SPLITS = 40, PATH_LENGTH = 1024 };

static bool read_file(const char *path, struct buf *out)
{
    FILE *file = fopen(path, "r");
    if (!file)
        return false;
    char *room = buf_reserve(out, 1 << 20);
    assert_non_null(room);
    out->n = fread(room, 1, 1 << 20, file);
    assert_true(feof(file));
    (void)fclose(file);
    return true;
}

static void add_canonical(struct span text, const char *path, struct buf *out)
{
    struct json_refusal refusal;
    if (canonical_json(text, NULL, out, &refusal) != OK)
        fail_msg("%s: not canonical JSON: %.*s", path, SPAN_ARG(text));
}

static void check_stream(enum api api, const char *directory, struct span name)
{
    BUF(path, 4096);
    BUF(stream, 1 << 21);
    BUF(expected, 1 << 21);
    BUF(got, 1 << 21);
    BUF(want_canonical, 1 << 21);
    BUF(got_canonical, 1 << 21);
    buf_printf(&path, "%s/%.*s.sse", directory, SPAN_ARG(name));
    assert_true(read_file(buf_text(&path), &stream));
    buf_clear(&path);
    buf_printf(&path, "%s/%.*s.json", directory, SPAN_ARG(name));
    if (!read_file(buf_text(&path), &expected)) {
        buf_clear(&path);
        buf_printf(&path, "%s/%.*s.error.json", directory, SPAN_ARG(name));
        assert_true(read_file(buf_text(&path), &expected));
    }
    struct assemble_params params = fixture_params(api);
    assemble_every_way(&params, buf_span(&stream), 1, &got);
    add_canonical(buf_span(&expected), buf_text(&path), &want_canonical);
    add_canonical(buf_span(&got), buf_text(&path), &got_canonical);
    if (!span_eq(buf_span(&want_canonical), buf_span(&got_canonical)))
        fail_msg("%s\nwant %s\ngot  %s", buf_text(&path), buf_text(&want_canonical),
                 buf_text(&got_canonical));
}

static void check_directory(enum api api)
{
    BUF(path, 4096);
    size_t count = 0;
    buf_printf(&path, SOURCE_DIR "/tests/streams/%s", api_name(api));
    DIR *directory = opendir(buf_text(&path));
    assert_non_null(directory);
    for (struct dirent *entry; (entry = readdir(directory));) {
        struct span name = span_of(entry->d_name);
        if (!span_ends(name, ".sse"))
            continue;
        check_stream(api, buf_text(&path), (struct span){name.p, name.n - 4});
        count++;
    }
    (void)closedir(directory);
    print_message("%zu streams\n", count);
    assert_true(count > 0);
}

/* ---- recorded streams */

static void check_recording(enum api api, const char *path)
{
    BUF(stream, 1 << 21);
    BUF(out, 1 << 21);
    assert_true(read_file(path, &stream));
    struct assemble_params params = fixture_params(api);
    size_t stride = stream.n <= SMALL_BYTES ? 1 : stream.n / SPLITS;
    assemble_every_way(&params, buf_span(&stream), stride, &out);
}

static void check_recordings(enum api api, const char *name)
{
    char path[PATH_LENGTH];
    size_t count = 0;
    const char *corpus = getenv("UNSTREAM_CORPUS");
    (void)snprintf(path, sizeof path, "%s/streams/%s", corpus ? corpus : "", name);
    DIR *directory = corpus ? opendir(path) : NULL;
    if (!directory)
        skip();
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (!span_ends(span_of(entry->d_name), ".sse"))
            continue;
        (void)snprintf(path, sizeof path, "%s/streams/%s/%s", corpus, name, entry->d_name);
        check_recording(api, path);
        count++;
    }
    (void)closedir(directory);
    print_message("%zu recorded streams\n", count);
    assert_true(count > 0);
}

TEST(assemble_streams, recorded_chat_streams_do_not_depend_on_the_cuts)
{
    check_recordings(API_CHAT, "openai-chat");
}

TEST(assemble_streams, recorded_messages_streams_do_not_depend_on_the_cuts)
{
    check_recordings(API_MESSAGES, "anthropic-messages");
}

TEST(assemble_streams, recorded_responses_streams_do_not_depend_on_the_cuts)
{
    check_recordings(API_RESPONSES, "openai-responses");
}

/* ---- the tests of our own streams */

TEST(assemble_streams, chat_streams_give_their_bodies_however_they_are_cut)
{
    check_directory(API_CHAT);
}

TEST(assemble_streams, messages_streams_give_their_bodies_however_they_are_cut)
{
    check_directory(API_MESSAGES);
}

TEST(assemble_streams, responses_streams_give_their_bodies_however_they_are_cut)
{
    check_directory(API_RESPONSES);
}
