#include "core/sse.h"
#include "test.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

enum { TEXT_MAX = 4096, LIMIT = 1000 };

static void note_events(struct sse *sse, struct buf *seen)
{
    struct sse_event event;
    enum sse_step step;
    while ((step = sse_next(sse, &event)) == SSE_EVENT) {
        buf_printf(seen, "%.*s[", SPAN_ARG(event.name));
        buf_add(seen, event.data);
        buf_add_text(seen, event.unterminated ? "]?" : "]");
    }
    if (step == SSE_FAILED)
        buf_printf(seen, "failed: %s", rc_text(sse->rc));
}

/* Feed bytes from a block of exactly their size that is gone before the next one comes. */
static void feed_copy(struct sse *sse, struct span bytes, struct buf *seen)
{
    if (sse->rc != OK)
        return;
    char *copy = malloc(bytes.n ? bytes.n : 1);
    assert_non_null(copy);
    memcpy(copy, bytes.p, bytes.n);
    sse_feed(sse, (struct span){copy, bytes.n});
    note_events(sse, seen);
    free(copy);
}

/* What is read of `text` when its first `first` bytes come at once and then `step` at a time,
 * as `name[data]` per event, a '?' behind the unterminated one. */
static void read_cut(struct span text, size_t first, size_t step, struct buf *seen)
{
    struct sse sse;
    sse_init(&sse, LIMIT);
    feed_copy(&sse, (struct span){text.p, first}, seen);
    for (size_t at = first; at < text.n; at += step) {
        size_t n = text.n - at < step ? text.n - at : step;
        feed_copy(&sse, (struct span){text.p + at, n}, seen);
    }
    if (sse.rc == OK) {
        sse_end(&sse);
        note_events(&sse, seen);
    }
    sse_done(&sse);
}

static void assert_reads(struct span text, const char *want)
{
    for (size_t first = 0; first <= text.n; first++) {
        BUF(seen, TEXT_MAX);
        read_cut(text, first, text.n ? text.n : 1, &seen);
        assert_string_equal(buf_text(&seen), want);
    }
    BUF(seen, TEXT_MAX);
    read_cut(text, 0, 1, &seen);
    assert_string_equal(buf_text(&seen), want);
}

#define READS(text, want) assert_reads(SPAN(text), want)

TEST(sse, lines_end_in_lf_crlf_or_cr)
{
    READS("data: a\n\ndata: b\n\n", "message[a]message[b]");
    READS("data: a\r\n\r\ndata: b\r\n\r\n", "message[a]message[b]");
    READS("data: a\r\rdata: b\r\r", "message[a]message[b]");
    READS("data: a\r\n\ndata: b\n\r\ndata: c\r\r\n", "message[a]message[b]message[c]");
}

TEST(sse, one_blank_behind_the_colon_is_not_part_of_the_value)
{
    READS("data:a\n\ndata:  a\n\ndata:\ta\n\n", "message[a]message[ a]message[\ta]");
}

TEST(sse, data_lines_of_one_event_are_joined_with_lf)
{
    READS("data: {\ndata: \"x\":1\ndata: }\n\n", "message[{\n\"x\":1\n}]");
    READS("data\ndata\n\ndata:\n\n", "message[\n]message[]");
}

TEST(sse, a_byte_order_mark_is_skipped_once_and_only_at_the_start)
{
    READS("\xEF\xBB\xBF"
          "data: a\n\n",
          "message[a]");
    READS("\xEF\xBB\xBF\xEF\xBB\xBF"
          "data: a\n\ndata: b\n\n",
          "message[b]");
    READS("\n\xEF\xBB\xBF"
          "data: a\n\ndata: b\n\n",
          "message[b]");
}

TEST(sse, comments_and_other_fields_are_passed_over_also_within_an_event)
{
    READS(": ping\n\n:\n:\ndata: a\n: x\nid: 7\nretry: 10\nfoo\ndata: b\n\n", "message[a\nb]");
    READS(" data: a\n\nData: a\n\ndatax: a\n\n", "");
}

