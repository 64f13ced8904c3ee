/* schema/config.schema.json is the key table as JSON Schema (draft 7).  After a change of the
 * table: UNSTREAM_WRITE_SCHEMA=schema/config.schema.json test_config_schema */
#include "test.h"
#include "config_fixture.h"

#include <cjson/cJSON.h>

#define SCHEMA_FILE SOURCE_DIR "/schema/config.schema.json"
#define SUBSTITUTED "^([$]|@/)"

static cJSON *parse(const char *text)
{
    cJSON *json = cJSON_Parse(text);
    assert_non_null(json);
    return json;
}

static bool is_nullable(const struct config_key *key)
{
    return key->standard && strcmp(key->standard, "null") == 0;
}

static void add_type(cJSON *schema, const struct config_key *key, const char *type)
{
    if (!is_nullable(key)) {
        (void)cJSON_AddStringToObject(schema, "type", type);
        return;
    }
    cJSON *types = cJSON_AddArrayToObject(schema, "type");
    (void)cJSON_AddItemToArray(types, cJSON_CreateString(type));
    (void)cJSON_AddItemToArray(types, cJSON_CreateString("null"));
}

static void add_range(cJSON *schema, const struct config_key *key, const char *least,
                      const char *most)
{
    (void)cJSON_AddNumberToObject(schema, least, key->min);
    (void)cJSON_AddNumberToObject(schema, most, key->max);
}

/* One of the words, or a string that stands for one. */
static void add_choices(cJSON *schema, const struct config_key *key)
{
    cJSON *any = cJSON_AddArrayToObject(schema, "anyOf");
    cJSON *words = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(words, "enum");
    for (unsigned i = 0; config_choice_word(key->choices, i).p; i++) {
        char text[64];
        (void)snprintf(text, sizeof text, "%.*s",
                       SPAN_ARG(config_choice_word(key->choices, i)));
        (void)cJSON_AddItemToArray(list, cJSON_CreateString(text));
    }
    if (is_nullable(key))
        (void)cJSON_AddItemToArray(list, cJSON_CreateNull());
    (void)cJSON_AddItemToArray(any, words);
    (void)cJSON_AddItemToArray(
        any, parse("{\"type\": \"string\", \"pattern\": \"" SUBSTITUTED "\"}"));
}

static void add_kind(cJSON *schema, const struct config_key *key)
{
    switch (key->type) {
    case CONFIG_BOOL:
        add_type(schema, key, "boolean");
        break;
    case CONFIG_COUNT:
    case CONFIG_SIZE:
        add_type(schema, key, "integer");
        add_range(schema, key, "minimum", "maximum");
        break;
    case CONFIG_SECONDS:
    case CONFIG_RATIO:
        add_type(schema, key, "number");
        add_range(schema, key, "minimum", "maximum");
        break;
    case CONFIG_CHOICE:
        add_choices(schema, key);
        break;
    case CONFIG_TEXT:
        add_type(schema, key, "string");
        add_range(schema, key, "minLength", "maxLength");
        break;
    case CONFIG_DIGEST:
        add_type(schema, key, "string");
        (void)cJSON_AddStringToObject(schema, "pattern", "^[0-9A-Fa-f]{64}$|" SUBSTITUTED);
        break;
    case CONFIG_LIST:
        add_type(schema, key, "array");
        (void)cJSON_AddItemToObject(schema, "items", parse("{\"type\": \"string\"}"));
        add_range(schema, key, "minItems", "maxItems");
        break;
    case CONFIG_HEADERS:
        add_type(schema, key, "object");
        (void)cJSON_AddItemToObject(schema, "additionalProperties",
                                    parse("{\"type\": \"string\"}"));
        add_range(schema, key, "minProperties", "maxProperties");
        break;
    case CONFIG_UPSTREAM:
        add_type(schema, key, "string");
        break;
    case CONFIG_OBJECT:
        break;
    }
    if (key->standard)
        (void)cJSON_AddItemToObject(schema, "default", parse(key->standard));
}

/* Deletes `from`. */
static void move_members(cJSON *from, cJSON *to)
{
    while (from->child) {
        cJSON *member = cJSON_DetachItemViaPointer(from, from->child);
        (void)cJSON_AddItemToObject(to, member->string, member);
    }
    cJSON_Delete(from);
}

static cJSON *section_schema(enum config_section section, bool with_simple);

static void add_routes(cJSON *schema)
{
    (void)cJSON_AddStringToObject(schema, "type", "object");
    (void)cJSON_AddFalseToObject(schema, "additionalProperties");
    cJSON *properties = cJSON_AddObjectToObject(schema, "properties");
    for (int i = 0; i < API_COUNT; i++) {
        cJSON *route = parse("{\"anyOf\": [{\"const\": false}]}");
        cJSON *keys = parse(i == API_SIMPLE ? "{\"$ref\": \"#/definitions/simple_route\"}"
                                            : "{\"$ref\": \"#/definitions/route\"}");
        (void)cJSON_AddItemToArray(cJSON_GetObjectItem(route, "anyOf"), keys);
        (void)cJSON_AddItemToObject(properties, api_route((enum api)i), route);
    }
}

