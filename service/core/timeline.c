#include "core/timeline.h"

#include "core/json.h"

#include <stdlib.h>
#include <string.h>

enum { ENTRIES_FIRST = 16, ENTRIES_KEPT = TIMELINE_ENTRIES_MAX / 2, SENTENCE_BYTES_MAX = 512 };

static const struct {
    const char *name;
    unsigned members;
    const char *sentence, *instead; /* instead: when there is a word; NULL: the same */
} events[TIMELINE_EVENT_COUNT] = {
#define X(event, word, members, sentence, instead) [event] = {word, members, sentence, instead},
    TIMELINE_EVENT_TABLE(X)
#undef X
};

const char *timeline_event_name(enum timeline_event event)
{
    return events[event].name;
}

void timeline_init(struct timeline *timeline)
{
    *timeline = (struct timeline){.entries = NULL};
    buf_init(&timeline->texts, TIMELINE_TEXTS_BYTES_MAX);
}

void timeline_done(struct timeline *timeline)
{
    free(timeline->entries);
    buf_done(&timeline->texts);
    timeline_init(timeline);
}

struct timeline timeline_take(struct timeline *timeline)
{
    struct timeline taken = *timeline;
    timeline_init(timeline);
    return taken;
}

/* ---- adding */

static bool is_about_waiters(const struct timeline_entry *entry)
{
    return events[entry->event].members & TIMELINE_WAITERS;
}

/* One of the later entries makes room: see the header. */
static void leave_one_out(struct timeline *timeline)
{
    unsigned at = ENTRIES_KEPT;
    while (at < timeline->count && !is_about_waiters(&timeline->entries[at]))
        at++;
    if (at == timeline->count)
        at = ENTRIES_KEPT;
    timeline->count--;
    timeline->omitted++;
    memmove(&timeline->entries[at], &timeline->entries[at + 1],
            (timeline->count - at) * sizeof timeline->entries[0]);
}

/* False: out of memory. */
static bool make_room(struct timeline *timeline)
{
    if (timeline->count == TIMELINE_ENTRIES_MAX)
        leave_one_out(timeline);
    if (timeline->count < timeline->capacity)
        return true;
    unsigned capacity = timeline->capacity ? 2 * timeline->capacity : ENTRIES_FIRST;
    struct timeline_entry *grown =
        realloc(timeline->entries, capacity * sizeof timeline->entries[0]);
    if (!grown)
        return false;
    timeline->entries = grown;
    timeline->capacity = capacity;
    return true;
}

/* Equal texts, as the names of upstreams are, stand there once. */
static struct timeline_text keep_text(struct timeline *timeline, struct span text)
{
    char printable[TIMELINE_TEXT_BYTES_MAX];
    struct buf *texts = &timeline->texts;
    size_t n = text.n < sizeof printable ? text.n : sizeof printable;
    for (size_t i = 0; i < n; i++)
        printable[i] = (char)(text.p[i] >= 0x20 && text.p[i] < 0x7f ? text.p[i] : '?');
    const char *known = texts->n ? memmem(texts->p, texts->n, printable, n) : NULL;
    if (n > 0 && known)
        return (struct timeline_text){(uint16_t)(known - texts->p), (uint16_t)n};
    size_t at = texts->n;
    buf_add(texts, (struct span){printable, n});
    if (texts->n == at)
        return (struct timeline_text){0, 0};
    return (struct timeline_text){(uint16_t)at, (uint16_t)n};
}

