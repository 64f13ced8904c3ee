#include "core/config_loader.h"

#include "core/config_address.h"
#include "core/exposure.h"
#include "core/json.h"

#include <inttypes.h>
#include <string.h>

/* What stands for a secret; config_load takes it like any other text. */
#define MASK "********"

enum { INDENT = 2 };

struct printer {
    struct buf *out;
    int depth;
    bool fresh; /* nothing in the innermost brackets yet */
};

/* ---- values */

void config_quote(struct span text, struct buf *out)
{
    if (!text.p) {
        buf_add_text(out, "null");
        return;
    }
    bool special =
        span_starts(text, "$") || span_starts(text, "@/") || span_starts(text, "@@/");
    buf_add_byte(out, '"');
    if (special)
        buf_add_byte(out, text.p[0]);
    json_escape(text, out);
    buf_add_byte(out, '"');
}

static void print_seconds(int64_t ms, struct buf *out)
{
    buf_printf(out, "%" PRId64, ms / 1000);
    if (ms % 1000 == 0)
        return;
    buf_printf(out, ".%03" PRId64, ms % 1000);
    while (buf_rc(out) == OK && out->p[out->n - 1] == '0')
        out->n--;
}

static void print_count(uint64_t value, const struct config_key *key, struct buf *out)
{
    if (value == 0 && key->standard && strcmp(key->standard, "null") == 0)
        buf_add_text(out, "null");
    else
        buf_printf(out, "%" PRIu64, value);
}

static void print_digest(const struct digest *digest, struct buf *out)
{
    static const struct digest none;
    if (digest_eq(digest, &none)) {
        buf_add_text(out, "null");
        return;
    }
    buf_add_byte(out, '"');
    buf_add_hex(out, digest->bytes, sizeof digest->bytes);
    buf_add_byte(out, '"');
}

static void print_list(const struct span_list *list, struct buf *out)
{
    buf_add_byte(out, '[');
    for (size_t i = 0; i < list->count; i++) {
        if (i)
            buf_add_text(out, ", ");
        config_quote(list->items[i], out);
    }
    buf_add_byte(out, ']');
}

static void print_headers(const struct headers *headers, struct buf *out)
{
    buf_add_byte(out, '{');
    for (size_t i = 0; i < headers->count; i++) {
        const struct header *header = &headers->items[i];
        if (i)
            buf_add_text(out, ", ");
        json_quote(header->name, out);
        buf_add_text(out, ": ");
        config_quote(header_is_credential(header->name) ? SPAN(MASK) : header->value, out);
    }
    buf_add_byte(out, '}');
}

/* Its user and password are a secret. */
static void print_proxy(struct span proxy, struct buf *out)
{
    struct url url;
    if (url_parse(proxy, &url) != NULL || !url.user.p) {
        config_quote(proxy, out);
        return;
    }
    const char *end = url.user.p + url.user.n;
    buf_add_byte(out, '"');
    json_escape((struct span){proxy.p, (size_t)(url.user.p - proxy.p)}, out);
    buf_add_text(out, MASK);
    json_escape((struct span){end, (size_t)(proxy.p + proxy.n - end)}, out);
    buf_add_byte(out, '"');
}

static void print_span(const struct config_key *key, struct span text, struct buf *out)
{
    if (key->secret && text.p)
        config_quote(SPAN(MASK), out);
    else if (key->offset == offsetof(struct config_upstream, proxy) &&
             key->section == SECTION_UPSTREAM)
        print_proxy(text, out);
    else
        config_quote(text, out);
}

void config_print_value(const struct config_key *key, const void *target, struct buf *out)
{
    const void *field = (const char *)target + key->offset;
    const struct config_upstream *upstream;
    switch (key->type) {
    case CONFIG_BOOL:
        buf_add_text(out, *(const bool *)field ? "true" : "false");
        return;
    case CONFIG_COUNT:
        print_count(*(const unsigned *)field, key, out);
        return;
    case CONFIG_SIZE:
        print_count(*(const uint64_t *)field, key, out);
        return;
    case CONFIG_SECONDS:
        print_seconds(*(const int64_t *)field, out);
        return;
    case CONFIG_RATIO:
        buf_printf(out, "%.15g", *(const double *)field);
        return;
    case CONFIG_CHOICE:
        config_quote(config_choice_word(key->choices, *(const unsigned *)field), out);
        return;
    case CONFIG_TEXT:
        print_span(key, *(const struct span *)field, out);
        return;
    case CONFIG_DIGEST:
        print_digest(field, out);
        return;
    case CONFIG_LIST:
        print_list(field, out);
        return;
    case CONFIG_HEADERS:
        print_headers(field, out);
        return;
    case CONFIG_UPSTREAM:
        upstream = *(const struct config_upstream *const *)field;
        config_quote(upstream ? upstream->name : SPAN_ABSENT, out);
        return;
    case CONFIG_OBJECT:
        return;
    }
}

