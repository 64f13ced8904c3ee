/* One operation of the store on its way: from the loop to a store thread and back.
 *
 * A job owns copies of its parameters, then its result.  The loop makes it and posts
 * `message` to a store thread; that thread fills in the result and posts it back, and running
 * it in the loop calls the callback and frees the job.  Thread: whoever holds it. */
#ifndef IO_STORE_JOB_H
#define IO_STORE_JOB_H

#include "base/arena.h"
#include "base/mailbox.h"
#include "io/store.h"

enum store_job_kind {
    STORE_JOB_LOOKUP,
    STORE_JOB_CLAIM,
    STORE_JOB_COUNT,
    STORE_JOB_COMPLETE,
    STORE_JOB_RELEASE,
    STORE_JOB_PUBLISH,
    STORE_JOB_RESULT,
    STORE_JOB_ACCEPTED,
    STORE_JOB_TASK
};

/* Of all texts of a job together (route, content type, ...); headers that were written within
 * it take more when they are read. */
enum { STORE_JOB_TEXT_BYTES_MAX = 1 << 20, STORE_JOB_ACCEPTED_BYTES_MAX = 8 << 20 };

/* A struct store_publication of one's own. */
struct store_job_publication {
    bool has_token, has_request;
    struct digest token;
    struct span query, headers /* as store_headers_write writes them */, client;
    struct blob *body;
    int64_t deadline_ms;
};

struct store_job {
    struct message message;
    enum store_job_kind kind;
    struct arena texts; /* behind the spans of parameters and record */
    union {
        struct {
            struct digest key;
            int64_t now_ms;
        } lookup;
        struct store_claim claim;
        struct {
            struct digest key;
            struct flight_id flight;
            unsigned paid_calls_max;
        } count;
        struct store_completion completion; /* with a reference to its body */
        struct store_release release;       /* likewise */
        struct flight_id publish;           /* which flight */
        struct store_result_query result;
        struct {
            struct flight_id after;
            bool goes_on; /* else from the first one on */
        } accepted;
        struct store_task task;
    };
    struct store_job_publication publication; /* CLAIM, PUBLISH */
    union {
        store_lookup_cb *looked_up;
        store_claim_cb *claimed;
        store_count_cb *counted;
        store_done_cb *done;
        store_result_cb *result_told;
        store_accepted_cb *accepted_told;
        store_task_cb *task_done;
    } callback;
    void *context;

    enum rc rc;
    enum claim_result claim_result;
    unsigned paid_calls;
    struct store_task_result task_result;
    struct key_record record; /* this and the next ones with a reference to their body */
    struct flight_record flight_record;
    struct accepted_record accepted_record;
};

/* NULL: out of memory. */
struct store_job *store_job_lookup(const struct digest *key, int64_t now_ms,
                                   store_lookup_cb *callback, void *context);
struct store_job *store_job_claim(const struct store_claim *claim, store_claim_cb *callback,
                                  void *context);
struct store_job *store_job_count(const struct digest *key, struct flight_id flight,
                                  unsigned paid_calls_max, store_count_cb *callback,
                                  void *context);
struct store_job *store_job_complete(const struct store_completion *completion,
                                     store_done_cb *callback, void *context);
struct store_job *store_job_release(const struct store_release *release,
                                    store_done_cb *callback, void *context);
struct store_job *store_job_publish(struct flight_id flight,
                                    const struct store_publication *publication,
                                    store_done_cb *callback, void *context);
struct store_job *store_job_result(const struct store_result_query *query,
                                   store_result_cb *callback, void *context);
struct store_job *store_job_accepted(const struct flight_id *after, store_accepted_cb *callback,
                                     void *context);
struct store_job *store_job_task(const struct store_task *task, store_task_cb *callback,
                                 void *context);
/* Forgets the result and makes `rc` the new one. */
void store_job_reset(struct store_job *job, enum rc rc);

#endif
