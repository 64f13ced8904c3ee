/* The configuration: a file is refused with reasons, or what is printed of it loads, means the
 * same and prints the same again. */
#include "core/config_loader.h"
#include "core/utf8.h"
#include "fuzz.h"

static const char file_name[] = "unstream.json";

static enum rc read_file(void *context, struct span path, struct buf *out)
{
    const struct span *text = context;
    if (span_is(path, file_name))
        buf_add(out, *text);
    else if (span_is(path, "/value"))
        buf_add_text(out, "from a file\n");
    else
        return E_NOT_FOUND;
    return buf_rc(out);
}

static const char *get_variable(void *context, const char *name)
{
    static const struct {
        const char *name, *value;
    } variables[] = {
        {"HOME", "/home/u"}, {"OPENAI_API_KEY", "sk-1"}, {"ANTHROPIC_API_KEY", "sk-2"}};
    (void)context;
    for (size_t i = 0; i < COUNT_OF(variables); i++)
        if (strcmp(name, variables[i].name) == 0)
            return variables[i].value;
    return NULL;
}

/* NULL: refused. */
static struct config *load(struct span text)
{
    struct config_source source = {get_variable, read_file, &text};
    struct config_arguments arguments = {.file = span_of(file_name)};
    struct config *config = NULL;
    BUF(problems, FUZZ_BYTES_MAX);
    enum rc rc = config_load(&source, &arguments, &problems, &config);
    ASSERT(rc == OK || rc == E_INVALID);
    ASSERT((rc == OK) == (config != NULL) && (rc == OK || problems.n));
    ASSERT(buf_rc(&problems) == OK && utf8_is_valid(buf_span(&problems)));
    ASSERT(!problems.n || problems.p[problems.n - 1] == '\n');
    return config;
}

/* ---- meaning; what is masked or rounded in print is left out */

static void compare_key(const struct config_key *key, const void *a, const void *b)
{
    const struct span *first = (const void *)((const char *)a + key->offset);
    const struct span *second = (const void *)((const char *)b + key->offset);
    switch (key->type) {
    case CONFIG_BOOL:
    case CONFIG_COUNT:
    case CONFIG_SIZE:
    case CONFIG_SECONDS:
    case CONFIG_CHOICE:
        ASSERT(config_value_equal(key, a, b));
        return;
    case CONFIG_DIGEST:
        ASSERT(digest_eq((const void *)first, (const void *)second));
        return;
    case CONFIG_TEXT:
        ASSERT((first->p != NULL) == (second->p != NULL));
        ASSERT(key->secret || strcmp(key->name, "proxy") == 0 || span_eq(*first, *second));
        return;
    case CONFIG_RATIO:
    case CONFIG_LIST:
    case CONFIG_HEADERS:
    case CONFIG_UPSTREAM:
    case CONFIG_OBJECT:
        return;
    }
}

static void compare_section(enum config_section section, const void *a, const void *b)
{
    size_t count;
    const struct config_key *keys = config_section_keys(section, &count);
    for (size_t i = 0; i < count; i++)
        compare_key(&keys[i], a, b);
}

static void compare(const struct config *a, const struct config *b)
{
    static const enum config_section top[] = {SECTION_ROOT, SECTION_IDEMPOTENCY, SECTION_LIMITS,
                                              SECTION_LOG};
    for (size_t i = 0; i < COUNT_OF(top); i++)
        compare_section(top[i], a, b);
    ASSERT(a->upstream_count == b->upstream_count && a->client_count == b->client_count);
    for (size_t i = 0; i < a->upstream_count; i++)
        compare_section(SECTION_UPSTREAM, &a->upstreams[i], &b->upstreams[i]);
    for (size_t i = 0; i < a->client_count; i++)
        compare_section(SECTION_CLIENT, &a->clients[i], &b->clients[i]);
    for (int i = 0; i < API_COUNT; i++) {
        ASSERT((a->routes[i].upstream != NULL) == (b->routes[i].upstream != NULL));
        if (a->routes[i].upstream)
            compare_section(SECTION_ROUTE, &a->routes[i], &b->routes[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    BUF(printed, FUZZ_BYTES_MAX);
    BUF(printed_again, FUZZ_BYTES_MAX);
    OWNED(config) config = load(fuzz_span(data, size));
    if (!config)
        return 0;
    config_print(config, &printed);
    ASSERT(fuzz_is_json(buf_span(&printed), JSON_STRICT));
    OWNED(config) again = load(buf_span(&printed));
    ASSERT(again);
    compare(config, again);
    config_print(again, &printed_again);
    ASSERT(span_eq(buf_span(&printed), buf_span(&printed_again)));
    return 0;
}
