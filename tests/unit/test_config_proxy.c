#include "test.h"
#include "config_fixture.h"

#include "core/config_proxy.h"

/* The environment of these tests: what is set before a question. */
static struct fixture environment;

static void set(const char *name, const char *value)
{
    fixture_set(environment.variables, name, value);
}

static struct config_effective proxy_for(const char *base_url)
{
    struct config_upstream upstream = {.base_url = span_of(base_url)};
    struct config_source source = fixture_source(&environment);
    return config_proxy_of(&upstream, &source);
}

#define assert_proxy(base_url, url, who)                                                       \
    do {                                                                                       \
        assert_span_equal(proxy_for(base_url).value, url);                                     \
        assert_string_equal(proxy_for(base_url).from, who);                                    \
    } while (0)

static void clear(void)
{
    environment = (struct fixture){0};
}

TEST(config_proxy, without_variables_there_is_none)
{
    clear();
    assert_proxy("https://a.example/v1", "", "nothing names one");
    assert_proxy("http://a.example/v1", "", "nothing names one");
}

TEST(config_proxy, each_scheme_has_its_own)
{
    clear();
    set("HTTPS_PROXY", "http://one:3128");
    set("http_proxy", "http://two:3128");
    assert_proxy("https://a.example/v1", "http://one:3128", "HTTPS_PROXY");
    assert_proxy("HTTPS://a.example/v1", "http://one:3128", "HTTPS_PROXY");
    assert_proxy("http://a.example/v1", "http://two:3128", "http_proxy");
}

TEST(config_proxy, lower_case_comes_first)
{
    clear();
    set("HTTPS_PROXY", "http://one");
    set("https_proxy", "http://two");
    assert_proxy("https://a.example", "http://two", "https_proxy");
    set("NO_PROXY", "a.example");
    set("no_proxy", "b.example");
    assert_proxy("https://a.example", "http://two", "https_proxy");
    assert_proxy("https://b.example", "", "no_proxy");
}

TEST(config_proxy, an_empty_variable_is_as_good_as_none)
{
    clear();
    set("HTTPS_PROXY", " http://one ");
    set("https_proxy", "");
    set("http_proxy", " ");
    set("no_proxy", "");
    set("NO_PROXY", "b.example");
    assert_proxy("https://a.example", "http://one", "HTTPS_PROXY");
    assert_proxy("https://b.example", "", "NO_PROXY");
    assert_proxy("http://a.example", "", "nothing names one");
}

TEST(config_proxy, upper_case_http_proxy_is_a_clients_header_and_ignored)
{
    clear();
    set("HTTP_PROXY", "http://one");
    assert_proxy("http://a.example", "", "nothing names one");
}

TEST(config_proxy, all_proxy_is_for_what_has_none_of_its_own)
{
    clear();
    set("ALL_PROXY", "socks5h://one:1080");
    set("http_proxy", "http://two");
    assert_proxy("https://a.example", "socks5h://one:1080", "ALL_PROXY");
    assert_proxy("http://a.example", "http://two", "http_proxy");
    set("all_proxy", "http://three");
    assert_proxy("https://a.example", "http://three", "all_proxy");
}

TEST(config_proxy, the_key_wins_over_everything)
{
    clear();
    struct config_source source = fixture_source(&environment);
    struct config_upstream upstream = {.base_url = SPAN("https://127.0.0.1"),
                                       .proxy = SPAN("")};
    set("HTTPS_PROXY", "http://one");
    set("NO_PROXY", "*");
    assert_span_equal(config_proxy_of(&upstream, &source).value, "");
    assert_string_equal(config_proxy_of(&upstream, &source).from, "the key \"proxy\"");
    upstream.proxy = SPAN("http://two");
    assert_span_equal(config_proxy_of(&upstream, &source).value, "http://two");
}

