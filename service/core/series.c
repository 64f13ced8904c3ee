#include "core/series.h"

#include <stdlib.h>
#include <string.h>

enum {
    NAME_OTHER, /* also what a new struct series has */
    NAME_EMPTY,
    NAMES_OWN, /* numbers of names begin here */
    LABELS_BYTES_MAX = SERIES_LABELS_MAX * (2 * SERIES_NAME_BYTES_MAX + 64),
};

/* ---- names */

struct series_name {
    unsigned number;
    char text[SERIES_NAME_BYTES_MAX + 1];
};

/* The hash first, as maps want it.  A name that somebody made up to collide with another costs
 * a few steps more. */
struct name_key {
    uint64_t hash;
    char text[SERIES_NAME_BYTES_MAX];
};

/* FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/ */
static uint64_t hash_of(struct span name)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (size_t i = 0; i < name.n; i++)
        hash = (hash ^ (unsigned char)name.p[i]) * 0x100000001b3;
    return hash;
}

/* Not within a character of UTF-8. */
static struct span cut(struct span name)
{
    if (name.n <= SERIES_NAME_BYTES_MAX)
        return name;
    name.n = SERIES_NAME_BYTES_MAX;
    while (name.n && ((unsigned char)name.p[name.n] & 0xC0) == 0x80)
        name.n--;
    return name;
}

void series_names_init(struct series_names *names, const char *other, unsigned names_max)
{
    ASSERT(names_max <= SERIES_NAMES_MAX);
    *names = (struct series_names){.other = other, .names_max = names_max};
    map_init(&names->by_name, sizeof(struct name_key));
}

void series_names_done(struct series_names *names)
{
    struct series_name *name;
    size_t position = 0;
    while ((name = map_next(&names->by_name, &position)) != NULL)
        free(name);
    map_done(&names->by_name);
}

/* NULL: there is no place, or no memory. */
static struct series_name *name_new(struct series_names *names, const struct name_key *key)
{
    if (names->by_name.count >= names->names_max)
        return NULL;
    struct series_name *name = calloc(1, sizeof *name);
    if (!name || map_put(&names->by_name, key, name) != OK) {
        free(name);
        return NULL;
    }
    name->number = NAMES_OWN + (unsigned)names->by_name.count - 1;
    memcpy(name->text, key->text, sizeof key->text);
    return name;
}

static unsigned number_of(struct series_names *names, struct span text, const char **ret_text)
{
    struct name_key key = {0};
    text = cut(text);
    *ret_text = "";
    if (!text.n)
        return NAME_EMPTY;
    key.hash = hash_of(text);
    memcpy(key.text, text.p, text.n);
    struct series_name *name = map_get(&names->by_name, &key);
    if (!name)
        name = name_new(names, &key);
    *ret_text = name ? name->text : names->other;
    return name ? name->number : NAME_OTHER;
}

/* ---- series */

struct series {
    struct list link;                      /* in series_family.in_order */
    const char *values[SERIES_LABELS_MAX]; /* belong to the names */
    uint64_t count;                        /* a counter's */
    double sum;                            /* a histogram's */
    uint64_t buckets[];                    /* likewise; the last one is +Inf */
};

struct labels {
    uint16_t numbers[SERIES_LABELS_MAX];
    const char *values[SERIES_LABELS_MAX];
};

_Static_assert(sizeof(uint64_t) == SERIES_LABELS_MAX * sizeof(uint16_t), "a key is one number");

/* One to one, and spread as maps want it (the finalizer of MurmurHash3, public domain). */
static uint64_t key_of(const struct labels *labels)
{
    uint64_t key;
    memcpy(&key, labels->numbers, sizeof key);
    key = (key ^ (key >> 33)) * 0xff51afd7ed558ccd;
    key = (key ^ (key >> 33)) * 0xc4ceb9fe1a85ec53;
    return key ^ (key >> 33);
}

void series_family_init(struct series_family *family, const struct series_family_info *info,
                        struct series_names *const *names, unsigned series_max)
{
    *family = (struct series_family){.info = info, .series_max = series_max};
    for (size_t i = 0; i < SERIES_LABELS_MAX && info->labels[i]; i++)
        family->names[i] = names[i];
    map_init(&family->by_labels, sizeof(uint64_t));
    list_init(&family->in_order);
}

void series_family_done(struct series_family *family)
{
    struct series *series;
    size_t position = 0;
    while ((series = map_next(&family->by_labels, &position)) != NULL)
        free(series);
    map_done(&family->by_labels);
    list_init(&family->in_order);
}

