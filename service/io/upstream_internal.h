/* What the files of the upstream adapter share; nobody else includes this.
 *
 * Two sides meet in struct transfer.  The loop (upstream.c) makes it, posts orders about it to
 * one upstream thread and gets two notes back: the first output, and the end, which always
 * comes, also for a cancelled transfer.  The thread's side is a call (upstream_call.c): a
 * pooled libcurl handle that carries one transfer, and after its end reads on for a moment so
 * that the connection can be used again.
 *
 *    WAITING --> CONNECTING --> REQUESTING --> ASSEMBLING --> ENDED
 *       |            |              |---> COLLECTING ----------^
 *       |            |              |---> KEEPING -------------^
 *       '------------'--------------'------------------------->'
 *
 *  phase       what holds                                       left by
 *  WAITING     not yet libcurl's: the host is being resolved    the gate
 *  CONNECTING  resolving, connecting, TLS, proxy                libcurl is about to send
 *  REQUESTING  sending the request, waiting for a final head    the head
 *  ASSEMBLING  a 2xx body goes to the assembler                 terminal event, end, silence
 *  COLLECTING  an error body is kept                            end, bound, silence
 *  KEEPING     a 2xx body of a plain transfer is kept           end, bound
 *  ENDED       the outcome is posted, bytes are ignored         end, READ_ON_*, close
 * Every phase but ENDED also ends by a cancel, a broken connection and its time being over. */
#ifndef IO_UPSTREAM_INTERNAL_H
#define IO_UPSTREAM_INTERNAL_H

#include "base/arena.h"
#include "base/list.h"
#include "base/timers.h"
#include "io/upstream.h"

#include <curl/curl.h>
#include <stdatomic.h>
#include <time.h>

static inline int64_t upstream_clock_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

static inline int64_t upstream_clock_ms(void)
{
    return upstream_clock_us() / 1000;
}

/* start + ms, without running over. */
static inline int64_t upstream_later(int64_t start_ms, int64_t ms)
{
    return ms < TIMERS_NEVER - start_ms ? start_ms + ms : TIMERS_NEVER;
}

/* ---- one transfer, seen from both sides */

struct transfer {
    _Atomic unsigned references; /* the call, the end note, and every order on its way */
    /* Set before the start order is posted, never changed afterwards. */
    struct upstream_thread *thread;
    struct arena arena;
    const char *url, *proxy, *ca_file; /* proxy "": none; ca_file NULL: the system's */
    const char *resolved_host;         /* the host libcurl has to look up: the proxy's or the
                                          URL's */
    struct curl_slist *headers;        /* in the arena */
    struct blob *body;                 /* NULL: GET */
    bool plain, counts_usage;
    int64_t start_ms, connect_timeout_ms, first_event_timeout_ms, idle_timeout_ms, deadline_ms;
    struct assemble_params assemble;
    /* Written by the one side, read by the other at any time. */
    struct {
        _Atomic size_t events, output_bytes;
        _Atomic bool output_began;
        _Atomic uint64_t input_tokens, output_tokens;
    } progress;
    /* Orders go to the thread, notes to the loop. */
    struct message start_order, cancel_order, output_note, end_note;
    /* The thread's. */
    struct call *call;              /* NULL once the end note is posted */
    struct attempt_outcome outcome; /* the loop's from the end note on */
    /* The loop's. */
    struct upstream *upstream;
    struct list link; /* in the upstream's running transfers */
    bool cancelled;   /* no callback any more; the upstream may be gone */
    void (*on_output)(void *context);
    void (*on_end)(void *context, struct attempt_outcome *outcome);
    void *context;
};

/* Thread: any. */
void transfer_unref(struct transfer *transfer);
/* Check and copy what a transfer needs (upstream_transfer.c).  E_INVALID, E_LIMIT, E_NOMEM. */
MUST_CHECK enum rc upstream_transfer_build(struct transfer *transfer,
                                           const struct transfer_params *params);

/* ---- a thread (upstream_thread.c) */

struct upstream_settings {
    struct mailbox *loop;
    const char *ca_bundle; /* NULL: libcurl's own default */
    int64_t silence_ms;
    long connections_max; /* kept open, per thread */
};

struct upstream_thread {
    const struct upstream_settings *settings;
    struct mailbox orders;
    struct message stop_order;
    pthread_t id;
    unsigned load; /* transfers given to it and not ended; the loop's */
    /* The thread's own. */
    int epoll_fd;
    CURLM *multi;
    int64_t now_ms;
    int64_t curl_due_ms; /* when libcurl wants to be called, or TIMERS_NEVER */
    int64_t recheck_ms;  /* when all sockets are to be looked at again, or TIMERS_NEVER */
    struct timers timers;
    struct list calls; /* carrying a transfer */
    struct list idle;  /* the pool */
    unsigned idle_count;
    struct list gates;
    bool gates_moved; /* a gate has lost its first call */
    bool stopping;
};

