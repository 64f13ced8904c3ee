#include "core/upstream_request.h"

#include "core/credential.h"

#include <string.h>

/* Passed on from every client. */
static const char *const passed[] = {"anthropic-version",   "anthropic-beta", "openai-beta",
                                     "openai-organization", "openai-project", "traceparent",
                                     "tracestate"};

/* Written here, of one connection, of framing, or meant for this service alone: neither passed
 * on nor fixed. */
static const char *const reserved[] = {"via",
                                       "content-type",
                                       "accept",
                                       "accept-encoding",
                                       "content-encoding",
                                       "content-length",
                                       "transfer-encoding",
                                       "te",
                                       "trailer",
                                       "connection",
                                       "keep-alive",
                                       "proxy-connection",
                                       "proxy-authenticate",
                                       "proxy-authorization",
                                       "upgrade",
                                       "expect",
                                       "host",
                                       "cookie",
                                       "prefer",
                                       "idempotency-key",
                                       "x-idempotency-key"};

static const char *const result_texts[] = {
#define X(name, text) [name] = text,
    UPSTREAM_REQUEST_RESULT_TABLE(X)
#undef X
};

const char *upstream_request_result_text(enum upstream_request_result result)
{
    return result_texts[result];
}

/* What is being built: the first failure sticks. */
struct head {
    const struct upstream_request_params *params;
    struct arena *arena;
    struct header *items;
    size_t count;
    enum upstream_request_result result;
};

static void fail(struct head *head, enum upstream_request_result result)
{
    if (head->result == UPSTREAM_REQUEST_FINE)
        head->result = result;
}

/* ---- names */

bool upstream_request_reserves(struct span name)
{
    struct span start = {name.p, name.n < 12 ? name.n : 12};
    return span_is_any_nocase(name, reserved, COUNT_OF(reserved)) ||
           span_is_nocase(start, "x-stainless-");
}

static bool is_fixed(const struct head *head, struct span name)
{
    const struct headers *fixed = &head->params->upstream->headers;
    for (size_t i = 0; i < fixed->count; i++)
        if (span_eq_nocase(fixed->items[i].name, name))
            return true;
    return false;
}

static bool is_in_pass_headers(const struct head *head, struct span name)
{
    const struct span_list *names = &head->params->upstream->pass_headers;
    for (size_t i = 0; i < names->count; i++)
        if (span_eq_nocase(names->items[i], name))
            return true;
    return false;
}

/* Whether the client declared this header one of its connection. */
static bool is_named_by_connection(const struct head *head, struct span name)
{
    const struct headers *client = head->params->client;
    for (size_t i = 0; i < client->count; i++) {
        if (!span_is_nocase(client->items[i].name, "connection"))
            continue;
        struct span rest = client->items[i].value;
        while (rest.p)
            if (span_eq_nocase(span_trim(span_cut(&rest, ',')), name))
                return true;
    }
    return false;
}

/* The upstream has a credential of its own, which replaces the client's. */
static bool has_credential(const struct config_upstream *upstream)
{
    if (upstream->api_key.p)
        return true;
    for (size_t i = 0; i < upstream->headers.count; i++)
        if (credential_is_header(upstream->headers.items[i].name))
            return true;
    return false;
}

static bool is_passed(const struct head *head, struct span name)
{
    if (span_is_nocase(name, "via"))
        return true;
    if (upstream_request_reserves(name) || is_fixed(head, name) ||
        span_is_nocase(name, "user-agent") || is_named_by_connection(head, name))
        return false;
    if (credential_is_header(name))
        return !has_credential(head->params->upstream);
    return span_is_any_nocase(name, passed, COUNT_OF(passed)) || is_in_pass_headers(head, name);
}

/* ---- lines */

static void add(struct head *head, struct span name, struct span value)
{
    if (!header_value_is_sound(value))
        fail(head, UPSTREAM_REQUEST_BAD_VALUE);
    head->items[head->count++] = (struct header){name, value};
}

/* `first` and `second` as one text. */
static struct span join(struct head *head, struct span first, struct span second)
{
    char *joined = arena_alloc(head->arena, first.n + second.n);
    if (!joined) {
        fail(head, UPSTREAM_REQUEST_NO_MEMORY);
        return SPAN("");
    }
    memcpy(joined, first.p, first.n);
    memcpy(joined + first.n, second.p, second.n);
    return (struct span){joined, first.n + second.n};
}

static void add_client_headers(struct head *head)
{
    const struct headers *client = head->params->client;
    for (size_t i = 0; i < client->count; i++)
        if (is_passed(head, client->items[i].name))
            add(head, client->items[i].name, client->items[i].value);
}

static void add_fixed_headers(struct head *head)
{
    const struct headers *fixed = &head->params->upstream->headers;
    for (size_t i = 0; i < fixed->count; i++)
        if (!upstream_request_reserves(fixed->items[i].name))
            add(head, fixed->items[i].name, fixed->items[i].value);
}

