#include "core/config_loader.h"

#include <string.h>

enum { VALUE_BYTES_MAX = 65536 };

/* Compared as they would be written: fields of two configurations point elsewhere. */
static bool differs(struct loader *l, const struct config_key *key)
{
    BUF(next, VALUE_BYTES_MAX);
    BUF(running, VALUE_BYTES_MAX);
    config_print_value(key, l->config, &next);
    config_print_value(key, l->arguments->running, &running);
    l->out_of_memory |= buf_rc(&next) != OK || buf_rc(&running) != OK;
    return !span_eq(buf_span(&next), buf_span(&running));
}

static void take_list(struct loader *l, const struct span_list *from, struct span_list *to)
{
    struct span *items = loader_alloc(l, from->count * sizeof *items);
    for (size_t i = 0; items && i < from->count; i++)
        items[i] = loader_copy(l, from->items[i]);
    *to = (struct span_list){items, items ? from->count : 0};
}

static void take_over(struct loader *l, const struct config_key *key)
{
    const void *from = (const char *)l->arguments->running + key->offset;
    void *to = (char *)l->config + key->offset;
    const struct span *text = from;
    switch (key->type) {
    case CONFIG_COUNT:
        memcpy(to, from, sizeof(unsigned));
        return;
    case CONFIG_SIZE:
        memcpy(to, from, sizeof(uint64_t));
        return;
    case CONFIG_TEXT:
        *(struct span *)to = text->p ? loader_copy(l, *text) : SPAN_ABSENT;
        return;
    case CONFIG_LIST:
        take_list(l, from, to);
        return;
    case CONFIG_BOOL:
    case CONFIG_SECONDS:
    case CONFIG_RATIO:
    case CONFIG_CHOICE:
    case CONFIG_DIGEST:
    case CONFIG_HEADERS:
    case CONFIG_UPSTREAM:
    case CONFIG_OBJECT:
        break;
    }
    ASSERT(!key->restart); /* no key of these types needs a restart */
}

static void keep(struct loader *l, const struct config_key *key)
{
    const struct where limits = {&l->file, SPAN("limits"), -1};
    ASSERT(key->section == SECTION_ROOT || key->section == SECTION_LIMITS);
    const struct where *section = key->section == SECTION_ROOT ? &l->file : &limits;
    loader_warning(l, WHERE(section, span_of(key->name)),
                   "has changed, which takes effect at the next start");
    take_over(l, key);
}

void config_reload(struct loader *l)
{
    size_t count;
    const struct config_key *keys = config_keys(&count);
    for (size_t i = 0; i < count; i++)
        if (keys[i].restart && differs(l, &keys[i]))
            keep(l, &keys[i]);
    /* The listeners that stay may be open to more than those of the new file. */
    l->listen_where = l->ops_listen_where = l->running;
    config_check_listeners(l);
}
