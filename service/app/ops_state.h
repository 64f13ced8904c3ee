/* What operators see of flights, as JSON: members are never left out, what is not known is null,
 * and there is no key (but the first digits of its digest), token, credential or body in it.
 *
 *     GET /ops/state            all that runs, what ended lately, and how the service does
 *     GET /ops/flights/{id}     one flight, with its timeline
 *
 * schema/openapi.yaml describes all members.  Thread: the loop; ops_flight_render: any. */
#ifndef APP_OPS_STATE_H
#define APP_OPS_STATE_H

#include "app/engine.h"

enum {
    OPS_FLIGHTS_MAX = 200, /* of those under way, in the state */
    OPS_STATE_BYTES_MAX = 1 << 20,
    OPS_FLIGHT_BYTES_MAX = 65536,
};

struct ops_state {
    const struct engine *engine;
    const struct config *config;
    struct store_stats store;
    int64_t now_unix_ms, started_unix_ms;
};

/* Appends the reply. */
void ops_state_render(const struct ops_state *state, struct buf *out);

struct ops_flight {
    const struct flight_summary *summary;
    const struct timeline *timeline; /* NULL: only the store knows it */
    int64_t now_unix_ms;
};

/* Appends the reply. */
void ops_flight_render(const struct ops_flight *flight, struct buf *out);
/* What a row of the store tells, which is not ABSENT; views the record. */
struct flight_summary ops_flight_of_row(const struct flight_record *record);

#endif
