#include "io/upstream_internal.h"

#include "core/config_address.h"

#include <string.h>

static bool is_url(struct span url)
{
    struct url parts;
    if (!header_value_is_sound(url) || span_find(url, ' ') < url.n ||
        span_find(url, '\t') < url.n || url_parse(url, &parts) != NULL)
        return false;
    return parts.is_https || span_is_nocase(parts.scheme, "http");
}

static enum rc check(const struct transfer_params *params)
{
    if (!is_url(params->url))
        return E_INVALID;
    if (!header_value_is_sound(params->proxy) || !header_value_is_sound(params->ca_file))
        return E_INVALID;
    for (size_t i = 0; i < params->headers.count; i++) {
        const struct header *header = &params->headers.items[i];
        if (!header_name_is_sound(header->name) || !header_value_is_sound(header->value))
            return E_INVALID;
    }
    return OK;
}

/* libcurl's own notation: "Name: value", "Name;" for an empty value, "Name:" to leave out a
 * header that it would add. */
static enum rc add_line(struct transfer *transfer, struct curl_slist ***tail, struct span name,
                        const char *separator, struct span value)
{
    size_t separator_n = strlen(separator);
    struct curl_slist *node = arena_alloc(&transfer->arena, sizeof *node);
    char *line = arena_alloc(&transfer->arena, name.n + separator_n + value.n + 1);
    if (!node || !line)
        return E_NOMEM;
    char *at = mempcpy(line, name.p, name.n);
    at = mempcpy(at, separator, separator_n);
    if (value.n)
        at = mempcpy(at, value.p, value.n);
    *at = '\0';
    node->data = line;
    **tail = node;
    *tail = &node->next;
    return OK;
}

static enum rc build_headers(struct transfer *transfer, const struct headers *headers)
{
    /* What libcurl would add by itself, and what takes its place. */
    static const struct {
        const char *name, *separator, *value;
    } own[] = {{"Accept", ":", ""},
               {"Content-Type", ":", ""},
               {"Expect", ":", ""},
               {"Accept-Encoding", ": ", "identity"}};
    struct curl_slist **tail = &transfer->headers;
    for (size_t i = 0; i < headers->count; i++) {
        const struct header *header = &headers->items[i];
        enum rc rc = add_line(transfer, &tail, header->name, header->value.n ? ": " : ";",
                              header->value);
        if (rc != OK)
            return rc;
    }
    for (size_t i = 0; i < COUNT_OF(own); i++) {
        if (header_count(headers, own[i].name))
            continue;
        enum rc rc = add_line(transfer, &tail, span_of(own[i].name), own[i].separator,
                              span_of(own[i].value));
        if (rc != OK)
            return rc;
    }
    return OK;
}

static enum rc copy(struct transfer *transfer, struct span text, const char **ret)
{
    struct span copied = arena_copy(&transfer->arena, text);
    if (!copied.p)
        return E_NOMEM;
    *ret = copied.p;
    return OK;
}

static enum rc build_way(struct transfer *transfer, const struct transfer_params *params)
{
    struct url asked;
    if (url_parse(params->proxy.n ? params->proxy : params->url, &asked) != NULL)
        return E_INVALID;
    enum rc rc = copy(transfer, params->url, &transfer->url);
    if (rc == OK)
        rc = copy(transfer, params->proxy, &transfer->proxy);
    if (rc == OK)
        rc = copy(transfer, asked.host, &transfer->resolved_host);
    if (rc == OK && params->ca_file.n)
        rc = copy(transfer, params->ca_file, &transfer->ca_file);
    return rc;
}

enum rc upstream_transfer_build(struct transfer *transfer, const struct transfer_params *params)
{
    enum rc rc = check(params);
    if (rc == OK)
        rc = build_way(transfer, params);
    if (rc == OK)
        rc = build_headers(transfer, &params->headers);
    return rc;
}
