/* The store, as the engine sees it: operations that are queued, committed in groups and told
 * later, and that may fail.  What they do to rows is in model_rows.c and model_flights.c. */
#include "model.h"

#include <stdlib.h>

enum kind { LOOKUP, CLAIM, COUNT, COMPLETE, RELEASE, PUBLISH, RESULT, ACCEPTED };

static const char *const kind_names[] = {"look-up", "claim",       "count",  "completion",
                                         "release", "publication", "result", "accepted"};

struct operation {
    struct list link;
    enum kind kind;
    struct model_key *key; /* NULL: it is about flights */
    struct store_claim claim;
    struct flight_id flight;
    unsigned paid_calls_max;
    int64_t now_ms;
    struct store_completion completion; /* with a reference to its body */
    struct store_release release;       /* likewise */
    struct model_publication *publication;
    struct store_result_query query;
    bool goes_on;    /* ACCEPTED: behind `flight` */
    struct row told; /* the record of a look-up or claim, as it was then */
    struct flight_record result_told;
    enum rc rc;
    enum claim_result result;
    unsigned paid_calls;
    void *context;
    union {
        store_lookup_cb *looked_up;
        store_claim_cb *claimed;
        store_count_cb *counted;
        store_done_cb *done;
        store_result_cb *result;
        store_accepted_cb *accepted;
    } callback;
};

struct model_store {
    struct store store;
    struct world *world;
    struct list queued, performed;
    unsigned queued_count;
    struct timer commit, tell;
    bool broken; /* a commit failed in a way that forbids all further writes */
};

static struct model_store *store_of(struct store *store)
{
    return CONTAINER_OF(store, struct model_store, store);
}

static struct operation *operation_of(struct list *link)
{
    return CONTAINER_OF(link, struct operation, link);
}

/* ---- operations with their effect */

static const char *name_of(const struct operation *operation)
{
    return operation->key ? operation->key->text : "a flight";
}

static bool only_reads(enum kind kind)
{
    return kind == LOOKUP || kind == RESULT || kind == ACCEPTED;
}

/* What is read is another copy each time. */
static struct blob *read_body(const struct blob *stored)
{
    return stored ? blob_new(blob_span(stored)) : NULL;
}

static void tell_row(struct operation *operation)
{
    operation->told = operation->key->row;
    operation->told.body = read_body(operation->key->row.body);
}

static void perform(struct world *world, struct operation *operation)
{
    struct model_key *key = operation->key;
    switch (operation->kind) {
    case LOOKUP:
        tell_row(operation);
        break;
    case CLAIM:
        operation->result = row_claim(world, key, &operation->claim, &operation->publication);
        tell_row(operation);
        break;
    case COUNT:
        operation->rc = row_count(key, operation->flight, operation->paid_calls_max,
                                  &operation->paid_calls);
        break;
    case COMPLETE:
        operation->rc = row_complete(world, key, &operation->completion);
        break;
    case RELEASE:
        operation->rc = row_release(world, key, &operation->release);
        break;
    case PUBLISH:
        operation->rc = model_flight_publish(world, operation->flight, &operation->publication);
        break;
    case RESULT:
        model_flight_get(world, &operation->query, &operation->result_told);
        operation->result_told.answer.body = read_body(operation->result_told.answer.body);
        break;
    case ACCEPTED: /* when it is told, as requests go with their flights */
        break;
    }
    CHECK(world, !key || operation->rc != E_CONFLICT); /* I6: only owners try */
    world_trace(world, "%s of %s: %s, %s, %u paid", kind_names[operation->kind],
                name_of(operation), rc_text(operation->rc),
                key_state_name(key ? row_state(&key->row, operation->now_ms) : KEY_ABSENT),
                key ? key->row.paid_calls : 0);
}

static void fail(struct model_store *store, struct operation *operation, enum rc rc)
{
    struct world *world = store->world;
    operation->rc = rc == E_LIMIT && operation->kind == COUNT ? E_IO : rc;
    world->troubles++;
    world_trace(world, "%s of %s fails: %s", kind_names[operation->kind], name_of(operation),
                rc_text(operation->rc));
    if (operation->key && !only_reads(operation->kind) && !world->dead)
        oracle_store_failed(world, operation->key, operation->flight);
    if (operation->kind == COMPLETE && !world->dead)
        oracle_not_stored(world, operation->key, operation->completion.answer.status,
                          operation->completion.answer.body);
}

