/* What admission.c and admission_lanes.c share. */
#ifndef CORE_ADMISSION_INTERNAL_H
#define CORE_ADMISSION_INTERNAL_H

#include "core/admission.h"

/* One client: whoever shares its scope. */
struct admission_party {
    struct digest scope;
    unsigned max, held; /* flights; max 0: no limit */
    unsigned queued;    /* of admission.queued */
    struct list lanes;  /* struct admission_lane.link, the one served last at the end */
};

/* One client at one upstream. */
struct admission_lane {
    struct admission_party *party;
    struct admission_upstream *upstream;
    struct list link;          /* in admission_party.lanes */
    struct list turn;          /* in admission_upstream.lanes, while it may have a turn */
    uint64_t turn_number;      /* lower ones came earlier */
    struct list queue;         /* struct admission_ticket.link */
    unsigned tickets;          /* in whatever state */
    struct list idle;          /* in admission.idle */
    struct admission_gate own; /* unless the upstream shares its gate */
};

/* Where the calls of a lane's tickets start. */
struct admission_gate *admission_gate_of(struct admission_lane *lane);
/* No call is paused or returning there, and the brake has a place. */
bool admission_gate_takes_new(const struct admission *admission,
                              const struct admission_gate *gate);
MUST_CHECK enum rc admission_init_gate(struct admission *admission, struct admission_gate *gate,
                                       struct admission_lane *lane, unsigned max);
/* After any change of its brake or of those who wait at it. */
void admission_update_gate(struct admission *admission, struct admission_gate *gate);

bool admission_party_is_full(const struct admission_party *party);
/* The party of a scope, made if there is none; NULL: out of memory. */
struct admission_party *admission_get_party(struct admission *admission,
                                            const struct digest *scope);
/* Free it if it has no lanes. */
void admission_release_party(struct admission *admission, struct admission_party *party);
/* The party became full, or is not any more. */
void admission_update_party(struct admission *admission, struct admission_party *party);

struct admission_lane *admission_find_lane(const struct admission_party *party,
                                           const struct admission_upstream *upstream);
/* One more ticket for the party's lane at an upstream, made if there is none; NULL: out of
 * memory. */
struct admission_lane *admission_enter_lane(struct admission *admission,
                                            struct admission_party *party, size_t upstream);
/* One less; the lane may be gone afterwards, and its party. */
void admission_exit_lane(struct admission *admission, struct admission_lane *lane);
/* After any change of its queue. */
void admission_update_lane(struct admission *admission, struct admission_lane *lane);
/* Forget the lanes at an upstream (NULL: at all) that are only kept for what their brakes
 * remember. */
void admission_forget_lanes(struct admission *admission,
                            const struct admission_upstream *upstream);
struct admission_upstream *admission_upstream_at(const struct admission *admission,
                                                 size_t index);

#endif
