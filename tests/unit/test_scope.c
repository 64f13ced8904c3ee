#include "core/scope.h"
#include "test.h"

static void assert_digest(const struct digest *digest, const char *hex)
{
    struct digest want;
    assert_true(digest_from_hex(span_of(hex), &want));
    assert_memory_equal(digest->bytes, want.bytes, sizeof want.bytes);
}

TEST(scope, its_digest_is_that_of_the_contract)
{
    struct digest scope, key;
    assert_int_equal(scope_digest(SPAN("salt"), SCOPE_CLIENT, SPAN("billing"), &scope), OK);
    assert_digest(&scope, "140c0f1b9ff180408adc0daf109bda197c59ec243c4073f4b4476753de05596a");
    assert_int_equal(scope_key_digest(&scope, SPAN("order-1"), &key), OK);
    assert_digest(&key, "638740c2992edd666004d9640980d4841dc777dfca34169f96114850af82717e");
    assert_int_equal(scope_digest(SPAN("salt"), SCOPE_ANONYMOUS, SPAN(""), &scope), OK);
    assert_digest(&scope, "66611eb5c6e32471f9bc9ec99e83179d8c043596999e878b55d8099c241a247b");
}

TEST(scope, kind_tenant_and_salt_each_make_another_scope)
{
    struct digest scope, other;
    assert_int_equal(scope_digest(SPAN("salt"), SCOPE_CLIENT, SPAN("a"), &scope), OK);
    assert_int_equal(scope_digest(SPAN("salt"), SCOPE_CREDENTIAL, SPAN("a"), &other), OK);
    assert_false(digest_eq(&scope, &other));
    assert_int_equal(scope_digest(SPAN("salt"), SCOPE_CLIENT, SPAN("b"), &other), OK);
    assert_false(digest_eq(&scope, &other));
    assert_int_equal(scope_digest(SPAN("tlas"), SCOPE_CLIENT, SPAN("a"), &other), OK);
    assert_false(digest_eq(&scope, &other));
}
