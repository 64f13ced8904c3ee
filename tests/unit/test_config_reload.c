#include "test.h"
#include "config_fixture.h"

/* The service runs with `before`; what would a reload of `after` give? */
static enum rc reload(struct fixture *f, const char *before, const char *after)
{
    assert_int_equal(fixture_load_file(f, before), OK);
    OWNED(config) running = take(f->config);
    f->arguments.running = running;
    enum rc rc = fixture_load_file(f, after);
    f->arguments.running = NULL;
    return rc;
}

#define KEYED(more)                                                                            \
    "{" more                                                                                   \
    "\"upstreams\": {\"openai\": {\"provider\": \"openai\", \"api_key\": \"sk-1\"}}, "         \
    "\"routes\": {\"/v1/messages\": false}}"

TEST(config_reload, what_may_change_changes_without_a_word)
{
    FIXTURE(f);
    assert_int_equal(reload(&f, KEYED("\"drain_s\": 1, "),
                            KEYED("\"drain_s\": 2, \"limits\": {\"keepalive_s\": 5, "
                                  "\"body_bytes_max\": 6, \"flights_max\": 7}, "
                                  "\"log\": {\"level\": \"debug\"}, ")),
                     OK);
    assert_string_equal(fixture_problems(&f), "");
    assert_int_equal(f.config->drain_ms, 2000);
    assert_int_equal(f.config->limits.keepalive_ms, 5000);
    assert_int_equal(f.config->limits.body_bytes_max, 6);
    assert_int_equal(f.config->limits.flights_max, 7);
    assert_int_equal(f.config->log_level, LOG_LEVEL_DEBUG);
}

TEST(config_reload, each_key_that_needs_a_restart_is_told_and_stays)
{
    FIXTURE(f);
    assert_int_equal(
        reload(&f,
               KEYED("\"listen\": [\"127.0.0.1:1\", \"[::1]:1\"], \"store\": \"sqlite:/a\", "),
               KEYED("\"listen\": [\"127.0.0.1:2\"], \"ops_listen\": \"127.0.0.1:3\", "
                     "\"store\": \"sqlite:/b\", \"upstream_threads\": 2, \"limits\": "
                     "{\"header_bytes_max\": 1024, \"connections_max\": 9, "
                     "\"store_bytes_max\": 1048576, \"store_free_bytes_min\": 0, "
                     "\"queue_s\": 30}, ")),
        OK);
    assert_string_equal(
        fixture_problems(&f),
        "unstream.json: listen: has changed, which takes effect at the next start\n"
        "unstream.json: ops_listen: has changed, which takes effect at the next start\n"
        "unstream.json: store: has changed, which takes effect at the next start\n"
        "unstream.json: upstream_threads: has changed, which takes effect at the next start\n"
        "unstream.json: limits.header_bytes_max: has changed, which takes effect at the next "
        "start\n"
        "unstream.json: limits.connections_max: has changed, which takes effect at the next "
        "start\n"
        "unstream.json: limits.store_bytes_max: has changed, which takes effect at the next "
        "start\n"
        "unstream.json: limits.store_free_bytes_min: has changed, which takes effect at the "
        "next start\n");
    assert_int_equal(f.config->listen.count, 2);
    assert_span_equal(f.config->listen.items[1], "[::1]:1");
    assert_null(f.config->ops_listen.p);
    assert_span_equal(f.config->store, "sqlite:/a");
    assert_int_equal(f.config->upstream_threads, 1);
    assert_int_equal(f.config->limits.header_bytes_max, 16384);
    assert_int_equal(f.config->limits.connections_max, 20000);
    assert_int_equal(f.config->limits.store_bytes_max, 0);
    assert_int_equal(f.config->limits.store_free_bytes_min, 268435456);
}

