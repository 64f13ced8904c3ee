#include "app/ops_keys.h"

#include "core/config_table.h"
#include "core/idem_key.h"
#include "core/json.h"
#include "core/scope.h"

#include <stdlib.h>
#include <string.h>

static const char no_key[] = "name a key with \"key\" or \"digest\"";
static const char no_condition[] =
    "say which keys with \"client\", \"key\", \"digest\" or \"older_than_s\"";

/* What a request says, still as JSON; absent: nothing. */
struct wish {
    struct span client, key, digest, older_than_s, after;
};

static struct span *member_of(struct wish *wish, struct span name)
{
    if (json_string_is(name, "client"))
        return &wish->client;
    if (json_string_is(name, "key"))
        return &wish->key;
    if (json_string_is(name, "digest"))
        return &wish->digest;
    if (json_string_is(name, "older_than_s"))
        return &wish->older_than_s;
    return json_string_is(name, "after") ? &wish->after : NULL;
}

/* NULL: fine; else what to send instead. */
static const char *read_wish(struct span body, struct wish *ret)
{
    struct json json;
    struct span name;
    if (body.n > OPS_KEYS_REQUEST_BYTES_MAX)
        return "a request has at most 65536 bytes";
    json_init(&json, body, JSON_STRICT);
    if (!json_enter(&json, JSON_OBJECT))
        return "send a JSON object";
    while (json_member(&json, &name)) {
        struct span *member = member_of(ret, name);
        if (!member)
            return "known members are client, key, digest, older_than_s and after";
        *member = json_value(&json);
    }
    return json_end(&json) ? NULL : "the body is not valid JSON";
}

/* ---- which keys */

struct parser {
    const struct ops_keys *keys;
    struct wish wish;
    struct store_task task;
    const char *problem;
};

static enum rc refuse(struct parser *parser, const char *problem)
{
    parser->problem = problem;
    return E_INVALID;
}

static enum rc read_digest(struct parser *parser, struct span value, struct digest *ret)
{
    struct span hex = json_inside(value);
    if (!hex.p || !digest_from_hex(hex, ret))
        return refuse(parser, "\"digest\" and \"after\" are 64 hexadecimal digits");
    return OK;
}

static enum rc read_age(struct parser *parser)
{
    uint64_t seconds;
    if (!json_to_u64(parser->wish.older_than_s, &seconds) || seconds > INT64_MAX / 2000)
        return refuse(parser, "\"older_than_s\" is a whole number of seconds");
    parser->task.created_before_ms = parser->task.now_ms - (int64_t)seconds * 1000;
    return OK;
}

/* The scope of the client, or of anonymous callers when none is named. */
static enum rc find_scope(struct parser *parser, struct digest *ret)
{
    const struct config *config = parser->keys->config;
    struct span name = json_inside(parser->wish.client);
    if (!parser->wish.client.p)
        return scope_digest(parser->keys->salt, SCOPE_ANONYMOUS, SPAN(""), ret);
    for (size_t i = 0; name.p && i < config->client_count; i++) {
        struct span client = config->clients[i].name;
        BUF(unescaped, CONFIG_NAME_BYTES_MAX);
        json_unescape(name, &unescaped);
        if (buf_rc(&unescaped) == OK && span_eq(buf_span(&unescaped), client))
            return scope_digest(parser->keys->salt, SCOPE_CLIENT, client, ret);
    }
    return refuse(parser, "\"client\" is the name of no configured client");
}

static enum rc find_key(struct parser *parser, const struct digest *scope)
{
    struct idem_key key = {.n = 0};
    enum idem_key_error error = idem_key_join_member(&key, parser->wish.key);
    if (error != IDEM_KEY_FINE)
        return refuse(parser, idem_key_error_text(error));
    if (!idem_key_span(&key).p)
        return refuse(parser, no_key);
    parser->task.by_key = true;
    return scope_key_digest(scope, idem_key_span(&key), &parser->task.key);
}

static enum rc read_conditions(struct parser *parser)
{
    const struct wish *wish = &parser->wish;
    struct digest scope;
    enum rc rc = OK;
    if (wish->key.p && wish->digest.p)
        return refuse(parser, no_key);
    if (wish->client.p || wish->key.p)
        rc = find_scope(parser, &scope);
    if (rc == OK && wish->client.p) {
        parser->task.by_scope = true;
        parser->task.scope = scope;
    }
    if (rc == OK && wish->key.p)
        rc = find_key(parser, &scope);
    if (rc == OK && wish->digest.p) {
        parser->task.by_key = true;
        rc = read_digest(parser, wish->digest, &parser->task.key);
    }
    if (rc == OK && wish->older_than_s.p)
        rc = read_age(parser);
    if (rc == OK && wish->after.p) {
        parser->task.goes_on = true;
        rc = read_digest(parser, wish->after, &parser->task.after);
    }
    return rc;
}

