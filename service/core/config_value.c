#include "core/config_loader.h"

#include "core/config_suggest.h"
#include "core/utf8.h"

#include <string.h>

/* A file named by "@/path" holds one value. */
enum { VALUE_BYTES_MAX = 65536 };

/* ---- what a string stands for */

static bool is_variable_name(struct span name)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && !(i > 0 && c >= '0' && c <= '9'))
            return false;
    }
    return name.n > 0;
}

static bool from_variable(struct loader *l, const struct where *where, const char *name,
                          struct span *ret)
{
    if (!is_variable_name(span_of(name))) {
        loader_problem(l, where,
                       "\"$...\" names an environment variable, such as "
                       "\"$OPENAI_API_KEY\"; a literal $ is written $$");
        return false;
    }
    struct span value = loader_getenv(l, name);
    if (!value.p) {
        loader_problem(l, where, "the environment variable %s is not set or empty; set it",
                       name);
        return false;
    }
    *ret = loader_copy(l, value);
    return true;
}

static bool from_file(struct loader *l, const struct where *where, struct span path,
                      struct span *ret)
{
    BUF(content, VALUE_BYTES_MAX);
    enum rc rc = l->source->read_file(l->source->context, path, &content);
    if (rc == OK)
        rc = buf_rc(&content);
    if (rc == E_NOMEM) {
        l->out_of_memory = true;
        return false;
    }
    if (rc != OK) {
        loader_problem(l, where, "the file %s cannot be read: %s", loader_quote(l, path),
                       rc_text(rc));
        return false;
    }
    struct span value = buf_span(&content);
    while (value.n && (value.p[value.n - 1] == '\n' || value.p[value.n - 1] == '\r'))
        value.n--;
    if (!value.n) {
        loader_problem(l, where, "the file %s is empty", loader_quote(l, path));
        return false;
    }
    *ret = loader_copy(l, value);
    return true;
}

bool config_text_is_clean(struct span value)
{
    for (size_t i = 0; i < value.n; i++)
        if ((unsigned char)value.p[i] < 0x20 || value.p[i] == 0x7F)
            return false;
    return utf8_is_valid(value);
}

bool config_value_text(struct loader *l, const struct where *where, const cJSON *item,
                       struct span *ret)
{
    struct span text = span_of(item->valuestring), value = text;
    if (span_starts(text, "$$") || span_starts(text, "@@/"))
        value = loader_copy(l, span_from(text, 1));
    else if (span_starts(text, "$")) {
        if (!from_variable(l, where, text.p + 1, &value))
            return false;
    } else if (span_starts(text, "@/")) {
        if (!from_file(l, where, span_from(text, 1), &value))
            return false;
    } else
        value = loader_copy(l, text);
    if (value.p && !config_text_is_clean(value)) {
        loader_problem(l, where, "must be UTF-8 text without control characters");
        return false;
    }
    *ret = value;
    return value.p != NULL;
}

/* ---- setting fields */

static const char *expected(const struct config_key *key)
{
    switch (key->type) {
    case CONFIG_BOOL:
        return "true or false";
    case CONFIG_COUNT:
    case CONFIG_SIZE:
        return "a whole number";
    case CONFIG_SECONDS:
        return "a number of seconds";
    case CONFIG_RATIO:
        return "a number";
    case CONFIG_CHOICE:
    case CONFIG_TEXT:
        return "a string";
    case CONFIG_DIGEST:
        return "a string of 64 hexadecimal digits";
    case CONFIG_LIST:
        return "a list of strings";
    case CONFIG_HEADERS:
        return "an object of header names and values";
    case CONFIG_UPSTREAM:
        return "the name of an upstream";
    case CONFIG_OBJECT:
        break;
    }
    return "an object";
}

static const char *kind_of(const cJSON *item)
{
    return cJSON_IsNull(item)     ? "null"
           : cJSON_IsBool(item)   ? "true or false"
           : cJSON_IsNumber(item) ? "a number"
           : cJSON_IsString(item) ? "a string"
           : cJSON_IsArray(item)  ? "a list"
                                  : "an object";
}

static bool wrong_type(struct loader *l, const struct where *where,
                       const struct config_key *key, const cJSON *item)
{
    loader_problem(l, where, "must be %s, not %s", expected(key), kind_of(item));
    return false;
}

static bool is_null_fine(const struct config_key *key)
{
    return key->standard && strcmp(key->standard, "null") == 0;
}

