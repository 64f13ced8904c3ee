/* What the engine remembers of upstreams, by their names. */
#include "app/engine_internal.h"

#include <stdlib.h>
#include <string.h>

static struct upstream_memory *memory_at(struct list *link)
{
    return CONTAINER_OF(link, struct upstream_memory, link);
}

static struct upstream_memory *find(const struct engine *engine, struct span name)
{
    const struct list *all = &engine->upstreams;
    for (struct list *link = all->next; link != all; link = link->next) {
        struct upstream_memory *memory = memory_at(link);
        if (span_eq((struct span){memory->name, memory->name_bytes}, name))
            return memory;
    }
    return NULL;
}

static struct admission_upstream_params limits_of(const struct config_upstream *upstream)
{
    return (struct admission_upstream_params){
        .flights_max = upstream->flights_max,
        .has_api_key = upstream->api_key.p != NULL,
    };
}

static struct upstream_memory *find_or_add(struct engine *engine,
                                           const struct config_upstream *upstream)
{
    struct span name = upstream->name;
    const struct admission_upstream_params limits = limits_of(upstream);
    struct upstream_memory *memory = find(engine, name);
    if (memory)
        return memory;
    memory = calloc(1, sizeof *memory + name.n);
    if (!memory || admission_add_upstream(&engine->admission, &limits, &memory->slot) != OK) {
        free(memory);
        return NULL;
    }
    memory->engine = engine;
    memory->name_bytes = name.n;
    memcpy(memory->name, name.p, name.n);
    retry_budget_init(&memory->budget, engine_now_ms(engine));
    list_init(&memory->link);
    list_append(&engine->upstreams, &memory->link);
    return memory;
}

static void free_if_unused(struct upstream_memory *memory)
{
    if (memory->configured || memory->holders > 0)
        return;
    list_remove(&memory->link);
    admission_remove_upstream(&memory->engine->admission, memory->slot);
    free(memory);
}

static void free_unused(struct engine *engine)
{
    struct list *link = engine->upstreams.next;
    while (link != &engine->upstreams) {
        struct list *next = link->next;
        free_if_unused(memory_at(link));
        link = next;
    }
}

static void forget_configuration(struct engine *engine)
{
    const struct list *all = &engine->upstreams;
    for (struct list *link = all->next; link != all; link = link->next)
        memory_at(link)->configured = false;
}

/* If flights run there, whose credential its brake is for changes with a later reload. */
static void configure(struct engine *engine, const struct config_upstream *upstream)
{
    struct upstream_memory *memory = find(engine, upstream->name);
    const struct admission_upstream_params limits = limits_of(upstream);
    ASSERT(memory); /* find_or_add made it */
    memory->configured = true;
    (void)admission_change_upstream(&engine->admission, memory->slot, &limits);
}

struct upstream_memory *engine_upstream_memory(const struct engine *engine,
                                               const struct config_upstream *upstream)
{
    return find(engine, upstream->name);
}

enum rc engine_upstreams_follow(struct engine *engine, const struct config *config)
{
    enum rc rc = OK;
    for (size_t i = 0; i < config->upstream_count && rc == OK; i++)
        rc = find_or_add(engine, &config->upstreams[i]) ? OK : E_NOMEM;
    if (rc == OK) {
        forget_configuration(engine);
        for (size_t i = 0; i < config->upstream_count; i++)
            configure(engine, &config->upstreams[i]);
    }
    free_unused(engine);
    return rc;
}

enum rc engine_upstream_hold(struct engine *engine, const struct config_upstream *upstream,
                             struct upstream_memory **ret)
{
    struct upstream_memory *memory = find_or_add(engine, upstream);
    if (!memory)
        return E_NOMEM;
    memory->holders++;
    *ret = memory;
    return OK;
}

void engine_upstream_release(struct upstream_memory *memory)
{
    if (!memory)
        return;
    memory->holders--;
    free_if_unused(memory);
}

bool engine_upstream_knows_stream_options(const void *engine,
                                          const struct config_upstream *upstream)
{
    const struct upstream_memory *memory = find(engine, upstream->name);
    return !memory || engine_now_ms(engine) >= memory->usage_refused_until_ms;
}

void engine_upstreams_done(struct engine *engine)
{
    forget_configuration(engine);
    free_unused(engine);
    ASSERT(list_is_empty(&engine->upstreams));
}