TEST(sse, an_event_name_holds_for_its_own_event_only)
{
    READS("event: x\ndata: a\n\ndata: b\n\n", "x[a]message[b]");
    READS("data: a\nevent: x\n\n", "x[a]");
    READS("event: x\n\ndata: a\n\n", "message[a]");
    READS("event: x\nevent:\ndata: a\n\n", "message[a]");
}

TEST(sse, an_error_field_is_an_event_named_error)
{
    READS("error: {\"a\":1}\n\n", "error[{\"a\":1}]");
}

TEST(sse, blank_lines_between_events_mean_nothing)
{
    READS("\n\n\r\n\rdata: a\n\n\n\n\ndata: b\n\n", "message[a]message[b]");
}

TEST(sse, the_last_event_may_lack_its_blank_line_and_is_marked)
{
    READS("data: a\n\ndata: b", "message[a]message[b]?");
    READS("data: a\ndata: b\n", "message[a\nb]?");
    READS("event: x\r\ndata: a\r", "x[a]?");
    READS("event: x", "");
    READS("", "");
}

TEST(sse, bytes_that_are_no_text_go_through)
{
    READS("data: a\xff\xfe b\n\n", "message[a\xff\xfe b]");
    struct span nul = {"data: a\0b\n\n", 11};
    BUF(seen, TEXT_MAX);
    read_cut(nul, 0, 1, &seen);
    assert_int_equal(seen.n, strlen("message[a b]"));
    assert_memory_equal(seen.p, "message[a\0b]", seen.n);
}

TEST(sse, a_name_is_kept_up_to_its_limit)
{
    BUF(text, TEXT_MAX);
    BUF(want, TEXT_MAX);
    buf_add_text(&text, "event: ");
    for (int i = 0; i < SSE_NAME_BYTES_MAX + 1; i++)
        buf_add_byte(&text, 'n');
    buf_add_text(&text, "\ndata: a\n\n");
    for (int i = 0; i < SSE_NAME_BYTES_MAX; i++)
        buf_add_byte(&want, 'n');
    buf_add_text(&want, "[a]");
    assert_reads(buf_span(&text), buf_text(&want));
}

/* `lines` data lines that together have n bytes of data. */
static void assert_limit(size_t n, size_t lines, bool fits)
{
    BUF(text, TEXT_MAX);
    size_t left = n - (lines - 1);
    for (size_t i = 0; i < lines; i++) {
        buf_add_text(&text, "data: ");
        for (size_t j = 0; j < (i ? 1 : left - (lines - 1)); j++)
            buf_add_byte(&text, 'x');
        buf_add_byte(&text, '\n');
    }
    buf_add_byte(&text, '\n');
    for (size_t step = 1; step <= text.n; step += 100) {
        BUF(seen, TEXT_MAX);
        read_cut(buf_span(&text), 0, step, &seen);
        if (fits)
            assert_int_equal(seen.n, n + strlen("message[]"));
        else
            assert_string_equal(buf_text(&seen), "failed: a limit was reached");
    }
}

TEST(sse, the_data_of_an_event_may_have_event_bytes_max_and_no_more)
{
    assert_limit(LIMIT, 1, true);
    assert_limit(LIMIT + 1, 1, false);
    assert_limit(LIMIT, 3, true);
    assert_limit(LIMIT + 1, 3, false);
}

TEST(sse, a_comment_is_limited_like_a_data_line)
{
    BUF(text, TEXT_MAX);
    buf_add_byte(&text, ':');
    for (int i = 0; i < LIMIT + SSE_FIELD_BYTES_MAX - 1; i++)
        buf_add_byte(&text, 'x');
    buf_add_text(&text, "\ndata: a\n\n");
    assert_reads(buf_span(&text), "message[a]");
    buf_clear(&text);
    buf_add_byte(&text, ':');
    for (int i = 0; i < LIMIT + SSE_FIELD_BYTES_MAX; i++)
        buf_add_byte(&text, 'x');
    buf_add_text(&text, "\ndata: a\n\n");
    assert_reads(buf_span(&text), "failed: a limit was reached");
}

