/* The rows of keys in the store, which survive a crash, and what each operation does to them.
 * The rules are written down here once more, on purpose: they are what io/store.h promises, not
 * what SQL does. */
#include "model.h"

#include <stdio.h>
#include <string.h>

static void copy_text(char text[MODEL_TEXT_BYTES], struct span from)
{
    (void)snprintf(text, MODEL_TEXT_BYTES, "%.*s", SPAN_ARG(from));
}

static struct span text_span(const char *text)
{
    return text[0] ? span_of(text) : SPAN_ABSENT;
}

struct key_record row_record(const struct row *row, int64_t unix_ms)
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

enum claim_result row_claim(struct world *world, struct model_key *key,
                            const struct store_claim *claim,
                            struct model_publication **publication)
{
    struct row *row = &key->row;
    enum key_state state = row_state(row, claim->now_ms);
    unsigned calls = claim->paid_calls > 0 ? claim->paid_calls : 1;
    bool fresh = state == KEY_ABSENT;
    bool same = digest_eq(&row->fingerprint, &claim->fingerprint);
    bool free = state == KEY_RELEASED && same;
    if (free && row->paid_calls + calls > claim->paid_calls_max)
        return CLAIM_EXHAUSTED;
    if (!fresh && !free)
        return CLAIM_EXISTS;
    blob_free(row->body);
    *row = (struct row){.exists = true,
                        .state = KEY_RUNNING,
                        .fingerprint = claim->fingerprint,
                        .flight = claim->flight,
                        .paid_calls = fresh ? calls : row->paid_calls + calls,
                        .created_ms = fresh ? claim->now_ms : row->created_ms};
    key->changes++;
    if (key->is_own)
        oracle_registered(world, key, claim->paid_calls > 0);
    else
        oracle_claimed(world, key, fresh);
    model_flight_start(world, claim, publication);
    return CLAIM_OK;
}

enum rc row_count(struct model_key *key, struct flight_id flight, unsigned paid_calls_max,
                  unsigned *ret)
{
    struct row *row = &key->row;
    if (!owns(row, flight))
        return E_CONFLICT;
    if (row->paid_calls >= paid_calls_max)
        return E_LIMIT;
    *ret = ++row->paid_calls;
    return OK;
}

static int64_t later(int64_t a_ms, int64_t b_ms)
{
    return a_ms > b_ms ? a_ms : b_ms;
}

/* RELEASED, and FAILED after its time, remember what was paid as long as an answer is kept. */
enum rc row_complete(struct world *world, struct model_key *key,
                     const struct store_completion *completion)
{
    struct row *row = &key->row;
    int64_t now_ms = completion->now_ms;
    if (!owns(row, completion->flight))
        return E_CONFLICT;
    row->state = completion->failed ? KEY_FAILED : KEY_DONE;
    row->ended_ms = now_ms;
    row->answer_until_ms = row->forget_ms = completion->expires_ms;
    if (completion->failed)
        row->forget_ms = later(row->forget_ms, now_ms + world->config->idempotency.ttl_ms);
    keep_answer(row, &completion->answer);
    key->changes++;
    model_flight_end(
        world, row->flight, completion->failed ? FLIGHT_ROW_FAILED : FLIGHT_ROW_DONE,
        &completion->answer, now_ms, later(row->forget_ms, completion->keep_until_ms));
    key->life.unstored_until_ms = 0; /* memory may forget it now */
    return OK;
}

enum rc row_release(struct world *world, struct model_key *key,
                    const struct store_release *release)
{
    struct row *row = &key->row;
    if (!owns(row, release->flight))
        return E_CONFLICT;
    row->state = KEY_RELEASED;
    row->ended_ms = release->now_ms;
    row->forget_ms = release->now_ms + world->config->idempotency.ttl_ms;
    row->paid_calls -= release->give_back && row->paid_calls > 0;
    keep_answer(row, &release->outcome);
    key->changes++;
    model_flight_end(world, row->flight, FLIGHT_ROW_RELEASED, &release->outcome,
                     release->now_ms, later(row->forget_ms, release->keep_until_ms));
    return OK;
}

enum row_fate row_recover(struct world *world, struct model_key *key, int64_t now_ms)
{
    static const struct answer interrupted = {.status = 503, .error_code = SPAN("interrupted")};
    struct row *row = &key->row;
    if (!row->exists || row->state != KEY_RUNNING)
        return ROW_UNTOUCHED;
    key->life.excuses++;
    if (model_flight_survives(world, row->flight))
        return ROW_ACCEPTED;
    row->state = KEY_RELEASED;
    row->ended_ms = now_ms;
    row->forget_ms = now_ms + world->config->idempotency.ttl_ms;
    key->changes++;
    model_flight_end(world, row->flight, FLIGHT_ROW_INTERRUPTED, &interrupted, now_ms,
                     row->forget_ms);
    return ROW_INTERRUPTED;
}