static uint32_t small(int64_t value)
{
    return value < 0 ? 0 : value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

void timeline_add(struct timeline *timeline, const struct timeline_note *note)
{
    if (!make_room(timeline)) {
        timeline->omitted++;
        return;
    }
    timeline->entries[timeline->count++] = (struct timeline_entry){
        .word = note->word,
        .at_ms = small(note->at_ms),
        .ms = small(note->ms),
        .number = note->number > UINT32_MAX ? UINT32_MAX : (uint32_t)note->number,
        .upstream = keep_text(timeline, note->upstream),
        .request_id = keep_text(timeline, note->request_id),
        .attempt = (uint16_t)note->attempt,
        .status = (uint16_t)note->status,
        .event = (uint8_t)note->event,
        .yes = note->yes,
    };
}

/* ---- sentences */

static struct span text_of(const struct timeline *timeline, struct timeline_text text)
{
    return text.n ? (struct span){timeline->texts.p + text.at, text.n} : SPAN_ABSENT;
}

static void say_value(const struct timeline *timeline, const struct timeline_entry *entry,
                      char which, struct buf *out)
{
    if (which == 'a')
        buf_printf(out, "%u", entry->attempt);
    else if (which == 'u')
        buf_add(out, text_of(timeline, entry->upstream));
    else if (which == 'w')
        buf_add(out, span_of(entry->word));
    else if (which == 's')
        buf_printf(out, "%u", entry->status);
    else
        buf_printf(out, "%u.%u s", entry->ms / 1000, entry->ms % 1000 / 100);
}

static void say_call_end(const struct timeline_entry *entry, struct buf *out)
{
    if (entry->status)
        buf_printf(out, ", status %u", entry->status);
    if (entry->number)
        buf_printf(out, ", %u output bytes", entry->number);
    if (!span_is(span_of(entry->word), "answered"))
        buf_add_text(out, entry->yes ? "; it may have been billed" : "; it was not billed");
}

static void say_waiters(const struct timeline_entry *entry, struct buf *out)
{
    if (entry->number == 0)
        buf_add_text(out, "; nobody waits now");
    else
        buf_printf(out, "; %u %s now", entry->number,
                   entry->number == 1 ? "client waits" : "clients wait");
}

static void say(const struct timeline *timeline, const struct timeline_entry *entry,
                struct buf *out)
{
    const char *instead = entry->word ? events[entry->event].instead : NULL;
    for (const char *p = instead ? instead : events[entry->event].sentence; *p; p++)
        if (*p == '%')
            say_value(timeline, entry, *++p, out);
        else
            buf_add_byte(out, *p);
    if (entry->event == TIMELINE_CALL_ENDED)
        say_call_end(entry, out);
    if (entry->event == TIMELINE_COUNTED && !entry->word)
        buf_printf(out, " (%u of its key)", entry->number);
    if (entry->event == TIMELINE_WAITER_OUT && !entry->yes)
        buf_add_text(out, ", but its client did not take it");
    if (is_about_waiters(entry))
        say_waiters(entry, out);
}

void timeline_sentence(const struct timeline *timeline, unsigned i, struct buf *out)
{
    ASSERT(i < timeline->count);
    say(timeline, &timeline->entries[i], out);
}

/* ---- JSON */

static void add_text(const char *name, struct span text, struct buf *out)
{
    buf_printf(out, ",\"%s\":", name);
    if (text.p)
        json_quote(text, out);
    else
        buf_add_text(out, "null");
}

static void add_number(const char *name, bool applies, uint32_t value, struct buf *out)
{
    if (applies)
        buf_printf(out, ",\"%s\":%u", name, value);
    else
        buf_printf(out, ",\"%s\":null", name);
}

static void add_entry(const struct timeline *timeline, const struct timeline_entry *entry,
                      struct buf *out)
{
    const unsigned members = events[entry->event].members;
    bool ended = entry->event == TIMELINE_CALL_ENDED;
    BUF(sentence, SENTENCE_BYTES_MAX);
    say(timeline, entry, &sentence);
    buf_printf(out, "{\"at_ms\":%u,\"event\":\"%s\"", entry->at_ms, events[entry->event].name);
    add_text("text", buf_span(&sentence), out);
    add_number("attempt", members & TIMELINE_ATTEMPT, entry->attempt, out);
    add_text("end", ended ? span_of(entry->word) : SPAN_ABSENT, out);
    add_number("status", (members & TIMELINE_STATUS) && entry->status, entry->status, out);
    add_text("request_id", text_of(timeline, entry->request_id), out);
    buf_printf(out, ",\"maybe_billed\":%s",
               !(members & TIMELINE_BILLED) ? "null"
               : entry->yes                 ? "true"
                                            : "false");
    add_number("ms", members & TIMELINE_MS, entry->ms, out);
    add_number("waiters", members & TIMELINE_WAITERS, entry->number, out);
    buf_add_byte(out, '}');
}

void timeline_render(const struct timeline *timeline, struct buf *out)
{
    buf_add_byte(out, '[');
    for (unsigned i = 0; i < timeline->count; i++) {
        buf_add_text(out, i ? "," : "");
        add_entry(timeline, &timeline->entries[i], out);
    }
    buf_add_byte(out, ']');
}
