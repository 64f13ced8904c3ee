#include "test.h"

#include "core/json.h"
#include "core/timeline.h"

enum { TEXT_BYTES_MAX = 65536 };

static void timeline_done_scope(struct timeline *timeline)
{
    timeline_done(timeline);
}

#define TIMELINE(name)                                                                         \
    __attribute__((cleanup(timeline_done_scope))) struct timeline name;                        \
    timeline_init(&name)

static void note(struct timeline *timeline, enum timeline_event event, int64_t at_ms)
{
    timeline_add(timeline, &(struct timeline_note){
                               .event = event, .at_ms = at_ms, .word = "a word", .attempt = 1});
}

static enum timeline_event event_at(const struct timeline *timeline, unsigned i)
{
    return (enum timeline_event)timeline->entries[i].event;
}

static void assert_says(const struct timeline_note *what, const char *sentence)
{
    TIMELINE(timeline);
    BUF(text, TEXT_BYTES_MAX);
    timeline_add(&timeline, what);
    timeline_sentence(&timeline, 0, &text);
    assert_string_equal(buf_text(&text), sentence);
}

#define SAYS(sentence, ...) assert_says(&(struct timeline_note){__VA_ARGS__}, sentence)

/* ---- what is kept */

TEST(timeline, an_empty_one_takes_no_memory)
{
    TIMELINE(timeline);
    BUF(text, TEXT_BYTES_MAX);
    timeline_render(&timeline, &text);
    assert_string_equal(buf_text(&text), "[]");
    assert_null(timeline.entries);
    assert_null(timeline.texts.p);
}

TEST(timeline, sixty_four_entries_are_kept_and_of_sixty_five_the_first_later_one_goes)
{
    TIMELINE(timeline);
    for (int i = 0; i < 64; i++)
        note(&timeline, TIMELINE_CALL, i);
    assert_int_equal(timeline.count, 64);
    assert_int_equal(timeline.omitted, 0);
    note(&timeline, TIMELINE_ANSWERED, 64);
    assert_int_equal(timeline.count, 64);
    assert_int_equal(timeline.omitted, 1);
    assert_int_equal(timeline.entries[31].at_ms, 31);
    assert_int_equal(timeline.entries[32].at_ms, 33);
    assert_int_equal(event_at(&timeline, 63), TIMELINE_ANSWERED);
}

TEST(timeline, waiters_that_come_and_go_push_out_neither_the_beginning_nor_the_end)
{
    TIMELINE(timeline);
    note(&timeline, TIMELINE_STARTED, 0);
    for (int i = 1; i < 40; i++)
        note(&timeline, TIMELINE_CALL, i);
    note(&timeline, TIMELINE_CALL_ENDED, 40);
    note(&timeline, TIMELINE_COMMITTED, 41);
    note(&timeline, TIMELINE_ANSWERED, 42);
    for (int i = 43; i < 1043; i++)
        note(&timeline, i % 2 ? TIMELINE_WAITER_OUT : TIMELINE_WAITER_IN, i);
    assert_int_equal(timeline.count, 64);
    assert_int_equal(timeline.omitted, 979);
    assert_int_equal(event_at(&timeline, 0), TIMELINE_STARTED);
    assert_int_equal(event_at(&timeline, 40), TIMELINE_CALL_ENDED);
    assert_int_equal(event_at(&timeline, 41), TIMELINE_COMMITTED);
    assert_int_equal(event_at(&timeline, 42), TIMELINE_ANSWERED);
    assert_int_equal(timeline.entries[43].at_ms, 1022);
    assert_int_equal(timeline.entries[63].at_ms, 1042);
}

TEST(timeline, a_flight_of_many_calls_keeps_its_first_and_its_last_ones)
{
    TIMELINE(timeline);
    for (int i = 0; i < 500; i++)
        note(&timeline, i % 2 ? TIMELINE_CALL_ENDED : TIMELINE_CALL, i);
    note(&timeline, TIMELINE_RELEASED, 500);
    note(&timeline, TIMELINE_ANSWERED, 501);
    assert_int_equal(timeline.omitted, 438);
    assert_int_equal(timeline.entries[31].at_ms, 31);
    assert_int_equal(timeline.entries[32].at_ms, 470);
    assert_int_equal(event_at(&timeline, 61), TIMELINE_CALL_ENDED);
    assert_int_equal(timeline.entries[61].at_ms, 499);
}

TEST(timeline, what_is_taken_is_not_there_any_more)
{
    TIMELINE(timeline);
    note(&timeline, TIMELINE_STARTED, 0);
    struct timeline taken = timeline_take(&timeline);
    assert_int_equal(taken.count, 1);
    assert_int_equal(timeline.count, 0);
    assert_null(timeline.entries);
    timeline_done(&taken);
}

/* ---- texts from outside */

