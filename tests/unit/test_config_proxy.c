#include "test.h"
#include "config_fixture.h"

#include "core/config_proxy.h"

static struct config_proxy proxy_of(struct fixture *f, const char *base_url)
{
    struct config_upstream upstream = {.base_url = span_of(base_url)};
    struct config_source source = fixture_source(f);
    return config_proxy_of(&upstream, &source);
}

TEST(config_proxy, nobody_said_anything)
{
    FIXTURE(f);
    struct config_proxy proxy = proxy_of(&f, "https://a.example/v1");
    assert_int_equal(proxy.url.n, 0);
    assert_null(proxy.from);
}

TEST(config_proxy, the_scheme_chooses_the_variable)
{
    FIXTURE(f);
    fixture_set(f.variables, "HTTPS_PROXY", "http://p:1");
    fixture_set(f.variables, "HTTP_PROXY", "http://p:2");
    assert_span_equal(proxy_of(&f, "https://a").url, "http://p:1");
    assert_string_equal(proxy_of(&f, "https://a").from, "HTTPS_PROXY");
    assert_int_equal(proxy_of(&f, "http://a").url.n, 0);
    fixture_set(f.variables, "http_proxy", "http://p:3");
    assert_span_equal(proxy_of(&f, "http://a").url, "http://p:3");
    fixture_set(f.variables, "https_proxy", "http://p:4");
    assert_span_equal(proxy_of(&f, "https://a").url, "http://p:4");
}

TEST(config_proxy, all_proxy_is_for_what_has_none_of_its_own)
{
    FIXTURE(f);
    fixture_set(f.variables, "ALL_PROXY", "http://p:1");
    fixture_set(f.variables, "https_proxy", "");
    assert_span_equal(proxy_of(&f, "https://a").url, "http://p:1");
    assert_span_equal(proxy_of(&f, "http://a").url, "http://p:1");
}

TEST(config_proxy, no_proxy_covers_a_host)
{
    FIXTURE(f);
    fixture_set(f.variables, "HTTPS_PROXY", "http://p:1");
    fixture_set(f.variables, "NO_PROXY", "localhost,.example.com 10.0.0.1");
    assert_int_equal(proxy_of(&f, "https://api.example.com:8443/v1").url.n, 0);
    assert_string_equal(proxy_of(&f, "https://api.example.com:8443/v1").from, "NO_PROXY");
    assert_span_equal(proxy_of(&f, "https://api.example.org/v1").url, "http://p:1");
}

TEST(config_proxy, the_key_wins)
{
    FIXTURE(f);
    struct config_source source = fixture_source(&f);
    struct config_upstream upstream = {.base_url = SPAN("https://a"), .proxy = SPAN("")};
    fixture_set(f.variables, "HTTPS_PROXY", "http://p:1");
    assert_int_equal(config_proxy_of(&upstream, &source).url.n, 0);
    assert_string_equal(config_proxy_of(&upstream, &source).from, "proxy");
    upstream.proxy = SPAN("http://q:1");
    assert_span_equal(config_proxy_of(&upstream, &source).url, "http://q:1");
}

TEST(config_proxy, a_name_covers_what_ends_in_it_at_a_dot)
{
    assert_true(config_no_proxy_covers(SPAN("example.com"), SPAN("example.com")));
    assert_true(config_no_proxy_covers(SPAN(".example.com"), SPAN("example.com")));
    assert_true(config_no_proxy_covers(SPAN("a, Example.Com"), SPAN("x.EXAMPLE.com")));
    assert_false(config_no_proxy_covers(SPAN("example.com"), SPAN("notexample.com")));
    assert_false(config_no_proxy_covers(SPAN("x.example.com"), SPAN("example.com")));
    assert_true(config_no_proxy_covers(SPAN("*"), SPAN("example.com")));
    assert_true(config_no_proxy_covers(SPAN("[::1]"), SPAN("::1")));
    assert_false(config_no_proxy_covers(SPAN(""), SPAN("example.com")));
    assert_false(config_no_proxy_covers(SPAN(", ,."), SPAN("example.com")));
}
