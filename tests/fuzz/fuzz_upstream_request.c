/* The head of an upstream call: no line breaks, nothing that must stay here, the credential
 * that is configured and no other.
 *
 * Input, a line each: ">name:value" a fixed header, "+name" one of pass_headers, "=key" the
 * api_key, "?query", all others "name:value" of the client. */
#include "core/credential.h"
#include "core/upstream_request.h"
#include "fuzz.h"

enum { LINES_MAX = 32 };

struct call {
    struct header client[LINES_MAX], fixed[LINES_MAX];
    struct span pass[LINES_MAX];
    size_t client_count, fixed_count, pass_count;
    struct span api_key, query;
};

static struct header header_of(struct span line)
{
    struct span name = span_cut(&line, ':');
    return (struct header){name, line.p ? span_trim(line) : SPAN("")};
}

static void add_line(struct call *call, struct span line)
{
    struct span rest = span_from(line, line.n > 0);
    switch (line.n ? line.p[0] : '\0') {
    case '\0':
        return;
    case '>':
        if (call->fixed_count < LINES_MAX)
            call->fixed[call->fixed_count++] = header_of(rest);
        return;
    case '+':
        if (call->pass_count < LINES_MAX)
            call->pass[call->pass_count++] = rest;
        return;
    case '=':
        call->api_key = rest.n ? rest : SPAN_ABSENT;
        return;
    case '?':
        call->query = rest;
        return;
    default:
        if (call->client_count < LINES_MAX)
            call->client[call->client_count++] = header_of(line);
    }
}

static void check_line(const struct header *line)
{
    static const char *const never[] = {
        "idempotency-key", "x-idempotency-key", "cookie", "host", "prefer", "connection", "te",
        "content-length",  "transfer-encoding", "upgrade"};
    for (size_t i = 0; i < COUNT_OF(never); i++)
        ASSERT(!span_is_nocase(line->name, never[i]));
    ASSERT(line->name.n < 12 || strncasecmp(line->name.p, "x-stainless-", 12) != 0);
    for (size_t i = 0; i < line->value.n; i++)
        ASSERT(((unsigned char)line->value.p[i] >= 0x20 || line->value.p[i] == '\t') &&
               line->value.p[i] != 0x7F);
}

/* With one of our own, no credential of the client's goes along. */
static void check_credential(const struct config_upstream *upstream, const struct header *line)
{
    if (!upstream->api_key.p || !credential_is_header(line->name))
        return;
    for (size_t i = 0; i < upstream->headers.count; i++)
        if (span_eq_nocase(upstream->headers.items[i].name, line->name))
            return;
    ASSERT(line->value.n >= upstream->api_key.n);
    ASSERT(span_eq(span_from(line->value, line->value.n - upstream->api_key.n),
                   upstream->api_key));
}

static void check_url(const struct config_upstream *upstream, enum api api, struct span query)
{
    BUF(url, FUZZ_BYTES_MAX);
    upstream_request_url(upstream, api, query, &url);
    ASSERT(buf_rc(&url) == OK && span_starts(buf_span(&url), "https://provider.example/v1/"));
    ASSERT(!query.p || span_eq(span_from(buf_span(&url), url.n - query.n), query));
}

static void check(const struct call *call, const struct config_upstream *upstream, enum api api)
{
    struct headers client = {call->client, call->client_count}, lines = {NULL, 0};
    struct upstream_request_params params = {.upstream = upstream,
                                             .client = &client,
                                             .route = api,
                                             .api = api,
                                             .boot_id = SPAN("b1")};
    struct arena arena;
    arena_init(&arena, FUZZ_BYTES_MAX);
    enum upstream_request_result result = upstream_request_headers(&params, &arena, &lines);
    ASSERT(upstream_request_result_text(result) && result != UPSTREAM_REQUEST_NO_MEMORY);
    ASSERT((result == UPSTREAM_REQUEST_FINE) == (lines.count > 0));
    for (size_t i = 0; i < lines.count; i++) {
        check_line(&lines.items[i]);
        check_credential(upstream, &lines.items[i]);
    }
    ASSERT(!lines.count || (header_count(&lines, "content-type") == 1 &&
                            header_count(&lines, "user-agent") >= 1));
    arena_done(&arena);
    check_url(upstream, api, call->query);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct call call = {0};
    for (struct span rest = fuzz_span(data, size); rest.p;)
        add_line(&call, span_cut(&rest, '\n'));
    struct config_upstream upstream = {.base_url = SPAN("https://provider.example/v1"),
                                       .api_key = call.api_key,
                                       .headers = {call.fixed, call.fixed_count},
                                       .pass_headers = {call.pass, call.pass_count}};
    check(&call, &upstream, API_CHAT);
    upstream.provider = PROVIDER_ANTHROPIC;
    upstream.auth = AUTH_X_API_KEY;
    check(&call, &upstream, API_MESSAGES);
    return 0;
}
