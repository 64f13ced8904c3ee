#include "test.h"

#include "app/ops_keys.h"
#include "core/config_table.h"
#include "core/scope.h"

#include <limits.h>

enum { NOW_MS = 5000000, TEXT_BYTES = 65536 };

static const struct config_client clients[] = {{.name = SPAN("billing")},
                                               {.name = SPAN("mobile")}};
static const struct config config = {.clients = clients, .client_count = 2};
static const struct ops_keys keys = {&config, SPAN("0123456789abcdef0123456789abcdef")};

static struct store_task parse(const char *verb, const char *body)
{
    struct store_task task;
    const char *problem = NULL;
    enum rc rc = ops_keys_parse(&keys, span_of(verb), span_of(body), NOW_MS, &task, &problem);
    if (rc != OK)
        fail_msg("%s %s: %s", verb, body, problem ? problem : rc_text(rc));
    return task;
}

#define assert_refused(verb, body, text)                                                       \
    do {                                                                                       \
        struct store_task task_;                                                               \
        const char *problem_ = NULL;                                                           \
        assert_int_equal(                                                                      \
            ops_keys_parse(&keys, SPAN(verb), SPAN(body), NOW_MS, &task_, &problem_),          \
            E_INVALID);                                                                        \
        assert_string_equal(problem_, text);                                                   \
    } while (0)

static struct digest scope_of(enum scope_kind kind, struct span tenant)
{
    struct digest scope;
    assert_int_equal(scope_digest(keys.salt, kind, tenant, &scope), OK);
    return scope;
}

TEST(ops_keys, without_conditions_all_keys_are_listed)
{
    struct store_task task = parse("list", "{}");
    assert_int_equal(task.kind, STORE_TASK_LIST);
    assert_false(task.by_key || task.by_scope || task.goes_on);
    assert_true(task.created_before_ms == INT64_MAX);
    assert_int_equal(task.now_ms, NOW_MS);
}

TEST(ops_keys, a_client_is_a_scope_and_a_key_a_digest_with_it)
{
    struct digest billing = scope_of(SCOPE_CLIENT, SPAN("billing")), key;
    struct store_task task = parse("purge", "{\"client\":\"billing\",\"key\":\"order-17\"}");
    assert_int_equal(scope_key_digest(&billing, SPAN("order-17"), &key), OK);
    assert_int_equal(task.kind, STORE_TASK_PURGE);
    assert_true(task.by_scope);
    assert_memory_equal(&task.scope, &billing, sizeof billing);
    assert_true(task.by_key);
    assert_memory_equal(&task.key, &key, sizeof key);
}

TEST(ops_keys, a_key_without_a_client_is_of_anonymous_callers)
{
    struct digest anonymous = scope_of(SCOPE_ANONYMOUS, SPAN("")), key;
    struct store_task task = parse("show", "{\"key\":\"order-17\"}");
    assert_int_equal(scope_key_digest(&anonymous, SPAN("order-17"), &key), OK);
    assert_int_equal(task.kind, STORE_TASK_LIST);
    assert_false(task.by_scope);
    assert_memory_equal(&task.key, &key, sizeof key);
}

TEST(ops_keys, ages_digests_and_places_are_read)
{
    struct digest digest;
    memset(&digest, 0xab, sizeof digest);
    struct store_task task = parse("release", "{\"older_than_s\":60,\"after\":"
                                              "\"abababababababababababababababab"
                                              "abababababababababababababababab\"}");
    assert_int_equal(task.kind, STORE_TASK_RELEASE);
    assert_int_equal(task.created_before_ms, NOW_MS - 60000);
    assert_true(task.goes_on);
    assert_memory_equal(&task.after, &digest, sizeof digest);
    task = parse("show", "{\"digest\":\"ABABABABABABABABABABABABABABABAB"
                         "ABABABABABABABABABABABABABABABAB\"}");
    assert_true(task.by_key);
    assert_memory_equal(&task.key, &digest, sizeof digest);
}

TEST(ops_keys, what_is_wrong_is_told)
{
    static const char no_key[] = "name a key with \"key\" or \"digest\"";
    static const char no_condition[] =
        "say which keys with \"client\", \"key\", \"digest\" or \"older_than_s\"";
    assert_refused("list", "", "send a JSON object");
    assert_refused("list", "[]", "send a JSON object");
    assert_refused("list", "{\"client\":", "the body is not valid JSON");
    assert_refused("list", "{\"clients\":1}",
                   "known members are client, key, digest, older_than_s and after");
    assert_refused("list", "{\"client\":\"bill\"}",
                   "\"client\" is the name of no configured client");
    assert_refused("list", "{\"client\":1}", "\"client\" is the name of no configured client");
    assert_refused("list", "{\"older_than_s\":-1}",
                   "\"older_than_s\" is a whole number of seconds");
    assert_refused("list", "{\"digest\":\"ab\"}",
                   "\"digest\" and \"after\" are 64 hexadecimal digits");
    assert_refused("list", "{\"key\":\"a\",\"digest\":\"b\"}", no_key);
    assert_refused("list", "{\"key\":null}", no_key);
    assert_refused("show", "{}", no_key);
    assert_refused("show", "{\"client\":\"billing\"}", no_key);
    assert_refused("purge", "{}", no_condition);
    assert_refused("release",
                   "{\"after\":\"abababababababababababababababab"
                   "abababababababababababababababab\"}",
                   no_condition);
}

