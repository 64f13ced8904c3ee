#include "io/store_job.h"

#include "io/store_headers.h"

#include <stdlib.h>

/* A job owns one answer's body at most as a parameter. */
static struct blob *parameter_body(const struct store_job *job)
{
    switch (job->kind) {
    case STORE_JOB_COMPLETE:
        return job->completion.answer.body;
    case STORE_JOB_RELEASE:
        return job->release.outcome.body;
    case STORE_JOB_LOOKUP:
    case STORE_JOB_CLAIM:
    case STORE_JOB_COUNT:
    case STORE_JOB_PUBLISH:
    case STORE_JOB_RESULT:
    case STORE_JOB_ACCEPTED:
    case STORE_JOB_TASK:
        break;
    }
    return NULL;
}

static void forget_records(struct store_job *job)
{
    blob_free(job->record.answer.body);
    blob_free(job->flight_record.answer.body);
    blob_free(job->accepted_record.request.body);
    job->record = (struct key_record){.state = KEY_ABSENT};
    job->flight_record = (struct flight_record){.state = FLIGHT_ROW_ABSENT};
    job->accepted_record = (struct accepted_record){0};
}

static void job_free(struct store_job *job)
{
    blob_free(parameter_body(job));
    blob_free(job->publication.body);
    forget_records(job);
    arena_done(&job->texts);
    free(job);
}

/* In the loop: the way back is over. */
static void finish(struct message *message)
{
    struct store_job *job = CONTAINER_OF(message, struct store_job, message);
    switch (job->kind) {
    case STORE_JOB_LOOKUP:
        job->callback.looked_up(job->context, job->rc, &job->record);
        break;
    case STORE_JOB_CLAIM:
        job->callback.claimed(job->context, job->rc, job->claim_result, &job->record);
        break;
    case STORE_JOB_COUNT:
        job->callback.counted(job->context, job->rc, job->paid_calls);
        break;
    case STORE_JOB_COMPLETE:
    case STORE_JOB_RELEASE:
    case STORE_JOB_PUBLISH:
        job->callback.done(job->context, job->rc);
        break;
    case STORE_JOB_RESULT:
        job->callback.result_told(job->context, job->rc, &job->flight_record);
        break;
    case STORE_JOB_ACCEPTED:
        job->callback.accepted_told(job->context, job->rc, &job->accepted_record);
        break;
    case STORE_JOB_TASK:
        job->callback.task_done(job->context, job->rc, &job->task_result);
        break;
    }
    job_free(job);
}

static struct store_job *job_new(enum store_job_kind kind, void *context)
{
    struct store_job *job = calloc(1, sizeof *job);
    if (!job)
        return NULL;
    job->message.run = finish;
    job->kind = kind;
    job->context = context;
    arena_init(&job->texts, kind == STORE_JOB_ACCEPTED ? STORE_JOB_ACCEPTED_BYTES_MAX
                                                       : STORE_JOB_TEXT_BYTES_MAX);
    return job;
}

/* Makes *text a copy of its own.  False: out of memory. */
static bool own(struct store_job *job, struct span *text)
{
    if (!text->p)
        return true;
    *text = arena_copy(&job->texts, *text);
    return text->p != NULL;
}

static bool own_answer(struct store_job *job, struct answer *answer)
{
    answer->body = blob_ref(answer->body);
    return own(job, &answer->content_type) && own(job, &answer->request_id) &&
           own(job, &answer->error_code);
}

static bool own_publication(struct store_job *job, const struct store_publication *publication)
{
    struct store_job_publication *owned = &job->publication;
    const struct store_request *request = publication->request;
    if (publication->token) {
        owned->has_token = true;
        owned->token = *publication->token;
    }
    if (!request)
        return true;
    owned->has_request = true;
    owned->query = request->query;
    owned->headers = store_headers_write(&request->headers, &job->texts);
    owned->client = request->client;
    owned->body = blob_ref(request->body);
    owned->deadline_ms = request->deadline_ms;
    return owned->headers.p && own(job, &owned->query) && own(job, &owned->client);
}

