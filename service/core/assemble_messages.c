/* Anthropic Messages: from message_start ... message_stop to the message.
 *
 * Source: https://docs.anthropic.com/en/api/messages-streaming; [+] marks what other servers
 * and gateways send and Anthropic's own clients lose or refuse.  The type of an event is its
 * `type` member; the SSE name only says "error".
 *
 * | event                | becomes                                                          |
 * |----------------------|------------------------------------------------------------------|
 * | message_start        | the members of `message` are the base; it may already hold       |
 * |                      | content and a stop_reason; [+] a second one starts over          |
 * | content_block_start  | the block at `index`, in whatever order they overlap; one of     |
 * |                      | type `fallback` sets the model to its `to.model`                 |
 * | content_block_delta  | by the type of its delta:                                        |
 * |   text_delta         |   text appended                                                  |
 * |   thinking_delta     |   thinking appended                                              |
 * |   citations_delta    |   citation added to the array of citations                       |
 * |   input_json_delta   |   partial_json kept until the block ends, then it is `input`     |
 * |   any other          |   its members replace (signature_delta, compaction_delta, [+])   |
 * | content_block_stop   | `input` is read: nothing came: what the start had, else {};      |
 * |                      | cut off: without its last token, brackets closed; no JSON:       |
 * |                      | malformed.  Without this event the end of the message does it    |
 * | message_delta        | members of `delta` replace, `container` only if not null;        |
 * |                      | `usage` is cumulative: members that are not null replace; other  |
 * |                      | members that are not null join the message                       |
 * | error                | a failure, as {type, error} or [+] flat {code, message, type}    |
 * | ping, any other      | nothing                                                          |
 *
 * [+] Without any message_start (llama.cpp, when the first token is half a character) the base
 * is an assistant's message, and a text or thinking block may lack its start.
 *
 * Complete: message_stop, or [+] the end of the stream (or [DONE]) after a stop_reason that is
 * not null. */
#include "core/assemble_api.h"

enum { BLOCKS_MAX = 4096 };

struct block {
    struct block *next;
    uint64_t index;
    struct value *value;
    struct value *input; /* a string: the JSON text so far; NULL when there is none */
};

struct messages {
    bool started;
    struct value *base;  /* `content` in it is absent and stands for the blocks */
    struct value *usage; /* in base */
    struct block *blocks, *blocks_last, *block_found;
    size_t block_count;
};

/* The base as it is without a message_start. */
static void messages_start(struct assemble *a)
{
    struct messages *messages = a->own;
    struct value_pool *pool = &a->pool;
    messages->base = value_new(pool);
    value_set(pool, value_member(pool, messages->base, SPAN("type")), SPAN("\"message\""));
    value_set(pool, value_member(pool, messages->base, SPAN("role")), SPAN("\"assistant\""));
    (void)value_member(pool, messages->base, SPAN("content"));
    (void)value_member(pool, messages->base, SPAN("stop_reason"));
    (void)value_member(pool, messages->base, SPAN("stop_sequence"));
}

static void set_base(struct assemble *a, struct span name, struct span raw)
{
    struct messages *messages = a->own;
    value_set(&a->pool, value_member(&a->pool, messages->base, name), raw);
}

/* ---- blocks */

static struct block *find_block(struct messages *messages, uint64_t index)
{
    struct block *block = messages->block_found;
    if (block && block->index == index)
        return block;
    for (block = messages->blocks; block && block->index != index;)
        block = block->next;
    messages->block_found = block;
    return block;
}

static struct block *add_block(struct assemble *a, uint64_t index)
{
    struct messages *messages = a->own;
    if (messages->block_count == BLOCKS_MAX && a->pool.rc == OK)
        a->pool.rc = E_LIMIT;
    struct block *block = value_pool_alloc(&a->pool, sizeof *block), **at = &messages->blocks;
    if (!block)
        return NULL;
    if (messages->blocks_last && messages->blocks_last->index < index)
        at = &messages->blocks_last->next;
    while (*at && (*at)->index < index)
        at = &(*at)->next;
    *block = (struct block){.next = *at, .index = index, .value = value_new(&a->pool)};
    *at = block;
    if (!block->next)
        messages->blocks_last = block;
    messages->block_count++;
    return messages->block_found = block;
}