static void add_api_key(struct head *head)
{
    const struct config_upstream *upstream = head->params->upstream;
    bool bearer = upstream->auth == AUTH_BEARER;
    struct span name = bearer ? SPAN("Authorization") : SPAN("x-api-key");
    if (!upstream->api_key.p || is_fixed(head, name))
        return;
    add(head, name,
        bearer ? join(head, SPAN("Bearer "), upstream->api_key) : upstream->api_key);
}

static void add_user_agent(struct head *head)
{
    struct span name = SPAN("User-Agent"), ours = SPAN(" unstream/" UNSTREAM_VERSION);
    struct span client = header_get(head->params->client, "user-agent");
    if (!is_fixed(head, name))
        add(head, name, client.n ? join(head, client, ours) : span_from(ours, 1));
}

static void add_anthropic_version(struct head *head)
{
    struct span name = SPAN("anthropic-version");
    if (head->params->route == API_SIMPLE && head->params->api == API_MESSAGES &&
        !header_get(head->params->client, "anthropic-version").p && !is_fixed(head, name))
        add(head, name, SPAN(UPSTREAM_REQUEST_ANTHROPIC_VERSION));
}

static void add_accept(struct head *head)
{
    struct span client = header_get(head->params->client, "accept");
    struct span relayed = client.n ? client : SPAN("*/*");
    add(head, SPAN("Accept"), head->params->relay ? relayed : SPAN("text/event-stream"));
}

/* ---- Via */

/* Before the boot id. */
static const char our_name[] = "unstream-";

/* The received-by of one element of Via: "1.1 name (comment)". */
static struct span received_by(struct span element)
{
    struct span rest = span_trim(element);
    (void)span_cut(&rest, ' ');
    rest = span_trim(rest);
    return rest.p ? span_cut(&rest, ' ') : SPAN_ABSENT;
}

static bool is_ours(struct span name, struct span boot_id)
{
    size_t n = strlen(our_name);
    return name.n >= n && span_is_nocase((struct span){name.p, n}, our_name) &&
           span_eq_nocase(span_from(name, n), boot_id);
}

bool upstream_request_is_loop(const struct headers *client, struct span boot_id)
{
    bool found = false;
    for (size_t i = 0; i < client->count; i++) {
        struct span rest = client->items[i].value;
        while (span_is_nocase(client->items[i].name, "via") && rest.p)
            found |= is_ours(received_by(span_cut(&rest, ',')), boot_id);
    }
    return found;
}

/* Behind the client's own, which tells of a loop over several services too. */
static void add_via(struct head *head)
{
    struct span name = join(head, span_of(our_name), head->params->boot_id);
    add(head, SPAN("Via"), join(head, SPAN("1.1 "), name));
}

/* ---- */

enum upstream_request_result
upstream_request_headers(const struct upstream_request_params *params, struct arena *arena,
                         struct headers *ret)
{
    enum { OURS = 7 }; /* the lines that are neither the client's nor fixed */
    size_t lines_max = params->client->count + params->upstream->headers.count + OURS;
    struct head head = {.params = params,
                        .arena = arena,
                        .items = arena_alloc(arena, lines_max * sizeof(struct header))};
    ASSERT(params->api != API_SIMPLE);
    if (!head.items)
        return UPSTREAM_REQUEST_NO_MEMORY;
    add_client_headers(&head);
    add_fixed_headers(&head);
    add_api_key(&head);
    add_user_agent(&head);
    add_anthropic_version(&head);
    add_via(&head);
    if (!params->no_body)
        add(&head, SPAN("Content-Type"), SPAN("application/json"));
    add_accept(&head);
    add(&head, SPAN("Accept-Encoding"), SPAN("identity"));
    ASSERT(head.count <= lines_max);
    if (head.result == UPSTREAM_REQUEST_FINE)
        *ret = (struct headers){head.items, head.count};
    return head.result;
}

enum rc upstream_request_keep(const struct upstream_request_params *params, struct arena *arena,
                              struct headers *ret)
{
    const struct headers *client = params->client;
    struct header *items = arena_alloc(arena, (client->count + 1) * sizeof *items);
    const struct head head = {.params = params, .arena = arena};
    size_t count = 0;
    if (!items)
        return E_NOMEM;
    for (size_t i = 0; i < client->count; i++) {
        struct span name = client->items[i].name;
        bool needed = is_passed(&head, name) || span_is_nocase(name, "user-agent");
        if (needed && !credential_is_header(name))
            items[count++] = client->items[i];
    }
    *ret = (struct headers){items, count};
    return OK;
}

void upstream_request_url(const struct config_upstream *upstream, enum api api,
                          struct span query, struct buf *out)
{
    ASSERT(api != API_SIMPLE);
    upstream_request_url_below(upstream, span_of(api_path(api)), query, out);
}

void upstream_request_url_below(const struct config_upstream *upstream, struct span path,
                                struct span query, struct buf *out)
{
    struct span base = upstream->base_url;
    while (span_ends(base, "/"))
        base.n--;
    buf_add(out, base);
    if (upstream->provider == PROVIDER_ANTHROPIC && !span_ends(base, "/v1"))
        buf_add_text(out, "/v1");
    buf_add(out, path);
    if (query.p) {
        buf_add_byte(out, '?');
        buf_add(out, query);
    }
}
