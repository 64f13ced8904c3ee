#include "core/members.h"
#include "test.h"

#include <stdio.h>

enum { ARENA_BYTES = 65536, TEXT_BYTES = 8192 };

static struct digest key_of(int byte)
{
    struct digest key;
    memset(&key, byte, sizeof key);
    return key;
}

static struct members members(struct arena *arena, int key, const char *canonical)
{
    struct members made;
    struct digest digest = key_of(key);
    assert_int_equal(members_of(&digest, span_of(canonical), arena, &made), OK);
    return made;
}

/* What a caller is told whose key was first used for `first`. */
#define assert_told(first, now, text)                                                          \
    do {                                                                                       \
        struct arena arena_;                                                                   \
        BUF(out_, TEXT_BYTES);                                                                 \
        arena_init(&arena_, ARENA_BYTES);                                                      \
        struct members first_ = members(&arena_, 'k', first);                                  \
        struct members now_ = members(&arena_, 'k', now);                                      \
        members_explain(&now_, first_.hashes, &out_);                                          \
        assert_string_equal(buf_text(&out_), text);                                            \
        arena_done(&arena_);                                                                   \
    } while (0)

TEST(members, what_differs_was_added_or_is_missing_is_told)
{
    assert_told("{\"model\":\"a\",\"n\":1}", "{\"model\":\"b\",\"n\":1}",
                "compared with the first request: model differs");
    assert_told("{\"model\":\"a\",\"n\":1}", "{\"model\":\"b\",\"n\":2}",
                "compared with the first request: model, n differ");
    assert_told("{\"model\":\"a\"}", "{\"model\":\"a\",\"seed\":1}",
                "compared with the first request: seed was added");
    assert_told("{\"model\":\"a\"}", "{\"model\":\"a\",\"seed\":1,\"user\":2}",
                "compared with the first request: seed, user were added");
    assert_told("{\"model\":\"a\",\"seed\":1}", "{\"model\":\"a\"}",
                "compared with the first request: 1 member is missing");
    assert_told("{\"a\":1,\"b\":1,\"c\":1}", "{\"c\":2,\"d\":1}",
                "compared with the first request: c differs; d was added; 2 members are "
                "missing");
}

TEST(members, the_same_body_points_to_what_else_counts)
{
    assert_told("{\"model\":\"a\"}", "{\"model\":\"a\"}",
                "the members of its body are the same as far as they were compared: look at "
                "the query and at anthropic-version, anthropic-beta and openai-* headers");
    assert_told("{}", "{}",
                "the members of its body are the same as far as they were compared: look at "
                "the query and at anthropic-version, anthropic-beta and openai-* headers");
}

TEST(members, only_top_level_members_are_looked_at)
{
    assert_told("{\"messages\":[{\"content\":\"a\"}]}", "{\"messages\":[{\"content\":\"b\"}]}",
                "compared with the first request: messages differs");
}

TEST(members, neither_names_nor_values_are_in_the_hashes_and_no_two_keys_share_any)
{
    struct arena arena;
    arena_init(&arena, ARENA_BYTES);
    struct members one = members(&arena, 'k', "{\"prompt\":\"secret word\"}");
    struct members two = members(&arena, 'l', "{\"prompt\":\"secret word\"}");
    assert_int_equal(one.hashes.n, 16);
    assert_null(memmem(one.hashes.p, one.hashes.n, "prom", 4));
    assert_null(memmem(one.hashes.p, one.hashes.n, "secr", 4));
    assert_memory_not_equal(one.hashes.p, two.hashes.p, 8);
    assert_memory_not_equal(one.hashes.p + 8, two.hashes.p + 8, 8);
    assert_memory_not_equal(one.hashes.p, one.hashes.p + 8, 8);
    arena_done(&arena);
}

/* {"m000":0,"m001":0,...}, in canonical order. */
static const char *object_of(struct buf *out, int count, int value)
{
    buf_clear(out);
    for (int i = 0; i < count; i++)
        buf_printf(out, "%s\"m%03d\":%d", i ? "," : "{", i, value);
    buf_add_text(out, count ? "}" : "{}");
    return buf_text(out);
}

TEST(members, sixty_four_members_are_kept_and_the_sixty_fifth_is_not)
{
    struct arena arena;
    BUF(text, TEXT_BYTES);
    arena_init(&arena, ARENA_BYTES);
    assert_int_equal(members(&arena, 'k', object_of(&text, 63, 0)).hashes.n, 63 * 16);
    assert_int_equal(members(&arena, 'k', object_of(&text, 64, 0)).hashes.n, 64 * 16);
    assert_int_equal(members(&arena, 'k', object_of(&text, 65, 0)).hashes.n, 64 * 16);
    arena_done(&arena);
}

TEST(members, behind_the_end_of_a_full_list_nothing_is_said_to_be_added_or_missing)
{
    BUF(first, TEXT_BYTES);
    assert_told(object_of(&first, 64, 0), "{\"m000\":1,\"z\":1}",
                "compared with the first request: m000 differs; 63 members are missing");
    BUF(now, TEXT_BYTES);
    assert_told("{\"m000\":1,\"z\":1}", object_of(&now, 65, 1),
                "compared with the first request: m001, m002, m003, m004, m005, m006, m007, "
                "m008 and 55 more were added");
}

TEST(members, eight_names_are_told_and_then_how_many_more)
{
    BUF(first, TEXT_BYTES);
    BUF(now, TEXT_BYTES);
    assert_told(object_of(&first, 8, 0), object_of(&now, 8, 1),
                "compared with the first request: m000, m001, m002, m003, m004, m005, m006, "
                "m007 differ");
    assert_told(object_of(&first, 9, 0), object_of(&now, 9, 1),
                "compared with the first request: m000, m001, m002, m003, m004, m005, m006, "
                "m007 and 1 more differ");
}

TEST(members, a_long_name_is_not_repeated)
{
    char longest[128], longer[128];
    BUF(text, TEXT_BYTES);
    (void)snprintf(longest, sizeof longest, "{\"%064d\":1}", 0);
    (void)snprintf(longer, sizeof longer, "{\"%065d\":1}", 0);
    buf_printf(&text, "compared with the first request: %064d was added", 0);
    assert_told("{}", longest, buf_text(&text));
    assert_told("{}", longer, "compared with the first request: (a long name) was added");
}

TEST(members, hashes_that_are_not_ours_explain_nothing)
{
    static const char strange[MEMBERS_BYTES_MAX + 16];
    struct arena arena;
    BUF(out, TEXT_BYTES);
    arena_init(&arena, ARENA_BYTES);
    struct members now = members(&arena, 'k', "{\"a\":1}");
    members_explain(&now, SPAN_ABSENT, &out);
    members_explain(&now, (struct span){strange, 15}, &out);
    members_explain(&now, (struct span){strange, sizeof strange}, &out);
    assert_string_equal(buf_text(&out), "");
    arena_done(&arena);
}

TEST(members, without_memory_it_is_nomem)
{
    struct arena arena;
    struct members made;
    struct digest key = key_of('k');
    arena_init(&arena, 1000);
    assert_int_equal(members_of(&key, SPAN("{\"a\":1}"), &arena, &made), E_NOMEM);
    arena_done(&arena);
}
