/* Operators' work on keys, as JSON: the same for the ops listener and for `unstream keys` on a
 * store that no service has open.
 *
 *     POST /ops/keys/list|show|release|purge
 *     {"client": "billing",    the keys of this configured client
 *      "key": "order-17",      this Idempotency-Key of the client, or without one, of anonymous
 *                              callers: the store knows keys only by a digest with their scope
 *      "digest": "<hex>",      the key that a list shows by this digest
 *      "older_than_s": 3600,   keys that were first seen longer ago
 *      "after": "<hex>"}       go on behind this digest: the "next" of the reply before
 *     {"count": 2, "next": "<hex>" or null, "keys": [...]}
 *
 * All members are optional, but show needs a key or digest, and release and purge a condition.
 * "count" is how many keys were listed, released or purged by this step; keys are told by list
 * and show.  What release and purge do: io/store.h.  Thread: any. */
#ifndef APP_OPS_KEYS_H
#define APP_OPS_KEYS_H

#include "core/config.h"
#include "io/store.h"

/* Of a request and of one page of keys. */
enum { OPS_KEYS_REQUEST_BYTES_MAX = 65536, OPS_KEYS_REPLY_BYTES_MAX = 1 << 20 };

struct ops_keys {
    const struct config *config;
    struct span salt; /* of the store */
};

/* OK.  E_NOT_FOUND: there is no such verb.  E_INVALID: *ret_problem says what to send instead.
 * E_NOMEM. */
MUST_CHECK enum rc ops_keys_parse(const struct ops_keys *keys, struct span verb,
                                  struct span body, int64_t now_ms, struct store_task *ret,
                                  const char **ret_problem);
/* Appends the reply. */
void ops_keys_render(const struct ops_keys *keys, const struct store_task_result *result,
                     struct buf *out);

#endif
