/* A power cut after each change of the disk, with every write since the last sync kept, dropped,
 * torn or shuffled: what was acknowledged by then is there, and the file is sound.  What it has
 * to be is said by core/key.  UNSTREAM_ALL=1: a longer workload, more dice. */
#include "fault_disk.h"
#include "fault_world.h"

/* Everything ends soon, so that keys begin new lives all the time. */
enum { ANSWER_MS = 20, FAILURE_MS = 6, RELEASED_MS = 30 };
enum { KEYS = 6, STEPS = 36, STEPS_ALL = 150, STEPS_MAX = 160, DICE = 1, DICE_ALL = 4 };

/* What a key is, and whether its last flight was accepted, with the token of its number. */
struct state {
    struct key key;
    bool accepted;
};

/* A workload and what each key was after each acknowledged step. */
struct workload {
    struct world world;
    uint64_t dice;
    unsigned steps, acknowledged, flights;
    unsigned flight_of[KEYS];
    struct state keys[STEPS_MAX + 2][KEYS];
    int64_t tried_ms[STEPS_MAX + 2]; /* when the step after so many was tried */
    int64_t now_ms;
    struct fault_recording recording;
};

static unsigned roll(struct workload *l, unsigned sides)
{
    l->dice = l->dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(l->dice >> 33) % sides;
}

static bool runs_all(void)
{
    const char *all = getenv("UNSTREAM_ALL");
    return all && strcmp(all, "1") == 0;
}

static struct key_event event_of(enum key_event_kind kind, unsigned flight, int64_t now_ms)
{
    return (struct key_event){
        .kind = kind,
        .now_ms = now_ms,
        .flight = flight_of((int)flight),
        .fingerprint = digest_of('p'),
        .paid_calls_max = PAID_CALLS_MAX,
        .expires_ms = now_ms + (kind == KEY_FAIL ? FAILURE_MS : ANSWER_MS),
        .released_ttl_ms = RELEASED_MS,
    };
}

/* Some keys are answered with one page, some with several. */
static struct span body_of(unsigned flight)
{
    enum { BODY = 40000 };
    static char body[BODY];
    memset(body, (int)flight, sizeof body);
    return (struct span){body, flight % 3 == 0 ? BODY : 10};
}

static bool is_accepted_by_claim(unsigned flight)
{
    return flight % 4 == 0;
}

static enum rc perform(struct workload *l, int key, const struct key_event *event)
{
    struct world *w = &l->world;
    int flight = (int)l->flight_of[key];
    struct store_completion completion;
    switch (event->kind) {
    case KEY_CLAIM: {
        REPLY claimed = is_accepted_by_claim(l->flight_of[key])
                            ? claim_accepted(w, key, flight, flight, event->now_ms)
                            : claim(w, key, flight, event->now_ms);
        return claimed.rc;
    }
    case KEY_COUNT: {
        REPLY counted = count_call(w, key, flight);
        return counted.rc;
    }
    case KEY_COMPLETE:
    case KEY_FAIL:
        completion = completion_of(key, flight, body_of((unsigned)flight), event->now_ms);
        completion.failed = event->kind == KEY_FAIL;
        completion.expires_ms = event->expires_ms;
        return complete_with(w, &completion);
    case KEY_RELEASE:
        return release(w, key, flight, event->give_back, event->now_ms);
    case KEY_CRASH:
    case KEY_EXPIRE:
        break;
    }
    return E_INVALID;
}

static enum key_event_kind choose(struct workload *l, enum key_state state)
{
    static const enum key_event_kind running[] = {KEY_COUNT, KEY_COMPLETE, KEY_COMPLETE,
                                                  KEY_FAIL, KEY_RELEASE};
    return state == KEY_RUNNING ? running[roll(l, COUNT_OF(running))] : KEY_CLAIM;
}

/* Accepts a flight that runs already. */
static bool accept_one(struct workload *l, int key)
{
    struct state *now = l->keys[l->acknowledged], *next = l->keys[l->acknowledged + 1];
    int flight = (int)l->flight_of[key];
    memcpy(next, now, sizeof l->keys[0]);
    next[key].accepted = true;
    l->tried_ms[l->acknowledged] = ++l->now_ms;
    if (accept_flight(&l->world, flight, flight, SPAN("{\"prompt\":\"hi\"}")) != OK)
        return false;
    fault_vfs_note(++l->acknowledged);
    return true;
}

/* One step that changes a key, noted before it is tried and again when it was acknowledged.
 * False: the store said that it failed. */
