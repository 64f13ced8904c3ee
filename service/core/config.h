/* The configuration: one JSON object, or the providers' own environment variables alone.
 *
 * Pure: environment and files come in through struct config_source.  All mistakes are collected
 * and told at once.  A configuration is immutable and lives in its own arena; whoever shares it
 * between units of work counts references with config_ref.  Thread: config_load in one thread,
 * then readable by any; the reference count is atomic. */
#ifndef CORE_CONFIG_H
#define CORE_CONFIG_H

#include "base/buf.h"
#include "base/sha256.h"
#include "core/api.h"
#include "core/http_message.h"

enum auth { AUTH_BEARER, AUTH_X_API_KEY };
enum include_usage { INCLUDE_USAGE_AUTO, INCLUDE_USAGE_ALWAYS, INCLUDE_USAGE_NEVER };
enum edge { EDGE_WAIT, EDGE_CONFLICT, EDGE_REDIRECT, EDGE_HEARTBEAT };
enum adopt { ADOPT_SDK, ADOPT_ANY, ADOPT_OFF };
enum on_disconnect { ON_DISCONNECT_AUTO, ON_DISCONNECT_CONTINUE, ON_DISCONNECT_CANCEL };
enum answer_store { ANSWER_STORE_DISK, ANSWER_STORE_MEMORY };
enum on_interrupted { ON_INTERRUPTED_RETRY, ON_INTERRUPTED_FAIL };
enum on_store_error { ON_STORE_ERROR_REFUSE, ON_STORE_ERROR_MEMORY };
enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_JSON, LOG_FORMAT_TEXT };

struct span_list {
    const struct span *items;
    size_t count;
};

/* A setting that the environment decides where its key is absent. */
struct config_effective {
    struct span value; /* empty: nothing */
    const char *from;  /* who said it, for people: the key, a variable, ... */
};

struct config_upstream {
    struct span name;
    struct span base_url; /* without a trailing slash */
    enum provider provider;
    bool provider_guessed; /* from the name and the URL, because nothing said it */
    struct span api_key;   /* absent: the client's own credential is passed on */
    enum auth auth;
    struct headers headers;        /* fixed, added to every call */
    struct span_list pass_headers; /* names of client headers that are passed on */
    struct span proxy;             /* the key: URL; empty: no proxy; absent: not said */
    struct span ca_file;           /* the key; absent: not said */
    struct config_effective effective_proxy, effective_ca_file;
    int64_t connect_timeout_ms, first_event_timeout_ms, idle_timeout_ms;
    unsigned attempts_max;
    int64_t backoff_base_ms, backoff_max_ms;
    double retry_budget_ratio;
    enum include_usage include_usage;
    struct span max_tokens_field;
    unsigned flights_max;
};

struct config_route {
    bool off;                               /* "/path": false */
    const struct config_upstream *upstream; /* NULL: route_not_configured */
    struct span remedy; /* upstream NULL, not off: what would configure the route, for people */
    const struct config_upstream *fallback; /* NULL: none */
    enum api api;                           /* what is spoken upstream */
    struct span model;                      /* /api/llm: default model, absent: none */
    uint64_t max_tokens;                    /* /api/llm: default, 0: none */
    enum edge edge;
    int64_t hold_ms, heartbeat_after_ms, beat_ms;
    unsigned hops_max, conflict_status; /* conflict_status 0: chosen by client */
    enum adopt adopt;
    enum on_disconnect on_disconnect;
    bool require_key;
    enum answer_store store;
    int64_t deadline_ms; /* the route's own or limits.deadline_s */
};

struct config_client {
    struct span name;
    struct digest token_sha256;
    unsigned flights_max;         /* 0: no limit of its own */
    unsigned requests_per_minute; /* 0: no limit of its own */
    enum answer_store store;
};

struct config_idempotency {
    int64_t ttl_ms, error_ttl_ms, result_url_ttl_ms, orphan_grace_ms, adopt_window_ms;
    unsigned paid_calls_max, waiters_max;
    enum on_interrupted on_interrupted;
    enum on_store_error on_store_error;
};

struct config_limits {
    int64_t deadline_ms, deadline_max_ms, flight_max_ms, keepalive_ms, request_timeout_ms;
    uint64_t request_bytes_per_s_min, reply_bytes_per_s_min;
    size_t body_bytes_max, header_bytes_max, event_bytes_max, answer_bytes_max,
        memory_bytes_max;
    unsigned flights_max, queue_max, connections_max;
    int64_t queue_ms;
    uint64_t store_bytes_max; /* 0: no limit */
    uint64_t store_free_bytes_min;
};

struct config {
    struct span_list listen; /* "host:port", "[v6]:port", "unix:/path" */
    bool listen_standard;    /* nobody said it: the machine need not have all of them */
    struct span ops_listen;  /* absent: none */
    bool ops_token_set;
    struct digest ops_token_sha256;
    bool open;
    struct span store; /* "sqlite:/path" */
    const struct config_upstream *upstreams;
    size_t upstream_count;
    struct config_route routes[API_COUNT];
    struct span_list relay; /* patterns of core/relay.h */
    const struct config_client *clients;
    size_t client_count;
    struct config_idempotency idempotency;
    struct config_limits limits;
    unsigned upstream_threads;
    int64_t drain_ms;
    enum log_level log_level;
    enum log_format log_format;
};

/* Where values come from.  getenv: NULL when unset.  read_file: the whole file appended to
 * `out`, or an error whose text the loader reports with the path. */
struct config_source {
    const char *(*getenv)(void *context, const char *name);
    enum rc (*read_file)(void *context, struct span path, struct buf *out);
    void *context;
};

/* What the command line says; it wins over file and environment.  So do sockets that were
 * inherited, over all, as that is where the service listens. */
struct config_arguments {
    struct span file; /* --config; absent: $UNSTREAM_CONFIG, else no file */
    struct span_list listen;
    struct span store;
    struct span_list inherited_listen; /* empty: none, as for ops */
    struct span inherited_ops_listen;
    /* A reload: what no reload can change stays as it is here, and is warned about; the result
     * is checked as what then runs.  NULL: a start. */
    const struct config *running;
};

/* Load, check and complete a configuration.  On failure *ret is untouched and `problems` has
 * one line per mistake ("file: upstreams.openai.timeout_s: unknown key, did you mean ...?"). On
 * success `problems` has the warnings, a line each, perhaps none.  E_INVALID: refused;
 * E_NOMEM.  The caller owns *ret: config_free. */
MUST_CHECK enum rc config_load(const struct config_source *source,
                               const struct config_arguments *arguments, struct buf *problems,
                               struct config **ret);
struct config *config_ref(struct config *config);
void config_free(struct config *config);
OWNED_DEFINE(config)

/* The complete configuration as JSON that config_load would take, defaults included, secrets
 * masked. */
void config_print(const struct config *config, struct buf *out);
/* `text` as a JSON string that config_load reads as this very text, where "$" and "@/" would mean
 * something else; absent: null. */
void config_quote(struct span text, struct buf *out);
/* Whether `clients` may have a client of this name. */
bool config_client_name_is_sound(struct span name);

#endif
