#include "core/config_loader.h"

#include "core/json.h"

enum { MESSAGE_BYTES_MAX = 8192 };

static bool is_plain(struct span name)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(c >= '0' && c <= '9') && c != '_' && c != '-' && c != '$')
            return false;
    }
    return name.n > 0;
}

/* Appends "file: a.\"b/c\"[0]"; true when anything stands after the file. */
static bool add_where(struct buf *out, const struct where *where)
{
    if (!where->parent) {
        buf_add(out, where->name);
        buf_add_text(out, ": ");
        return false;
    }
    bool inner = add_where(out, where->parent);
    if (where->index >= 0) {
        buf_printf(out, "[%d]", where->index);
        return true;
    }
    if (inner)
        buf_add_byte(out, '.');
    if (is_plain(where->name))
        buf_add(out, where->name);
    else
        json_quote(where->name, out);
    return true;
}

static void add_line(struct buf *out, const struct where *where, const char *format,
                     va_list arguments) PRINTF_LIKE(3, 0);
static void add_line(struct buf *out, const struct where *where, const char *format,
                     va_list arguments)
{
    if (add_where(out, where))
        buf_add_text(out, ": ");
    buf_vprintf(out, format, arguments);
    buf_add_byte(out, '\n');
}

void loader_problem(struct loader *loader, const struct where *where, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    add_line(loader->problems, where, format, arguments);
    va_end(arguments);
    loader->problem_count++;
}

void loader_warning(struct loader *loader, const struct where *where, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    add_line(&loader->warnings, where, format, arguments);
    va_end(arguments);
}

void *loader_alloc(struct loader *loader, size_t n)
{
    void *p = arena_alloc(loader->arena, n);
    loader->out_of_memory |= !p;
    return p;
}

struct span loader_copy(struct loader *loader, struct span bytes)
{
    struct span copy = arena_copy(loader->arena, bytes);
    loader->out_of_memory |= !copy.p;
    return copy;
}

struct span loader_keep(struct loader *loader, const struct buf *built)
{
    loader->out_of_memory |= buf_rc(built) == E_NOMEM;
    return buf_rc(built) == OK ? loader_copy(loader, buf_span(built)) : SPAN_ABSENT;
}

const char *loader_quote(struct loader *loader, struct span text)
{
    BUF(quoted, MESSAGE_BYTES_MAX);
    json_quote(text, &quoted);
    struct span copy = loader_keep(loader, &quoted);
    return copy.p ? copy.p : "\"...\"";
}

const char *loader_did_you_mean(struct loader *loader, struct span best)
{
    BUF(text, MESSAGE_BYTES_MAX);
    if (!best.p)
        return "";
    buf_printf(&text, ", did you mean \"%.*s\"?", SPAN_ARG(best));
    struct span copy = loader_keep(loader, &text);
    return copy.p ? copy.p : "";
}

struct span loader_getenv(struct loader *loader, const char *name)
{
    struct span value = span_of(loader->source->getenv(loader->source->context, name));
    return value.n ? value : SPAN_ABSENT;
}
