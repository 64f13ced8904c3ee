#include "core/splice.h"

#include "core/json.h"

static const struct {
    enum http_error error;
    const char *text;
} refusals[] = {
#define X(name, error, text) [name] = {error, text},
    SPLICE_REFUSAL_TABLE(X)
#undef X
};

const char *splice_refusal_text(enum splice_refusal refusal)
{
    return refusals[refusal].text;
}

enum http_error splice_refusal_error(enum splice_refusal refusal)
{
    ASSERT(refusal != SPLICE_FINE);
    return refusals[refusal].error;
}

/* The top-level members that matter here, raw; X(name). */
#define MEMBER_TABLE(X)                                                                        \
    X(stream)                                                                                  \
    X(stream_options)                                                                          \
    X(background)                                                                              \
    X(model)                                                                                   \
    X(n)                                                                                       \
    X(max_tokens)                                                                              \
    X(max_completion_tokens)                                                                   \
    X(max_output_tokens)                                                                       \
    X(logprobs)                                                                                \
    X(top_logprobs)                                                                            \
    X(include)

struct members {
#define X(name) struct span name;
    MEMBER_TABLE(X)
#undef X
    size_t inside; /* behind the opening bracket */
    bool none;     /* the object is empty */
};

/* Where the value of this member goes, or NULL. */
static struct span *slot_of(struct members *members, struct span name)
{
#define X(member)                                                                              \
    if (json_string_is(name, #member))                                                         \
        return &members->member;
    MEMBER_TABLE(X)
#undef X
    return NULL;
}

static enum splice_refusal read_members(struct span body, struct members *ret)
{
    struct json json;
    struct span name;
    bool twice = false;
    *ret = (struct members){.none = true};
    json_init(&json, body, JSON_STRICT);
    if (!json_enter(&json, JSON_OBJECT))
        return SPLICE_NOT_JSON;
    ret->inside = json_offset(&json);
    while (json_member(&json, &name)) {
        struct span *slot = slot_of(ret, name);
        struct span value = json_value(&json);
        ret->none = false;
        if (slot) {
            twice |= slot->p != NULL;
            *slot = value;
        }
    }
    if (!json_end(&json))
        return SPLICE_NOT_JSON;
    return twice ? SPLICE_TWICE : SPLICE_FINE;
}

/* ---- edits */

static void add_edit(struct splice *splice, size_t at, size_t removed, const char *text)
{
    ASSERT(splice->edit_count < SPLICE_EDITS_MAX);
    splice->edits[splice->edit_count++] = (struct splice_edit){at, removed, text};
}

static void replace(struct splice *splice, struct span value, const char *text)
{
    add_edit(splice, (size_t)(value.p - splice->body.p), value.n, text);
}

static enum splice_refusal plan_stream(struct splice *splice, const struct members *members,
                                       bool last)
{
    switch (json_type(members->stream)) {
    case JSON_NONE:
        add_edit(splice, members->inside, 0, last ? "\"stream\":true" : "\"stream\":true,");
        return SPLICE_FINE;
    case JSON_FALSE:
    case JSON_NULL:
        replace(splice, members->stream, "true");
        return SPLICE_FINE;
    case JSON_TRUE:
        return SPLICE_STREAM_TRUE;
    case JSON_OBJECT:
    case JSON_ARRAY:
    case JSON_STRING:
    case JSON_NUMBER:
        break;
    }
    return SPLICE_STREAM_TYPE;
}

/* Inside a stream_options object. */
static enum splice_refusal plan_usage(struct splice *splice, struct span options)
{
    struct json json;
    struct span name, usage = SPAN_ABSENT;
    bool none = true;
    json_init(&json, options, JSON_STRICT);
    (void)json_enter(&json, JSON_OBJECT);
    size_t inside = (size_t)(options.p - splice->body.p) + json_offset(&json);
    while (json_member(&json, &name)) {
        struct span value = json_value(&json);
        none = false;
        if (!json_string_is(name, "include_usage"))
            continue;
        if (usage.p)
            return SPLICE_TWICE;
        usage = value;
    }
    if (!usage.p)
        add_edit(splice, inside, 0,
                 none ? "\"include_usage\":true" : "\"include_usage\":true,");
    else if (json_type(usage) != JSON_TRUE)
        replace(splice, usage, "true");
    return SPLICE_FINE;
}

static enum splice_refusal plan_options(struct splice *splice, const struct members *members)
{
    switch (json_type(members->stream_options)) {
    case JSON_NONE:
        add_edit(splice, members->inside, 0,
                 members->none ? "\"stream_options\":{\"include_usage\":true}"
                               : "\"stream_options\":{\"include_usage\":true},");
        return SPLICE_FINE;
    case JSON_NULL:
        replace(splice, members->stream_options, "{\"include_usage\":true}");
        return SPLICE_FINE;
    case JSON_OBJECT:
        return plan_usage(splice, members->stream_options);
    case JSON_ARRAY:
    case JSON_STRING:
    case JSON_NUMBER:
    case JSON_TRUE:
    case JSON_FALSE:
        break;
    }
    return SPLICE_OPTIONS_TYPE;
}

static enum splice_refusal plan_edits(struct splice *splice, const struct members *members,
                                      bool include_usage)
{
    bool options_come_behind = include_usage && !members->stream_options.p;
    enum splice_refusal refusal =
        plan_stream(splice, members, members->none && !options_come_behind);
    if (refusal == SPLICE_FINE && include_usage)
        refusal = plan_options(splice, members);
    struct splice_edit *edits = splice->edits;
    if (splice->edit_count == 2 && edits[1].at < edits[0].at) {
        struct splice_edit first = edits[1];
        edits[1] = edits[0];
        edits[0] = first;
    }
    return refusal;
}

/* ---- what is worth knowing */

static bool includes_logprobs(struct span include)
{
    struct json json;
    bool found = false;
    if (!include.p)
        return false;
    json_init(&json, include, JSON_STRICT);
    if (json_enter(&json, JSON_ARRAY))
        while (json_element(&json)) {
            struct span item = json_inside(json_value(&json));
            found |= item.p && json_string_is(item, "message.output_text.logprobs");
        }
    return found;
}

static enum splice_refusal read_facts(enum api api, const struct members *members,
                                      struct splice *splice)
{
    struct span limit = api == API_RESPONSES ? members->max_output_tokens : members->max_tokens;
    if (api == API_CHAT && json_type(members->max_completion_tokens) == JSON_NUMBER)
        limit = members->max_completion_tokens;
    uint64_t top = 0, n = 1;
    (void)json_to_u64(members->top_logprobs, &top);
    (void)json_to_u64(limit, &splice->max_tokens);
    splice->model = members->model;
    splice->logprobs =
        api != API_MESSAGES && (top > 0 || json_type(members->logprobs) == JSON_TRUE ||
                                includes_logprobs(members->include));
    bool counts = api == API_CHAT && members->n.p && json_type(members->n) != JSON_NULL;
    if (counts && (!json_to_u64(members->n, &n) || n < 1 || n > SPLICE_CHOICES_MAX))
        return SPLICE_CHOICES;
    splice->choices = (unsigned)n;
    return SPLICE_FINE;
}

/* ---- */

enum splice_refusal splice_plan(enum api api, bool include_usage, struct span body,
                                struct splice *ret)
{
    ASSERT(api != API_SIMPLE);
    struct members members;
    struct splice splice = {.body = body.p ? json_drop_bom(body) : SPAN("")};
    enum splice_refusal refusal = read_members(splice.body, &members);
    if (refusal != SPLICE_FINE)
        return refusal;
    refusal = plan_edits(&splice, &members, include_usage && api == API_CHAT);
    if (refusal != SPLICE_FINE)
        return refusal;
    if (api == API_RESPONSES && json_type(members.background) == JSON_TRUE)
        return SPLICE_BACKGROUND;
    refusal = read_facts(api, &members, &splice);
    if (refusal == SPLICE_FINE)
        *ret = splice;
    return refusal;
}

size_t splice_bytes(const struct splice *splice)
{
    size_t n = splice->body.n;
    for (size_t i = 0; i < splice->edit_count; i++)
        n += span_of(splice->edits[i].text).n - splice->edits[i].removed;
    return n;
}

void splice_write(const struct splice *splice, struct buf *out)
{
    size_t at = 0;
    (void)buf_reserve(out, splice_bytes(splice));
    for (size_t i = 0; i < splice->edit_count; i++) {
        const struct splice_edit *edit = &splice->edits[i];
        buf_add(out, (struct span){splice->body.p + at, edit->at - at});
        buf_add_text(out, edit->text);
        at = edit->at + edit->removed;
    }
    buf_add(out, span_from(splice->body, at));
}