TEST(config_proxy, this_machine_is_never_proxied_by_the_environment)
{
    clear();
    set("http_proxy", "http://one");
    assert_proxy("http://localhost:11434/v1", "", "it is this machine");
    assert_proxy("http://LOCALHOST./v1", "", "it is this machine");
    assert_proxy("http://llm.localhost/v1", "", "it is this machine");
    assert_proxy("http://127.0.0.1:8000/v1", "", "it is this machine");
    assert_proxy("http://127.1.2.3/v1", "", "it is this machine");
    assert_proxy("http://[::1]:8000/v1", "", "it is this machine");
    assert_proxy("http://128.0.0.1/v1", "http://one", "http_proxy");
    assert_proxy("http://notlocalhost/v1", "http://one", "http_proxy");
}

static bool goes_direct(const char *list, const char *base_url)
{
    clear();
    set("http_proxy", "http://one");
    set("HTTPS_PROXY", "http://one");
    set("NO_PROXY", list);
    return proxy_for(base_url).value.n == 0;
}

TEST(config_proxy, no_proxy_names_hosts_and_all_below_them)
{
    assert_true(goes_direct("*", "http://a.example/"));
    assert_true(goes_direct("a.example", "http://a.example/"));
    assert_true(goes_direct("a.example", "http://A.Example:8080/"));
    assert_true(goes_direct("a.example", "http://b.a.example/"));
    assert_true(goes_direct("a.example", "http://b.a.example./"));
    assert_true(goes_direct("a.example.", "http://b.a.example/"));
    assert_true(goes_direct(".a.example", "http://b.a.example/"));
    assert_true(goes_direct(".a.example", "http://a.example/"));
    assert_true(goes_direct("*.a.example", "http://b.a.example/"));
    assert_true(goes_direct("x, a.example", "http://a.example/"));
    assert_true(goes_direct("x\ta.example,", "http://a.example/"));
    assert_false(goes_direct("a.example", "http://ba.example/"));
    assert_false(goes_direct("b.a.example", "http://a.example/"));
    assert_false(goes_direct("", "http://a.example/"));
    assert_false(goes_direct(" , ", "http://a.example/"));
    assert_false(goes_direct(".", "http://a.example/"));
}

TEST(config_proxy, no_proxy_may_name_ports)
{
    assert_true(goes_direct("a.example:8080", "http://a.example:8080/"));
    assert_true(goes_direct("a.example:443", "https://a.example/"));
    assert_true(goes_direct("a.example:80", "http://a.example/"));
    assert_false(goes_direct("a.example:8080", "http://a.example:8081/"));
    assert_false(goes_direct("a.example:x", "http://a.example/"));
    assert_true(goes_direct("10.1.2.3:8080", "http://10.1.2.3:8080/"));
    assert_false(goes_direct("10.1.2.3:8080", "http://10.1.2.3/"));
    assert_true(goes_direct("[2001:db8::1]:8080", "http://[2001:db8::1]:8080/"));
    assert_false(goes_direct("[2001:db8::1]:8080", "http://[2001:db8::1]/"));
    assert_true(goes_direct("[2001:db8::1]", "http://[2001:db8::1]:8080/"));
}

TEST(config_proxy, no_proxy_may_name_addresses_and_networks)
{
    assert_true(goes_direct("10.1.2.3", "http://10.1.2.3/"));
    assert_false(goes_direct("10.1.2.3", "http://10.1.2.33/"));
    assert_false(goes_direct("2.3", "http://10.1.2.3/"));
    assert_true(goes_direct("10.0.0.0/8", "http://10.255.255.255/"));
    assert_false(goes_direct("10.0.0.0/8", "http://11.0.0.0/"));
    assert_false(goes_direct("10.0.0.0/8", "http://a.example/"));
    assert_true(goes_direct("2001:db8::/32", "http://[2001:db8:1::5]/"));
    assert_true(goes_direct("2001:db8:0::5", "http://[2001:db8::5]/"));
}