static void set_block(struct assemble *a, uint64_t index, struct span raw)
{
    if (json_type(raw) != JSON_OBJECT) {
        assemble_fail(a, ASSEMBLE_MALFORMED);
        return;
    }
    struct block *block = find_block(a->own, index);
    if (!block)
        block = add_block(a, index);
    if (!block)
        return;
    value_set(&a->pool, block->value, raw);
    block->input = NULL;
    assemble_note_output(a, 0);
    struct span model = json_get(json_get(raw, "to"), "model");
    if (span_is(json_get(raw, "type"), "\"fallback\"") && json_type(model) == JSON_STRING)
        set_base(a, SPAN("model"), model);
}

/* ---- the input of a tool call */

/* How far a JSON text that was cut off is good, and which brackets are open there. */
struct cut {
    size_t good_bytes;
    unsigned depth;
    char closing[JSON_DEPTH_MAX];
    bool is_garbage;
};

/* Whether `rest` is the start of true, false or null, cut off. */
static bool is_cut_word(struct span rest)
{
    return rest.n > 0 && ((rest.n < 4 && memcmp("true", rest.p, rest.n) == 0) ||
                          (rest.n < 5 && memcmp("false", rest.p, rest.n) == 0) ||
                          (rest.n < 4 && memcmp("null", rest.p, rest.n) == 0));
}

/* The value that comes next is good, with all brackets that are open behind it. */
static void note_good(const struct json *json, struct cut *cut)
{
    cut->good_bytes = json_offset(json);
    cut->depth = json->depth;
}

/* Recursion ends at JSON_DEPTH_MAX. */
static void find_cut(struct json *json, struct cut *cut) /* NOLINT(misc-no-recursion) */
{
    struct span name;
    enum json_type type = json_peek(json);
    bool is_object = type == JSON_OBJECT;
    if (!is_object && type != JSON_ARRAY) {
        json_skip(json);
        /* a number at the very end may lack digits */
        if (json->error == JSON_FINE && (type != JSON_NUMBER || json->p < json->end))
            note_good(json, cut);
        return;
    }
    if (!json_enter(json, type))
        return;
    cut->closing[json->depth - 1] = is_object ? '}' : ']';
    note_good(json, cut);
    while (is_object ? json_member(json, &name) : json_element(json))
        find_cut(json, cut);
    if (json->error == JSON_FINE)
        note_good(json, cut);
}

/* Set `input` to the JSON text, which may be cut off. */
static void set_input(struct assemble *a, struct block *block, struct span text)
{
    struct json json;
    struct cut cut = {0};
    BUF(repaired, a->params.answer_bytes_max);
    json_init(&json, text, JSON_LENIENT);
    find_cut(&json, &cut);
    bool is_whole = json_end(&json);
    struct span rest = span_from(text, json_offset(&json));
    if (!is_whole && json.error != JSON_EOF &&
        !(json.error == JSON_BAD_VALUE && is_cut_word(rest))) {
        assemble_fail(a, ASSEMBLE_MALFORMED);
        return;
    }
    buf_add(&repaired, (struct span){text.p, is_whole ? text.n : cut.good_bytes});
    while (!is_whole && cut.depth > 0)
        buf_add_byte(&repaired, cut.closing[--cut.depth]);
    if (a->pool.rc == OK)
        a->pool.rc = buf_rc(&repaired);
    if (repaired.n)
        value_set(&a->pool, value_member(&a->pool, block->value, SPAN("input")),
                  buf_span(&repaired));
}

static void end_input(struct assemble *a, struct block *block)
{
    if (!block->input)
        return;
    BUF(text, a->params.answer_bytes_max);
    json_unescape(buf_span(&block->input->text), &text);
    if (a->pool.rc == OK)
        a->pool.rc = buf_rc(&text);
    value_set(&a->pool, block->input, SPAN("null"));
    block->input = NULL;
    struct value *input = value_member(&a->pool, block->value, SPAN("input"));
    if (input && !value_is_set(input))
        value_set(&a->pool, input, SPAN("{}"));
    if (text.n && a->pool.rc == OK)
        set_input(a, block, buf_span(&text));
}

/* ---- deltas of blocks */

static void append_member(struct assemble *a, struct block *block, struct span name,
                          struct span raw)
{
    if (json_type(raw) != JSON_STRING)
        return;
    assemble_note_output(a, raw.n - 2);
    value_append(&a->pool, value_member(&a->pool, block->value, name), json_inside(raw));
}

static void append_input(struct assemble *a, struct block *block, struct span raw)
{
    if (json_type(raw) != JSON_STRING)
        return;
    assemble_note_output(a, raw.n - 2);
    if (!block->input)
        block->input = value_new(&a->pool);
    value_append(&a->pool, block->input, json_inside(raw));
}