/* False: there is no such verb. */
static bool find_kind(struct span verb, enum store_task_kind *ret)
{
    for (enum store_task_kind kind = STORE_TASK_LIST; kind <= STORE_TASK_PURGE; kind++)
        if (span_is(verb, store_task_name(kind))) {
            *ret = kind;
            return true;
        }
    *ret = STORE_TASK_LIST;
    return span_is(verb, "show");
}

enum rc ops_keys_parse(const struct ops_keys *keys, struct span verb, struct span body,
                       int64_t now_ms, struct store_task *ret, const char **ret_problem)
{
    struct parser parser = {.keys = keys,
                            .task = {.created_before_ms = INT64_MAX, .now_ms = now_ms}};
    if (!find_kind(verb, &parser.task.kind))
        return E_NOT_FOUND;
    parser.problem = read_wish(body, &parser.wish);
    enum rc rc = parser.problem ? E_INVALID : read_conditions(&parser);
    const struct store_task *task = &parser.task;
    bool any = task->by_key || task->by_scope || parser.wish.older_than_s.p;
    if (rc == OK && span_is(verb, "show") && !task->by_key)
        rc = refuse(&parser, no_key);
    if (rc == OK && task->kind != STORE_TASK_LIST && !any)
        rc = refuse(&parser, no_condition);
    if (rc == OK)
        *ret = parser.task;
    else if (rc == E_INVALID)
        *ret_problem = parser.problem;
    return rc;
}

/* ---- the reply */

/* The scopes that have a name. */
struct scopes {
    struct digest anonymous;
    struct digest *clients; /* as many as are configured; NULL: out of memory */
};

static struct scopes scopes_of(const struct ops_keys *keys)
{
    const struct config *config = keys->config;
    struct scopes scopes = {.clients = calloc(config->client_count + 1, sizeof(struct digest))};
    /* Out of memory: a scope that matches nothing. */
    (void)!scope_digest(keys->salt, SCOPE_ANONYMOUS, SPAN(""), &scopes.anonymous);
    for (size_t i = 0; scopes.clients && i < config->client_count; i++)
        (void)!scope_digest(keys->salt, SCOPE_CLIENT, config->clients[i].name,
                            &scopes.clients[i]);
    return scopes;
}

static void add_scope(const struct ops_keys *keys, const struct scopes *scopes,
                      const struct digest *scope, struct buf *out)
{
    const struct config *config = keys->config;
    if (digest_eq(scope, &scopes->anonymous)) {
        buf_add_text(out, "\"scope\":\"anonymous\"");
        return;
    }
    for (size_t i = 0; scopes->clients && i < config->client_count; i++)
        if (digest_eq(scope, &scopes->clients[i])) {
            buf_add_text(out, "\"scope\":\"client\",\"client\":");
            json_quote(config->clients[i].name, out);
            return;
        }
    buf_add_text(out, "\"scope\":\"credential\"");
}

static void add_hex(const char *name, const void *bytes, size_t n, struct buf *out)
{
    buf_printf(out, "\"%s\":\"", name);
    buf_add_hex(out, bytes, n);
    buf_add_text(out, "\",");
}

static void add_key(const struct ops_keys *keys, const struct scopes *scopes,
                    const struct key_summary *key, struct buf *out)
{
    buf_add_byte(out, '{');
    add_hex("digest", key->key.bytes, sizeof key->key.bytes, out);
    add_hex("flight", key->flight.bytes, sizeof key->flight.bytes, out);
    add_scope(keys, scopes, &key->scope, out);
    buf_printf(out, ",\"state\":\"%s\",\"paid_calls\":%u,\"created_ms\":%lld,",
               key_state_name(key->state), key->paid_calls, (long long)key->created_ms);
    if (key->ended_ms)
        buf_printf(out, "\"ended_ms\":%lld,", (long long)key->ended_ms);
    if (key->status)
        buf_printf(out, "\"status\":%d,", key->status);
    buf_printf(out, "\"answer_bytes\":%llu,\"route\":", (unsigned long long)key->body_bytes);
    json_quote(key->route.p ? key->route : SPAN(""), out);
    buf_add_byte(out, '}');
}

void ops_keys_render(const struct ops_keys *keys, const struct store_task_result *result,
                     struct buf *out)
{
    buf_printf(out, "{\"count\":%zu,", result->count);
    if (result->more)
        add_hex("next", result->next.bytes, sizeof result->next.bytes, out);
    else
        buf_add_text(out, "\"next\":null,");
    buf_add_text(out, "\"keys\":[");
    if (result->keys) {
        struct scopes scopes = scopes_of(keys);
        for (size_t i = 0; i < result->count; i++) {
            buf_add_text(out, i ? "," : "");
            add_key(keys, &scopes, &result->keys[i], out);
        }
        free(scopes.clients);
    }
    buf_add_text(out, "]}\n");
}
