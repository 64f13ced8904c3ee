/* The upstream adapter: libcurl transfers on threads of their own, each assembling what it
 * receives, so that only finished outcomes reach the loop.
 *
 * upstream_* functions are called in the loop thread; callbacks run there too, when the loop
 * runs the mailbox given at the start, never from inside a call of this header.  Completeness
 * is judged by the stream's own terminal event, never by libcurl's word, but for plain transfers,
 * whose answers have none: they are whole when their framing says so (RFC 9112 6.3).  The
 * environment decides nothing here. */
#ifndef IO_UPSTREAM_H
#define IO_UPSTREAM_H

#include "base/blob.h"
#include "base/mailbox.h"
#include "core/attempt.h"
#include "core/http_message.h"

struct upstream;
struct transfer;

/* Where the end of the body would complete an answer, so much silence completes it too. */
enum { UPSTREAM_SILENCE_MS = 10000 };
/* Of the URL, the headers and the like of one transfer. */
enum { UPSTREAM_STRINGS_MAX = 1 << 20 };

struct upstream_params {
    unsigned threads;       /* at least 1 */
    unsigned transfers_max; /* running at once, over all threads */
    struct mailbox *loop;   /* where callbacks are delivered; must outlive the upstream */
    int64_t silence_ms;     /* 0: UPSTREAM_SILENCE_MS */
};

/* Everything is copied or referenced by upstream_start; nothing needs to outlive the call but
 * `context`.  libcurl adds Host and Content-Length; Accept-Encoding is `identity` unless
 * `headers` has one. */
struct transfer_params {
    struct span url;
    struct headers headers; /* complete, in order; no control bytes (checked: E_INVALID) */
    struct blob *body;   /* a reference is taken; NULL: GET.  Else POST; empty: if plain only */
    struct span proxy;   /* URL; empty: none */
    struct span ca_file; /* PEM; empty: the system's bundle */
    int64_t connect_timeout_ms, first_event_timeout_ms, idle_timeout_ms;
    int64_t time_left_ms; /* the transfer ends with ATTEMPT_DEADLINE after this */
    /* A 2xx body is kept as it comes instead of assembled, up to assemble.answer_bytes_max. */
    bool plain;
    bool counts_usage; /* plain: its tokens are those that `usage` in the body tells */
    struct assemble_params assemble;
    /* The first output came (at most once, before on_end): the call will be billed. */
    void (*on_output)(void *context);
    /* The end; the callee owns *outcome's content (attempt_outcome_done or move it out).  The
     * transfer pointer is invalid from here on. */
    void (*on_end)(void *context, struct attempt_outcome *outcome);
    void *context;
};

/* E_NOMEM, E_IO (no thread or file descriptor). */
MUST_CHECK enum rc upstream_new(const struct upstream_params *params, struct upstream **ret);
/* Ends the threads; running transfers are aborted without callbacks.  The loop's mailbox must
 * be run once more before it is closed. */
void upstream_free(struct upstream *upstream);
OWNED_DEFINE(upstream)

/* From now on so many may run at once; what runs goes on. */
void upstream_set_transfers_max(struct upstream *upstream, unsigned transfers_max);

/* Start a transfer.  OK: *ret is valid until on_end or transfer_cancel.  E_LIMIT: transfers_max
 * are running already.  E_INVALID: a control byte in a header or the URL, a header name that is
 * none, a URL that is not http(s).  E_NOMEM, also for more than UPSTREAM_STRINGS_MAX. */
MUST_CHECK enum rc upstream_start(struct upstream *upstream,
                                  const struct transfer_params *params, struct transfer **ret);
/* Abort: the connection is closed soon, no callback comes any more. */
void transfer_cancel(struct transfer *transfer);
/* How far it is, as of a moment ago (atomics written by the upstream thread). */
struct assemble_progress transfer_progress(const struct transfer *transfer);

#endif
