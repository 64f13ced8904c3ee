#include "core/config_loader.h"

#include "core/json.h"

#include <string.h>

/* The end of the string whose opening quote is at `i`: the index of its closing quote, or n. */
static size_t string_end(const char *p, size_t n, size_t i)
{
    for (i++; i < n && p[i] != '"'; i++)
        if (p[i] == '\\')
            i++;
    return i < n ? i : n;
}

/* Comments become blanks, so that offsets and line numbers stay. */
static void blank_comments(char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '"') {
            i = string_end(p, n, i);
        } else if (p[i] == '/' && i + 1 < n && p[i + 1] == '/') {
            while (i < n && p[i] != '\n')
                p[i++] = ' ';
        }
    }
}

static void syntax_problem(struct loader *l, struct span text, size_t offset, const char *what)
{
    size_t line = 1, column = 1;
    for (size_t i = 0; i < offset && i < text.n; i++) {
        column = text.p[i] == '\n' ? 1 : column + 1;
        line += text.p[i] == '\n';
    }
    loader_problem(l, &l->file, "line %zu, column %zu: %s", line, column, what);
}

/* cJSON takes almost anything and cuts strings at \u0000, so that a strict reader goes first.
 */
static bool is_strict(struct loader *l, struct span text)
{
    struct json json;
    json_init(&json, text, JSON_STRICT);
    if (json_peek(&json) != JSON_OBJECT && json.error == JSON_FINE) {
        syntax_problem(l, text, json_offset(&json), json_error_text(JSON_BAD_TYPE));
        return false;
    }
    json_skip(&json);
    if (!json_end(&json)) {
        syntax_problem(l, text, json_offset(&json), json_error_text(json.error));
        return false;
    }
    for (size_t i = 0; i + 6 <= text.n; i++) {
        if (text.p[i] != '\\')
            continue;
        if (memcmp(text.p + i, "\\u0000", 6) == 0) {
            syntax_problem(l, text, i, "no value may hold a NUL");
            return false;
        }
        i++;
    }
    return true;
}

static void tell_duplicates(struct loader *l, const struct where *where, const cJSON *item)
{
    int index = 0;
    for (const cJSON *child = item->child; child; child = child->next, index++) {
        const struct where *here = cJSON_IsObject(item) ? WHERE(where, span_of(child->string))
                                                        : WHERE_ITEM(where, index);
        bool twice = false;
        for (const cJSON *next = child->next; next && child->string; next = next->next)
            twice |= strcmp(child->string, next->string) == 0;
        if (twice)
            loader_problem(l, here, "stands twice; remove one of them");
        tell_duplicates(l, here, child);
    }
}

cJSON *config_text_parse(struct loader *l, struct buf *text)
{
    static const char bom[] = "\xEF\xBB\xBF";
    if (span_starts(buf_span(text), bom))
        memset(text->p, ' ', strlen(bom));
    blank_comments(text->p, text->n);
    if (!is_strict(l, buf_span(text)))
        return NULL;
    cJSON *root = cJSON_ParseWithLength(text->p, text->n);
    if (!root) {
        loader_problem(l, &l->file,
                       "cannot be read: out of memory, or a number of over 60 digits");
        return NULL;
    }
    tell_duplicates(l, &l->file, root);
    return root;
}
