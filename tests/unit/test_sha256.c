#include "base/sha256.h"
#include "test.h"

TEST(sha256, a_digest_in_base64_is_as_others_write_it)
{
    const struct span text = SPAN("abc"); /* the first example of FIPS 180-4 */
    struct digest digest;
    char base64[DIGEST_BASE64_BYTES];
    assert_int_equal(sha256_of(&text, 1, &digest), OK);
    digest_base64(&digest, base64);
    assert_string_equal(base64, "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
}
