/* The numbers of /metrics.  Thread: the loop. */
#ifndef APP_METRICS_H
#define APP_METRICS_H

#include "app/engine.h"

/* Appends all metrics in Prometheus' text format 0.0.4; failures stick in `out`. */
void metrics_render(const struct engine_state *state, const struct store_stats *store,
                    unsigned connections, struct buf *out);

#endif
