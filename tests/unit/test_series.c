#include "test.h"

#include "core/series.h"

#include <stdio.h>

static const double bounds[] = {0.01, 1, 67108864};
static const struct series_family_info counter = {
    .name = "hits_total", .help = "Hits.", .labels = {"who", "what"}};
static const struct series_family_info histogram = {
    "wait_seconds", "Waits.", {"who"}, bounds, COUNT_OF(bounds)};

struct scene {
    struct series_names who, what;
    struct series_family family;
};

static void scene_init(struct scene *scene, const struct series_family_info *info,
                       unsigned names_max, unsigned series_max)
{
    struct series_names *const names[] = {&scene->who, &scene->what};
    series_names_init(&scene->who, "other", names_max);
    series_names_init(&scene->what, "other", names_max);
    series_family_init(&scene->family, info, names, series_max);
}

static void scene_done(struct scene *scene)
{
    series_family_done(&scene->family);
    series_names_done(&scene->who);
    series_names_done(&scene->what);
}

#define SCENE(name, info, names_max, series_max)                                               \
    __attribute__((cleanup(scene_done))) struct scene name;                                    \
    scene_init(&name, info, names_max, series_max)

static void hit(struct scene *scene, const char *who, const char *what)
{
    const struct span values[] = {span_of(who), span_of(what)};
    series_add(&scene->family, values, 1);
}

static void assert_samples(const struct scene *scene, const char *expected)
{
    BUF(text, 1 << 20);
    series_render(&scene->family, &text);
    assert_int_equal(buf_rc(&text), OK);
    const char *samples = strstr(buf_text(&text), "# TYPE");
    assert_non_null(samples);
    assert_string_equal(strchr(samples, '\n') + 1, expected);
}

TEST(series, a_family_without_series_has_its_head)
{
    SCENE(s, &counter, 10, 10);
    BUF(text, 4096);
    series_render(&s.family, &text);
    assert_string_equal(buf_text(&text),
                        "# HELP hits_total Hits.\n# TYPE hits_total counter\n");
}

TEST(series, each_set_of_values_is_counted_by_itself)
{
    SCENE(s, &counter, 10, 10);
    hit(&s, "ann", "tea");
    hit(&s, "bob", "tea");
    hit(&s, "ann", "tea");
    hit(&s, "tea", "ann");
    assert_samples(&s, "hits_total{who=\"ann\",what=\"tea\"} 2\n"
                       "hits_total{who=\"bob\",what=\"tea\"} 1\n"
                       "hits_total{who=\"tea\",what=\"ann\"} 1\n");
}

TEST(series, an_empty_or_absent_value_is_no_label)
{
    SCENE(s, &counter, 10, 10);
    hit(&s, "", "tea");
    hit(&s, NULL, "tea");
    hit(&s, "ann", NULL);
    hit(&s, NULL, NULL);
    assert_samples(&s, "hits_total{what=\"tea\"} 2\n"
                       "hits_total{who=\"ann\"} 1\n"
                       "hits_total 1\n");
}

TEST(series, adding_nothing_makes_a_series_appear)
{
    SCENE(s, &counter, 10, 10);
    series_add(&s.family, (const struct span[]){SPAN("ann"), SPAN("tea")}, 0);
    assert_samples(&s, "hits_total{who=\"ann\",what=\"tea\"} 0\n");
}

TEST(series, values_are_escaped)
{
    SCENE(s, &counter, 10, 10);
    hit(&s, "a\"b\\c\nd", "Zürich {x=\"1\"}");
    assert_samples(&s, "hits_total{who=\"a\\\"b\\\\c\\nd\",what=\"Zürich {x=\\\"1\\\"}\"} 1\n");
}

TEST(series, names_beyond_the_maximum_are_other_and_known_ones_stay)
{
    SCENE(s, &counter, 2, 10);
    hit(&s, "ann", "tea");
    hit(&s, "bob", "tea");
    hit(&s, "cem", "tea");
    hit(&s, "dan", "tea");
    hit(&s, "bob", "tea");
    assert_samples(&s, "hits_total{who=\"ann\",what=\"tea\"} 1\n"
                       "hits_total{who=\"bob\",what=\"tea\"} 2\n"
                       "hits_total{who=\"other\",what=\"tea\"} 2\n");
}

