#include "test.h"

#include "core/brake.h"

static const int64_t unix_s = 784111777;
static const struct header after_2 = {SPAN("retry-after"), SPAN("2")};
static const struct header after_60 = {SPAN("retry-after"), SPAN("60")};
static const struct header after_61 = {SPAN("retry-after"), SPAN("61")};

static struct attempt_outcome refused(int status, const struct header *header)
{
    struct attempt_outcome outcome = {.end = ATTEMPT_REFUSED, .status = status};
    if (header)
        outcome.headers[outcome.header_count++] = *header;
    return outcome;
}

static struct attempt_outcome ended(enum attempt_end end)
{
    return (struct attempt_outcome){.end = end, .status = 200};
}

/* A brake with `calls` running, and what they hold. */
struct scene {
    struct brake brake;
    unsigned started;
};

static struct scene scene_of(unsigned max, unsigned calls)
{
    struct scene scene;
    brake_init(&scene.brake, max, 0);
    for (unsigned i = 0; i < calls; i++)
        scene.started = brake_start(&scene.brake, 0);
    return scene;
}

static void end_call(struct scene *scene, struct attempt_outcome outcome, int64_t now_ms)
{
    brake_end(&scene->brake, scene->started, &outcome, now_ms, unix_s);
}

TEST(brake, as_many_calls_run_as_the_upstream_may_have)
{
    struct scene scene = scene_of(3, 2);
    assert_true(brake_is_open(&scene.brake, 0));
    (void)brake_start(&scene.brake, 0);
    assert_false(brake_is_open(&scene.brake, 0));
    end_call(&scene, ended(ATTEMPT_TRUNCATED), 10);
    assert_true(brake_is_open(&scene.brake, 10));
}

TEST(brake, a_retry_after_keeps_new_calls_waiting_until_then)
{
    struct scene scene = scene_of(10, 1);
    end_call(&scene, refused(429, &after_2), 100);
    assert_true(brake_is_paused(&scene.brake, 100));
    assert_false(brake_is_open(&scene.brake, 2099));
    assert_true(brake_is_open(&scene.brake, 2100));
}

TEST(brake, a_pause_is_a_minute_at_most)
{
    struct scene scene = scene_of(10, 2);
    end_call(&scene, refused(429, &after_60), 0);
    assert_int_equal(scene.brake.paused_until_ms, 60000);
    end_call(&scene, refused(429, &after_61), 1);
    assert_int_equal(scene.brake.paused_until_ms, 60001);
}

TEST(brake, a_shorter_pause_ends_no_longer_one)
{
    struct scene scene = scene_of(10, 2);
    end_call(&scene, refused(429, &after_60), 0);
    end_call(&scene, refused(429, &after_2), 1);
    assert_int_equal(scene.brake.paused_until_ms, 60000);
}

TEST(brake, too_much_halves_what_ran)
{
    static const struct {
        unsigned ran, limit;
    } cases[] = {{1, 1}, {2, 1}, {3, 1}, {4, 2}, {9, 4}, {100, 50}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct scene scene = scene_of(100, cases[i].ran);
        end_call(&scene, refused(429, NULL), 5);
        assert_int_equal(scene.brake.limit, cases[i].limit);
        assert_false(brake_is_paused(&scene.brake, 5));
    }
}

TEST(brake, a_burst_that_is_refused_as_a_whole_cuts_once)
{
    struct scene scene = scene_of(100, 40);
    for (int i = 0; i < 40; i++)
        end_call(&scene, refused(429, NULL), i);
    assert_int_equal(scene.brake.limit, 20);
    for (int i = 0; i < 20; i++) /* begun since: they say something new */
        scene.started = brake_start(&scene.brake, 100);
    end_call(&scene, refused(429, NULL), 101);
    assert_int_equal(scene.brake.limit, 10);
}

TEST(brake, what_still_runs_over_the_limit_is_no_reason_to_raise_it)
{
    struct scene scene = scene_of(100, 40);
    end_call(&scene, refused(429, NULL), 0); /* 39 run on, the limit is 20 */
    for (int i = 0; i < 20; i++)
        end_call(&scene, ended(ATTEMPT_TRUNCATED), 1);
    scene.started = brake_start(&scene.brake, 2); /* 20 run */
    end_call(&scene, refused(429, NULL), 3);
    assert_int_equal(scene.brake.limit, 10);
}

TEST(brake, each_answer_gives_one_back_up_to_the_maximum)
{
    struct scene scene = scene_of(5, 4);
    end_call(&scene, refused(529, NULL), 0);
    assert_int_equal(scene.brake.limit, 2);
    end_call(&scene, ended(ATTEMPT_ANSWERED), 1);
    end_call(&scene, ended(ATTEMPT_ANSWERED), 2);
    end_call(&scene, ended(ATTEMPT_ANSWERED), 3);
    assert_int_equal(scene.brake.limit, 5);
    scene.started = brake_start(&scene.brake, 4);
    end_call(&scene, ended(ATTEMPT_ANSWERED), 5);
    assert_int_equal(scene.brake.limit, 5);
}

