/* The numbers of /metrics.  Thread: the loop. */
#ifndef APP_METRICS_H
#define APP_METRICS_H

#include "app/engine.h"
#include "app/telemetry.h"

enum { METRICS_BYTES_MAX = TELEMETRY_BYTES_MAX + (1 << 20) };

/* Of the service around the engine. */
struct metrics_service {
    unsigned connections;
    uint64_t reloads, reloads_refused;
};

/* Appends all metrics in Prometheus' text format 0.0.4; failures stick in `out`, which has room
 * for METRICS_BYTES_MAX. */
void metrics_render(const struct engine *engine, const struct store_stats *store,
                    const struct metrics_service *service, struct buf *out);

#endif
