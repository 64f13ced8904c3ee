/* Random schedules against the real engine: whatever happens in whatever order, the promises of
 * idempotency hold.  UNSTREAM_SEED=n runs one schedule; UNSTREAM_SCHEDULES=n so
 * many, from UNSTREAM_FIRST on. */
#include "test.h"
#include "model_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum {
    FIXED_SCHEDULES = 2500,
    MANY_SCHEDULES = 40000, /* UNSTREAM_ALL */
    STEPS_MAX = 120,
    HOUR_MS = 3600 * 1000,
    SETTLE_MS = 8 * HOUR_MS, /* longer than any deadline, ceiling or pause */
};

/* ---- steps */

static void post(struct world *world)
{
    bool keyless = dice_chance(&world->dice, 25);
    bool popular = dice_chance(&world->dice, 50);
    int key = keyless ? MODEL_KEYLESS : popular ? 0 : (int)dice_pick(&world->dice, MODEL_KEYS);
    unsigned variant = dice_chance(&world->dice, 93) ? 0 : 1;
    model_post(world, key, variant);
}

/* Somebody asks for a result that it, or somebody else, was told of. */
static void look(struct world *world)
{
    struct dice *dice = &world->dice;
    if (world->known_count == 0)
        return;
    unsigned recent = world->known_count < 8 ? (unsigned)world->known_count : 8;
    unsigned age =
        dice_pick(dice, dice_chance(dice, 80) ? recent : (unsigned)world->known_count);
    const struct known *known = &world->known[world->known_count - 1 - age];
    bool by_token = known->token[0] && dice_chance(dice, 60);
    unsigned shows = dice_pick(dice, 8);
    model_ask(world, &(struct model_question){
                         .target = known,
                         .method = MODEL_GET,
                         .shows = shows > 1 ? SHOWS_OWN
                                  : shows   ? SHOWS_OTHER
                                            : SHOWS_NONE,
                         .by_token = by_token,
                         .hop = dice_chance(dice, 30) ? 1 + dice_pick(dice, 8) : 0,
                         .wait_s = dice_chance(dice, 40) ? (int)dice_pick(dice, 60) : -1});
}

static void cancel(struct world *world)
{
    struct dice *dice = &world->dice;
    if (world->known_count == 0)
        return;
    unsigned recent = world->known_count < 3 ? (unsigned)world->known_count : 3;
    const struct known *known = &world->known[world->known_count - 1 - dice_pick(dice, recent)];
    bool own = dice_chance(dice, 85);
    model_ask(world,
              &(struct model_question){.target = known,
                                       .method = MODEL_DELETE,
                                       .shows = own                     ? SHOWS_OWN
                                                : dice_chance(dice, 50) ? SHOWS_OTHER
                                                                        : SHOWS_NONE,
                                       .by_token = known->token[0] && dice_chance(dice, 10),
                                       .wait_s = -1});
}

static void leave(struct world *world)
{
    if (world->open_requests == 0)
        return;
    struct http_request *request =
        model_request(world, dice_pick(&world->dice, world->open_requests));
    model_leave(world, request, dice_chance(&world->dice, 50));
}

static void pass(struct world *world)
{
    static const int64_t at_most_ms[] = {1, 10, 100, 1000, 1000, 10000, 10000, 60000, 600000};
    unsigned i = dice_pick(&world->dice, COUNT_OF(at_most_ms));
    world_pass(world, dice_pick(&world->dice, (unsigned)at_most_ms[i] + 1));
}

static void change_wall_clock(struct world *world)
{
    int64_t hours = dice_chance(&world->dice, 50) ? 25 : 1;
    int64_t jump_ms = dice_chance(&world->dice, 50) ? hours * HOUR_MS : -hours * HOUR_MS;
    world_trace(world, "the wall clock jumps by %lld h", (long long)(jump_ms / HOUR_MS));
    world->wall_offset_ms += jump_ms;
    world->jumps++;
    for (size_t i = 0; i < MODEL_KEYS; i++)
        world->keys[i].changes++; /* it may have ended, or be back */
}

static void change_disk(struct world *world)
{
    world->store_full = !world->store_full;
    world_trace(world, "the disk is %s", world->store_full ? "full" : "usable");
}

static void change_provider(struct world *world)
{
    world->provider_trouble = dice_pick(&world->dice, 101);
    world_trace(world, "%u %% of calls go wrong", world->provider_trouble);
}

static void drain(struct world *world)
{
    if (world->draining)
        world_restart(world);
    else
        world_drain(world);
}

