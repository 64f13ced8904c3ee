#include "core/config_loader.h"

#include "core/config_address.h"
#include "core/config_proxy.h"
#include "core/upstream_request.h"

#include <string.h>

#define OPENAI_BASE_URL "https://api.openai.com/v1"
#define ANTHROPIC_BASE_URL "https://api.anthropic.com"

/* ---- header names */

/* Headers that carry who the client is; they follow api_key and nothing else. */
static const char *const client_headers[] = {"authorization", "x-api-key", "api-key", "cookie",
                                             "proxy-authorization"};

static void check_header_name(struct loader *l, const struct where *where, struct span name)
{
    if (!header_name_is_sound(name))
        loader_problem(l, where, "%s is no header name", loader_quote(l, name));
    else if (upstream_request_reserves(name))
        loader_problem(l, where, "%s is a header that only unstream itself may set; remove it",
                       loader_quote(l, name));
}

static void check_headers(struct loader *l, const struct where *where,
                          const struct config_upstream *up)
{
    const struct where *fixed = WHERE(where, SPAN("headers"));
    for (size_t i = 0; i < up->headers.count; i++)
        check_header_name(l, fixed, up->headers.items[i].name);
    const struct where *passed = WHERE(where, SPAN("pass_headers"));
    for (size_t i = 0; i < up->pass_headers.count; i++) {
        struct span name = up->pass_headers.items[i];
        if (!span_is_any_nocase(name, client_headers, COUNT_OF(client_headers)))
            check_header_name(l, WHERE_ITEM(passed, (int)i), name);
        else
            loader_problem(l, WHERE_ITEM(passed, (int)i),
                           "a credential is passed on only where api_key is not set, and then "
                           "by itself; remove it");
    }
}

/* ---- base URL, provider, credential */

static bool has(struct span text, const char *part)
{
    return text.n && memmem(text.p, text.n, part, strlen(part));
}

static enum provider guess_provider(struct span name, struct span base_url)
{
    if (has(name, "openai"))
        return PROVIDER_OPENAI;
    bool anthropic = has(name, "anthropic") || has(name, "claude") ||
                     has(base_url, "anthropic") || has(base_url, "claude");
    return anthropic ? PROVIDER_ANTHROPIC : PROVIDER_OPENAI;
}

/* "/v1", "/v1beta/openai": a segment that begins with v and a digit. */
static bool has_version(struct span path)
{
    for (size_t i = 0; i + 2 < path.n; i++)
        if (path.p[i] == '/' && path.p[i + 1] == 'v' && path.p[i + 2] >= '0' &&
            path.p[i + 2] <= '9')
            return true;
    return false;
}

static bool is_own_port(const struct loader *l, const struct url *url)
{
    for (size_t i = 0; i < l->config->listen.count; i++) {
        struct address address;
        if (!address_parse(l->config->listen.items[i], &address) && !address.is_unix &&
            address.port == url->port && host_is_loopback(url->host))
            return true;
    }
    return false;
}

static void warn_about_slips(struct loader *l, const struct where *where,
                             enum provider provider, const struct url *url)
{
    static const char *const ends[] = {"/chat/completions", "/responses", "/messages"};
    for (size_t i = 0; i < COUNT_OF(ends); i++)
        if (span_ends(url->path, ends[i]))
            loader_warning(l, where, "ends in %s, which is added to it; leave that out",
                           ends[i]);
    if (provider == PROVIDER_OPENAI && !has_version(url->path))
        loader_warning(l, where, "has no /v1; the base URL of an OpenAI SDK ends in /v1");
    if (provider == PROVIDER_ANTHROPIC && span_ends(url->path, "/v1"))
        loader_warning(l, where,
                       "ends in /v1; Anthropic's SDK and unstream add /v1 themselves");
    if (is_own_port(l, url))
        loader_warning(l, where,
                       "is an address unstream itself listens on; requests would go "
                       "round in circles");
}

/* Cuts final slashes. */
static void complete_base_url(struct loader *l, const struct where *where,
                              struct config_upstream *up)
{
    struct url url;
    const char *wrong = base_url_parse(up->base_url, &url);
    if (wrong) {
        loader_problem(l, where, "%s", wrong);
        return;
    }
    up->base_url.n = (size_t)(url.path.p + url.path.n - up->base_url.p);
    warn_about_slips(l, where, up->provider, &url);
}

