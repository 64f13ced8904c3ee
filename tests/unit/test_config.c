#include "test.h"
#include "config_fixture.h"

/* ---- the file as a text */

TEST(config, an_empty_file_is_the_zero_configuration)
{
    FIXTURE(f);
    fixture_set(f.variables, "OPENAI_API_KEY", "sk-1");
    assert_warns(&f, "{}", "");
    assert_span_equal(f.config->upstreams[0].api_key, "sk-1");
    assert_int_equal(f.config->listen.count, 2);
}

TEST(config, the_file_is_named_by_the_command_line_or_the_environment)
{
    FIXTURE(f);
    fixture_set(f.files, "/etc/a.json", "{\"upstream_threads\": 2}");
    fixture_set(f.files, "/etc/b.json", "{\"upstream_threads\": 3}");
    fixture_set(f.variables, "UNSTREAM_CONFIG", "/etc/a.json");
    assert_int_equal(fixture_load(&f), OK);
    assert_int_equal(f.config->upstream_threads, 2);
    f.arguments.file = SPAN("/etc/b.json");
    assert_int_equal(fixture_load(&f), OK);
    assert_int_equal(f.config->upstream_threads, 3);
}

TEST(config, a_file_that_is_not_there_is_refused)
{
    FIXTURE(f);
    f.arguments.file = SPAN("/etc/none.json");
    assert_int_equal(fixture_load(&f), E_INVALID);
    assert_string_equal(fixture_problems(&f),
                        "/etc/none.json: the configuration cannot be read: not found\n");
}

TEST(config, comments_are_taken_out_but_not_from_strings)
{
    FIXTURE(f);
    assert_warns(&f,
                 "// head\n"
                 "{ // \"listen\": 1\n"
                 "  \"$schema\": \"https://x.example/s.json\", // a \" quote\n"
                 "  \"store\": \"sqlite:/a//b\\\"//c\" // end\n"
                 "}\n// tail",
                 "");
    assert_span_equal(f.config->store, "sqlite:/a//b\"//c");
}

TEST(config, a_syntax_error_names_line_and_column)
{
    FIXTURE(f);
    assert_refused(&f, "{\n  // comment\n  \"open\": tru\n}",
                   "unstream.json: line 3, column 11: a value was expected\n");
    assert_refused(&f, "", "unstream.json: line 1, column 1: the text ends too early\n");
    assert_refused(&f, "[]", "unstream.json: line 1, column 1: an object was expected\n");
    assert_refused(&f, "{} x",
                   "unstream.json: line 1, column 4: something follows the JSON text\n");
    assert_refused(&f, "{\"store\": \"a\\u0000b\"}",
                   "unstream.json: line 1, column 13: no value may hold a NUL\n");
    assert_refused(&f, "{ /* no */ }",
                   "unstream.json: line 1, column 3: a member name in double quotes was "
                   "expected\n");
}

TEST(config, a_byte_order_mark_does_no_harm)
{
    FIXTURE(f);
    assert_warns(&f, "\xEF\xBB\xBF{}", "");
}

TEST(config, a_key_that_stands_twice_is_refused)
{
    FIXTURE(f);
    assert_refused(&f,
                   "{\"open\": false, \"limits\": {\"queue_max\": 1000, \"queue_max\": 1000},"
                   " \"op\\u0065n\": true}",
                   "unstream.json: open: stands twice; remove one of them\n"
                   "unstream.json: limits.queue_max: stands twice; remove one of them\n");
}

TEST(config, keys_differ_by_case)
{
    FIXTURE(f);
    assert_refused(&f, "{\"Open\": true}",
                   "unstream.json: Open: unknown key, did you mean \"open\"?\n");
}

