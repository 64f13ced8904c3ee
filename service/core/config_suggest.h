/* "Did you mean": the nearest of a number of words to a mistyped one.
 *
 *     struct suggestion s = suggestion_for(word);
 *     for each candidate: suggestion_offer(&s, candidate);
 *     if (s.best.p) ... did you mean s.best
 *
 * Near is an edit distance of at most a third of the longer word, or one word inside the other
 * ("timeout_s" in "idle_timeout_s").  Words over SUGGESTION_BYTES_MAX are not compared.
 * Pure; nothing is copied; thread: any. */
#ifndef CORE_CONFIG_SUGGEST_H
#define CORE_CONFIG_SUGGEST_H

#include "base/span.h"

enum { SUGGESTION_BYTES_MAX = 64 };

struct suggestion {
    struct span word;
    struct span best; /* absent: nothing is near */
    size_t distance;
};

struct suggestion suggestion_for(struct span word);
void suggestion_offer(struct suggestion *suggestion, struct span candidate);
/* Insertions, deletions and replacements of a byte between the two, which must not be over
 * SUGGESTION_BYTES_MAX. */
size_t suggestion_distance(struct span a, struct span b);

#endif
