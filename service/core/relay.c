#include "core/relay.h"

#include <string.h>

static const char *const texts[] = {
#define X(name, text) [name] = text,
    RELAY_FAULT_TABLE(X)
#undef X
};

const char *relay_fault_text(enum relay_fault fault)
{
    return texts[fault];
}

/* ---- patterns */

struct pattern {
    struct span method, path; /* without the star, but with the slash before it */
    bool below;
};

static struct pattern parse(struct span text)
{
    struct pattern pattern = {.method = span_cut(&text, ' '), .path = text};
    pattern.below = pattern.path.p && span_ends(pattern.path, "/*");
    pattern.path.n -= pattern.below;
    return pattern;
}

/* Between two slashes of a pattern: a name, that is not of dots alone. */
static bool is_segment(struct span segment)
{
    bool dots = true;
    for (size_t i = 0; i < segment.n; i++) {
        char byte = segment.p[i];
        bool sound = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                     (byte >= '0' && byte <= '9') || (byte && strchr("-._~:", byte));
        if (!sound)
            return false;
        dots &= byte == '.';
    }
    return segment.n > 0 && !dots;
}

static bool is_path(const struct pattern *pattern)
{
    struct span path = pattern->path;
    if (!path.p || !span_starts(path, "/v1/"))
        return false;
    path.n -= pattern->below;
    struct span rest = span_from(path, 1);
    while (rest.p)
        if (!is_segment(span_cut(&rest, '/')))
            return false;
    return true;
}

static bool starts_with(struct span text, struct span start)
{
    return text.n > start.n && span_eq((struct span){text.p, start.n}, start);
}

static bool shadows(const struct pattern *pattern)
{
    for (int i = 0; i < API_COUNT; i++) {
        struct span route = span_of(api_route((enum api)i));
        if (pattern->below ? starts_with(route, pattern->path) : span_eq(route, pattern->path))
            return true;
    }
    return false;
}

enum relay_fault relay_check(struct span text)
{
    const struct pattern pattern = parse(text);
    if (text.n > RELAY_PATTERN_BYTES_MAX)
        return RELAY_TOO_LONG;
    if (!span_is(pattern.method, "GET") && !span_is(pattern.method, "POST"))
        return RELAY_BAD_METHOD;
    if (!is_path(&pattern))
        return RELAY_BAD_PATH;
    return shadows(&pattern) ? RELAY_SHADOWS : RELAY_FINE;
}

/* ---- requests */

/* The next byte as a server that unescapes it sees it; -1: none that is sound. */
static int next_byte(struct span *rest)
{
    uint8_t byte = (uint8_t)rest->p[0];
    if (byte <= ' ' || byte >= 0x7F || byte == '#' || byte == '\\')
        return -1;
    if (byte != '%') {
        *rest = span_from(*rest, 1);
        return byte;
    }
    if (rest->n < 3 || !span_hex_to_bytes((struct span){rest->p + 1, 2}, &byte, 1) ||
        byte < ' ' || byte == 0x7F)
        return -1;
    *rest = span_from(*rest, 3);
    return byte;
}

/* Dots alone, one or two of them, lead elsewhere. */
static bool leads_elsewhere(size_t bytes, size_t dots)
{
    return bytes == dots && (dots == 1 || dots == 2);
}

/* See the header. */
static bool is_plain(struct span below)
{
    size_t bytes = 0, dots = 0;
    if (!below.n || below.p[0] == '/' || span_ends(below, "/") ||
        memmem(below.p, below.n, "//", 2))
        return false;
    for (struct span rest = below; rest.n;) {
        int byte = next_byte(&rest);
        if (byte < 0)
            return false;
        bool ends = byte == '/' || byte == '\\' || byte == ';';
        if (ends && leads_elsewhere(bytes, dots))
            return false;
        bytes = ends ? 0 : bytes + 1;
        dots = ends ? 0 : dots + (byte == '.');
    }
    return !leads_elsewhere(bytes, dots);
}

static bool matches(const struct pattern *pattern, struct span path)
{
    if (!pattern->below)
        return span_eq(path, pattern->path);
    return starts_with(path, pattern->path) && is_plain(span_from(path, pattern->path.n));
}

struct relay_match relay_match(const struct span_list *patterns, struct span method,
                               struct span path)
{
    struct relay_match match = {.route = SPAN_ABSENT};
    bool get = span_is(method, "GET") || span_is(method, "HEAD"),
         post = span_is(method, "POST");
    for (size_t i = 0; i < patterns->count; i++) {
        const struct pattern pattern = parse(patterns->items[i]);
        if (!matches(&pattern, path))
            continue;
        bool gets = span_is(pattern.method, "GET");
        match.gets |= gets;
        match.posts |= !gets;
        if (!match.route.p && (gets ? get : post))
            match.route = (struct span){pattern.path.p, pattern.path.n + pattern.below};
    }
    return match;
}

enum api relay_api(const struct config *config, const struct http_head *head)
{
    if (span_starts(head->path, "/v1/messages/") ||
        header_get(&head->headers, "anthropic-version").p)
        return API_MESSAGES;
    bool chat = config->routes[API_CHAT].upstream || !config->routes[API_RESPONSES].upstream;
    return chat ? API_CHAT : API_RESPONSES;
}

/* https://opentelemetry.io/docs/specs/semconv/registry/attributes/gen-ai/ */
const char *relay_operation(struct span path)
{
    return span_is(path, "/v1/embeddings") ? "embeddings" : NULL;
}