TEST(ops_keys, a_request_over_its_limit_is_not_read)
{
    static char body[OPS_KEYS_REQUEST_BYTES_MAX + 1];
    struct store_task task;
    const char *problem = NULL;
    memset(body, ' ', sizeof body);
    body[0] = '{';
    body[1] = '}';
    assert_int_equal(ops_keys_parse(&keys, SPAN("list"), (struct span){body, sizeof body - 1},
                                    NOW_MS, &task, &problem),
                     OK);
    assert_int_equal(ops_keys_parse(&keys, SPAN("list"), (struct span){body, sizeof body},
                                    NOW_MS, &task, &problem),
                     E_INVALID);
    assert_string_equal(problem, "a request has at most 65536 bytes");
}

TEST(ops_keys, there_are_four_verbs)
{
    struct store_task task;
    const char *problem = NULL;
    assert_int_equal(ops_keys_parse(&keys, SPAN("drop"), SPAN("{}"), NOW_MS, &task, &problem),
                     E_NOT_FOUND);
    assert_int_equal(ops_keys_parse(&keys, SPAN(""), SPAN("{}"), NOW_MS, &task, &problem),
                     E_NOT_FOUND);
}

TEST(ops_keys, a_reply_tells_keys_with_their_client_and_where_to_go_on)
{
    struct key_summary summaries[2] = {
        {.state = KEY_DONE,
         .paid_calls = 2,
         .created_ms = 1,
         .ended_ms = 2,
         .route = SPAN("/v1/messages"),
         .status = 200,
         .body_bytes = 3},
        {.state = KEY_RUNNING, .paid_calls = 1, .created_ms = 4}};
    memset(&summaries[0].key, 0x11, sizeof summaries[0].key);
    memset(&summaries[1].key, 0x22, sizeof summaries[1].key);
    summaries[0].scope = scope_of(SCOPE_CLIENT, SPAN("mobile"));
    const struct store_task_result result = {
        .count = 2, .keys = summaries, .more = true, .next = summaries[1].key};
    BUF(out, TEXT_BYTES);
    ops_keys_render(&keys, &result, &out);
    assert_string_equal(
        buf_text(&out),
        "{\"count\":2,"
        "\"next\":\"2222222222222222222222222222222222222222222222222222222222222222\","
        "\"keys\":[{"
        "\"digest\":\"1111111111111111111111111111111111111111111111111111111111111111\","
        "\"flight\":\"00000000000000000000000000000000\",\"scope\":\"client\","
        "\"client\":\"mobile\",\"state\":\"done\",\"paid_calls\":2,\"created_ms\":1,"
        "\"ended_ms\":2,\"status\":200,\"answer_bytes\":3,\"route\":\"/v1/messages\"},{"
        "\"digest\":\"2222222222222222222222222222222222222222222222222222222222222222\","
        "\"flight\":\"00000000000000000000000000000000\",\"scope\":\"credential\","
        "\"state\":\"running\",\"paid_calls\":1,\"created_ms\":4,\"answer_bytes\":0,"
        "\"route\":\"\"}]}\n");
}

TEST(ops_keys, a_full_page_of_the_longest_names_fits)
{
    static char name[CONFIG_NAME_BYTES_MAX];
    static struct key_summary summaries[STORE_TASK_KEYS_MAX];
    memset(name, 1, sizeof name); /* six characters each: \u0001 */
    const struct config_client client = {.name = {name, sizeof name}};
    const struct config one_client = {.clients = &client, .client_count = 1};
    const struct ops_keys its_keys = {&one_client, keys.salt};
    for (size_t i = 0; i < COUNT_OF(summaries); i++)
        summaries[i] = (struct key_summary){.scope = scope_of(SCOPE_CLIENT, client.name),
                                            .state = KEY_RELEASED,
                                            .paid_calls = UINT_MAX,
                                            .created_ms = INT64_MIN,
                                            .ended_ms = INT64_MIN,
                                            .route = SPAN("/v1/chat/completions"),
                                            .status = INT_MIN,
                                            .body_bytes = UINT64_MAX};
    const struct store_task_result page = {
        .count = COUNT_OF(summaries), .keys = summaries, .more = true};
    BUF(out, OPS_KEYS_REPLY_BYTES_MAX);
    ops_keys_render(&its_keys, &page, &out);
    assert_int_equal(buf_rc(&out), OK);
    assert_true(span_ends(buf_span(&out), "\"}]}\n"));
}
