#include "test.h"

#include "app/answers.h"

#include <stdio.h>

#define FIXTURE(name)                                                                          \
    struct fixture name;                                                                       \
    fixture_init(&(name));                                                                     \
    struct fixture *name##_end __attribute__((cleanup(fixture_done), unused)) = &(name)

struct fixture {
    struct timers timers;
    struct answers answers;
    size_t bytes;
};

static void fixture_init(struct fixture *f)
{
    timers_init(&f->timers);
    f->bytes = 0;
    answers_init(&f->answers, &f->timers, &f->bytes);
}

static void fixture_done(struct fixture **f)
{
    answers_done(&(*f)->answers);
    timers_done(&(*f)->timers);
}

static struct digest digest_of(const char *text)
{
    struct digest digest = {0};
    memcpy(digest.bytes, text, strlen(text));
    return digest;
}

static enum rc put(struct fixture *f, const char *key, const char *body, int64_t due_ms)
{
    OWNED(blob) blob = blob_new(span_of(body));
    char request_id[] = "req_1";
    const struct answer_to_keep what = {
        .key = digest_of(key),
        .fingerprint = digest_of("fingerprint"),
        .flight = {{7}},
        .answer = {.status = 200,
                   .body = blob,
                   .content_type = SPAN("application/json"),
                   .request_id = span_of(request_id)},
    };
    return answers_put(&f->answers, &what, due_ms);
}

/* The body kept for a key, or "none". */
static void assert_kept(struct fixture *f, const char *key, const char *body)
{
    struct digest digest = digest_of(key);
    const struct answer_to_keep *kept = answers_find(&f->answers, &digest);
    if (kept)
        assert_span_equal(blob_span(kept->answer.body), body);
    else
        assert_string_equal("none", body);
}

TEST(answers, an_answer_is_kept_whole)
{
    FIXTURE(f);
    assert_int_equal(put(&f, "a", "{\"x\":1}", 1000), OK);
    struct digest key = digest_of("a"), fingerprint = digest_of("fingerprint");
    const struct answer_to_keep *kept = answers_find(&f.answers, &key);
    assert_true(digest_eq(&kept->fingerprint, &fingerprint));
    assert_int_equal(kept->flight.bytes[0], 7);
    assert_int_equal(kept->answer.status, 200);
    assert_span_equal(blob_span(kept->answer.body), "{\"x\":1}");
    assert_span_equal(kept->answer.content_type, "application/json");
    assert_span_equal(kept->answer.request_id, "req_1");
    assert_null(kept->answer.error_code.p);
}

TEST(answers, it_is_gone_when_its_time_is_over)
{
    FIXTURE(f);
    assert_int_equal(put(&f, "a", "one", 1000), OK);
    timers_run(&f.timers, 999);
    assert_kept(&f, "a", "one");
    timers_run(&f.timers, 1000);
    assert_kept(&f, "a", "none");
    assert_int_equal(f.bytes, 0);
    assert_int_equal(f.answers.count, 0);
}

TEST(answers, a_second_one_replaces_the_first_and_its_time)
{
    FIXTURE(f);
    assert_int_equal(put(&f, "a", "one", 1000), OK);
    assert_int_equal(put(&f, "a", "three", 2000), OK);
    timers_run(&f.timers, 1000);
    assert_kept(&f, "a", "three");
    assert_int_equal(f.bytes, 5);
    assert_int_equal(f.answers.count, 1);
}

TEST(answers, a_removed_one_is_gone_and_removing_none_is_fine)
{
    FIXTURE(f);
    struct digest a = digest_of("a");
    assert_int_equal(put(&f, "a", "one", 1000), OK);
    answers_remove(&f.answers, &a);
    answers_remove(&f.answers, &a);
    assert_kept(&f, "a", "none");
    timers_run(&f.timers, 1000);
}

TEST(answers, the_oldest_goes_first)
{
    FIXTURE(f);
    assert_int_equal(put(&f, "a", "one", 3000), OK);
    assert_int_equal(put(&f, "b", "two!", 2000), OK);
    assert_int_equal(put(&f, "c", "three", 1000), OK);
    assert_int_equal(f.bytes, 12);
    answers_remove_oldest(&f.answers);
    assert_int_equal(f.bytes, 9);
    assert_kept(&f, "a", "none");
    assert_kept(&f, "b", "two!");
    assert_kept(&f, "c", "three");
}

TEST(answers, many_are_kept_apart)
{
    FIXTURE(f);
    char key[16];
    for (int i = 0; i < 100; i++) {
        (void)snprintf(key, sizeof key, "key %d", i);
        assert_int_equal(put(&f, key, key, 1000 + i), OK);
    }
    timers_run(&f.timers, 1049);
    assert_kept(&f, "key 49", "none");
    assert_kept(&f, "key 50", "key 50");
    assert_int_equal(f.answers.count, 50);
}
