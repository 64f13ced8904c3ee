/* How libcurl is set up for a call, and why: see the comments at each setting. */
#include "io/upstream_internal.h"

#include "base/crash_point.h"

#include <limits.h>
#include <string.h>

enum {
    DNS_CACHE_S = 300,
    CONNECTION_IDLE_S_MAX = 25, /* below what providers close by themselves */
    KEEPALIVE_IDLE_S = 60,
    KEEPALIVE_INTERVAL_S = 30,
    UPLOAD_BUFFER_BYTES = 16 * 1024
};

static size_t read_request(char *room, size_t size, size_t count, void *user)
{
    struct call *call = user;
    struct span left = span_from(blob_span(call->transfer->body), call->sent_bytes);
    size_t n = left.n < size * count ? left.n : size * count;
    memcpy(room, left.p, n);
    call->sent_bytes += n;
    CRASH_POINT("request_handed_over");
    return n;
}

/* libcurl connects anew, rewinds the body and sends it again by itself when a connection that
 * it used again turns out to be dead.  The provider may have seen the first one, so that only
 * the retry policy may do that: once a byte of the body was handed over, every step of it is
 * refused; of a POST without a body, once it was its turn.  A GET may be repeated (RFC 9110
 * 9.2.2). */
static bool is_second_try(struct call *call)
{
    const struct blob *body = call->transfer->body;
    bool sent_empty = body && blob_span(body).n == 0 && call->phase > CALL_CONNECTING;
    call->sent_before = call->sent_before || call->sent_bytes || sent_empty;
    return call->sent_before;
}

/* The first step of one on another connection that was kept. */
static int never_rewind(void *user, curl_off_t offset, int origin)
{
    (void)offset;
    (void)origin;
    (void)is_second_try(user);
    return CURL_SEEKFUNC_FAIL;
}

/* A socket was made, so that the address is known. */
static int socket_made(void *user, curl_socket_t fd, curlsocktype purpose)
{
    (void)fd;
    (void)purpose;
    struct call *call = user;
    upstream_gate_leave(call);
    return is_second_try(call) ? CURL_SOCKOPT_ERROR : CURL_SOCKOPT_OK;
}

/* Connected, by a new connection or one used again; the request follows. */
static int about_to_send(void *user, char *remote_ip, char *local_ip, int remote_port,
                         int local_port)
{
    (void)remote_ip;
    (void)local_ip;
    (void)remote_port;
    (void)local_port;
    struct call *call = user;
    upstream_gate_leave(call);
    if (is_second_try(call))
        return CURL_PREREQFUNC_ABORT;
    if (call->phase == CALL_CONNECTING)
        upstream_call_set_phase(call, CALL_REQUESTING);
    return CURL_PREREQFUNC_OK;
}

/* ---- handing over to libcurl */

static bool set_constants(CURL *easy)
{
    static const struct {
        CURLoption option;
        long value;
    } longs[] = {
        {CURLOPT_NOSIGNAL, 1},
        {CURLOPT_QUICK_EXIT, 1}, /* an abort does not wait for getaddrinfo */
        {CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1},
        {CURLOPT_FOLLOWLOCATION, 0},
        {CURLOPT_PATH_AS_IS, 1},
        {CURLOPT_TCP_NODELAY, 1},
        {CURLOPT_TCP_KEEPALIVE, 1},
        {CURLOPT_TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
        {CURLOPT_TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S},
        {CURLOPT_DNS_CACHE_TIMEOUT, DNS_CACHE_S},
        {CURLOPT_MAXAGE_CONN, CONNECTION_IDLE_S_MAX},
        {CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BUFFER_BYTES},
        {CURLOPT_SUPPRESS_CONNECT_HEADERS, 1},
    };
    bool fine = curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK;
    for (size_t i = 0; i < COUNT_OF(longs); i++)
        fine &= curl_easy_setopt(easy, longs[i].option, longs[i].value) == CURLE_OK;
    return fine;
}

/* A CA directory (Debian's default) would keep libcurl from sharing the parsed bundle. */
static bool set_trust(CURL *easy, const char *ca_file)
{
    bool fine = curl_easy_setopt(easy, CURLOPT_CAPATH, NULL) == CURLE_OK;
    fine &= curl_easy_setopt(easy, CURLOPT_PROXY_CAPATH, NULL) == CURLE_OK;
    if (ca_file) {
        fine &= curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file) == CURLE_OK;
        fine &= curl_easy_setopt(easy, CURLOPT_PROXY_CAINFO, ca_file) == CURLE_OK;
    }
    return fine;
}

static bool set_callbacks(struct call *call)
{
    CURL *easy = call->easy;
    bool fine = curl_easy_setopt(easy, CURLOPT_READFUNCTION, read_request) == CURLE_OK;
    fine &= curl_easy_setopt(easy, CURLOPT_READDATA, call) == CURLE_OK;
    fine &= curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, never_rewind) == CURLE_OK;
    fine &= curl_easy_setopt(easy, CURLOPT_SEEKDATA, call) == CURLE_OK;
    fine &= curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, socket_made) == CURLE_OK;
    fine &= curl_easy_setopt(easy, CURLOPT_SOCKOPTDATA, call) == CURLE_OK;
    fine &= curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, about_to_send) == CURLE_OK;
    fine &= curl_easy_setopt(easy, CURLOPT_PREREQDATA, call) == CURLE_OK;
    fine &= curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, upstream_response_header) == 0;
    fine &= curl_easy_setopt(easy, CURLOPT_HEADERDATA, call) == CURLE_OK;
    fine &= curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, upstream_response_body) == 0;
    fine &= curl_easy_setopt(easy, CURLOPT_WRITEDATA, call) == CURLE_OK;
    fine &= curl_easy_setopt(easy, CURLOPT_PRIVATE, call) == CURLE_OK;
    return fine;
}

static bool set_request(struct call *call)
{
    CURL *easy = call->easy;
    const struct transfer *transfer = call->transfer;
    curl_off_t body_bytes = (curl_off_t)blob_span(transfer->body).n;
    int64_t connect_ms = transfer->connect_timeout_ms;
    long connect_timeout_ms = connect_ms < INT_MAX ? (long)connect_ms : 0;
    const char *ca_bundle = call->thread->settings->ca_bundle;
    bool fine = curl_easy_setopt(easy, CURLOPT_URL, transfer->url) == CURLE_OK;
    fine &= curl_easy_setopt(easy, CURLOPT_PROXY, transfer->proxy) == CURLE_OK;
    fine &= curl_easy_setopt(easy, CURLOPT_NOPROXY, "") == CURLE_OK; /* decided already */
    fine &= curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers) == CURLE_OK;
    fine &= curl_easy_setopt(easy, transfer->body ? CURLOPT_POST : CURLOPT_HTTPGET, 1L) == 0;
    fine &= curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, body_bytes) == CURLE_OK;
    /* So that libcurl gives each address its share; our own timer has the last word. */
    fine &= curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, connect_timeout_ms) == CURLE_OK;
    return fine && set_trust(easy, transfer->ca_file ? transfer->ca_file : ca_bundle);
}

void upstream_call_connect(struct call *call)
{
    upstream_call_set_phase(call, CALL_CONNECTING);
    if (!set_constants(call->easy) || !set_callbacks(call) || !set_request(call) ||
        curl_multi_add_handle(call->thread->multi, call->easy) != CURLM_OK) {
        upstream_call_abort(call, ATTEMPT_NO_RESOURCES);
        return;
    }
    call->added = true;
}
