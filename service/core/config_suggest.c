#include "core/config_suggest.h"

#include "base/rc.h"

#include <string.h>

/* Shorter words are inside too many others to mean one. */
enum { INSIDE_BYTES_MIN = 4 };

size_t suggestion_distance(struct span a, struct span b)
{
    size_t row[SUGGESTION_BYTES_MAX + 1];
    ASSERT(a.n <= SUGGESTION_BYTES_MAX && b.n <= SUGGESTION_BYTES_MAX);
    for (size_t j = 0; j <= b.n; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.n; j++) {
            size_t cheapest = diagonal + (a.p[i - 1] != b.p[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < cheapest)
                cheapest = row[j] + 1;
            if (row[j - 1] + 1 < cheapest)
                cheapest = row[j - 1] + 1;
            row[j] = cheapest;
        }
    }
    return row[b.n];
}

static bool is_inside(struct span part, struct span whole)
{
    return part.n >= INSIDE_BYTES_MIN && memmem(whole.p, whole.n, part.p, part.n);
}

struct suggestion suggestion_for(struct span word)
{
    return (struct suggestion){.word = word, .distance = SIZE_MAX};
}

void suggestion_offer(struct suggestion *suggestion, struct span candidate)
{
    struct span word = suggestion->word;
    size_t longer = word.n > candidate.n ? word.n : candidate.n;
    if (longer > SUGGESTION_BYTES_MAX)
        return;
    size_t distance = suggestion_distance(word, candidate);
    bool near = distance <= (longer + 2) / 3 && distance < longer;
    if (!near && !is_inside(word, candidate) && !is_inside(candidate, word))
        return;
    if (distance < suggestion->distance) {
        suggestion->distance = distance;
        suggestion->best = candidate;
    }
}
