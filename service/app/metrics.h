/* The numbers of /metrics.  Thread: the loop. */
#ifndef APP_METRICS_H
#define APP_METRICS_H

#include "app/engine.h"
#include "app/telemetry.h"

enum { METRICS_BYTES_MAX = TELEMETRY_BYTES_MAX + (1 << 20) };

/* Appends all metrics in Prometheus' text format 0.0.4; failures stick in `out`, which has room
 * for METRICS_BYTES_MAX. */
void metrics_render(const struct engine *engine, const struct store_stats *store,
                    unsigned connections, struct buf *out);

#endif