static void check_api_key(struct loader *l, const struct where *where, struct span api_key)
{
    if (!span_is_visible(api_key))
        loader_problem(l, where, "must be printable ASCII without blanks");
}

/* ---- the way */

static void complete_proxy(struct loader *l, const struct where *where,
                           struct config_upstream *up)
{
    struct config_effective proxy = config_proxy_of(up, l->source);
    if (proxy.value.n && !config_proxy_is_fine(proxy.value)) {
        const struct where *said_by = up->proxy.p ? WHERE(where, SPAN("proxy"))
                                                  : WHERE(&l->environment, span_of(proxy.from));
        loader_problem(l, said_by,
                       "must be the URL of a proxy for %.*s, such as http://127.0.0.1:3128, or "
                       "empty",
                       SPAN_ARG(up->name));
    }
    up->effective_proxy = proxy;
    if (!up->proxy.p)
        up->effective_proxy.value = loader_copy(l, proxy.value);
}

static void complete_ca_file(struct loader *l, struct config_upstream *up)
{
    struct span variable = loader_getenv(l, "SSL_CERT_FILE");
    if (up->ca_file.p)
        up->effective_ca_file = (struct config_effective){up->ca_file, "the key \"ca_file\""};
    else if (variable.p && config_text_is_clean(variable))
        up->effective_ca_file =
            (struct config_effective){loader_copy(l, variable), "SSL_CERT_FILE"};
    else if (variable.p)
        loader_problem(l, WHERE(&l->environment, SPAN("SSL_CERT_FILE")),
                       "must be the path of a PEM bundle for %.*s, without control characters",
                       SPAN_ARG(up->name));
    else
        up->effective_ca_file = (struct config_effective){SPAN(""), "nothing names one"};
}

/* What the environment decides, once the base URL is known. */
static void complete_way(struct loader *l, const struct where *where,
                         struct config_upstream *up)
{
    struct url url;
    if (up->proxy.p || base_url_parse(up->base_url, &url) == NULL) /* else it was told */
        complete_proxy(l, where, up);
    complete_ca_file(l, up);
}

/* ---- an upstream of the file */

static bool is_name(struct span name)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(c >= '0' && c <= '9') && c != '.' && c != '_' && c != '-')
            return false;
    }
    return name.n > 0 && name.n <= CONFIG_NAME_BYTES_MAX;
}

static struct span own_base_url(enum provider provider)
{
    return provider == PROVIDER_ANTHROPIC ? SPAN(ANTHROPIC_BASE_URL) : SPAN(OPENAI_BASE_URL);
}

static void complete_provider(struct loader *l, const struct where *where,
                              struct said said_keys, struct config_upstream *up)
{
    if (!said(said_keys, "provider")) {
        up->provider = guess_provider(up->name, up->base_url);
        up->provider_guessed = true;
        loader_warning(l, WHERE(where, SPAN("provider")),
                       "taken to be \"%s\", from the name and the URL; set it to be sure",
                       provider_name(up->provider));
    }
    if (!said(said_keys, "auth"))
        up->auth = up->provider == PROVIDER_ANTHROPIC ? AUTH_X_API_KEY : AUTH_BEARER;
}

static void complete_backoff(struct loader *l, const struct where *where, struct said said_keys,
                             struct config_upstream *up)
{
    bool base_said = said(said_keys, "backoff_base_s"),
         max_said = said(said_keys, "backoff_max_s");
    if (up->backoff_base_ms <= up->backoff_max_ms)
        return;
    if (base_said && max_said)
        loader_problem(l, WHERE(where, SPAN("backoff_base_s")), "is over backoff_max_s");
    else if (base_said)
        up->backoff_max_ms = up->backoff_base_ms;
    else
        up->backoff_base_ms = up->backoff_max_ms;
}

/* A provider's own URL, where it is certain who that is. */
static void default_base_url(struct loader *l, const struct where *where, const cJSON *item,
                             struct config_upstream *up)
{
    const cJSON *refused = cJSON_GetObjectItemCaseSensitive(item, "base_url");
    if (refused && !cJSON_IsNull(refused))
        return;
    if (up->provider_guessed && !span_is(up->name, provider_name(up->provider)))
        loader_problem(l, where, "needs \"base_url\", such as \"%s\"",
                       own_base_url(up->provider).p);
    else
        up->base_url = own_base_url(up->provider);
}

