#include "app/serve.h"

#include "app/clock.h"
#include "app/engine.h"
#include "app/ops.h"
#include "io/store_sqlite.h"

#include <limits.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

enum {
    PROBLEM_BYTES_MAX = 4096,
    STOP_GRACE_MS = 5000,
    /* At the very end, for requests that came in at the last moment. */
    CLOSE_GRACE_MS = 5000,
    CLOSE_ROUND_MS = 50,
};

struct service {
    const struct serve_params *params;
    struct config *config; /* a reference */
    struct log *log;
    struct event_loop *loop;
    struct store *store;
    struct upstream *upstream;
    struct engine *engine;
    struct ops *ops;
    struct http_front *front, *ops_front;
    struct watch signals;
    struct timer drain_end;
    int64_t ping_ms; /* when systemd is to hear of us again */
    bool ready, draining, stopping, given_up;
    bool lost; /* a sync of the store failed */
};

/* ---- systemd */

static void check_notified(const struct service *service, enum rc rc)
{
    if (rc != OK)
        log_message(service->log, LOG_LEVEL_WARNING, "notify_failed",
                    SPAN("a message to NOTIFY_SOCKET was lost"));
}

static void notify_state(const struct service *service, const char *state, const char *what)
{
    struct engine_state now = engine_state(service->engine);
    check_notified(service,
                   notify_send(service->params->notify, "%s\nSTATUS=%s: %u flights, %u waiters",
                               state, what, now.flights_running, now.waiters));
}

static const char *doing(const struct service *service)
{
    return service->draining ? "draining" : "serving";
}

/* One round of the loop, and a sign of life for systemd's watchdog when it is due. */
static void turn(struct service *service, int timeout_ms)
{
    int64_t every_ms = service->params->notify->watchdog_ms;
    int64_t left_ms = service->ping_ms - event_loop_now_ms(service->loop);
    if (every_ms > 0 && (timeout_ms < 0 || left_ms < timeout_ms))
        timeout_ms = left_ms > INT_MAX ? INT_MAX : left_ms < 0 ? 0 : (int)left_ms;
    event_loop_round(service->loop, timeout_ms);
    if (every_ms <= 0 || event_loop_now_ms(service->loop) < service->ping_ms)
        return;
    service->ping_ms = event_loop_now_ms(service->loop) + every_ms;
    notify_state(service, "WATCHDOG=1", doing(service));
}

/* ---- the end */

static void on_drain_end(struct timer *timer);

static void arm_drain_end(struct service *service, int64_t delay_ms)
{
    int64_t due_ms = event_loop_now_ms(service->loop) + delay_ms;
    service->drain_end.run = on_drain_end;
    if (timers_start(event_loop_timers(service->loop), &service->drain_end, due_ms) != OK)
        service->given_up = true;
}

/* Whatever still runs is given up: keys are released, waiters are told to come back. */
static void stop_flights(struct service *service)
{
    service->stopping = true;
    engine_stop(service->engine);
    arm_drain_end(service, STOP_GRACE_MS);
}

static void on_drain_end(struct timer *timer)
{
    struct service *service = CONTAINER_OF(timer, struct service, drain_end);
    if (service->stopping)
        service->given_up = true;
    else
        stop_flights(service);
}

static void drain(struct service *service)
{
    struct log_line line;
    log_begin(&line, service->log, LOG_LEVEL_INFO, "draining");
    log_int(&line, "flights", engine_state(service->engine).flights_running);
    log_int(&line, "ms_at_most", service->config->drain_ms);
    log_text(&line, "next", "new work is refused; the service ends when all is answered");
    log_end(&line);
    service->draining = true;
    engine_drain(service->engine);
    notify_state(service, "STOPPING=1", doing(service));
    if (service->front)
        http_front_close_after_reply(service->front);
    arm_drain_end(service, service->config->drain_ms);
}

/* ---- reload */

static struct http_front_params front_params(const struct service *service)
{
    const struct config_limits *limits = &service->config->limits;
    return (struct http_front_params){
        .loop = service->loop,
        .connections_max = limits->connections_max,
        .header_bytes_max = limits->header_bytes_max,
        .body_bytes_max = limits->body_bytes_max,
        .keepalive_ms = limits->keepalive_ms,
        .request_timeout_ms = limits->request_timeout_ms,
        .request_bytes_per_s_min = limits->request_bytes_per_s_min,
        .reply_bytes_per_s_min = limits->reply_bytes_per_s_min,
    };
}

/* What has no memory to ask for, and so cannot fail. */
static void follow_config(struct service *service)
{
    const struct config *config = service->config;
    const struct http_front_params params = front_params(service);
    service->log->level = config->log_level;
    service->log->format = config->log_format;
    upstream_set_transfers_max(service->upstream, config->limits.flights_max);
    store_sqlite_set_released_ttl(service->store, config->idempotency.ttl_ms);
    if (service->front)
        http_front_adjust(service->front, &params);
    if (service->ops_front)
        http_front_adjust(service->ops_front, &params);
}

