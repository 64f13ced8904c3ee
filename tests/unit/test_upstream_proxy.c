#include "io/upstream_proxy.h"
#include "test.h"

#include <stdio.h>

/* The environment of these tests: pairs of name and value, then NULL. */
static char **variables;

static char *get(const char *name)
{
    for (char **pair = variables; *pair; pair += 2)
        if (strcmp(pair[0], name) == 0)
            return pair[1];
    return NULL;
}

#define ENVIRONMENT(...)                                                                       \
    variables = (char *[])                                                                     \
    {                                                                                          \
        __VA_ARGS__, NULL                                                                      \
    }

static struct span proxy_for(const char *url)
{
    struct proxy_environment environment = upstream_proxy_environment(get);
    return upstream_proxy_for(span_of(url), &environment);
}

static char https_proxy[] = "https_proxy", HTTPS_PROXY[] = "HTTPS_PROXY",
            http_proxy[] = "http_proxy", HTTP_PROXY[] = "HTTP_PROXY", no_proxy[] = "no_proxy",
            NO_PROXY[] = "NO_PROXY";
static char one[] = "http://one:3128", two[] = "http://two:3128", empty[] = "", blank[] = " ";

TEST(upstream_proxy, without_variables_there_is_none)
{
    ENVIRONMENT(NULL);
    assert_span_equal(proxy_for("https://api.openai.com/v1"), "");
    assert_span_equal(proxy_for("http://api.openai.com/v1"), "");
}

TEST(upstream_proxy, each_scheme_has_its_own)
{
    ENVIRONMENT(HTTPS_PROXY, one, http_proxy, two);
    assert_span_equal(proxy_for("https://api.openai.com/v1"), "http://one:3128");
    assert_span_equal(proxy_for("HTTPS://api.openai.com/v1"), "http://one:3128");
    assert_span_equal(proxy_for("http://api.openai.com/v1"), "http://two:3128");
}

TEST(upstream_proxy, lower_case_comes_first_and_may_be_empty)
{
    ENVIRONMENT(HTTPS_PROXY, one, https_proxy, two);
    assert_span_equal(proxy_for("https://a.example"), "http://two:3128");
    ENVIRONMENT(HTTPS_PROXY, one, https_proxy, empty);
    assert_span_equal(proxy_for("https://a.example"), "");
    ENVIRONMENT(https_proxy, blank);
    assert_span_equal(proxy_for("https://a.example"), "");
}

TEST(upstream_proxy, upper_case_http_proxy_is_a_clients_header_and_ignored)
{
    ENVIRONMENT(HTTP_PROXY, one);
    assert_span_equal(proxy_for("http://a.example"), "");
}

TEST(upstream_proxy, this_machine_is_never_proxied_by_the_environment)
{
    ENVIRONMENT(http_proxy, one);
    assert_span_equal(proxy_for("http://localhost:11434/v1"), "");
    assert_span_equal(proxy_for("http://LOCALHOST./v1"), "");
    assert_span_equal(proxy_for("http://llm.localhost/v1"), "");
    assert_span_equal(proxy_for("http://127.0.0.1:8000/v1"), "");
    assert_span_equal(proxy_for("http://127.1.2.3/v1"), "");
    assert_span_equal(proxy_for("http://[::1]:8000/v1"), "");
    assert_span_equal(proxy_for("http://128.0.0.1/v1"), "http://one:3128");
    assert_span_equal(proxy_for("http://notlocalhost/v1"), "http://one:3128");
}

static bool goes_direct(const char *list, const char *url)
{
    static char value[256];
    (void)snprintf(value, sizeof value, "%s", list);
    ENVIRONMENT(http_proxy, one, HTTPS_PROXY, one, NO_PROXY, value);
    return proxy_for(url).n == 0;
}

TEST(upstream_proxy, no_proxy_names_hosts_and_all_below_them)
{
    assert_true(goes_direct("*", "http://a.example/"));
    assert_true(goes_direct("a.example", "http://a.example/"));
    assert_true(goes_direct("a.example", "http://A.Example:8080/"));
    assert_true(goes_direct("a.example", "http://b.a.example/"));
    assert_true(goes_direct("a.example", "http://b.a.example./"));
    assert_true(goes_direct(".a.example", "http://b.a.example/"));
    assert_true(goes_direct("*.a.example", "http://b.a.example/"));
    assert_true(goes_direct("x, a.example", "http://a.example/"));
    assert_true(goes_direct("x a.example,", "http://a.example/"));
    assert_false(goes_direct("a.example", "http://ba.example/"));
    assert_false(goes_direct("b.a.example", "http://a.example/"));
    assert_false(goes_direct("", "http://a.example/"));
    assert_false(goes_direct(" , ", "http://a.example/"));
    assert_false(goes_direct(".", "http://a.example/"));
}

