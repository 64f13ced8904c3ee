#include "core/framing.h"
#include "test.h"

#include <stdio.h>

static struct http_head head_of(const struct header *items, size_t count)
{
    return (struct http_head){.method = SPAN("POST"),
                              .path = SPAN("/p"),
                              .version_minor = 1,
                              .headers = {items, count}};
}

/* name, value, name, value ..., after a Host. */
static struct framing check(size_t count, const char *const *texts)
{
    struct header items[8] = {{SPAN("Host"), SPAN("a")}};
    for (size_t i = 0; i < count / 2; i++)
        items[i + 1] = (struct header){span_of(texts[2 * i]), span_of(texts[2 * i + 1])};
    struct http_head head = head_of(items, count / 2 + 1);
    return framing_check(&head);
}

#define CHECK(...)                                                                             \
    check(sizeof((const char *[]){__VA_ARGS__}) / sizeof(const char *),                        \
          (const char *[]){__VA_ARGS__})

TEST(framing, a_body_is_counted_or_chunked_or_absent)
{
    struct framing none = CHECK("X", "y");
    assert_int_equal(none.fault, FRAMING_FINE);
    assert_false(none.chunked);
    assert_int_equal(none.body_bytes, 0);
    struct framing counted = CHECK("content-length", "0042");
    assert_int_equal(counted.fault, FRAMING_FINE);
    assert_int_equal(counted.body_bytes, 42);
    struct framing chunked = CHECK("Transfer-Encoding", "Chunked");
    assert_int_equal(chunked.fault, FRAMING_FINE);
    assert_true(chunked.chunked);
}

TEST(framing, two_ways_to_find_the_end_are_ambiguous)
{
    assert_int_equal(CHECK("Content-Length", "1", "Transfer-Encoding", "chunked").fault,
                     FRAMING_AMBIGUOUS);
    assert_int_equal(CHECK("Content-Length", "1", "content-length", "1").fault,
                     FRAMING_AMBIGUOUS);
    assert_int_equal(
        CHECK("Transfer-Encoding", "chunked", "Transfer-Encoding", "chunked").fault,
        FRAMING_AMBIGUOUS);
    static const char *const lengths[] = {
        "", "+1", "-1", "1,1", "0x1", "1 1", "18446744073709551616"};
    for (size_t i = 0; i < COUNT_OF(lengths); i++)
        assert_int_equal(CHECK("Content-Length", lengths[i]).fault, FRAMING_AMBIGUOUS);
    static const char *const encodings[] = {"", "gzip", "gzip, chunked", "chunked;q=1",
                                            "chunked\tx"};
    for (size_t i = 0; i < COUNT_OF(encodings); i++)
        assert_int_equal(CHECK("Transfer-Encoding", encodings[i]).fault,
                         FRAMING_BAD_TRANSFER_ENCODING);
}

TEST(framing, http_1_0_has_neither_transfer_encoding_nor_expect_nor_needs_a_host)
{
    const struct header chunked[] = {{SPAN("Transfer-Encoding"), SPAN("chunked")}};
    const struct header expecting[] = {{SPAN("Expect"), SPAN("anything")}};
    struct http_head head = head_of(chunked, 1);
    head.version_minor = 0;
    assert_int_equal(framing_check(&head).fault, FRAMING_AMBIGUOUS);
    head.headers = (struct headers){expecting, 1};
    assert_int_equal(framing_check(&head).fault, FRAMING_FINE);
    assert_false(framing_check(&head).expects_continue);
    head.headers = (struct headers){NULL, 0};
    assert_int_equal(framing_check(&head).fault, FRAMING_FINE);
    head.version_minor = 1;
    assert_int_equal(framing_check(&head).fault, FRAMING_NO_HOST);
}

TEST(framing, only_100_continue_may_be_expected)
{
    struct framing framing = CHECK("Expect", "100-Continue");
    assert_int_equal(framing.fault, FRAMING_FINE);
    assert_true(framing.expects_continue);
    assert_int_equal(CHECK("Expect", "200-ok").fault, FRAMING_BAD_EXPECT);
    assert_int_equal(CHECK("Expect", "100-continue", "Expect", "100-continue").fault,
                     FRAMING_BAD_EXPECT);
}

