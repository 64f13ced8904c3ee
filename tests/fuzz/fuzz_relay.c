/* Patterns, a line each, and behind an empty line the requests that are matched with them. */
#include "core/relay.h"
#include "fuzz.h"

/* Whether it has a segment that leads elsewhere, for a server that unescapes it first. */
static bool has_dot_segment(struct span path)
{
    BUF(plain, FUZZ_BYTES_MAX);
    for (size_t i = 0; i < path.n; i++) {
        uint8_t byte = (uint8_t)path.p[i];
        if (byte == '%' && i + 2 < path.n &&
            span_hex_to_bytes((struct span){path.p + i + 1, 2}, &byte, 1))
            i += 2;
        buf_add_byte(&plain, byte == '\\' || byte == ';' ? '/' : (char)byte);
    }
    bool found = false;
    for (struct span rest = buf_span(&plain); rest.p;) {
        struct span segment = span_cut(&rest, '/');
        found |= span_is(segment, ".") || span_is(segment, "..");
    }
    return found;
}

static void check_match(const struct span_list *patterns, struct span line)
{
    struct span path = line, method = span_cut(&path, ' ');
    if (!path.p)
        return;
    const struct relay_match match = relay_match(patterns, method, path);
    if (match.route.p)
        ASSERT(span_is(method, "POST") ? match.posts : match.gets);
    if (!match.gets && !match.posts)
        return;
    ASSERT(span_starts(path, "/v1/") && span_is_visible(path) && !has_dot_segment(path));
    for (int i = 0; i < API_COUNT; i++)
        ASSERT(!span_is(path, api_route((enum api)i)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span items[RELAY_PATTERNS_MAX];
    struct span_list patterns = {items, 0};
    struct span rest = fuzz_span(data, size), line = SPAN("-");
    while (rest.p && line.n) {
        line = span_cut(&rest, '\n');
        enum relay_fault fault = relay_check(line);
        ASSERT(relay_fault_text(fault));
        if (fault == RELAY_FINE && patterns.count < RELAY_PATTERNS_MAX)
            items[patterns.count++] = line;
    }
    while (rest.p)
        check_match(&patterns, span_cut(&rest, '\n'));
    return 0;
}