TEST(upstream_proxy, no_proxy_may_name_ports)
{
    assert_true(goes_direct("a.example:8080", "http://a.example:8080/"));
    assert_true(goes_direct("a.example:443", "https://a.example/"));
    assert_true(goes_direct("a.example:80", "http://a.example/"));
    assert_false(goes_direct("a.example:8080", "http://a.example:8081/"));
    assert_false(goes_direct("a.example:x", "http://a.example/"));
    assert_true(goes_direct("[2001:db8::1]:8080", "http://[2001:db8::1]:8080/"));
    assert_false(goes_direct("[2001:db8::1]:8080", "http://[2001:db8::1]/"));
}

TEST(upstream_proxy, no_proxy_may_name_addresses_and_networks)
{
    assert_true(goes_direct("10.1.2.3", "http://10.1.2.3/"));
    assert_false(goes_direct("10.1.2.3", "http://10.1.2.33/"));
    assert_false(goes_direct("2.3", "http://10.1.2.3/"));
    assert_true(goes_direct("10.0.0.0/8", "http://10.255.255.255/"));
    assert_false(goes_direct("10.0.0.0/8", "http://11.0.0.0/"));
    assert_true(goes_direct("192.168.4.0/22", "http://192.168.7.255/"));
    assert_false(goes_direct("192.168.4.0/22", "http://192.168.8.0/"));
    assert_true(goes_direct("0.0.0.0/0", "http://8.8.8.8/"));
    assert_true(goes_direct("10.1.2.3/32", "http://10.1.2.3/"));
    assert_false(goes_direct("10.1.2.3/33", "http://10.1.2.3/"));
    assert_false(goes_direct("10.0.0.0/8", "http://a.example/"));
    assert_true(goes_direct("2001:db8::/32", "http://[2001:db8:1::5]/"));
    assert_true(goes_direct("2001:db8:0::5", "http://[2001:db8::5]/"));
    assert_false(goes_direct("::/0", "http://8.8.8.8/"));
}

TEST(upstream_proxy, lower_case_no_proxy_comes_first)
{
    static char a[] = "a.example", b[] = "b.example";
    ENVIRONMENT(http_proxy, one, NO_PROXY, a, no_proxy, b);
    assert_span_equal(proxy_for("http://b.example"), "");
    assert_span_equal(proxy_for("http://a.example"), "http://one:3128");
}

TEST(upstream_proxy, a_url_is_taken_apart)
{
    struct url_parts parts;
    assert_true(
        upstream_url_parts(SPAN("https://user:p@ss@[2001:db8::1]:65535/a@b?c"), &parts));
    assert_span_equal(parts.scheme, "https");
    assert_span_equal(parts.host, "2001:db8::1");
    assert_int_equal(parts.port, 65535);
    assert_true(upstream_url_parts(SPAN("proxy.example:3128"), &parts));
    assert_null(parts.scheme.p);
    assert_span_equal(parts.host, "proxy.example");
    assert_int_equal(parts.port, 3128);
    assert_true(upstream_url_parts(SPAN("https://a?x"), &parts));
    assert_span_equal(parts.host, "a");
    assert_int_equal(parts.port, 443);
}

TEST(upstream_proxy, what_is_no_url_is_refused)
{
    struct url_parts parts;
    static const struct span urls[] = {SPAN(""),
                                       SPAN("http://"),
                                       SPAN("http:///path"),
                                       SPAN("http://a:0/"),
                                       SPAN("http://a:65536/"),
                                       SPAN("http://a:8o/"),
                                       SPAN("http://[::1/"),
                                       SPAN("http://[::1]x/"),
                                       SPAN("http://[]/")};
    for (size_t i = 0; i < COUNT_OF(urls); i++)
        assert_false(upstream_url_parts(urls[i], &parts));
}
