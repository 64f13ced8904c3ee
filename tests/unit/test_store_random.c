/* The same operations to the store and to core/key, by dice: every result must agree.  A failing
 * seed is told, and UNSTREAM_SEED=n runs it again; UNSTREAM_ALL=1 runs many more steps. */
#include "store_publications.h"

#include <inttypes.h>

enum { KEYS = 24, STEPS = 4000, STEPS_ALL = 60000, RESTARTS_OF_1000 = 8, REAPS_OF_1000 = 4 };
enum { JUMP_MS = 25 * 3600 * 1000 };

struct model {
    struct world world;
    uint64_t seed, dice, step;
    int64_t now_ms;
    uint32_t flights;
    struct key keys[KEYS];
    uint32_t flight_of[KEYS], stale_flight_of[KEYS]; /* the last claim's, and one before */
    uint32_t answer_of[KEYS];                        /* the flight whose answer is stored */
    bool accepted[KEYS];                             /* its last flight was */
};

/* SplitMix64 (public domain, Vigna): small, and the same everywhere. */
static uint64_t roll(struct model *m, uint64_t sides)
{
    uint64_t z = (m->dice += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % sides;
}

#define AGREE(m, condition)                                                                    \
    do {                                                                                       \
        if (!(condition))                                                                      \
            fail_msg("UNSTREAM_SEED=%" PRIu64 ", step %" PRIu64 ": %s", (m)->seed, (m)->step,  \
                     #condition);                                                              \
    } while (0)

static struct flight_id flight_id(uint32_t number)
{
    struct flight_id flight = {{0}};
    memcpy(flight.bytes, &number, sizeof number);
    return flight;
}

static struct key_event event_of(const struct model *m, enum key_event_kind kind,
                                 uint32_t flight)
{
    return (struct key_event){
        .kind = kind,
        .now_ms = m->now_ms,
        .flight = flight_id(flight),
        .fingerprint = digest_of('p'),
        .paid_calls_max = PAID_CALLS_MAX,
        .expires_ms = m->now_ms + (kind == KEY_FAIL ? ERROR_TTL_MS : TTL_MS),
        .released_ttl_ms = TTL_MS,
    };
}

/* What core/key says, with the invariants looked at on the way. */
static enum key_result expect(struct model *m, int key, const struct key_event *event)
{
    struct key before = m->keys[key];
    enum key_result result = key_apply(&m->keys[key], event);
    enum key_invariant broken = key_check(&before, event, result, &m->keys[key]);
    AGREE(m, broken == KEY_FINE);
    return result;
}

/* What the store knows of a key is what core/key says of it. */
static void compare(struct model *m, int key, const struct reply *found)
{
    const struct key *expected = &m->keys[key];
    const struct key_record *record = &found->record;
    enum key_state state = key_state_at(expected, m->now_ms);
    AGREE(m, found->rc == OK);
    AGREE(m, record->state == state);
    if (state == KEY_ABSENT)
        return;
    AGREE(m, memcmp(&record->fingerprint, &expected->fingerprint, SHA256_BYTES) == 0);
    AGREE(m, memcmp(&record->flight, &expected->flight, FLIGHT_ID_BYTES) == 0);
    AGREE(m, record->paid_calls == expected->paid_calls);
    AGREE(m, record->created_ms == expected->created_ms);
    AGREE(m, record->ended_ms == expected->ended_ms);
    AGREE(m, !record->corrupt);
    if (state != KEY_DONE && state != KEY_FAILED) {
        AGREE(m, !found->body);
        return;
    }
    char body[32];
    (void)snprintf(body, sizeof body, "answer %" PRIu32, m->answer_of[key]);
    AGREE(m, found->body && span_is(blob_span(found->body), body));
    AGREE(m, record->answer.status == (state == KEY_DONE ? 200 : 502));
}

static void look_up(struct model *m, int key)
{
    REPLY found = lookup(&m->world, key, m->now_ms);
    compare(m, key, &found);
}

static void claim_key(struct model *m, int key)
{
    uint32_t flight = ++m->flights;
    struct key_event event = event_of(m, KEY_CLAIM, flight);
    if (roll(m, 5) == 0)
        event.fingerprint = digest_of('q');
    struct store_claim params = claim_of(key, 0, m->now_ms);
    params.fingerprint = event.fingerprint;
    params.flight = event.flight;
    bool accepts = roll(m, 4) == 0;
    struct store_request request = request_of(SPAN("{}"));
    if (accepts)
        params.publication.request = &request;
    enum key_result expected = expect(m, key, &event);
    REPLY claimed = claim_with(&m->world, &params);
    blob_free(request.body);
    AGREE(m, claimed.result == (expected == KEY_APPLIED     ? CLAIM_OK
                                : expected == KEY_EXHAUSTED ? CLAIM_EXHAUSTED
                                                            : CLAIM_EXISTS));
    compare(m, key, &claimed);
    if (expected == KEY_APPLIED) {
        m->stale_flight_of[key] = m->flight_of[key];
        m->flight_of[key] = flight;
        m->accepted[key] = accepts;
    }
}

static enum rc publish(struct model *m, uint32_t flight)
{
    struct store_request request = request_of(SPAN("{}"));
    struct store_publication publication = {.request = &request};
    struct reply reply = {0};
    AGREE(m, store_publish(m->world.store, flight_id(flight), &publication, on_done, &reply) ==
                 OK);
    blob_free(request.body);
    world_wait(&m->world, &reply, 1);
    return reply.rc;
}

/* Accepts the key's last flight if it runs. */
static void accept_key(struct model *m, int key)
{
    bool runs = m->keys[key].state == KEY_RUNNING;
    AGREE(m, publish(m, m->flight_of[key]) == (runs ? OK : E_CONFLICT));
    m->accepted[key] |= runs;
}

/* Mostly the owner's; now and then one that has lost the key. */
static uint32_t some_flight(struct model *m, int key)
{
    return roll(m, 6) == 0 ? m->stale_flight_of[key] : m->flight_of[key];
}

static void count_key(struct model *m, int key)
{
    struct key_event event = event_of(m, KEY_COUNT, some_flight(m, key));
    struct digest digest = digest_of(key);
    enum key_result expected = expect(m, key, &event);
    struct reply counted = {0};
    AGREE(m, store_count(m->world.store, &digest, event.flight, PAID_CALLS_MAX, on_count,
                         &counted) == OK);
    world_wait(&m->world, &counted, 1);
    AGREE(m, counted.rc == (expected == KEY_APPLIED     ? OK
                            : expected == KEY_EXHAUSTED ? E_LIMIT
                                                        : E_CONFLICT));
    if (expected == KEY_APPLIED)
        AGREE(m, counted.paid_calls == m->keys[key].paid_calls);
}

static void complete_key(struct model *m, int key)
{
    uint32_t flight = some_flight(m, key);
    bool failed = roll(m, 3) == 0;
    struct key_event event = event_of(m, failed ? KEY_FAIL : KEY_COMPLETE, flight);
    char body[32];
    (void)snprintf(body, sizeof body, "answer %" PRIu32, flight);
    struct store_completion completion = completion_of(key, 0, span_of(body), m->now_ms);
    completion.flight = event.flight;
    completion.failed = failed;
    completion.answer.status = failed ? 502 : 200;
    completion.expires_ms = event.expires_ms;
    enum key_result expected = expect(m, key, &event);
    AGREE(m,
          complete_with(&m->world, &completion) == (expected == KEY_APPLIED ? OK : E_CONFLICT));
    if (expected == KEY_APPLIED)
        m->answer_of[key] = flight;
}

static void release_key(struct model *m, int key)
{
    struct key_event event = event_of(m, KEY_RELEASE, some_flight(m, key));
    event.give_back = roll(m, 2) == 0;
    struct store_release params = {
        .key = digest_of(key),
        .flight = event.flight,
        .give_back = event.give_back,
        .outcome = {.status = 503},
        .now_ms = m->now_ms,
    };
    enum key_result expected = expect(m, key, &event);
    struct reply released = {0};
    AGREE(m, store_release(m->world.store, &params, on_done, &released) == OK);
    world_wait(&m->world, &released, 1);
    AGREE(m, released.rc == (expected == KEY_APPLIED ? OK : E_CONFLICT));
}

static void apply_to_all(struct model *m, enum key_event_kind kind)
{
    struct key_event event = event_of(m, kind, 0);
    for (int key = 0; key < KEYS; key++) {
        event.accepted = m->accepted[key];
        (void)expect(m, key, &event);
    }
}

static unsigned running_left(const struct model *m)
{
    unsigned running = 0;
    for (int key = 0; key < KEYS; key++)
        running += m->keys[key].state == KEY_RUNNING;
    return running;
}

static void restart(struct model *m)
{
    unsigned running = running_left(m);
    m->world.params.now_ms = m->now_ms;
    world_restart(&m->world);
    apply_to_all(m, KEY_CRASH);
    AGREE(m, m->world.store->accepted == running_left(m));
    AGREE(m, m->world.store->interrupted == running - running_left(m));
}

static int64_t rows_left(const struct model *m)
{
    int64_t rows = 0;
    for (int key = 0; key < KEYS; key++)
        rows += m->keys[key].state != KEY_ABSENT;
    return rows;
}

/* Housekeeping runs only here, so that it has a place among the steps. */
static void reap(struct model *m)
{
    m->world.params.reap_interval_ms = 1;
    restart(m);
    apply_to_all(m, KEY_EXPIRE);
    struct store_release nothing = {.key = digest_of(255), .now_ms = m->now_ms};
    struct reply told = {0}; /* the store learns the time */
    AGREE(m, store_release(m->world.store, &nothing, on_done, &told) == OK);
    world_wait(&m->world, &told, 1);
    await_file(&m->world, "SELECT count(*) FROM keys", rows_left(m));
    m->world.params.reap_interval_ms = INT64_C(3600) * 1000;
    restart(m);
}

static void move_clock(struct model *m)
{
    switch (roll(m, 40)) {
    case 0:
        m->now_ms += JUMP_MS;
        break;
    case 1:
        m->now_ms -= JUMP_MS;
        break;
    case 2:
    case 3:
        m->now_ms += ERROR_TTL_MS;
        break;
    default:
        m->now_ms += (int64_t)roll(m, 1000);
        break;
    }
}

static void take_step(struct model *m)
{
    static void (*const operations[])(struct model *,
                                      int) = {look_up,   claim_key,    claim_key,   claim_key,
                                              count_key, complete_key, release_key, accept_key};
    move_clock(m);
    uint64_t rare = roll(m, 1000);
    if (rare < RESTARTS_OF_1000)
        restart(m);
    else if (rare < RESTARTS_OF_1000 + REAPS_OF_1000)
        reap(m);
    int key = (int)roll(m, KEYS);
    operations[roll(m, COUNT_OF(operations))](m, key);
    look_up(m, (int)roll(m, KEYS));
}

static uint64_t number_from(const char *variable, uint64_t otherwise)
{
    uint64_t number = otherwise;
    const char *text = getenv(variable);
    return text && span_to_u64(span_of(text), &number) ? number : otherwise;
}

TEST(store_random, the_store_does_what_the_state_machine_of_a_key_says)
{
    uint64_t steps = number_from("UNSTREAM_ALL", 0) ? STEPS_ALL : STEPS;
    struct model m = {.now_ms = INT64_C(1000) * TTL_MS};
    m.seed = m.dice = number_from("UNSTREAM_SEED", 20251);
    world_make(&m.world);
    m.world.params.now_ms = m.now_ms;
    m.world.params.reap_interval_ms = INT64_C(3600) * 1000;
    assert_int_equal(world_open(&m.world), OK);
    for (m.step = 0; m.step < steps; m.step++)
        take_step(&m);
    restart(&m);
    for (int key = 0; key < KEYS; key++)
        look_up(&m, key);
    assert_int_equal(ask_file(&m.world, "SELECT integrity_check = 'ok' "
                                        "FROM pragma_integrity_check"),
                     1);
    world_end(&m.world);
}