/* ---- commits */

/* Whether this operation fails, and how.  A failed fsync may leave the operation durable, which
 * only the next process will see, and the store takes no further writes. */
static bool meets_fault(struct model_store *store, struct operation *operation)
{
    struct world *world = store->world;
    bool unlucky = !world->calm && dice_chance(&world->dice, world->fault_percent);
    if (only_reads(operation->kind)) {
        if (unlucky)
            fail(store, operation, E_IO);
        return unlucky;
    }
    if (!store->broken && unlucky && dice_chance(&world->dice, 10)) {
        store->broken = true;
        if (dice_chance(&world->dice, 50))
            perform(world, operation);
    }
    if (!store->broken && !unlucky && !world->store_full)
        return false;
    fail(store, operation, store->broken || !world->store_full ? E_IO : E_LIMIT);
    return true;
}

static void commit_one(struct model_store *store)
{
    struct operation *operation = operation_of(list_pop(&store->queued));
    store->queued_count--;
    list_append(&store->performed, &operation->link);
    if (store->world->dead)
        fail(store, operation, E_CLOSED);
    else if (!meets_fault(store, operation))
        perform(store->world, operation);
}

static void find_accepted(struct world *world, struct operation *operation,
                          struct accepted_record *ret)
{
    if (operation->rc != OK)
        return;
    operation->rc =
        model_flight_accepted(world, operation->goes_on ? &operation->flight : NULL, ret);
    if (operation->rc != OK)
        return;
    struct model_key *key = model_key_of(world, &ret->key);
    int64_t left_ms = ret->request.deadline_ms - world_unix_ms(world);
    if (key->deadline_ms < world->now_ms + left_ms)
        key->deadline_ms = world->now_ms + left_ms; /* the wall clock has jumped */
    ret->paid_calls = key->row.paid_calls;
    world->seen.resumed++;
}

static void operation_free(struct operation *operation)
{
    blob_free(operation->told.body);
    blob_free(operation->result_told.answer.body);
    blob_free(operation->completion.answer.body);
    blob_free(operation->release.outcome.body);
    model_publication_free(operation->publication);
    free(operation);
}

static void tell(struct world *world, struct operation *operation)
{
    struct key_record record = {.state = KEY_ABSENT};
    struct accepted_record accepted = {0};
    if (operation->rc == OK)
        record = row_record(&operation->told, operation->now_ms);
    if (operation->kind == ACCEPTED)
        find_accepted(world, operation, &accepted);
    bool engine_ran = world_set_engine(world, true);
    switch (operation->kind) {
    case LOOKUP:
        operation->callback.looked_up(operation->context, operation->rc, &record);
        break;
    case CLAIM:
        operation->callback.claimed(operation->context, operation->rc, operation->result,
                                    &record);
        break;
    case COUNT:
        operation->callback.counted(operation->context, operation->rc, operation->paid_calls);
        break;
    case COMPLETE:
    case RELEASE:
    case PUBLISH:
        operation->callback.done(operation->context, operation->rc);
        break;
    case RESULT:
        operation->callback.result(operation->context, operation->rc, &operation->result_told);
        break;
    case ACCEPTED:
        operation->callback.accepted(operation->context, operation->rc, &accepted);
        break;
    }
    (void)world_set_engine(world, engine_ran);
    operation_free(operation);
}

static void arm(struct model_store *store, struct timer *timer)
{
    struct world *world = store->world;
    if (timer->place)
        return;
    int64_t delay_ms = dice_delay(&world->dice, world->store_delay_ms);
    world_start_timer(world, timer,
                      world->store_exact_ms >= 0 ? world->store_exact_ms : delay_ms);
}

static void on_tell_due(struct timer *timer)
{
    struct model_store *store = CONTAINER_OF(timer, struct model_store, tell);
    tell(store->world, operation_of(list_pop(&store->performed)));
    if (!list_is_empty(&store->performed))
        arm(store, &store->tell);
}