static enum rc take_next_config(struct service *service)
{
    OWNED(config) next = NULL;
    enum rc rc = reload_config(&service->params->reload, service->config, &next);
    if (rc == OK)
        rc = engine_reconfigure(service->engine, next);
    if (rc == OK) {
        config_free(service->config);
        service->config = config_ref(next);
        follow_config(service);
    }
    if (service->ops)
        ops_reloaded(service->ops, rc == OK ? next : NULL);
    return rc;
}

static void reload(struct service *service)
{
    struct log_line line;
    bool tell_systemd = service->ready && !service->draining;
    if (tell_systemd)
        check_notified(service, notify_reloading(service->params->notify));
    enum rc rc = take_next_config(service);
    if (tell_systemd)
        notify_state(service, "READY=1",
                     rc == OK ? "serving" : "serving, reload refused (see the log)");
    if (rc == OK) {
        log_begin(&line, service->log, LOG_LEVEL_INFO, "reloaded");
        log_int(&line, "upstreams", (int64_t)service->config->upstream_count);
        log_int(&line, "clients", (int64_t)service->config->client_count);
        log_text(&line, "next", "running flights go on as they began");
    } else {
        log_begin(&line, service->log, LOG_LEVEL_ERROR, "reload_refused");
        log_text(&line, "reason", rc_text(rc));
        log_text(&line, "next", "nothing has changed; mend the configuration and reload again");
    }
    log_end(&line);
}

/* ---- signals */

static void on_signal(struct watch *watch, uint32_t events)
{
    struct service *service = CONTAINER_OF(watch, struct service, signals);
    struct signalfd_siginfo info;
    (void)events;
    while (read(watch->fd, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGHUP)
            reload(service);
        else if (!service->draining)
            drain(service);
        else if (!service->stopping)
            stop_flights(service);
    }
}

/* ---- the start */

static enum rc refuse(const struct service *service, enum rc rc, const char *event,
                      struct span problem)
{
    log_message(service->log, LOG_LEVEL_ERROR, event,
                problem.n ? problem : span_of(rc_text(rc)));
    return rc;
}

static enum rc watch_signals(struct service *service)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return E_IO;
    service->signals.run = on_signal;
    service->signals.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (service->signals.fd < 0)
        return E_IO;
    return event_loop_watch(service->loop, &service->signals, EPOLLIN);
}

static enum rc open_store(struct service *service)
{
    BUF(problem, PROBLEM_BYTES_MAX);
    const struct store_sqlite_params params = {
        .path = span_from(service->config->store, sizeof "sqlite:" - 1),
        .loop = event_loop_mailbox(service->loop),
        .bytes_max = service->config->limits.store_bytes_max,
        .free_bytes_min = service->config->limits.store_free_bytes_min,
        .released_ttl_ms = service->config->idempotency.ttl_ms,
        .now_ms = clock_unix_ms(),
    };
    enum rc rc = store_sqlite_open(&params, &problem, &service->store);
    return rc == OK ? OK : refuse(service, rc, "store_refused", buf_span(&problem));
}

/* Opens what the configuration lists, or takes the sockets that are behind it. */
static enum rc open_front(struct service *service, const struct http_front_params *params,
                          struct http_front **ret)
{
    BUF(problem, PROBLEM_BYTES_MAX);
    enum rc rc = http_front_new(params, &problem, ret);
    if (rc != OK)
        return refuse(service, rc, "listener_refused", buf_span(&problem));
    struct span left_out = buf_span(&problem);
    while (left_out.n)
        log_message(service->log, LOG_LEVEL_WARNING, "listener_left_out",
                    span_cut(&left_out, '\n'));
    return OK;
}

static enum rc open_client_front(struct service *service)
{
    const struct config *config = service->config;
    const struct http_inherited *inherited = service->params->inherited;
    struct http_front_params params = front_params(service);
    params.listen = config->listen.items;
    params.listen_count = config->listen.count;
    params.may_leave_out = config->listen_standard;
    params.sockets = inherited->count ? inherited->sockets : NULL;
    params.handler = engine_handler(service->engine);
    return open_front(service, &params, &service->front);
}

static enum rc open_ops_front(struct service *service)
{
    const struct http_inherited *inherited = service->params->inherited;
    struct http_front_params params = front_params(service);
    params.listen = &service->config->ops_listen;
    params.listen_count = 1;
    params.sockets = inherited->ops_socket >= 0 ? &inherited->ops_socket : NULL;
    params.handler = ops_handler(service->ops);
    return open_front(service, &params, &service->ops_front);
}

static enum rc open_engine(struct service *service)
{
    const struct upstream_params upstream = {
        .threads = service->config->upstream_threads,
        .transfers_max = service->config->limits.flights_max,
        .loop = event_loop_mailbox(service->loop),
    };
    const struct engine_params engine = {
        .config = service->config,
        .loop = service->loop,
        .store = service->store,
        .log = service->log,
    };
    enum rc rc = upstream_new(&upstream, &service->upstream);
    if (rc != OK)
        return rc;
    struct engine_params params = engine;
    params.upstream = service->upstream;
    return engine_new(&params, &service->engine);
}

