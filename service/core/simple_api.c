#include "core/simple_api.h"

#include "core/json.h"

#include <inttypes.h>

static const struct {
    enum http_error error;
    const char *text;
} refusals[] = {
#define X(name, error, text) [name] = {error, text},
    SIMPLE_API_REFUSAL_TABLE(X)
#undef X
};

/* Longer names are not repeated to who sent them. */
enum { NAME_BYTES_MAX = 64 };

enum http_error simple_api_refusal_error(enum simple_api_refusal refusal)
{
    ASSERT(refusal != SIMPLE_API_FINE);
    return refusals[refusal].error;
}

void simple_api_explain(enum simple_api_refusal refusal, struct span refused, struct buf *out)
{
    if (refused.p && refused.n <= NAME_BYTES_MAX) {
        json_unescape(refused, out);
        buf_add_byte(out, ' ');
    } else if (refused.p) {
        buf_add_text(out, "a member with a long name ");
    }
    buf_add_text(out, refusals[refusal].text);
}

/* ---- the request */

/* X(member, refusal of a wrong type, type) */
#define MEMBER_TABLE(X)                                                                        \
    X(prompt, SIMPLE_API_NOT_STRING, JSON_STRING)                                              \
    X(system, SIMPLE_API_NOT_STRING, JSON_STRING)                                              \
    X(model, SIMPLE_API_NOT_STRING, JSON_STRING)                                               \
    X(max_tokens, SIMPLE_API_NOT_COUNT, JSON_NUMBER)                                           \
    X(idempotency_key, SIMPLE_API_NOT_STRING, JSON_STRING)                                     \
    X(options, SIMPLE_API_NOT_OBJECT, JSON_OBJECT)

/* Raw values, absent when left out or null. */
struct members {
#define X(name, refusal, type) struct span name;
    MEMBER_TABLE(X)
#undef X
};

/* What is being mapped. */
struct mapping {
    const struct config_route *route;
    const struct config_upstream *upstream;
    struct members members;
    struct buf *out;
    bool any; /* a member was written */
};

static enum simple_api_refusal take_value(struct span *slot, struct span value,
                                          enum json_type wanted,
                                          enum simple_api_refusal wrong_type)
{
    enum json_type type = json_type(value);
    if (slot->p)
        return SIMPLE_API_TWICE;
    if (type != JSON_NULL && type != wanted)
        return wrong_type;
    *slot = value;
    return SIMPLE_API_FINE;
}