static const struct {
    unsigned weight;
    void (*run)(struct world *world);
} steps[] = {
    {40, post},       {10, leave},          {36, pass}, {2, change_wall_clock},
    {2, change_disk}, {2, change_provider}, {3, drain}, {3, world_crash},
    {14, look},       {3, cancel},
};

static void step(struct world *world)
{
    unsigned sum = 0;
    for (size_t i = 0; i < COUNT_OF(steps); i++)
        sum += steps[i].weight;
    unsigned at = dice_pick(&world->dice, sum);
    size_t i = 0;
    while (at >= steps[i].weight)
        at -= steps[i++].weight;
    steps[i].run(world);
    oracle_check(world);
}

/* ---- the end of every schedule */

/* The trouble is over: everybody gets an answer, and nothing is left over. */
static void settle(struct world *world)
{
    world->calm = true;
    world->store_full = false;
    world->store_delay_ms = 10;
    world_trace(world, "calm");
    world_pass(world, SETTLE_MS);
    CHECK(world, world->open_requests == 0);
    CHECK(world, engine_is_idle(world->engine));
    CHECK(world, model_upstream_calls(world) == 0 && model_store_is_idle(world));
}

static void ask(struct world *world, int key, unsigned variant)
{
    model_post(world, key, variant);
    settle(world);
}

/* Nothing that ended takes the place of what is new. */
static void check_there_is_room(struct world *world)
{
    ask(world, MODEL_KEYLESS, 0);
    CHECK(world, world->last_status == 200);
}

/* I8: no key is held by a flight that ended, whatever became of its last commit. */
static void check_no_key_is_stuck(struct world *world)
{
    bool writable = store_stats(world->store).writable;
    for (int key = 0; key < MODEL_KEYS; key++) {
        const struct row *row = &world->keys[key].row;
        world->seen.stuck += row->exists && row->state == KEY_RUNNING;
        for (unsigned variant = 0; variant < MODEL_VARIANTS; variant++) {
            ask(world, key, variant);
            CHECK(world, world->last_status != 409);
            CHECK(world, world->last_status != 503 || !writable);
        }
        CHECK(world, !row->exists || row->state != KEY_RUNNING || !writable);
    }
}

/* Whatever was accepted ended, and nothing is kept of it. */
static void check_nothing_runs(struct world *world)
{
    CHECK(world, model_flights_running(world) == 0);
    CHECK(world, model_flights_accepted(world) == 0);
}

static void run_schedule(uint64_t seed, struct world *ret_sum)
{
    struct world world;
    world_begin(&world, seed);
    for (unsigned left = 1 + dice_pick(&world.dice, STEPS_MAX); left > 0; left--)
        step(&world);
    if (world.draining)
        world_restart(&world);
    settle(&world);
    check_there_is_room(&world);
    check_no_key_is_stuck(&world);
    world_restart(&world);
    check_no_key_is_stuck(&world);
    check_nothing_runs(&world);
#define X(name, least) ret_sum->seen.name += world.seen.name;
    SEEN_TABLE(X)
#undef X
    if (getenv("UNSTREAM_TRACE"))
        world_print_trace();
    world_end(&world);
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    uint64_t number;
    return span_to_u64(span_of(text), &number) ? number : otherwise;
}

/* Schedules of the seeds from `first` on; a model that meets nothing would prove nothing. */
static void run_schedules(uint64_t first, uint64_t count)
{
    struct world sum = {0};
    for (uint64_t i = 0; i < count; i++)
        run_schedule(first + i, &sum);
    print_message("seeds %llu+%llu:", (unsigned long long)first, (unsigned long long)count);
#define X(name, least) print_message(" %llu " #name, (unsigned long long)sum.seen.name);
    SEEN_TABLE(X)
#undef X
    print_message("\n");
#define X(name, least) assert_true(count < 1000 || sum.seen.name >= count / 100 * (least));
    SEEN_TABLE(X)
#undef X
}

TEST(model, the_promises_hold_for_any_schedule)
{
    if (getenv("UNSTREAM_SEED"))
        run_schedules(from_environment("UNSTREAM_SEED", 0), 1);
    else
        run_schedules(from_environment("UNSTREAM_FIRST", 1),
                      from_environment("UNSTREAM_SCHEDULES", FIXED_SCHEDULES));
}

/* Only where there is time to look at what they find: elsewhere a change is judged by schedules
 * that are the same each time. */
TEST(model, the_promises_hold_for_schedules_never_seen_before)
{
    uint64_t seed;
    if (getenv("UNSTREAM_SEED") || !getenv("UNSTREAM_ALL"))
        skip();
    assert_int_equal(getrandom(&seed, sizeof seed, 0), sizeof seed);
    run_schedules(seed >> 16, MANY_SCHEDULES);
}
