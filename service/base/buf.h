/* A growing byte buffer with a mandatory maximum.
 *
 * Appending cannot be forgotten to check: the first failure (E_LIMIT: over bytes_max, E_NOMEM)
 * sticks, later appends do nothing, and buf_rc() tells it once at the end.  Thread: one owner.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/rc.h"
#include "base/span.h"

#include <stdarg.h>

struct buf {
    char *p;
    size_t n;
    size_t capacity;
    size_t bytes_max;
    enum rc rc;
};

/* An empty buffer; takes no memory yet.  buf_done frees; the struct can be initialised again.
 */
void buf_init(struct buf *buf, size_t bytes_max);
void buf_done(struct buf *buf);
/* Forget content and failure, keep the memory. */
void buf_clear(struct buf *buf);

void buf_add(struct buf *buf, struct span bytes);
void buf_add_byte(struct buf *buf, char byte);
void buf_add_text(struct buf *buf, const char *text);
void buf_printf(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);
void buf_vprintf(struct buf *buf, const char *format, va_list arguments) PRINTF_LIKE(2, 0);
/* Lower-case hexadecimal digits of `bytes`. */
void buf_add_hex(struct buf *buf, const void *bytes, size_t n);
/* Room for n more bytes at p + n, to be filled by the caller and then counted in with
 * buf.n += ...; NULL after a failure, which sticks like any other. */
char *buf_reserve(struct buf *buf, size_t n);

static inline enum rc buf_rc(const struct buf *buf)
{
    return buf->rc;
}
/* Valid until the next change of the buffer. */
static inline struct span buf_span(const struct buf *buf)
{
    return (struct span){buf->p ? buf->p : "", buf->n};
}
/* The content as a C string (a NUL is kept behind it, not counted); "" after a failure. */
const char *buf_text(struct buf *buf);

static inline void buf_done_scope(struct buf *buf)
{
    buf_done(buf);
}
/* `BUF(name, 4096);` is a buffer of at most 4096 bytes that ends with its scope. */
#define BUF(name, max)                                                                         \
    __attribute__((cleanup(buf_done_scope))) struct buf name = {.bytes_max = (max)}

#endif
