/* The store, as the engine sees it: rows that survive a crash, operations that are queued,
 * committed in groups and told later, and that may fail.  The rules of rows are written down
 * here once more, on purpose: they are what io/store.h promises, not what SQL does. */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { LOOKUP, CLAIM, COUNT, COMPLETE, RELEASE };

static const char *const kind_names[] = {"look-up", "claim", "count", "completion", "release"};

struct operation {
    struct list link;
    enum kind kind;
    struct model_key *key;
    struct store_claim claim;
    struct flight_id flight;
    unsigned paid_calls_max;
    int64_t now_ms;
    struct store_completion completion; /* texts and body are copies of our own */
    bool give_back;
    struct row told; /* the record of a look-up or claim, as it was then */
    enum rc rc;
    enum claim_result result;
    unsigned paid_calls;
    void *context;
    union {
        store_lookup_cb *looked_up;
        store_claim_cb *claimed;
        store_count_cb *counted;
        store_done_cb *done;
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

/* ---- rows */

static void copy_text(char text[MODEL_TEXT_BYTES], struct span from)
{
    (void)snprintf(text, MODEL_TEXT_BYTES, "%.*s", SPAN_ARG(from));
}

static struct span text_span(const char *text)
{
    return text[0] ? span_of(text) : SPAN_ABSENT;
}

static struct key_record record_of(const struct row *row, int64_t unix_ms)
{
    struct key_record record = {.state = row_state(row, unix_ms)};
    if (record.state == KEY_ABSENT)
        return record;
    bool answered = record.state == KEY_DONE || record.state == KEY_FAILED;
    record.fingerprint = row->fingerprint;
    record.flight = row->flight;
    record.paid_calls = row->paid_calls;
    record.created_ms = row->created_ms;
    record.ended_ms = row->ended_ms;
    record.answer = (struct answer){.status = row->status,
                                    .body = answered ? row->body : NULL,
                                    .content_type = text_span(row->content_type),
                                    .request_id = text_span(row->request_id),
                                    .error_code = text_span(row->error_code)};
    return record;
}

static void keep_answer(struct row *row, const struct answer *answer)
{
    blob_free(row->body);
    row->status = answer->status;
    row->body = blob_ref(answer->body);
    copy_text(row->content_type, answer->content_type);
    copy_text(row->request_id, answer->request_id);
    copy_text(row->error_code, answer->error_code);
}

static bool owns(const struct row *row, struct flight_id flight)
{
    return row->exists && row->state == KEY_RUNNING &&
           memcmp(&row->flight, &flight, sizeof flight) == 0;
}

/* ---- operations with their effect */

static void tell_row(struct operation *operation)
{
    operation->told = operation->key->row;
    operation->told.body = blob_ref(operation->key->row.body);
}

static void claim(struct world *world, struct operation *operation)
{
    struct row *row = &operation->key->row;
    const struct store_claim *claim = &operation->claim;
    enum key_state state = row_state(row, claim->now_ms);
    bool same = digest_eq(&row->fingerprint, &claim->fingerprint);
    bool free = state == KEY_RELEASED && same && row->paid_calls < claim->paid_calls_max;
    operation->result = state == KEY_RELEASED && same ? CLAIM_EXHAUSTED : CLAIM_EXISTS;
    if (state == KEY_ABSENT || free) {
        bool fresh = state == KEY_ABSENT;
        operation->result = CLAIM_OK;
        blob_free(row->body);
        *row = (struct row){.exists = true,
                            .state = KEY_RUNNING,
                            .fingerprint = claim->fingerprint,
                            .flight = claim->flight,
                            .paid_calls = fresh ? 1 : row->paid_calls + 1,
                            .created_ms = fresh ? claim->now_ms : row->created_ms};
        operation->key->changes++;
        oracle_claimed(world, operation->key, fresh);
    }
    tell_row(operation);
}

static void count(struct operation *operation)
{
    struct row *row = &operation->key->row;
    if (!owns(row, operation->flight))
        operation->rc = E_CONFLICT;
    else if (row->paid_calls >= operation->paid_calls_max)
        operation->rc = E_LIMIT;
    else
        operation->paid_calls = ++row->paid_calls;
}

/* RELEASED, and FAILED after its time, remember what was paid as long as an answer is kept. */
static void complete(struct world *world, struct operation *operation)
{
    struct row *row = &operation->key->row;
    const struct store_completion *completion = &operation->completion;
    int64_t ttl_ms = world->config->idempotency.ttl_ms;
    if (!owns(row, operation->flight)) {
        operation->rc = E_CONFLICT;
        return;
    }
    row->state = completion->failed ? KEY_FAILED : KEY_DONE;
    row->ended_ms = operation->now_ms;
    row->answer_until_ms = row->forget_ms = completion->expires_ms;
    if (completion->failed && row->forget_ms < operation->now_ms + ttl_ms)
        row->forget_ms = operation->now_ms + ttl_ms;
    keep_answer(row, &completion->answer);
    operation->key->life.unstored_until_ms = 0; /* memory may forget it now */
    operation->key->changes++;
}

static void release(struct world *world, struct operation *operation)
{
    struct row *row = &operation->key->row;
    if (!owns(row, operation->flight)) {
        operation->rc = E_CONFLICT;
        return;
    }
    row->state = KEY_RELEASED;
    row->ended_ms = operation->now_ms;
    row->forget_ms = operation->now_ms + world->config->idempotency.ttl_ms;
    row->paid_calls -= operation->give_back && row->paid_calls > 0;
    keep_answer(row, &operation->completion.answer);
    operation->key->changes++;
}

static void perform(struct world *world, struct operation *operation)
{
    switch (operation->kind) {
    case LOOKUP:
        tell_row(operation);
        break;
    case CLAIM:
        claim(world, operation);
        break;
    case COUNT:
        count(operation);
        break;
    case COMPLETE:
        complete(world, operation);
        break;
    case RELEASE:
        release(world, operation);
        break;
    }
    CHECK(world, operation->rc != E_CONFLICT); /* I6: only owners try */
    world_trace(world, "%s of %s: %s, %s, %u paid", kind_names[operation->kind],
                operation->key->text, rc_text(operation->rc),
                key_state_name(row_state(&operation->key->row, operation->now_ms)),
                operation->key->row.paid_calls);
}

static void fail(struct model_store *store, struct operation *operation, enum rc rc)
{
    struct world *world = store->world;
    operation->rc = rc == E_LIMIT && operation->kind == COUNT ? E_IO : rc;
    world_trace(world, "%s of %s fails: %s", kind_names[operation->kind], operation->key->text,
                rc_text(operation->rc));
    if (operation->kind != LOOKUP && !world->dead)
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
    if (operation->kind == LOOKUP) {
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

static void tell(struct world *world, struct operation *operation)
{
    struct key_record record = {.state = KEY_ABSENT};
    if (operation->rc == OK)
        record = record_of(&operation->told, operation->now_ms);
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
        operation->callback.done(operation->context, operation->rc);
        break;
    }
    (void)world_set_engine(world, engine_ran);
    blob_free(operation->told.body);
    blob_free(operation->completion.answer.body);
    free(operation);
}

static void arm(struct model_store *store, struct timer *timer)
{
    if (!timer->place)
        world_start_timer(store->world, timer,
                          dice_delay(&store->world->dice, store->world->store_delay_ms));
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

static struct model_key *find_key(struct world *world, const struct digest *digest)
{
    size_t i = 0;
    while (i < MODEL_KEYS && !digest_eq(&world->keys[i].digest, digest))
        i++;
    CHECK(world, i < MODEL_KEYS);
    return &world->keys[i];
}

/* NULL: out of memory, by chance. */
static struct operation *operation_new(struct store *base, enum kind kind,
                                       const struct digest *key, struct flight_id flight,
                                       void *context)
{
    struct model_store *store = store_of(base);
    struct world *world = store->world;
    struct model_key *model_key = find_key(world, key);
    if (!world->calm && !world->dead && dice_chance(&world->dice, 1)) {
        world_trace(world, "%s of %s: no memory", kind_names[kind], model_key->text);
        if (kind != LOOKUP)
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

static enum rc start_claim(struct store *store, const struct store_claim *claim,
                           store_claim_cb *callback, void *context)
{
    struct world *world = store_of(store)->world;
    CHECK(world, !world->draining);
    struct operation *operation =
        operation_new(store, CLAIM, &claim->key, claim->flight, context);
    if (!operation)
        return E_NOMEM;
    operation->claim = *claim;
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
        oracle_not_stored(world, find_key(world, &completion->key), completion->answer.status,
                          completion->answer.body);
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
    operation->completion.answer = release->outcome;
    operation->completion.answer.body = blob_ref(release->outcome.body);
    operation->give_back = release->give_back;
    operation->now_ms = release->now_ms;
    operation->callback.done = callback;
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
    .stats = stats,
    .free = model_store_free,
};

/* ---- open and close */

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
    for (size_t i = 0; i < MODEL_KEYS; i++) { /* whatever runs died with the last process */
        struct row *row = &world->keys[i].row;
        oracle_not_in_memory(&world->keys[i]);
        if (!row->exists || row->state != KEY_RUNNING)
            continue;
        row->state = KEY_RELEASED;
        row->ended_ms = now_ms;
        row->forget_ms = now_ms + world->config->idempotency.ttl_ms;
        world->keys[i].life.excuses++;
        world->keys[i].changes++;
        store->store.interrupted++;
    }
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
