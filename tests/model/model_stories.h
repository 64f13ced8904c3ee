/* Short stories of long answers: each edge policy, result URLs, accepted requests. */
#ifndef TESTS_MODEL_STORIES_H
#define TESTS_MODEL_STORIES_H

#include "model_world.h"

enum {
    STORY_HOLD_MS = 60, /* longer than the store takes, shorter than a call */
    STORY_CALLED_MS = 100,
    STORY_ENDED_MS = 10000,
    STORY_SLOW_MS = 30000,
};

void story_of_a_redirect(struct world *world);
void story_of_a_keyless_redirect(struct world *world);
void story_of_a_redirect_in_a_pause(struct world *world);
void story_of_a_redirect_that_a_pause_waits_for(struct world *world);
void story_of_a_conflict(struct world *world);
void story_of_a_heartbeat(struct world *world);
void story_of_a_keyless_heartbeat(struct world *world);
void story_of_an_accepted_request(struct world *world);
void story_of_an_accepted_join(struct world *world);
void story_of_an_accepted_request_without_a_key(struct world *world);
void story_of_a_crash(struct world *world);
void story_of_a_restart(struct world *world);
void story_of_replays_without_room(struct world *world);
void story_of_a_cancel(struct world *world);
void story_of_an_orphan_that_was_redirected(struct world *world);

#endif
