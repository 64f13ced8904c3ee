#include "core/key.h"

#include <string.h>

static const char *const state_names[] = {
#define X(name, word) [name] = word,
    KEY_STATE_TABLE(X)
#undef X
};

static const char *const event_names[] = {
#define X(name, word) [name] = word,
    KEY_EVENT_TABLE(X)
#undef X
};

static const char *const invariant_texts[] = {
#define X(name, text) [name] = text,
    KEY_INVARIANT_TABLE(X)
#undef X
};

const char *key_state_name(enum key_state state)
{
    ASSERT((size_t)state < COUNT_OF(state_names));
    return state_names[state];
}

const char *key_event_name(enum key_event_kind kind)
{
    return event_names[kind];
}

const char *key_invariant_text(enum key_invariant invariant)
{
    return invariant_texts[invariant];
}

enum key_state key_state_at(const struct key *key, int64_t now_ms)
{
    if (key->state == KEY_ABSENT || key->forget_ms <= now_ms)
        return KEY_ABSENT;
    if (key->state == KEY_FAILED && key->answer_until_ms <= now_ms)
        return KEY_RELEASED;
    return key->state;
}

/* ---- events */

static bool same_fingerprint(const struct key *key, const struct digest *fingerprint)
{
    return memcmp(key->fingerprint.bytes, fingerprint->bytes, SHA256_BYTES) == 0;
}

static bool owns(const struct key *key, const struct key_event *event)
{
    return key->state == KEY_RUNNING && flight_id_eq(key->flight, event->flight);
}

static void begin(struct key *key, const struct key_event *event, unsigned paid_calls,
                  int64_t created_ms)
{
    *key = (struct key){
        .state = KEY_RUNNING,
        .fingerprint = event->fingerprint,
        .flight = event->flight,
        .paid_calls = paid_calls,
        .created_ms = created_ms,
        .forget_ms = KEY_NEVER,
    };
}

static enum key_result on_claim(struct key *key, const struct key_event *event)
{
    enum key_state state = key_state_at(key, event->now_ms);
    if (state == KEY_ABSENT) {
        begin(key, event, 1, event->now_ms);
        return KEY_APPLIED;
    }
    if (!same_fingerprint(key, &event->fingerprint))
        return KEY_OTHER;
    if (state != KEY_RELEASED)
        return KEY_EXISTS;
    if (key->paid_calls >= event->paid_calls_max)
        return KEY_EXHAUSTED;
    begin(key, event, key->paid_calls + 1, key->created_ms);
    return KEY_APPLIED;
}

static enum key_result on_count(struct key *key, const struct key_event *event)
{
    if (!owns(key, event))
        return KEY_CONFLICT;
    if (key->paid_calls >= event->paid_calls_max)
        return KEY_EXHAUSTED;
    key->paid_calls++;
    return KEY_APPLIED;
}

static void end(struct key *key, enum key_state state, const struct key_event *event)
{
    int64_t remember_ms = event->now_ms + event->released_ttl_ms;
    key->state = state;
    key->ended_ms = event->now_ms;
    key->answer_until_ms = state == KEY_RELEASED ? 0 : event->expires_ms;
    key->forget_ms = state == KEY_RELEASED ? remember_ms : event->expires_ms;
    /* A failure becomes a release that remembers what was paid. */
    if (state == KEY_FAILED && remember_ms > key->forget_ms)
        key->forget_ms = remember_ms;
}

static enum key_result on_end(struct key *key, enum key_state state,
                              const struct key_event *event)
{
    if (!owns(key, event))
        return KEY_CONFLICT;
    if (state == KEY_RELEASED && event->give_back && key->paid_calls > 0)
        key->paid_calls--;
    end(key, state, event);
    return KEY_APPLIED;
}

enum key_result key_apply(struct key *key, const struct key_event *event)
{
    switch (event->kind) {
    case KEY_CLAIM:
        return on_claim(key, event);
    case KEY_COUNT:
        return on_count(key, event);
    case KEY_COMPLETE:
        return on_end(key, KEY_DONE, event);
    case KEY_FAIL:
        return on_end(key, KEY_FAILED, event);
    case KEY_RELEASE:
        return on_end(key, KEY_RELEASED, event);
    case KEY_CRASH:
        if (key->state == KEY_RUNNING && !event->accepted)
            end(key, KEY_RELEASED, event);
        return KEY_APPLIED;
    case KEY_EXPIRE:
        if (key_state_at(key, event->now_ms) == KEY_ABSENT)
            *key = (struct key){.state = KEY_ABSENT};
        return KEY_APPLIED;
    }
    return KEY_CONFLICT;
}

/* ---- invariants */

