#include "app/ops_transport.h"

#include "app/clock.h"
#include "core/json.h"
#include "io/store_sqlite.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

enum {
    URL_BYTES_MAX = 1024,
    TOKEN_LINE_BYTES_MAX = 65536,
    PROBLEM_BYTES_MAX = 65536,
    TIMEOUT_S = 120,
};

int ops_transport_init(struct ops_transport *transport, const char *command,
                       const struct config_source *source,
                       const struct config_arguments *arguments)
{
    const char *token = source->getenv(source->context, "UNSTREAM_OPS_TOKEN");
    *transport = (struct ops_transport){
        .command = command,
        .problem.bytes_max = PROBLEM_BYTES_MAX,
        .token = token && *token ? token : NULL,
    };
    enum rc rc = config_load(source, arguments, &transport->problem, &transport->config);
    if (rc == OK) {
        buf_clear(&transport->problem); /* warnings are for those who serve */
        return EX_OK;
    }
    (void)fprintf(stderr, "%s", buf_text(&transport->problem));
    buf_done(&transport->problem);
    return rc == E_NOMEM ? EX_SOFTWARE : EX_CONFIG;
}

void ops_transport_done(struct ops_transport *transport)
{
    if (transport->curl)
        curl_easy_cleanup(transport->curl);
    store_free(transport->store);
    if (transport->box_made)
        mailbox_done(&transport->box);
    config_free(transport->config);
    buf_done(&transport->problem);
}

int ops_transport_fail(struct ops_transport *transport, enum rc rc)
{
    (void)fprintf(stderr, "unstream %s: %s\n", transport->command,
                  transport->problem.n ? buf_text(&transport->problem) : rc_text(rc));
    return rc == E_INVALID || rc == E_NOT_FOUND ? EX_CONFIG : EX_SOFTWARE;
}

/* ---- through the service */

static size_t on_bytes(char *bytes, size_t size, size_t count, void *context)
{
    struct buf *reply = context;
    buf_add(reply, (struct span){bytes, size * count});
    return buf_rc(reply) == OK ? size * count : 0;
}

struct call {
    struct ops_transport *transport;
    struct buf *body; /* NULL: none */
    struct buf *reply;
    struct buf url, authorization;
    char *socket_path; /* NULL: over TCP */
    struct curl_slist *headers;
};

static bool set_up(const struct call *call)
{
    CURL *curl = call->transport->curl;
    /* A URL with our own address: no proxy, no redirects, nothing but HTTP. */
    CURLcode codes[] = {
        curl_easy_setopt(curl, CURLOPT_URL, call->url.p),
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, call->socket_path),
        curl_easy_setopt(curl, CURLOPT_PROXY, ""),
        curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http"),
        curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L),
        curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)TIMEOUT_S),
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, call->headers),
        call->body ? curl_easy_setopt(curl, CURLOPT_POSTFIELDS, buf_text(call->body))
                   : curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L),
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes),
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, call->reply),
    };
    for (size_t i = 0; i < COUNT_OF(codes); i++)
        if (codes[i] != CURLE_OK)
            return false;
    return true;
}

static bool add_header(struct call *call, const char *line)
{
    struct curl_slist *longer = curl_slist_append(call->headers, line);
    if (longer)
        call->headers = longer;
    return longer != NULL;
}

/* Where the ops listener is, from our own configuration. */
static bool prepare(struct call *call, const char *path)
{
    struct span address = call->transport->config->ops_listen;
    struct span host = address;
    if (span_starts(address, "unix:")) {
        call->socket_path = span_dup(span_from(address, sizeof "unix:" - 1));
        host = SPAN("localhost");
        if (!call->socket_path)
            return false;
    }
    buf_printf(&call->url, "http://%.*s%s", SPAN_ARG(host), path);
    if (call->transport->token)
        buf_printf(&call->authorization, "Authorization: Bearer %s", call->transport->token);
    return buf_rc(&call->url) == OK && buf_rc(&call->authorization) == OK &&
           (!call->body || add_header(call, "Content-Type: application/json")) &&
           (!call->transport->token || add_header(call, buf_text(&call->authorization)));
}

static enum rc judge(const struct call *call)
{
    long status = 0;
    (void)curl_easy_getinfo(call->transport->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status == 200)
        return OK;
    struct span detail = json_inside(json_get(buf_span(call->reply), "detail"));
    buf_printf(&call->transport->problem, "the service at ops_listen (%.*s) answers %ld: %.*s",
               SPAN_ARG(call->transport->config->ops_listen), status,
               SPAN_ARG(detail.p ? detail : SPAN("is it unstream?")));
    if (status == 401)
        buf_add_text(&call->transport->problem, " (set UNSTREAM_OPS_TOKEN)");
    if (status == 404)
        return E_NOT_FOUND;
    return status >= 500 ? E_IO : E_INVALID;
}

/* E_CLOSED: nobody listens there. */
static enum rc perform(struct call *call)
{
    CURLcode code = curl_easy_perform(call->transport->curl);
    if (code == CURLE_COULDNT_CONNECT)
        return E_CLOSED;
    if (code == CURLE_OK)
        return judge(call);
    buf_printf(&call->transport->problem, "the service at ops_listen (%.*s): %s",
               SPAN_ARG(call->transport->config->ops_listen), curl_easy_strerror(code));
    return E_IO;
}

enum rc ops_transport_ask(struct ops_transport *transport, const char *path, struct buf *body,
                          struct buf *reply)
{
    struct call call = {transport, body, reply, .socket_path = NULL};
    if (!transport->config->ops_listen.p)
        return E_CLOSED;
    buf_init(&call.url, URL_BYTES_MAX);
    buf_init(&call.authorization, TOKEN_LINE_BYTES_MAX);
    if (!transport->curl)
        transport->curl = curl_easy_init();
    bool ready = transport->curl && prepare(&call, path) && set_up(&call);
    enum rc rc = ready ? perform(&call) : E_NOMEM;
    curl_slist_free_all(call.headers);
    free(call.socket_path);
    buf_done(&call.url);
    buf_done(&call.authorization);
    return rc;
}

/* ---- on the store itself */

enum rc ops_transport_open_store(struct ops_transport *transport)
{
    const struct config *config = transport->config;
    struct buf *problem = &transport->problem;
    if (transport->store)
        return OK;
    const struct store_sqlite_params params = {
        .path = span_from(config->store, sizeof "sqlite:" - 1),
        .loop = &transport->box,
        .released_ttl_ms = config->idempotency.ttl_ms,
        .now_ms = clock_unix_ms(),
    };
    char *path = span_dup(params.path);
    bool there = path && access(path, F_OK) == 0;
    free(path);
    if (!there) {
        buf_printf(problem, "%.*s: there is no store", SPAN_ARG(params.path));
        return E_INVALID;
    }
    enum rc rc = mailbox_init(&transport->box);
    if (rc != OK)
        return rc;
    transport->box_made = true;
    rc = store_sqlite_open(&params, problem, &transport->store);
    if (rc == E_INVALID && !config->ops_listen.p)
        buf_add_text(problem,
                     " (with ops_listen in the configuration its service could be asked)");
    return rc;
}

void ops_transport_wait(struct ops_transport *transport, const bool *came)
{
    while (!*came) {
        mailbox_wait(&transport->box);
        (void)mailbox_run(&transport->box);
    }
}