TEST(config_proxy, a_proxy_is_a_host_with_an_optional_scheme_user_and_port)
{
    static const struct span fine[] = {SPAN("http://p"),    SPAN("HTTPS://u:p@ss@p:1/"),
                                       SPAN("p:3128"),      SPAN("socks4://p"),
                                       SPAN("socks4a://p"), SPAN("socks5://[::1]:1080"),
                                       SPAN("socks5h://p")};
    static const struct span wrong[] = {
        SPAN(""),           SPAN("ftp://p"),        SPAN("http//p"), SPAN("http://p/x"),
        SPAN("http://p?x"), SPAN("http://p:0"),     SPAN("http://"), SPAN("http://p q"),
        SPAN("p\n"),        SPAN("http://\xC3\xA4")};
    for (size_t i = 0; i < COUNT_OF(fine); i++)
        assert_true(config_proxy_is_fine(fine[i]));
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        assert_false(config_proxy_is_fine(wrong[i]));
}

/* ---- as the loader completes an upstream */

TEST(config_proxy, the_loader_decides_once_and_keeps_what_it_found)
{
    FIXTURE(f);
    char variable[] = "http://one:3128", bundle[] = "/ca.pem";
    fixture_set(f.variables, "HTTPS_PROXY", variable);
    fixture_set(f.variables, "NO_PROXY", "anthropic.com");
    fixture_set(f.variables, "SSL_CERT_FILE", bundle);
    assert_int_equal(fixture_load(&f), OK);
    variable[0] = bundle[0] = '?';
    const struct config_upstream *openai = &f.config->upstreams[0];
    const struct config_upstream *anthropic = &f.config->upstreams[1];
    assert_null(openai->proxy.p);
    assert_null(openai->ca_file.p);
    assert_span_equal(openai->effective_proxy.value, "http://one:3128");
    assert_string_equal(openai->effective_proxy.from, "HTTPS_PROXY");
    assert_span_equal(openai->effective_ca_file.value, "/ca.pem");
    assert_string_equal(openai->effective_ca_file.from, "SSL_CERT_FILE");
    assert_span_equal(anthropic->effective_proxy.value, "");
    assert_string_equal(anthropic->effective_proxy.from, "NO_PROXY");
}

TEST(config_proxy, the_keys_of_an_upstream_win_over_the_environment)
{
    FIXTURE(f);
    fixture_set(f.variables, "HTTPS_PROXY", "http://one");
    fixture_set(f.variables, "SSL_CERT_FILE", "/ca.pem");
    assert_int_equal(
        fixture_load_file(&f, "{\"upstreams\": {\"openai\": {\"provider\": \"openai\", "
                              "\"proxy\": \"socks5://two\", \"ca_file\": \"/own.pem\"}}, "
                              "\"routes\": {\"/v1/messages\": false}}"),
        OK);
    const struct config_upstream *openai = &f.config->upstreams[0];
    assert_span_equal(openai->effective_proxy.value, "socks5://two");
    assert_string_equal(openai->effective_proxy.from, "the key \"proxy\"");
    assert_span_equal(openai->effective_ca_file.value, "/own.pem");
    assert_string_equal(openai->effective_ca_file.from, "the key \"ca_file\"");
}

TEST(config_proxy, a_variable_that_is_none_is_refused_only_where_it_is_needed)
{
    FIXTURE(f);
    fixture_set(f.variables, "HTTPS_PROXY", "ftp://one");
    fixture_set(f.variables, "NO_PROXY", "anthropic.com");
    fixture_set(f.variables, "SSL_CERT_FILE", "/ca\n.pem");
    assert_int_equal(fixture_load(&f), E_INVALID);
    assert_string_equal(
        fixture_problems(&f),
        "environment: HTTPS_PROXY: must be the URL of a proxy for openai, such as "
        "http://127.0.0.1:3128, or empty\n"
        "environment: SSL_CERT_FILE: must be the path of a PEM bundle for openai, without "
        "control characters\n"
        "environment: SSL_CERT_FILE: must be the path of a PEM bundle for anthropic, without "
        "control characters\n");
}
