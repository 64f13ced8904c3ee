/* What the fuzz targets share.
 *
 * A target is one function that libFuzzer calls with bytes of its own making (tests/fuzz-run),
 * and that replay_main.c calls with the seeds of its module (every other build).  An ASSERT
 * that fails, a sanitizer's report or a hang is a finding.  A target keeps nothing between
 * calls. */
#ifndef FUZZ_H
#define FUZZ_H

#include "base/buf.h"
#include "core/json.h"

#include <stdlib.h>
#include <string.h>

/* `data` is a block of exactly `size` bytes, so that reading beyond it is seen.  Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* No output of a target grows beyond this; libFuzzer's inputs are far smaller. */
enum { FUZZ_BYTES_MAX = 1 << 24 };

static inline struct span fuzz_span(const uint8_t *data, size_t size)
{
    return (struct span){(const char *)data, size};
}

/* A copy in a block of exactly its size, to be freed. */
static inline char *fuzz_copy(struct span bytes)
{
    char *copy = malloc(bytes.n ? bytes.n : 1);
    ASSERT(copy);
    if (bytes.n)
        memcpy(copy, bytes.p, bytes.n);
    return copy;
}

static inline bool fuzz_is_json(struct span text, enum json_mode mode)
{
    struct json json;
    json_init(&json, text, mode);
    json_skip(&json);
    return json_end(&json);
}

/* ---- inputs that are cut: what follows the last form feed is no part of the text, but tells
 * how to cut it, a byte per piece, over and over: '1' to '?' that many bytes, '@' and above
 * four times (byte - '?'), all others none.  Without it, or without any size in it: single
 * bytes. */

struct fuzz_cut {
    struct span rest;
    struct span script;
    size_t step;
    bool moved; /* a piece of this round through the script had a size */
};

static inline struct fuzz_cut fuzz_cut_of(struct span input)
{
    const char *feed = input.n ? memrchr(input.p, '\f', input.n) : NULL;
    struct fuzz_cut cut = {.rest = input};
    if (feed) {
        cut.rest.n = (size_t)(feed - input.p);
        cut.script = span_from(input, cut.rest.n + 1);
    }
    return cut;
}

static inline size_t fuzz_cut_bytes(struct fuzz_cut *cut)
{
    size_t at = cut->step++ % (cut->script.n + 1);
    if (at == cut->script.n) { /* the round is over */
        bool stuck = !cut->moved;
        cut->moved = false;
        return stuck ? 1 : 0;
    }
    unsigned char byte = (unsigned char)cut->script.p[at];
    size_t n = byte < '0' ? 0 : (size_t)(byte < '@' ? byte - '0' : 4 * (byte - '?'));
    cut->moved |= n > 0;
    return n;
}

/* The next piece, perhaps empty.  False: the whole text was handed out. */
static inline bool fuzz_cut_next(struct fuzz_cut *cut, struct span *ret)
{
    if (!cut->rest.n)
        return false;
    size_t n = fuzz_cut_bytes(cut);
    *ret = (struct span){cut->rest.p, n < cut->rest.n ? n : cut->rest.n};
    cut->rest = span_from(cut->rest, ret->n);
    return true;
}

#endif