static bool set_number(struct loader *l, const struct where *where,
                       const struct config_key *key, const cJSON *item, void *field)
{
    double number = item->valuedouble;
    if (!cJSON_IsNumber(item))
        return wrong_type(l, where, key, item);
    if (!(number >= key->min && number <= key->max)) {
        loader_problem(l, where, "must be %s from %.15g to %.15g, not %.15g", expected(key),
                       key->min, key->max, number);
        return false;
    }
    bool whole = key->type == CONFIG_COUNT || key->type == CONFIG_SIZE;
    if (whole && number != (double)(uint64_t)number) {
        loader_problem(l, where, "must be a whole number, not %.15g", number);
        return false;
    }
    if (key->type == CONFIG_COUNT)
        *(unsigned *)field = (unsigned)number;
    else if (key->type == CONFIG_SIZE)
        *(uint64_t *)field = (uint64_t)number;
    else if (key->type == CONFIG_SECONDS)
        *(int64_t *)field = (int64_t)(number * 1000 + 0.5);
    else
        *(double *)field = number;
    return true;
}

static bool set_choice(struct loader *l, const struct where *where,
                       const struct config_key *key, const cJSON *item, void *field)
{
    struct span word;
    if (!config_value_text(l, where, item, &word))
        return false;
    int index = config_choice_index(key->choices, word);
    if (index >= 0) {
        memcpy(field, &(unsigned){(unsigned)index}, sizeof(unsigned));
        return true;
    }
    struct suggestion near = suggestion_for(word);
    for (unsigned i = 0; config_choice_word(key->choices, i).p; i++)
        suggestion_offer(&near, config_choice_word(key->choices, i));
    loader_problem(l, where, "must be one of %s, not %s%s", key->choices,
                   loader_quote(l, span_of(item->valuestring)),
                   loader_did_you_mean(l, near.best));
    return false;
}

static bool set_text(struct loader *l, const struct where *where, const struct config_key *key,
                     const cJSON *item, struct span *field)
{
    struct span text;
    if (!config_value_text(l, where, item, &text))
        return false;
    if ((double)text.n < key->min || (double)text.n > key->max) {
        loader_problem(l, where, "must be a string of %g to %g bytes, not %zu", key->min,
                       key->max, text.n);
        return false;
    }
    *field = text;
    return true;
}

static bool set_digest(struct loader *l, const struct where *where, const cJSON *item,
                       struct digest *field)
{
    static const struct digest none;
    struct span text;
    struct digest digest;
    if (!config_value_text(l, where, item, &text))
        return false;
    if (digest_from_hex(text, &digest) && !digest_eq(&digest, &none)) {
        *field = digest;
        return true;
    }
    loader_problem(l, where,
                   "must be 64 hexadecimal digits, the SHA-256 of the token "
                   "(printf %%s TOKEN | sha256sum), not the token itself");
    return false;
}

static bool is_size_fine(struct loader *l, const struct where *where,
                         const struct config_key *key, const cJSON *item)
{
    int count = cJSON_GetArraySize(item);
    if (count >= key->min && count <= key->max)
        return true;
    loader_problem(l, where, "must have %g to %g entries, not %d", key->min, key->max, count);
    return false;
}

static bool set_list(struct loader *l, const struct where *where, const struct config_key *key,
                     const cJSON *list, struct span_list *field)
{
    bool fine = true;
    size_t count = 0;
    if (!cJSON_IsArray(list))
        return wrong_type(l, where, key, list);
    if (!is_size_fine(l, where, key, list))
        return false;
    struct span *items = loader_alloc(l, (size_t)cJSON_GetArraySize(list) * sizeof *items);
    for (const cJSON *item = list->child; item && items; item = item->next, count++) {
        const struct where *here = WHERE_ITEM(where, (int)count);
        if (!cJSON_IsString(item)) {
            loader_problem(l, here, "must be a string, not %s", kind_of(item));
            fine = false;
        } else if (!config_value_text(l, here, item, &items[count]))
            fine = false;
    }
    if (fine && items)
        *field = (struct span_list){items, count};
    return fine && items;
}