static void on_commit_due(struct timer *timer)
{
    struct model_store *store = CONTAINER_OF(timer, struct model_store, commit);
    unsigned group = 1 + dice_pick(&store->world->dice, store->queued_count);
    while (group-- > 0)
        commit_one(store);
    arm(store, &store->tell);
    if (!list_is_empty(&store->queued))
        arm(store, &store->commit);
}

/* ---- what the engine calls */

/* NULL: out of memory, by chance.  `key` NULL: it is about flights. */
static struct operation *operation_new(struct store *base, enum kind kind,
                                       const struct digest *key, struct flight_id flight,
                                       void *context)
{
    struct model_store *store = store_of(base);
    struct world *world = store->world;
    struct model_key *model_key = key ? model_key_of(world, key) : NULL;
    if (!world->calm && !world->dead && dice_chance(&world->dice, 1)) {
        world_trace(world, "%s of %s: no memory", kind_names[kind],
                    model_key ? model_key->text : "a flight");
        world->troubles++;
        if (model_key && !only_reads(kind))
            oracle_store_failed(world, model_key, flight);
        return NULL;
    }
    bool engine_ran = world_set_engine(world, false);
    struct operation *operation = calloc(1, sizeof *operation);
    CHECK(world, operation);
    *operation = (struct operation){.kind = kind,
                                    .key = model_key,
                                    .flight = flight,
                                    .now_ms = world_unix_ms(world),
                                    .context = context};
    list_init(&operation->link);
    list_append(&store->queued, &operation->link);
    store->queued_count++;
    arm(store, &store->commit);
    (void)world_set_engine(world, engine_ran);
    return operation;
}

static enum rc start_lookup(struct store *store, const struct digest *key, int64_t now_ms,
                            store_lookup_cb *callback, void *context)
{
    struct operation *operation =
        operation_new(store, LOOKUP, key, (struct flight_id){0}, context);
    if (!operation)
        return E_NOMEM;
    operation->now_ms = now_ms;
    operation->callback.looked_up = callback;
    return OK;
}

static struct model_publication *own_publication(struct world *world,
                                                 const struct store_publication *publication)
{
    bool engine_ran = world_set_engine(world, false);
    struct model_publication *owned = model_publication_new(world, publication);
    (void)world_set_engine(world, engine_ran);
    return owned;
}

static enum rc start_claim(struct store *store, const struct store_claim *claim,
                           store_claim_cb *callback, void *context)
{
    struct world *world = store_of(store)->world;
    CHECK(world, !world->draining || claim->paid_calls > 0); /* else something new begins */
    (void)model_key_claimed(world, claim);
    struct operation *operation =
        operation_new(store, CLAIM, &claim->key, claim->flight, context);
    if (!operation)
        return E_NOMEM;
    operation->claim = *claim;
    operation->publication = own_publication(world, &claim->publication);
    operation->now_ms = claim->now_ms;
    operation->callback.claimed = callback;
    return OK;
}

static enum rc start_count(struct store *store, const struct digest *key,
                           struct flight_id flight, unsigned paid_calls_max,
                           store_count_cb *callback, void *context)
{
    struct operation *operation = operation_new(store, COUNT, key, flight, context);
    if (!operation)
        return E_NOMEM;
    operation->paid_calls_max = paid_calls_max;
    operation->callback.counted = callback;
    return OK;
}

/* The row keeps copies; here texts are literals of the engine or in its arena, which lives
 * until the callback. */
static enum rc start_complete(struct store *store, const struct store_completion *completion,
                              store_done_cb *callback, void *context)
{
    struct operation *operation =
        operation_new(store, COMPLETE, &completion->key, completion->flight, context);
    if (!operation) {
        struct world *world = store_of(store)->world;
        oracle_not_stored(world, model_key_of(world, &completion->key),
                          completion->answer.status, completion->answer.body);
        return E_NOMEM;
    }
    operation->completion = *completion;
    operation->completion.answer.body = blob_ref(completion->answer.body);
    operation->now_ms = completion->now_ms;
    operation->callback.done = callback;
    return OK;
}

