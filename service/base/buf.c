#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_init(struct buf *buf, size_t bytes_max)
{
    *buf = (struct buf){.bytes_max = bytes_max};
}

void buf_done(struct buf *buf)
{
    free(buf->p);
    buf->p = NULL;
    buf->n = buf->capacity = 0;
}

void buf_clear(struct buf *buf)
{
    buf->n = 0;
    buf->rc = OK;
}

char *buf_reserve(struct buf *buf, size_t n)
{
    if (buf->rc != OK)
        return NULL;
    if (n > buf->bytes_max - buf->n) {
        buf->rc = E_LIMIT;
        return NULL;
    }
    size_t needed = buf->n + n + 1; /* one for buf_text's NUL */
    if (needed > buf->capacity) {
        size_t capacity = buf->capacity < 64 ? 64 : buf->capacity * 2;
        if (capacity < needed)
            capacity = needed;
        char *grown = realloc(buf->p, capacity);
        if (!grown) {
            buf->rc = E_NOMEM;
            return NULL;
        }
        buf->p = grown;
        buf->capacity = capacity;
    }
    return buf->p + buf->n;
}

void buf_add(struct buf *buf, struct span bytes)
{
    char *room = buf_reserve(buf, bytes.n);
    if (!room || bytes.n == 0)
        return;
    memcpy(room, bytes.p, bytes.n);
    buf->n += bytes.n;
}

void buf_add_byte(struct buf *buf, char byte)
{
    char *room = buf_reserve(buf, 1);
    if (!room)
        return;
    *room = byte;
    buf->n++;
}

void buf_add_text(struct buf *buf, const char *text)
{
    buf_add(buf, span_of(text));
}

void buf_add_hex(struct buf *buf, const void *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *byte = bytes;
    char *room = buf_reserve(buf, 2 * n);
    if (!room)
        return;
    for (size_t i = 0; i < n; i++) {
        room[2 * i] = digits[byte[i] >> 4];
        room[2 * i + 1] = digits[byte[i] & 15];
    }
    buf->n += 2 * n;
}

void buf_vprintf(struct buf *buf, const char *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    /* The analyzer of clang 14 loses a va_list that was passed on. */
    int n = vsnprintf(NULL, 0, format, again); /* NOLINT(clang-analyzer-valist.Uninitialized) */
    va_end(again);
    ASSERT(n >= 0);
    char *room = buf_reserve(buf, (size_t)n);
    if (!room)
        return;
    (void)vsnprintf(room, (size_t)n + 1, format, arguments);
    buf->n += (size_t)n;
}

void buf_printf(struct buf *buf, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    buf_vprintf(buf, format, arguments);
    va_end(arguments);
}

const char *buf_text(struct buf *buf)
{
    if (buf->rc != OK || !buf->p)
        return "";
    buf->p[buf->n] = '\0';
    return buf->p;
}
