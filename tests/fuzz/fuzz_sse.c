/* Server-sent events: the same ones however the bytes are cut. */
#include "core/sse.h"
#include "fuzz.h"

static bool note_events(struct sse *sse, struct buf *out)
{
    struct sse_event event;
    enum sse_step step;
    while ((step = sse_next(sse, &event)) == SSE_EVENT) {
        ASSERT(event.data.n <= sse->event_bytes_max && event.name.n <= SSE_NAME_BYTES_MAX);
        buf_printf(out, "%zu %zu %d ", event.name.n, event.data.n, event.unterminated);
        buf_add(out, event.name);
        buf_add(out, event.data);
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t limits[] = {1 << 20, 24};
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        struct fuzz_cut cut = fuzz_cut_of(fuzz_span(data, size));
        BUF(whole, FUZZ_BYTES_MAX);
        BUF(pieces, FUZZ_BYTES_MAX);
        run(cut.rest, NULL, limits[i], &whole);
        run(cut.rest, &cut, limits[i], &pieces);
        ASSERT(buf_rc(&whole) == OK);
        ASSERT(span_eq(buf_span(&whole), buf_span(&pieces)));
    }
    return 0;
}
