#include "core/idem_key.h"
#include "test.h"

#include <stdlib.h>

#define X50 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X255 X50 X50 X50 X50 X50 "xxxxx"

/* What the header lines `a` and `b` (NULL: none) give: the key, or the word of the error. */
static struct idem_key key;
static const char *parse_named(const char *name_a, const char *a, const char *name_b,
                               const char *b)
{
    struct header lines[2] = {{span_of(name_a), span_of(a)}, {span_of(name_b), span_of(b)}};
    struct headers headers = {lines, (size_t)(a != NULL) + (b != NULL)};
    key = (struct idem_key){.n = 0};
    return idem_key_error_name(idem_key_from_headers(&headers, &key));
}
static const char *parse(const char *a)
{
    return parse_named("idempotency-key", a, NULL, NULL);
}

#define assert_key(line, literal)                                                              \
    do {                                                                                       \
        assert_string_equal(parse(line), "fine");                                              \
        assert_span_equal(idem_key_span(&key), literal);                                       \
    } while (0)

TEST(idem_key, no_header_is_an_absent_key)
{
    assert_string_equal(parse(NULL), "fine");
    assert_null(idem_key_span(&key).p);
}

TEST(idem_key, bare_and_quoted_are_one_key)
{
    assert_key("abc", "abc");
    assert_key("\"abc\"", "abc");
    assert_key("  \"abc\"\t", "abc");
    assert_key("'abc'=/+", "'abc'=/+");
}

TEST(idem_key, a_string_may_hold_blanks_commas_and_escaped_quotes)
{
    assert_key("\"a b, c; d\"", "a b, c; d");
    assert_key("\"a\\\"b\\\\c\"", "a\"b\\c");
}

TEST(idem_key, parameters_are_ignored)
{
    assert_key("\"abc\";v=1", "abc");
    assert_key("\"abc\"; v=\"x, y\";w;z=:YQ==:", "abc");
    assert_key("\"abc\";v=\"\"", "abc");
}

TEST(idem_key, two_lines_joined_by_a_proxy_are_refused)
{
    assert_string_equal(parse("a, b"), "bare");
    assert_string_equal(parse("\"a\", \"b\""), "trailing");
    assert_string_equal(parse("\"a\";v=1, \"b\""), "trailing");
    assert_string_equal(parse("\"a\";v=\"1\", \"b\""), "trailing");
}

TEST(idem_key, what_follows_a_string_is_refused)
{
    assert_string_equal(parse("\"a\" junk"), "trailing");
    assert_string_equal(parse("\"a\"b"), "trailing");
    assert_string_equal(parse("\"a\" ;v=1"), "trailing");
    assert_string_equal(parse("\"a\";"), "trailing");
    assert_string_equal(parse("\"a\";v=\"x"), "trailing");
}

TEST(idem_key, each_mistake_has_its_own_word)
{
    assert_string_equal(parse(""), "empty");
    assert_string_equal(parse("   "), "empty");
    assert_string_equal(parse("\"\""), "length");
    assert_string_equal(parse("\"abc"), "unterminated");
    assert_string_equal(parse("abc\""), "bare");
    assert_string_equal(parse("a\\b"), "bare");
    assert_string_equal(parse("a;b"), "bare");
    assert_string_equal(parse("a\x7f"), "bare");
    assert_string_equal(parse("\"a\\"), "escape");
    assert_string_equal(parse("\"a\\x\""), "escape");
    assert_string_equal(parse("\"a\tb\""), "char");
    assert_string_equal(parse("\"f\xc3\xbc\""), "char");
}

TEST(idem_key, at_255_bytes_it_is_taken_and_at_256_refused)
{
    assert_key(X255, X255);
    assert_string_equal(parse(X255 "x"), "bare");
    assert_key("\"" X255 "\"", X255);
    assert_string_equal(parse("\"" X255 "x\""), "length");
    assert_string_equal(parse("\"" X255 X255 "\""), "length");
}

TEST(idem_key, two_lines_are_refused_even_when_equal)
{
    assert_string_equal(parse_named("Idempotency-Key", "a", "idempotency-key", "a"),
                        "multiple");
    assert_string_equal(parse_named("x-idempotency-key", "a", "X-Idempotency-Key", "b"),
                        "multiple");
}

TEST(idem_key, the_alias_counts_alone_and_must_be_equal_beside_the_header)
{
    assert_string_equal(parse_named("X-Idempotency-Key", "a", NULL, NULL), "fine");
    assert_span_equal(idem_key_span(&key), "a");
    assert_string_equal(parse_named("X-Idempotency-Key", "\"a\"", "Idempotency-Key", "a"),
                        "fine");
    assert_span_equal(idem_key_span(&key), "a");
    assert_string_equal(parse_named("X-Idempotency-Key", "b", "Idempotency-Key", "a"),
                        "different");
}

static const char *join(const char *header, const char *member)
{
    (void)parse(header);
    return idem_key_error_name(idem_key_join_member(&key, span_of(member)));
}

TEST(idem_key, the_member_counts_alone_and_must_be_equal_beside_the_header)
{
    assert_string_equal(join(NULL, "\"a\\u0062 \\\"\""), "fine");
    assert_span_equal(idem_key_span(&key), "ab \"");
    assert_string_equal(join("a", "\"a\""), "fine");
    assert_span_equal(idem_key_span(&key), "a");
    assert_string_equal(join("a", "\"b\""), "different");
    assert_span_equal(idem_key_span(&key), "a");
}

TEST(idem_key, an_absent_or_null_member_changes_nothing)
{
    assert_string_equal(join("a", NULL), "fine");
    assert_span_equal(idem_key_span(&key), "a");
    assert_string_equal(join("a", "null"), "fine");
    assert_span_equal(idem_key_span(&key), "a");
}

TEST(idem_key, a_member_is_a_string_of_1_to_255_printable_characters)
{
    assert_string_equal(join(NULL, "1"), "type");
    assert_string_equal(join(NULL, "\"\""), "length");
    assert_string_equal(join(NULL, "\"" X255 "\""), "fine");
    assert_string_equal(join(NULL, "\"" X255 "x\""), "length");
    assert_string_equal(join(NULL, "\"a\\n\""), "char");
    assert_string_equal(join(NULL, "\"\\u0000\""), "char");
    assert_string_equal(join(NULL, "\"\xc3\xbc\""), "char");
}

TEST(idem_key, an_anonymous_key_needs_16_bytes)
{
    assert_key("123456789012345", "123456789012345");
    assert_int_equal(idem_key_check_anonymous(&key), IDEM_KEY_SHORT);
    assert_key("1234567890123456", "1234567890123456");
    assert_int_equal(idem_key_check_anonymous(&key), IDEM_KEY_FINE);
    assert_string_equal(parse(NULL), "fine");
    assert_int_equal(idem_key_check_anonymous(&key), IDEM_KEY_FINE);
}