/* Requests that an earlier process accepted run before anybody can ask for them. */
static enum rc recover(struct service *service)
{
    enum rc rc = engine_recover(service->engine);
    while (rc == OK && engine_is_recovering(service->engine))
        turn(service, -1);
    return rc;
}

static enum rc open_fronts(struct service *service)
{
    enum rc rc = open_client_front(service);
    const struct ops_params ops = {
        .config = service->config,
        .engine = service->engine,
        .store = service->store,
        .front = service->front,
    };
    if (rc == OK)
        rc = ops_new(&ops, &service->ops);
    if (rc == OK && service->config->ops_listen.p)
        rc = open_ops_front(service);
    if (rc == OK && service->draining) /* a signal came during the recovery */
        http_front_close_after_reply(service->front);
    return rc;
}

static void log_addresses(const struct service *service, const struct http_front *front,
                          const char *event)
{
    BUF(addresses, PROBLEM_BYTES_MAX);
    http_front_addresses(front, &addresses);
    struct span rest = buf_span(&addresses);
    while (rest.n) {
        struct log_line line;
        log_begin(&line, service->log, LOG_LEVEL_INFO, event);
        log_span(&line, "address", span_cut(&rest, '\n'));
        log_end(&line);
    }
}

static void log_start(const struct service *service)
{
    struct log_line line;
    log_addresses(service, service->front, "listening");
    if (service->ops_front)
        log_addresses(service, service->ops_front, "ops_listening");
    log_begin(&line, service->log, LOG_LEVEL_INFO, "ready");
    log_text(&line, "version", UNSTREAM_VERSION);
    log_span(&line, "store", service->config->store);
    log_int(&line, "interrupted_flights", service->store->interrupted);
    log_int(&line, "resumed_flights", (int64_t)engine_state(service->engine).counts.resumed);
    log_end(&line);
}

/* After a failed sync nothing that is written can be trusted: what runs is answered, and a new
 * process finds out what the file holds. */
static void check_store(struct service *service)
{
    if (service->lost || !store_stats(service->store).lost)
        return;
    service->lost = true;
    log_message(service->log, LOG_LEVEL_ERROR, "store_lost",
                SPAN("the disk failed to sync the store: this process writes nothing more and "
                     "ends; check the disk, then start it again"));
    if (!service->draining)
        drain(service);
}

/* Nobody else gets in; who did gets a reply. */
static void close_front(struct service *service)
{
    int64_t end_ms = event_loop_now_ms(service->loop) + CLOSE_GRACE_MS;
    http_front_quiesce(service->front);
    while (event_loop_now_ms(service->loop) < end_ms &&
           !(engine_is_idle(service->engine) && http_front_is_quiet(service->front)))
        turn(service, CLOSE_ROUND_MS);
}

static void run(struct service *service)
{
    bool done = false;
    service->ready = true;
    if (!service->draining)
        notify_state(service, "READY=1", doing(service));
    while (!done) {
        turn(service, -1);
        check_store(service);
        done = service->given_up || (service->draining && engine_is_idle(service->engine));
    }
    if (!service->given_up)
        close_front(service);
    if (service->given_up)
        log_message(service->log, LOG_LEVEL_WARNING, "gave_up",
                    SPAN("not all that ran could be ended in time; the next start releases "
                         "its keys"));
}

/* In the reverse order of the start.  Closing the store and the upstream answers what they
 * still hold through the mailbox, which is why the engine goes last. */
static int finish(struct service *service, enum rc rc)
{
    if (service->front)
        http_front_quiesce(service->front);
    http_front_free(service->front);
    http_front_free(service->ops_front);
    if (service->engine)
        engine_close(service->engine);
    upstream_free(service->upstream);
    store_free(service->store);
    if (service->loop)
        (void)mailbox_run(event_loop_mailbox(service->loop));
    ops_free(service->ops);
    engine_free(service->engine);
    if (service->loop) {
        timers_stop(event_loop_timers(service->loop), &service->drain_end);
        if (service->signals.watched)
            event_loop_unwatch(service->loop, &service->signals);
    }
    if (service->signals.fd > 0)
        (void)close(service->signals.fd);
    event_loop_free(service->loop);
    config_free(service->config);
    if (rc == OK)
        return EX_OK;
    return rc == E_NOMEM ? EX_SOFTWARE : EX_CONFIG;
}

int serve(const struct serve_params *params)
{
    struct service service = {.params = params, .config = params->config, .log = params->log};
    enum rc rc = event_loop_new(&service.loop);
    if (rc == OK)
        rc = watch_signals(&service);
    if (rc == OK)
        rc = open_store(&service);
    if (rc == OK)
        rc = open_engine(&service);
    if (rc == OK)
        rc = recover(&service);
    if (rc == OK)
        rc = open_fronts(&service);
    if (rc == OK) {
        log_start(&service);
        run(&service);
    }
    int status = finish(&service, rc);
    return service.lost ? EX_SOFTWARE : status;
}