static void replace_members(struct assemble *a, struct value *object, struct span raw)
{
    struct json json;
    struct span name;
    json_init(&json, raw, JSON_LENIENT);
    if (!json_enter(&json, JSON_OBJECT))
        return;
    while (a->pool.rc == OK && json_member(&json, &name)) {
        struct span value = json_value(&json);
        if (!SAYS(name, "type"))
            value_set(&a->pool, value_member(&a->pool, object, name), value);
    }
}

/* The block a delta is for.  Text and thinking need no start: what it would say is known. */
static struct block *block_of_delta(struct assemble *a, uint64_t index, struct span type)
{
    struct block *block = find_block(a->own, index);
    if (block)
        return block;
    if (SAYS(type, "\"text_delta\""))
        set_block(a, index, SPAN("{\"type\":\"text\",\"text\":\"\"}"));
    else if (SAYS(type, "\"thinking_delta\""))
        set_block(a, index, SPAN("{\"type\":\"thinking\",\"thinking\":\"\"}"));
    else
        assemble_fail(a, ASSEMBLE_MALFORMED);
    return find_block(a->own, index);
}

static void block_delta(struct assemble *a, uint64_t index, struct span delta)
{
    struct span type = json_get(delta, "type");
    struct block *block = block_of_delta(a, index, type);
    if (!block)
        return;
    if (SAYS(type, "\"text_delta\""))
        append_member(a, block, SPAN("text"), json_get(delta, "text"));
    else if (SAYS(type, "\"thinking_delta\""))
        append_member(a, block, SPAN("thinking"), json_get(delta, "thinking"));
    else if (SAYS(type, "\"input_json_delta\""))
        append_input(a, block, json_get(delta, "partial_json"));
    else if (SAYS(type, "\"citations_delta\""))
        value_push(&a->pool, value_member(&a->pool, block->value, SPAN("citations")),
                   json_get(delta, "citation"));
    else
        replace_members(a, block->value, delta);
}

/* ---- the message */

static void set_content(struct assemble *a, struct span raw)
{
    struct json json;
    json_init(&json, raw, JSON_LENIENT);
    if (!json_enter(&json, JSON_ARRAY))
        return;
    for (uint64_t index = 0; a->pool.rc == OK && json_element(&json); index++)
        set_block(a, index, json_value(&json));
}

static void merge_usage(struct assemble *a, struct span raw)
{
    struct messages *messages = a->own;
    struct json json;
    struct span name;
    if (!messages->usage)
        messages->usage = value_member(&a->pool, messages->base, SPAN("usage"));
    json_init(&json, raw, JSON_LENIENT);
    if (!json_enter(&json, JSON_OBJECT))
        return;
    assemble_note_usage(a, raw);
    while (a->pool.rc == OK && json_member(&json, &name)) {
        struct span value = json_value(&json);
        struct value *member = value_member(&a->pool, messages->usage, name);
        if (json_type(value) != JSON_NULL || !value_is_set(member))
            value_set(&a->pool, member, value);
    }
}

static void read_start(struct assemble *a, struct span message)
{
    struct messages *messages = a->own;
    struct json json;
    struct span name;
    if (messages->started)
        *messages = (struct messages){0};
    messages->started = true;
    messages->base = value_new(&a->pool);
    messages->usage = NULL;
    json_init(&json, message, JSON_LENIENT);
    if (!json_enter(&json, JSON_OBJECT)) {
        assemble_fail(a, ASSEMBLE_MALFORMED);
        return;
    }
    while (a->pool.rc == OK && json_member(&json, &name)) {
        struct span value = json_value(&json);
        struct value *member = value_member(&a->pool, messages->base, name);
        if (SAYS(name, "content"))
            set_content(a, value);
        else if (SAYS(name, "usage"))
            merge_usage(a, value);
        else
            value_set(&a->pool, member, value);
    }
    (void)value_member(&a->pool, messages->base, SPAN("content"));
}

static void merge_message_delta(struct assemble *a, struct span delta)
{
    struct json json;
    struct span name;
    json_init(&json, delta, JSON_LENIENT);
    if (!json_enter(&json, JSON_OBJECT))
        return;
    while (a->pool.rc == OK && json_member(&json, &name)) {
        struct span value = json_value(&json);
        if (!SAYS(name, "container") || json_type(value) != JSON_NULL)
            set_base(a, name, value);
    }
}

