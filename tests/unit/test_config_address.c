#include "test.h"

#include "base/rc.h"
#include "core/config_address.h"

static bool is_local(const char *text)
{
    struct address address;
    assert_null(address_parse(span_of(text), &address));
    return address_is_local(&address);
}

TEST(config_address, reads_a_host_and_a_port)
{
    struct address address;
    assert_null(address_parse(SPAN("db-1.example:8080"), &address));
    assert_false(address.is_unix);
    assert_span_equal(address.host, "db-1.example");
    assert_int_equal(address.port, 8080);
    assert_null(address_parse(SPAN("[2001:db8::1]:0"), &address));
    assert_span_equal(address.host, "2001:db8::1");
    assert_int_equal(address.port, 0);
}

TEST(config_address, reads_a_unix_path_up_to_its_limit)
{
    struct address address;
    char path[5 + 108 + 1] = "unix:/";
    assert_null(address_parse(SPAN("unix:/run/u.sock"), &address));
    assert_true(address.is_unix);
    assert_span_equal(address.path, "/run/u.sock");
    memset(path + 6, 'a', 107);
    assert_null(address_parse((struct span){path, 5 + 107}, &address));
    assert_int_equal(address.path.n, 107);
    assert_non_null(address_parse((struct span){path, 5 + 108}, &address));
    assert_non_null(address_parse(SPAN("unix:run/u.sock"), &address));
}

TEST(config_address, ports_end_at_65535)
{
    struct address address;
    assert_null(address_parse(SPAN("a:65535"), &address));
    assert_int_equal(address.port, 65535);
    assert_string_equal(address_parse(SPAN("a:65536"), &address),
                        "needs a port from 0 to 65535 after the host, such as 127.0.0.1:8080");
}

TEST(config_address, tells_what_to_write_instead)
{
    struct address address;
    static const char *const wrong[] = {
        "",      ":8080",   "8080",   "localhost", "a:",      "a:b",    "::1:80",
        "[::1]", "[::1]80", "[::1]:", "[::g]:1",   "[::1:80", "a b:80", "http://a:80"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_non_null(address_parse(span_of(wrong[i]), &address));
    assert_string_equal(
        address_parse(SPAN("8080"), &address),
        "needs a host and a port, such as 127.0.0.1:8080 (all interfaces: 0.0.0.0:8080)");
    assert_string_equal(
        address_parse(SPAN("::1:80"), &address),
        "has several colons; an IPv6 address stands in brackets, such as [::1]:8080");
}

TEST(config_address, loopback_is_this_machine_and_nothing_else)
{
    static const char *const local[] = {
        "127.0.0.1:1", "127.255.255.254:1", "[::1]:1",    "[::ffff:127.0.0.1]:1",
        "localhost:1", "LocalHost.:1",      "unix:/run/u"};
    static const char *const beyond[] = {
        "0.0.0.0:1", "128.0.0.1:1",         "126.255.255.255:1",    "[::]:1",
        "[::2]:1",   "[::ffff:10.0.0.1]:1", "localhost.evil.tld:1", "127.0.0.1.nip.io:1",
        "127.1:1"};
    for (size_t i = 0; i < sizeof local / sizeof *local; i++)
        assert_true(is_local(local[i]));
    for (size_t i = 0; i < sizeof beyond / sizeof *beyond; i++)
        assert_false(is_local(beyond[i]));
}

TEST(config_address, an_authority_may_leave_out_its_port)
{
    static const struct {
        const char *text, *host;
        uint16_t port;
    } fine[] = {{"a.example", "a.example", 7},
                {"a.example.:80", "a.example", 80},
                {"[::1]", "::1", 7},
                {"[::1]:1", "::1", 1},
                {"a.example:", "a.example", 7},
                {"10.1.2.3:65535", "10.1.2.3", 65535}};
    static const char *const wrong[] = {"",    "a b",     "a:b",  "user@localhost",
                                        "a:0", "a:65536", "[::1", "[::1]x",
                                        "[]",  "[a]",     "::1"};
    for (size_t i = 0; i < COUNT_OF(fine); i++) {
        struct span host;
        uint16_t port = 7;
        assert_null(authority_parse(span_of(fine[i].text), &host, &port));
        assert_span_equal(host, fine[i].host);
        assert_int_equal(port, fine[i].port);
    }
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        struct span host = SPAN("untouched");
        uint16_t port = 7;
        assert_non_null(authority_parse(span_of(wrong[i]), &host, &port));
        assert_span_equal(host, "untouched");
        assert_int_equal(port, 7);
    }
}

