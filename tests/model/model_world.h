/* The life of a world, for those who write schedules. */
#ifndef TESTS_MODEL_WORLD_H
#define TESTS_MODEL_WORLD_H

#include "model.h"

void world_begin(struct world *world, uint64_t seed);
/* Stops the process; nothing may be left over. */
void world_end(struct world *world);
/* Time passes, and everything that is due happens; what is due at the same time in any order. */
void world_pass(struct world *world, int64_t ms);

void world_start_process(struct world *world);
/* The process dies and starts again: nothing survives but rows. */
void world_crash(struct world *world);
/* SIGTERM came. */
void world_drain(struct world *world);
/* What still runs is given up, and the process starts again. */
void world_restart(struct world *world);

/* Trace and seed of the world that did not end, on standard error. */
void world_print_trace(void);

#endif
