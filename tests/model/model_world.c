/* A world: its clocks and dice, its process, and how time passes. */
#include "model_world.h"

#include "core/scope.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    TRACE_BYTES_MAX = 8 << 20,
    CONFIG_BYTES_MAX = 4096,
    RECOVERY_STEP_MS = 10,
    EVENTS_AT_ONCE_MAX = 100000, /* more without time passing is an endless loop */
};

static const int64_t wall_start_ms = INT64_C(1760000000000);

/* ---- dice: SplitMix64 (Steele, Lea, Flood 2014) */

uint64_t dice_next(struct dice *dice)
{
    uint64_t z = (dice->state += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

unsigned dice_pick(struct dice *dice, unsigned n)
{
    return (unsigned)(dice_next(dice) % n);
}

bool dice_chance(struct dice *dice, unsigned percent)
{
    return dice_pick(dice, 100) < percent;
}

int64_t dice_delay(struct dice *dice, int64_t max_ms)
{
    unsigned kind = dice_pick(dice, 10);
    if (kind < 3)
        return 0;
    if (kind < 7)
        return dice_pick(dice, 10);
    if (kind < 9)
        return dice_pick(dice, (unsigned)max_ms / 16 + 1);
    return dice_pick(dice, (unsigned)max_ms + 1);
}

/* ---- what happened, for whoever has to understand a failure */

static struct world *failing_world;

void world_trace(struct world *world, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    buf_printf(&world->trace, "%9lld  ", (long long)world->now_ms);
    buf_vprintf(&world->trace, format, arguments);
    buf_add_byte(&world->trace, '\n');
    va_end(arguments);
}

void world_print_trace(void)
{
    struct world *world = failing_world;
    failing_world = NULL;
    if (world)
        (void)fprintf(stderr, "%smodel: replay with UNSTREAM_SEED=%llu\n",
                      buf_text(&world->trace), (unsigned long long)world->seed);
    (void)fflush(stderr);
}

void world_fail(struct world *world, const char *file, int line, const char *condition)
{
    world_print_trace();
    (void)fprintf(stderr, "%s:%d: at %lld ms: %s\n", file, line, (long long)world->now_ms,
                  condition);
    _exit(1);
}

/* A failing assertion or sanitizer tells the trace too. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void on_abort(int number)
{
    (void)number;
    world_print_trace(); /* NOLINT(bugprone-signal-handler): the program is ending anyway */
    _exit(1);
}

__attribute__((constructor)) static void watch_for_death(void)
{
    (void)signal(SIGABRT, on_abort);
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(world_print_trace);
}

bool world_set_engine(struct world *world, bool runs)
{
    bool ran = world->engine_runs;
    world->engine_runs = runs;
    if (world->on_engine)
        world->on_engine(runs);
    return ran;
}

/* ---- rows */

enum key_state row_state(const struct row *row, int64_t unix_ms)
{
    if (!row->exists || (row->state != KEY_RUNNING && row->forget_ms <= unix_ms))
        return KEY_ABSENT;
    if (row->state == KEY_FAILED && row->answer_until_ms <= unix_ms)
        return KEY_RELEASED;
    return row->state;
}

/* ---- time */

int64_t world_unix_ms(const struct world *world)
{
    return wall_start_ms + world->wall_offset_ms + world->now_ms;
}

void world_start_timer(struct world *world, struct timer *timer, int64_t delay_ms)
{
    enum rc rc = timers_start(&world->surroundings, timer, world->now_ms + delay_ms);
    CHECK(world, rc == OK);
}

void world_pass(struct world *world, int64_t ms)
{
    int64_t until_ms = world->now_ms + ms;
    uint64_t events_at_once = 0;
    for (;;) {
        struct timers *engine = event_loop_timers(world->loop);
        int64_t engine_ms = timers_next_ms(engine);
        int64_t other_ms = timers_next_ms(&world->surroundings);
        int64_t next_ms = engine_ms < other_ms ? engine_ms : other_ms;
        if (next_ms > until_ms)
            break;
        events_at_once = next_ms > world->now_ms ? 0 : events_at_once + 1;
        CHECK(world, events_at_once < EVENTS_AT_ONCE_MAX);
        if (next_ms > world->now_ms)
            world->now_ms = next_ms;
        bool both = engine_ms <= world->now_ms && other_ms <= world->now_ms;
        bool engines = both ? dice_chance(&world->dice, 50) : engine_ms <= world->now_ms;
        bool engine_ran = world_set_engine(world, engines);
        timers_run(engines ? engine : &world->surroundings, world->now_ms);
        (void)world_set_engine(world, engine_ran);
        oracle_check(world);
    }
    world->now_ms = until_ms;
}

/* ---- configuration: small limits, so that they are met */

static const char *no_variable(void *context, const char *name)
{
    (void)context;
    return strcmp(name, "HOME") == 0 ? "/home/model" : NULL;
}

static const char *one_of(struct dice *dice, const char *const names[], unsigned count)
{
    return names[dice_pick(dice, count)];
}

/* What keeps long answers alive. */
static void write_edge(struct dice *dice, struct buf *out)
{
    static const char *const edges[] = {"wait", "conflict", "redirect", "heartbeat"};
    buf_printf(out, "\"edge\":\"%s\",", one_of(dice, edges, COUNT_OF(edges)));
    buf_printf(out, "\"hold_s\":%u,", 2 + dice_pick(dice, 30));
    buf_printf(out, "\"heartbeat_after_s\":%u,", dice_pick(dice, 20));
    buf_printf(out, "\"beat_s\":%u,", 1 + dice_pick(dice, 20));
    buf_printf(out, "\"hops_max\":%u,", 1 + dice_pick(dice, 6));
}

/* One throw of the dice per statement: the order of arguments is the compiler's. */
static enum rc read_config(void *context, struct span path, struct buf *out)
{
    (void)path;
    static const char *const disconnects[] = {"auto", "auto", "auto", "continue", "cancel"};
    struct dice *dice = &((struct world *)context)->dice;
    buf_add_text(out, "{\"store\":\"sqlite:/model.db\",\"upstreams\":{\"u\":{");
    buf_add_text(out, "\"base_url\":\"http://p/v1\",\"provider\":\"openai\",");
    if (dice_chance(dice, 70))
        buf_add_text(out, "\"api_key\":\"operator\",");
    buf_printf(out, "\"attempts_max\":%u,", 1 + dice_pick(dice, 4));
    buf_printf(out, "\"retry_budget_ratio\":%u,", dice_pick(dice, 2));
    buf_printf(out, "\"flights_max\":%u}},", 2 + dice_pick(dice, 4));
    buf_add_text(out, "\"routes\":{\"/v1/chat/completions\":{\"upstream\":\"u\",");
    write_edge(dice, out);
    buf_printf(out, "\"adopt\":\"%s\",", dice_chance(dice, 75) ? "sdk" : "off");
    buf_printf(out, "\"on_disconnect\":\"%s\"}},",
               one_of(dice, disconnects, COUNT_OF(disconnects)));
    buf_printf(out, "\"idempotency\":{\"paid_calls_max\":%u,", 1 + dice_pick(dice, 5));
    buf_printf(out, "\"waiters_max\":%u,", 1 + dice_pick(dice, 12));
    buf_printf(out, "\"on_interrupted\":\"%s\",", dice_chance(dice, 90) ? "retry" : "fail");
    buf_printf(out, "\"result_url_ttl_s\":%u,", dice_chance(dice, 80) ? 3600 : 200);
    buf_printf(out, "\"ttl_s\":%u},", dice_chance(dice, 80) ? 86400 : 400);
    buf_printf(out, "\"limits\":{\"deadline_s\":%u,", 10 + dice_pick(dice, 600));
    buf_printf(out, "\"flight_max_s\":%u,", 60 + dice_pick(dice, 1800));
    buf_printf(out, "\"queue_max\":%u,", dice_pick(dice, 6));
    buf_printf(out, "\"queue_s\":%u,", 1 + dice_pick(dice, 60));
    buf_printf(out, "\"flights_max\":%u}}", 2 + dice_pick(dice, 6));
    return buf_rc(out);
}

static void configure(struct world *world)
{
    const struct config_source source = {no_variable, read_config, world};
    const struct config_arguments arguments = {.file = SPAN("model.json")};
    BUF(problems, CONFIG_BYTES_MAX);
    enum rc rc = config_load(&source, &arguments, &problems, &world->config);
    if (rc != OK)
        world_trace(world, "%s", buf_text(&problems));
    CHECK(world, rc == OK);
}

/* ---- the process */

static void end_process(struct world *world);

static void open_process(struct world *world)
{
    world->processes++;
    world->draining = world->dead = world->is_open = false;
    world->loop = model_loop_new(world);
    world->store = model_store_open(world);
    memset(world->store->salt, 's', sizeof world->store->salt);
    world->taken_up = world->store->accepted;
    world->upstream = model_upstream_new(world);
    const struct engine_params params = {.config = world->config,
                                         .loop = world->loop,
                                         .store = world->store,
                                         .upstream = world->upstream,
                                         .log = &world->log};
    enum rc rc = engine_new(&params, &world->engine);
    CHECK(world, rc == OK);
    world->handler = engine_handler(world->engine);
}

/* As app/serve.c does; a process that cannot take up what was accepted ends, and the next one
 * tries it again. */
void world_start_process(struct world *world)
{
    bool starts = false;
    for (bool has_memory = false; !starts; has_memory = true) {
        open_process(world);
        bool engine_ran = world_set_engine(world, !has_memory);
        starts = engine_recover(world->engine) == OK;
        (void)world_set_engine(world, engine_ran);
        if (!starts)
            end_process(world);
    }
    while (engine_is_recovering(world->engine))
        world_pass(world, RECOVERY_STEP_MS);
    world->is_open = true;
}

/* The order of app/serve.c.  Of a dead process nothing has effects: this frees its memory. */
static void end_process(struct world *world)
{
    world->is_open = false;
    if (world->on_end)
        world->on_end(world);
    model_requests_end(world);
    bool engine_ran = world_set_engine(world, true);
    engine_close(world->engine);
    (void)world_set_engine(world, engine_ran);
    model_store_close(world);
    CHECK(world, engine_is_idle(world->engine));
    model_upstream_free(world);
    engine_free(world->engine);
    model_loop_free(world);
}

void world_crash(struct world *world)
{
    world_trace(world, "crash");
    world->seen.crashes++;
    world->dead = true;
    end_process(world);
    world_start_process(world);
}

void world_drain(struct world *world)
{
    world_trace(world, "drain");
    world->draining = true;
    engine_drain(world->engine);
}

void world_restart(struct world *world)
{
    world_trace(world, "restart");
    engine_drain(world->engine);
    world->draining = true;
    bool engine_ran = world_set_engine(world, true);
    engine_stop(world->engine);
    (void)world_set_engine(world, engine_ran);
    oracle_check(world);
    world_pass(world, dice_pick(&world->dice, 5000));
    end_process(world);
    world_start_process(world);
}

/* ---- begin and end */

static void make_keys(struct world *world)
{
    struct digest scope = model_scope(world, 0);
    for (size_t i = 0; i < MODEL_KEYS; i++) {
        struct model_key *key = &world->keys[i];
        memset(key->asked_ms, 0xFF, sizeof key->asked_ms);
        key->has_digest = true;
        (void)snprintf(key->text, sizeof key->text, "key-%zu", i);
        enum rc rc = scope_key_digest(&scope, span_of(key->text), &key->digest);
        CHECK(world, rc == OK);
    }
}

void world_begin(struct world *world, uint64_t seed)
{
    *world = (struct world){.seed = seed,
                            .dice = {seed},
                            .call_ms = -1,
                            .store_exact_ms = -1,
                            .sdk_retry_count = -1};
    failing_world = world;
    buf_init(&world->trace, TRACE_BYTES_MAX);
    world->log =
        (struct log){.fd = open("/dev/null", O_WRONLY | O_CLOEXEC), .level = LOG_LEVEL_ERROR};
    CHECK(world, world->log.fd >= 0);
    timers_init(&world->surroundings);
    list_init(&world->requests);
    list_init(&world->clients);
    configure(world);
    make_keys(world);
    world->fault_percent = dice_chance(&world->dice, 60) ? 0 : dice_pick(&world->dice, 20);
    world->provider_trouble = dice_pick(&world->dice, 100);
    world->memory_key = dice_chance(&world->dice, 40) ? MODEL_KEYS - 1 : MODEL_KEYLESS;
    static const int64_t store_delays_ms[] = {10, 1000, 8000, 60000};
    world->store_delay_ms = store_delays_ms[dice_pick(&world->dice, COUNT_OF(store_delays_ms))];
    world->slow_store = world->store_delay_ms > 1000;
    world_start_process(world);
}

void world_end(struct world *world)
{
    end_process(world);
    model_clients_forget(world);
    CHECK(world, world->surroundings.count == 0);
    timers_done(&world->surroundings);
    oracle_forget(world);
    config_free(world->config);
    (void)close(world->log.fd);
    buf_done(&world->trace);
    failing_world = NULL;
}
