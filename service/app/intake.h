/* From an HTTP request to what a flight needs, or to the reason why it is refused.
 *
 * The checks run in a fixed order: route, loop, exposure of the operator's key,
 * credential, key, media type (with the head), then body, fingerprint and the body that goes
 * upstream.  What is relayed (core/relay.h) skips what is about keys and generations: its
 * Idempotency-Key is not looked at, and its body goes upstream as it came.  An intake owns everything it hands out, so that a flight can outlive the request
 * it came from. Thread: the loop. */
#ifndef APP_INTAKE_H
#define APP_INTAKE_H

#include "base/arena.h"
#include "base/blob.h"
#include "base/sha256.h"
#include "core/adoption.h"
#include "core/config.h"
#include "core/edge.h"
#include "core/http_error.h"
#include "core/http_message.h"
#include "core/idem_key.h"
#include "core/members.h"
#include "io/store.h"

/* Who asks. */
struct caller {
    struct digest scope;
    const struct config_client *client; /* NULL: no clients configured */
    bool anonymous;                     /* no credential was sent, and none is needed */
};

/* Where calls go. */
struct intake_target {
    const struct config_upstream *upstream;
    struct span url;
    struct headers headers;
};

struct intake {
    struct arena arena;
    struct config *config; /* a reference */
    const struct config_route *route;
    const struct config_upstream *upstream;
    enum api api; /* the route's */
    struct caller caller;
    struct digest key; /* keyed; else the flight's own, once it has one */
    struct digest fingerprint;
    struct members members;   /* keyed */
    struct idem_key idem_key; /* absent: keyless */
    /* The path of its pattern, where it is passed on as it is: keyless, and its answer is not
     * assembled.  Absent: a generation. */
    struct span relay;
    const char *operation; /* as OpenTelemetry calls it; NULL: it generates nothing */
    bool keyed;
    bool adoptable;                   /* keyless, and its flight may become an orphan */
    bool memory_only;                 /* the answer must not be at rest */
    struct adoption_request adoption; /* keyless; keyed: off */
    bool include_usage;               /* stream_options was spliced in */
    unsigned choices;                 /* the request's n */
    uint64_t max_tokens;              /* 0: none given */
    bool logprobs;
    int64_t wait_ms;               /* how long the caller's deadline is */
    struct span model;             /* for people: unescaped; absent: not given */
    struct span url;               /* upstream */
    struct headers headers;        /* upstream */
    struct intake_target fallback; /* its upstream NULL: none, or it is used */
    struct edge_plan edge;
    struct headers kept;        /* accepts: what is kept of the client's headers */
    struct span query;          /* accepts: likewise; absent: none */
    struct blob *client_body;   /* what is spliced: the request's, or /api/llm's mapped body */
    struct blob *upstream_body; /* with the splice; of a relayed GET: NULL */
};

struct intake_refusal {
    enum http_error error;
    const char *detail; /* in the intake's arena or static; NULL: the error's own text */
    struct span allow;  /* methods served here, for a 405 */
};

struct intake_context {
    struct config *config;
    struct span salt;    /* of the store, for scopes */
    struct span boot_id; /* for Via */
    bool unix_listener;  /* the request came over a unix socket */
    /* include_usage "auto": whether this upstream may get stream_options. */
    bool (*knows_stream_options)(const void *memory, const struct config_upstream *upstream);
    const void *memory;
};

/* OK; E_CONFLICT: the headers hold different credentials; E_NOT_FOUND: clients are configured and
 * this is none of them; E_NOMEM. */
MUST_CHECK enum rc caller_find(const struct intake_context *context,
                               const struct headers *headers, struct caller *ret);

/* NULL: out of memory.  Takes a reference to the configuration. */
struct intake *intake_new(const struct intake_context *context);
void intake_free(struct intake *intake);
OWNED_DEFINE(intake)

/* The checks that need the head only.  OK; E_INVALID: refused, see *ret; E_NOMEM. */
MUST_CHECK enum rc intake_head(struct intake *intake, const struct intake_context *context,
                               const struct http_head *head, struct intake_refusal *ret);
/* The rest.  Same results. */
MUST_CHECK enum rc intake_body(struct intake *intake, const struct intake_context *context,
                               const struct http_head *head, struct span body,
                               struct intake_refusal *ret);
/* In place of both, for a request that an earlier process accepted: *ret_why says, for people,
 * what has changed when it cannot be sent any more (E_INVALID).  The deadline is not set. */
MUST_CHECK enum rc intake_resume(struct intake *intake, const struct intake_context *context,
                                 const struct accepted_record *accepted, const char **ret_why);
/* What the store keeps of an accepted request; valid as long as the intake's bodies. */
struct store_request intake_store_request(const struct intake *intake,
                                          int64_t deadline_unix_ms);
/* Splice the body again, without stream_options, for a provider that does not know it. */
MUST_CHECK enum rc intake_drop_include_usage(struct intake *intake);

/* From now on calls go to the fallback, of which there must be one.  knows_stream_options: as in
 * the context.  E_NOMEM: nothing changed. */
MUST_CHECK enum rc intake_use_fallback(struct intake *intake, bool knows_stream_options);

/* Whether the client's body may be needed again before a provider takes the splice. */
bool intake_may_splice_again(const struct intake *intake);
/* The provider took the splice: the client's body is not needed any more. */
void intake_keep_splice(struct intake *intake);
/* No call will be made any more. */
void intake_drop_bodies(struct intake *intake);

#endif