static unsigned limit_after(struct attempt_outcome outcome)
{
    struct scene scene = scene_of(8, 8);
    end_call(&scene, outcome, 0);
    attempt_outcome_done(&outcome);
    return scene.brake.limit;
}

static struct attempt_outcome with_error(enum attempt_end end, const char *body)
{
    struct attempt_outcome outcome = {.end = end, .status = 429};
    outcome.body = blob_new(span_of(body));
    assert_non_null(outcome.body);
    return outcome;
}

TEST(brake, only_what_says_too_much_brakes)
{
    assert_int_equal(limit_after(refused(429, NULL)), 4);
    assert_int_equal(limit_after(refused(529, NULL)), 4);
    assert_int_equal(limit_after(refused(503, &after_2)), 4);
    assert_int_equal(limit_after(refused(503, NULL)), 8);
    assert_int_equal(limit_after(refused(500, &after_2)), 8);
    assert_int_equal(limit_after(refused(400, NULL)), 8);
    assert_int_equal(limit_after(ended(ATTEMPT_CONNECT_FAILED)), 8);
    assert_int_equal(limit_after(ended(ATTEMPT_FIRST_EVENT_TIMEOUT)), 8);
    assert_int_equal(
        limit_after(with_error(ATTEMPT_STREAM_ERROR, "{\"type\":\"overloaded_error\"}")), 4);
    assert_int_equal(limit_after(with_error(ATTEMPT_REFUSED,
                                            "{\"error\":{\"code\":\"rate_limit_exceeded\"}}")),
                     4);
    assert_int_equal(limit_after(with_error(ATTEMPT_REFUSED,
                                            "{\"error\":{\"code\":\"insufficient_quota\"}}")),
                     8);
}

TEST(brake, a_call_that_was_not_made_says_nothing)
{
    struct scene scene = scene_of(8, 2);
    brake_end(&scene.brake, scene.started, NULL, 0, unix_s);
    assert_int_equal(scene.brake.limit, 8);
    assert_int_equal(scene.brake.calls, 1);
}

TEST(brake, the_limit_rises_by_one_each_second_without_a_pause)
{
    struct scene scene = scene_of(8, 8);
    for (int i = 0; i < 4; i++)
        end_call(&scene, refused(429, &after_2), 500); /* 4 run, 4 may, from 2500 on */
    assert_false(brake_is_open(&scene.brake, 3499));
    assert_true(brake_is_open(&scene.brake, 3500));
    scene.started = brake_start(&scene.brake, 3900);
    assert_false(brake_is_open(&scene.brake, 4499)); /* nothing of a second is lost */
    assert_true(brake_is_open(&scene.brake, 4500));
    end_call(&scene, refused(429, NULL), 4500); /* 5 ran */
    assert_int_equal(scene.brake.limit, 2);
    assert_false(brake_is_open(&scene.brake, 7499)); /* 4 run */
    assert_true(brake_is_open(&scene.brake, 7500));
}

TEST(brake, it_says_when_it_may_open_by_itself)
{
    struct scene scene = scene_of(4, 3);
    assert_int_equal(brake_due_ms(&scene.brake, 0), BRAKE_NEVER); /* it is open */
    (void)brake_start(&scene.brake, 0);
    assert_int_equal(brake_due_ms(&scene.brake, 0), BRAKE_NEVER); /* no limit rises over max */
    end_call(&scene, refused(429, &after_2), 500);                /* 3 run, 2 may */
    assert_int_equal(brake_due_ms(&scene.brake, 600), 4500);
    end_call(&scene, ended(ATTEMPT_TRUNCATED), 700);
    end_call(&scene, ended(ATTEMPT_TRUNCATED), 700);
    assert_int_equal(brake_due_ms(&scene.brake, 700), 2500);
    assert_true(brake_is_open(&scene.brake, 2500));
}

TEST(brake, it_is_at_rest_when_a_new_one_would_be_the_same)
{
    struct scene scene = scene_of(8, 1);
    assert_false(brake_is_at_rest(&scene.brake, 0));
    end_call(&scene, ended(ATTEMPT_ANSWERED), 10);
    assert_true(brake_is_at_rest(&scene.brake, 10));
    (void)brake_start(&scene.brake, 10);
    end_call(&scene, refused(429, &after_2), 10);
    assert_false(brake_is_at_rest(&scene.brake, 9009)); /* 7 seconds after the pause */
    assert_true(brake_is_at_rest(&scene.brake, 9010));
}