static bool step(struct workload *l)
{
    struct state *now = l->keys[l->acknowledged], *next = l->keys[l->acknowledged + 1];
    int some = (int)roll(l, KEYS);
    if (now[some].key.state == KEY_RUNNING && !now[some].accepted)
        return accept_one(l, some);
    enum key_result result;
    struct key_event event;
    int key;
    do {
        memcpy(next, now, sizeof l->keys[0]);
        key = (int)roll(l, KEYS);
        enum key_event_kind kind = choose(l, now[key].key.state);
        if (kind == KEY_CLAIM) {
            l->flight_of[key] = ++l->flights;
            next[key].accepted = is_accepted_by_claim(l->flights);
        }
        event = event_of(kind, l->flight_of[key], ++l->now_ms);
        event.give_back = roll(l, 2) == 0;
        result = key_apply(&next[key].key, &event);
    } while (result != KEY_APPLIED);
    l->tried_ms[l->acknowledged] = l->now_ms;
    if (perform(l, key, &event) != OK)
        return false;
    fault_vfs_note(++l->acknowledged);
    return true;
}

static void restart(struct workload *l)
{
    struct key_event crash = event_of(KEY_CRASH, 0, ++l->now_ms);
    world_close(&l->world);
    l->world.params.now_ms = crash.now_ms;
    fault_open(&l->world);
    for (int key = 0; key < KEYS; key++) {
        struct state *state = &l->keys[l->acknowledged][key];
        crash.accepted = state->accepted;
        (void)key_apply(&state->key, &crash);
    }
}

/* From an empty folder on.  It ends early when the store gives up. */
static void run(struct workload *l, const struct fault *fault, unsigned restart_every)
{
    fault_files_remove(&l->world);
    memset(l->keys, 0, sizeof l->keys);
    memset(l->flight_of, 0, sizeof l->flight_of);
    l->acknowledged = l->flights = 0;
    l->dice = 7;
    l->now_ms = l->world.params.now_ms = NOW_MS;
    fault_vfs_record();
    fault_open(&l->world);
    if (fault)
        fault_vfs_arm(fault);
    for (unsigned i = 1; i <= l->steps && step(l); i++) {
        if (restart_every && i % restart_every == 0)
            restart(l);
    }
    (void)fault_vfs_disarm();
    l->tried_ms[l->acknowledged] = l->now_ms;
    world_close(&l->world);
    l->recording = fault_vfs_take();
}

/* ---- judging an image */

/* The token of an accepted flight opens its result; a flight that was not accepted has none. */
static bool is_published(struct world *w, const struct state *expected, bool runs,
                         int64_t now_ms)
{
    RESULT found = result_of_token(w, expected->key.flight.bytes[0], now_ms);
    if (found.rc != OK || found.record.corrupt)
        return false;
    if (!expected->accepted)
        return found.record.state == FLIGHT_ROW_ABSENT;
    return runs ? found.record.state == FLIGHT_ROW_RUNNING
                : found.record.state > FLIGHT_ROW_RUNNING;
}

static bool matches(struct world *w, const struct state *expected, const struct reply *found,
                    int64_t now_ms)
{
    struct key key = expected->key;
    struct key_event crash = event_of(KEY_CRASH, 0, now_ms);
    crash.accepted = expected->accepted;
    (void)key_apply(&key, &crash);
    const struct key_record *record = &found->record;
    enum key_state state = key_state_at(&key, now_ms);
    if (found->rc != OK || record->state != state)
        return false;
    if (state == KEY_ABSENT)
        return true;
    if (record->paid_calls != key.paid_calls || record->corrupt ||
        memcmp(&record->flight, &key.flight, sizeof key.flight) != 0 ||
        !is_published(w, expected, state == KEY_RUNNING, now_ms))
        return false;
    bool answered = state == KEY_DONE || state == KEY_FAILED;
    return !answered ||
           (found->body && span_eq(blob_span(found->body), body_of(key.flight.bytes[0])));
}

/* Exactly the accepted flights run, each with its whole request. */
static void judge_accepted(struct world *w)
{
    unsigned count = 0;
    for (int after = -1;; count++) {
        ACCEPTED found = accepted_after(w, after);
        if (found.rc == E_NOT_FOUND)
            break;
        assert_int_equal(found.rc, OK);
        assert_false(found.record.corrupt);
        assert_span_equal(blob_span(found.body), "{\"prompt\":\"hi\"}");
        after = found.record.flight.bytes[0];
    }
    assert_int_equal(w->store->accepted, count);
    assert_int_equal(fault_ask(w, "SELECT count(*) FROM requests"), count);
    assert_int_equal(fault_ask(w, "SELECT count(*) FROM keys WHERE state = 'running'"), count);
    assert_int_equal(fault_ask(w, "SELECT count(*) FROM flights WHERE state = 'running'"),
                     count);
}

