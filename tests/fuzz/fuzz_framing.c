/* The framing guard: a head that is whole is exactly its parts, so that what the parser skipped
 * or cut was seen; a head that is fine names one end of the body.
 *
 * Input: the bytes of a head.  It is read in place as libmicrohttpd does: any of CR, LF and
 * CRLF ends a line, continuation lines and lines without a colon vanish, a NUL ends a value. */
#include "core/framing.h"
#include "fuzz.h"

enum { HEADERS_MAX = 32 };

struct head {
    char *begin, *at, *end; /* not yet read: from at; a NUL stands at end */
    struct framing_parts parts;
    struct header items[HEADERS_MAX];
};

/* The next line, its end overwritten. */
static char *cut_line(struct head *head)
{
    char *line = head->at, *stop = memchr(line, '\n', (size_t)(head->end - line));
    head->at = stop ? stop + 1 : head->end;
    if (stop)
        *stop = '\0';
    if (stop && stop > line && stop[-1] == '\r')
        stop[-1] = '\0';
    return line;
}

/* Cuts `*rest` at the first `byte`, as libmicrohttpd's C strings have it. */
static struct span cut_word(char **rest, char byte)
{
    char *word = *rest, *stop = strchr(word, byte);
    *rest = stop ? stop + 1 : word + strlen(word);
    if (stop)
        *stop = '\0';
    return span_of(word);
}

static void add_header(struct head *head, char *line)
{
    if (line[0] == ' ' || line[0] == '\t' || !strchr(line, ':') ||
        head->parts.headers.count == HEADERS_MAX)
        return;
    struct header *item = &head->items[head->parts.headers.count++];
    item->name = cut_word(&line, ':');
    item->value = span_of(line + strspn(line, " \t"));
}

static void read_head(struct head *head)
{
    char *line = cut_line(head);
    head->parts.method = cut_word(&line, ' ');
    head->parts.target = cut_word(&line, ' ');
    head->parts.version = span_of(line);
    head->parts.headers.items = head->items;
    while (head->at < head->end && *(line = cut_line(head)))
        add_header(head, line);
    head->parts.raw = (struct span){head->begin, (size_t)(head->at - head->begin)};
}

static void put_line_end(char *at)
{
    at[0] = '\r';
    at[1] = '\n';
}

/* Writes the separators that the parts imply over `raw`, a copy of parts->raw. */
static void restore(const struct framing_parts *parts, char *raw)
{
    const char *begin = parts->raw.p;
    raw[parts->method.p + parts->method.n - begin] = ' ';
    raw[parts->target.p + parts->target.n - begin] = ' ';
    put_line_end(raw + (parts->version.p + parts->version.n - begin));
    for (size_t i = 0; i < parts->headers.count; i++) {
        const struct header *header = &parts->headers.items[i];
        raw[header->name.p + header->name.n - begin] = ':';
        put_line_end(raw + (header->value.p + header->value.n - begin));
    }
    put_line_end(raw + parts->raw.n - 2);
}

static bool is_line_end(char c)
{
    return c == '\r' || c == '\n';
}

/* Once overwritten, NULs in front of a bare LF look like the CRLFs that they are not. */
static bool is_like_line_end(char c)
{
    return c == '\0' || is_line_end(c);
}

static void check_whole(const struct head *head, struct span input)
{
    if (!framing_is_whole(&head->parts))
        return;
    char *raw = fuzz_copy(head->parts.raw);
    restore(&head->parts, raw);
    for (size_t i = 0; i < head->parts.raw.n; i++)
        ASSERT(raw[i] == input.p[i] || (is_line_end(raw[i]) && is_like_line_end(input.p[i])));
    free(raw);
}

static bool has_control(struct span text)
{
    for (size_t i = 0; i < text.n; i++)
        if (((unsigned char)text.p[i] < 0x20 && text.p[i] != '\t') || text.p[i] == 0x7F)
            return true;
    return false;
}

static void check_fine(const struct http_head *head, const struct framing *framing)
{
    const struct headers *headers = &head->headers;
    for (size_t i = 0; i < headers->count; i++)
        ASSERT(headers->items[i].name.n && !has_control(headers->items[i].name) &&
               !has_control(headers->items[i].value));
    size_t lengths = header_count(headers, "content-length");
    ASSERT(lengths + header_count(headers, "transfer-encoding") <= 1);
    ASSERT(header_count(headers, "host") <= 1 && header_count(headers, "authorization") <= 1);
    ASSERT(header_count(headers, "host") || head->version_minor == 0);
    ASSERT(framing->chunked == (header_count(headers, "transfer-encoding") == 1));
    ASSERT(lengths || framing->body_bytes == 0);
}

static void check_target(const struct http_head *head, struct span target)
{
    struct span path, query;
    if (!framing_split_target(target, &head->headers, &path, &query))
        return;
    ASSERT(path.p && (span_starts(path, "/") || span_is(path, "*") || path.n == 0));
    ASSERT(span_find(path, '?') == path.n);
    ASSERT(path.p + path.n + (query.p ? 1 + query.n : 0) == target.p + target.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct head head = {.begin = malloc(size + 1)};
    ASSERT(head.begin);
    memcpy(head.begin, data, size);
    head.begin[size] = '\0';
    head.at = head.begin;
    head.end = head.begin + size;
    read_head(&head);
    check_whole(&head, fuzz_span(data, size));
    struct http_head plain = {.method = head.parts.method,
                              .path = head.parts.target,
                              .query = SPAN_ABSENT,
                              .version_minor = !span_is(head.parts.version, "HTTP/1.0"),
                              .headers = head.parts.headers};
    for (size_t i = 0; i < head.parts.headers.count; i++)
        head.items[i].value = span_trim(head.items[i].value);
    struct framing framing = framing_check(&plain);
    if (framing.fault == FRAMING_FINE)
        check_fine(&plain, &framing);
    check_target(&plain, head.parts.target);
    free(head.begin);
    return 0;
}