static enum rc start_release(struct store *store, const struct store_release *release,
                             store_done_cb *callback, void *context)
{
    struct operation *operation =
        operation_new(store, RELEASE, &release->key, release->flight, context);
    if (!operation)
        return E_NOMEM;
    operation->release = *release;
    operation->release.outcome.body = blob_ref(release->outcome.body);
    operation->now_ms = release->now_ms;
    operation->callback.done = callback;
    return OK;
}

static enum rc start_publish(struct store *store, struct flight_id flight,
                             const struct store_publication *publication,
                             store_done_cb *callback, void *context)
{
    struct operation *operation = operation_new(store, PUBLISH, NULL, flight, context);
    if (!operation)
        return E_NOMEM;
    operation->publication = own_publication(store_of(store)->world, publication);
    operation->callback.done = callback;
    return OK;
}

static enum rc start_result(struct store *store, const struct store_result_query *query,
                            store_result_cb *callback, void *context)
{
    struct operation *operation = operation_new(store, RESULT, NULL, query->flight, context);
    if (!operation)
        return E_NOMEM;
    operation->query = *query;
    operation->callback.result = callback;
    return OK;
}

static enum rc start_accepted(struct store *store, const struct flight_id *after,
                              store_accepted_cb *callback, void *context)
{
    struct flight_id flight = after ? *after : (struct flight_id){0};
    struct operation *operation = operation_new(store, ACCEPTED, NULL, flight, context);
    if (!operation)
        return E_NOMEM;
    operation->goes_on = after != NULL;
    operation->callback.accepted = callback;
    return OK;
}

static struct store_stats stats(struct store *store)
{
    return (struct store_stats){.readable = true, .writable = !store_of(store)->broken};
}

static void model_store_free(struct store *store)
{
    free(store_of(store));
}

static const struct store_ops model_store_ops = {
    .lookup = start_lookup,
    .claim = start_claim,
    .count = start_count,
    .complete = start_complete,
    .release = start_release,
    .publish = start_publish,
    .result = start_result,
    .accepted = start_accepted,
    .stats = stats,
    .free = model_store_free,
};

/* ---- open and close */

static void recover(struct model_store *store, struct model_key *key, int64_t now_ms)
{
    oracle_not_in_memory(key);
    enum row_fate fate = row_recover(store->world, key, now_ms);
    store->store.interrupted += fate == ROW_INTERRUPTED;
    store->store.accepted += fate == ROW_ACCEPTED;
    if (fate != ROW_ACCEPTED)
        return;
    oracle_driven_again(store->world, key);
    key->handed_out = true; /* if its client was told is not known any more */
}

struct store *model_store_open(struct world *world)
{
    struct model_store *store = calloc(1, sizeof *store);
    CHECK(world, store);
    store->store.ops = &model_store_ops;
    store->world = world;
    store->commit.run = on_commit_due;
    store->tell.run = on_tell_due;
    list_init(&store->queued);
    list_init(&store->performed);
    int64_t now_ms = world_unix_ms(world);
    for (size_t i = 0; i < MODEL_KEYS; i++)
        recover(store, &world->keys[i], now_ms);
    for (size_t i = 0; i < world->own_key_count; i++)
        recover(store, world->own_keys[i], now_ms);
    return &store->store;
}

void model_store_close(struct world *world)
{
    struct model_store *store = store_of(world->store);
    while (!list_is_empty(&store->queued))
        commit_one(store);
    for (struct list *link; (link = list_pop(&store->performed));)
        tell(world, operation_of(link));
    CHECK(world, list_is_empty(&store->queued));
    timers_stop(&world->surroundings, &store->commit);
    timers_stop(&world->surroundings, &store->tell);
    store_free(world->store);
    world->store = NULL;
}

bool model_store_is_idle(const struct world *world)
{
    struct model_store *store = store_of(world->store);
    return list_is_empty(&store->queued) && list_is_empty(&store->performed);
}

unsigned model_store_queued(const struct world *world)
{
    return store_of(world->store)->queued_count;
}