static void add_request_id(struct timeline *timeline, struct span request_id)
{
    timeline_add(timeline, &(struct timeline_note){.event = TIMELINE_CALL_ENDED,
                                                   .word = "refused",
                                                   .upstream = SPAN("openai"),
                                                   .request_id = request_id});
}

TEST(timeline, a_request_id_of_sixty_four_bytes_is_kept_whole_and_a_longer_one_is_cut)
{
    TIMELINE(timeline);
    char id[65];
    memset(id, 'i', sizeof id);
    add_request_id(&timeline, (struct span){id, 64});
    add_request_id(&timeline, (struct span){id, 65});
    assert_int_equal(timeline.entries[0].request_id.n, 64);
    assert_int_equal(timeline.entries[1].request_id.n, 64);
}

TEST(timeline, equal_texts_stand_there_once)
{
    TIMELINE(timeline);
    for (int i = 0; i < 20; i++)
        add_request_id(&timeline, SPAN("req_1"));
    assert_int_equal(timeline.texts.n, strlen("openai") + strlen("req_1"));
}

TEST(timeline, what_is_not_printable_ascii_becomes_a_question_mark)
{
    TIMELINE(timeline);
    BUF(text, TEXT_BYTES_MAX);
    add_request_id(&timeline, SPAN("a\x1b\n\xff\"\\z"));
    timeline_render(&timeline, &text);
    assert_non_null(strstr(buf_text(&text), "\"request_id\":\"a???\\\"\\\\z\""));
}

TEST(timeline, as_many_texts_as_there_is_room_for_are_kept_and_one_more_is_not)
{
    TIMELINE(timeline);
    char id[64];
    for (unsigned i = 0; i < 65; i++) {
        memset(id, (int)('!' + i), sizeof id);
        timeline_add(&timeline, &(struct timeline_note){.event = TIMELINE_CALL_ENDED,
                                                        .word = "refused",
                                                        .request_id = {id, sizeof id}});
    }
    assert_int_equal(timeline.texts.n, 4096);
    assert_int_equal(timeline.entries[62].request_id.n, 64);
    assert_int_equal(timeline.entries[63].request_id.n, 0);
    assert_int_equal(timeline.count, 64);
}

TEST(timeline, numbers_that_are_too_large_are_the_largest)
{
    TIMELINE(timeline);
    timeline_add(&timeline, &(struct timeline_note){.event = TIMELINE_ADMITTED,
                                                    .at_ms = INT64_C(1) << 32,
                                                    .ms = -1,
                                                    .number = UINT64_C(1) << 32});
    assert_int_equal(timeline.entries[0].at_ms, UINT32_MAX);
    assert_int_equal(timeline.entries[0].ms, 0);
    assert_int_equal(timeline.entries[0].number, UINT32_MAX);
}

/* ---- what is said */

TEST(timeline, every_event_has_a_word_and_a_sentence)
{
    for (int i = 0; i < TIMELINE_EVENT_COUNT; i++) {
        TIMELINE(timeline);
        BUF(text, TEXT_BYTES_MAX);
        note(&timeline, (enum timeline_event)i, 0);
        timeline_sentence(&timeline, 0, &text);
        assert_true(text.n > 10);
        assert_true(strlen(timeline_event_name((enum timeline_event)i)) > 3);
    }
}

TEST(timeline, a_call_that_may_have_been_billed_says_so)
{
    SAYS("call 2 to anthropic began", .event = TIMELINE_CALL, .attempt = 2,
         .upstream = SPAN("anthropic"));
    SAYS("call 2 brought its first output after 0.4 s", .event = TIMELINE_OUTPUT, .attempt = 2,
         .ms = 412);
    SAYS("call 2 to anthropic ended: truncated, status 200, 812 output bytes; it may have been "
         "billed",
         .event = TIMELINE_CALL_ENDED, .attempt = 2, .upstream = SPAN("anthropic"),
         .word = "truncated", .status = 200, .number = 812, .yes = true);
    SAYS("call 1 to openai ended: connect_failed; it was not billed",
         .event = TIMELINE_CALL_ENDED, .attempt = 1, .upstream = SPAN("openai"),
         .word = "connect_failed");
    SAYS("call 1 to openai ended: answered, status 200, 9 output bytes",
         .event = TIMELINE_CALL_ENDED, .attempt = 1, .upstream = SPAN("openai"),
         .word = "answered", .status = 200, .number = 9, .yes = true);
}

TEST(timeline, waiters_are_said_to_come_to_leave_and_to_be_told)
{
    SAYS("a request waits for it (joined); 2 clients wait now", .event = TIMELINE_WAITER_IN,
         .word = "joined", .number = 2);
    SAYS("a client left; 1 client waits now", .event = TIMELINE_WAITER_LEFT, .number = 1);
    SAYS("a request was told 200 (joined); nobody waits now", .event = TIMELINE_WAITER_OUT,
         .status = 200, .word = "joined", .yes = true);
    SAYS("a request was told 504 (deadline_exceeded), but its client did not take it; nobody "
         "waits now",
         .event = TIMELINE_WAITER_OUT, .status = 504, .word = "deadline_exceeded");
    SAYS("a request was told 200; nobody waits now", .event = TIMELINE_WAITER_OUT,
         .status = 200, .yes = true);
}

