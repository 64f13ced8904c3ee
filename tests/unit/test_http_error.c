#include "core/http_error.h"
#include "test.h"

#include <cjson/cJSON.h>

static const char *rendered(const struct http_error_params *params)
{
    static struct buf out;
    buf_done(&out);
    buf_init(&out, 4096);
    http_error_render(params, &out);
    assert_int_equal(buf_rc(&out), OK);
    return buf_text(&out);
}

static const char *wrapped(unsigned status, struct span body)
{
    static struct buf out;
    struct http_error_params params = {.shape = SHAPE_PROBLEM, .status = status};
    buf_done(&out);
    buf_init(&out, 4096);
    http_error_wrap_upstream(&params, body, &out);
    assert_int_equal(buf_rc(&out), OK);
    return buf_text(&out);
}

TEST(http_error, openai_callers_get_openais_shape)
{
    struct http_error_params params = {.shape = SHAPE_OPENAI,
                                       .error = HTTP_ERROR_KEY_REUSED,
                                       .message = SPAN("say \"hi\"\n"),
                                       .request_id = SPAN("f1")};
    assert_string_equal(rendered(&params),
                        "{\"error\":{\"message\":\"say \\\"hi\\\"\\n\",\"type\":"
                        "\"invalid_request_error\",\"param\":null,"
                        "\"code\":\"idempotency_key_reused\"}}");
    assert_string_equal(http_error_content_type(SHAPE_OPENAI), "application/json");
}

TEST(http_error, anthropic_callers_get_anthropics_shape)
{
    struct http_error_params params = {.shape = SHAPE_ANTHROPIC,
                                       .error = HTTP_ERROR_OVERLOADED,
                                       .message = SPAN("busy"),
                                       .request_id = SPAN("f\"1")};
    assert_string_equal(rendered(&params),
                        "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\","
                        "\"message\":\"busy\"},\"request_id\":\"f\\\"1\"}");
    assert_string_equal(http_error_content_type(SHAPE_ANTHROPIC), "application/json");
}

TEST(http_error, all_others_get_problem_details)
{
    struct http_error_params params = {.shape = SHAPE_PROBLEM,
                                       .error = HTTP_ERROR_INVALID_JSON,
                                       .message = SPAN("a comma was expected at byte 7")};
    assert_string_equal(rendered(&params),
                        "{\"type\":\"about:blank\",\"title\":\"Bad Request\",\"status\":400,"
                        "\"detail\":\"a comma was expected at byte 7\","
                        "\"code\":\"invalid_json\"}");
    assert_string_equal(http_error_content_type(SHAPE_PROBLEM), "application/problem+json");
}

TEST(http_error, without_a_message_it_says_its_own_text)
{
    struct http_error_params params = {.shape = SHAPE_PROBLEM, .error = HTTP_ERROR_NOT_FOUND};
    assert_string_equal(rendered(&params),
                        "{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404,"
                        "\"detail\":\"there is nothing at this URL\",\"code\":\"not_found\"}");
}

TEST(http_error, another_status_changes_status_title_and_type)
{
    struct http_error_params params = {.shape = SHAPE_PROBLEM,
                                       .error = HTTP_ERROR_IN_PROGRESS,
                                       .status = 503,
                                       .message = SPAN("x")};
    assert_string_equal(rendered(&params),
                        "{\"type\":\"about:blank\",\"title\":\"Service Unavailable\","
                        "\"status\":503,\"detail\":\"x\",\"code\":\"generation_in_progress\"}");
    params.shape = SHAPE_ANTHROPIC;
    assert_string_equal(rendered(&params),
                        "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\","
                        "\"message\":\"x\"},\"request_id\":\"\"}");
}

/* Of each: a legal status, Retry-After within 1-8 s and only beside a status that may be tried
 * again, a text, and a body that is JSON in every shape. */
static void check_error(enum http_error error)
{
    const struct http_error_info *info = http_error_info(error);
    assert_true(info->status >= 400 && info->status < 600);
    assert_true(info->retry_after_s <= 8);
    assert_true(info->retry_after_s == 0 || info->retry != HTTP_ERROR_RETRY_NO);
    assert_true(info->retry != HTTP_ERROR_RETRY_YES || info->retry_after_s >= 1);
    for (int shape = SHAPE_OPENAI; shape <= SHAPE_PROBLEM; shape++) {
        struct http_error_params params = {.shape = (enum error_shape)shape, .error = error};
        cJSON *json = cJSON_Parse(rendered(&params));
        assert_non_null(json);
        cJSON_Delete(json);
    }
}

TEST(http_error, every_error_keeps_the_rules)
{
    int count = 0;
#define X(name, code, status, retry, after_s, text)                                            \
    check_error(name);                                                                         \
    count++;
    HTTP_ERROR_TABLE(X)
#undef X
    assert_int_equal(count, HTTP_ERROR_LOOP_DETECTED + 1);
}

TEST(http_error, retry_advice_is_that_of_the_contract)
{
    const struct http_error_info *info = http_error_info(HTTP_ERROR_DEADLINE_RUNNING);
    assert_int_equal(info->status, 504);
    assert_int_equal(info->retry, HTTP_ERROR_RETRY_YES);
    assert_int_equal(info->retry_after_s, 1);
    info = http_error_info(HTTP_ERROR_DEADLINE);
    assert_int_equal(info->retry, HTTP_ERROR_RETRY_UNSAID);
    assert_int_equal(info->retry_after_s, 2);
    info = http_error_info(HTTP_ERROR_FLIGHT_CEILING);
    assert_int_equal(info->retry, HTTP_ERROR_RETRY_NO);
    assert_int_equal(info->retry_after_s, 0);
}

TEST(http_error, an_upstream_body_that_is_no_json_is_wrapped)
{
    assert_string_equal(wrapped(404, SPAN("<html>\r\n\t<h1>No\xc3\xbc\x01 way</h1>\n")),
                        "{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404,"
                        "\"detail\":\"the provider answered 404 without JSON: "
                        "<html> <h1>No way</h1>\",\"code\":\"upstream_error\"}");
    assert_string_equal(wrapped(418, SPAN("")),
                        "{\"type\":\"about:blank\",\"title\":\"Client Error\",\"status\":418,"
                        "\"detail\":\"the provider answered 418 without JSON: \","
                        "\"code\":\"upstream_error\"}");
}

#define X50 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X198 X50 X50 X50 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

TEST(http_error, an_upstream_body_is_cut_after_200_characters)
{
    assert_non_null(strstr(wrapped(400, SPAN(X198 "yz")), "x"
                                                          "yz\""));
    assert_non_null(strstr(wrapped(400, SPAN(X198 "yz!")), "x"
                                                           "yz\""));
    assert_non_null(strstr(wrapped(400, SPAN(X198 " z!")), "x"
                                                           " z\""));
    assert_non_null(strstr(wrapped(400, SPAN(X198 "y z")), "x"
                                                           "y\""));
}