TEST(config, all_mistakes_are_told_at_once)
{
    FIXTURE(f);
    assert_refused(
        &f,
        "{\"lissten\": [], \"open\": 1, \"upstream_threads\": 0, \"flights_max\": 5,\n"
        " \"upstreams\": {\"openai\": {\"timeout_s\": 5, \"attempts_max\": \"3\", "
        "\"base_url\": \"ftp://x\", \"provider\": \"opnai\"},\n"
        "  \"b d\": {}, \"c\": 7},\n"
        " \"limits\": {\"deadline_ms\": 5, \"queue_max\": 1.5}, \"qqqqqqqqq\": 1,\n"
        " \"routes\": {\"/v1/message\": {}, \"/v1/responses\": {\"upstream\": \"opnai\"}},\n"
        " \"log\": \"info\", \"clients\": [{\"name\": \"a\"}]}",
        "unstream.json: lissten: unknown key, did you mean \"listen\"?\n"
        "unstream.json: open: must be true or false, not a number\n"
        "unstream.json: upstream_threads: must be a whole number from 1 to 64, not 0\n"
        "unstream.json: flights_max: unknown key here; it belongs in upstreams.NAME\n"
        "unstream.json: qqqqqqqqq: unknown key; remove it (--print-config shows all keys)\n"
        "unstream.json: limits.deadline_ms: unknown key, did you mean \"deadline_s\"?\n"
        "unstream.json: limits.queue_max: must be a whole number, not 1.5\n"
        "unstream.json: log: must be an object\n"
        "unstream.json: clients[0]: needs \"token_sha256\": SHA-256 of the client's token, 64 "
        "hexadecimal digits.\n"
        "unstream.json: upstreams.openai.timeout_s: unknown key, did you mean "
        "\"idle_timeout_s\"?\n"
        "unstream.json: upstreams.openai.attempts_max: must be a whole number, not a string\n"
        "unstream.json: upstreams.openai.provider: must be one of openai|anthropic, not "
        "\"opnai\", did you mean \"openai\"?\n"
        "unstream.json: upstreams.openai.base_url: must begin with https:// or http://\n"
        "unstream.json: upstreams.\"b d\": a name has 1 to 64 letters, digits and . _ -\n"
        "unstream.json: upstreams.\"b d\": needs \"base_url\", such as "
        "\"https://api.openai.com/v1\"\n"
        "unstream.json: upstreams.c: must be an object such as {\"base_url\": "
        "\"https://api.openai.com/v1\"}\n"
        "unstream.json: routes.\"/v1/message\": unknown route, did you mean "
        "\"/v1/messages\"?\n"
        "unstream.json: routes.\"/v1/responses\".upstream: there is no upstream \"opnai\" in "
        "\"upstreams\", did you mean \"openai\"?\n"
        "unstream.json: clients: clients have tokens of their own, which must not be passed "
        "on: set upstreams.openai.api_key, or switch its routes off with \"/path\": false\n");
}

/* ---- values */

TEST(config, a_dollar_takes_a_variable_and_an_at_sign_a_file)
{
    FIXTURE(f);
    fixture_set(f.variables, "KEY", "sk-$literal");
    fixture_set(f.files, "/run/secrets/key", "sk-file\r\n\n");
    assert_warns(&f,
                 "{\"upstreams\": {"
                 "\"a\": {\"base_url\": \"https://a/v1\", \"provider\": \"openai\", "
                 "\"api_key\": \"$KEY\", \"headers\": {\"X-A\": \"$$KEY\", \"X-B\": \"@b\", "
                 "\"X-C\": \"@@/c\"}},"
                 "\"b\": {\"base_url\": \"https://b/v1\", \"provider\": \"openai\", "
                 "\"api_key\": \"@/run/secrets/key\"}}, \"routes\": {\"/v1/messages\": false}}",
                 "");
    assert_span_equal(f.config->upstreams[0].api_key, "sk-$literal");
    assert_span_equal(f.config->upstreams[0].headers.items[0].value, "$KEY");
    assert_span_equal(f.config->upstreams[0].headers.items[1].value, "@b");
    assert_span_equal(f.config->upstreams[0].headers.items[2].value, "@/c");
    assert_span_equal(f.config->upstreams[1].api_key, "sk-file");
}

