#include "core/result_url.h"
#include "test.h"

#define ID "/requests/00112233445566778899aabbccddeeff"
/* 32 bytes 0, 1, 2 ... as base64url. */
#define TOKEN "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"

static struct result_ref ref;

static enum rc read_url(const char *path, const char *query)
{
    ref = (struct result_ref){.hop = 7};
    return result_url_read(span_of(path), span_of(query), &ref);
}

#define assert_names_nothing(path, query)                                                      \
    do {                                                                                       \
        assert_int_equal(read_url(path, query), E_NOT_FOUND);                                  \
        assert_int_equal(ref.hop, 7);                                                          \
    } while (0)

static struct result_token token_of(const char *text)
{
    struct result_token token;
    assert_int_equal(strlen(text), sizeof token.text - 1);
    memcpy(token.text, text, sizeof token.text);
    return token;
}

TEST(result_url, a_token_is_its_random_bytes_in_base64url)
{
    uint8_t random[RESULT_TOKEN_BYTES];
    for (size_t i = 0; i < sizeof random; i++)
        random[i] = (uint8_t)i;
    assert_string_equal(result_token_make(random).text, TOKEN);
    memset(random, 0xFF, sizeof random);
    assert_string_equal(result_token_make(random).text,
                        "__________________________________________8");
    memset(random, 0xFB, sizeof random);
    assert_string_equal(result_token_make(random).text,
                        "-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s");
}

TEST(result_url, the_digest_of_a_token_is_sha_256_of_its_text)
{
    const struct result_token token = token_of(TOKEN);
    struct digest got, want;
    assert_int_equal(result_token_digest(&token, &got), OK);
    assert_true(digest_from_hex(
        SPAN("ea866a757e4c38babfa8127cbe9a409d3e1f93a00ff1488ff735fcf917afffd0"), &want));
    assert_true(digest_eq(&got, &want));
}

TEST(result_url, everything_below_requests_is_one)
{
    assert_true(result_url_is_one(SPAN("/requests/")));
    assert_true(result_url_is_one(SPAN("/requests/x/y")));
    assert_true(result_url_is_one(SPAN(ID)));
    assert_false(result_url_is_one(SPAN("/requests")));
    assert_false(result_url_is_one(SPAN("/request/")));
    assert_false(result_url_is_one(SPAN("/Requests/x")));
    assert_false(result_url_is_one(SPAN("/v1/requests/x")));
    assert_false(result_url_is_one(SPAN_ABSENT));
}

TEST(result_url, it_names_a_flight_by_its_id_in_either_case)
{
    static const uint8_t id[] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                                 0x88, 0x99, 0xAA, 0xBB, 0xCC, 0xDD, 0xEE, 0xFF};
    static const char *const both[] = {ID, "/requests/00112233445566778899AABBCCDDEEFF"};
    for (size_t i = 0; i < COUNT_OF(both); i++) {
        assert_int_equal(read_url(both[i], NULL), OK);
        assert_false(ref.by_token);
        assert_memory_equal(ref.flight.bytes, id, sizeof id);
        assert_false(ref.in_chain);
        assert_int_equal(ref.hop, 0);
    }
}

TEST(result_url, it_names_a_flight_by_a_token_and_its_digest)
{
    struct digest want;
    const struct result_token token = token_of(TOKEN);
    assert_int_equal(result_token_digest(&token, &want), OK);
    assert_int_equal(read_url("/requests/" TOKEN, ""), OK);
    assert_true(ref.by_token);
    assert_string_equal(ref.token.text, TOKEN);
    assert_true(digest_eq(&ref.digest, &want));
    assert_false(ref.in_chain);
}

TEST(result_url, any_other_path_names_nothing)
{
    static const char *const wrong[] = {
        "",
        "/requests",
        "/requests/",
        "/requests//" TOKEN,
        "requests/" TOKEN,
        ID "/",
        "/requests/00112233445566778899aabbccddeef",
        ID "0",
        "/requests/00112233445566778899aabbccddeefg",
        "/requests/0011223344556677-8899aabbccddeef",
        "/requests/AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh",
        "/requests/" TOKEN "A",
        "/requests/" TOKEN "=",
        "/requests/+AECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
        "/requests/AAECAwQFBgcICQoLDA0O/xAREhMUFRYXGBkaGxwdHh8",
        "/requests/AAECAwQFBgcICQoLDA0O%xAREhMUFRYXGBkaGxwdHh8",
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        assert_names_nothing(wrong[i], NULL);
    struct span nul = SPAN("/requests/AAECAwQFBgcICQoLDA0O\0xAREhMUFRYXGBkaGxwdHh8");
    assert_int_equal(result_url_read(nul, SPAN_ABSENT, &ref), E_NOT_FOUND);
}

/* The two unused bits of the last character. */
TEST(result_url, a_token_has_one_spelling)
{
    assert_int_equal(read_url("/requests/AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHhA", NULL),
                     OK);
    assert_names_nothing("/requests/AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHhB", NULL);
    assert_names_nothing("/requests/AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHhC", NULL);
    assert_names_nothing("/requests/AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHhD", NULL);
    assert_int_equal(read_url("/requests/AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHhE", NULL),
                     OK);
}

TEST(result_url, n_is_its_hop_in_a_chain)
{
    assert_int_equal(read_url(ID, "n=1"), OK);
    assert_true(ref.in_chain);
    assert_int_equal(ref.hop, 1);
    assert_int_equal(read_url("/requests/" TOKEN, "n=100000"), OK);
    assert_true(ref.in_chain);
    assert_int_equal(ref.hop, 100000);
}

TEST(result_url, other_parameters_are_ignored)
{
    assert_int_equal(read_url(ID, "a=1&n=2&&nn=3&N=4&%6E=5&n2"), OK);
    assert_true(ref.in_chain);
    assert_int_equal(ref.hop, 2);
    assert_int_equal(read_url(ID, "m=x&"), OK);
    assert_false(ref.in_chain);
}

TEST(result_url, a_hop_that_is_none_names_nothing)
{
    static const char *const wrong[] = {
        "n",
        "n=",
        "n=0",
        "n=100001",
        "n=18446744073709551617",
        "n=4294967297",
        "n=-1",
        "n=+1",
        "n=1x",
        "n= 1",
        "n=1;",
        "n==1",
        "n=1=",
        "n=%31",
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        assert_names_nothing(ID, wrong[i]);
    assert_names_nothing("/requests/" TOKEN, "n=0");
}

TEST(result_url, a_hop_that_stands_twice_names_nothing)
{
    assert_names_nothing(ID, "n=1&n=1");
    assert_names_nothing(ID, "n=1&a&n");
}

TEST(result_url, it_is_written_with_its_hop)
{
    const struct result_token token = token_of(TOKEN);
    BUF(url, 256);
    result_url_write(&token, 0, &url);
    assert_string_equal(buf_text(&url), "/requests/" TOKEN);
    buf_clear(&url);
    result_url_write(&token, 1, &url);
    assert_string_equal(buf_text(&url), "/requests/" TOKEN "?n=1");
    buf_clear(&url);
    result_url_write(&token, RESULT_HOPS_MAX, &url);
    assert_string_equal(buf_text(&url), "/requests/" TOKEN "?n=100000");
}

TEST(result_url, one_that_does_not_fit_fails_the_buffer)
{
    const struct result_token token = token_of(TOKEN);
    BUF(fits, 57);
    result_url_write(&token, 1, &fits);
    assert_int_equal(buf_rc(&fits), OK);
    BUF(full, 56);
    result_url_write(&token, 1, &full);
    assert_int_equal(buf_rc(&full), E_LIMIT);
}
