/* What the parts of the configuration loader share; only config*.c include this.
 * Thread: the one that runs config_load. */
#ifndef CORE_CONFIG_LOADER_H
#define CORE_CONFIG_LOADER_H

#include "base/arena.h"
#include "core/config.h"
#include "core/config_table.h"

#include <cjson/cJSON.h>

/* Where a value stands, for messages: a chain from the value to its file (or "environment",
 * "command line"), each part on the stack of who reads it. */
struct where {
    const struct where *parent; /* NULL: `name` is the file */
    struct span name;
    int index; /* of a list's item; -1: a member called `name` */
};

#define WHERE(above, member) (&(struct where){(above), (member), -1})
#define WHERE_ITEM(above, i) (&(struct where){(above), SPAN_ABSENT, (i)})

struct loader {
    const struct config_source *source;
    const struct config_arguments *arguments;
    struct config *config;
    struct arena *arena;
    struct buf *problems;
    struct buf warnings;
    size_t problem_count;
    bool out_of_memory;
    bool has_file;
    struct where file, environment, command_line, inherited, running;
    /* Who said it, for checks that come later. */
    struct where listen_where, ops_listen_where, store_where, clients_where;
    bool clients_from_environment, upstreams_from_environment;
};

/* One line each; `format` is the sentence after "FILE: KEY: ". */
void loader_problem(struct loader *loader, const struct where *where, const char *format, ...)
    PRINTF_LIKE(3, 4);
void loader_warning(struct loader *loader, const struct where *where, const char *format, ...)
    PRINTF_LIKE(3, 4);
/* Memory of the configuration; NULL (and out_of_memory is noted). */
void *loader_alloc(struct loader *loader, size_t n);
struct span loader_copy(struct loader *loader, struct span bytes);
/* A copy of what was built; absent when building or copying failed. */
struct span loader_keep(struct loader *loader, const struct buf *built);
/* `text` in JSON quotes, for messages; lives as long as the configuration; never NULL
 * ("..." stands for a text over 8 KiB). */
const char *loader_quote(struct loader *loader, struct span text);
/* ", did you mean \"x\"?" or "". */
const char *loader_did_you_mean(struct loader *loader, struct span best);
/* An environment variable; absent: unset or empty. */
struct span loader_getenv(struct loader *loader, const char *name);

/* config_text.c: the file's text as JSON.  NULL: not possible, and said so. */
cJSON *config_text_parse(struct loader *loader, struct buf *text);

/* config_value.c */

/* UTF-8 without control characters.  Values from outside the file were not read by the strict
 * JSON reader. */
bool config_text_is_clean(struct span value);
/* What a string of the file stands for ("$NAME", "@/path", "$$x", else itself), in the arena.
 * False: said so. */
bool config_value_text(struct loader *loader, const struct where *where, const cJSON *item,
                       struct span *ret);
/* Check `item` and store it in the key's field of `target`.  False: said so. */
bool config_value_set(struct loader *loader, const struct where *where,
                      const struct config_key *key, const cJSON *item, void *target);
/* Store the defaults of a section's keys. */
void config_value_defaults(struct loader *loader, enum config_section section, void *target);
bool config_value_equal(const struct config_key *key, const void *a, const void *b);

/* config_section.c: the keys that were said, a bit per key of the section. */
struct said {
    enum config_section section;
    uint64_t bits;
};
bool said(struct said said, const char *name);
/* Read an object's members into `target`, which holds the defaults: unknown keys, wrong values
 * and missing required keys are told.  Members that are sections are left to the caller. */
struct said config_section_read(struct loader *loader, const struct where *where,
                                enum config_section section, const cJSON *object, void *target);

/* config_upstream.c */
void config_upstreams_read(struct loader *loader, const struct where *where,
                           const cJSON *object);
void config_upstreams_from_environment(struct loader *loader);
/* config_route.c: after the upstreams, clients and limits.  object: NULL when there is none. */
void config_routes_read(struct loader *loader, const struct where *where, const cJSON *object);
/* config_client.c */
void config_clients_read(struct loader *loader, const struct where *where, const cJSON *array);
void config_clients_from_environment(struct loader *loader);
/* config_check.c: what no key tells alone. */
void config_check(struct loader *loader);
/* The part of it that says who may listen where. */
void config_check_listeners(struct loader *loader);
/* config_reload.c: take over what a reload cannot change from arguments->running, and check what
 * comes of it. */
void config_reload(struct loader *loader);

/* config_print.c: a key's value as JSON. */
void config_print_value(const struct config_key *key, const void *target, struct buf *out);

#endif