TEST(config, a_variable_or_file_that_gives_nothing_is_refused)
{
    FIXTURE(f);
    fixture_set(f.variables, "EMPTY", "");
    fixture_set(f.variables, "LINES", "a\nb");
    fixture_set(f.variables, "LATIN", "\xE4");
    fixture_set(f.files, "/empty", "\n");
    assert_refused(
        &f,
        "{\"listen\": [\"$NONE\", \"$EMPTY\", \"@/none\", \"@/empty\", \"$5\", \"$LINES\","
        " \"$LATIN\"]}",
        "unstream.json: listen[0]: the environment variable NONE is not set or empty; set it\n"
        "unstream.json: listen[1]: the environment variable EMPTY is not set or empty; set it\n"
        "unstream.json: listen[2]: the file \"/none\" cannot be read: not found\n"
        "unstream.json: listen[3]: the file \"/empty\" is empty\n"
        "unstream.json: listen[4]: \"$...\" names an environment variable, such as "
        "\"$OPENAI_API_KEY\"; a literal $ is written $$\n"
        "unstream.json: listen[5]: must be UTF-8 text without control characters\n"
        "unstream.json: listen[6]: must be UTF-8 text without control characters\n");
}

TEST(config, durations_are_seconds_with_fractions)
{
    FIXTURE(f);
    assert_warns(&f, "{\"drain_s\": 1.5, \"limits\": {\"deadline_s\": 0.001}}", "");
    assert_int_equal(f.config->drain_ms, 1500);
    assert_int_equal(f.config->limits.deadline_ms, 1);
}

TEST(config, a_deadline_is_taken_at_its_limit_and_refused_beyond)
{
    FIXTURE(f);
    assert_warns(&f, "{\"limits\": {\"deadline_s\": 86400}}", "");
    assert_int_equal(f.config->limits.deadline_ms, 86400000);
    assert_refused(&f, "{\"limits\": {\"deadline_s\": 86400.001}}",
                   "unstream.json: limits.deadline_s: must be a number of seconds from 0.001 "
                   "to 86400, not 86400.001\n");
    assert_refused(&f, "{\"limits\": {\"deadline_s\": 0}}",
                   "unstream.json: limits.deadline_s: must be a number of seconds from 0.001 "
                   "to 86400, not 0\n");
    assert_refused(&f, "{\"limits\": {\"deadline_s\": 1e400}}",
                   "unstream.json: limits.deadline_s: must be a number of seconds from 0.001 "
                   "to 86400, not inf\n");
}

TEST(config, null_is_fine_only_where_the_default_is_null)
{
    FIXTURE(f);
    assert_warns(&f, "{\"ops_listen\": null, \"limits\": {\"store_bytes_max\": null}}", "");
    assert_refused(&f, "{\"open\": null, \"limits\": {\"queue_max\": null}, \"routes\": null}",
                   "unstream.json: open: must be true or false, not null\n"
                   "unstream.json: limits.queue_max: must be a whole number, not null\n"
                   "unstream.json: routes: must be an object of routes by path\n");
}

/* How loading goes when only this key of its section is set, to this JSON value. */
static enum rc load_value(struct fixture *f, const struct config_key *key, const char *value)
{
    static const char *const frames[SECTION_COUNT][2] = {
        [SECTION_ROOT] = {"{", "}"},
        [SECTION_UPSTREAM] = {"{\"upstreams\": {\"openai\": {\"provider\": \"openai\", ",
                              "}}}"},
        [SECTION_ROUTE] = {"{\"routes\": {\"/api/llm\": {", "}}}"},
        [SECTION_CLIENT] = {"{\"clients\": [{\"token_sha256\": "
                            "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
                            "\", ",
                            "}]}"},
        [SECTION_IDEMPOTENCY] = {"{\"idempotency\": {", "}}"},
        [SECTION_LIMITS] = {"{\"limits\": {", "}}"},
        [SECTION_LOG] = {"{\"log\": {", "}}"}};
    BUF(text, FIXTURE_TEXT_MAX);
    fixture_set(f->variables, "OPENAI_API_KEY", "sk-1");
    fixture_set(f->variables, "ANTHROPIC_API_KEY", "sk-2");
    buf_printf(&text, "%s\"%s\": %s%s", frames[key->section][0], key->name, value,
               frames[key->section][1]);
    return fixture_load_file(f, buf_text(&text));
}

static enum rc load_number(struct fixture *f, const struct config_key *key, double value)
{
    char text[64];
    (void)snprintf(text, sizeof text, "%.17g", value);
    return load_value(f, key, text);
}

static bool is_range_problem(struct fixture *f)
{
    return strstr(fixture_problems(f), " from ") != NULL;
}

