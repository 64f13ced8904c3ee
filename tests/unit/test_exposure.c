#include "test.h"
#include "config_fixture.h"

#include "core/exposure.h"

/* A loaded configuration with a key of the operator's; more variables may be set before. */
static void load(struct fixture *f)
{
    fixture_set(f->variables, "OPENAI_API_KEY", "sk-1");
    fixture_set(f->variables, "ANTHROPIC_API_KEY", "sk-2");
    assert_int_equal(fixture_load(f), OK);
}

static enum exposure judge(const struct fixture *f, const char *name, const char *value)
{
    struct header header = {span_of(name), span_of(value)};
    struct http_head head = {.headers = {&header, 1}};
    return exposure_of_request(f->config, &head, false);
}

TEST(exposure, a_plain_local_request_is_fine)
{
    FIXTURE(f);
    load(&f);
    assert_int_equal(judge(&f, "Host", "127.0.0.1:8080"), EXPOSURE_NONE);
    assert_int_equal(judge(&f, "Host", "localhost:8080"), EXPOSURE_NONE);
    assert_int_equal(judge(&f, "Host", "LOCALHOST"), EXPOSURE_NONE);
    assert_int_equal(judge(&f, "Host", "[::1]:8080"), EXPOSURE_NONE);
    assert_int_equal(judge(&f, "User-Agent", "without a Host, as HTTP/1.0"), EXPOSURE_NONE);
}

TEST(exposure, a_request_through_a_proxy_is_refused)
{
    FIXTURE(f);
    load(&f);
    assert_int_equal(judge(&f, "X-Forwarded-For", "1.2.3.4"), EXPOSURE_PROXY);
    assert_int_equal(judge(&f, "X-Forwarded-Proto", "https"), EXPOSURE_PROXY);
    assert_int_equal(judge(&f, "x-real-ip", "1.2.3.4"), EXPOSURE_PROXY);
    assert_int_equal(judge(&f, "Forwarded", "for=1.2.3.4"), EXPOSURE_PROXY);
    assert_int_equal(judge(&f, "Via", "1.1 proxy"), EXPOSURE_PROXY);
    assert_int_equal(judge(&f, "CF-Connecting-IP", "1.2.3.4"), EXPOSURE_PROXY);
}

TEST(exposure, a_web_page_of_another_origin_is_refused)
{
    FIXTURE(f);
    load(&f);
    assert_int_equal(judge(&f, "Origin", "https://evil.example"), EXPOSURE_ORIGIN);
    assert_int_equal(judge(&f, "Origin", "http://localhost.evil.example"), EXPOSURE_ORIGIN);
    assert_int_equal(judge(&f, "Origin", "null"), EXPOSURE_ORIGIN);
    assert_int_equal(judge(&f, "Origin", ""), EXPOSURE_ORIGIN);
    assert_int_equal(judge(&f, "Origin", "http://user@localhost"), EXPOSURE_ORIGIN);
    assert_int_equal(judge(&f, "Origin", "http://localhost:3000"), EXPOSURE_NONE);
    assert_int_equal(judge(&f, "Origin", "http://127.0.0.1:8080"), EXPOSURE_NONE);
}

TEST(exposure, a_public_name_that_resolves_to_this_machine_is_refused)
{
    FIXTURE(f);
    load(&f);
    assert_int_equal(judge(&f, "Host", "evil.example:8080"), EXPOSURE_HOST);
    assert_int_equal(judge(&f, "Host", "127.0.0.1.nip.io"), EXPOSURE_HOST);
    assert_int_equal(judge(&f, "Host", "0.0.0.0:8080"), EXPOSURE_HOST);
    assert_int_equal(judge(&f, "Host", "192.168.0.7"), EXPOSURE_HOST);
    assert_int_equal(judge(&f, "Host", ""), EXPOSURE_HOST);
}