TEST(framing, headers_that_decide_something_stand_once)
{
    static const char *const names[] = {
        "Host",          "Content-Type", "Idempotency-Key", "X-Idempotency-Key",
        "Authorization", "X-Api-Key",    "API-Key"};
    for (size_t i = 1; i < COUNT_OF(names); i++) {
        assert_int_equal(CHECK(names[i], "a").fault, FRAMING_FINE);
        assert_int_equal(CHECK(names[i], "a", names[i], "a").fault, FRAMING_BAD_HEADER);
    }
    assert_int_equal(CHECK(names[0], "a").fault, FRAMING_BAD_HEADER); /* the second one */
    assert_int_equal(CHECK("Accept", "a", "Accept", "b").fault, FRAMING_FINE);
}

TEST(framing, names_are_tokens_and_values_have_no_control_characters_but_tabs)
{
    assert_int_equal(CHECK("!#$%&'*+-.^_`|~09azAZ", "a\tb \x80\xff").fault, FRAMING_FINE);
    static const char *const names[] = {"",   "a b",      "a\t", "Content-Length ",
                                        "a:", "\xc3\xa4", "a("};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        assert_int_equal(CHECK(names[i], "x").fault, FRAMING_BAD_HEADER);
    static const char *const values[] = {"a\rb", "a\nb", "\x01", "\x1f", "\x7f"};
    for (size_t i = 0; i < COUNT_OF(values); i++)
        assert_int_equal(CHECK("X", values[i]).fault, FRAMING_BAD_HEADER);
    const struct header nul[] = {{SPAN("Host"), SPAN("a\0b")}};
    struct http_head head = head_of(nul, 1);
    assert_int_equal(framing_check(&head).fault, FRAMING_BAD_HEADER);
}

TEST(framing, methods_are_tokens_and_targets_have_no_blanks)
{
    const struct header host[] = {{SPAN("Host"), SPAN("a")}};
    struct http_head head = head_of(host, 1);
    head.method = SPAN("G T");
    assert_int_equal(framing_check(&head).fault, FRAMING_AMBIGUOUS);
    head.method = SPAN("");
    assert_int_equal(framing_check(&head).fault, FRAMING_AMBIGUOUS);
    head.method = SPAN("GET");
    static const char *const paths[] = {"", "/a b", "/a\t", "/\x01", "/\x7f"};
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        head.path = span_of(paths[i]);
        assert_int_equal(framing_check(&head).fault, FRAMING_AMBIGUOUS);
    }
    head.path = SPAN("/\xc3\xa4");
    assert_int_equal(framing_check(&head).fault, FRAMING_FINE);
    head.query = SPAN("a b");
    assert_int_equal(framing_check(&head).fault, FRAMING_AMBIGUOUS);
}

static const char *split(const char *target)
{
    static char text[256];
    const struct header host[] = {{SPAN("Host"), SPAN("h:80")}};
    const struct headers headers = {host, 1};
    struct span path, query;
    if (!framing_split_target(span_of(target), &headers, &path, &query))
        return "refused";
    (void)snprintf(text, sizeof text, "%.*s %s%.*s", SPAN_ARG(path), query.p ? "?" : "-",
                   SPAN_ARG(query));
    return text;
}

TEST(framing, a_target_is_split_into_path_and_query)
{
    assert_string_equal(split("/"), "/ -");
    assert_string_equal(split("/a?"), "/a ?");
    assert_string_equal(split("/a?b=c?d"), "/a ?b=c?d");
    assert_string_equal(split("*"), "* -");
    assert_string_equal(split("http://h:80/a?b"), "/a ?b");
    assert_string_equal(split("HTTPS://H:80/"), "/ -");
    static const char *const refused[] = {
        "",           "a",           "**",         "h:80",
        "http://",    "http://h:80", "http://h/a", "http://h:80?a",
        "ftp://h:80/"};
    for (size_t i = 0; i < COUNT_OF(refused); i++)
        assert_string_equal(split(refused[i]), "refused");
}

