/* Every allocation that an operation makes fails in turn, once or for ever: the operation
 * succeeds or ends in E_NOMEM, nothing acknowledged is missing, nothing leaks.  The first
 * EVERY_ONE of an operation are tried, and of those behind them (mostly SQLite's parser) one in
 * STRIDE; UNSTREAM_ALL=1 tries all. */
#include "fault_memory.h"
#include "fault_operations.h"

enum { TRIES_MAX = 5000, EVERY_ONE = 40, STRIDE = 13 };

/* Starting an operation may fail as well, and then no callback comes. */
static enum rc start_claim(struct world *w)
{
    struct store_claim params = claim_of('n', 'n', NOW_MS);
    REPLY reply = {0};
    enum rc rc = store_claim(w->store, &params, on_claim, &reply);
    if (rc != OK)
        return rc;
    world_wait(w, &reply, 1);
    return reply.rc;
}

static enum rc start_count(struct world *w)
{
    struct digest key = digest_of('c');
    struct reply reply = {0};
    enum rc rc = store_count(w->store, &key, flight_of('c'), PAID_CALLS_MAX, on_count, &reply);
    if (rc != OK)
        return rc;
    world_wait(w, &reply, 1);
    return reply.rc;
}

static enum rc start_release(struct world *w)
{
    struct store_release params = {.key = digest_of('c'),
                                   .flight = flight_of('c'),
                                   .give_back = true,
                                   .outcome = {.status = 429, .error_code = SPAN("x")},
                                   .now_ms = NOW_MS};
    struct reply reply = {0};
    enum rc rc = store_release(w->store, &params, on_done, &reply);
    if (rc != OK)
        return rc;
    world_wait(w, &reply, 1);
    return reply.rc;
}

static enum rc start_lookup(struct world *w)
{
    struct digest key = digest_of('d');
    REPLY reply = {0};
    enum rc rc = store_lookup(w->store, &key, NOW_MS, on_lookup, &reply);
    if (rc != OK)
        return rc;
    world_wait(w, &reply, 1);
    if (reply.rc == OK) {
        assert_int_equal(reply.record.state, KEY_DONE);
        assert_span_equal(blob_span(reply.body), "kept");
    }
    return reply.rc;
}

static const struct operation memory_operations[] = {
    {"open", true, NULL, run_open, check_nothing},
    {"claim", false, NULL, start_claim, check_claim},
    {"count", false, prepare_claim, start_count, check_count},
    {"complete", false, prepare_claim_and_body, run_complete_prepared, check_complete},
    {"release", false, prepare_claim, start_release, check_release},
    {"publish", false, prepare_claim_and_body, run_publish, check_publish},
    {"claim accepted", false, prepare_body, run_claim_accepted, check_claim_accepted},
    {"complete accepted", false, prepare_accepted, run_complete_prepared,
     check_complete_accepted},
    {"result", false, NULL, run_result, check_nothing},
    {"accepted", false, NULL, run_accepted, check_nothing},
    {"lookup", false, NULL, start_lookup, check_nothing},
    {"purge", false, NULL, run_purge, check_purge},
    {"close", false, prepare_claim, run_close, check_claimed},
};

/* One try.  True: an allocation failed. */
static bool try_operation(struct world *w, const struct buf *template,
                          const struct operation *operation, unsigned at, bool for_ever)
{
    fault_world_reset(w, template);
    if (!operation->opens)
        fault_open(w);
    if (operation->prepare)
        operation->prepare(w);
    fault_memory_arm(at, for_ever);
    enum rc rc = operation->run(w);
    bool struck = fault_memory_disarm();
    if (rc != OK && !(rc == E_NOMEM && struck))
        fail_msg("%s, allocation %u: %s (%s)", operation->name, at, rc_text(rc),
                 buf_text(&w->problem));
    world_close(w);
    assert_int_equal(sqlite3_memory_used(), 0);
    fault_open(w);
    operation->check(w, rc);
    fault_published_check(w);
    fault_world_check(w);
    world_close(w);
    return struck;
}

static unsigned try_all(struct world *w, const struct buf *template,
                        const struct operation *operation, bool for_ever)
{
    const char *all = getenv("UNSTREAM_ALL");
    bool every_one = all && strcmp(all, "1") == 0;
    unsigned tries = 1;
    for (unsigned at = 1; try_operation(w, template, operation, at, for_ever); tries++) {
        at += every_one || at < EVERY_ONE ? 1 : STRIDE;
        assert_true(at < TRIES_MAX);
    }
    return tries;
}

TEST(store_memory, every_operation_succeeds_or_ends_in_nomem)
{
    struct world w;
    struct buf template;
    fault_memory_install();
    fault_world_make(&w, &template);
    for (size_t i = 0; i < COUNT_OF(memory_operations); i++) {
        const struct operation *operation = &memory_operations[i];
        unsigned tries = try_all(&w, &template, operation, false);
        tries += try_all(&w, &template, operation, true);
        print_message("%s: %u tries\n", operation->name, tries);
        assert_true(tries > 2);
    }
    buf_done(&template);
    world_end(&w);
}