static struct series *series_new(struct series_family *family, const struct labels *labels,
                                 uint64_t key)
{
    const struct series_family_info *info = family->info;
    size_t bucket_count = info->bounds ? info->bound_count + 1 : 0;
    struct series *series =
        calloc(1, sizeof *series + bucket_count * sizeof series->buckets[0]);
    if (!series || map_put(&family->by_labels, &key, series) != OK) {
        free(series);
        return NULL;
    }
    memcpy(series->values, labels->values, sizeof series->values);
    list_init(&series->link);
    list_append(&family->in_order, &series->link);
    return series;
}

static struct series *get_or_new(struct series_family *family, const struct labels *labels,
                                 bool must_fit)
{
    uint64_t key = key_of(labels);
    struct series *series = map_get(&family->by_labels, &key);
    if (series || (must_fit && family->by_labels.count >= family->series_max))
        return series;
    return series_new(family, labels, key);
}

/* NULL: out of memory. */
static struct series *find(struct series_family *family, const struct span *values)
{
    struct labels labels = {0}, others = {0};
    for (size_t i = 0; i < SERIES_LABELS_MAX && family->names[i]; i++) {
        labels.numbers[i] = (uint16_t)number_of(family->names[i], values[i], &labels.values[i]);
        others.values[i] = family->names[i]->other;
    }
    struct series *series = get_or_new(family, &labels, true);
    return series ? series : get_or_new(family, &others, false);
}

void series_add(struct series_family *family, const struct span *values, uint64_t n)
{
    ASSERT(!family->info->bounds);
    struct series *series = find(family, values);
    if (series)
        series->count += n;
}

void series_observe(struct series_family *family, const struct span *values, double value)
{
    const struct series_family_info *info = family->info;
    ASSERT(info->bounds);
    struct series *series = find(family, values);
    if (!series)
        return;
    size_t i = 0;
    while (i < info->bound_count && value > info->bounds[i])
        i++;
    series->buckets[i]++;
    series->sum += value;
}

/* ---- text */

void series_render_head(const char *name, const char *type, const char *help, struct buf *out)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void add_value(const char *label, struct span value, struct buf *out)
{
    buf_printf(out, "%s=\"", label);
    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];
        if (c == '\\' || c == '"')
            buf_add_byte(out, '\\');
        buf_add_text(out, c == '\n' ? "\\n" : (const char[]){c, '\0'});
    }
    buf_add_byte(out, '"');
}

void series_render_label(const char *label, struct span value, struct buf *out)
{
    buf_add_byte(out, '{');
    add_value(label, value, out);
    buf_add_byte(out, '}');
}

static void add_labels(const struct series_family *family, const struct series *series,
                       struct buf *out)
{
    for (size_t i = 0; i < SERIES_LABELS_MAX && family->names[i]; i++) {
        if (!series->values[i][0])
            continue;
        if (out->n)
            buf_add_byte(out, ',');
        add_value(family->info->labels[i], span_of(series->values[i]), out);
    }
}

static void add_sample(const char *name, const char *suffix, struct span labels,
                       struct buf *out)
{
    buf_printf(out, "%s%s", name, suffix);
    if (labels.n)
        buf_printf(out, "{%.*s}", SPAN_ARG(labels));
    buf_add_byte(out, ' ');
}

void series_render_histogram(const char *name, struct span labels,
                             const struct series_histogram *histogram, struct buf *out)
{
    uint64_t count = 0;
    const char *comma = labels.n ? "," : "";
    for (size_t i = 0; i <= histogram->bound_count; i++) {
        count += histogram->counts[i];
        buf_printf(out, "%s_bucket{%.*s%sle=\"", name, SPAN_ARG(labels), comma);
        if (i < histogram->bound_count)
            buf_printf(out, "%.15g", histogram->bounds[i]);
        else
            buf_add_text(out, "+Inf");
        buf_printf(out, "\"} %llu\n", (unsigned long long)count);
    }
    add_sample(name, "_sum", labels, out);
    buf_printf(out, "%.15g\n", histogram->sum);
    add_sample(name, "_count", labels, out);
    buf_printf(out, "%llu\n", (unsigned long long)count);
}

static void render_one(const struct series_family *family, const struct series *series,
                       struct buf *out)
{
    const struct series_family_info *info = family->info;
    BUF(labels, LABELS_BYTES_MAX);
    add_labels(family, series, &labels);
    if (!info->bounds) {
        add_sample(info->name, "", buf_span(&labels), out);
        buf_printf(out, "%llu\n", (unsigned long long)series->count);
        return;
    }
    const struct series_histogram histogram = {info->bounds, series->buckets, info->bound_count,
                                               series->sum};
    series_render_histogram(info->name, buf_span(&labels), &histogram, out);
}

void series_render(const struct series_family *family, struct buf *out)
{
    const struct series_family_info *info = family->info;
    series_render_head(info->name, info->bounds ? "histogram" : "counter", info->help, out);
    for (struct list *link = family->in_order.next; link != &family->in_order;
         link = link->next)
        render_one(family, CONTAINER_OF(link, struct series, link), out);
}