TEST(series, a_family_that_is_full_counts_the_rest_in_one_series)
{
    SCENE(s, &counter, 10, 2);
    hit(&s, "ann", "tea");
    hit(&s, "bob", "tea");
    hit(&s, "cem", "tea");
    hit(&s, "ann", "ale");
    hit(&s, "bob", "tea");
    assert_samples(&s, "hits_total{who=\"ann\",what=\"tea\"} 1\n"
                       "hits_total{who=\"bob\",what=\"tea\"} 2\n"
                       "hits_total{who=\"other\",what=\"other\"} 2\n");
}

TEST(series, a_value_is_cut_at_the_maximum)
{
    SCENE(s, &counter, 10, 10);
    char long_name[SERIES_NAME_BYTES_MAX + 2] = {0};
    char expected[SERIES_NAME_BYTES_MAX + 64];
    memset(long_name, 'x', SERIES_NAME_BYTES_MAX);
    hit(&s, long_name, NULL);
    (void)snprintf(expected, sizeof expected, "hits_total{who=\"%s\"} 2\n", long_name);
    long_name[SERIES_NAME_BYTES_MAX] = 'y';
    hit(&s, long_name, NULL);
    assert_samples(&s, expected);
}

TEST(series, a_value_is_not_cut_within_a_character)
{
    SCENE(s, &counter, 10, 10);
    char name[SERIES_NAME_BYTES_MAX + 2] = {0}, kept[SERIES_NAME_BYTES_MAX] = {0};
    char expected[SERIES_NAME_BYTES_MAX + 64];
    memset(name, 'x', SERIES_NAME_BYTES_MAX - 1);
    memcpy(name + SERIES_NAME_BYTES_MAX - 1, "ü", 2);
    memset(kept, 'x', SERIES_NAME_BYTES_MAX - 1);
    hit(&s, name, NULL);
    (void)snprintf(expected, sizeof expected, "hits_total{who=\"%s\"} 1\n", kept);
    assert_samples(&s, expected);
}

TEST(series, an_observation_counts_in_the_first_bucket_that_holds_it)
{
    SCENE(s, &histogram, 10, 10);
    const struct span ann = SPAN("ann");
    const double values[] = {0, 0.01, 0.0100001, 1, 1.5, 67108864, 67108865};
    for (size_t i = 0; i < COUNT_OF(values); i++)
        series_observe(&s.family, &ann, values[i]);
    assert_samples(&s, "wait_seconds_bucket{who=\"ann\",le=\"0.01\"} 2\n"
                       "wait_seconds_bucket{who=\"ann\",le=\"1\"} 4\n"
                       "wait_seconds_bucket{who=\"ann\",le=\"67108864\"} 6\n"
                       "wait_seconds_bucket{who=\"ann\",le=\"+Inf\"} 7\n"
                       "wait_seconds_sum{who=\"ann\"} 134217731.52\n"
                       "wait_seconds_count{who=\"ann\"} 7\n");
}

TEST(series, a_histogram_without_labels_has_its_bounds_only)
{
    SCENE(s, &histogram, 10, 10);
    const struct span nobody = SPAN_ABSENT;
    series_observe(&s.family, &nobody, 2);
    assert_samples(&s, "wait_seconds_bucket{le=\"0.01\"} 0\n"
                       "wait_seconds_bucket{le=\"1\"} 0\n"
                       "wait_seconds_bucket{le=\"67108864\"} 1\n"
                       "wait_seconds_bucket{le=\"+Inf\"} 1\n"
                       "wait_seconds_sum 2\n"
                       "wait_seconds_count 1\n");
}

TEST(series, thousands_of_names_are_told_apart)
{
    enum { NAMES = SERIES_NAMES_MAX };
    SCENE(s, &counter, NAMES, NAMES);
    char name[16];
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < NAMES; i++) {
            (void)snprintf(name, sizeof name, "model-%d", i);
            hit(&s, name, "x");
        }
    assert_int_equal(s.family.by_labels.count, NAMES);
    BUF(text, 1 << 20);
    series_render(&s.family, &text);
    assert_non_null(strstr(buf_text(&text), "\nhits_total{who=\"model-4095\",what=\"x\"} 2\n"));
    assert_null(strstr(buf_text(&text), "other"));
}
