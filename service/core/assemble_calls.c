#include "core/assemble_calls.h"

/* Calls beyond any number of tools are an attack. */
enum { CALLS_MAX = 1024 };

struct call {
    struct call *next;
    bool has_index;
    uint64_t index;
    struct value *value;
};

/* ---- functions */

static bool is_text(struct span name)
{
    return SAYS(name, "arguments") || SAYS(name, "input") || SAYS(name, "data") ||
           SAYS(name, "transcript");
}

/* Some servers send the arguments parsed: write them as the string they should be, without the
 * blanks between the tokens. */
static void append_serialised(struct assemble *a, struct value *value, struct span raw)
{
    BUF(escaped, a->params.answer_bytes_max);
    bool in_string = false;
    for (size_t i = 0; i < raw.n; i++) {
        size_t n = in_string && raw.p[i] == '\\' ? 2 : 1;
        if (raw.p[i] == '"')
            in_string = !in_string;
        if (in_string || !strchr(" \t\r\n", raw.p[i]))
            json_escape((struct span){raw.p + i, n}, &escaped);
        i += n - 1;
    }
    if (a->pool.rc == OK)
        a->pool.rc = buf_rc(&escaped);
    value_append(&a->pool, value, buf_span(&escaped));
}

static void append_text(struct assemble *a, struct value *value, struct span raw)
{
    if (json_type(raw) == JSON_NULL)
        return;
    struct span text = json_inside(raw);
    assemble_note_output(a, text.p ? text.n : raw.n);
    if (text.p)
        value_append(&a->pool, value, text);
    else
        append_serialised(a, value, raw);
}

void assemble_calls_merge_function(struct assemble *a, struct value *function, struct span raw)
{
    struct json json;
    struct span name;
    json_init(&json, raw, JSON_LENIENT);
    if (!json_enter(&json, JSON_OBJECT))
        return;
    while (a->pool.rc == OK && json_member(&json, &name)) {
        struct span value = json_value(&json);
        if (is_text(name))
            append_text(a, value_member(&a->pool, function, name), value);
        else if (!assemble_is_empty(value))
            value_merge(&a->pool, value_member(&a->pool, function, name), value, VALUE_REPLACE);
    }
}

/* ---- tool calls */

static bool has_other_id(const struct call *call, struct span id)
{
    struct span own = value_raw(value_find(call->value, "id"));
    return id.p && own.p && !span_eq(own, id);
}

static struct call *find_call(struct assemble_calls *calls, bool has_index, uint64_t index,
                              struct span id)
{
    struct call *found = NULL;
    if (!has_index && id.p)
        return NULL;
    if (has_index && calls->found && calls->found->has_index && calls->found->index == index)
        found = calls->found;
    for (struct call *call = found ? NULL : calls->first; call; call = call->next)
        if (!has_index || (call->has_index && call->index == index))
            found = call;
    return found && has_index && has_other_id(found, id) ? NULL : found;
}

/* Behind all calls with no greater index; without an index at the end. */
static struct call *add_call(struct assemble *a, struct assemble_calls *calls, bool has_index,
                             uint64_t index)
{
    if (calls->count == CALLS_MAX && a->pool.rc == OK)
        a->pool.rc = E_LIMIT;
    struct call *call = value_pool_alloc(&a->pool, sizeof *call), **at = &calls->first;
    if (!call)
        return NULL;
    while (*at && !(has_index && (*at)->has_index && (*at)->index > index))
        at = &(*at)->next;
    *call = (struct call){*at, has_index, index, value_new(&a->pool)};
    *at = call;
    calls->count++;
    return call;
}

static void merge_call(struct assemble *a, struct assemble_calls *calls, struct span raw)
{
    struct json json;
    struct span name, id = json_get(raw, "id");
    uint64_t index = 0;
    bool has_index = json_to_u64(json_get(raw, "index"), &index);
    if (assemble_is_empty(id))
        id = SPAN_ABSENT;
    struct call *call = find_call(calls, has_index, index, id);
    if (!call)
        call = add_call(a, calls, has_index, index);
    json_init(&json, raw, JSON_LENIENT);
    if (!call || !json_enter(&json, JSON_OBJECT))
        return;
    calls->found = call;
    while (a->pool.rc == OK && json_member(&json, &name)) {
        struct span value = json_value(&json);
        if ((SAYS(name, "function") || SAYS(name, "custom")) && json_type(value) == JSON_OBJECT)
            assemble_calls_merge_function(a, value_member(&a->pool, call->value, name), value);
        else if (!SAYS(name, "index") && !assemble_is_empty(value))
            value_merge(&a->pool, value_member(&a->pool, call->value, name), value,
                        VALUE_REPLACE);
    }
}

void assemble_calls_merge(struct assemble *a, struct assemble_calls *calls, struct json *json)
{
    if (!json_enter(json, JSON_ARRAY)) {
        json_skip(json);
        return;
    }
    assemble_note_output(a, 0);
    while (a->pool.rc == OK && json_element(json)) {
        struct span raw = json_value(json);
        if (json_type(raw) == JSON_OBJECT)
            merge_call(a, calls, raw);
    }
}

/* ---- the array */

static void fill_in_call(struct assemble *a, struct call *call)
{
    struct value_pool *pool = &a->pool;
    bool is_custom = value_find(call->value, "custom") != NULL;
    struct value *function = value_find(call->value, "function");
    if (!value_find(call->value, "type"))
        value_set(pool, value_member(pool, call->value, SPAN("type")),
                  is_custom ? SPAN("\"custom\"") : SPAN("\"function\""));
    if (function)
        value_append(pool, value_member(pool, function, SPAN("arguments")), SPAN(""));
}

void assemble_calls_write(struct assemble *a, struct assemble_calls *calls, struct buf *out)
{
    if (!calls->first)
        return;
    value_write_name(SPAN("tool_calls"), out);
    buf_add_byte(out, '[');
    for (struct call *call = calls->first; call; call = call->next) {
        fill_in_call(a, call);
        if (call != calls->first)
            buf_add_byte(out, ',');
        value_write(call->value, out);
    }
    buf_add_byte(out, ']');
}
