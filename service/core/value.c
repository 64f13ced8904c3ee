#include "core/value.h"

#include <string.h>

/* ---- the pool */

void value_pool_init(struct value_pool *pool, size_t bytes_max)
{
    *pool = (struct value_pool){.bytes_max = bytes_max};
    arena_init(&pool->arena, SIZE_MAX);
}

void value_pool_done(struct value_pool *pool)
{
    for (struct value *value = pool->newest; value; value = value->older)
        buf_done(&value->text);
    arena_done(&pool->arena);
    pool->newest = NULL;
}

static void fail(struct value_pool *pool, enum rc rc)
{
    if (pool->rc == OK)
        pool->rc = rc;
}

/* True: n more bytes may be held, and are counted. */
static bool count_bytes(struct value_pool *pool, size_t n)
{
    if (n > pool->bytes_max - pool->bytes)
        fail(pool, E_LIMIT);
    if (pool->rc != OK)
        return false;
    pool->bytes += n;
    return true;
}

void *value_pool_alloc(struct value_pool *pool, size_t n)
{
    if (pool->count == VALUES_MAX)
        fail(pool, E_LIMIT);
    if (pool->rc != OK)
        return NULL;
    void *memory = arena_alloc(&pool->arena, n);
    if (!memory) {
        fail(pool, E_NOMEM);
        return NULL;
    }
    pool->count++;
    return memory;
}

struct value *value_new(struct value_pool *pool)
{
    struct value *value = value_pool_alloc(pool, sizeof *value);
    if (!value)
        return NULL;
    buf_init(&value->text, pool->bytes_max);
    value->older = pool->newest;
    pool->newest = value;
    return value;
}

/* ---- text */

static void add_text(struct value_pool *pool, struct value *value, struct span text)
{
    if (!count_bytes(pool, text.n))
        return;
    buf_add(&value->text, text);
    if (buf_rc(&value->text) != OK)
        fail(pool, buf_rc(&value->text));
}

/* Another kind of value, with nothing in it.  Items that were there stay counted: the pool
 * holds them to its end. */
static void become(struct value_pool *pool, struct value *value, enum value_kind kind)
{
    pool->bytes -= value->text.n;
    buf_clear(&value->text);
    value->items = value->items_last = value->item_found = NULL;
    value->items_count = 0;
    value->kind = kind;
}

void value_set(struct value_pool *pool, struct value *value, struct span raw)
{
    if (!value || !raw.p || pool->rc != OK)
        return;
    become(pool, value, VALUE_RAW);
    add_text(pool, value, raw);
}

/* Take the quotes or brackets off a raw string or array, with the blanks inside them. */
static void strip(struct value_pool *pool, struct value *value, enum value_kind kind)
{
    struct buf *text = &value->text;
    size_t start = 1, end = text->n - 1;
    if (kind == VALUE_LIST) {
        while (start < end && (unsigned char)text->p[start] <= ' ')
            start++;
        while (end > start && (unsigned char)text->p[end - 1] <= ' ')
            end--;
    }
    memmove(text->p, text->p + start, end - start);
    pool->bytes -= text->n - (end - start);
    text->n = end - start;
    value->kind = kind;
}

/* Make a string or list of the value, keeping the text of a raw one. */
static void open_text(struct value_pool *pool, struct value *value, enum value_kind kind)
{
    enum json_type type = kind == VALUE_STRING ? JSON_STRING : JSON_ARRAY;
    if (value->kind == kind)
        return;
    if (value->kind == VALUE_RAW && json_type(buf_span(&value->text)) == type)
        strip(pool, value, kind);
    else
        become(pool, value, kind);
}

void value_append(struct value_pool *pool, struct value *value, struct span escaped)
{
    if (!value || pool->rc != OK)
        return;
    open_text(pool, value, VALUE_STRING);
    add_text(pool, value, escaped);
}

void value_push(struct value_pool *pool, struct value *value, struct span raw)
{
    if (!value || !raw.p || pool->rc != OK)
        return;
    open_text(pool, value, VALUE_LIST);
    if (value->text.n)
        add_text(pool, value, SPAN(","));
    add_text(pool, value, raw);
}

/* ---- items */

static struct value *add_item(struct value_pool *pool, struct value *parent)
{
    if (parent->items_count == VALUE_ITEMS_MAX)
        fail(pool, E_LIMIT);
    struct value *item = value_new(pool);
    if (!item)
        return NULL;
    if (parent->items_last)
        parent->items_last->next = item;
    else
        parent->items = item;
    parent->items_last = item;
    parent->items_count++;
    return item;
}

