#include "core/adoption.h"

#include <limits.h>

void adoption_read_count(struct adoption_request *request, const struct headers *headers)
{
    uint64_t count;
    struct span text = header_get(headers, "x-stainless-retry-count");
    if (!text.p || !span_to_u64(text, &count) || count > UINT_MAX)
        return;
    request->counted = true;
    request->retry_count = (unsigned)count;
}

bool adoption_may_orphan(const struct adoption_request *request)
{
    if (request->shared_scope)
        return false;
    switch (request->adopt) {
    case ADOPT_SDK:
        return request->counted;
    case ADOPT_ANY:
        return true;
    case ADOPT_OFF:
        break;
    }
    return false;
}

bool adoption_invites_retry(int status, enum http_error_retry advice)
{
    switch (advice) {
    case HTTP_ERROR_RETRY_YES:
        return true;
    case HTTP_ERROR_RETRY_NO:
        return false;
    case HTTP_ERROR_RETRY_UNSAID:
        break;
    }
    return status == 408 || status == 409 || status == 429 || status >= 500;
}

struct adoption adoption_begin(const struct adoption_request *request, bool refused_lately)
{
    bool adopts = request->adopt != ADOPT_OFF && !request->shared_scope;
    bool retries = request->retry_count > 0;
    return (struct adoption){
        .orphans = adopts && (retries || request->adopt == ADOPT_ANY),
        .twins = adopts && retries && !refused_lately,
        .retry_count = request->retry_count,
    };
}

void adoption_consider(struct adoption *adoption, void *flight, enum adoption_state state,
                       unsigned retry_count)
{
    switch (state) {
    case ADOPTION_ORPHAN:
        if (adoption->orphans && !adoption->orphan)
            adoption->orphan = flight;
        break;
    case ADOPTION_ATTENDED:
        if (!adoption->twins || retry_count >= adoption->retry_count)
            break;
        adoption->twin = flight;
        adoption->twin_count++;
        break;
    }
}

void *adoption_choice(const struct adoption *adoption)
{
    if (adoption->orphan)
        return adoption->orphan;
    return adoption->twin_count == 1 ? adoption->twin : NULL;
}
