#include "io/store.h"

enum rc store_lookup(struct store *store, const struct digest *key, int64_t now_ms,
                     store_lookup_cb *callback, void *context)
{
    return store->ops->lookup(store, key, now_ms, callback, context);
}

enum rc store_claim(struct store *store, const struct store_claim *claim,
                    store_claim_cb *callback, void *context)
{
    return store->ops->claim(store, claim, callback, context);
}

enum rc store_count(struct store *store, const struct digest *key, struct flight_id flight,
                    unsigned paid_calls_max, store_count_cb *callback, void *context)
{
    return store->ops->count(store, key, flight, paid_calls_max, callback, context);
}

enum rc store_complete(struct store *store, const struct store_completion *completion,
                       store_done_cb *callback, void *context)
{
    return store->ops->complete(store, completion, callback, context);
}

enum rc store_release(struct store *store, const struct store_release *release,
                      store_done_cb *callback, void *context)
{
    return store->ops->release(store, release, callback, context);
}

enum rc store_task(struct store *store, const struct store_task *task, store_task_cb *callback,
                   void *context)
{
    return store->ops->task(store, task, callback, context);
}

const char *store_task_name(enum store_task_kind kind)
{
    static const char *const names[] = {
#define X(name, word) [name] = word,
        STORE_TASK_TABLE(X)
#undef X
    };
    return names[kind];
}

struct store_stats store_stats(struct store *store)
{
    return store->ops->stats(store);
}

void store_free(struct store *store)
{
    if (store)
        store->ops->free(store);
}