/* Members mostly come in the order of the event before: the one behind the last found first. */
static struct value *find_member(struct value *object, struct span name)
{
    struct value *likely = object->item_found ? object->item_found->next : object->items;
    if (!likely || !span_eq(likely->name, name)) {
        likely = object->items;
        while (likely && !span_eq(likely->name, name))
            likely = likely->next;
    }
    if (likely)
        object->item_found = likely;
    return likely;
}

static void take_apart(struct value_pool *pool, struct value *value, enum value_rule rule);

struct value *value_member(struct value_pool *pool, struct value *object, struct span name)
{
    if (!object || pool->rc != OK)
        return NULL;
    if (object->kind != VALUE_OBJECT)
        take_apart(pool, object, VALUE_REPLACE);
    struct value *member = find_member(object, name);
    if (member || !count_bytes(pool, name.n))
        return member;
    struct span copy = arena_copy(&pool->arena, name);
    if (!copy.p) {
        fail(pool, E_NOMEM);
        return NULL;
    }
    member = add_item(pool, object);
    if (member)
        member->name = copy;
    return member;
}

struct value *value_find(const struct value *object, const char *name)
{
    if (!object || object->kind != VALUE_OBJECT)
        return NULL;
    struct value *member = object->items;
    while (member && !span_is(member->name, name))
        member = member->next;
    return member;
}

/* ---- merging; recursion ends with the depth of the JSON text, JSON_DEPTH_MAX */

static void merge_members(struct value_pool *pool, struct value *value, struct span raw,
                          enum value_rule rule) /* NOLINT(misc-no-recursion) */
{
    struct json json;
    struct span name;
    json_init(&json, raw, JSON_LENIENT);
    if (json_enter(&json, JSON_OBJECT))
        while (pool->rc == OK && json_member(&json, &name))
            value_merge(pool, value_member(pool, value, name), json_value(&json), rule);
}

/* Make an object of a raw one; of anything else an empty one. */
static void take_apart(struct value_pool *pool, struct value *value,
                       enum value_rule rule) /* NOLINT(misc-no-recursion) */
{
    struct buf raw = value->text;
    bool is_object = value->kind == VALUE_RAW && json_type(buf_span(&raw)) == JSON_OBJECT;
    become(pool, value, VALUE_OBJECT);
    buf_init(&value->text, pool->bytes_max);
    if (is_object)
        merge_members(pool, value, buf_span(&raw), rule);
    buf_done(&raw);
}

/* Members of a delta that say what something is: repeated in every delta, never continued. */
static bool is_label(struct span name)
{
    static const char *const labels[] = {
        "id",    "type",     "name",  "role",   "channel",   "format",           "object",
        "model", "provider", "phase", "status", "signature", "thought_signature"};
    for (size_t i = 0; i < COUNT_OF(labels); i++)
        if (span_is(name, labels[i]))
            return true;
    return false;
}

static struct span part_member(const struct value *part, const char *name)
{
    return part->kind == VALUE_RAW ? json_get(buf_span(&part->text), name)
                                   : value_raw(value_find(part, name));
}

static bool is_part(const struct value *item, struct span index, struct span type)
{
    return item && item->kind != VALUE_LIST && span_eq(part_member(item, "index"), index) &&
           span_eq(part_member(item, "type"), type);
}

static struct value *find_part(const struct value *parts, struct span index, struct span type)
{
    if (!index.p)
        return is_part(parts->items_last, index, type) ? parts->items_last : NULL;
    if (is_part(parts->item_found, index, type))
        return parts->item_found;
    struct value *item = parts->items;
    while (item && !is_part(item, index, type))
        item = item->next;
    return item;
}

static void merge_part(struct value_pool *pool, struct value *parts,
                       struct span raw) /* NOLINT(misc-no-recursion) */
{
    struct span index = json_get(raw, "index"), type = json_get(raw, "type");
    struct value *item;
    if (index.p || span_is(type, "\"text\"") || span_is(type, "\"thinking\"")) {
        item = find_part(parts, index, type);
        if (!item)
            item = add_item(pool, parts);
        parts->item_found = item;
        value_merge(pool, item, raw, VALUE_TYPED);
        return;
    }
    item = parts->items_last;
    if (!item || item->kind != VALUE_LIST)
        item = add_item(pool, parts);
    value_push(pool, item, raw);
}