TEST(timeline, waiting_is_said_with_its_time)
{
    SAYS("it got its place after 0.0 s", .event = TIMELINE_ADMITTED);
    SAYS("it got its place after 12.3 s", .event = TIMELINE_ADMITTED, .ms = 12345);
    SAYS("the next call waits for 4.0 s", .event = TIMELINE_PAUSE, .ms = 4000);
    SAYS("it got no place: queue_full", .event = TIMELINE_REFUSED, .word = "queue_full");
}

TEST(timeline, what_the_store_did_and_did_not_is_said)
{
    SAYS("its key was claimed, and its first call counted", .event = TIMELINE_CLAIMED);
    SAYS("its key could not be claimed: the store failed", .event = TIMELINE_CLAIMED,
         .word = "the store failed");
    SAYS("one more paid call was counted, ahead of the call (2 of its key)",
         .event = TIMELINE_COUNTED, .number = 2);
    SAYS("the next call could not be counted: used up", .event = TIMELINE_COUNTED,
         .word = "used up");
    SAYS("its outcome is in the store", .event = TIMELINE_COMMITTED);
    SAYS("its outcome could not be stored: a limit was reached", .event = TIMELINE_COMMITTED,
         .word = "a limit was reached");
    SAYS("its key was released: a retry runs again", .event = TIMELINE_RELEASED);
    SAYS("its result can be fetched by URL", .event = TIMELINE_PUBLISHED);
}

TEST(timeline, the_end_is_said_with_its_error)
{
    SAYS("it ended with 200", .event = TIMELINE_ANSWERED, .status = 200);
    SAYS("it ended with 409 cancelled", .event = TIMELINE_ANSWERED, .status = 409,
         .word = "cancelled");
    SAYS("it was stopped: cancelled", .event = TIMELINE_STOPPED, .word = "cancelled");
}

TEST(timeline, its_json_has_every_member_in_every_entry)
{
    TIMELINE(timeline);
    BUF(text, TEXT_BYTES_MAX);
    note(&timeline, TIMELINE_STARTED, 0);
    timeline_add(&timeline, &(struct timeline_note){.event = TIMELINE_CALL_ENDED,
                                                    .at_ms = 9000,
                                                    .ms = 4000,
                                                    .word = "truncated",
                                                    .attempt = 2,
                                                    .status = 200,
                                                    .yes = true,
                                                    .upstream = SPAN("a"),
                                                    .request_id = SPAN("req_2")});
    timeline_add(&timeline, &(struct timeline_note){.event = TIMELINE_CALL_ENDED,
                                                    .word = "dns_failed",
                                                    .upstream = SPAN("a")});
    timeline_render(&timeline, &text);
    assert_string_equal(
        buf_text(&text),
        "[{\"at_ms\":0,\"event\":\"started\",\"text\":\"its first request came\","
        "\"attempt\":null,\"end\":null,\"status\":null,\"request_id\":null,"
        "\"maybe_billed\":null,\"ms\":null,\"waiters\":null},"
        "{\"at_ms\":9000,\"event\":\"call_ended\",\"text\":\"call 2 to a ended: truncated, "
        "status 200; it may have been billed\",\"attempt\":2,\"end\":\"truncated\","
        "\"status\":200,\"request_id\":\"req_2\",\"maybe_billed\":true,\"ms\":4000,"
        "\"waiters\":null},"
        "{\"at_ms\":0,\"event\":\"call_ended\",\"text\":\"call 0 to a ended: dns_failed; it "
        "was "
        "not billed\",\"attempt\":0,\"end\":\"dns_failed\",\"status\":null,"
        "\"request_id\":null,\"maybe_billed\":false,\"ms\":0,\"waiters\":null}]");
}

TEST(timeline, a_full_one_with_the_longest_texts_fits_what_operators_are_told)
{
    TIMELINE(timeline);
    BUF(text, 60000); /* of OPS_FLIGHT_BYTES_MAX */
    char quotes[64];
    memset(quotes, '"', sizeof quotes);
    for (int i = 0; i < 64; i++)
        timeline_add(&timeline, &(struct timeline_note){.event = TIMELINE_CALL_ENDED,
                                                        .at_ms = INT64_MAX,
                                                        .ms = INT64_MAX,
                                                        .word = "first_event_timeout",
                                                        .attempt = UINT16_MAX,
                                                        .status = 599,
                                                        .number = UINT64_MAX,
                                                        .yes = true,
                                                        .upstream = {quotes, sizeof quotes},
                                                        .request_id = {quotes, sizeof quotes}});
    timeline_render(&timeline, &text);
    assert_int_equal(buf_rc(&text), OK);
    assert_true(text.n > 30000);
}
