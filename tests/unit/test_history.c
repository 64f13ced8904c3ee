#include "test.h"

#include "app/history.h"

static void history_free_scope(struct history **history)
{
    history_free(*history);
}

#define HISTORY(name)                                                                          \
    __attribute__((cleanup(history_free_scope))) struct history *name = history_new();         \
    assert_non_null(name)

static struct flight_id id_of(unsigned number)
{
    struct flight_id id = {.bytes = {0}};
    memcpy(id.bytes, &number, sizeof number);
    return id;
}

static void add_flight(struct history *history, unsigned number, unsigned attempts)
{
    struct timeline timeline;
    timeline_init(&timeline);
    timeline_add(&timeline,
                 &(struct timeline_note){.event = TIMELINE_STARTED, .at_ms = number});
    const struct flight_summary summary = {.id = id_of(number), .attempts = attempts};
    history_add_flight(history, &summary, &timeline, 7);
    assert_null(timeline.entries);
}

TEST(history, a_flight_is_found_with_its_timeline)
{
    HISTORY(history);
    add_flight(history, 5, 1);
    struct ended_flight *ended = history_flight(history, id_of(5));
    assert_non_null(ended);
    assert_int_equal(ended->summary.attempts, 1);
    assert_int_equal(ended->start_ms, 7);
    assert_int_equal(ended->timeline.entries[0].at_ms, 5);
    assert_null(history_flight(history, id_of(6)));
}

TEST(history, the_last_192_that_called_stay_known)
{
    HISTORY(history);
    for (unsigned i = 1; i <= 192; i++)
        add_flight(history, i, 1);
    assert_non_null(history_flight(history, id_of(1)));
    add_flight(history, 193, 1);
    assert_null(history_flight(history, id_of(1)));
    assert_non_null(history_flight(history, id_of(2)));
    assert_non_null(history_flight(history, id_of(193)));
}

TEST(history, those_refused_push_out_only_each_other)
{
    HISTORY(history);
    add_flight(history, 1, 1);
    for (unsigned i = 2; i <= 65; i++)
        add_flight(history, i, 0);
    assert_non_null(history_flight(history, id_of(2)));
    add_flight(history, 66, 0);
    assert_null(history_flight(history, id_of(2)));
    assert_non_null(history_flight(history, id_of(3)));
    assert_non_null(history_flight(history, id_of(1)));
}

TEST(history, the_later_of_two_with_one_id_is_told_as_long_as_it_is_there)
{
    HISTORY(history);
    add_flight(history, 1, 1);
    add_flight(history, 1, 2);
    assert_int_equal(history_flight(history, id_of(1))->summary.attempts, 2);
    for (unsigned i = 2; i <= 192; i++)
        add_flight(history, i, 1);
    assert_int_equal(history_flight(history, id_of(1))->summary.attempts, 2);
    add_flight(history, 193, 1);
    assert_null(history_flight(history, id_of(1)));
}

TEST(history, the_last_hundred_requests_are_told_newest_first)
{
    HISTORY(history);
    assert_null(history_request(history, 0));
    for (int i = 1; i <= 100; i++)
        history_add_request(history, &(struct request_summary){.status = i});
    assert_int_equal(history_request(history, 0)->status, 100);
    assert_int_equal(history_request(history, 99)->status, 1);
    assert_null(history_request(history, 100));
    history_add_request(history, &(struct request_summary){.status = 101});
    assert_int_equal(history_request(history, 0)->status, 101);
    assert_int_equal(history_request(history, 99)->status, 2);
    assert_null(history_request(history, 100));
    assert_int_equal(history_request_count(history), 101);
}

TEST(history, a_model_of_128_bytes_is_kept_and_a_longer_one_is_cut_between_characters)
{
    struct history_names names = {.route = ""};
    char model[130];
    memset(model, 'm', sizeof model);
    history_name_model(&names, (struct span){model, 128});
    assert_int_equal(strlen(names.model), 128);
    memcpy(model + 127, "\xc3\xa9", 2); /* its second byte would be the 129th */
    history_name_model(&names, (struct span){model, 129});
    assert_int_equal(strlen(names.model), 127);
    history_name_model(&names, SPAN_ABSENT);
    assert_string_equal(names.model, "");
}

TEST(history, of_a_key_its_first_eight_digits_are_told)
{
    char text[KEY_TEXT_BYTES];
    const struct digest key = {{0x0a, 0xb1, 0xc2, 0xd3, 0xe4}};
    history_key_text(&key, text);
    assert_string_equal(text, "0ab1c2d3");
}
