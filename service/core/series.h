/* Counters and histograms that are told apart by labels, within fixed bounds, and their text for
 * Prometheus.
 *
 * A family is one metric.  Its series are made as they are needed, one for each set of label
 * values that was seen.  Values come from outside, so both are bounded: names that a set of names
 * has no place for are counted as its `other` name, and a family that is full counts what is new
 * in one further series, whose values are all `other`.  So nothing goes uncounted, and what is
 * counted under a name stays under it.
 *
 * Text: version 0.0.4, https://prometheus.io/docs/instrumenting/exposition_formats/.  An empty
 * value means the same as no label there, and is left out.
 *
 * Out of memory an observation is lost; nothing fails for its sake.  Pure; thread: one owner. */
#ifndef CORE_SERIES_H
#define CORE_SERIES_H

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"

enum {
    SERIES_LABELS_MAX = 4,
    SERIES_NAME_BYTES_MAX = 128, /* of a label's value: longer ones are cut */
    SERIES_NAMES_MAX = 4096,     /* of one set */
};

/* The values that labels may have. */
struct series_names {
    const char *other; /* for all that have no place */
    unsigned names_max;
    struct map by_name; /* struct series_name */
};

/* names_max: at most SERIES_NAMES_MAX; the empty name and `other` have places of their own.
 * Takes no memory yet. */
void series_names_init(struct series_names *names, const char *other, unsigned names_max);
void series_names_done(struct series_names *names);

struct series_family_info {
    const char *name, *help;
    const char *labels[SERIES_LABELS_MAX]; /* unused ones NULL, at the end */
    const double *bounds;                  /* a histogram's, rising; NULL: a counter */
    size_t bound_count;
};

struct series_family {
    const struct series_family_info *info;
    struct series_names *names[SERIES_LABELS_MAX]; /* of each label; shared */
    unsigned series_max;                           /* without the one for all others */
    struct map by_labels;                          /* struct series */
    struct list in_order;                          /* as they were made */
};

/* `info` and `names` (one for each label) must outlive the family.  Takes no memory yet. */
void series_family_init(struct series_family *family, const struct series_family_info *info,
                        struct series_names *const *names, unsigned series_max);
void series_family_done(struct series_family *family);
/* A counter's series of these label values (absent ones count as empty) goes up by n; n 0 only
 * makes it appear. */
void series_add(struct series_family *family, const struct span *values, uint64_t n);
/* One more observation of a histogram: it counts in the first bucket whose bound is not below. */
void series_observe(struct series_family *family, const struct span *values, double value);
/* Appends the family: its head, even without series, then the samples. */
void series_render(const struct series_family *family, struct buf *out);

/* ---- for metrics that are kept elsewhere */

/* Appends "# HELP" and "# TYPE". */
void series_render_head(const char *name, const char *type, const char *help, struct buf *out);
/* Appends {label="value"}, escaped. */
void series_render_label(const char *label, struct span value, struct buf *out);

struct series_histogram {
    const double *bounds;
    const uint64_t *counts; /* of each bucket alone; the last one, behind the bounds, is +Inf */
    size_t bound_count;
    double sum;
};

/* Appends its samples; `labels` as in {labels}, without a comma at the end, may be empty. */
void series_render_histogram(const char *name, struct span labels,
                             const struct series_histogram *histogram, struct buf *out);

#endif