static bool set_headers(struct loader *l, const struct where *where,
                        const struct config_key *key, const cJSON *object,
                        struct headers *field)
{
    bool fine = true;
    size_t count = 0;
    if (!cJSON_IsObject(object))
        return wrong_type(l, where, key, object);
    if (!is_size_fine(l, where, key, object))
        return false;
    struct header *items = loader_alloc(l, (size_t)cJSON_GetArraySize(object) * sizeof *items);
    for (const cJSON *item = object->child; item && items; item = item->next, count++) {
        const struct where *here = WHERE(where, span_of(item->string));
        items[count].name = loader_copy(l, span_of(item->string));
        if (!cJSON_IsString(item)) {
            loader_problem(l, here, "must be a string, not %s", kind_of(item));
            fine = false;
        } else if (!config_value_text(l, here, item, &items[count].value))
            fine = false;
    }
    if (fine && items)
        *field = (struct headers){items, count};
    return fine && items;
}

static bool set_upstream(struct loader *l, const struct where *where, const cJSON *item,
                         const struct config_upstream **field)
{
    struct span name;
    if (!config_value_text(l, where, item, &name))
        return false;
    struct suggestion near = suggestion_for(name);
    for (size_t i = 0; i < l->config->upstream_count; i++) {
        suggestion_offer(&near, l->config->upstreams[i].name);
        if (span_eq(l->config->upstreams[i].name, name)) {
            *field = &l->config->upstreams[i];
            return true;
        }
    }
    loader_problem(l, where, "there is no upstream %s in \"upstreams\"%s",
                   loader_quote(l, span_of(item->valuestring)),
                   loader_did_you_mean(l, near.best));
    return false;
}

static bool set_bool(struct loader *l, const struct where *where, const struct config_key *key,
                     const cJSON *item, bool *field)
{
    if (!cJSON_IsBool(item))
        return wrong_type(l, where, key, item);
    *field = cJSON_IsTrue(item);
    return true;
}

static bool is_from_string(enum config_type type)
{
    return type == CONFIG_CHOICE || type == CONFIG_TEXT || type == CONFIG_DIGEST ||
           type == CONFIG_UPSTREAM;
}

bool config_value_set(struct loader *l, const struct where *where, const struct config_key *key,
                      const cJSON *item, void *target)
{
    void *field = (char *)target + key->offset;
    if (cJSON_IsNull(item) && is_null_fine(key))
        return true;
    if (is_from_string(key->type) && !cJSON_IsString(item))
        return wrong_type(l, where, key, item);
    switch (key->type) {
    case CONFIG_BOOL:
        return set_bool(l, where, key, item, field);
    case CONFIG_COUNT:
    case CONFIG_SIZE:
    case CONFIG_SECONDS:
    case CONFIG_RATIO:
        return set_number(l, where, key, item, field);
    case CONFIG_CHOICE:
        return set_choice(l, where, key, item, field);
    case CONFIG_TEXT:
        return set_text(l, where, key, item, field);
    case CONFIG_DIGEST:
        return set_digest(l, where, item, field);
    case CONFIG_LIST:
        return set_list(l, where, key, item, field);
    case CONFIG_HEADERS:
        return set_headers(l, where, key, item, field);
    case CONFIG_UPSTREAM:
        return set_upstream(l, where, item, field);
    case CONFIG_OBJECT:
        break;
    }
    return true;
}

/* ---- defaults */

void config_value_defaults(struct loader *l, enum config_section section, void *target)
{
    size_t count;
    const struct config_key *keys = config_section_keys(section, &count);
    for (size_t i = 0; i < count; i++) {
        if (!keys[i].standard)
            continue;
        cJSON *standard = cJSON_Parse(keys[i].standard);
        if (!standard) {
            l->out_of_memory = true;
            return;
        }
        bool fine = config_value_set(l, &l->environment, &keys[i], standard, target);
        cJSON_Delete(standard);
        ASSERT(fine || l->out_of_memory);
    }
}

static size_t field_bytes(enum config_type type)
{
    switch (type) {
    case CONFIG_BOOL:
        return sizeof(bool);
    case CONFIG_COUNT:
    case CONFIG_CHOICE:
        return sizeof(unsigned);
    case CONFIG_SIZE:
    case CONFIG_SECONDS:
        return sizeof(int64_t);
    case CONFIG_RATIO:
        return sizeof(double);
    case CONFIG_UPSTREAM:
        return sizeof(void *);
    case CONFIG_TEXT:
    case CONFIG_DIGEST:
    case CONFIG_LIST:
    case CONFIG_HEADERS:
    case CONFIG_OBJECT:
        break;
    }
    return 0;
}

bool config_value_equal(const struct config_key *key, const void *a, const void *b)
{
    size_t n = field_bytes(key->type);
    ASSERT(n > 0);
    return memcmp((const char *)a + key->offset, (const char *)b + key->offset, n) == 0;
}
