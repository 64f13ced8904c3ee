#include "test.h"

#include "io/store_headers.h"

#define ARENA(name, max)                                                                       \
    __attribute__((cleanup(arena_done))) struct arena name;                                    \
    arena_init(&(name), max)

enum { BYTES_MAX = 1 << 20 };

TEST(store_headers, names_and_values_have_their_lengths_before_them)
{
    ARENA(arena, BYTES_MAX);
    const struct header items[] = {{SPAN("a"), SPAN("bc")}, {SPAN("d\0e"), SPAN("")}};
    struct headers headers = {items, COUNT_OF(items)};
    static const char expected[] = "\0\0\0\1a\0\0\0\2bc\0\0\0\3d\0e\0\0\0\0";
    struct span bytes = store_headers_write(&headers, &arena);
    assert_int_equal(bytes.n, sizeof expected - 1);
    assert_memory_equal(bytes.p, expected, bytes.n);
}

TEST(store_headers, what_was_written_is_read)
{
    ARENA(arena, BYTES_MAX);
    static char large[70000];
    memset(large, 'x', sizeof large);
    const struct header items[] = {{SPAN("x-large"), {large, sizeof large}},
                                   {SPAN("x-empty"), SPAN("")},
                                   {SPAN("x-same"), SPAN("1")},
                                   {SPAN("x-same"), SPAN("2")}};
    struct headers headers = {items, COUNT_OF(items)}, read;
    struct span bytes = store_headers_write(&headers, &arena);
    assert_int_equal(store_headers_read(bytes, &arena, &read), OK);
    assert_int_equal(read.count, COUNT_OF(items));
    for (size_t i = 0; i < COUNT_OF(items); i++) {
        assert_true(span_eq(read.items[i].name, items[i].name));
        assert_true(span_eq(read.items[i].value, items[i].value));
        assert_non_null(read.items[i].value.p);
    }
}

TEST(store_headers, no_headers_are_no_bytes_but_not_absent)
{
    ARENA(arena, BYTES_MAX);
    struct headers none = {NULL, 0}, read = {NULL, 7};
    struct span bytes = store_headers_write(&none, &arena);
    assert_non_null(bytes.p);
    assert_int_equal(bytes.n, 0);
    assert_int_equal(store_headers_read(bytes, &arena, &read), OK);
    assert_int_equal(read.count, 0);
}

TEST(store_headers, whatever_is_cut_off_is_refused)
{
    ARENA(arena, BYTES_MAX);
    const struct header items[] = {{SPAN("name"), SPAN("value")}};
    struct headers headers = {items, 1}, read = {NULL, 7};
    struct span bytes = store_headers_write(&headers, &arena);
    for (size_t n = 1; n < bytes.n; n++)
        assert_int_equal(store_headers_read((struct span){bytes.p, n}, &arena, &read),
                         E_INVALID);
    assert_int_equal(store_headers_read(SPAN("\377\377\377\377abc"), &arena, &read), E_INVALID);
    assert_int_equal(read.count, 7);
}

TEST(store_headers, the_arena_is_the_limit)
{
    const struct header items[] = {{SPAN("name"), SPAN("value")}}; /* 17 bytes */
    struct headers headers = {items, 1}, read;
    ARENA(enough, 17);
    ARENA(too_small, 16);
    assert_non_null(store_headers_write(&headers, &enough).p);
    assert_null(store_headers_write(&headers, &too_small).p);
    ARENA(arena, 17 + sizeof(struct header));
    ARENA(smaller, 17 + sizeof(struct header) - 1);
    struct span bytes = store_headers_write(&headers, &arena);
    assert_int_equal(store_headers_read(bytes, &arena, &read), OK);
    bytes = store_headers_write(&headers, &smaller);
    assert_int_equal(store_headers_read(bytes, &smaller, &read), E_NOMEM);
}