/* NOLINTNEXTLINE(misc-no-recursion) */
static void merge_array(struct value_pool *pool, struct value *value, struct span raw,
                        enum value_rule rule)
{
    struct json json;
    if (rule == VALUE_TYPED && value->kind != VALUE_PARTS)
        become(pool, value, VALUE_PARTS);
    else if (rule != VALUE_TYPED)
        open_text(pool, value, VALUE_LIST);
    json_init(&json, raw, JSON_LENIENT);
    if (json_enter(&json, JSON_ARRAY))
        while (pool->rc == OK && json_element(&json)) {
            struct span element = json_value(&json);
            if (rule == VALUE_TYPED)
                merge_part(pool, value, element);
            else
                value_push(pool, value, element);
        }
}

static bool is_object(const struct value *value)
{
    return value->kind == VALUE_OBJECT || json_type(value_raw(value)) == JSON_OBJECT;
}

/* Whether nothing changes: by null, an empty label, or what is there already and not joined. */
static bool says_nothing(const struct value *value, struct span raw, enum value_rule rule)
{
    bool grows = rule == VALUE_DELTA || rule == VALUE_TYPED;
    switch (json_type(raw)) {
    case JSON_NULL:
        return value->kind != VALUE_ABSENT;
    case JSON_STRING:
        if (grows)
            return raw.n == 2 && is_label(value->name) && value_is_set(value);
        break;
    case JSON_ARRAY:
    case JSON_OBJECT:
        if (rule != VALUE_REPLACE)
            return false;
        break;
    case JSON_NUMBER:
    case JSON_TRUE:
    case JSON_FALSE:
    case JSON_NONE:
        break;
    }
    return span_eq(value_raw(value), raw);
}

/* NOLINTNEXTLINE(misc-no-recursion) */
void value_merge(struct value_pool *pool, struct value *value, struct span raw,
                 enum value_rule rule)
{
    if (!value || !raw.p || pool->rc != OK)
        return;
    enum json_type type = json_type(raw);
    bool grows = rule == VALUE_DELTA || rule == VALUE_TYPED;
    if (says_nothing(value, raw, rule))
        return;
    if (type == JSON_ARRAY && rule != VALUE_REPLACE) {
        merge_array(pool, value, raw, rule);
    } else if (type == JSON_STRING && grows && !is_label(value->name)) {
        value_append(pool, value, json_inside(raw));
    } else if (type == JSON_OBJECT && is_object(value)) {
        if (value->kind == VALUE_RAW)
            take_apart(pool, value, rule);
        merge_members(pool, value, raw, rule);
    } else {
        value_set(pool, value, raw);
    }
}

/* ---- reading and writing */

struct span value_raw(const struct value *value)
{
    return value && value->kind == VALUE_RAW ? buf_span(&value->text) : SPAN_ABSENT;
}

bool value_is_set(const struct value *value)
{
    return value && value->kind != VALUE_ABSENT && json_type(value_raw(value)) != JSON_NULL;
}

void value_write_name(struct span name, struct buf *out)
{
    char last = out->n ? out->p[out->n - 1] : '{';
    if (last != '{' && last != '[')
        buf_add_byte(out, ',');
    buf_add_byte(out, '"');
    buf_add(out, name);
    buf_add_text(out, "\":");
}

void value_write_member(const struct value *value, struct span name, struct buf *out)
{
    value_write_name(name, out);
    value_write(value, out);
}

void value_write_members(const struct value *object, struct buf *out)
{
    for (const struct value *item = object ? object->items : NULL; item; item = item->next)
        value_write_member(item, item->name, out);
}

static void write_parts(const struct value *parts, struct buf *out)
{
    for (const struct value *item = parts->items; item; item = item->next) {
        if (item != parts->items)
            buf_add_byte(out, ',');
        if (item->kind == VALUE_LIST)
            buf_add(out, buf_span(&item->text));
        else
            value_write(item, out);
    }
}

void value_write(const struct value *value, struct buf *out)
{
    enum value_kind kind = value ? value->kind : VALUE_ABSENT;
    static const char opening[] = {
        [VALUE_STRING] = '"', [VALUE_LIST] = '[', [VALUE_OBJECT] = '{', [VALUE_PARTS] = '['};
    static const char closing[] = {
        [VALUE_STRING] = '"', [VALUE_LIST] = ']', [VALUE_OBJECT] = '}', [VALUE_PARTS] = ']'};
    if (kind == VALUE_ABSENT) {
        buf_add_text(out, "null");
        return;
    }
    if (kind != VALUE_RAW)
        buf_add_byte(out, opening[kind]);
    if (kind == VALUE_OBJECT)
        value_write_members(value, out);
    else if (kind == VALUE_PARTS)
        write_parts(value, out);
    else
        buf_add(out, buf_span(&value->text));
    if (kind != VALUE_RAW)
        buf_add_byte(out, closing[kind]);
}
