/* What operators are told of flights and requests that are over: the last ones, without bodies,
 * each in a struct of its own with bounded copies of texts, so that nothing else is held by it.
 * Thread: the loop. */
#ifndef APP_HISTORY_H
#define APP_HISTORY_H

#include "app/reply.h"
#include "base/map.h"
#include "core/config_table.h"
#include "core/relay.h"
#include "core/timeline.h"

enum {
    OPS_ENDED_FLIGHTS_MAX = 256,
    /* Of these, flights that made no call: many can be refused at once, and those that were paid
     * for are to stay known. */
    OPS_UNCALLED_FLIGHTS_MAX = 64,
    OPS_RECENT_MAX = 100,
    OPS_MODEL_BYTES_MAX = 128, /* more of a model's name is cut */
    KEY_TEXT_BYTES = 9, /* the first digits of a key's digest, which tell keys apart in logs */
};

/* Who asked what of whom; the longest routes are those of the relay.  Empty: nobody, nothing. */
struct history_names {
    char route[RELAY_PATTERN_BYTES_MAX + 1]; /* empty: none of ours */
    char client[CONFIG_NAME_BYTES_MAX + 1], upstream[CONFIG_NAME_BYTES_MAX + 1];
    char model[OPS_MODEL_BYTES_MAX + 1];
    char key[KEY_TEXT_BYTES];
};

/* The first digits of a key's digest. */
void history_key_text(const struct digest *key, char text[KEY_TEXT_BYTES]);
/* Copies texts, cut where they are too long. */
void history_name_route(struct history_names *names, struct span route);
void history_name_client(struct history_names *names, struct span client);
void history_name_upstream(struct history_names *names, struct span upstream);
void history_name_model(struct history_names *names, struct span model);

struct flight_summary {
    struct flight_id id;
    struct history_names names;
    const char *state; /* static */
    const char *row;   /* static: the state of its row in the store; NULL: not asked */
    int64_t started_unix_ms, elapsed_ms;
    int64_t deadline_ms;    /* since the start; -1: not known */
    int64_t first_event_ms; /* since the first call, -1: none came */
    int64_t queue_ms;       /* -1: not known */
    int64_t ended_unix_ms;  /* 0: it runs */
    int status;             /* of the verdict; 0: none yet */
    struct span error;      /* its code, static while in memory; absent: none */
    unsigned attempts, waiters;
    int paid_calls; /* -1: not known */
    uint64_t events, output_bytes, output_tokens;
    bool accepted, orphan;
};

struct ended_flight {
    struct flight_summary summary;
    struct timeline timeline; /* owned */
    int64_t start_ms;         /* monotonic: what the timeline counts from */
};

struct request_summary {
    char id[FLIGHT_ID_TEXT_BYTES];
    struct history_names names;
    int64_t ended_unix_ms, duration_ms, queue_ms, first_event_ms; /* -1: none */
    int status; /* 0: the client left before a reply */
    enum source source;
    const char *error; /* static; NULL: none */
    unsigned attempts;
    uint64_t input_tokens, output_tokens; /* 0: not known */
};

struct history;

/* NULL: out of memory. */
struct history *history_new(void);
void history_free(struct history *history);

/* A flight ended; its timeline is taken over. */
void history_add_flight(struct history *history, const struct flight_summary *summary,
                        struct timeline *timeline, int64_t start_ms);
/* NULL: it is not known, or not any more. */
struct ended_flight *history_flight(struct history *history, struct flight_id id);

void history_add_request(struct history *history, const struct request_summary *request);
/* The latest is number 0; NULL: there are no more. */
const struct request_summary *history_request(const struct history *history, unsigned i);
/* How many there were, those forgotten included. */
uint64_t history_request_count(const struct history *history);

#endif