/* Thread: the loop.  E_IO, E_NOMEM. */
MUST_CHECK enum rc upstream_thread_new(const struct upstream_settings *settings,
                                       struct upstream_thread **ret);
/* Ends all its calls (their end notes are posted) and the thread. */
void upstream_thread_free(struct upstream_thread *thread);
/* Thread: itself.  A call from the pool or a new one (NULL: out of memory), and back. */
struct call *upstream_thread_take_call(struct upstream_thread *thread);
void upstream_thread_put_call(struct upstream_thread *thread, struct call *call);

/* ---- a call.  Thread: its upstream thread, from here to the end of this file */

enum call_phase {
    CALL_WAITING,
    CALL_CONNECTING,
    CALL_REQUESTING,
    CALL_ASSEMBLING,
    CALL_COLLECTING,
    CALL_KEEPING,
    CALL_ENDED
};

struct kept_header {
    uint16_t name_at, name_n, value_at, value_n; /* in header_text */
};

/* What came back. */
struct response {
    bool began;   /* any byte, also of an interim answer */
    bool encoded; /* with a Content-Encoding, which nobody asked for */
    long status;  /* of the final head, 0 before */
    size_t head_bytes;
    int64_t last_byte_ms, last_byte_us; /* us: 0, none came */
    int64_t first_event_ms;             /* -1: none yet */
    struct assemble *assembler;
    struct assemble_progress progress;
    bool could_end, output_told;
    struct buf body; /* of an error, or of a plain transfer */
    struct buf header_text;
    struct kept_header headers[ATTEMPT_HEADERS_MAX];
    size_t header_count;
};

struct call {
    struct list link; /* in its thread's calls or idle */
    struct upstream_thread *thread;
    CURL *easy;
    bool added; /* libcurl's multi handle has it */
    enum call_phase phase;
    struct timer timer;
    struct transfer *transfer;
    struct gate *gate;   /* NULL: its host is resolved */
    struct list waiting; /* in the gate */
    size_t sent_bytes;   /* of the body, handed to libcurl */
    bool sent_before;    /* some of it on a connection that broke without an answer */
    const char *cause;   /* of the outcome; NULL: the connection is fine */
    struct response response;
    size_t read_on_bytes;
    int64_t read_on_until_ms;
};

/* NULL: out of memory.  Idle, not yet in a list. */
struct call *upstream_call_new(struct upstream_thread *thread);
void upstream_call_free(struct call *call);
/* Carry a transfer; always ends with its end note. */
void upstream_call_start(struct upstream_thread *thread, struct transfer *transfer);
/* The gate is open: hand over to libcurl. */
void upstream_call_connect(struct call *call);
/* libcurl is done with it. */
void upstream_call_finished(struct call *call, CURLcode code);
/* Abort and post the end.  Not from inside a libcurl callback. */
void upstream_call_abort(struct call *call, enum attempt_end end);
/* The deadline was moved. */
void upstream_call_reschedule(struct call *call);
/* The one place where the phase changes. */
void upstream_call_set_phase(struct call *call, enum call_phase phase);
/* Post the outcome, once; the call goes on as ENDED.  From anywhere. */
void upstream_call_end(struct call *call, enum attempt_end end);
/* End by what the assembler says, COMPLETE or FAILED. */
void upstream_call_end_assembled(struct call *call, enum assemble_state state);

/* libcurl's callbacks for what comes back (upstream_response.c). */
size_t upstream_response_header(char *line, size_t size, size_t count, void *call);
size_t upstream_response_body(char *bytes, size_t size, size_t count, void *call);
void upstream_response_init(struct response *response);
void upstream_response_done(struct response *response);
/* Move the kept headers out. */
void upstream_response_take_headers(struct response *response, struct attempt_outcome *ret);

/* ---- gates (upstream_gate.c): libcurl starts a resolver thread per transfer to a host that is
 * not in its cache, so that of all calls to a host one goes first, and the others wait until it
 * has its address. */

/* E_NOMEM.  *ret_first: the call can go on at once. */
MUST_CHECK enum rc upstream_gate_enter(struct call *call, bool *ret_first);
/* The call's host is resolved, or it is over.  From anywhere; no call to libcurl is made. */
void upstream_gate_leave(struct call *call);
/* The lookup failed: it has failed for all that wait for it, from the same cause. */
void upstream_gate_fail(struct call *call);
/* Let the next calls go.  Not from inside a libcurl callback. */
void upstream_gates_release(struct upstream_thread *thread);

#endif
