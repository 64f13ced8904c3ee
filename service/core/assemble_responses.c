/* OpenAI Responses: the terminal event holds the whole response.
 *
 * Source: https://platform.openai.com/docs/api-reference/responses-streaming; [+] marks what
 * other servers send.  The type of an event is its `type` member; the SSE name only says
 * "error".
 *
 * | event                      | becomes                                                    |
 * |----------------------------|------------------------------------------------------------|
 * | response.completed         | its `response` as it is written is the body                |
 * | response.incomplete        | the same                                                   |
 * | response.failed            | a failure with the `error` in its `response`; a body like  |
 * |                            | the others if the caller asks for it (failed_is_body)      |
 * | response.output_item.done  | [+] kept by `output_index`, for a terminal response whose  |
 * |                            | `output` is missing or empty; else never looked at         |
 * | error                      | a failure, flat or with an `error` member, also when a     |
 * |                            | response.failed would follow                               |
 * | any other, also malformed  | nothing                                                    |
 *
 * No response.created, index or sequence number is needed.  The end of the stream before a
 * terminal event is truncated, with or without [DONE]. */
#include "core/assemble_api.h"

/* Items are the steps of one answer; beyond this it is an attack. */
enum { OUTPUT_ITEMS_MAX = 1024 };

struct output_item {
    struct output_item *next;
    uint64_t index;
    struct value *value;
};

struct responses {
    struct output_item *items, *items_last;
    size_t item_count;
    struct value *terminal; /* the response of the terminal event */
};

static void responses_start(struct assemble *a)
{
    struct responses *responses = a->own;
    responses->terminal = value_new(&a->pool);
}

/* ---- items */

/* Where the item with this index is, or is to be inserted. */
static struct output_item **find_place(struct responses *responses, uint64_t index)
{
    struct output_item **at = &responses->items;
    if (responses->items_last && responses->items_last->index < index)
        return &responses->items_last->next;
    while (*at && (*at)->index < index)
        at = &(*at)->next;
    return at;
}

static struct output_item *item_at(struct assemble *a, uint64_t index)
{
    struct responses *responses = a->own;
    struct output_item **at = find_place(responses, index), *next = *at;
    if (next && next->index == index)
        return next;
    if (responses->item_count == OUTPUT_ITEMS_MAX && a->pool.rc == OK)
        a->pool.rc = E_LIMIT;
    struct output_item *item = value_pool_alloc(&a->pool, sizeof *item);
    if (!item)
        return NULL;
    *item = (struct output_item){next, index, value_new(&a->pool)};
    *at = item;
    if (!next)
        responses->items_last = item;
    responses->item_count++;
    return item;
}

/* Without an index an item comes behind all others. */
static void keep_item(struct assemble *a, struct span index_raw, struct span raw)
{
    const struct responses *responses = a->own;
    uint64_t index = responses->items_last ? responses->items_last->index + 1 : 0;
    (void)json_to_u64(index_raw, &index);
    struct output_item *item = raw.p ? item_at(a, index) : NULL;
    if (item)
        value_set(&a->pool, item->value, raw);
}

/* ---- events */

struct response_event {
    struct span type, response, item, delta, error, output_index;
};

/* False: no JSON object.  What was read before the mistake is there nevertheless. */
static bool scan_event(struct span data, struct response_event *ret)
{
    struct json json;
    struct span name;
    *ret = (struct response_event){0};
    json_init(&json, data, JSON_LENIENT);
    if (!json_enter(&json, JSON_OBJECT))
        return false;
    while (json_member(&json, &name)) {
        struct span value = json_value(&json);
        if (SAYS(name, "type"))
            ret->type = json_inside(value);
        else if (SAYS(name, "response"))
            ret->response = value;
        else if (SAYS(name, "item"))
            ret->item = value;
        else if (SAYS(name, "delta"))
            ret->delta = json_inside(value);
        else if (SAYS(name, "output_index"))
            ret->output_index = value;
        else if (SAYS(name, "error"))
            ret->error = value;
    }
    return json_end(&json);
}