TEST(config, every_number_is_taken_at_its_limits_and_refused_beyond)
{
    size_t count, numbers = 0;
    const struct config_key *keys = config_keys(&count);
    for (size_t i = 0; i < count; i++) {
        FIXTURE(f);
        bool whole = keys[i].type == CONFIG_COUNT || keys[i].type == CONFIG_SIZE;
        double step = whole ? 1 : 0.0005;
        if (!whole && keys[i].type != CONFIG_SECONDS && keys[i].type != CONFIG_RATIO)
            continue;
        numbers++;
        (void)load_number(&f, &keys[i], keys[i].min);
        assert_false(is_range_problem(&f));
        (void)load_number(&f, &keys[i], keys[i].max);
        assert_false(is_range_problem(&f));
        assert_int_equal(load_number(&f, &keys[i], keys[i].min - step), E_INVALID);
        assert_true(is_range_problem(&f));
        assert_int_equal(load_number(&f, &keys[i], keys[i].max + step), E_INVALID);
        assert_true(is_range_problem(&f));
    }
    assert_int_equal(numbers, 44);
}

/* A string, or a list or object, of `n` bytes or entries. */
static enum rc load_sized(struct fixture *f, const struct config_key *key, size_t n)
{
    BUF(value, FIXTURE_TEXT_MAX);
    buf_add_byte(&value, "\"[{"[key->type == CONFIG_TEXT   ? 0
                                : key->type == CONFIG_LIST ? 1
                                                           : 2]);
    for (size_t i = 0; i < n; i++) {
        if (key->type == CONFIG_TEXT)
            buf_add_byte(&value, 'a');
        else
            buf_printf(&value, "%s\"x-%zu\"%s", i ? "," : "", i,
                       key->type == CONFIG_LIST ? "" : ": \"\"");
    }
    buf_add_byte(&value, "\"]}"[key->type == CONFIG_TEXT   ? 0
                                : key->type == CONFIG_LIST ? 1
                                                           : 2]);
    return load_value(f, key, buf_text(&value));
}

/* The sizes that a problem of this key is told about. */
static bool is_size_problem(struct fixture *f, const struct config_key *key)
{
    char problem[128];
    (void)snprintf(problem, sizeof problem, "%s: must %s %g to %g ", key->name,
                   key->type == CONFIG_TEXT ? "be a string of" : "have", key->min, key->max);
    return strstr(fixture_problems(f), problem) != NULL;
}

TEST(config, every_text_and_list_is_taken_at_its_limits_and_refused_beyond)
{
    size_t count, sized = 0;
    const struct config_key *keys = config_keys(&count);
    for (size_t i = 0; i < count; i++) {
        FIXTURE(f);
        const struct config_key *key = &keys[i];
        if (key->type != CONFIG_TEXT && key->type != CONFIG_LIST && key->type != CONFIG_HEADERS)
            continue;
        sized++;
        (void)load_sized(&f, key, (size_t)key->max);
        assert_false(is_size_problem(&f, key));
        assert_int_equal(load_sized(&f, key, (size_t)key->max + 1), E_INVALID);
        assert_true(is_size_problem(&f, key));
        (void)load_sized(&f, key, (size_t)key->min);
        assert_false(is_size_problem(&f, key));
        if (key->min == 0)
            continue;
        assert_int_equal(load_sized(&f, key, (size_t)key->min - 1), E_INVALID);
        assert_true(is_size_problem(&f, key));
    }
    assert_int_equal(sized, 13);
}

static enum rc load_padded(struct fixture *f, int bytes)
{
    BUF(text, FIXTURE_TEXT_MAX + 2);
    buf_printf(&text, "{%*s}", bytes - 2, "");
    return fixture_load_file(f, buf_text(&text));
}

TEST(config, a_file_has_a_mebibyte_and_not_one_more)
{
    FIXTURE(f);
    assert_int_equal(load_padded(&f, 1 << 20), OK);
    assert_int_equal(load_padded(&f, (1 << 20) + 1), E_INVALID);
    assert_string_equal(
        fixture_problems(&f),
        "unstream.json: the configuration cannot be read: a limit was reached\n");
}

