#include "app/answers.h"

#include "base/arena.h"

#include <stdlib.h>

/* The texts of an answer: media type, the provider's request id, an error code. */
enum { KEPT_TEXT_BYTES_MAX = 32768 };

struct kept_answer {
    struct answers *answers;
    struct list link; /* in answers.by_age */
    struct timer end;
    struct arena arena;
    struct answer_to_keep what; /* holds its body, its texts stand in the arena */
};

void answers_init(struct answers *answers, struct timers *timers, size_t *bytes)
{
    *answers = (struct answers){.timers = timers, .bytes = bytes};
    map_init(&answers->by_key, SHA256_BYTES);
    list_init(&answers->by_age);
}

static void kept_answer_free(struct kept_answer *kept)
{
    if (!kept)
        return;
    blob_let_go(kept->what.answer.body, kept->answers->bytes);
    arena_done(&kept->arena);
    free(kept);
}
OWNED_DEFINE(kept_answer)

static void remove_kept(struct kept_answer *kept)
{
    struct answers *answers = kept->answers;
    timers_stop(answers->timers, &kept->end);
    (void)map_remove(&answers->by_key, kept->what.key.bytes);
    list_remove(&kept->link);
    answers->count--;
    kept_answer_free(kept);
}

void answers_done(struct answers *answers)
{
    struct list *link = answers->by_age.next;
    while (link != &answers->by_age) {
        struct list *next = link->next;
        remove_kept(CONTAINER_OF(link, struct kept_answer, link));
        link = next;
    }
    map_done(&answers->by_key);
}

static void on_end(struct timer *timer)
{
    remove_kept(CONTAINER_OF(timer, struct kept_answer, end));
}

/* Copies a text that may be absent.  False: out of memory. */
static bool copy(struct arena *arena, struct span *text)
{
    if (!text->p)
        return true;
    *text = arena_copy(arena, *text);
    return text->p != NULL;
}

static struct kept_answer *kept_answer_new(struct answers *answers,
                                           const struct answer_to_keep *what)
{
    OWNED(kept_answer) kept = calloc(1, sizeof *kept);
    if (!kept)
        return NULL;
    arena_init(&kept->arena, KEPT_TEXT_BYTES_MAX);
    kept->answers = answers;
    kept->end.run = on_end;
    kept->what = *what;
    struct answer *answer = &kept->what.answer;
    answer->body = blob_hold(answer->body, answers->bytes);
    list_init(&kept->link);
    if (!copy(&kept->arena, &answer->content_type) ||
        !copy(&kept->arena, &answer->request_id) || !copy(&kept->arena, &answer->error_code))
        return NULL;
    return take(kept);
}

enum rc answers_put(struct answers *answers, const struct answer_to_keep *what, int64_t due_ms)
{
    OWNED(kept_answer) kept = kept_answer_new(answers, what);
    if (!kept || timers_start(answers->timers, &kept->end, due_ms) != OK)
        return E_NOMEM;
    struct kept_answer *before = map_get(&answers->by_key, what->key.bytes);
    if (before)
        remove_kept(before); /* leaves room in the map */
    if (map_put(&answers->by_key, what->key.bytes, kept) != OK) {
        timers_stop(answers->timers, &kept->end);
        return E_NOMEM;
    }
    list_append(&answers->by_age, &kept->link);
    answers->count++;
    kept = NULL; /* the table owns it */
    return OK;
}

const struct answer_to_keep *answers_find(const struct answers *answers,
                                          const struct digest *key)
{
    const struct kept_answer *kept = map_get(&answers->by_key, key->bytes);
    return kept ? &kept->what : NULL;
}

void answers_remove(struct answers *answers, const struct digest *key)
{
    struct kept_answer *kept = map_get(&answers->by_key, key->bytes);
    if (kept)
        remove_kept(kept);
}

void answers_remove_oldest(struct answers *answers)
{
    ASSERT(!list_is_empty(&answers->by_age));
    remove_kept(CONTAINER_OF(answers->by_age.next, struct kept_answer, link));
}
