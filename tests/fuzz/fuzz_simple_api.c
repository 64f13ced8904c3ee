/* /api/llm: a request that is taken becomes a body that is valid JSON, says nothing twice and
 * can be spliced; any answer becomes valid JSON or is none. */
#include "core/canonical.h"
#include "core/simple_api.h"
#include "core/splice.h"
#include "fuzz.h"

static const enum api apis[] = {API_CHAT, API_RESPONSES, API_MESSAGES};

static void check_mapped(enum api api, struct span body, struct span mapped)
{
    BUF(canonical, FUZZ_BYTES_MAX);
    struct json_refusal refusal;
    struct splice splice;
    ASSERT(fuzz_is_json(mapped, JSON_STRICT));
    ASSERT(splice_plan(api, true, mapped, &splice) != SPLICE_NOT_JSON);
    if (canonical_json(body, NULL, &canonical, &refusal) == OK) {
        buf_clear(&canonical);
        ASSERT(canonical_json(mapped, NULL, &canonical, &refusal) == OK);
    }
}

static void check_request(const struct config_route *route, struct span body)
{
    const struct config_upstream upstream = {.max_tokens_field = SPAN("max_completion_tokens")};
    struct simple_api_request request;
    BUF(mapped, FUZZ_BYTES_MAX);
    BUF(explained, FUZZ_BYTES_MAX);
    enum simple_api_refusal refusal =
        simple_api_request(route, &upstream, body, &mapped, &request);
    ASSERT(buf_rc(&mapped) == OK);
    if (refusal == SIMPLE_API_FINE) {
        check_mapped(route->api, body, buf_span(&mapped));
        return;
    }
    ASSERT(mapped.n == 0 && simple_api_refusal_error(refusal));
    simple_api_explain(refusal, request.refused, &explained);
    ASSERT(buf_rc(&explained) == OK && explained.n);
}

static void check_answer(enum api api, struct span body)
{
    BUF(answer, FUZZ_BYTES_MAX);
    enum rc rc = simple_api_answer(api, body, &answer);
    ASSERT(rc == OK || rc == E_SYNTAX);
    ASSERT(rc == OK ? fuzz_is_json(buf_span(&answer), JSON_STRICT) : answer.n == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span body = fuzz_span(data, size);
    for (size_t i = 0; i < COUNT_OF(apis); i++) {
        struct config_route none = {.api = apis[i]};
        struct config_route defaults = {.api = apis[i], .model = SPAN("m"), .max_tokens = 4096};
        check_request(&none, body);
        check_request(&defaults, body);
        if (fuzz_is_json(body, JSON_STRICT))
            check_answer(apis[i], body);
    }
    return 0;
}
