#include "core/config_loader.h"

#include "core/config_suggest.h"

static bool fits(enum api api, const struct config_upstream *up)
{
    return api == API_SIMPLE || api_provider(api) == up->provider;
}

/* With UNSTREAM_TOKEN, the environment's upstreams serve only where their own key is set: the
 * client's token must not be passed on. */
static bool is_usable(const struct loader *l, const struct config_upstream *up)
{
    return up->api_key.p || !l->clients_from_environment || !l->upstreams_from_environment;
}

/* The first upstream of the fitting provider; for /api/llm, which fits all, the first one with
 * an api_key, else the first one.  `wire` is the api that is spoken, API_SIMPLE: any. */
static const struct config_upstream *standard_upstream(const struct loader *l, enum api wire)
{
    const struct config_upstream *first = NULL;
    for (size_t i = 0; i < l->config->upstream_count; i++) {
        const struct config_upstream *up = &l->config->upstreams[i];
        if (!fits(wire, up) || !is_usable(l, up))
            continue;
        if (wire != API_SIMPLE || up->api_key.p)
            return up;
        if (!first)
            first = up;
    }
    return first;
}

static struct span remedy(const struct loader *l, enum api api)
{
    bool any = api == API_SIMPLE, anthropic = api == API_MESSAGES;
    if (l->upstreams_from_environment)
        return any         ? SPAN("set OPENAI_API_KEY or ANTHROPIC_API_KEY")
               : anthropic ? SPAN("set ANTHROPIC_API_KEY")
                           : SPAN("set OPENAI_API_KEY");
    return any         ? SPAN("add an entry to \"upstreams\"")
           : anthropic ? SPAN("add an entry with \"provider\": \"anthropic\" to \"upstreams\"")
                       : SPAN("add an entry with \"provider\": \"openai\" to \"upstreams\"");
}

static void set_defaults(struct loader *l, enum api api, struct config_route *route)
{
    config_value_defaults(l, SECTION_ROUTE, route);
    route->api = api;
    route->adopt = config_adopt_standard(api);
    route->hold_ms = config_hold_standard_ms(EDGE_WAIT);
    route->deadline_ms = l->config->limits.deadline_ms;
}

/* What is spoken upstream, and by which upstream. */
static void choose_upstream(struct loader *l, enum api api, bool api_said,
                            struct config_route *route)
{
    enum api wire = api_said ? route->api : api;
    if (!route->upstream)
        route->upstream = standard_upstream(l, wire);
    if (!route->upstream)
        route->remedy = remedy(l, wire);
    if (wire == API_SIMPLE)
        wire = route->upstream && route->upstream->provider == PROVIDER_ANTHROPIC ? API_MESSAGES
                                                                                  : API_CHAT;
    route->api = wire;
}

static void check_upstream(struct loader *l, const struct where *where, enum api wire,
                           const struct config_upstream *up)
{
    if (up && !fits(wire, up))
        loader_problem(l, where,
                       "upstream \"%.*s\" has provider \"%s\", but %s is spoken by "
                       "\"%s\"; name another upstream",
                       SPAN_ARG(up->name), provider_name(up->provider), api_name(wire),
                       provider_name(api_provider(wire)));
}

static void tell_misplaced(struct loader *l, const struct where *where, struct said read)
{
    size_t count;
    const struct config_key *keys = config_section_keys(SECTION_ROUTE, &count);
    for (size_t i = 0; i < count; i++)
        if (keys[i].simple_only && said(read, keys[i].name))
            loader_problem(l, WHERE(where, span_of(keys[i].name)),
                           "is a key of the route %s alone; remove it", api_route(API_SIMPLE));
}

/* It gets the same body as the route's own upstream. */
static void check_fallback(struct loader *l, const struct where *where, bool simple,
                           const struct config_route *route)
{
    const struct config_upstream *fallback = route->fallback;
    if (!fallback)
        return;
    check_upstream(l, where, route->api, fallback);
    if (!fallback->api_key.p)
        loader_problem(l, where,
                       "upstream \"%.*s\" has no api_key, and a client's credential goes to "
                       "the route's own upstream only; set upstreams.%.*s.api_key",
                       SPAN_ARG(fallback->name), SPAN_ARG(fallback->name));
    if (simple && route->api == API_CHAT && route->upstream &&
        !span_eq(fallback->max_tokens_field, route->upstream->max_tokens_field))
        loader_problem(l, where,
                       "upstream \"%.*s\" has another max_tokens_field than \"%.*s\", but gets "
                       "the same body; give both the same one",
                       SPAN_ARG(fallback->name), SPAN_ARG(route->upstream->name));
}

static void check_route(struct loader *l, const struct where *where, struct said read,
                        bool simple, struct config_route *route)
{
    check_upstream(l, WHERE(where, SPAN("upstream")), route->api, route->upstream);
    check_fallback(l, WHERE(where, SPAN("fallback")), simple, route);
    if (said(read, "deadline_s") && route->deadline_ms > l->config->limits.deadline_max_ms)
        loader_problem(l, WHERE(where, SPAN("deadline_s")), "is over limits.deadline_max_s");
}

static void read_route(struct loader *l, const struct where *where, const cJSON *item,
                       enum api api)
{
    struct config_route *route = &l->config->routes[api];
    if (cJSON_IsFalse(item)) {
        route->off = true;
        route->upstream = NULL;
        route->remedy = SPAN_ABSENT;
        return;
    }
    if (!cJSON_IsObject(item)) {
        loader_problem(l, where,
                       "must be an object such as {\"upstream\": \"openai\"}, or "
                       "false to switch the route off");
        return;
    }
    *route = (struct config_route){.off = false};
    set_defaults(l, api, route);
    struct said read = config_section_read(l, where, SECTION_ROUTE, item, route);
    if (!said(read, "hold_s"))
        route->hold_ms = config_hold_standard_ms(route->edge);
    if (api != API_SIMPLE)
        tell_misplaced(l, where, read);
    choose_upstream(l, api, api == API_SIMPLE && said(read, "api"), route);
    check_route(l, where, read, api == API_SIMPLE, route);
}

static void read_all(struct loader *l, const struct where *where, const cJSON *object)
{
    for (const cJSON *item = object->child; item; item = item->next) {
        enum api api;
        struct span path = span_of(item->string);
        if (api_from_route(path, &api)) {
            read_route(l, WHERE(where, path), item, api);
            continue;
        }
        struct suggestion near = suggestion_for(path);
        for (int i = 0; i < API_COUNT; i++)
            suggestion_offer(&near, span_of(api_route((enum api)i)));
        loader_problem(l, WHERE(where, path), "unknown route%s",
                       near.best.p ? loader_did_you_mean(l, near.best)
                                   : "; known are /v1/chat/completions, /v1/responses, "
                                     "/v1/messages and /api/llm");
    }
}

void config_routes_read(struct loader *l, const struct where *where, const cJSON *object)
{
    for (int i = 0; i < API_COUNT; i++) {
        struct config_route *route = &l->config->routes[i];
        set_defaults(l, (enum api)i, route);
        choose_upstream(l, (enum api)i, false, route);
    }
    if (object && !cJSON_IsObject(object))
        loader_problem(l, where, "must be an object of routes by path");
    else if (object)
        read_all(l, where, object);
}
