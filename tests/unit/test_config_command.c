#include "test.h"
#include "config_fixture.h"

#include "app/config_command.h"

#include <unistd.h>

/* What a command wrote to one of its streams. */
struct capture {
    char *text;
    size_t n;
    FILE *file;
};

static void capture_open(struct capture *capture)
{
    capture->file = open_memstream(&capture->text, &capture->n);
    assert_non_null(capture->file);
}

static void capture_done(struct capture *capture)
{
    assert_int_equal(fclose(capture->file), 0);
    free(capture->text);
}

static const char *captured(struct capture *capture)
{
    assert_int_equal(fflush(capture->file), 0);
    return capture->text;
}

TEST(config_command, check_tells_how_every_upstream_is_reached)
{
    FIXTURE(f);
    struct capture out, err;
    capture_open(&out);
    capture_open(&err);
    struct config_source source = fixture_source(&f);
    fixture_set(f.variables, "HOME", "/home/u");
    fixture_set(f.variables, "OPENAI_API_KEY", "sk-1");
    fixture_set(f.variables, "HTTPS_PROXY", "http://user:SECRET@proxy:3128");
    fixture_set(f.variables, "NO_PROXY", "anthropic.com");
    fixture_set(f.variables, "SSL_CERT_FILE", "/ca.pem");
    assert_int_equal(config_check_command(&source, &f.arguments, out.file, err.file), 0);
    assert_string_equal(captured(&err), "");
    assert_string_equal(captured(&out),
                        "listen         127.0.0.1:8080 [::1]:8080\n"
                        "store          sqlite:/home/u/.local/state/unstream/unstream.db\n"
                        "upstream openai\n"
                        "  base URL     https://api.openai.com/v1\n"
                        "  provider     openai\n"
                        "  credential   configured, sent as Authorization: Bearer\n"
                        "  proxy        http://proxy:3128 (HTTPS_PROXY)\n"
                        "  authorities  /ca.pem (SSL_CERT_FILE)\n"
                        "  routes       /v1/chat/completions /v1/responses /api/llm\n"
                        "upstream anthropic\n"
                        "  base URL     https://api.anthropic.com\n"
                        "  provider     anthropic\n"
                        "  credential   none configured; the client's own is passed on\n"
                        "  proxy        none (NO_PROXY)\n"
                        "  authorities  /ca.pem (SSL_CERT_FILE)\n"
                        "  routes       /v1/messages\n");
    capture_done(&out);
    capture_done(&err);
}

TEST(config_command, check_tells_warnings_and_guesses)
{
    FIXTURE(f);
    struct capture out, err;
    capture_open(&out);
    capture_open(&err);
    struct config_source source = fixture_source(&f);
    fixture_set(f.files, FIXTURE_FILE,
                "{\"store\": \"sqlite:/x\", \"listen\": [\"127.0.0.1:1\"], \"upstreams\": "
                "{\"claude\": {\"base_url\": \"https://c\", \"api_key\": \"k\", \"ca_file\": "
                "\"/c.pem\", \"proxy\": \"\"}}, \"routes\": {\"/v1/chat/completions\": false, "
                "\"/v1/responses\": false, \"/v1/messages\": false, \"/api/llm\": false}}");
    f.arguments.file = SPAN(FIXTURE_FILE);
    assert_int_equal(config_check_command(&source, &f.arguments, out.file, err.file), 0);
    assert_string_equal(captured(&err), "");
    assert_string_equal(captured(&out),
                        "unstream.json: upstreams.claude.provider: taken to be \"anthropic\", "
                        "from the name and the URL; set it to be sure\n"
                        "listen         127.0.0.1:1\n"
                        "store          sqlite:/x\n"
                        "upstream claude\n"
                        "  base URL     https://c\n"
                        "  provider     anthropic (guessed from name and URL)\n"
                        "  credential   configured, sent as x-api-key\n"
                        "  proxy        none (the key \"proxy\")\n"
                        "  authorities  /c.pem (the key \"ca_file\")\n"
                        "  routes       none\n");
    capture_done(&out);
    capture_done(&err);
}

TEST(config_command, both_refuse_with_78_and_all_mistakes)
{
    FIXTURE(f);
    struct capture out, err;
    capture_open(&out);
    capture_open(&err);
    struct config_source source = fixture_source(&f);
    f.arguments.file = SPAN("/none.json");
    assert_int_equal(config_check_command(&source, &f.arguments, out.file, err.file), 78);
    assert_int_equal(config_print_command(&source, &f.arguments, out.file, err.file), 78);
    assert_string_equal(captured(&out), "");
    assert_string_equal(captured(&err),
                        "/none.json: the configuration cannot be read: not found\n"
                        "/none.json: the configuration cannot be read: not found\n");
    capture_done(&out);
    capture_done(&err);
}

TEST(config_command, print_prints_json_alone_on_its_output)
{
    FIXTURE(f);
    struct capture out, err;
    capture_open(&out);
    capture_open(&err);
    struct config_source source = fixture_source(&f);
    fixture_set(f.variables, "HOME", "/home/u");
    fixture_set(f.variables, "OPENAI_BASE_URL", "https://x.example");
    assert_int_equal(config_print_command(&source, &f.arguments, out.file, err.file), 0);
    assert_string_equal(captured(&err),
                        "environment: OPENAI_BASE_URL: has no /v1; the base URL "
                        "of an OpenAI SDK ends in /v1\n");
    assert_memory_equal(captured(&out), "{\n  \"listen\": [", 15);
    capture_done(&out);
    capture_done(&err);
}

TEST(config_command, the_real_source_reads_variables_and_files)
{
    char path[] = "/tmp/test_config_command.XXXXXX";
    struct config_source source = config_source_system();
    BUF(text, 16);
    BUF(small, 4);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "12345", 5), 5);
    assert_int_equal(close(fd), 0);
    assert_int_equal(source.read_file(source.context, span_of(path), &text), OK);
    assert_string_equal(buf_text(&text), "12345");
    assert_int_equal(source.read_file(source.context, span_of(path), &small), E_LIMIT);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(source.read_file(source.context, span_of(path), &text), E_NOT_FOUND);
    buf_clear(&text);
    assert_int_equal(source.read_file(source.context, SPAN("/"), &text), E_IO);
    assert_int_equal(setenv("UNSTREAM_TEST_VARIABLE", "value", 1), 0);
    assert_string_equal(source.getenv(source.context, "UNSTREAM_TEST_VARIABLE"), "value");
    assert_int_equal(unsetenv("UNSTREAM_TEST_VARIABLE"), 0);
    assert_null(source.getenv(source.context, "UNSTREAM_TEST_VARIABLE"));
}
