#include "io/store.h"

const unsigned store_commit_bounds_us[STORE_COMMIT_BOUNDS] = {
    250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000};

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

enum rc store_publish(struct store *store, struct flight_id flight,
                      const struct store_publication *publication, store_done_cb *callback,
                      void *context)
{
    return store->ops->publish(store, flight, publication, callback, context);
}

enum rc store_result(struct store *store, const struct store_result_query *query,
                     store_result_cb *callback, void *context)
{
    return store->ops->result(store, query, callback, context);
}

enum rc store_accepted(struct store *store, const struct flight_id *after,
                       store_accepted_cb *callback, void *context)
{
    return store->ops->accepted(store, after, callback, context);
}

const char *flight_row_name(enum flight_row state)
{
    static const char *const names[] = {
#define X(name, word) [name] = word,
        FLIGHT_ROW_TABLE(X)
#undef X
    };
    return names[state];
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
