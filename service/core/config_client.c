#include "core/config_loader.h"

bool config_client_name_is_sound(struct span name)
{
    return name.n > 0 && name.n <= CONFIG_NAME_BYTES_MAX && span_is_visible(name);
}

static void check_name(struct loader *l, const struct where *where,
                       const struct config_client *clients, size_t index)
{
    const struct config_client *client = &clients[index];
    if (!span_is_visible(client->name))
        loader_problem(l, WHERE(where, SPAN("name")), "must be printable ASCII without blanks");
    for (size_t i = 0; i < index; i++) {
        if (client->name.p && span_eq(clients[i].name, client->name))
            loader_problem(l, WHERE(where, SPAN("name")), "is the name of clients[%zu] too", i);
        if (client->name.p && digest_eq(&clients[i].token_sha256, &client->token_sha256))
            loader_problem(l, WHERE(where, SPAN("token_sha256")),
                           "is the token of clients[%zu] too", i);
    }
}

static void read_client(struct loader *l, const struct where *where, const cJSON *item,
                        struct config_client *client)
{
    if (!cJSON_IsObject(item)) {
        loader_problem(l, where, "must be an object with \"name\" and \"token_sha256\"");
        return;
    }
    config_value_defaults(l, SECTION_CLIENT, client);
    (void)config_section_read(l, where, SECTION_CLIENT, item, client);
}

void config_clients_read(struct loader *l, const struct where *where, const cJSON *array)
{
    if (!cJSON_IsArray(array)) {
        loader_problem(l, where, "must be a list of clients");
        return;
    }
    int count = cJSON_GetArraySize(array);
    if (count > CONFIG_CLIENTS_MAX) {
        loader_problem(l, where, "must have at most %d entries, not %d", CONFIG_CLIENTS_MAX,
                       count);
        return;
    }
    struct config_client *clients = loader_alloc(l, (size_t)count * sizeof *clients);
    if (!clients)
        return;
    size_t i = 0;
    for (const cJSON *item = array->child; item; item = item->next, i++) {
        read_client(l, WHERE_ITEM(where, (int)i), item, &clients[i]);
        check_name(l, WHERE_ITEM(where, (int)i), clients, i);
    }
    l->config->clients = clients;
    l->config->client_count = i;
}

void config_clients_from_environment(struct loader *l)
{
    struct span token = loader_getenv(l, "UNSTREAM_TOKEN");
    if (!token.p)
        return;
    if (!span_is_visible(token)) {
        loader_problem(l, WHERE(&l->environment, SPAN("UNSTREAM_TOKEN")),
                       "must be printable ASCII without blanks");
        return;
    }
    struct config_client *client = loader_alloc(l, sizeof *client);
    if (!client)
        return;
    config_value_defaults(l, SECTION_CLIENT, client);
    client->name = SPAN("default");
    l->out_of_memory |= sha256_of(&token, 1, &client->token_sha256) != OK;
    l->config->clients = client;
    l->config->client_count = 1;
    l->clients_from_environment = true;
}
