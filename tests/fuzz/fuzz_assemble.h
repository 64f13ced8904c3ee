/* An assembler: the same end, a body or a failure but never both, however the stream is cut;
 * a body is valid JSON within its limit.  It may be nested a few brackets deeper than
 * JSON_DEPTH_MAX, which each event keeps to: a tool's input stands three deeper in the body. */
#ifndef FUZZ_ASSEMBLE_H
#define FUZZ_ASSEMBLE_H

#include "core/assemble.h"
#include "fuzz.h"

static inline bool fuzz_is_body(struct span text)
{
    struct json json;
    json_init(&json, text, JSON_STRICT);
    json_skip(&json);
    return json_end(&json) || json.error == JSON_TOO_DEEP;
}

static inline void fuzz_note_end(struct assemble *assembler, enum assemble_state state,
                                 size_t answer_bytes_max, struct buf *out)
{
    struct assemble_progress progress = assemble_progress(assembler);
    buf_printf(out, "%zu events, %zu bytes, %d, %zu + %zu tokens: ", progress.events,
               progress.output_bytes, progress.output_began, (size_t)progress.input_tokens,
               (size_t)progress.output_tokens);
    if (state == ASSEMBLE_FAILED) {
        struct span error = assemble_error(assembler);
        ASSERT(!error.p || fuzz_is_json(error, JSON_LENIENT));
        buf_add_text(out, assemble_failure_name(assemble_failure(assembler)));
        buf_add(out, error);
        return;
    }
    struct buf body;
    ASSERT(state == ASSEMBLE_COMPLETE && !assemble_error(assembler).p);
    assemble_take_body(assembler, &body);
    ASSERT(fuzz_is_body(buf_span(&body)) && body.n <= answer_bytes_max);
    buf_add(out, buf_span(&body));
    buf_done(&body);
}

static inline enum assemble_state fuzz_feed(struct assemble *assembler, struct span piece)
{
    char *copy = fuzz_copy(piece);
    enum assemble_state state = assemble_feed(assembler, (struct span){copy, piece.n});
    free(copy);
    return state;
}

/* `cut`: NULL feeds the text whole. */
static inline void fuzz_assemble_once(const struct assemble_params *params, struct span text,
                                      struct fuzz_cut *cut, struct buf *out)
{
    OWNED(assemble) assembler = assemble_new(params);
    ASSERT(assembler);
    struct span piece;
    enum assemble_state state = cut ? ASSEMBLE_MORE : fuzz_feed(assembler, text);
    while (cut && fuzz_cut_next(cut, &piece)) {
        enum assemble_state next = fuzz_feed(assembler, piece);
        ASSERT(state == ASSEMBLE_MORE || next == state);
        state = next;
    }
    enum assemble_state end = assemble_end(assembler);
    ASSERT(state == ASSEMBLE_MORE || end == state);
    fuzz_note_end(assembler, end, params->answer_bytes_max, out);
}

static inline int fuzz_assemble(enum api api, const uint8_t *data, size_t size)
{
    const struct assemble_params params[] = {
        {.api = api, .choices = 1, .event_bytes_max = 1 << 20, .answer_bytes_max = 1 << 20},
        {.api = api,
         .choices = 2,
         .add_annotations = true,
         .failed_is_body = true,
         .event_bytes_max = 160,
         .answer_bytes_max = 256}};
    for (size_t i = 0; i < COUNT_OF(params); i++) {
        struct fuzz_cut cut = fuzz_cut_of(fuzz_span(data, size));
        struct span text = cut.rest;
        BUF(whole, FUZZ_BYTES_MAX);
        BUF(pieces, FUZZ_BYTES_MAX);
        fuzz_assemble_once(&params[i], text, NULL, &whole);
        fuzz_assemble_once(&params[i], text, &cut, &pieces);
        ASSERT(buf_rc(&whole) == OK);
        ASSERT(span_eq(buf_span(&whole), buf_span(&pieces)));
    }
    return 0;
}

#endif
