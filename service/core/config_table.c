#include "core/config_table.h"

#define KEY(section, type, member, name, kind, ...)                                            \
    {                                                                                          \
        SECTION_##section, CONFIG_##kind, name, offsetof(struct type, member), __VA_ARGS__     \
    }
#define ROOT_KEY(member, ...) KEY(ROOT, config, member, __VA_ARGS__)
#define UPSTREAM_KEY(member, ...) KEY(UPSTREAM, config_upstream, member, __VA_ARGS__)
#define ROUTE_KEY(member, ...) KEY(ROUTE, config_route, member, __VA_ARGS__)
#define CLIENT_KEY(member, ...) KEY(CLIENT, config_client, member, __VA_ARGS__)
#define IDEMPOTENCY_KEY(member, ...) KEY(IDEMPOTENCY, config, idempotency.member, __VA_ARGS__)
#define LIMITS_KEY(member, ...) KEY(LIMITS, config, limits.member, __VA_ARGS__)
#define LOG_KEY(member, ...) KEY(LOG, config, member, __VA_ARGS__)
#define OBJECT(name, ...)                                                                      \
    {                                                                                          \
        SECTION_ROOT, CONFIG_OBJECT, name, 0, NULL, __VA_ARGS__                                \
    }

#define KIB 1024.0
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define TIB (1024 * GIB)
#define MS 0.001
#define HOUR 3600.0
#define DAY (24 * HOUR)

