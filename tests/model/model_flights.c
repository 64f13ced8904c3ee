/* The rows of flights in the store: what result URLs find, and the accepted requests, which
 * survive a crash.  As in model_store.c, the rules are those of io/store.h, written down once
 * more. */
#include "model.h"

#include "io/store_headers.h"

#include <stdlib.h>
#include <string.h>

enum { PUBLICATION_BYTES_MAX = 1 << 20, TOKENS_MAX = 16, SLACK_MS = 180000 };

struct model_flight {
    struct model_flight *next;
    struct flight_record record; /* with a reference to its body */
    struct digest fingerprint;
    struct arena texts; /* behind the record's spans */
    int64_t forget_ms;  /* 0: running */
    struct digest tokens[TOKENS_MAX];
    size_t token_count;
    struct model_publication *accepted; /* NULL: nothing was, or it ended */
    bool was_accepted;
};

/* ---- publications */

static void own(struct world *world, struct arena *arena, struct span *text)
{
    if (!text->p)
        return;
    *text = arena_copy(arena, *text);
    CHECK(world, text->p);
}

struct model_publication *model_publication_new(struct world *world,
                                                const struct store_publication *from)
{
    struct model_publication *made = calloc(1, sizeof *made);
    CHECK(world, made);
    arena_init(&made->texts, PUBLICATION_BYTES_MAX);
    made->has_token = from->token != NULL;
    if (from->token)
        made->token = *from->token;
    made->has_request = from->request != NULL;
    if (!from->request)
        return made;
    struct store_request *request = &made->request;
    *request = *from->request;
    request->body = blob_ref(request->body);
    own(world, &made->texts, &request->query);
    own(world, &made->texts, &request->client);
    struct span headers = store_headers_write(&request->headers, &made->texts);
    CHECK(world, headers.p);
    enum rc rc = store_headers_read(headers, &made->texts, &request->headers);
    CHECK(world, rc == OK);
    return made;
}

void model_publication_free(struct model_publication *publication)
{
    if (!publication)
        return;
    blob_free(publication->request.body);
    arena_done(&publication->texts);
    free(publication);
}

/* ---- rows */

static struct model_flight *find(const struct world *world, struct flight_id flight)
{
    struct model_flight *row = world->flights;
    while (row && memcmp(&row->record.flight, &flight, sizeof flight) != 0)
        row = row->next;
    return row;
}

static bool runs(const struct model_flight *row)
{
    return row && row->record.state == FLIGHT_ROW_RUNNING;
}

static bool has_token(const struct model_flight *row, const struct digest *token)
{
    for (size_t i = 0; i < row->token_count; i++) {
        if (digest_eq(&row->tokens[i], token))
            return true;
    }
    return false;
}

static struct model_flight *owner_of(struct world *world, const struct digest *token)
{
    struct model_flight *row = world->flights;
    while (row && !has_token(row, token))
        row = row->next;
    return row;
}

void model_flight_start(struct world *world, const struct store_claim *claim,
                        struct model_publication **publication)
{
    struct model_flight *row = calloc(1, sizeof *row);
    CHECK(world, row && !find(world, claim->flight));
    arena_init(&row->texts, PUBLICATION_BYTES_MAX);
    row->record = (struct flight_record){.state = FLIGHT_ROW_RUNNING,
                                         .flight = claim->flight,
                                         .key = claim->key,
                                         .scope = claim->scope,
                                         .route = claim->route,
                                         .started_ms = claim->now_ms};
    row->fingerprint = claim->fingerprint;
    own(world, &row->texts, &row->record.route);
    row->next = world->flights;
    world->flights = row;
    enum rc rc = model_flight_publish(world, claim->flight, publication);
    CHECK(world, rc == OK);
}

enum rc model_flight_publish(struct world *world, struct flight_id flight,
                             struct model_publication **publication)
{
    struct model_flight *row = find(world, flight);
    const struct model_publication *new = *publication;
    if (!runs(row))
        return E_CONFLICT;
    if (new->has_token && !has_token(row, &new->token)) {
        CHECK(world, !owner_of(world, &new->token) && row->token_count < TOKENS_MAX);
        row->tokens[row->token_count++] = new->token;
    }
    if (new->has_request && !row->accepted)
        row->accepted = take(*publication);
    row->was_accepted |= row->accepted != NULL;
    return OK;
}

/* Of what was told with its token; NULL: it was not. */
static const struct known *known_of(const struct world *world, struct flight_id flight)
{
    char text[FLIGHT_ID_TEXT_BYTES];
    flight_id_text(flight, text);
    for (size_t i = 0; i < world->known_count; i++)
        if (world->known[i].token[0] && strcmp(world->known[i].flight, text) == 0)
            return &world->known[i];
    return NULL;
}

/* An answer whose URL was told is kept for as long as the URL lasts, from its end on, which may
 * have been before the store took it. */
static void check_kept(struct world *world, const struct model_flight *row, int64_t forget_ms)
{
    const struct config_idempotency *times = &world->config->idempotency;
    const struct life *life = &model_key_of(world, &row->record.key)->life;
    int64_t ended_ms = life->unstored ? life->unstored_until_ms - times->ttl_ms : world->now_ms;
    int64_t ago_ms = world->now_ms - ended_ms;
    CHECK(world, world->jumps > 0 || forget_ms >= world_unix_ms(world) - ago_ms - SLACK_MS +
                                                      times->result_url_ttl_ms);
}

