#include "core/config_loader.h"

#include "core/config_address.h"
#include "core/exposure.h"
#include "core/relay.h"

#include <string.h>

static bool is_routed(const struct config *config, const struct config_upstream *up)
{
    for (size_t i = 0; i < API_COUNT; i++)
        if (config->routes[i].upstream == up)
            return true;
    return false;
}

static const char *open_line(const struct loader *l)
{
    return l->has_file ? "\"open\": true" : "UNSTREAM_OPEN=1";
}

static void check_listen(struct loader *l)
{
    const struct config *config = l->config;
    for (size_t i = 0; i < config->listen.count; i++) {
        struct address address;
        const char *text = loader_quote(l, config->listen.items[i]);
        const char *wrong = address_parse(config->listen.items[i], &address);
        if (wrong) {
            loader_problem(l, &l->listen_where, "%s %s", text, wrong);
            continue;
        }
        for (size_t j = 0; j < i; j++)
            if (span_eq(config->listen.items[i], config->listen.items[j]) &&
                (address.is_unix || address.port))
                loader_problem(l, &l->listen_where, "%s stands twice; remove one of them",
                               text);
        if (!address_is_local(&address) && config_must_stay_local(config))
            loader_problem(l, &l->listen_where,
                           "%s would let everyone who reaches it use the configured api_key; "
                           "say who may with \"clients\" or UNSTREAM_TOKEN, or allow everyone "
                           "with this line: %s",
                           text, open_line(l));
    }
}

static void check_ops_listen(struct loader *l)
{
    const struct config *config = l->config;
    const struct where *where = &l->ops_listen_where;
    struct address address;
    if (!config->ops_listen.p)
        return;
    const char *text = loader_quote(l, config->ops_listen);
    const char *wrong = address_parse(config->ops_listen, &address);
    if (wrong) {
        loader_problem(l, where, "%s %s", text, wrong);
        return;
    }
    for (size_t i = 0; i < config->listen.count; i++)
        if (span_eq(config->listen.items[i], config->ops_listen) &&
            (address.is_unix || address.port))
            loader_problem(l, where, "%s is an address of \"listen\" too; choose another port",
                           text);
    if (!address_is_local(&address) && !config->ops_token_set)
        loader_problem(l, where,
                       "%s is beyond loopback, which needs \"ops_token_sha256\" (printf %%s "
                       "TOKEN | sha256sum)",
                       text);
}

/* A client's token must never reach a provider. */
static void check_clients(struct loader *l)
{
    const struct config *config = l->config;
    bool any = false;
    if (config->client_count == 0)
        return;
    if (config->open)
        loader_warning(l, &l->clients_where, "\"open\" has no effect where clients are known");
    for (size_t i = 0; i < config->upstream_count; i++) {
        const struct config_upstream *up = &config->upstreams[i];
        if (!is_routed(config, up))
            continue;
        any = true;
        if (!up->api_key.p)
            loader_problem(l, &l->clients_where,
                           "clients have tokens of their own, which must not be passed on: set "
                           "upstreams.%.*s.api_key, or switch its routes off with \"/path\": "
                           "false",
                           SPAN_ARG(up->name));
    }
    if (!any && l->upstreams_from_environment && l->clients_from_environment)
        loader_problem(l, &l->clients_where,
                       "clients have tokens of their own, which must not be passed on: set "
                       "OPENAI_API_KEY or ANTHROPIC_API_KEY");
}

static void warn_about_routes(struct loader *l)
{
    for (size_t i = 0; i < API_COUNT; i++) {
        const struct config_route *route = &l->config->routes[i];
        if (!route->off && !route->upstream)
            loader_warning(l, l->has_file ? &l->file : &l->environment,
                           "the route %s has no upstream and answers 404; %.*s",
                           api_route((enum api)i), SPAN_ARG(route->remedy));
    }
}

static void check_relay(struct loader *l)
{
    const struct span_list *relay = &l->config->relay;
    const struct where *where = WHERE(&l->file, SPAN("relay"));
    for (size_t i = 0; i < relay->count; i++) {
        enum relay_fault fault = relay_check(relay->items[i]);
        if (fault != RELAY_FINE)
            loader_problem(l, WHERE_ITEM(where, (int)i), "%s %s",
                           loader_quote(l, relay->items[i]), relay_fault_text(fault));
    }
}

static void check_store(struct loader *l)
{
    struct span store = l->config->store;
    if (!store.p)
        return;
    struct span path = span_from(store, strlen("sqlite:"));
    if (!span_starts(store, "sqlite:") || !path.n || path.p[0] == ':' ||
        span_starts(path, "file:"))
        loader_problem(l, &l->store_where,
                       "must be sqlite: and the path of a file, such as "
                       "sqlite:/var/lib/unstream/unstream.db, not %s",
                       loader_quote(l, store));
}

void config_check_listeners(struct loader *l)
{
    check_listen(l);
    check_ops_listen(l);
}

void config_check(struct loader *l)
{
    config_check_listeners(l);
    check_store(l);
    check_clients(l);
    check_relay(l);
    warn_about_routes(l);
}
