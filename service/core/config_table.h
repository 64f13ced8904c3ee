/* The table of all configuration keys: every default and every range stands there and nowhere
 * else.  The loader, the printer, the JSON schema's test and the "did you mean" read it.
 *
 * Thread: any (constant data). */
#ifndef CORE_CONFIG_TABLE_H
#define CORE_CONFIG_TABLE_H

#include "core/config.h"

/* Limits of the parts that are no single key. */
enum {
    CONFIG_LISTEN_MAX = 16,
    CONFIG_UPSTREAMS_MAX = 64,
    CONFIG_CLIENTS_MAX = 4096,
    CONFIG_NAME_BYTES_MAX = 64, /* of an upstream or a client */
    CONFIG_KEY_COUNT_MAX = 64   /* keys of one section: a bit each */
};

/* An object whose members are keys.  X(enum, where it stands in the file) */
#define CONFIG_SECTION_TABLE(X)                                                                \
    X(SECTION_ROOT, "the top level")                                                           \
    X(SECTION_UPSTREAM, "upstreams.NAME")                                                      \
    X(SECTION_ROUTE, "routes.\"/PATH\"")                                                       \
    X(SECTION_CLIENT, "clients[]")                                                             \
    X(SECTION_IDEMPOTENCY, "idempotency")                                                      \
    X(SECTION_LIMITS, "limits")                                                                \
    X(SECTION_LOG, "log")

enum config_section {
#define X(name, place) name,
    CONFIG_SECTION_TABLE(X)
#undef X
        SECTION_COUNT
};

/* The field a key is kept in, and what its `min` and `max` count. */
enum config_type {
    CONFIG_BOOL,     /* bool */
    CONFIG_COUNT,    /* unsigned; a whole number */
    CONFIG_SIZE,     /* uint64_t or size_t; a whole number */
    CONFIG_SECONDS,  /* int64_t in milliseconds; seconds, with fractions */
    CONFIG_RATIO,    /* double; a number */
    CONFIG_CHOICE,   /* an enum; one of `choices`, in the enum's order */
    CONFIG_TEXT,     /* struct span; bytes */
    CONFIG_DIGEST,   /* struct digest, all zero: none; 64 hexadecimal digits */
    CONFIG_LIST,     /* struct span_list; items */
    CONFIG_HEADERS,  /* struct headers; members */
    CONFIG_UPSTREAM, /* const struct config_upstream *; the name of one */
    CONFIG_OBJECT    /* no field: a section, or an object or list of sections */
};

struct config_key {
    enum config_section section;
    enum config_type type;
    const char *name;
    size_t offset; /* in config_upstream, config_route, config_client; else in config */
    /* The default as JSON.  "null": none, or it depends on other keys as `help` says; the file
     * may say null too.  NULL: see `required`. */
    const char *standard;
    double min, max;
    const char *choices; /* "wait|conflict" */
    bool required;       /* the section is refused without it */
    bool secret;         /* never printed */
    bool simple_only;    /* a key of the route /api/llm alone */
    bool restart;        /* of config's own fields: a reload leaves it as it was at the start */
    const char *help;
};

/* All keys, grouped by section.  *ret_count: how many. */
const struct config_key *config_keys(size_t *ret_count);
/* The keys of one section, contiguous. */
const struct config_key *config_section_keys(enum config_section section, size_t *ret_count);
/* NULL: the section has no such key. */
const struct config_key *config_key_find(enum config_section section, struct span name);
/* Where the keys of a section stand, for people. */
const char *config_section_place(enum config_section section);

/* One of "a|b|c": the index of `word`, -1: none of them. */
int config_choice_index(const char *choices, struct span word);
/* The choice of this index; absent: past the end. */
struct span config_choice_word(const char *choices, unsigned index);

/* The defaults that depend on another value: of hold_s and of adopt. */
int64_t config_hold_standard_ms(enum edge edge);
enum adopt config_adopt_standard(enum api api);

#endif