/* Field by field: padding does not count. */
static bool same_key(const struct key *a, const struct key *b)
{
    return a->state == b->state && same_fingerprint(a, &b->fingerprint) &&
           flight_id_eq(a->flight, b->flight) && a->paid_calls == b->paid_calls &&
           a->created_ms == b->created_ms && a->ended_ms == b->ended_ms &&
           a->answer_until_ms == b->answer_until_ms && a->forget_ms == b->forget_ms;
}

static bool is_sound(const struct key *key)
{
    const struct key absent = {.state = KEY_ABSENT};
    bool answered = key->state == KEY_DONE || key->state == KEY_FAILED;
    if (key->state == KEY_ABSENT)
        return same_key(key, &absent);
    return (key->state == KEY_RUNNING) == (key->forget_ms == KEY_NEVER) &&
           (answered || key->answer_until_ms == 0);
}

struct step {
    const struct key *before, *after;
    const struct key_event *event;
    enum key_result result;
    enum key_state seen; /* before the event, at its time */
    bool changed;
};

/* A flight begins only where none runs, and a running key keeps the one it has. */
static bool one_flight(const struct step *step)
{
    bool runs = step->before->state == KEY_RUNNING;
    bool begins = step->event->kind == KEY_CLAIM && step->result == KEY_APPLIED;
    bool keeps = flight_id_eq(step->after->flight, step->before->flight);
    if (begins)
        return !runs && step->after->state == KEY_RUNNING &&
               flight_id_eq(step->after->flight, step->event->flight);
    return runs ? keeps : step->after->state != KEY_RUNNING;
}

/* By how much the count of a life has to change. */
static int count_of(const struct step *step)
{
    if (step->result != KEY_APPLIED)
        return 0;
    switch (step->event->kind) {
    case KEY_CLAIM:
    case KEY_COUNT:
        return 1;
    case KEY_RELEASE:
        return step->event->give_back && step->before->paid_calls > 0 ? -1 : 0;
    case KEY_COMPLETE:
    case KEY_FAIL:
    case KEY_CRASH:
    case KEY_EXPIRE:
        return 0;
    }
    return 0;
}

static bool counted(const struct step *step)
{
    int change = count_of(step);
    bool lives_on = step->seen != KEY_ABSENT;
    int before = lives_on || step->event->kind != KEY_CLAIM ? (int)step->before->paid_calls : 0;
    if (step->after->state == KEY_ABSENT)
        return true;
    if (change > 0 && step->after->paid_calls > step->event->paid_calls_max)
        return false;
    return (int)step->after->paid_calls == before + change;
}

static bool is_answer(enum key_state state)
{
    return state == KEY_DONE || state == KEY_FAILED;
}

static bool by_its_owner(const struct step *step)
{
    switch (step->event->kind) {
    case KEY_COUNT:
    case KEY_COMPLETE:
    case KEY_FAIL:
    case KEY_RELEASE:
        return !step->changed || owns(step->before, step->event);
    case KEY_CLAIM:
    case KEY_CRASH:
    case KEY_EXPIRE:
        return true;
    }
    return true;
}

static bool crash_loses_nothing(const struct step *step)
{
    if (step->event->kind != KEY_CRASH)
        return true;
    if (step->before->state != KEY_RUNNING || step->event->accepted)
        return !step->changed;
    return step->after->state != KEY_ABSENT &&
           step->after->paid_calls == step->before->paid_calls &&
           same_fingerprint(step->after, &step->before->fingerprint);
}

static bool running_ends_with_its_process(const struct step *step)
{
    if (step->event->kind == KEY_CRASH)
        return step->after->state != KEY_RUNNING || step->event->accepted;
    return step->event->kind != KEY_EXPIRE || step->before->state != KEY_RUNNING ||
           !step->changed;
}

enum key_invariant key_check(const struct key *before, const struct key_event *event,
                             enum key_result result, const struct key *after)
{
    const struct step step = {
        .before = before,
        .after = after,
        .event = event,
        .result = result,
        .seen = key_state_at(before, event->now_ms),
        .changed = !same_key(before, after),
    };
    bool other_claim =
        event->kind == KEY_CLAIM && !same_fingerprint(before, &event->fingerprint);
    if (!by_its_owner(&step))
        return KEY_I6;
    if (step.seen != KEY_ABSENT && other_claim && step.changed)
        return KEY_I5;
    if (is_answer(step.seen) && step.changed)
        return KEY_I3;
    if (!running_ends_with_its_process(&step))
        return KEY_I8;
    if (!crash_loses_nothing(&step))
        return KEY_I4;
    if (!one_flight(&step))
        return KEY_I1;
    if (!counted(&step))
        return KEY_I2;
    return is_sound(after) && (result == KEY_APPLIED || !step.changed) ? KEY_FINE : KEY_SOUND;
}