/* ---- the whole */

static void next_item(struct printer *printer)
{
    buf_add_text(printer->out, printer->fresh ? "\n" : ",\n");
    for (int i = 0; i < printer->depth * INDENT; i++)
        buf_add_byte(printer->out, ' ');
    printer->fresh = false;
}

static void next_member(struct printer *printer, struct span name)
{
    next_item(printer);
    json_quote(name, printer->out);
    buf_add_text(printer->out, ": ");
}

static void open_brackets(struct printer *printer, char bracket)
{
    buf_add_byte(printer->out, bracket);
    printer->depth++;
    printer->fresh = true;
}

static void close_brackets(struct printer *printer, char bracket)
{
    printer->depth--;
    if (!printer->fresh) {
        printer->fresh = true;
        next_item(printer);
    }
    buf_add_byte(printer->out, bracket);
    printer->fresh = false;
}

static void print_keys(struct printer *printer, enum config_section section, const void *target,
                       bool with_simple)
{
    size_t count;
    const struct config_key *keys = config_section_keys(section, &count);
    open_brackets(printer, '{');
    for (size_t i = 0; i < count; i++) {
        if (keys[i].simple_only && !with_simple)
            continue;
        next_member(printer, span_of(keys[i].name));
        config_print_value(&keys[i], target, printer->out);
    }
    close_brackets(printer, '}');
}

static void print_upstreams(struct printer *printer, const struct config *config)
{
    open_brackets(printer, '{');
    for (size_t i = 0; i < config->upstream_count; i++) {
        next_member(printer, config->upstreams[i].name);
        print_keys(printer, SECTION_UPSTREAM, &config->upstreams[i], false);
    }
    close_brackets(printer, '}');
}

static void print_routes(struct printer *printer, const struct config *config)
{
    open_brackets(printer, '{');
    for (int i = 0; i < API_COUNT; i++) {
        const struct config_route *route = &config->routes[i];
        next_member(printer, span_of(api_route((enum api)i)));
        if (!route->upstream)
            buf_add_text(printer->out, "false");
        else
            print_keys(printer, SECTION_ROUTE, route, i == API_SIMPLE);
    }
    close_brackets(printer, '}');
}

static void print_clients(struct printer *printer, const struct config *config)
{
    open_brackets(printer, '[');
    for (size_t i = 0; i < config->client_count; i++) {
        next_item(printer);
        print_keys(printer, SECTION_CLIENT, &config->clients[i], false);
    }
    close_brackets(printer, ']');
}

static void print_object(struct printer *printer, const char *name, const struct config *config)
{
    if (strcmp(name, "upstreams") == 0)
        print_upstreams(printer, config);
    else if (strcmp(name, "routes") == 0)
        print_routes(printer, config);
    else if (strcmp(name, "clients") == 0)
        print_clients(printer, config);
    else if (strcmp(name, "idempotency") == 0)
        print_keys(printer, SECTION_IDEMPOTENCY, config, false);
    else if (strcmp(name, "limits") == 0)
        print_keys(printer, SECTION_LIMITS, config, false);
    else
        print_keys(printer, SECTION_LOG, config, false);
}

void config_print(const struct config *config, struct buf *out)
{
    struct printer printer = {.out = out};
    size_t count;
    const struct config_key *keys = config_section_keys(SECTION_ROOT, &count);
    open_brackets(&printer, '{');
    for (size_t i = 0; i < count; i++) {
        next_member(&printer, span_of(keys[i].name));
        if (keys[i].type == CONFIG_OBJECT)
            print_object(&printer, keys[i].name, config);
        else
            config_print_value(&keys[i], config, out);
    }
    close_brackets(&printer, '}');
    buf_add_byte(out, '\n');
}
