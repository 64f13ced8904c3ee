/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF.
 * Thread: any. */
#ifndef CORE_UTF8_H
#define CORE_UTF8_H

#include "base/buf.h"
#include "base/span.h"

/* The length of the sequence of a non-ASCII character at p (n >= 1 bytes are there); 0: it is
 * none. */
size_t utf8_length(const unsigned char *p, size_t n);
/* Writes the code point, which is no surrogate, into out; returns its length. */
size_t utf8_encode(int point, char out[4]);
bool utf8_is_valid(struct span text);
/* Append `text` with U+FFFD for each piece that is no UTF-8.  A piece is the longest start of
 * a character that was cut short, else one byte, as the WHATWG Encoding Standard decodes. */
void utf8_repair(struct span text, struct buf *out);

#endif
