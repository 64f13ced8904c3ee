#include "test.h"

#include "base/blob.h"

TEST(blob, a_held_one_counts_once_until_its_last_holder_lets_go)
{
    size_t bytes = 0;
    OWNED(blob) one = blob_new(SPAN("one"));
    OWNED(blob) other = blob_new(SPAN("other"));
    assert_ptr_equal(blob_hold(one, &bytes), one);
    assert_int_equal(bytes, 3);
    (void)blob_hold(one, &bytes);
    (void)blob_hold(other, &bytes);
    assert_int_equal(bytes, 8);
    blob_let_go(one, &bytes);
    assert_int_equal(bytes, 8);
    blob_let_go(one, &bytes);
    assert_int_equal(bytes, 5);
    blob_let_go(other, &bytes);
    assert_int_equal(bytes, 0);
    (void)blob_hold(one, &bytes); /* in another count, perhaps */
    blob_let_go(one, &bytes);
    assert_int_equal(bytes, 0);
    assert_span_equal(blob_span(one), "one");
}

TEST(blob, who_holds_one_has_a_reference)
{
    size_t bytes = 0;
    struct blob *blob = blob_new(SPAN("held"));
    (void)blob_hold(blob, &bytes);
    blob_free(blob);
    assert_span_equal(blob_span(blob), "held");
    blob_let_go(blob, &bytes); /* frees it, says the sanitizer */
    assert_int_equal(bytes, 0);
}

TEST(blob, nothing_can_be_held_and_has_no_bytes)
{
    size_t bytes = 0;
    OWNED(blob) empty = blob_new(SPAN(""));
    assert_null(blob_hold(NULL, &bytes));
    blob_let_go(NULL, &bytes);
    blob_let_go(blob_hold(empty, &bytes), &bytes);
    assert_int_equal(bytes, 0);
}
