/* OpenAI Chat Completions: from `chat.completion.chunk` events to a `chat.completion`.
 *
 * Source: https://platform.openai.com/docs/api-reference/chat/streaming; [+] marks what other
 * providers and gateways send and OpenAI's own clients lose or refuse.  null never replaces a
 * value anywhere.
 *
 * | chunk member              | becomes                                                     |
 * |---------------------------|-------------------------------------------------------------|
 * | object                    | "chat.completion"                                           |
 * | obfuscation, [+] p        | nothing: padding against traffic analysis                   |
 * | usage                     | the last one, wherever it came; [+] else x_groq.usage,      |
 * |                           | which leaves x_groq                                         |
 * | error                     | a failure, at any time, whatever stands beside it           |
 * | id, model, any other      | the last one; [+] "" and 0 (Azure's first chunk) do not     |
 * |                           | replace; [+] objects are joined member by member            |
 * | choices[]                 | by `index`, ascending, in whatever order they came          |
 * |   finish_reason           | the last one; more may follow it                            |
 * |   logprobs                | [+] every array in it is concatenated                       |
 * |   message, text           | nothing: some send what `delta` says again                  |
 * |   any other               | the last one; [+] objects joined                            |
 * | delta.role                | the last one, [+] else "assistant"                          |
 * | delta.content             | appended; null if there never was a string; [+] "" beside a |
 * |                           | refusal is null; [+] typed parts are joined (value.h)       |
 * | delta.refusal             | appended; "" is null; always there                          |
 * | delta.tool_calls[]        | by `index`, which is removed; id, type, name the last that  |
 * |                           | is not empty; arguments and input appended                  |
 * |   [+] a new id            | at an index that has another one: a new call                |
 * |   [+] no index            | an id begins a new call, without one it is the last call    |
 * |   [+] arguments           | null is nothing; an object is written as a string           |
 * |   [+] no type             | "custom" if there is a `custom`, else "function"            |
 * | delta.function_call       | name the last, arguments appended                           |
 * | delta.audio               | data and transcript appended, the rest replaced             |
 * | [+] delta, any other      | strings appended, arrays concatenated, objects joined,      |
 * |                           | `reasoning_details` by index and type; labels replaced      |
 * | message.annotations       | [+] [] when there are none, if the caller asks for it       |
 *
 * Complete: [DONE] after at least one choice ([+] a missing finish_reason is then "tool_calls"
 * or "stop"), or the end of the stream when `choices` choices have a finish_reason.  [DONE]
 * alone, or the end without either: truncated. */
#include "core/assemble_calls.h"

/* The API allows n <= 128. */
enum { CHOICES_MAX = 1024, HEAD_BYTES_MAX = 1024 };

struct choice {
    struct choice *next;
    uint64_t index;
    struct value *members; /* all but the message */
    struct value *message; /* its members, without tool_calls */
    struct value *content; /* in message */
    struct assemble_calls calls;
};

/* Most chunks begin alike: {"id":...,"model":...,"choices":  Reading such a head again would
 * change nothing as long as nothing at the top has changed since, so it is skipped. */
struct head {
    size_t n; /* 0: none */
    char bytes[HEAD_BYTES_MAX];
};

struct chat {
    struct head head;
    struct value *members; /* of the completion, without object, choices and usage */
    struct value *usage;
    struct value *groq_usage; /* x_groq.usage, which is not in Groq's complete answers */
    struct choice *choices, *choice_found;
    size_t choice_count;
    size_t finished_count;
};

static void chat_start(struct assemble *a)
{
    struct chat *chat = a->own;
    chat->members = value_new(&a->pool);
    chat->usage = value_new(&a->pool);
    chat->groq_usage = value_new(&a->pool);
}

/* ---- content: a string, or typed parts */

/* A string among typed parts is a text part. */
static void merge_text_part(struct assemble *a, struct value *content, struct span escaped)
{
    struct buf part;
    if (escaped.n == 0)
        return;
    buf_init(&part, escaped.n + 64);
    buf_add_text(&part, "[{\"type\":\"text\",\"text\":\"");
    buf_add(&part, escaped);
    buf_add_text(&part, "\"}]");
    if (buf_rc(&part) != OK)
        a->pool.rc = buf_rc(&part);
    value_merge(&a->pool, content, buf_span(&part), VALUE_TYPED);
    buf_done(&part);
}