static enum simple_api_refusal take_member(struct members *members, struct span name,
                                           struct span value)
{
#define X(member, refusal, type)                                                               \
    if (json_string_is(name, #member))                                                         \
        return take_value(&members->member, value, type, refusal);
    MEMBER_TABLE(X)
#undef X
    bool streams = json_string_is(name, "stream") && json_type(value) == JSON_TRUE;
    return streams ? SIMPLE_API_STREAM : SIMPLE_API_UNKNOWN;
}

/* *ret_name: the member that a refusal is about. */
static enum simple_api_refusal read_members(struct span body, struct members *ret,
                                            struct span *ret_name)
{
    struct json json;
    struct span name;
    enum simple_api_refusal refusal = SIMPLE_API_FINE;
    json_init(&json, body, JSON_STRICT);
    if (!json_enter(&json, JSON_OBJECT))
        return SIMPLE_API_NOT_JSON;
    while (json_member(&json, &name)) {
        struct span value = json_value(&json);
        if (refusal != SIMPLE_API_FINE || !value.p)
            continue;
        refusal = take_member(ret, name, value);
        if (refusal != SIMPLE_API_FINE)
            *ret_name = name;
    }
    if (!json_end(&json)) {
        *ret_name = SPAN_ABSENT;
        return SIMPLE_API_NOT_JSON;
    }
#define X(member, refusal, type)                                                               \
    if (json_type(ret->member) == JSON_NULL)                                                   \
        ret->member = SPAN_ABSENT;
    MEMBER_TABLE(X)
#undef X
    return refusal;
}

static bool has_option(const struct mapping *mapping, const char *name)
{
    return json_get(mapping->members.options, name).p != NULL;
}

/* ---- writing; a member that is in options comes from there */

static void write_name(struct mapping *mapping, struct span name)
{
    buf_add_text(mapping->out, mapping->any ? "," : "");
    json_quote(name, mapping->out);
    buf_add_byte(mapping->out, ':');
    mapping->any = true;
}

/* False: it is in options, nothing is written. */
static bool begin_member(struct mapping *mapping, const char *name)
{
    if (has_option(mapping, name))
        return false;
    write_name(mapping, span_of(name));
    return true;
}

static void add_member(struct mapping *mapping, const char *name, struct span value)
{
    if (value.p && begin_member(mapping, name))
        buf_add(mapping->out, value);
}

static void add_message(const char *before, struct span content, struct buf *out)
{
    buf_add_text(out, before);
    buf_add(out, content);
    buf_add_byte(out, '}');
}

/* `system`: absent where it has a member of its own. */
static void add_messages(struct mapping *mapping, struct span system)
{
    struct buf *out = mapping->out;
    if (!begin_member(mapping, "messages"))
        return;
    buf_add_byte(out, '[');
    if (system.p) {
        add_message("{\"role\":\"system\",\"content\":", system, out);
        buf_add_byte(out, ',');
    }
    add_message("{\"role\":\"user\",\"content\":", mapping->members.prompt, out);
    buf_add_byte(out, ']');
}

static void add_prompt(struct mapping *mapping)
{
    const struct members *members = &mapping->members;
    switch (mapping->route->api) {
    case API_CHAT:
        add_messages(mapping, members->system);
        return;
    case API_MESSAGES:
        add_member(mapping, "system", members->system);
        add_messages(mapping, SPAN_ABSENT);
        return;
    case API_RESPONSES:
        add_member(mapping, "instructions", members->system);
        add_member(mapping, "input", members->prompt);
        return;
    case API_SIMPLE:
    case API_COUNT:
        break;
    }
}

static struct span token_limit_name(const struct mapping *mapping)
{
    switch (mapping->route->api) {
    case API_CHAT:
        return mapping->upstream->max_tokens_field;
    case API_RESPONSES:
        return SPAN("max_output_tokens");
    case API_MESSAGES:
    case API_SIMPLE:
    case API_COUNT:
        break;
    }
    return SPAN("max_tokens");
}

/* Under whichever name: a provider refuses two limits beside each other. */
static bool options_limit_tokens(const struct mapping *mapping)
{
    struct json json;
    struct span name;
    bool found = false;
    if (!mapping->members.options.p)
        return false;
    json_init(&json, mapping->members.options, JSON_STRICT);
    (void)json_enter(&json, JSON_OBJECT);
    while (json_member(&json, &name)) {
        json_skip(&json);
        found |= span_eq(name, token_limit_name(mapping)) ||
                 json_string_is(name, "max_tokens") ||
                 json_string_is(name, "max_output_tokens") ||
                 json_string_is(name, "max_completion_tokens");
    }
    return found;
}

static void add_token_limit(struct mapping *mapping)
{
    struct span asked = mapping->members.max_tokens;
    if (options_limit_tokens(mapping) || (!asked.p && !mapping->route->max_tokens))
        return;
    write_name(mapping, token_limit_name(mapping));
    if (asked.p)
        buf_add(mapping->out, asked);
    else
        buf_printf(mapping->out, "%" PRIu64, mapping->route->max_tokens);
}

static void add_model(struct mapping *mapping)
{
    if (!begin_member(mapping, "model"))
        return;
    if (mapping->members.model.p)
        buf_add(mapping->out, mapping->members.model);
    else
        json_quote(mapping->route->model, mapping->out);
}

/* The options' members as they are. */
static void add_options(struct mapping *mapping)
{
    struct span options = mapping->members.options;
    struct json json;
    struct span name;
    if (!options.p)
        return;
    json_init(&json, options, JSON_STRICT);
    (void)json_enter(&json, JSON_OBJECT);
    if (!json_member(&json, &name))
        return;
    buf_add_text(mapping->out, mapping->any ? "," : "");
    buf_add(mapping->out, (struct span){options.p + 1, options.n - 2});
}

/* ---- what only makes sense of the whole */

static enum simple_api_refusal check(const struct mapping *mapping, struct span *ret_name)
{
    const struct members *members = &mapping->members;
    uint64_t count = 1;
    *ret_name = SPAN("prompt");
    if (!members->prompt.p)
        return SIMPLE_API_MISSING;
    *ret_name = SPAN("model");
    if (!members->model.p && !mapping->route->model.p && !has_option(mapping, "model"))
        return SIMPLE_API_MISSING;
    *ret_name = SPAN("max_tokens");
    if (members->max_tokens.p && (!json_to_u64(members->max_tokens, &count) || count == 0))
        return SIMPLE_API_NOT_COUNT;
    if (mapping->route->api == API_MESSAGES && !members->max_tokens.p &&
        !mapping->route->max_tokens && !options_limit_tokens(mapping))
        return SIMPLE_API_MISSING;
    *ret_name = SPAN("options.n");
    struct span choices = json_get(members->options, "n");
    if (mapping->route->api == API_CHAT && choices.p && json_type(choices) != JSON_NULL &&
        (!json_to_u64(choices, &count) || count != 1))
        return SIMPLE_API_CHOICES;
    *ret_name = SPAN_ABSENT;
    return SIMPLE_API_FINE;
}

enum simple_api_refusal simple_api_request(const struct config_route *route,
                                           const struct config_upstream *upstream,
                                           struct span body, struct buf *out,
                                           struct simple_api_request *ret_request)
{
    struct mapping mapping = {.route = route, .upstream = upstream, .out = out};
    struct members *members = &mapping.members;
    ASSERT(route->api != API_SIMPLE);
    *ret_request = (struct simple_api_request){SPAN_ABSENT, SPAN_ABSENT};
    enum simple_api_refusal refusal =
        read_members(body.p ? json_drop_bom(body) : SPAN(""), members, &ret_request->refused);
    if (refusal == SIMPLE_API_FINE)
        refusal = check(&mapping, &ret_request->refused);
    if (refusal != SIMPLE_API_FINE)
        return refusal;
    ret_request->idempotency_key = members->idempotency_key;
    buf_add_byte(out, '{');
    add_model(&mapping);
    add_prompt(&mapping);
    add_token_limit(&mapping);
    add_options(&mapping);
    buf_add_byte(out, '}');
    return SIMPLE_API_FINE;
}

/* ---- the answer */

static void add_raw(const char *before, struct span value, struct buf *out)
{
    buf_add_text(out, before);
    buf_add(out, value.p ? value : SPAN("null"));
}

/* Joins `member` of all parts of this type, still escaped. */
static void add_parts(struct span parts, const char *type, const char *member, struct buf *out)
{
    struct json json;
    if (json_type(parts) != JSON_ARRAY)
        return;
    json_init(&json, parts, JSON_LENIENT);
    (void)json_enter(&json, JSON_ARRAY);
    while (json_element(&json)) {
        struct span part = json_value(&json);
        struct span its_type = json_inside(json_get(part, "type"));
        struct span text = json_inside(json_get(part, member));
        if (text.p && its_type.p && json_string_is(its_type, type))
            buf_add(out, text);
    }
}

/* The same of all items of a Responses output. */
static void add_output_parts(struct span output, const char *type, const char *member,
                             struct buf *out)
{
    struct json json;
    json_init(&json, output, JSON_LENIENT);
    (void)json_enter(&json, JSON_ARRAY);
    while (json_element(&json))
        add_parts(json_get(json_value(&json), "content"), type, member, out);
}

static struct span first_element(struct span array)
{
    struct json json;
    if (json_type(array) != JSON_ARRAY)
        return SPAN_ABSENT;
    json_init(&json, array, JSON_LENIENT);
    (void)json_enter(&json, JSON_ARRAY);
    return json_element(&json) ? json_value(&json) : SPAN_ABSENT;
}

/* An answer taken apart, per api. */
struct answer {
    struct span content; /* what holds the text; absent: no answer of this api */
    struct span refusal; /* chat's */
    struct span stop_reason, input_tokens, output_tokens;
};

static struct answer read_chat(struct span body)
{
    struct span choice = first_element(json_get(body, "choices"));
    struct span message = json_get(choice, "message");
    struct span content = json_get(message, "content");
    struct span usage = json_get(body, "usage");
    return (struct answer){
        .content = json_type(message) == JSON_OBJECT && !content.p ? SPAN("null") : content,
        .refusal = json_inside(json_get(message, "refusal")),
        .stop_reason = json_get(choice, "finish_reason"),
        .input_tokens = json_get(usage, "prompt_tokens"),
        .output_tokens = json_get(usage, "completion_tokens")};
}

static struct answer read_messages(struct span body)
{
    struct span content = json_get(body, "content");
    struct span usage = json_get(body, "usage");
    return (struct answer){.content = json_type(content) == JSON_ARRAY ? content : SPAN_ABSENT,
                           .stop_reason = json_get(body, "stop_reason"),
                           .input_tokens = json_get(usage, "input_tokens"),
                           .output_tokens = json_get(usage, "output_tokens")};
}

static struct answer read_responses(struct span body)
{
    struct span output = json_get(body, "output");
    struct span usage = json_get(body, "usage");
    struct span reason = json_get(json_get(body, "incomplete_details"), "reason");
    return (struct answer){
        .content = json_type(output) == JSON_ARRAY ? output : SPAN_ABSENT,
        .stop_reason = json_type(reason) == JSON_STRING ? reason : json_get(body, "status"),
        .input_tokens = json_get(usage, "input_tokens"),
        .output_tokens = json_get(usage, "output_tokens")};
}

static struct answer read_answer(enum api api, struct span body)
{
    switch (api) {
    case API_CHAT:
        return read_chat(body);
    case API_MESSAGES:
        return read_messages(body);
    case API_RESPONSES:
        return read_responses(body);
    case API_SIMPLE:
    case API_COUNT:
        break;
    }
    return (struct answer){.content = SPAN_ABSENT};
}

static void add_text(enum api api, const struct answer *answer, struct buf *out)
{
    size_t start = out->n;
    if (api == API_RESPONSES) {
        add_output_parts(answer->content, "output_text", "text", out);
        if (out->n == start)
            add_output_parts(answer->content, "refusal", "refusal", out);
        return;
    }
    if (json_type(answer->content) == JSON_STRING)
        buf_add(out, json_inside(answer->content));
    else
        add_parts(answer->content, "text", "text", out);
    if (out->n == start && answer->refusal.p)
        buf_add(out, answer->refusal);
}

enum rc simple_api_answer(enum api api, struct span body, struct buf *out)
{
    ASSERT(api != API_SIMPLE);
    struct answer answer = read_answer(api, body);
    if (!answer.content.p)
        return E_SYNTAX;
    add_raw("{\"id\":", json_get(body, "id"), out);
    add_raw(",\"model\":", json_get(body, "model"), out);
    buf_add_text(out, ",\"text\":\"");
    add_text(api, &answer, out);
    add_raw("\",\"stop_reason\":", answer.stop_reason, out);
    add_raw(",\"usage\":{\"input_tokens\":", answer.input_tokens, out);
    add_raw(",\"output_tokens\":", answer.output_tokens, out);
    buf_add_text(out, "}}");
    return buf_rc(out);
}
