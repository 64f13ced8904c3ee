#include "model_stories.h"

static void hold(struct world *world, enum edge edge)
{
    struct config_route *route = &world->config->routes[API_CHAT];
    route->edge = edge;
    route->hold_ms = STORY_HOLD_MS;
    route->heartbeat_after_ms = 0;
    route->beat_ms = 1000;
    route->hops_max = 9;
}

/* A GET or DELETE of what was told of last. */
static void ask(struct world *world, enum model_method method, bool by_token, unsigned hop)
{
    if (world->known_count == 0)
        return;
    const struct known *known = &world->known[world->known_count - 1];
    if (by_token && !known->token[0])
        return;
    model_ask(world, &(struct model_question){.target = known,
                                              .method = method,
                                              .shows = by_token ? SHOWS_NONE : SHOWS_OWN,
                                              .by_token = by_token,
                                              .hop = hop,
                                              .wait_s = -1});
}

static void post_async(struct world *world, int key)
{
    world->prefer_async = true;
    model_post(world, key, 0);
    world->prefer_async = false;
}

/* By a chain, by token and by flight id; while it runs and after its end. */
static void collect(struct world *world)
{
    ask(world, MODEL_GET, true, 1);
    ask(world, MODEL_GET, true, 0);
    ask(world, MODEL_GET, false, 0);
    world_pass(world, STORY_ENDED_MS);
    ask(world, MODEL_GET, true, 2);
    ask(world, MODEL_GET, false, 0);
    world_pass(world, STORY_ENDED_MS);
}

static void tell_a_redirect(struct world *world, int key)
{
    hold(world, EDGE_REDIRECT);
    model_post(world, key, 0);
    world_pass(world, STORY_CALLED_MS);
    collect(world);
}

void story_of_a_redirect(struct world *world)
{
    tell_a_redirect(world, 0);
}

void story_of_a_keyless_redirect(struct world *world)
{
    tell_a_redirect(world, MODEL_KEYLESS);
}

/* The first call is over when the hold is. */
void story_of_a_redirect_in_a_pause(struct world *world)
{
    hold(world, EDGE_REDIRECT);
    world->fate = "is refused with 500";
    world->call_ms = STORY_HOLD_MS / 2;
    model_post(world, MODEL_KEYLESS, 0);
    world_pass(world, STORY_CALLED_MS);
    world->fate = NULL;
    collect(world);
}

/* The call ends, and the pause after it, before the store has its row. */
void story_of_a_redirect_that_a_pause_waits_for(struct world *world)
{
    hold(world, EDGE_REDIRECT);
    world->fate = "is cut before output";
    world->call_ms = STORY_CALLED_MS;
    world->store_exact_ms = STORY_ENDED_MS / 2;
    model_post(world, MODEL_KEYLESS, 0);
    world_pass(world, STORY_ENDED_MS);
    world->fate = NULL;
    world->store_exact_ms = -1;
    world_pass(world, STORY_SLOW_MS);
    collect(world);
}

void story_of_a_conflict(struct world *world)
{
    hold(world, EDGE_CONFLICT);
    model_post(world, 0, 0);
    world_pass(world, STORY_CALLED_MS);
    model_post(world, 0, 0);
    world_pass(world, STORY_ENDED_MS);
}

static void tell_a_heartbeat(struct world *world, int key)
{
    hold(world, EDGE_HEARTBEAT);
    world->call_ms = 5000;
    model_post(world, key, 0);
    world_pass(world, STORY_CALLED_MS);
    ask(world, MODEL_GET, false, 0);
    world_pass(world, STORY_ENDED_MS);
}

void story_of_a_heartbeat(struct world *world)
{
    tell_a_heartbeat(world, 0);
}

void story_of_a_keyless_heartbeat(struct world *world)
{
    tell_a_heartbeat(world, MODEL_KEYLESS);
}

static void tell_an_accepted_request(struct world *world, int key)
{
    post_async(world, key);
    world_pass(world, STORY_CALLED_MS);
    collect(world);
}

void story_of_an_accepted_request(struct world *world)
{
    tell_an_accepted_request(world, 0);
}

void story_of_an_accepted_request_without_a_key(struct world *world)
{
    tell_an_accepted_request(world, MODEL_KEYLESS);
}

/* Its flight was not to be accepted when it began. */
void story_of_an_accepted_join(struct world *world)
{
    model_post(world, 0, 0);
    world_pass(world, STORY_CALLED_MS);
    post_async(world, 0);
    world_pass(world, STORY_CALLED_MS);
    collect(world);
}

void story_of_a_crash(struct world *world)
{
    post_async(world, 0);
    post_async(world, MODEL_KEYLESS);
    world_pass(world, STORY_CALLED_MS);
    world_crash(world);
    post_async(world, 0);
    collect(world);
}

void story_of_a_restart(struct world *world)
{
    post_async(world, 0);
    world_pass(world, STORY_CALLED_MS);
    ask(world, MODEL_GET, true, 1);
    world_restart(world);
    post_async(world, 0);
    collect(world);
}

/* What runs takes all there is; what is being told already can be told once more. */
void story_of_replays_without_room(struct world *world)
{
    size_t *bytes_max = &world->config->limits.memory_bytes_max, before = *bytes_max;
    model_post(world, 0, 0);
    world_pass(world, STORY_ENDED_MS);
    model_post(world, 1, 0);
    world_pass(world, STORY_CALLED_MS);
    *bytes_max = 1;
    model_post(world, 0, 0);
    ask(world, MODEL_GET, false, 0);
    world_pass(world, STORY_CALLED_MS);
    *bytes_max = before;
    world_pass(world, STORY_ENDED_MS);
    model_post(world, 0, 0);
    world_pass(world, STORY_ENDED_MS);
}

void story_of_a_cancel(struct world *world)
{
    post_async(world, 0);
    model_post(world, 0, 0);
    world_pass(world, STORY_CALLED_MS);
    ask(world, MODEL_DELETE, false, 0);
    world_pass(world, STORY_ENDED_MS);
    ask(world, MODEL_DELETE, false, 0);
    world_pass(world, STORY_ENDED_MS);
}

/* Nobody waits for it when it ends; then its URL is used. */
void story_of_an_orphan_that_was_redirected(struct world *world)
{
    hold(world, EDGE_REDIRECT);
    world->sdk_retry_count = 0;
    model_post(world, MODEL_KEYLESS, 0);
    world_pass(world, STORY_ENDED_MS);
    ask(world, MODEL_GET, true, 1);
    world_pass(world, STORY_ENDED_MS);
    world->sdk_retry_count = 1;
    model_post(world, MODEL_KEYLESS, 0);
    world->sdk_retry_count = -1;
    world_pass(world, STORY_ENDED_MS);
}
