/* Assembling a stream cut in every way, for the tests of the assemblers. */
#ifndef ASSEMBLE_FIXTURE_H
#define ASSEMBLE_FIXTURE_H

#include "core/assemble.h"
#include "test.h"

#include <stdlib.h>

enum { FIXTURE_LIMIT = 4 * 1024 * 1024 };

static inline struct assemble_params fixture_params(enum api api)
{
    return (struct assemble_params){.api = api,
                                    .choices = 1,
                                    .event_bytes_max = FIXTURE_LIMIT,
                                    .answer_bytes_max = FIXTURE_LIMIT};
}

/* Feed bytes from a block of exactly their size that is gone afterwards. */
static inline enum assemble_state feed_copy(struct assemble *assembler, struct span bytes)
{
    char *copy = malloc(bytes.n ? bytes.n : 1);
    assert_non_null(copy);
    if (bytes.n)
        memcpy(copy, bytes.p, bytes.n);
    enum assemble_state state = assemble_feed(assembler, (struct span){copy, bytes.n});
    free(copy);
    return state;
}

/* Append the body, or `{"kind":...,"error":...}`. */
static inline void add_outcome(struct assemble *assembler, enum assemble_state state,
                               struct buf *out)
{
    assert_int_not_equal(state, ASSEMBLE_MORE);
    if (state == ASSEMBLE_COMPLETE) {
        struct buf body;
        assemble_take_body(assembler, &body);
        buf_add(out, buf_span(&body));
        buf_done(&body);
        return;
    }
    struct span error = assemble_error(assembler);
    buf_printf(out, "{\"kind\":\"%s\",\"error\":%.*s}",
               assemble_failure_name(assemble_failure(assembler)),
               SPAN_ARG(error.p ? error : SPAN("null")));
}

/* The outcome when the first `first` bytes come at once and then `step` at a time. */
static inline void assemble_cut(const struct assemble_params *params, struct span text,
                                size_t first, size_t step, struct buf *out)
{
    OWNED(assemble) assembler = assemble_new(params);
    assert_non_null(assembler);
    enum assemble_state state = feed_copy(assembler, (struct span){text.p, first});
    for (size_t at = first; at < text.n; at += step) {
        size_t n = text.n - at < step ? text.n - at : step;
        state = feed_copy(assembler, (struct span){text.p + at, n});
    }
    if (state == ASSEMBLE_MORE)
        state = assemble_end(assembler);
    add_outcome(assembler, state, out);
}

/* The outcome, which is the same however the stream is cut: in two at every `stride` bytes, and
 * byte by byte. */
static inline void assemble_every_way(const struct assemble_params *params, struct span text,
                                      size_t stride, struct buf *out)
{
    assemble_cut(params, text, text.n, 1, out);
    for (size_t first = 0; first < text.n; first += stride) {
        BUF(other, FIXTURE_LIMIT);
        assemble_cut(params, text, first, text.n, &other);
        if (!span_eq(buf_span(&other), buf_span(out)))
            fail_msg("cut at %zu: %s", first, buf_text(&other));
    }
    BUF(other, FIXTURE_LIMIT);
    assemble_cut(params, text, 0, 1, &other);
    assert_string_equal(buf_text(&other), buf_text(out));
}

static inline void assert_assembles(const struct assemble_params *params, struct span text,
                                    const char *want)
{
    BUF(out, FIXTURE_LIMIT);
    assemble_every_way(params, text, 1, &out);
    assert_string_equal(buf_text(&out), want);
}

#endif
