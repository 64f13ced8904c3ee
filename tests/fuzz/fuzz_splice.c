/* The splice: taking the edits back gives the client's bytes; the result is valid JSON that
 * streams, and would be refused as such. */
#include "core/canonical.h"
#include "core/splice.h"
#include "fuzz.h"

/* Appends `spliced` with the original bytes put back. */
static void take_back(const struct splice *splice, struct span spliced, struct buf *out)
{
    size_t at = 0;
    for (size_t i = 0; i < splice->edit_count; i++) {
        const struct splice_edit *edit = &splice->edits[i];
        ASSERT(edit->at >= at && edit->at + edit->removed <= splice->body.n);
        buf_add(out, (struct span){spliced.p, edit->at - at});
        spliced = span_from(spliced, edit->at - at);
        ASSERT(span_starts(spliced, edit->text));
        spliced = span_from(spliced, strlen(edit->text));
        buf_add(out, (struct span){splice->body.p + edit->at, edit->removed});
        at = edit->at + edit->removed;
    }
    buf_add(out, spliced);
}

static void check_canonical(struct span body, struct span spliced)
{
    BUF(before, FUZZ_BYTES_MAX);
    BUF(after, FUZZ_BYTES_MAX);
    struct json_refusal refusal;
    if (canonical_json(body, "stream", &before, &refusal) != OK)
        return;
    ASSERT(canonical_json(spliced, "stream", &after, &refusal) == OK);
    ASSERT(span_eq(buf_span(&before), buf_span(&after)));
}

static void check_spliced(enum api api, bool include_usage, const struct splice *splice)
{
    BUF(spliced, FUZZ_BYTES_MAX);
    BUF(original, FUZZ_BYTES_MAX);
    splice_write(splice, &spliced);
    struct span text = buf_span(&spliced);
    ASSERT(buf_rc(&spliced) == OK && text.n == splice_bytes(splice));
    take_back(splice, text, &original);
    ASSERT(span_eq(buf_span(&original), splice->body));
    ASSERT(fuzz_is_json(text, JSON_STRICT));
    ASSERT(json_type(json_get(text, "stream")) == JSON_TRUE);
    if (include_usage && api == API_CHAT) {
        struct span options = json_get(text, "stream_options");
        ASSERT(json_type(json_get(options, "include_usage")) == JSON_TRUE);
    } else {
        check_canonical(splice->body, text);
    }
    ASSERT(span_eq(splice->model, json_get(text, "model")));
    ASSERT(splice->choices >= 1 && splice->choices <= SPLICE_CHOICES_MAX);
    struct splice again;
    ASSERT(splice_plan(api, include_usage, text, &again) == SPLICE_STREAM_TRUE);
}

static void check(enum api api, bool include_usage, struct span body)
{
    struct splice splice = {.edit_count = 99};
    enum splice_refusal refusal = splice_plan(api, include_usage, body, &splice);
    ASSERT(splice_refusal_text(refusal));
    if (refusal == SPLICE_FINE)
        check_spliced(api, include_usage, &splice);
    else
        ASSERT(splice.edit_count == 99 && splice_refusal_error(refusal));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum api apis[] = {API_CHAT, API_RESPONSES, API_MESSAGES};
    for (size_t i = 0; i < COUNT_OF(apis); i++) {
        check(apis[i], false, fuzz_span(data, size));
        check(apis[i], true, fuzz_span(data, size));
    }
    return 0;
}
