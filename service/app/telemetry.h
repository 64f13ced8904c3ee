/* What is counted by label, for /metrics: requests, upstream calls as OpenTelemetry names them, and
 * the time that the service itself adds.
 *
 * The gen_ai_* families follow OpenTelemetry's semantic conventions for GenAI client metrics,
 * names and buckets included, in Prometheus' spelling
 * (https://github.com/open-telemetry/semantic-conventions-genai, docs/gen-ai/gen-ai-metrics.md).
 * There an operation is one call to a provider, so a retry is an operation of its own.
 *
 * Labels are bounded (core/series.h): models are cut at SERIES_NAME_BYTES_MAX bytes and come from
 * outside, clients are configured names.  Numbers are plain, as all of this happens in one thread;
 * out of memory an observation is lost.  Thread: the loop. */
#ifndef APP_TELEMETRY_H
#define APP_TELEMETRY_H

#include "app/reply.h"
#include "core/attempt.h"
#include "core/series.h"

enum {
    TELEMETRY_MODELS_MAX = 100,     /* told apart; the others are "other" */
    TELEMETRY_CLIENTS_MAX = 100,    /* likewise */
    TELEMETRY_WORDS_MAX = 1024,     /* statuses, error types and what else is ours to choose */
    TELEMETRY_SERIES_MAX = 512,     /* of each family */
    TELEMETRY_BYTES_MAX = 16 << 20, /* of the text of all of them, with room to spare */
};

enum telemetry_family {
    TELEMETRY_REQUESTS,
    TELEMETRY_DURATION,
    TELEMETRY_FIRST_CHUNK,
    TELEMETRY_TOKENS,
    TELEMETRY_START,
    TELEMETRY_ANSWER,
    TELEMETRY_FAMILY_COUNT
};

struct telemetry {
    struct series_names words, clients, models;
    struct series_family families[TELEMETRY_FAMILY_COUNT];
};

/* Takes no memory yet. */
void telemetry_init(struct telemetry *telemetry);
void telemetry_done(struct telemetry *telemetry);

struct telemetry_request {
    struct span route, client; /* client: a configured name; absent: none */
    int status;                /* 0: the client left before its reply */
    enum source source;        /* as it was told */
};

/* A request is over. */
void telemetry_request(struct telemetry *telemetry, const struct telemetry_request *request);

struct telemetry_call {
    const char *operation; /* gen_ai.operation.name; NULL: it is none, and not counted */
    enum provider provider;
    struct span model; /* absent: none was named */
    const struct attempt_outcome *outcome;
    bool cancelled; /* ended because nobody wants its answer */
};

/* An upstream call is over. */
void telemetry_call(struct telemetry *telemetry, const struct telemetry_call *call);
/* The first call of a flight starts so long after its request was complete, time in the queue
 * taken off. */
void telemetry_start(struct telemetry *telemetry, bool keyed, int64_t us);
/* A flight's waiters are replied to so long after the provider's last byte. */
void telemetry_answer(struct telemetry *telemetry, bool keyed, int64_t us);
/* Appends all families. */
void telemetry_render(const struct telemetry *telemetry, struct buf *out);

#endif