static void add_section(cJSON *schema, const char *name, enum config_section section)
{
    cJSON *keys = section_schema(section, false);
    if (strcmp(name, "upstreams") == 0) {
        (void)cJSON_AddStringToObject(schema, "type", "object");
        (void)cJSON_AddNumberToObject(schema, "minProperties", 1);
        (void)cJSON_AddNumberToObject(schema, "maxProperties", CONFIG_UPSTREAMS_MAX);
        (void)cJSON_AddItemToObject(schema, "additionalProperties", keys);
    } else if (strcmp(name, "clients") == 0) {
        (void)cJSON_AddStringToObject(schema, "type", "array");
        (void)cJSON_AddNumberToObject(schema, "maxItems", CONFIG_CLIENTS_MAX);
        (void)cJSON_AddItemToObject(schema, "items", keys);
    } else {
        move_members(keys, schema);
    }
}

static void add_object(cJSON *schema, const char *name)
{
    static const struct {
        const char *name;
        enum config_section section;
    } sections[] = {{"upstreams", SECTION_UPSTREAM},
                    {"clients", SECTION_CLIENT},
                    {"idempotency", SECTION_IDEMPOTENCY},
                    {"limits", SECTION_LIMITS},
                    {"log", SECTION_LOG}};
    for (size_t i = 0; i < COUNT_OF(sections); i++)
        if (strcmp(name, sections[i].name) == 0)
            add_section(schema, name, sections[i].section);
    if (strcmp(name, "routes") == 0)
        add_routes(schema);
}

static cJSON *key_schema(const struct config_key *key)
{
    cJSON *schema = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(schema, "description", key->help);
    if (key->type == CONFIG_OBJECT)
        add_object(schema, key->name);
    else
        add_kind(schema, key);
    if (key->restart)
        (void)cJSON_AddTrueToObject(schema, "x-restart");
    return schema;
}

static cJSON *section_schema(enum config_section section, bool with_simple)
{
    size_t count;
    const struct config_key *keys = config_section_keys(section, &count);
    cJSON *schema = parse("{\"type\": \"object\", \"additionalProperties\": false}");
    cJSON *properties = cJSON_AddObjectToObject(schema, "properties");
    cJSON *required = cJSON_CreateArray();
    for (size_t i = 0; i < count; i++) {
        if (keys[i].simple_only && !with_simple)
            continue;
        (void)cJSON_AddItemToObject(properties, keys[i].name, key_schema(&keys[i]));
        if (keys[i].required)
            (void)cJSON_AddItemToArray(required, cJSON_CreateString(keys[i].name));
    }
    if (cJSON_GetArraySize(required))
        (void)cJSON_AddItemToObject(schema, "required", required);
    else
        cJSON_Delete(required);
    return schema;
}

static cJSON *whole_schema(void)
{
    cJSON *root = parse("{\"$schema\": \"http://json-schema.org/draft-07/schema#\", "
                        "\"title\": \"unstream configuration\"}");
    cJSON *keys = section_schema(SECTION_ROOT, false);
    (void)cJSON_AddItemToObject(cJSON_GetObjectItem(keys, "properties"), "$schema",
                                parse("{\"type\": \"string\"}"));
    move_members(keys, root);
    cJSON *definitions = cJSON_AddObjectToObject(root, "definitions");
    (void)cJSON_AddItemToObject(definitions, "route", section_schema(SECTION_ROUTE, false));
    (void)cJSON_AddItemToObject(definitions, "simple_route",
                                section_schema(SECTION_ROUTE, true));
    return root;
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fprintf(file, "%s\n", text) > 0);
    assert_int_equal(fclose(file), 0);
}

TEST(config_schema, the_file_says_what_the_key_table_says)
{
    const char *path = getenv("UNSTREAM_WRITE_SCHEMA");
    cJSON *schema = whole_schema();
    char *expected = cJSON_Print(schema);
    char *found = calloc(1, FIXTURE_TEXT_MAX);
    assert_non_null(expected);
    assert_non_null(found);
    if (path)
        write_text(path, expected);
    FILE *file = fopen(SCHEMA_FILE, "re");
    assert_non_null(file);
    size_t n = fread(found, 1, FIXTURE_TEXT_MAX - 1, file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(n, strlen(expected) + 1);
    assert_memory_equal(found, expected, n - 1);
    cJSON_free(expected);
    free(found);
    cJSON_Delete(schema);
}

TEST(config_schema, every_key_has_a_default_a_reason_for_none_or_is_required)
{
    size_t count;
    const struct config_key *keys = config_keys(&count);
    assert_int_equal(count, 82);
    for (size_t i = 0; i < count; i++) {
        assert_true((keys[i].standard != NULL) + keys[i].required +
                        (keys[i].type == CONFIG_OBJECT) ==
                    1);
        assert_non_null(keys[i].help);
        assert_ptr_equal(config_key_find(keys[i].section, span_of(keys[i].name)), &keys[i]);
    }
}