/* {"upstreams": {...}} with so many, all alike. */
static void upstreams_text(struct buf *text, int count)
{
    buf_clear(text);
    buf_add_text(text, "{\"upstreams\": {");
    for (int i = 0; i < count; i++)
        buf_printf(text, "%s\"u%d\": {\"provider\": \"openai\"}", i ? "," : "", i);
    buf_add_text(text, "}}");
}

TEST(config, there_are_sixty_four_upstreams_and_not_one_more)
{
    FIXTURE(f);
    BUF(text, 16384);
    upstreams_text(&text, 64);
    assert_int_equal(fixture_load_file(&f, buf_text(&text)), OK);
    assert_int_equal(f.config->upstream_count, 64);
    upstreams_text(&text, 65);
    assert_refused(
        &f, buf_text(&text),
        "unstream.json: upstreams: must have 1 to 64 entries, not 65; left out, openai "
        "and anthropic come from the environment\n");
}

/* So many clients, of an upstream with a key. */
static void clients_text(struct buf *text, int count)
{
    buf_clear(text);
    buf_add_text(text, "{\"upstreams\": {\"openai\": {\"api_key\": \"sk-1\"}}, \"clients\": [");
    for (int i = 0; i < count; i++)
        buf_printf(text, "%s{\"name\": \"c%d\", \"token_sha256\": \"%064x\"}", i ? "," : "", i,
                   i + 1);
    buf_add_text(text, "]}");
}

TEST(config, there_are_4096_clients_and_not_one_more)
{
    FIXTURE(f);
    BUF(text, 1 << 20);
    clients_text(&text, 4096);
    assert_int_equal(fixture_load_file(&f, buf_text(&text)), OK);
    assert_int_equal(f.config->client_count, 4096);
    clients_text(&text, 4097);
    assert_refused(&f, buf_text(&text),
                   "unstream.json: clients: must have at most 4096 entries, not 4097\n");
}

TEST(config, a_file_that_a_value_names_has_64_kib_at_most)
{
    static char content[65536 + 2] = "sk-1";
    FIXTURE(f);
    memset(content + 4, '\n', sizeof content - 5);
    fixture_set(f.files, "/key", content);
    static const char text[] = "{\"upstreams\": {\"openai\": {\"api_key\": \"@/key\"}}}";
    assert_refused(
        &f, text,
        "unstream.json: upstreams.openai.api_key: the file \"/key\" cannot be read: a "
        "limit was reached\n");
    content[65536] = '\0';
    assert_int_equal(fixture_load_file(&f, text), OK);
    assert_span_equal(f.config->upstreams[0].api_key, "sk-1");
}

TEST(config, the_name_of_an_upstream_has_64_characters_at_most)
{
    FIXTURE(f);
    char text[256];
    for (int n = 64; n <= 65; n++) {
        (void)snprintf(
            text, sizeof text,
            "{\"upstreams\": {\"openai\": {}, \"%0*d\": {\"provider\": \"openai\"}}}", n, 0);
        (void)fixture_load_file(&f, text);
        assert_int_equal(strstr(fixture_problems(&f), "a name has 1 to 64 ") != NULL, n == 65);
    }
}

TEST(config, an_explicit_order_of_two_limits_is_kept_and_a_default_gives_way)
{
    FIXTURE(f);
    assert_warns(&f, "{\"limits\": {\"deadline_max_s\": 60}}", "");
    assert_int_equal(f.config->limits.deadline_ms, 60000);
    assert_int_equal(f.config->routes[API_CHAT].deadline_ms, 60000);
    assert_warns(&f, "{\"limits\": {\"deadline_s\": 7200}}", "");
    assert_int_equal(f.config->limits.deadline_max_ms, 7200000);
    assert_refused(&f, "{\"limits\": {\"deadline_s\": 61, \"deadline_max_s\": 60}}",
                   "unstream.json: limits.deadline_s: is over deadline_max_s\n");
}

/* ---- life of a configuration */

TEST(config, a_reference_keeps_it_alive)
{
    FIXTURE(f);
    assert_int_equal(fixture_load(&f), OK);
    struct config *second = config_ref(f.config);
    config_free(f.config);
    f.config = NULL;
    assert_span_equal(second->upstreams[0].name, "openai");
    config_free(second);
    config_free(NULL);
    assert_null(config_ref(NULL));
}
