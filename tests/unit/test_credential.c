#include "core/credential.h"
#include "test.h"

static struct credential found;
static enum rc find(size_t count, const struct header *lines)
{
    struct headers headers = {lines, count};
    found = (struct credential){CREDENTIAL_NONE, SPAN_ABSENT};
    return credential_find(&headers, &found);
}
#define FIND(...)                                                                              \
    find(sizeof((struct header[]){__VA_ARGS__}) / sizeof(struct header),                       \
         (struct header[]){__VA_ARGS__})
#define LINE(name, value)                                                                      \
    {                                                                                          \
        SPAN(name), SPAN(value)                                                                \
    }

TEST(credential, without_headers_there_is_none)
{
    assert_int_equal(find(0, NULL), OK);
    assert_int_equal(found.carrier, CREDENTIAL_NONE);
    assert_null(found.secret.p);
    assert_int_equal(FIND(LINE("x-api-key-2", "k"), LINE("Cookie", "k")), OK);
    assert_int_equal(found.carrier, CREDENTIAL_NONE);
}

TEST(credential, each_carrier_gives_its_secret)
{
    assert_int_equal(FIND(LINE("Authorization", "bearer  sk-1")), OK);
    assert_int_equal(found.carrier, CREDENTIAL_BEARER);
    assert_span_equal(found.secret, "sk-1");
    assert_int_equal(FIND(LINE("X-Api-Key", "sk-1")), OK);
    assert_int_equal(found.carrier, CREDENTIAL_X_API_KEY);
    assert_span_equal(found.secret, "sk-1");
    assert_int_equal(FIND(LINE("api-key", "sk-1")), OK);
    assert_int_equal(found.carrier, CREDENTIAL_API_KEY);
    assert_span_equal(found.secret, "sk-1");
}

TEST(credential, another_scheme_is_a_credential_as_a_whole)
{
    assert_int_equal(FIND(LINE("Authorization", "Basic dTpw")), OK);
    assert_int_equal(found.carrier, CREDENTIAL_AUTHORIZATION);
    assert_span_equal(found.secret, "Basic dTpw");
    assert_int_equal(FIND(LINE("Authorization", "sk-1")), OK);
    assert_int_equal(found.carrier, CREDENTIAL_AUTHORIZATION);
    assert_span_equal(found.secret, "sk-1");
}

TEST(credential, an_empty_value_is_none)
{
    assert_int_equal(
        FIND(LINE("Authorization", ""), LINE("x-api-key", " "), LINE("api-key", "")), OK);
    assert_int_equal(found.carrier, CREDENTIAL_NONE);
    assert_int_equal(FIND(LINE("Authorization", "Bearer")), OK);
    assert_int_equal(found.carrier, CREDENTIAL_NONE);
    assert_int_equal(FIND(LINE("Authorization", "Bearer "), LINE("x-api-key", "k")), OK);
    assert_int_equal(found.carrier, CREDENTIAL_X_API_KEY);
}

TEST(credential, equal_ones_are_one_and_authorization_is_named_first)
{
    assert_int_equal(
        FIND(LINE("api-key", "k"), LINE("x-api-key", "k"), LINE("Authorization", "Bearer k")),
        OK);
    assert_int_equal(found.carrier, CREDENTIAL_BEARER);
    assert_span_equal(found.secret, "k");
}

TEST(credential, different_ones_are_a_conflict)
{
    assert_int_equal(FIND(LINE("Authorization", "Bearer k"), LINE("x-api-key", "K")),
                     E_CONFLICT);
    assert_int_equal(FIND(LINE("x-api-key", "k"), LINE("api-key", "k2")), E_CONFLICT);
    assert_int_equal(FIND(LINE("x-api-key", "k"), LINE("x-api-key", "k2")), E_CONFLICT);
    assert_int_equal(FIND(LINE("Authorization", "Basic k"), LINE("x-api-key", "k")),
                     E_CONFLICT);
}

TEST(credential, its_header_names_are_known)
{
    assert_true(credential_is_header(SPAN("AUTHORIZATION")));
    assert_true(credential_is_header(SPAN("X-Api-Key")));
    assert_true(credential_is_header(SPAN("api-key")));
    assert_false(credential_is_header(SPAN("x-api-keys")));
    assert_false(credential_is_header(SPAN("")));
}