/* Typed parts after a string: the string becomes the first part. */
static void open_parts(struct assemble *a, struct value *content)
{
    struct buf text = content->text;
    bool was_string = content->kind == VALUE_STRING;
    if (!was_string)
        return;
    buf_init(&content->text, a->params.answer_bytes_max);
    a->pool.bytes -= text.n;
    content->kind = VALUE_ABSENT;
    merge_text_part(a, content, buf_span(&text));
    buf_done(&text);
}

static void merge_content(struct assemble *a, struct choice *choice, struct span raw)
{
    struct value *content = choice->content;
    enum json_type type = json_type(raw);
    if (!content || type == JSON_NULL || type == JSON_NONE)
        return;
    if (type == JSON_STRING && content->kind != VALUE_PARTS) {
        value_append(&a->pool, content, json_inside(raw));
    } else if (type == JSON_STRING) {
        merge_text_part(a, content, json_inside(raw));
    } else {
        open_parts(a, content);
        value_merge(&a->pool, content, raw, VALUE_TYPED);
    }
    if (raw.n > 2)
        assemble_note_output(a, raw.n - 2);
}

/* ---- deltas and choices */

static void merge_delta_member(struct assemble *a, struct choice *choice, struct span name,
                               struct span raw)
{
    if (SAYS(name, "function_call") || SAYS(name, "audio")) {
        if (json_type(raw) == JSON_OBJECT)
            assemble_calls_merge_function(a, value_member(&a->pool, choice->message, name),
                                          raw);
        return;
    }
    bool is_role = SAYS(name, "role");
    if (is_role && assemble_is_empty(raw))
        return;
    enum json_type type = json_type(raw);
    if (raw.n > 2 && !is_role && (type == JSON_STRING || type == JSON_ARRAY))
        assemble_note_output(a, raw.n - 2);
    value_merge(&a->pool, value_member(&a->pool, choice->message, name), raw,
                SAYS(name, "reasoning_details") ? VALUE_TYPED : VALUE_DELTA);
}

static void merge_delta(struct assemble *a, struct choice *choice, struct json *json)
{
    struct span name;
    if (!json_enter(json, JSON_OBJECT)) {
        json_skip(json);
        return;
    }
    while (a->pool.rc == OK && json_member(json, &name)) {
        if (SAYS(name, "content"))
            merge_content(a, choice, json_value(json));
        else if (SAYS(name, "tool_calls"))
            assemble_calls_merge(a, &choice->calls, json);
        else
            merge_delta_member(a, choice, name, json_value(json));
    }
}

static void note_finish(struct assemble *a, struct choice *choice, struct span raw)
{
    struct chat *chat = a->own;
    struct value *reason = value_member(&a->pool, choice->members, SPAN("finish_reason"));
    if (assemble_is_empty(raw) || !reason)
        return;
    if (!value_is_set(reason))
        chat->finished_count++;
    value_merge(&a->pool, reason, raw, VALUE_REPLACE);
}

static struct choice *add_choice(struct assemble *a, uint64_t index)
{
    struct chat *chat = a->own;
    struct value_pool *pool = &a->pool;
    if (chat->choice_count == CHOICES_MAX && pool->rc == OK)
        pool->rc = E_LIMIT;
    struct choice *choice = value_pool_alloc(pool, sizeof *choice), **at = &chat->choices;
    if (!choice)
        return NULL;
    while (*at && (*at)->index < index)
        at = &(*at)->next;
    *choice = (struct choice){.next = *at, .index = index};
    *at = choice;
    chat->choice_count++;
    choice->members = value_new(pool);
    choice->message = value_new(pool);
    (void)value_member(pool, choice->members, SPAN("finish_reason"));
    (void)value_member(pool, choice->members, SPAN("logprobs"));
    (void)value_member(pool, choice->message, SPAN("role"));
    choice->content = value_member(pool, choice->message, SPAN("content"));
    (void)value_member(pool, choice->message, SPAN("refusal"));
    return choice;
}