static void read_upstream(struct loader *l, const struct where *where, const cJSON *item,
                          struct config_upstream *up)
{
    up->name = loader_copy(l, span_of(item->string));
    if (!is_name(up->name))
        loader_problem(l, where, "a name has 1 to %d letters, digits and . _ -",
                       CONFIG_NAME_BYTES_MAX);
    if (!cJSON_IsObject(item)) {
        loader_problem(l, where, "must be an object such as {\"base_url\": \"%s\"}",
                       OPENAI_BASE_URL);
        return;
    }
    config_value_defaults(l, SECTION_UPSTREAM, up);
    struct said read = config_section_read(l, where, SECTION_UPSTREAM, item, up);
    complete_provider(l, where, read, up);
    complete_backoff(l, where, read, up);
    check_api_key(l, WHERE(where, SPAN("api_key")), up->api_key);
    check_headers(l, where, up);
    if (up->base_url.p)
        complete_base_url(l, WHERE(where, SPAN("base_url")), up);
    else
        default_base_url(l, where, item, up);
    complete_way(l, where, up);
}

void config_upstreams_read(struct loader *l, const struct where *where, const cJSON *object)
{
    if (!cJSON_IsObject(object)) {
        loader_problem(l, where, "must be an object of upstreams by name");
        return;
    }
    int count = cJSON_GetArraySize(object);
    if (count < 1 || count > CONFIG_UPSTREAMS_MAX) {
        loader_problem(l, where,
                       "must have 1 to %d entries, not %d; left out, openai and "
                       "anthropic come from the environment",
                       CONFIG_UPSTREAMS_MAX, count);
        return;
    }
    struct config_upstream *upstreams = loader_alloc(l, (size_t)count * sizeof *upstreams);
    if (!upstreams)
        return;
    size_t i = 0;
    for (const cJSON *item = object->child; item; item = item->next, i++)
        read_upstream(l, WHERE(where, span_of(item->string)), item, &upstreams[i]);
    l->config->upstreams = upstreams;
    l->config->upstream_count = i;
}

/* ---- the two of the environment */

static const struct {
    enum provider provider;
    enum auth auth;
    const char *name, *key_variable, *url_variables[2];
} known[] = {
    {PROVIDER_OPENAI,
     AUTH_BEARER,
     "openai",
     "OPENAI_API_KEY",
     {"UNSTREAM_OPENAI_BASE_URL", "OPENAI_BASE_URL"}},
    {PROVIDER_ANTHROPIC,
     AUTH_X_API_KEY,
     "anthropic",
     "ANTHROPIC_API_KEY",
     {"UNSTREAM_ANTHROPIC_BASE_URL", "ANTHROPIC_BASE_URL"}},
};

static void base_url_from_environment(struct loader *l, const char *const *variables,
                                      struct config_upstream *up)
{
    up->base_url = own_base_url(up->provider);
    for (size_t i = 0; i < COUNT_OF(known[0].url_variables); i++) {
        struct span url = loader_getenv(l, variables[i]);
        if (!url.p)
            continue;
        up->base_url = loader_copy(l, url);
        if (up->base_url.p)
            complete_base_url(l, WHERE(&l->environment, span_of(variables[i])), up);
        return;
    }
}

void config_upstreams_from_environment(struct loader *l)
{
    struct config_upstream *upstreams = loader_alloc(l, COUNT_OF(known) * sizeof *upstreams);
    if (!upstreams)
        return;
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        struct config_upstream *up = &upstreams[i];
        config_value_defaults(l, SECTION_UPSTREAM, up);
        up->name = span_of(known[i].name);
        up->provider = known[i].provider;
        up->auth = known[i].auth;
        base_url_from_environment(l, known[i].url_variables, up);
        struct span key = loader_getenv(l, known[i].key_variable);
        if (key.p)
            up->api_key = loader_copy(l, key);
        check_api_key(l, WHERE(&l->environment, span_of(known[i].key_variable)), up->api_key);
        complete_way(l, &l->environment, up);
    }
    l->config->upstreams = upstreams;
    l->config->upstream_count = COUNT_OF(known);
    l->upstreams_from_environment = true;
}
