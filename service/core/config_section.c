#include "core/config_loader.h"

#include "core/config_suggest.h"

static uint64_t bit_of(enum config_section section, const struct config_key *key)
{
    size_t count;
    const struct config_key *first = config_section_keys(section, &count);
    ASSERT(count <= CONFIG_KEY_COUNT_MAX);
    return (uint64_t)1 << (key - first);
}

bool said(struct said said, const char *name)
{
    const struct config_key *key = config_key_find(said.section, span_of(name));
    ASSERT(key);
    return (said.bits & bit_of(said.section, key)) != 0;
}

/* A known name of another section is more likely misplaced than misspelt. */
static const struct config_key *key_elsewhere(struct span name)
{
    const struct config_key *key = NULL;
    for (int i = 0; i < SECTION_COUNT && !key; i++)
        key = config_key_find((enum config_section)i, name);
    return key;
}

static void tell_unknown(struct loader *l, const struct where *where,
                         enum config_section section, struct span name)
{
    size_t count;
    const struct config_key *keys = config_section_keys(section, &count);
    struct suggestion near = suggestion_for(name);
    for (size_t i = 0; i < count; i++)
        suggestion_offer(&near, span_of(keys[i].name));
    const struct config_key *elsewhere = key_elsewhere(name);
    if (elsewhere && (!near.best.p || near.distance > 2))
        loader_problem(l, where, "unknown key here; it belongs in %s",
                       config_section_place(elsewhere->section));
    else if (near.best.p)
        loader_problem(l, where, "unknown key%s", loader_did_you_mean(l, near.best));
    else
        loader_problem(l, where, "unknown key; remove it (--print-config shows all keys)");
}

static bool is_section(const cJSON *item)
{
    return cJSON_IsObject(item) || cJSON_IsArray(item);
}

struct said config_section_read(struct loader *l, const struct where *where,
                                enum config_section section, const cJSON *object, void *target)
{
    struct said read = {.section = section};
    uint64_t present = 0;
    for (const cJSON *item = object->child; item; item = item->next) {
        struct span name = span_of(item->string);
        const struct where *here = WHERE(where, name);
        const struct config_key *key = config_key_find(section, name);
        if (!key) {
            if (section != SECTION_ROOT || !span_is(name, "$schema"))
                tell_unknown(l, here, section, name);
            continue;
        }
        present |= bit_of(section, key);
        bool fine = config_value_set(l, here, key, item, target);
        if (fine && !cJSON_IsNull(item) && (key->type != CONFIG_OBJECT || is_section(item)))
            read.bits |= bit_of(section, key);
    }
    size_t count;
    const struct config_key *keys = config_section_keys(section, &count);
    for (size_t i = 0; i < count; i++)
        if (keys[i].required && !(present & bit_of(section, &keys[i])))
            loader_problem(l, where, "needs \"%s\": %s", keys[i].name, keys[i].help);
    return read;
}