void model_flight_end(struct world *world, struct flight_id flight, enum flight_row state,
                      const struct answer *answer, int64_t now_ms, int64_t forget_ms)
{
    struct model_flight *row = find(world, flight);
    CHECK(world, runs(row));
    /* What was accepted, and told so, does not end because a process does. */
    const struct known *known = known_of(world, flight);
    bool is_lost = span_is(answer->error_code, "draining") ||
                   (span_is(answer->error_code, "interrupted") && world->troubles == 0 &&
                    !world->was_starved);
    CHECK(world, !known || !known->accepted || !is_lost);
    /* Errors of ours may be at rest whatever was asked. */
    CHECK(world, answer->body || !answer->error_code.p || world->starved ||
                     span_is(answer->error_code, "interrupted"));
    if (state == FLIGHT_ROW_DONE && known)
        check_kept(world, row, forget_ms);
    model_publication_free(take(row->accepted));
    row->record.state = state;
    row->record.ended_ms = now_ms;
    row->record.answer = *answer;
    row->record.answer.body = blob_ref(answer->body);
    own(world, &row->texts, &row->record.answer.content_type);
    own(world, &row->texts, &row->record.answer.request_id);
    own(world, &row->texts, &row->record.answer.error_code);
    row->forget_ms = forget_ms;
}

bool model_flight_survives(struct world *world, struct flight_id flight)
{
    const struct model_flight *row = find(world, flight);
    return runs(row) && row->accepted;
}

void model_flight_get(struct world *world, const struct store_result_query *query,
                      struct flight_record *ret)
{
    const struct model_flight *row =
        query->by_token ? owner_of(world, &query->token) : find(world, query->flight);
    bool is_there = row && (runs(row) || row->forget_ms > query->now_ms);
    *ret = is_there ? row->record : (struct flight_record){.state = FLIGHT_ROW_ABSENT};
}

enum rc model_flight_accepted(struct world *world, const struct flight_id *after,
                              struct accepted_record *ret)
{
    const struct model_flight *next = NULL;
    for (const struct model_flight *row = world->flights; row; row = row->next) {
        const struct flight_id *id = &row->record.flight;
        bool is_behind = !after || memcmp(id, after, sizeof *id) > 0;
        if (row->accepted && is_behind &&
            (!next || memcmp(id, &next->record.flight, sizeof *id) < 0))
            next = row;
    }
    if (!next)
        return E_NOT_FOUND;
    *ret = (struct accepted_record){.flight = next->record.flight,
                                    .key = next->record.key,
                                    .scope = next->record.scope,
                                    .fingerprint = next->fingerprint,
                                    .route = next->record.route,
                                    .started_ms = next->record.started_ms,
                                    .request = next->accepted->request};
    return OK;
}

/* ---- for the oracle */

static const struct model_flight *find_text(const struct world *world, const char *flight_text)
{
    struct flight_id flight = {0};
    bool is_id = span_hex_to_bytes(span_of(flight_text), flight.bytes, sizeof flight.bytes);
    return is_id ? find(world, flight) : NULL;
}

bool model_flight_was_accepted(const struct world *world, const char *flight_text)
{
    const struct model_flight *row = find_text(world, flight_text);
    return row && row->was_accepted;
}

const struct flight_record *model_flight_row(const struct world *world, const char *flight_text,
                                             int64_t *ret_forget_ms)
{
    const struct model_flight *row = find_text(world, flight_text);
    if (row)
        *ret_forget_ms = row->forget_ms;
    return row ? &row->record : NULL;
}

bool model_flight_opens(struct world *world, const char *flight_text, const char *token)
{
    struct result_token text = {.text = ""};
    struct digest digest;
    char owner_text[FLIGHT_ID_TEXT_BYTES];
    memcpy(text.text, token, sizeof text.text);
    enum rc rc = result_token_digest(&text, &digest);
    CHECK(world, rc == OK);
    const struct model_flight *row = owner_of(world, &digest);
    if (row)
        flight_id_text(row->record.flight, owner_text);
    return row && strcmp(owner_text, flight_text) == 0;
}

unsigned model_flights_running(const struct world *world)
{
    unsigned count = 0;
    for (const struct model_flight *row = world->flights; row; row = row->next)
        count += runs(row);
    return count;
}

unsigned model_flights_accepted(const struct world *world)
{
    unsigned count = 0;
    for (const struct model_flight *row = world->flights; row; row = row->next)
        count += row->accepted != NULL;
    return count;
}

bool model_flights_session(struct world *world, unsigned scope)
{
    struct digest digest = model_scope(world, scope);
    for (const struct model_flight *row = world->flights; row; row = row->next)
        if (runs(row) && digest_eq(&row->record.scope, &digest) &&
            model_key_of(world, &row->record.key)->is_sessions)
            return true;
    return false;
}

void model_flights_forget(struct world *world)
{
    while (world->flights) {
        struct model_flight *row = world->flights;
        world->flights = row->next;
        blob_free(row->record.answer.body);
        model_publication_free(row->accepted);
        arena_done(&row->texts);
        free(row);
    }
}
