#include "core/prefer.h"

/* span_cut at the first `byte` outside of quoted strings, in which a backslash escapes; a string
 * without its end reaches up to the end. */
static struct span cut_unquoted(struct span *rest, char byte)
{
    struct span text = *rest;
    bool quoted = false;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '"')
            quoted = !quoted;
        else if (quoted && text.p[i] == '\\')
            i++;
        else if (!quoted && text.p[i] == byte) {
            *rest = span_from(text, i + 1);
            return (struct span){text.p, i};
        }
    }
    *rest = SPAN_ABSENT;
    return text;
}

/* A token or a quoted string that says a number of seconds.  False: it is none. */
static bool read_seconds(struct span word, unsigned *ret)
{
    unsigned seconds = 0;
    bool quoted = span_starts(word, "\"");
    if (quoted && (word.n < 2 || !span_ends(word, "\"")))
        return false;
    if (quoted)
        word = (struct span){word.p + 1, word.n - 2};
    for (size_t i = 0; i < word.n; i++) {
        if (quoted && word.p[i] == '\\')
            i++;
        if (i == word.n || word.p[i] < '0' || word.p[i] > '9')
            return false;
        seconds = 10 * seconds + (unsigned)(word.p[i] - '0');
        if (seconds > PREFER_WAIT_S_MAX)
            seconds = PREFER_WAIT_S_MAX;
    }
    if (word.n)
        *ret = seconds;
    return word.n > 0;
}

struct prefer prefer_read(const struct headers *headers)
{
    struct prefer prefer = {.respond_async = false};
    bool wait_seen = false;
    for (size_t i = 0; i < headers->count; i++) {
        struct span line = headers->items[i].value;
        if (!span_is_nocase(headers->items[i].name, "prefer"))
            continue;
        while (line.p) {
            struct span preference = cut_unquoted(&line, ',');
            struct span value = cut_unquoted(&preference, ';');
            struct span name = span_trim(span_cut(&value, '='));
            if (span_is_nocase(name, "respond-async"))
                prefer.respond_async = true;
            if (wait_seen || !span_is_nocase(name, "wait"))
                continue;
            wait_seen = true;
            prefer.has_wait = read_seconds(span_trim(value), &prefer.wait_s);
        }
    }
    return prefer;
}
