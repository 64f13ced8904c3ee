/* Prefer: what a second, naive reader finds too; and one line says what its preferences say on
 * lines of their own (RFC 9110, section 5.3).
 *
 * Input: the value of one Prefer header per line. */
#include "core/prefer.h"
#include "fuzz.h"

enum { LINES_MAX = 8 };

/* ---- the naive reader: commas and semicolons in quotes are painted over, the rest is cut */

struct naive {
    struct prefer prefer;
    bool wait_seen;
};

static char *without_quoted_marks(struct span line)
{
    char *text = fuzz_copy(line);
    bool inside = false, escaped = false;
    for (size_t i = 0; i < line.n; i++) {
        bool quote = text[i] == '"' && !escaped;
        escaped = inside && !escaped && text[i] == '\\';
        inside ^= quote;
        if (inside && (text[i] == ',' || text[i] == ';'))
            text[i] = '_';
    }
    return text;
}

static bool read_number(struct span word, unsigned *ret)
{
    BUF(digits, FUZZ_BYTES_MAX);
    bool quoted = word.n >= 2 && word.p[0] == '"' && word.p[word.n - 1] == '"';
    struct span inside = quoted ? (struct span){word.p + 1, word.n - 2} : word;
    for (size_t i = 0; i < inside.n; i++) {
        if (quoted && inside.p[i] == '\\' && ++i == inside.n)
            return false;
        buf_add_byte(&digits, inside.p[i]);
    }
    if (!digits.n || strspn(buf_text(&digits), "0123456789") != digits.n)
        return false;
    unsigned long seconds = strtoul(buf_text(&digits), NULL, 10);
    *ret = seconds < PREFER_WAIT_S_MAX ? (unsigned)seconds : PREFER_WAIT_S_MAX;
    return true;
}

static void note(struct naive *naive, struct span preference)
{
    struct span value = span_cut(&preference, ';');
    struct span name = span_trim(span_cut(&value, '='));
    if (span_is_nocase(name, "respond-async"))
        naive->prefer.respond_async = true;
    if (naive->wait_seen || !span_is_nocase(name, "wait"))
        return;
    naive->wait_seen = true;
    naive->prefer.has_wait = read_number(span_trim(value), &naive->prefer.wait_s);
}

/* Each preference is also put on a line of its own. */
static void read_naively(struct span line, struct naive *naive, struct buf *lines)
{
    char *text = without_quoted_marks(line);
    for (struct span rest = {text, line.n}; rest.p;) {
        struct span preference = span_cut(&rest, ',');
        note(naive, preference);
        buf_add(lines, (struct span){line.p + (preference.p - text), preference.n});
        buf_add_byte(lines, '\n');
    }
    free(text);
}

/* ---- ours */

static bool same(struct prefer a, struct prefer b)
{
    return a.respond_async == b.respond_async && a.has_wait == b.has_wait &&
           (!a.has_wait || a.wait_s == b.wait_s);
}

static void check_apart(struct span lines, struct prefer want)
{
    struct header *items = malloc((lines.n + 1) * sizeof *items);
    struct headers headers = {items, 0};
    ASSERT(items);
    while (lines.n)
        items[headers.count++] = (struct header){SPAN("PREFER"), span_cut(&lines, '\n')};
    ASSERT(same(prefer_read(&headers), want));
    free(items);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct header items[LINES_MAX];
    struct headers headers = {items, 0};
    struct naive naive = {.wait_seen = false};
    BUF(apart, FUZZ_BYTES_MAX);
    for (struct span rest = fuzz_span(data, size); rest.p && headers.count < LINES_MAX;) {
        struct span line = span_cut(&rest, '\n');
        items[headers.count++] = (struct header){SPAN("prefer"), line};
        read_naively(line, &naive, &apart);
    }
    struct prefer prefer = prefer_read(&headers);
    ASSERT(same(prefer, naive.prefer) && prefer.wait_s <= PREFER_WAIT_S_MAX);
    check_apart(buf_span(&apart), prefer);
    return 0;
}