static bool is_terminal(struct span type)
{
    return SAYS(type, "response.completed") || SAYS(type, "response.incomplete") ||
           SAYS(type, "response.failed");
}

static void read_terminal(struct assemble *a, const struct response_event *event)
{
    struct responses *responses = a->own;
    if (json_type(event->response) != JSON_OBJECT) {
        assemble_fail(a, ASSEMBLE_MALFORMED);
        return;
    }
    assemble_note_usage(a, json_get(event->response, "usage"));
    if (SAYS(event->type, "response.failed") && !a->params.failed_is_body) {
        assemble_fail_upstream(a, event->response);
        return;
    }
    value_set(&a->pool, responses->terminal, event->response);
    assemble_complete(a);
}

static void responses_event(struct assemble *a, struct span data)
{
    struct response_event event;
    bool is_whole = scan_event(data, &event);
    if (is_terminal(event.type) && is_whole)
        read_terminal(a, &event);
    else if (is_terminal(event.type))
        assemble_fail(a, ASSEMBLE_MALFORMED);
    else if (!is_whole)
        return;
    else if (SAYS(event.type, "error") || (!event.type.p && event.error.p))
        assemble_fail_upstream(a, data);
    else if (event.delta.p && span_ends(event.type, ".delta"))
        assemble_note_output(a, event.delta.n);
    else if (SAYS(event.type, "response.output_item.added"))
        assemble_note_output(a, 0);
    else if (SAYS(event.type, "response.output_item.done"))
        keep_item(a, event.output_index, event.item);
    else if (SAYS(event.type, "ping") || SAYS(event.type, "keepalive"))
        a->progress.events--;
}

static void responses_done(struct assemble *a)
{
    (void)a;
}

static bool responses_could_end(const struct assemble *a)
{
    (void)a;
    return false;
}

/* ---- the body */

static void write_items(const struct responses *responses, struct buf *out)
{
    buf_add_byte(out, '[');
    for (const struct output_item *item = responses->items; item; item = item->next) {
        if (item != responses->items)
            buf_add_byte(out, ',');
        value_write(item->value, out);
    }
    buf_add_byte(out, ']');
}

static bool has_output(struct span response)
{
    struct json json;
    json_init(&json, json_get(response, "output"), JSON_LENIENT);
    return json_enter(&json, JSON_ARRAY) && json_element(&json);
}

static void responses_write(struct assemble *a, struct buf *out)
{
    const struct responses *responses = a->own;
    struct span response = value_raw(responses->terminal), name;
    struct json json;
    if (!responses->items || has_output(response)) {
        buf_add(out, response);
        return;
    }
    json_init(&json, response, JSON_LENIENT);
    (void)json_enter(&json, JSON_OBJECT);
    buf_add_byte(out, '{');
    while (json_member(&json, &name)) {
        struct span value = json_value(&json);
        if (SAYS(name, "output"))
            continue;
        value_write_name(name, out);
        buf_add(out, value);
    }
    value_write_name(SPAN("output"), out);
    write_items(responses, out);
    buf_add_byte(out, '}');
}

static bool responses_is_answer(const struct assemble *a, struct span body)
{
    struct span status = json_get(body, "status");
    return json_type(json_get(body, "output")) == JSON_ARRAY &&
           (SAYS(status, "\"completed\"") || SAYS(status, "\"incomplete\"") ||
            (SAYS(status, "\"failed\"") && a->params.failed_is_body));
}

const struct assemble_api assemble_responses = {
    .own_bytes = sizeof(struct responses),
    .start = responses_start,
    .event = responses_event,
    .done = responses_done,
    .could_end = responses_could_end,
    .write = responses_write,
    .is_answer = responses_is_answer,
};
