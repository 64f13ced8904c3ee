/* The numbers of /metrics.  Thread: the loop. */
#ifndef APP_METRICS_H
#define APP_METRICS_H

#include "app/engine.h"

/* Of the service around the engine. */
struct metrics_service {
    unsigned connections;
    uint64_t reloads, reloads_refused;
};

/* Appends all metrics in Prometheus' text format 0.0.4; failures stick in `out`. */
void metrics_render(const struct engine_state *state, const struct store_stats *store,
                    const struct metrics_service *service, struct buf *out);

#endif
