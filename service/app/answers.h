/* Answers that are kept in memory under their key: those that must not be at rest, and those
 * that the store did not take.
 *
 * Each is kept until its time is over, it is removed, or memory is short; a restart forgets
 * them all.  Thread: the loop. */
#ifndef APP_ANSWERS_H
#define APP_ANSWERS_H

#include "base/list.h"
#include "base/map.h"
#include "base/timers.h"
#include "io/store.h"

struct kept_answer;

struct answers {
    struct timers *timers;
    struct map by_key;
    struct list by_age; /* oldest first */
    size_t *bytes;      /* where bodies are counted (blob_hold) */
    unsigned count;
};

struct answer_to_keep {
    struct digest key, fingerprint;
    struct flight_id flight;
    struct answer answer; /* body held, spans copied */
    bool unstored;        /* it should be in the store, and nobody may be told that it is */
};

/* Takes no memory yet.  `timers` and `bytes`, where bodies are counted as held, must outlive it. */
void answers_init(struct answers *answers, struct timers *timers, size_t *bytes);
void answers_done(struct answers *answers);
/* Keep an answer until due_ms; one that is there for this key already is replaced.  E_NOMEM:
 * nothing changed. */
MUST_CHECK enum rc answers_put(struct answers *answers, const struct answer_to_keep *what,
                               int64_t due_ms);
/* Valid until the next change; NULL: none is kept for this key. */
const struct answer_to_keep *answers_find(const struct answers *answers,
                                          const struct digest *key);
/* Nothing happens if there is none. */
void answers_remove(struct answers *answers, const struct digest *key);
/* Forget the oldest one; there must be one. */
void answers_remove_oldest(struct answers *answers);

#endif