static const struct config_key keys[] = {
    ROOT_KEY(listen, "listen", LIST, "[\"127.0.0.1:8080\", \"[::1]:8080\"]", 1,
             CONFIG_LISTEN_MAX, .restart = true,
             .help = "Addresses for clients: host:port, [v6]:port or unix:/path. Of the "
                     "default, what this machine has."),
    ROOT_KEY(ops_listen, "ops_listen", TEXT, "null", 1, 255, .restart = true,
             .help = "Address for operators (/metrics, /ops, probes). null: none."),
    ROOT_KEY(ops_token_sha256, "ops_token_sha256", DIGEST, "null",
             .help =
                 "SHA-256 of the operators' token; needed when ops_listen is beyond loopback."),
    ROOT_KEY(open, "open", BOOL, "false",
             .help = "true: whoever reaches a listener may use the configured api_key."),
    ROOT_KEY(store, "store", TEXT, "null", 1, 4096, .restart = true,
             .help = "sqlite:/path of the database. null: unstream.db in the state directory."),
    OBJECT("upstreams",
           .help = "Providers by name. Left out: openai and anthropic, from the environment."),
    OBJECT("routes", .help = "Routes by path; false switches one off."),
    OBJECT("clients", .help = "Who may ask. Empty: whoever reaches a listener."),
    OBJECT("idempotency", .help = "How long answers are kept and how retries are joined."),
    OBJECT("limits", .help = "Deadlines, sizes and counts."),
    ROOT_KEY(upstream_threads, "upstream_threads", COUNT, "1", 1, 64, .restart = true,
             .help = "Threads that read from providers."),
    ROOT_KEY(drain_ms, "drain_s", SECONDS, "660", 0, DAY,
             .help = "How long running work may take after SIGTERM."),
    OBJECT("log", .help = "What is logged and how."),

    UPSTREAM_KEY(base_url, "base_url", TEXT, "null", 1, 2048,
                 .help = "As the provider's SDK takes it: OpenAI's ends in /v1, Anthropic's "
                         "does not. null: the provider's own."),
    UPSTREAM_KEY(provider, "provider", CHOICE, "null", .choices = "openai|anthropic",
                 .help = "Whose API it speaks. null: guessed from name and URL."),
    UPSTREAM_KEY(api_key, "api_key", TEXT, "null", 1, 4096, .secret = true,
                 .help =
                     "Replaces the client's credential. null: the client's own is passed on."),
    UPSTREAM_KEY(auth, "auth", CHOICE, "null", .choices = "bearer|x-api-key",
                 .help =
                     "How api_key is sent. null: bearer for openai, x-api-key for anthropic."),
    UPSTREAM_KEY(headers, "headers", HEADERS, "{}", 0, 32,
                 .help = "Headers added to every call."),
    UPSTREAM_KEY(pass_headers, "pass_headers", LIST, "[]", 0, 32,
                 .help = "Names of further client headers that are passed on."),
    UPSTREAM_KEY(
        proxy, "proxy", TEXT, "null", 0, 2048,
        .help =
            "URL of a proxy; \"\": none. null: HTTPS_PROXY, ALL_PROXY and NO_PROXY decide."),
    UPSTREAM_KEY(
        ca_file, "ca_file", TEXT, "null", 1, 4096,
        .help = "PEM bundle of trusted authorities. null: SSL_CERT_FILE, else the system's."),
    UPSTREAM_KEY(connect_timeout_ms, "connect_timeout_s", SECONDS, "5", MS, HOUR,
                 .help = "For name resolution, TCP and TLS."),
    UPSTREAM_KEY(first_event_timeout_ms, "first_event_timeout_s", SECONDS, "300", MS, DAY,
                 .help = "From the request to the first event."),
    UPSTREAM_KEY(idle_timeout_ms, "idle_timeout_s", SECONDS, "120", MS, DAY,
                 .help = "Silence allowed between two events."),
    UPSTREAM_KEY(attempts_max, "attempts_max", COUNT, "3", 1, 20,
                 .help = "Upstream calls of one flight."),
    UPSTREAM_KEY(backoff_base_ms, "backoff_base_s", SECONDS, "1", 0, HOUR,
                 .help = "Pause before the first retry, doubled each time."),
    UPSTREAM_KEY(backoff_max_ms, "backoff_max_s", SECONDS, "30", 0, HOUR,
                 .help = "Longest pause of our own between attempts."),
    UPSTREAM_KEY(retry_budget_ratio, "retry_budget_ratio", RATIO, "0.2", 0, 10,
                 .help = "Retries earned per flight."),
    UPSTREAM_KEY(include_usage, "include_usage", CHOICE, "\"auto\"",
                 .choices = "auto|always|never",
                 .help = "stream_options.include_usage of Chat Completions; auto: left out "
                         "once the provider refuses it."),
    UPSTREAM_KEY(max_tokens_field, "max_tokens_field", TEXT, "\"max_completion_tokens\"", 1, 64,
                 .help = "The member that carries /api/llm's max_tokens in Chat Completions."),
    UPSTREAM_KEY(flights_max, "flights_max", COUNT, "500", 1, 100000,
                 .help = "Flights at this upstream at once."),

    ROUTE_KEY(upstream, "upstream", UPSTREAM, "null",
              .help = "Name of the upstream. null: the first one of the fitting provider "
                      "(/api/llm: the first with an api_key, else the first)."),
    ROUTE_KEY(fallback, "fallback", UPSTREAM, "null",
              .help =
                  "Name of a second upstream, with an api_key, for when the first one fails."),
    ROUTE_KEY(
        api, "api", CHOICE, "null", .choices = "chat|responses|messages", .simple_only = true,
        .help = "What is spoken upstream. null: chat for openai, messages for anthropic."),
    ROUTE_KEY(model, "model", TEXT, "null", 1, 256, .simple_only = true,
              .help = "Model of requests that name none."),
    ROUTE_KEY(max_tokens, "max_tokens", SIZE, "null", 1, 10000000, .simple_only = true,
              .help = "max_tokens of requests that name none."),
    ROUTE_KEY(edge, "edge", CHOICE, "\"wait\"", .choices = "wait|conflict|redirect|heartbeat",
              .help = "What keeps a long answer alive through a proxy's time limit."),
    ROUTE_KEY(hold_ms, "hold_s", SECONDS, "null", MS, HOUR,
              .help = "How long a waiter is kept before the edge policy answers. null: 50, for "
                      "redirect 25."),
    ROUTE_KEY(heartbeat_after_ms, "heartbeat_after_s", SECONDS, "20", 0, HOUR,
              .help = "heartbeat: the earliest first byte."),
    ROUTE_KEY(beat_ms, "beat_s", SECONDS, "12", MS, HOUR,
              .help = "heartbeat: the pause between two bytes."),
    ROUTE_KEY(hops_max, "hops_max", COUNT, "9", 1, 100, .help = "redirect: the longest chain."),
    ROUTE_KEY(
        conflict_status, "conflict_status", COUNT, "null", 400, 599,
        .help =
            "conflict: the status. null: 409 if the request carries x-stainless-*, else 503."),
    ROUTE_KEY(adopt, "adopt", CHOICE, "null", .choices = "sdk|any|off",
              .help = "Which keyless retries take over an orphan. null: sdk, on /api/llm any."),
    ROUTE_KEY(on_disconnect, "on_disconnect", CHOICE, "\"auto\"",
              .choices = "auto|continue|cancel",
              .help = "What becomes of a keyless flight whose client left."),
    ROUTE_KEY(require_key, "require_key", BOOL, "false",
              .help = "true: requests without Idempotency-Key are refused."),
    ROUTE_KEY(store, "store", CHOICE, "\"disk\"", .choices = "disk|memory",
              .help = "Where answers are kept."),
    ROUTE_KEY(deadline_ms, "deadline_s", SECONDS, "null", MS, DAY,
              .help = "How long a request may wait. null: limits.deadline_s."),

    CLIENT_KEY(name, "name", TEXT, NULL, 1, CONFIG_NAME_BYTES_MAX, .required = true,
               .help = "Names the client in logs; keys of two names never meet."),
    CLIENT_KEY(token_sha256, "token_sha256", DIGEST, NULL, .required = true,
               .help = "SHA-256 of the client's token, 64 hexadecimal digits."),
    CLIENT_KEY(flights_max, "flights_max", COUNT, "null", 1, 100000,
               .help = "Flights of this client at once. null: no limit of its own."),
    CLIENT_KEY(requests_per_minute, "requests_per_minute", COUNT, "null", 1, 1000000,
               .help =
                   "Requests of this client in a minute that start a flight. null: no limit "
                   "of its own."),
    CLIENT_KEY(store, "store", CHOICE, "\"disk\"", .choices = "disk|memory",
               .help = "Where this client's answers are kept."),

    IDEMPOTENCY_KEY(ttl_ms, "ttl_s", SECONDS, "86400", MS, 365 * DAY,
                    .help = "How long an answer is kept."),
    IDEMPOTENCY_KEY(error_ttl_ms, "error_ttl_s", SECONDS, "300", MS, 365 * DAY,
                    .help = "How long a stored error is kept."),
    IDEMPOTENCY_KEY(result_url_ttl_ms, "result_url_ttl_s", SECONDS, "3600", MS, 365 * DAY,
                    .help = "How long a result token opens its result after the flight."),
    IDEMPOTENCY_KEY(paid_calls_max, "paid_calls_max", COUNT, "4", 1, 100,
                    .help = "Upstream calls in the life of a key."),
    IDEMPOTENCY_KEY(waiters_max, "waiters_max", COUNT, "64", 1, 100000,
                    .help = "Connections that may wait for one flight."),
    IDEMPOTENCY_KEY(orphan_grace_ms, "orphan_grace_s", SECONDS, "30", 0, HOUR,
                    .help = "How long a running orphan goes on."),
    IDEMPOTENCY_KEY(adopt_window_ms, "adopt_window_s", SECONDS, "300", 0, DAY,
                    .help = "How long a finished orphan is remembered."),
    IDEMPOTENCY_KEY(
        on_interrupted, "on_interrupted", CHOICE, "\"retry\"", .choices = "retry|fail",
        .help = "A retry of a flight that a crash ended: run again, or 502 outcome_unknown."),
    IDEMPOTENCY_KEY(on_store_error, "on_store_error", CHOICE, "\"refuse\"",
                    .choices = "refuse|memory",
                    .help = "A key that cannot be recorded: 503, or kept in memory only."),

    LIMITS_KEY(deadline_ms, "deadline_s", SECONDS, "590", MS, DAY,
               .help = "How long a request may wait."),
    LIMITS_KEY(deadline_max_ms, "deadline_max_s", SECONDS, "3600", MS, DAY,
               .help = "The most that Unstream-Deadline may ask for."),
    LIMITS_KEY(flight_max_ms, "flight_max_s", SECONDS, "1800", MS, DAY,
               .help = "The longest flight, with all attempts."),
    LIMITS_KEY(keepalive_ms, "keepalive_s", SECONDS, "75", 1, DAY,
               .help = "How long an idle client connection is kept."),
    LIMITS_KEY(request_timeout_ms, "request_timeout_s", SECONDS, "30", MS, HOUR,
               .help = "From a request's first byte to the end of its head."),
    LIMITS_KEY(request_bytes_per_s_min, "request_bytes_per_s_min", SIZE, "16384", 1, GIB,
               .help = "The slowest request body."),
    LIMITS_KEY(reply_bytes_per_s_min, "reply_bytes_per_s_min", SIZE, "65536", 1, GIB,
               .help = "The slowest reader of a reply."),
    LIMITS_KEY(body_bytes_max, "body_bytes_max", SIZE, "33554432", 1, GIB,
               .help = "The largest request body."),
    LIMITS_KEY(header_bytes_max, "header_bytes_max", SIZE, "16384", KIB, 64 * KIB,
               .restart = true, .help = "The largest request head."),
    LIMITS_KEY(event_bytes_max, "event_bytes_max", SIZE, "33554432", 1, GIB,
               .help = "The largest event of a stream."),
    LIMITS_KEY(answer_bytes_max, "answer_bytes_max", SIZE, "33554432", 1, GIB,
               .help = "The largest answer."),
    LIMITS_KEY(memory_bytes_max, "memory_bytes_max", SIZE, "1073741824", MIB, TIB,
               .help = "Memory for bodies and answers, all together."),
    LIMITS_KEY(flights_max, "flights_max", COUNT, "2000", 1, 1000000,
               .help = "Flights at once."),
    LIMITS_KEY(queue_max, "queue_max", COUNT, "1000", 0, 1000000,
               .help = "Requests that may wait for a flight slot; one client's own get eight "
                       "ninths of the places."),
    LIMITS_KEY(queue_ms, "queue_s", SECONDS, "30", 0, HOUR,
               .help = "How long a request waits for a flight slot. 0: not at all."),
    LIMITS_KEY(connections_max, "connections_max", COUNT, "20000", 1, 1000000, .restart = true,
               .help = "Client connections at once."),
    LIMITS_KEY(store_bytes_max, "store_bytes_max", SIZE, "null", MIB, 1024 * TIB,
               .restart = true, .help = "The largest database. null: no limit."),
    LIMITS_KEY(store_free_bytes_min, "store_free_bytes_min", SIZE, "268435456", 0, 1024 * TIB,
               .restart = true, .help = "Free disk space below which no new key is taken."),

    LOG_KEY(log_level, "level", CHOICE, "\"info\"", .choices = "debug|info|warning|error",
            .help = "The least severe lines that are written."),
    LOG_KEY(log_format, "format", CHOICE, "\"json\"", .choices = "json|text",
            .help = "How a line looks."),
};