/* The choice that the object which comes next belongs to.  `json` is a copy, to look ahead. */
static struct choice *find_choice(struct assemble *a, struct json json)
{
    struct chat *chat = a->own;
    struct span name;
    uint64_t index = 0;
    (void)json_enter(&json, JSON_OBJECT);
    while (json_member(&json, &name)) {
        if (SAYS(name, "index")) {
            (void)json_to_u64(json_value(&json), &index);
            break;
        }
        json_skip(&json);
    }
    if (!chat->choice_found || chat->choice_found->index != index) {
        struct choice *choice = chat->choices;
        while (choice && choice->index != index)
            choice = choice->next;
        chat->choice_found = choice ? choice : add_choice(a, index);
    }
    return chat->choice_found;
}

static void merge_choice(struct assemble *a, struct json *json)
{
    struct span name;
    struct choice *choice = json_peek(json) == JSON_OBJECT ? find_choice(a, *json) : NULL;
    if (!choice || !json_enter(json, JSON_OBJECT)) {
        json_skip(json);
        return;
    }
    while (a->pool.rc == OK && json_member(json, &name)) {
        if (SAYS(name, "delta")) {
            merge_delta(a, choice, json);
            continue;
        }
        struct span raw = json_value(json);
        if (SAYS(name, "finish_reason"))
            note_finish(a, choice, raw);
        else if (!SAYS(name, "index") && !SAYS(name, "message") && !SAYS(name, "text"))
            value_merge(&a->pool, value_member(&a->pool, choice->members, name), raw,
                        SAYS(name, "logprobs") ? VALUE_EXTEND : VALUE_REPLACE);
    }
}

/* ---- chunks */

/* Something at the top changes. */
static void set_top(struct assemble *a, struct value *member, struct span raw)
{
    struct chat *chat = a->own;
    if (span_eq(value_raw(member), raw))
        return;
    chat->head.n = 0;
    value_merge(&a->pool, member, raw, VALUE_REPLACE);
}

static void merge_usage(struct assemble *a, struct value *usage, struct span raw)
{
    if (json_type(raw) != JSON_OBJECT || span_eq(value_raw(usage), raw))
        return;
    struct chat *chat = a->own;
    chat->head.n = 0;
    value_set(&a->pool, usage, raw);
    assemble_note_usage(a, raw);
}

static void merge_groq(struct assemble *a, struct value *x_groq, struct span raw)
{
    struct chat *chat = a->own;
    struct json json;
    struct span name;
    json_init(&json, raw, JSON_LENIENT);
    if (!json_enter(&json, JSON_OBJECT))
        return;
    while (a->pool.rc == OK && json_member(&json, &name)) {
        struct span value = json_value(&json);
        if (SAYS(name, "usage"))
            merge_usage(a, chat->groq_usage, value);
        else
            set_top(a, value_member(&a->pool, x_groq, name), value);
    }
}

static void merge_top(struct assemble *a, struct span name, struct span raw)
{
    struct chat *chat = a->own;
    if (SAYS(name, "object") || SAYS(name, "obfuscation") || SAYS(name, "p"))
        return;
    if (SAYS(name, "usage")) {
        merge_usage(a, chat->usage, raw);
        return;
    }
    struct value *member = value_member(&a->pool, chat->members, name);
    if (SAYS(name, "x_groq"))
        merge_groq(a, member, raw);
    else if (!value_is_set(member) || !(assemble_is_empty(raw) || SAYS(raw, "0")))
        set_top(a, member, raw);
}

static bool starts_with_head(const struct chat *chat, struct span data)
{
    return chat->head.n && data.n > chat->head.n &&
           memcmp(data.p, chat->head.bytes, chat->head.n) == 0;
}

static void keep_head(struct chat *chat, struct span head)
{
    chat->head.n = head.n <= HEAD_BYTES_MAX ? head.n : 0;
    memcpy(chat->head.bytes, head.p, chat->head.n);
}

static void merge_choices(struct assemble *a, struct json *json)
{
    if (!json_enter(json, JSON_ARRAY)) {
        json_skip(json);
        return;
    }
    while (a->pool.rc == OK && json_element(json))
        merge_choice(a, json);
}