TEST(sse, an_event_that_lies_whole_in_the_fed_bytes_is_not_copied)
{
    static const char text[] = ": x\ndata: first\n\nevent: e\ndata: second\n\n";
    struct sse sse;
    struct sse_event event;
    sse_init(&sse, LIMIT);
    sse_feed(&sse, (struct span){text, sizeof text - 1});
    assert_int_equal(sse_next(&sse, &event), SSE_EVENT);
    assert_ptr_equal(event.data.p, text + 10);
    assert_int_equal(sse_next(&sse, &event), SSE_EVENT);
    assert_ptr_equal(event.data.p, text + 32);
    assert_int_equal(sse_next(&sse, &event), SSE_MORE);
    assert_null(sse.joined.p);
    sse_done(&sse);
}

TEST(sse, memory_of_a_large_event_is_given_back)
{
    struct sse sse;
    BUF(text, 100000);
    BUF(seen, 200000);
    buf_add_text(&text, "data: ");
    while (text.n < 50000)
        buf_add_byte(&text, 'x');
    sse_init(&sse, 100000);
    feed_copy(&sse, buf_span(&text), &seen);
    assert_true(sse.line.capacity >= 50000);
    feed_copy(&sse, SPAN("\n"), &seen);
    feed_copy(&sse, SPAN("\n"), &seen);
    feed_copy(&sse, SPAN(":\n"), &seen);
    assert_int_equal(seen.n, 50000 - 6 + strlen("message[]"));
    assert_int_equal(sse.line.capacity + sse.joined.capacity, 0);
    sse_done(&sse);
}

/* ---- cases from outside */

static void check_vector(const cJSON *vector)
{
    const char *hex = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(vector, "hex"));
    const cJSON *event;
    BUF(text, TEXT_MAX);
    BUF(want, TEXT_MAX);
    BUF(seen, TEXT_MAX);
    for (; *hex; hex += 2) {
        char digits[3] = {hex[0], hex[1], 0};
        buf_add_byte(&text, (char)strtol(digits, NULL, 16));
    }
    cJSON_ArrayForEach(event, cJSON_GetObjectItemCaseSensitive(vector, "events"))
    {
        buf_printf(&want, "%s[%s]",
                   cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(event, "event")),
                   cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(event, "data")));
    }
    /* cJSON ends strings at NUL, and the cases replace what is no UTF-8: tested above. */
    if (span_find(buf_span(&text), '\0') < text.n ||
        span_find(buf_span(&text), '\xff') < text.n)
        return;
    struct sse sse;
    sse_init(&sse, LIMIT);
    for (size_t i = 0; i < text.n; i++)
        feed_copy(&sse, (struct span){text.p + i, 1}, &seen);
    sse_done(&sse); /* without sse_end: the cases have no unterminated event */
    assert_string_equal(buf_text(&seen), buf_text(&want));
}

TEST(sse, the_cases_from_outside_agree)
{
    char path[TEXT_MAX];
    const char *corpus = getenv("UNSTREAM_CORPUS");
    (void)snprintf(path, sizeof path, "%s/../vectors/sse.json", corpus ? corpus : "");
    FILE *file = corpus ? fopen(path, "r") : NULL;
    if (!file)
        skip();
    BUF(text, 1 << 20);
    text.n = fread(buf_reserve(&text, 1 << 20), 1, 1 << 20, file);
    (void)fclose(file);
    cJSON *vectors = cJSON_Parse(buf_text(&text));
    const cJSON *vector;
    assert_true(cJSON_GetArraySize(vectors) > 0);
    cJSON_ArrayForEach(vector, vectors)
    {
        check_vector(vector);
    }
    cJSON_Delete(vectors);
}