_Static_assert(sizeof(size_t) == sizeof(uint64_t), "CONFIG_SIZE is one width");
_Static_assert(sizeof(enum edge) == sizeof(unsigned), "CONFIG_CHOICE is one width");

const struct config_key *config_keys(size_t *ret_count)
{
    *ret_count = COUNT_OF(keys);
    return keys;
}

const struct config_key *config_section_keys(enum config_section section, size_t *ret_count)
{
    size_t first = 0;
    while (keys[first].section != section)
        first++;
    size_t end = first;
    while (end < COUNT_OF(keys) && keys[end].section == section)
        end++;
    *ret_count = end - first;
    return keys + first;
}

const struct config_key *config_key_find(enum config_section section, struct span name)
{
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        if (keys[i].section == section && span_is(name, keys[i].name))
            return &keys[i];
    return NULL;
}

const char *config_section_place(enum config_section section)
{
    static const char *const places[] = {
#define X(name, place) [name] = place,
        CONFIG_SECTION_TABLE(X)
#undef X
    };
    return places[section];
}

int config_choice_index(const char *choices, struct span word)
{
    struct span rest = span_of(choices);
    for (int i = 0; rest.p; i++)
        if (span_eq(span_cut(&rest, '|'), word))
            return i;
    return -1;
}

struct span config_choice_word(const char *choices, unsigned index)
{
    struct span rest = span_of(choices);
    struct span word = span_cut(&rest, '|');
    while (index-- > 0)
        word = rest.p ? span_cut(&rest, '|') : SPAN_ABSENT;
    return word;
}

int64_t config_hold_standard_ms(enum edge edge)
{
    return edge == EDGE_REDIRECT ? 25000 : 50000;
}

enum adopt config_adopt_standard(enum api api)
{
    return api == API_SIMPLE ? ADOPT_ANY : ADOPT_SDK;
}
