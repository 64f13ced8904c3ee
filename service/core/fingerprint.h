/* What makes two requests the same request: SHA-256 over
 *
 *     "fingerprint-v1", method, route, query, semantic headers, canonical body
 *
 * where every part is framed by its length and every list by its count, so that no two requests
 * hash the same bytes.  The query's pieces are sorted by name (pieces of one name keep their
 * order; empty pieces do not count).  The semantic headers are anthropic-version,
 * anthropic-beta and openai-*, sorted by lower-cased name (lines of one name keep their order).
 * All other headers, credentials included, are not part of it.  Pure; thread: any. */
#ifndef CORE_FINGERPRINT_H
#define CORE_FINGERPRINT_H

#include "base/arena.h"
#include "base/sha256.h"
#include "core/api.h"
#include "core/http_message.h"

/* `body`: its canonical form (core/canonical.h), for API_SIMPLE without its idempotency_key.
 * `scratch` holds the sorted lists: at most 64 times the bytes of the head.  E_NOMEM, also when
 * scratch is full. */
MUST_CHECK enum rc fingerprint_of(const struct http_head *head, enum api api, struct span body,
                                  struct arena *scratch, struct digest *ret);

#endif