TEST(framing, an_absolute_target_without_an_authority_is_refused)
{
    const struct header empty[] = {{SPAN("Host"), SPAN("")}};
    const struct headers no_host = {NULL, 0}, empty_host = {empty, 1};
    struct span path, query;
    assert_false(framing_split_target(SPAN("http:///a"), &no_host, &path, &query));
    assert_false(framing_split_target(SPAN("http:///a"), &empty_host, &path, &query));
}

/* "GET / HTTP/1.1", then "name:value" lines; '~' stands for NUL.  The parts are found at the
 * places given by their text, in order. */
static bool whole(const char *text, size_t header_count, const char *const *fields)
{
    char raw[256];
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++)
        raw[i] = (char)(text[i] == '~' ? '\0' : text[i]);
    struct header items[4] = {0};
    const char *at = raw + strlen("GET~/~HTTP/1.1");
    for (size_t i = 0; i < 2 * header_count; i++) {
        size_t wanted = strlen(fields[i]);
        at = wanted ? memmem(at, (size_t)(raw + n - at), fields[i], wanted) : at + 1;
        assert_non_null(at);
        *(i % 2 ? &items[i / 2].value : &items[i / 2].name) = (struct span){at, wanted};
        at += wanted;
    }
    struct framing_parts parts = {.raw = {raw, n},
                                  .method = {raw, 3},
                                  .target = {raw + 4, 1},
                                  .version = {raw + 6, 8},
                                  .headers = {items, header_count}};
    return framing_is_whole(&parts);
}

#define WHOLE(text, ...)                                                                       \
    whole(text, sizeof((const char *[]){__VA_ARGS__}) / sizeof(const char *) / 2,              \
          (const char *[]){__VA_ARGS__})

TEST(framing, a_head_is_whole_when_its_parts_leave_nothing_out)
{
    assert_true(whole("GET~/~HTTP/1.1~~~~", 0, NULL));
    assert_true(WHOLE("GET~/~HTTP/1.1~~H~ a~~~~", "H", "a"));
    assert_true(WHOLE("GET~/~HTTP/1.1~~H~a~~X~ \t b c ~~~~", "H", "a", "X", "b c "));
    assert_true(WHOLE("GET~/~HTTP/1.1~~H~~~X~ b~~~~", "H", "", "X", "b"));
}

TEST(framing, a_head_with_bytes_in_no_part_is_not_whole)
{
    assert_false(WHOLE("GET~/~HTTP/1.1~~H~ a~b~~~~", "H", "a"));                 /* NUL, last */
    assert_false(WHOLE("GET~/~HTTP/1.1~~H~ a~b~~X~ c~~~~", "H", "a", "X", "c")); /* NUL */
    assert_false(WHOLE("GET~/~HTTP/1.1~~H~ a~~ folded~~~~", "H", "a"));
    assert_false(WHOLE("GET~/~HTTP/1.1~~~ nameless~~H~ a~~~~", "H", "a"));
    assert_false(WHOLE("GET~/~HTTP/1.1~~H~x a~~~~", "H", "a"));
    assert_false(WHOLE("GET~/~HTTP/1.1~H~ a~~~~", "H", "a")); /* a bare LF */
    assert_false(WHOLE("GET~/~HTTP/1.1~~H~ a~~", "H", "a"));
    assert_false(WHOLE("GET~/~HTTP/1.1~~H~ a~~~~~", "H", "a"));
    assert_false(whole("GET~/~HTTP/1.1", 0, NULL));
}

TEST(framing, a_part_that_was_moved_elsewhere_makes_a_head_not_whole)
{
    char raw[] = "GET\0/\0HTTP/1.1\0\0H\0 a\0\0\0";
    char elsewhere[] = "Hglued";
    struct header item = {{elsewhere, 6}, {raw + 19, 1}};
    struct framing_parts parts = {.raw = {raw, sizeof raw},
                                  .method = {raw, 3},
                                  .target = {raw + 4, 1},
                                  .version = {raw + 6, 8},
                                  .headers = {&item, 1}};
    assert_false(framing_is_whole(&parts));
    item.name = (struct span){raw + 16, 1};
    assert_true(framing_is_whole(&parts));
    item.value.p = elsewhere;
    assert_false(framing_is_whole(&parts));
    item.value = (struct span){raw + 16, 1};
    assert_false(framing_is_whole(&parts));
}
