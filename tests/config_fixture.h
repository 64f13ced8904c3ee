/* A configuration source of plain data for tests: variables and files are listed, nothing of
 * the real machine is seen. */
#ifndef CONFIG_FIXTURE_H
#define CONFIG_FIXTURE_H

#include "core/config.h"
#include "core/config_table.h"

#include <stdio.h>
#include <stdlib.h>

enum { FIXTURE_ENTRIES_MAX = 24, FIXTURE_TEXT_MAX = 1 << 20 };

struct fixture_entry {
    const char *name, *value;
};

struct fixture {
    struct fixture_entry variables[FIXTURE_ENTRIES_MAX], files[FIXTURE_ENTRIES_MAX];
    struct config_arguments arguments;
    struct buf problems;
    struct config *config;
};

#define FIXTURE_FILE "unstream.json"

static inline const char *fixture_find(const struct fixture_entry *entries, struct span name)
{
    for (int i = 0; i < FIXTURE_ENTRIES_MAX && entries[i].name; i++)
        if (span_is(name, entries[i].name))
            return entries[i].value;
    return NULL;
}

static inline const char *fixture_getenv(void *context, const char *name)
{
    return fixture_find(((struct fixture *)context)->variables, span_of(name));
}

static inline enum rc fixture_read_file(void *context, struct span path, struct buf *out)
{
    const char *text = fixture_find(((struct fixture *)context)->files, path);
    if (!text)
        return E_NOT_FOUND;
    buf_add_text(out, text);
    return buf_rc(out);
}

static inline void fixture_set(struct fixture_entry *entries, const char *name,
                               const char *value)
{
    int i = 0;
    while (entries[i].name && strcmp(entries[i].name, name) != 0)
        i++;
    entries[i] = (struct fixture_entry){name, value};
}

static inline struct config_source fixture_source(struct fixture *fixture)
{
    return (struct config_source){fixture_getenv, fixture_read_file, fixture};
}

static inline enum rc fixture_load(struct fixture *fixture)
{
    struct config_source source = fixture_source(fixture);
    config_free(fixture->config);
    fixture->config = NULL;
    buf_done(&fixture->problems);
    buf_init(&fixture->problems, FIXTURE_TEXT_MAX);
    fixture_set(fixture->variables, "HOME", "/home/u");
    return config_load(&source, &fixture->arguments, &fixture->problems, &fixture->config);
}

/* Load this text as the file named FIXTURE_FILE. */
static inline enum rc fixture_load_file(struct fixture *fixture, const char *text)
{
    fixture_set(fixture->files, FIXTURE_FILE, text);
    fixture->arguments.file = SPAN(FIXTURE_FILE);
    return fixture_load(fixture);
}

static inline const char *fixture_problems(struct fixture *fixture)
{
    return buf_text(&fixture->problems);
}

static inline void fixture_done(struct fixture *fixture)
{
    config_free(fixture->config);
    buf_done(&fixture->problems);
}

#define FIXTURE(name) __attribute__((cleanup(fixture_done))) struct fixture name = {0}

/* The text loads, and these are all warnings. */
#define assert_warns(fixture, text, warnings)                                                  \
    do {                                                                                       \
        enum rc rc_ = fixture_load_file(fixture, text);                                        \
        assert_string_equal(fixture_problems(fixture), warnings);                              \
        assert_int_equal(rc_, OK);                                                             \
    } while (0)

/* The text is refused, and these are all problems. */
#define assert_refused(fixture, text, problems_text)                                           \
    do {                                                                                       \
        enum rc rc_ = fixture_load_file(fixture, text);                                        \
        assert_string_equal(fixture_problems(fixture), problems_text);                         \
        assert_int_equal(rc_, E_INVALID);                                                      \
        assert_null((fixture)->config);                                                        \
    } while (0)

#endif
