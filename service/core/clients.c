#include "core/clients.h"

enum rc clients_find(const struct config *config, struct span secret,
                     const struct config_client **ret)
{
    const struct config_client *found = NULL;
    struct digest digest;
    enum rc rc = sha256_of(&secret, 1, &digest);
    if (rc != OK)
        return rc;
    for (size_t i = 0; i < config->client_count; i++)
        if (digest_eq(&config->clients[i].token_sha256, &digest))
            found = &config->clients[i];
    if (!found)
        return E_NOT_FOUND;
    *ret = found;
    return OK;
}
