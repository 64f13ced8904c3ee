/* What happened to one flight, and when: a bounded record, for people who ask why.
 *
 * Adding an entry copies a few numbers and formats nothing.  At most TIMELINE_ENTRIES_MAX are
 * kept: the first half of them stays, and of the later ones the oldest about waiters goes first,
 * then the oldest; so the beginning and the end are always there.  What was left out, also for
 * want of memory, is counted.  Texts that come from outside are cut at TIMELINE_TEXT_BYTES_MAX
 * and made printable ASCII.  Pure; thread: any, one owner. */
#ifndef CORE_TIMELINE_H
#define CORE_TIMELINE_H

#include "base/buf.h"

enum {
    TIMELINE_ENTRIES_MAX = 64,
    TIMELINE_TEXT_BYTES_MAX = 64, /* of an upstream's name, of a provider's request id */
    TIMELINE_TEXTS_BYTES_MAX = TIMELINE_ENTRIES_MAX * TIMELINE_TEXT_BYTES_MAX, /* of all */
};

/* What is known of an entry, beside its time. */
enum timeline_members {
    TIMELINE_ATTEMPT = 1,
    TIMELINE_STATUS = 2,
    TIMELINE_MS = 4,
    TIMELINE_WAITERS = 8, /* how many clients wait afterwards */
    TIMELINE_BILLED = 16,
};

/* X(enum, word, members, sentence, sentence instead when there is a word, or NULL).  In sentences
 * %a stands for the attempt, %u for the upstream, %w for the word, %s for the status, %t for the
 * time it took or takes. */
#define TIMELINE_EVENT_TABLE(X)                                                                \
    X(TIMELINE_STARTED, "started", 0, "its first request came", NULL)                          \
    X(TIMELINE_RESUMED, "resumed", 0, "a restart was survived: it is driven again", NULL)      \
    X(TIMELINE_LOOKED_UP, "looked_up", 0, "its key was looked up in the store: %w", NULL)      \
    X(TIMELINE_QUEUED, "queued", 0, "it waits for a slot, or for the provider's pause to end", \
      NULL)                                                                                    \
    X(TIMELINE_ADMITTED, "admitted", TIMELINE_MS, "it got its place after %t", NULL)           \
    X(TIMELINE_REFUSED, "refused", 0, "it got no place: %w", NULL)                             \
    X(TIMELINE_CLAIMED, "claimed", 0, "its key was claimed, and its first call counted",       \
      "its key could not be claimed: %w")                                                      \
    X(TIMELINE_COUNTED, "counted", 0, "one more paid call was counted, ahead of the call",     \
      "the next call could not be counted: %w")                                                \
    X(TIMELINE_CALL, "call", TIMELINE_ATTEMPT, "call %a to %u began", NULL)                    \
    X(TIMELINE_OUTPUT, "output", TIMELINE_ATTEMPT | TIMELINE_MS,                               \
      "call %a brought its first output after %t", NULL)                                       \
    X(TIMELINE_CALL_ENDED, "call_ended",                                                       \
      TIMELINE_ATTEMPT | TIMELINE_STATUS | TIMELINE_MS | TIMELINE_BILLED,                      \
      "call %a to %u ended: %w", NULL)                                                         \
    X(TIMELINE_PAUSE, "pause", TIMELINE_MS, "the next call waits for %t", NULL)                \
    X(TIMELINE_FALLBACK, "fallback", 0, "its calls go to the fallback %u now", NULL)           \
    X(TIMELINE_WAITER_IN, "waiter_in", TIMELINE_WAITERS, "a request waits for it (%w)", NULL)  \
    X(TIMELINE_WAITER_LEFT, "waiter_left", TIMELINE_WAITERS, "a client left", NULL)            \
    X(TIMELINE_WAITER_OUT, "waiter_out", TIMELINE_WAITERS | TIMELINE_STATUS,                   \
      "a request was told %s", "a request was told %s (%w)")                                   \
    X(TIMELINE_ORPHANED, "orphaned", 0, "nobody waits for it: it is kept for a retry", NULL)   \
    X(TIMELINE_PUBLISHED, "published", 0, "its result can be fetched by URL",                  \
      "its result could not be given a URL: %w")                                               \
    X(TIMELINE_STOPPED, "stopped", 0, "it was stopped: %w", NULL)                              \
    X(TIMELINE_COMMITTED, "committed", 0, "its outcome is in the store",                       \
      "its outcome could not be stored: %w")                                                   \
    X(TIMELINE_RELEASED, "released", 0, "its key was released: a retry runs again",            \
      "its key could not be released: %w")                                                     \
    X(TIMELINE_ANSWERED, "answered", TIMELINE_STATUS, "it ended with %s", "it ended with %s %w")

enum timeline_event {
#define X(event, word, members, sentence, instead) event,
    TIMELINE_EVENT_TABLE(X)
#undef X
        TIMELINE_EVENT_COUNT
};

const char *timeline_event_name(enum timeline_event event);

/* What is to be remembered.  Texts are static, but for the spans, which are copied. */
struct timeline_note {
    enum timeline_event event;
    int64_t at_ms; /* since the flight's start */
    int64_t ms;    /* of ADMITTED, OUTPUT, CALL_ENDED, PAUSE: how long it took or takes */
    /* How it went.  LOOKED_UP and CLAIMED: what the key is; COUNTED, PUBLISHED, COMMITTED and
     * RELEASED: why it failed, NULL: it did not; CALL_ENDED: the attempt's end; REFUSED, STOPPED,
     * ANSWERED: the error; WAITER_IN and WAITER_OUT: how the request came, or what it was told. */
    const char *word;
    unsigned attempt;
    int status;      /* 0: none */
    uint64_t number; /* waiters; CALL_ENDED: bytes of output; COUNTED: paid calls of the key */
    bool yes;        /* CALL_ENDED: it may have been billed; WAITER_OUT: it was delivered */
    struct span upstream;   /* CALL, CALL_ENDED, FALLBACK */
    struct span request_id; /* CALL_ENDED: the provider's; absent: none */
};

/* A piece of `texts`; n 0: none. */
struct timeline_text {
    uint16_t at, n;
};

struct timeline_entry {
    const char *word;
    uint32_t at_ms, ms, number;
    struct timeline_text upstream, request_id;
    uint16_t attempt, status;
    uint8_t event;
    bool yes;
};

struct timeline {
    struct timeline_entry *entries;
    unsigned count, capacity;
    unsigned omitted; /* entries that are missing */
    struct buf texts;
};

/* Takes no memory yet. */
void timeline_init(struct timeline *timeline);
void timeline_done(struct timeline *timeline);
/* The record as it is; `timeline` is empty afterwards. */
struct timeline timeline_take(struct timeline *timeline);

/* Remember this.  Out of memory: it is left out. */
void timeline_add(struct timeline *timeline, const struct timeline_note *note);

/* Appends what entry i says, as one sentence without its full stop. */
void timeline_sentence(const struct timeline *timeline, unsigned i, struct buf *out);
/* Appends all entries as a JSON array of objects of the members at_ms, event, text, attempt, end,
 * status, request_id, maybe_billed, ms and waiters; null: it does not apply, or is not known. */
void timeline_render(const struct timeline *timeline, struct buf *out);

#endif
