/* An admission for tests, and its clients. */
#ifndef ADMISSION_FIXTURE_H
#define ADMISSION_FIXTURE_H

#include "test.h"

#include "core/admission.h"

/* Upstreams 0 and 1 have the operator's credential, upstream 2 passes the client's
 * on. */
enum { SHARED = 0, OTHER = 1, PASSED_ON = 2 };

static inline struct digest scope_of(unsigned client)
{
    struct digest scope = {{0}};
    scope.bytes[0] = (uint8_t)client;
    scope.bytes[1] = (uint8_t)(client >> 8);
    scope.bytes[31] = 1;
    return scope;
}

static inline void make(struct admission *admission, unsigned flights_max,
                        unsigned upstream_flights_max, unsigned queue_max, int64_t queue_ms)
{
    const struct admission_upstream_params upstreams[] = {{upstream_flights_max, true},
                                                          {upstream_flights_max, true},
                                                          {upstream_flights_max, false}};
    const struct admission_params params = {
        .flights_max = flights_max,
        .queue_max = queue_max,
        .queue_ms = queue_ms,
        .upstreams = upstreams,
        .upstream_count = COUNT_OF(upstreams),
    };
    assert_int_equal(admission_init(admission, &params, 0), OK);
}

/* Client `client`, with `max` flights of its own, asks at an upstream. */
static inline enum admission_answer ask(struct admission *admission,
                                        struct admission_ticket *ticket, unsigned client,
                                        unsigned max, size_t upstream, int64_t now_ms)
{
    struct digest scope = scope_of(client);
    const struct admission_request request = {.scope = &scope,
                                              .client_flights_max = max,
                                              .upstream = upstream,
                                              .deadline_ms = INT64_MAX};
    return admission_ask(admission, ticket, &request, now_ms);
}

static inline void end_call(struct admission *admission, struct admission_ticket *ticket,
                            int status, const struct header *header, int64_t now_ms)
{
    struct attempt_outcome outcome = {.end = status == 200 ? ATTEMPT_ANSWERED : ATTEMPT_REFUSED,
                                      .status = status};
    if (header)
        outcome.headers[outcome.header_count++] = *header;
    admission_call_ended(admission, ticket, &outcome, now_ms, 784111777);
}

#endif
