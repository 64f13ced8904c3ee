/* Keys: those that clients send, and those that flights have of their own. */
#include "model.h"

#include "core/scope.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct digest model_scope(struct world *world, unsigned scope)
{
    uint8_t salt[STORE_SALT_BYTES];
    struct digest digest;
    memset(salt, 's', sizeof salt);
    enum rc rc = scope_digest((struct span){(const char *)salt, sizeof salt}, SCOPE_CREDENTIAL,
                              scope ? SPAN("other") : SPAN("secret"), &digest);
    CHECK(world, rc == OK);
    return digest;
}

static struct model_key *own_key_new(struct world *world)
{
    struct model_key *key = calloc(1, sizeof *key);
    CHECK(world, key && world->own_key_count < MODEL_OWN_KEYS);
    world->own_keys[world->own_key_count++] = key;
    memset(key->asked_ms, 0xFF, sizeof key->asked_ms);
    key->is_own = true;
    key->attended_ms = world->now_ms;
    return key;
}

struct model_key *model_own_key_new(struct world *world, const char *marker)
{
    struct model_key *key = own_key_new(world);
    (void)snprintf(key->text, sizeof key->text, "%s", marker);
    return key;
}

struct model_key *model_key_named(struct world *world, const char *marker)
{
    for (size_t i = 0; i < world->own_key_count; i++)
        if (strcmp(world->own_keys[i]->text, marker) == 0)
            return world->own_keys[i];
    return NULL;
}

static struct model_key *nth(struct world *world, size_t i)
{
    return i < MODEL_KEYS ? world->keys + i : world->own_keys[i - MODEL_KEYS];
}

static struct model_key *find(struct world *world, const struct digest *digest)
{
    struct model_key *found = NULL;
    for (size_t i = 0; i < MODEL_KEYS + world->own_key_count; i++) {
        struct model_key *key = nth(world, i);
        if (key->has_digest && digest_eq(&key->digest, digest))
            found = key;
    }
    return found;
}

struct model_key *model_key_of(struct world *world, const struct digest *digest)
{
    struct model_key *key = find(world, digest);
    CHECK(world, key);
    return key;
}

/* Of a request that is like no other: the fingerprint tells which. */
static struct model_key *find_post(struct world *world, const struct store_claim *claim)
{
    for (size_t i = 0; i < world->own_key_count; i++) {
        struct model_key *key = world->own_keys[i];
        struct digest scope = model_scope(world, key->scope);
        if (!key->is_sessions && digest_eq(&key->fingerprint, &claim->fingerprint) &&
            digest_eq(&scope, &claim->scope))
            return key;
    }
    return NULL;
}

struct model_key *model_key_claimed(struct world *world, const struct store_claim *claim)
{
    struct model_key *key = find(world, &claim->key);
    if (key)
        return key;
    bool engine_ran = world_set_engine(world, false);
    key = find_post(world, claim);
    if (!key) {
        key = own_key_new(world);
        key->is_sessions = true;
        (void)snprintf(key->text, sizeof key->text, "a session");
    }
    CHECK(world, !key->has_digest); /* one flight, one key */
    key->has_digest = true;
    key->digest = claim->key;
    (void)world_set_engine(world, engine_ran);
    return key;
}

void model_own_keys_forget(struct world *world)
{
    for (size_t i = 0; i < world->own_key_count; i++) {
        struct model_key *key = world->own_keys[i];
        blob_free(key->life.unstored);
        blob_free(key->row.body);
        free(key);
    }
}