TEST(exposure, the_host_says_nothing_on_a_unix_socket_but_a_proxy_does)
{
    FIXTURE(f);
    load(&f);
    struct header headers[] = {{SPAN("Host"), SPAN("unstream")}, {SPAN("Via"), SPAN("1.1 a")}};
    struct http_head head = {.headers = {headers, 1}};
    assert_int_equal(exposure_of_request(f.config, &head, true), EXPOSURE_NONE);
    assert_int_equal(exposure_of_request(f.config, &head, false), EXPOSURE_HOST);
    head.headers.count = 2;
    assert_int_equal(exposure_of_request(f.config, &head, true), EXPOSURE_PROXY);
}

TEST(exposure, without_a_key_of_the_operators_everything_is_fine)
{
    FIXTURE(f);
    assert_int_equal(fixture_load(&f), OK);
    assert_false(config_must_stay_local(f.config));
    assert_int_equal(judge(&f, "Via", "1.1 proxy"), EXPOSURE_NONE);
    assert_int_equal(judge(&f, "Host", "evil.example"), EXPOSURE_NONE);
}

TEST(exposure, clients_or_open_make_everything_fine)
{
    FIXTURE(f);
    fixture_set(f.variables, "UNSTREAM_TOKEN", "abc");
    load(&f);
    assert_int_equal(judge(&f, "Via", "1.1 proxy"), EXPOSURE_NONE);
    fixture_set(f.variables, "UNSTREAM_TOKEN", "");
    load(&f);
    assert_int_equal(judge(&f, "Via", "1.1 proxy"), EXPOSURE_PROXY);
    fixture_set(f.variables, "UNSTREAM_OPEN", "1");
    load(&f);
    assert_int_equal(judge(&f, "Via", "1.1 proxy"), EXPOSURE_NONE);
}

static enum exposure judge_ops(const struct fixture *f, const char *name, const char *value)
{
    struct header header = {span_of(name), span_of(value)};
    struct http_head head = {.headers = {&header, 1}};
    return exposure_of_ops(f->config, &head);
}

TEST(exposure, the_operators_listener_on_loopback_needs_a_local_host)
{
    FIXTURE(f);
    assert_int_equal(fixture_load_file(&f, "{\"ops_listen\": \"127.0.0.1:8081\"}"), OK);
    assert_int_equal(judge_ops(&f, "Host", "localhost:8081"), EXPOSURE_NONE);
    assert_int_equal(judge_ops(&f, "Host", "evil.example:8081"), EXPOSURE_HOST);
    assert_int_equal(judge_ops(&f, "Origin", "https://evil.example"), EXPOSURE_ORIGIN);
    assert_int_equal(judge_ops(&f, "Via", "1.1 a"), EXPOSURE_NONE);
}

TEST(exposure, the_operators_listener_elsewhere_has_other_guards)
{
    FIXTURE(f);
    assert_int_equal(
        fixture_load_file(
            &f, "{\"ops_listen\": \"0.0.0.0:8081\", \"ops_token_sha256\": "
                "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"}"),
        OK);
    assert_int_equal(judge_ops(&f, "Host", "metrics.example"), EXPOSURE_NONE);
    assert_int_equal(fixture_load_file(&f, "{\"ops_listen\": \"unix:/run/ops\"}"), OK);
    assert_int_equal(judge_ops(&f, "Host", "metrics.example"), EXPOSURE_NONE);
}

TEST(exposure, a_name_tells_whether_a_header_is_a_credential)
{
    static const char *const credentials[] = {"Authorization", "x-api-key",
                                              "api-key",       "Ocp-Apim-Subscription-Key",
                                              "X-Auth-Token",  "CF-Access-Client-Secret",
                                              "Cookie",        "Proxy-Authorization"};
    static const char *const plain[] = {"X-Title", "HTTP-Referer", "anthropic-beta",
                                        "OpenAI-Organization"};
    for (size_t i = 0; i < COUNT_OF(credentials); i++)
        assert_true(header_is_credential(span_of(credentials[i])));
    for (size_t i = 0; i < COUNT_OF(plain); i++)
        assert_false(header_is_credential(span_of(plain[i])));
    assert_string_equal(exposure_text(EXPOSURE_PROXY), "the request came through a proxy");
}
