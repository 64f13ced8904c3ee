/* The maximum of a buffer and of an arena, on which most other limits stand. */
#include "base/arena.h"
#include "base/buf.h"
#include "test.h"

TEST(buf, it_takes_bytes_max_and_not_one_more)
{
    BUF(buf, 5);
    buf_add_text(&buf, "abc");
    buf_add(&buf, SPAN("de"));
    assert_int_equal(buf_rc(&buf), OK);
    buf_add_byte(&buf, 'f');
    assert_int_equal(buf_rc(&buf), E_LIMIT);
    assert_span_equal(buf_span(&buf), "abcde");
}

TEST(buf, what_does_not_fit_is_not_added_in_part)
{
    BUF(added, 5);
    BUF(printed, 5);
    BUF(hex, 5);
    buf_add_text(&added, "abcdef");
    buf_printf(&printed, "%d", 123456);
    buf_add_hex(&hex, "abc", 3);
    assert_int_equal(added.n + printed.n + hex.n, 0);
    assert_int_equal(buf_rc(&added), E_LIMIT);
    assert_int_equal(buf_rc(&printed), E_LIMIT);
    assert_int_equal(buf_rc(&hex), E_LIMIT);
}

TEST(buf, printing_takes_bytes_max_too)
{
    BUF(buf, 5);
    buf_printf(&buf, "%s", "abcde");
    assert_int_equal(buf_rc(&buf), OK);
    assert_string_equal(buf_text(&buf), "abcde");
}

TEST(buf, a_failure_sticks_until_it_is_cleared)
{
    BUF(buf, 2);
    buf_add_text(&buf, "abc");
    buf_add_byte(&buf, 'a');
    assert_int_equal(buf_rc(&buf), E_LIMIT);
    assert_int_equal(buf.n, 0);
    assert_null(buf_reserve(&buf, 1));
    assert_string_equal(buf_text(&buf), "");
    buf_clear(&buf);
    buf_add_text(&buf, "ab");
    assert_string_equal(buf_text(&buf), "ab");
}

TEST(buf, no_size_is_too_large_to_be_refused)
{
    BUF(buf, 10);
    buf_add_text(&buf, "abc");
    assert_null(buf_reserve(&buf, SIZE_MAX));
    assert_int_equal(buf_rc(&buf), E_LIMIT);
}

TEST(arena, it_gives_bytes_max_and_not_one_more)
{
    struct arena arena;
    arena_init(&arena, 10000);
    assert_non_null(arena_alloc(&arena, 1));
    assert_null(arena_alloc(&arena, 10000));
    assert_non_null(arena_alloc(&arena, 9999));
    assert_null(arena_alloc(&arena, 1));
    arena_done(&arena);
}

TEST(arena, a_copy_counts_its_nul)
{
    struct arena arena;
    arena_init(&arena, 4);
    assert_null(arena_copy(&arena, SPAN("abcd")).p);
    struct span copy = arena_copy(&arena, SPAN("abc"));
    assert_span_equal(copy, "abc");
    arena_done(&arena);
}

TEST(arena, what_it_gives_is_zero_and_aligned)
{
    struct arena arena;
    arena_init(&arena, 100000);
    for (size_t n = 1; n < 200; n++) {
        char *bytes = arena_alloc(&arena, n);
        assert_int_equal((uintptr_t)bytes % _Alignof(max_align_t), 0);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(bytes[i], 0);
        memset(bytes, 0xff, n);
    }
    arena_done(&arena);
}

TEST(arena, no_size_is_too_large_to_be_refused)
{
    struct arena arena;
    arena_init(&arena, SIZE_MAX);
    assert_null(arena_alloc(&arena, SIZE_MAX));
    assert_null(arena_alloc(&arena, SIZE_MAX / 2 + 1));
    arena_done(&arena);
}