TEST(config_reload, listeners_that_stay_open_are_not_given_the_operators_key)
{
    FIXTURE(f);
    assert_int_equal(reload(&f,
                            KEYED("\"listen\": [\"0.0.0.0:1\"], \"ops_listen\": \"0.0.0.0:2\", "
                                  "\"open\": true, \"ops_token_sha256\": "
                                  "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61"
                                  "f20015ad\", "),
                            KEYED("\"listen\": [\"127.0.0.1:1\"], ")),
                     E_INVALID);
    assert_string_equal(
        fixture_problems(&f),
        "running service: \"0.0.0.0:1\" would let everyone who reaches it use the configured "
        "api_key; say who may with \"clients\" or UNSTREAM_TOKEN, or allow everyone with this "
        "line: \"open\": true\n"
        "running service: \"0.0.0.0:2\" is beyond loopback, which needs \"ops_token_sha256\" "
        "(printf %s TOKEN | sha256sum)\n");
    assert_null(f.config);
}

TEST(config_reload, a_file_that_would_be_refused_at_a_start_is_refused)
{
    FIXTURE(f);
    assert_int_equal(reload(&f, "{}", "{\"drain_s\": \"soon\", \"lisen\": 1}"), E_INVALID);
    assert_string_equal(fixture_problems(&f),
                        "unstream.json: drain_s: must be a number of seconds, not a string\n"
                        "unstream.json: lisen: unknown key, did you mean \"listen\"?\n");
}

/* ---- inherited sockets */

static const struct span inherited[17] = {
    SPAN("unix:/run/u"), SPAN("[::]:80"), SPAN("a:1"),  SPAN("a:2"),  SPAN("a:3"), SPAN("a:4"),
    SPAN("a:5"),         SPAN("a:6"),     SPAN("a:7"),  SPAN("a:8"),  SPAN("a:9"), SPAN("a:10"),
    SPAN("a:11"),        SPAN("a:12"),    SPAN("a:13"), SPAN("a:14"), SPAN("a:15")};

TEST(config_reload, inherited_sockets_stand_for_what_is_configured)
{
    FIXTURE(f);
    f.arguments.inherited_listen = (struct span_list){inherited, 2};
    f.arguments.inherited_ops_listen = SPAN("127.0.0.1:9");
    fixture_set(f.variables, "UNSTREAM_LISTEN", "127.0.0.1:7");
    assert_int_equal(reload(&f,
                            "{\"listen\": [\"127.0.0.1:8\"], \"ops_listen\": \"a:1\", "
                            "\"ops_token_sha256\": \"ba7816bf8f01cfea414140de5dae2223b00361"
                            "a396177a9cb410ff61f20015ad\"}",
                            "{\"listen\": [\"127.0.0.1:9\"]}"),
                     OK);
    assert_string_equal(fixture_problems(&f), "");
    assert_int_equal(f.config->listen.count, 2);
    assert_span_equal(f.config->listen.items[1], "[::]:80");
    assert_span_equal(f.config->ops_listen, "127.0.0.1:9");
}

TEST(config_reload, inherited_sockets_are_not_given_the_operators_key)
{
    FIXTURE(f);
    f.arguments.inherited_listen = (struct span_list){inherited, 2};
    f.arguments.inherited_ops_listen = SPAN("10.0.0.1:9");
    assert_refused(&f, KEYED("\"listen\": [\"127.0.0.1:8\"], "),
                   "inherited sockets: \"[::]:80\" would let everyone who reaches it use the "
                   "configured api_key; say who may with \"clients\" or UNSTREAM_TOKEN, or "
                   "allow everyone with this line: \"open\": true\n"
                   "inherited sockets: \"10.0.0.1:9\" is beyond loopback, which needs "
                   "\"ops_token_sha256\" (printf %s TOKEN | sha256sum)\n");
}

TEST(config_reload, sixteen_inherited_sockets_are_fine_and_seventeen_are_not)
{
    FIXTURE(f);
    f.arguments.inherited_listen = (struct span_list){inherited, 16};
    assert_int_equal(fixture_load_file(&f, "{}"), OK);
    assert_int_equal(f.config->listen.count, 16);
    f.arguments.inherited_listen.count = 17;
    assert_refused(&f, "{}", "inherited sockets: are over 16\n");
}