static void chat_event(struct assemble *a, struct span data)
{
    struct chat *chat = a->own;
    struct json json;
    struct span name;
    bool in_head = !starts_with_head(chat, data);
    if (in_head) {
        json_init(&json, data, JSON_LENIENT);
        if (!json_enter(&json, JSON_OBJECT)) {
            assemble_fail(a, ASSEMBLE_MALFORMED);
            return;
        }
    } else {
        json_resume(&json, data, chat->head.n, JSON_LENIENT);
        merge_choices(a, &json);
    }
    while (a->pool.rc == OK && json_member(&json, &name)) {
        if (SAYS(name, "choices")) {
            if (in_head)
                keep_head(chat, (struct span){data.p, json_offset(&json)});
            in_head = false;
            merge_choices(a, &json);
            continue;
        }
        struct span raw = json_value(&json);
        if (SAYS(name, "error") && json.error == JSON_FINE && !assemble_is_empty(raw)) {
            assemble_fail_upstream(a, data);
            return;
        }
        merge_top(a, name, raw);
    }
    if (a->pool.rc == OK && !json_end(&json))
        assemble_fail(a, ASSEMBLE_MALFORMED);
}

static bool chat_could_end(const struct assemble *a)
{
    const struct chat *chat = a->own;
    return chat->finished_count >= a->params.choices;
}

static void chat_done(struct assemble *a)
{
    const struct chat *chat = a->own;
    if (chat->choice_count > 0)
        assemble_complete(a);
    else
        assemble_fail(a, ASSEMBLE_TRUNCATED);
}

/* ---- the completion */

/* What OpenAI's own answer always has and a stream may leave out. */
static void fill_in(struct assemble *a, struct choice *choice)
{
    struct value_pool *pool = &a->pool;
    struct value *role = value_find(choice->message, "role");
    struct value *refusal = value_find(choice->message, "refusal");
    struct value *finish = value_find(choice->members, "finish_reason");
    bool refused = value_is_set(refusal) && refusal->text.n > 0;
    if (!value_is_set(role))
        value_set(pool, role, SPAN("\"assistant\""));
    if (!refused)
        value_set(pool, refusal, SPAN("null"));
    if (refused && choice->content->kind == VALUE_STRING && choice->content->text.n == 0)
        value_set(pool, choice->content, SPAN("null"));
    if (!value_is_set(finish))
        value_set(pool, finish,
                  choice->calls.first ? SPAN("\"tool_calls\"") : SPAN("\"stop\""));
    if (a->params.add_annotations && !value_find(choice->message, "annotations"))
        value_set(pool, value_member(pool, choice->message, SPAN("annotations")), SPAN("[]"));
}

static void write_choice(struct assemble *a, struct choice *choice, struct buf *out)
{
    fill_in(a, choice);
    buf_printf(out, "{\"index\":%llu,\"message\":{", (unsigned long long)choice->index);
    value_write_members(choice->message, out);
    assemble_calls_write(a, &choice->calls, out);
    buf_add_byte(out, '}');
    value_write_members(choice->members, out);
    buf_add_byte(out, '}');
}

static void chat_write(struct assemble *a, struct buf *out)
{
    struct chat *chat = a->own;
    struct value *usage = value_is_set(chat->usage) ? chat->usage : chat->groq_usage;
    buf_add_byte(out, '{');
    value_write_members(chat->members, out);
    value_write_name(SPAN("object"), out);
    buf_add_text(out, "\"chat.completion\"");
    value_write_name(SPAN("choices"), out);
    buf_add_byte(out, '[');
    for (struct choice *choice = chat->choices; choice; choice = choice->next) {
        if (choice != chat->choices)
            buf_add_byte(out, ',');
        write_choice(a, choice, out);
    }
    buf_add_byte(out, ']');
    if (value_is_set(usage))
        value_write_member(usage, SPAN("usage"), out);
    buf_add_byte(out, '}');
}

static bool chat_is_answer(const struct assemble *a, struct span body)
{
    (void)a;
    struct span error = json_get(body, "error");
    struct span choices = json_get(body, "choices");
    return (!error.p || assemble_is_empty(error)) && json_type(choices) == JSON_ARRAY &&
           !SAYS(choices, "[]");
}

const struct assemble_api assemble_chat = {
    .own_bytes = sizeof(struct chat),
    .start = chat_start,
    .event = chat_event,
    .done = chat_done,
    .could_end = chat_could_end,
    .write = chat_write,
    .is_answer = chat_is_answer,
};