TEST(config_address, an_address_lies_in_networks)
{
    static const struct {
        const char *host, *network;
        bool inside;
    } cases[] = {{"10.1.2.3", "10.1.2.3", true},
                 {"10.1.2.33", "10.1.2.3", false},
                 {"10.255.255.255", "10.0.0.0/8", true},
                 {"11.0.0.0", "10.0.0.0/8", false},
                 {"192.168.7.255", "192.168.4.0/22", true},
                 {"192.168.8.0", "192.168.4.0/22", false},
                 {"8.8.8.8", "0.0.0.0/0", true},
                 {"10.1.2.3", "10.1.2.3/32", true},
                 {"10.1.2.3", "10.1.2.3/33", false},
                 {"10.1.2.3", "10.1.2.3/", false},
                 {"10.1.2.3", "10.1.2/24", false},
                 {"2001:db8:1::5", "2001:db8::/32", true},
                 {"2001:db8::5", "2001:db8:0::5", true},
                 {"::1", "::1/129", false},
                 {"8.8.8.8", "::/0", false},
                 {"a.example", "0.0.0.0/0", false},
                 {"", "0.0.0.0/0", false},
                 {"10.1.2.3", "", false}};
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(host_in_network(span_of(cases[i].host), span_of(cases[i].network)),
                         cases[i].inside);
    assert_true(host_is_ip(SPAN("10.1.2.3")));
    assert_true(host_is_ip(SPAN("::1")));
    assert_false(host_is_ip(SPAN("10.1.2.3.example")));
}

TEST(config_address, a_url_is_taken_apart)
{
    struct url url;
    assert_null(url_parse(SPAN("https://user:p@ss@[2001:db8::1]:65535/a@b?c"), &url));
    assert_span_equal(url.scheme, "https");
    assert_true(url.is_https);
    assert_span_equal(url.user, "user:p@ss");
    assert_span_equal(url.host, "2001:db8::1");
    assert_int_equal(url.port, 65535);
    assert_span_equal(url.path, "/a@b?c");
    assert_null(url_parse(SPAN("proxy.example:3128"), &url));
    assert_null(url.scheme.p);
    assert_null(url.user.p);
    assert_span_equal(url.host, "proxy.example");
    assert_int_equal(url.port, 3128);
    assert_span_equal(url.path, "");
    assert_null(url_parse(SPAN("user:pass@proxy"), &url));
    assert_null(url.scheme.p);
    assert_span_equal(url.user, "user:pass");
    assert_null(url_parse(SPAN("HTTPS://a?x=//y"), &url));
    assert_true(url.is_https);
    assert_span_equal(url.host, "a");
    assert_int_equal(url.port, 443);
    assert_span_equal(url.path, "?x=//y");
    assert_null(url_parse(SPAN("socks5h://a./"), &url));
    assert_false(url.is_https);
    assert_span_equal(url.host, "a");
    assert_int_equal(url.port, 80);
}

TEST(config_address, what_is_no_url_is_refused)
{
    struct url url;
    static const struct span urls[] = {SPAN(""),
                                       SPAN_ABSENT,
                                       SPAN("http://"),
                                       SPAN("http:///path"),
                                       SPAN("http://a:0/"),
                                       SPAN("http://a:65536/"),
                                       SPAN("http://a:8o/"),
                                       SPAN("http://[::1/"),
                                       SPAN("http://[::1]x/"),
                                       SPAN("http://[]/"),
                                       SPAN("http://a\0b/"),
                                       SPAN("http://a@")};
    for (size_t i = 0; i < COUNT_OF(urls); i++)
        assert_non_null(url_parse(urls[i], &url));
}

TEST(config_address, a_base_url_loses_its_final_slashes)
{
    struct url url;
    assert_null(base_url_parse(SPAN("https://api.example/v1//"), &url));
    assert_true(url.is_https);
    assert_span_equal(url.host, "api.example");
    assert_int_equal(url.port, 443);
    assert_span_equal(url.path, "/v1");
    assert_null(base_url_parse(SPAN("HTTP://[::1]:8000"), &url));
    assert_false(url.is_https);
    assert_span_equal(url.host, "::1");
    assert_int_equal(url.port, 8000);
    assert_span_equal(url.path, "");
    assert_null(base_url_parse(SPAN("http://a/"), &url));
    assert_int_equal(url.port, 80);
    assert_span_equal(url.path, "");
}

TEST(config_address, a_base_url_that_is_none_is_told)
{
    struct url url;
    assert_string_equal(base_url_parse(SPAN("a.example/v1"), &url),
                        "must begin with https:// or http://");
    assert_string_equal(base_url_parse(SPAN("https://a/v1?x=1"), &url),
                        "must end with its path: no ? and no #");
    assert_string_equal(base_url_parse(SPAN("https://u:p@a/v1"), &url),
                        "must not hold a user or a password; use api_key or headers");
    assert_string_equal(base_url_parse(SPAN("https://a b/"), &url),
                        "has a character that no URL has");
    assert_string_equal(base_url_parse(SPAN("https://\xC3\xA4/"), &url),
                        "has a character that no URL has");
    assert_string_equal(base_url_parse(SPAN("https:///v1"), &url),
                        "has no valid host; write an address or a name, such as 127.0.0.1");
    assert_string_equal(base_url_parse(SPAN("https://a:0/v1"), &url),
                        "has a port that is not from 1 to 65535");
}
