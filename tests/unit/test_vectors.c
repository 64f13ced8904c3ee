/* Cases from outside: ${UNSTREAM_CORPUS}/../vectors/NAME.json.  Skipped where there are none. */
#include "core/canonical.h"
#include "core/idem_key.h"
#include "test.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

static cJSON *load(const char *name)
{
    BUF(path, 4096);
    const char *corpus = getenv("UNSTREAM_CORPUS");
    buf_printf(&path, "%s/../vectors/%s", corpus ? corpus : "", name);
    FILE *file = corpus ? fopen(buf_text(&path), "r") : NULL;
    if (!file) {
        buf_done(&path); /* skip() jumps */
        skip();
    }
    BUF(text, 1 << 20);
    char *room = buf_reserve(&text, 1 << 20);
    assert_non_null(room);
    text.n = fread(room, 1, 1 << 20, file);
    assert_true(feof(file));
    (void)fclose(file);
    cJSON *json = cJSON_Parse(buf_text(&text));
    assert_non_null(json);
    return json;
}

static const char *string_of(const cJSON *object, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}

/* ---- idem_key_header.json: field lines -> key, or the word of the error */

enum { LINES_MAX = 4 };

static void check_key(const cJSON *vector)
{
    struct header lines[LINES_MAX];
    struct headers headers = {lines, 0};
    const cJSON *line;
    for (line = cJSON_GetObjectItemCaseSensitive(vector, "lines")->child; line;
         line = line->next) {
        assert_true(headers.count < LINES_MAX);
        lines[headers.count++] =
            (struct header){SPAN("Idempotency-Key"), span_of(cJSON_GetStringValue(line))};
    }
    struct idem_key key = {.n = 0};
    const char *word = idem_key_error_name(idem_key_from_headers(&headers, &key));
    const char *result = string_of(vector, "result"), *value = string_of(vector, "value");
    if (strcmp(result, "error") == 0) {
        assert_string_equal(word, value);
        return;
    }
    assert_string_equal(word, "fine");
    assert_true(span_eq(idem_key_span(&key), span_of(value)));
}

TEST(vectors, keys_are_read_as_the_cases_say)
{
    cJSON *vectors = load("idem_key_header.json");
    const cJSON *vector;
    for (vector = vectors->child; vector; vector = vector->next)
        check_key(vector);
    assert_true(cJSON_GetArraySize(vectors) > 0);
    cJSON_Delete(vectors);
}

/* ---- fingerprint.json: pairs of bodies, and bodies to refuse */

static bool canonical_of(struct span body, struct buf *out)
{
    struct json_refusal refusal;
    enum rc rc = canonical_json(body, NULL, out, &refusal);
    assert_true(rc == OK || rc == E_SYNTAX);
    return rc == OK;
}

static void check_pair(const cJSON *pair)
{
    BUF(a, 1 << 20);
    BUF(b, 1 << 20);
    assert_true(canonical_of(span_of(string_of(pair, "a")), &a));
    assert_true(canonical_of(span_of(string_of(pair, "b")), &b));
    bool same = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(pair, "same"));
    if (span_eq(buf_span(&a), buf_span(&b)) != same)
        fail_msg("%s", string_of(pair, "why"));
}

static void check_rejected(const cJSON *rejected)
{
    const char *hex = string_of(rejected, "hex"), *reason = string_of(rejected, "reason");
    BUF(body, 1 << 20);
    BUF(out, 1 << 20);
    for (; *hex; hex += 2) {
        unsigned byte;
        assert_int_equal(sscanf(hex, "%2x", &byte), 1);
        buf_add_byte(&body, (char)byte);
    }
    /* A byte order mark is dropped here, not refused. */
    if (canonical_of(buf_span(&body), &out) != (strcmp(reason, "bom") == 0))
        fail_msg("%s: %s", string_of(rejected, "hex"), reason);
}

TEST(vectors, bodies_match_or_differ_as_the_cases_say)
{
    cJSON *vectors = load("fingerprint.json");
    const cJSON *pairs = cJSON_GetObjectItemCaseSensitive(vectors, "pairs"), *pair;
    for (pair = pairs->child; pair; pair = pair->next)
        check_pair(pair);
    assert_true(cJSON_GetArraySize(pairs) > 0);
    cJSON_Delete(vectors);
}

TEST(vectors, bodies_are_refused_as_the_cases_say)
{
    cJSON *vectors = load("fingerprint.json");
    const cJSON *bodies = cJSON_GetObjectItemCaseSensitive(vectors, "reject_400"), *body;
    for (body = bodies->child; body; body = body->next)
        check_rejected(body);
    assert_true(cJSON_GetArraySize(bodies) > 0);
    cJSON_Delete(vectors);
}