/* The job if all its parts could be made, else NULL. */
static struct store_job *whole(struct store_job *job, bool is_whole)
{
    if (is_whole)
        return job;
    job_free(job);
    return NULL;
}

struct store_job *store_job_lookup(const struct digest *key, int64_t now_ms,
                                   store_lookup_cb *callback, void *context)
{
    struct store_job *job = job_new(STORE_JOB_LOOKUP, context);
    if (!job)
        return NULL;
    job->lookup.key = *key;
    job->lookup.now_ms = now_ms;
    job->callback.looked_up = callback;
    return job;
}

struct store_job *store_job_claim(const struct store_claim *claim, store_claim_cb *callback,
                                  void *context)
{
    ASSERT(claim->paid_calls_max > 0);
    struct store_job *job = job_new(STORE_JOB_CLAIM, context);
    if (!job)
        return NULL;
    job->claim = *claim;
    job->claim.publication = (struct store_publication){0}; /* see job->publication */
    job->callback.claimed = callback;
    return whole(job, own(job, &job->claim.route) && own(job, &job->claim.members) &&
                          own_publication(job, &claim->publication));
}

struct store_job *store_job_count(const struct digest *key, struct flight_id flight,
                                  unsigned paid_calls_max, store_count_cb *callback,
                                  void *context)
{
    struct store_job *job = job_new(STORE_JOB_COUNT, context);
    if (!job)
        return NULL;
    job->count.key = *key;
    job->count.flight = flight;
    job->count.paid_calls_max = paid_calls_max;
    job->callback.counted = callback;
    return job;
}

struct store_job *store_job_complete(const struct store_completion *completion,
                                     store_done_cb *callback, void *context)
{
    struct store_job *job = job_new(STORE_JOB_COMPLETE, context);
    if (!job)
        return NULL;
    job->completion = *completion;
    job->callback.done = callback;
    return whole(job, own_answer(job, &job->completion.answer));
}

struct store_job *store_job_release(const struct store_release *release,
                                    store_done_cb *callback, void *context)
{
    struct store_job *job = job_new(STORE_JOB_RELEASE, context);
    if (!job)
        return NULL;
    job->release = *release;
    job->callback.done = callback;
    return whole(job, own_answer(job, &job->release.outcome));
}

struct store_job *store_job_publish(struct flight_id flight,
                                    const struct store_publication *publication,
                                    store_done_cb *callback, void *context)
{
    struct store_job *job = job_new(STORE_JOB_PUBLISH, context);
    if (!job)
        return NULL;
    job->publish = flight;
    job->callback.done = callback;
    return whole(job, own_publication(job, publication));
}

struct store_job *store_job_result(const struct store_result_query *query,
                                   store_result_cb *callback, void *context)
{
    struct store_job *job = job_new(STORE_JOB_RESULT, context);
    if (!job)
        return NULL;
    job->result = *query;
    job->callback.result_told = callback;
    return job;
}

struct store_job *store_job_accepted(const struct flight_id *after, store_accepted_cb *callback,
                                     void *context)
{
    struct store_job *job = job_new(STORE_JOB_ACCEPTED, context);
    if (!job)
        return NULL;
    job->accepted.goes_on = after != NULL;
    if (after)
        job->accepted.after = *after;
    job->callback.accepted_told = callback;
    return job;
}

struct store_job *store_job_task(const struct store_task *task, store_task_cb *callback,
                                 void *context)
{
    struct store_job *job = job_new(STORE_JOB_TASK, context);
    if (!job)
        return NULL;
    job->task = *task;
    job->callback.task_done = callback;
    return job;
}

void store_job_reset(struct store_job *job, enum rc rc)
{
    forget_records(job);
    job->claim_result = CLAIM_EXISTS;
    job->paid_calls = 0;
    job->task_result = (struct store_task_result){0};
    job->rc = rc;
}