static void judge_image(struct workload *l, unsigned acknowledged, size_t place, enum cut cut)
{
    struct world *w = &l->world;
    int64_t now_ms = w->params.now_ms = l->tried_ms[acknowledged];
    if (world_open(w) != OK)
        fail_msg("change %zu, cut %d: %s", place, cut, buf_text(&w->problem));
    for (int key = 0; key < KEYS; key++) {
        REPLY found = lookup(w, key, now_ms);
        /* What was under way may have arrived. */
        bool good = matches(w, &l->keys[acknowledged][key], &found, now_ms) ||
                    matches(w, &l->keys[acknowledged + 1][key], &found, now_ms);
        if (!good)
            fail_msg("change %zu, cut %d: key %d is %s with %u calls (rc %d), not %s with %u",
                     place, cut, key, key_state_name(found.record.state),
                     found.record.paid_calls, found.rc,
                     key_state_name(l->keys[acknowledged][key].key.state),
                     l->keys[acknowledged][key].key.paid_calls);
    }
    assert_int_equal(fault_ask(w, "SELECT integrity_check = 'ok' FROM pragma_integrity_check"),
                     1);
    judge_accepted(w);
    world_close(w);
    fault_files_remove(w);
}

static void judge_cut(struct workload *l, const struct disk *disk, size_t place, enum cut cut,
                      uint64_t dice)
{
    fault_files_remove(&l->world);
    fault_disk_cut(disk, cut, dice, l->world.path);
    judge_image(l, l->recording.records[place].acknowledged, place, cut);
}

/* Every way to cut the power right before the change at `place`. */
static unsigned judge_cuts(struct workload *l, const struct disk *disk, size_t place)
{
    unsigned images = 0;
    bool synced = l->recording.records[place].change == FAULT_SYNCED;
    if (!fault_disk_has_pending(disk))
        return 0;
    if (synced) { /* once between two syncs is enough: nothing else is certain */
        judge_cut(l, disk, place, CUT_DROP, 0);
        judge_cut(l, disk, place, CUT_KEEP, 0);
        images += 2;
    }
    judge_cut(l, disk, place, CUT_TEAR, 0);
    images++;
    for (unsigned i = 0; i < (runs_all() ? DICE_ALL : DICE); i++, images++)
        judge_cut(l, disk, place, CUT_SHUFFLE, place * 16 + i);
    return images;
}

static void workload_make(struct workload *l)
{
    *l = (struct workload){.steps = runs_all() ? STEPS_ALL : STEPS};
    fault_vfs_install();
    world_make(&l->world);
    l->world.params.released_ttl_ms = RELEASED_MS;
}

TEST(store_power_cut, nothing_acknowledged_is_missing_and_no_file_is_damaged)
{
    static struct workload l;
    struct disk disk;
    unsigned images = 0;
    workload_make(&l);
    run(&l, NULL, l.steps / 3);
    assert_true(l.acknowledged >= l.steps / 2);
    fault_disk_init(&disk);
    for (size_t i = 0; i < l.recording.count; i++) {
        images += judge_cuts(&l, &disk, i);
        fault_disk_play(&disk, &l.recording.records[i]);
    }
    print_message("%zu changes, %u acknowledged steps, %u images\n", l.recording.count,
                  l.acknowledged, images);
    assert_true(images > 500);
    fault_disk_done(&disk);
    fault_recording_done(&l.recording);
    world_end(&l.world);
}

/* The kernel may forget what it could not sync, and report success the next time. */
TEST(store_power_cut, after_a_sync_that_failed_what_was_acknowledged_is_still_there)
{
    static struct workload l;
    struct fault fault = {FAULT_SYNC, FAULT_FAIL, 0, false};
    bool failed = true;
    workload_make(&l);
    while (failed) {
        struct disk disk;
        failed = false;
        fault.at++;
        run(&l, &fault, 0);
        fault_disk_init(&disk);
        for (size_t i = 0; i < l.recording.count; i++) {
            failed |= l.recording.records[i].change == FAULT_UNSYNCED;
            fault_disk_play(&disk, &l.recording.records[i]);
        }
        size_t last = l.recording.count - 1;
        l.recording.records[last].acknowledged = l.acknowledged;
        judge_cut(&l, &disk, last, CUT_DROP, 0);
        judge_cut(&l, &disk, last, CUT_KEEP, 0);
        fault_disk_done(&disk);
        fault_recording_done(&l.recording);
    }
    print_message("%u syncs\n", fault.at - 1);
    assert_true(fault.at > 10);
    world_end(&l.world);
}