static void read_delta(struct assemble *a, struct span event)
{
    struct json json;
    struct span name;
    json_init(&json, event, JSON_LENIENT);
    (void)json_enter(&json, JSON_OBJECT);
    while (a->pool.rc == OK && json_member(&json, &name)) {
        struct span value = json_value(&json);
        if (SAYS(name, "delta"))
            merge_message_delta(a, value);
        else if (SAYS(name, "usage"))
            merge_usage(a, value);
        else if (!SAYS(name, "type") && json_type(value) != JSON_NULL)
            set_base(a, name, value);
    }
}

/* ---- events */

/* What of an event is needed to read it. */
struct message_event {
    struct span data, type, delta, block, message, error;
    uint64_t index;
};

static bool scan_event(struct span data, struct message_event *ret)
{
    struct json json;
    struct span name;
    *ret = (struct message_event){.data = data};
    json_init(&json, data, JSON_LENIENT);
    if (!json_enter(&json, JSON_OBJECT))
        return false;
    while (json_member(&json, &name)) {
        struct span value = json_value(&json);
        if (SAYS(name, "type"))
            ret->type = json_inside(value);
        else if (SAYS(name, "delta"))
            ret->delta = value;
        else if (SAYS(name, "index"))
            (void)json_to_u64(value, &ret->index);
        else if (SAYS(name, "content_block"))
            ret->block = value;
        else if (SAYS(name, "message"))
            ret->message = value;
        else if (SAYS(name, "error"))
            ret->error = value;
    }
    return json_end(&json);
}

static bool messages_could_end(const struct assemble *a)
{
    const struct messages *messages = a->own;
    return value_is_set(value_find(messages->base, "stop_reason"));
}

static void end_block(struct assemble *a, uint64_t index)
{
    struct block *block = find_block(a->own, index);
    if (block)
        end_input(a, block);
}

static void messages_event(struct assemble *a, struct span data)
{
    struct messages *messages = a->own;
    struct message_event event;
    if (!scan_event(data, &event))
        assemble_fail(a, ASSEMBLE_MALFORMED);
    else if (SAYS(event.type, "content_block_delta"))
        block_delta(a, event.index, event.delta);
    else if (SAYS(event.type, "content_block_start"))
        set_block(a, event.index, event.block);
    else if (SAYS(event.type, "content_block_stop"))
        end_block(a, event.index);
    else if (SAYS(event.type, "message_start"))
        read_start(a, event.message);
    else if (SAYS(event.type, "message_delta"))
        read_delta(a, data);
    else if (SAYS(event.type, "error") || (!event.type.p && event.error.p))
        assemble_fail_upstream(a, data);
    else if (SAYS(event.type, "ping"))
        a->progress.events--;
    else if (SAYS(event.type, "message_stop") && (messages->started || messages->blocks))
        assemble_complete(a);
    else if (SAYS(event.type, "message_stop"))
        assemble_fail(a, ASSEMBLE_TRUNCATED);
}

static void messages_done(struct assemble *a)
{
    if (messages_could_end(a))
        assemble_complete(a);
}

/* ---- the body */

static void write_blocks(struct assemble *a, struct buf *out)
{
    struct messages *messages = a->own;
    buf_add_byte(out, '[');
    for (struct block *block = messages->blocks; block; block = block->next) {
        end_input(a, block);
        if (block != messages->blocks)
            buf_add_byte(out, ',');
        value_write(block->value, out);
    }
    buf_add_byte(out, ']');
}

static void messages_write(struct assemble *a, struct buf *out)
{
    struct messages *messages = a->own;
    buf_add_byte(out, '{');
    for (struct value *member = messages->base->items; member; member = member->next) {
        value_write_name(member->name, out);
        if (SAYS(member->name, "content"))
            write_blocks(a, out);
        else
            value_write(member, out);
    }
    buf_add_byte(out, '}');
}

static bool messages_is_answer(const struct assemble *a, struct span body)
{
    (void)a;
    return span_is(json_get(body, "type"), "\"message\"") &&
           json_type(json_get(body, "content")) == JSON_ARRAY;
}

const struct assemble_api assemble_messages = {
    .own_bytes = sizeof(struct messages),
    .start = messages_start,
    .event = messages_event,
    .done = messages_done,
    .could_end = messages_could_end,
    .write = messages_write,
    .is_answer = messages_is_answer,
};
