/* Server-sent events: the same ones however the bytes are cut, and those that a naive reader of
 * the whole text finds. */
#include "core/sse.h"
#include "fuzz.h"

static void note(struct span name, struct span data, bool unterminated, struct buf *out)
{
    buf_printf(out, "%zu %zu %d ", name.n, data.n, unterminated);
    buf_add(out, name);
    buf_add(out, data);
}

/* ---- the naive reader: the WHATWG's text and the additions of sse.h, without limits */

struct naive {
    struct span rest, name;
    struct buf data;
    bool has_data;
};

static struct span cut_line(struct span *rest)
{
    struct span line = {rest->p, 0};
    while (line.n < rest->n && rest->p[line.n] != '\r' && rest->p[line.n] != '\n')
        line.n++;
    *rest = span_from(*rest, line.n);
    *rest = span_from(*rest, span_starts(*rest, "\r\n") ? 2 : rest->n > 0);
    return line;
}

static void read_line(struct naive *naive, struct span line)
{
    struct span value = line, field = span_cut(&value, ':');
    if (!value.p)
        value = SPAN("");
    if (span_starts(value, " "))
        value = span_from(value, 1);
    if (span_is(field, "event"))
        naive->name = value;
    if (span_is(field, "error"))
        naive->name = SPAN("error");
    if (!span_is(field, "data") && !span_is(field, "error"))
        return;
    buf_add_text(&naive->data, naive->has_data ? "\n" : "");
    buf_add(&naive->data, value);
    naive->has_data = true;
}

static void dispatch(struct naive *naive, bool unterminated, struct buf *out)
{
    struct span name = naive->name.n ? naive->name : SPAN("message");
    if (name.n > SSE_NAME_BYTES_MAX)
        name.n = SSE_NAME_BYTES_MAX;
    if (naive->has_data)
        note(name, buf_span(&naive->data), unterminated, out);
    buf_clear(&naive->data);
    naive->has_data = false;
    naive->name = SPAN("");
}

static void read_naively(struct span text, struct buf *out)
{
    struct naive naive = {.rest = json_drop_bom(text)};
    buf_init(&naive.data, FUZZ_BYTES_MAX);
    while (naive.rest.n) {
        struct span line = cut_line(&naive.rest);
        if (line.n)
            read_line(&naive, line);
        else
            dispatch(&naive, false, out);
    }
    dispatch(&naive, true, out);
    buf_done(&naive.data);
}

/* ---- ours */

static bool note_events(struct sse *sse, struct buf *out)
{
    struct sse_event event;
    enum sse_step step;
    while ((step = sse_next(sse, &event)) == SSE_EVENT) {
        ASSERT(event.data.n <= sse->event_bytes_max && event.name.n <= SSE_NAME_BYTES_MAX);
        note(event.name, event.data, event.unterminated, out);
    }
    if (step == SSE_FAILED)
        buf_printf(out, "failed: %s", rc_text(sse->rc));
    return step == SSE_MORE;
}

static bool feed(struct sse *sse, struct span piece, struct buf *out)
{
    char *copy = fuzz_copy(piece);
    sse_feed(sse, (struct span){copy, piece.n});
    bool more = note_events(sse, out);
    free(copy);
    return more;
}

static void run(struct span text, struct fuzz_cut *cut, size_t event_bytes_max, struct buf *out)
{
    struct sse sse;
    struct span piece = text;
    sse_init(&sse, event_bytes_max);
    bool more = cut || feed(&sse, text, out);
    while (more && cut && fuzz_cut_next(cut, &piece))
        more = feed(&sse, piece, out);
    if (more) {
        sse_end(&sse);
        (void)note_events(&sse, out);
    }
    sse_done(&sse);
}

/* Appends the events of the uncut text. */
static void check(struct span input, size_t event_bytes_max, struct buf *whole)
{
    struct fuzz_cut cut = fuzz_cut_of(input);
    BUF(pieces, FUZZ_BYTES_MAX);
    run(cut.rest, NULL, event_bytes_max, whole);
    run(cut.rest, &cut, event_bytes_max, &pieces);
    ASSERT(buf_rc(whole) == OK && span_eq(buf_span(whole), buf_span(&pieces)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span input = fuzz_span(data, size);
    BUF(unlimited, FUZZ_BYTES_MAX);
    BUF(limited, FUZZ_BYTES_MAX);
    BUF(naive, FUZZ_BYTES_MAX);
    check(input, FUZZ_BYTES_MAX, &unlimited);
    check(input, 24, &limited);
    read_naively(fuzz_cut_of(input).rest, &naive);
    ASSERT(span_eq(buf_span(&unlimited), buf_span(&naive)));
    return 0;
}
