#include "core/utf8.h"

#include <string.h>

/* How many bytes a character that starts with `first` has, and between which bounds its second
 * byte lies; 0: no character starts so. */
static size_t character_shape(unsigned char first, unsigned char *ret_low,
                              unsigned char *ret_high)
{
    *ret_low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    *ret_high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    if (first < 0xC2 || first > 0xF4)
        return 0;
    return first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
}

/* How many bytes at p are the start of a character, all of it if it is whole. */
static size_t good_start(const unsigned char *p, size_t n, size_t *ret_length)
{
    unsigned char low, high;
    size_t good = 1;
    *ret_length = character_shape(p[0], &low, &high);
    for (; good < *ret_length && good < n && p[good] >= low && p[good] <= high; good++) {
        low = 0x80;
        high = 0xBF;
    }
    return good;
}

size_t utf8_length(const unsigned char *p, size_t n)
{
    size_t length, good = good_start(p, n, &length);
    return good == length ? length : 0;
}

size_t utf8_encode(int point, char out[4])
{
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    if (point < 0x800) {
        out[0] = (char)(0xC0 | point >> 6);
        out[1] = (char)(0x80 | (point & 0x3F));
        return 2;
    }
    if (point < 0x10000) {
        out[0] = (char)(0xE0 | point >> 12);
        out[1] = (char)(0x80 | (point >> 6 & 0x3F));
        out[2] = (char)(0x80 | (point & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | point >> 18);
    out[1] = (char)(0x80 | (point >> 12 & 0x3F));
    out[2] = (char)(0x80 | (point >> 6 & 0x3F));
    out[3] = (char)(0x80 | (point & 0x3F));
    return 4;
}

/* Past the ASCII bytes at p, 32 at a time. */
static const char *skip_ascii(const char *p, const char *end)
{
    uint64_t words[4];
    while ((size_t)(end - p) >= sizeof words) {
        memcpy(words, p, sizeof words);
        if ((words[0] | words[1] | words[2] | words[3]) & 0x8080808080808080U)
            break;
        p += sizeof words;
    }
    while (p < end && (unsigned char)*p < 0x80)
        p++;
    return p;
}

bool utf8_is_valid(struct span text)
{
    const char *p = text.p, *end = text.p + text.n;
    while ((p = skip_ascii(p, end)) < end) {
        size_t n = utf8_length((const unsigned char *)p, (size_t)(end - p));
        if (n == 0)
            return false;
        p += n;
    }
    return true;
}

void utf8_repair(struct span text, struct buf *out)
{
    const char *p = text.p, *end = text.p + text.n, *kept = p;
    while ((p = skip_ascii(p, end)) < end) {
        size_t length, good = good_start((const unsigned char *)p, (size_t)(end - p), &length);
        if (good != length) {
            buf_add(out, (struct span){kept, (size_t)(p - kept)});
            buf_add_text(out, "\xEF\xBF\xBD");
            kept = p + good;
        }
        p += good;
    }
    buf_add(out, (struct span){kept, (size_t)(p - kept)});
}
