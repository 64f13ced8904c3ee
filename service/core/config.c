#include "core/config_loader.h"

#include <stdatomic.h>
#include <stdlib.h>

enum {
    FILE_BYTES_MAX = 1 << 20,
    STORE_BYTES_MAX = 8192,
    ARENA_BYTES_MAX = 32 << 20,
    WARNING_BYTES_MAX = 1 << 20,
};

#define STORE_FILE "unstream.db"

struct whole_config {
    struct config config;
    struct arena arena;
    atomic_uint references;
};

static struct whole_config *whole_of(struct config *config)
{
    return CONTAINER_OF(config, struct whole_config, config);
}

static struct config *config_new(void)
{
    struct whole_config *whole = calloc(1, sizeof *whole);
    if (!whole)
        return NULL;
    arena_init(&whole->arena, ARENA_BYTES_MAX);
    atomic_init(&whole->references, 1);
    return &whole->config;
}

struct config *config_ref(struct config *config)
{
    if (config)
        atomic_fetch_add_explicit(&whole_of(config)->references, 1, memory_order_relaxed);
    return config;
}

void config_free(struct config *config)
{
    if (!config ||
        atomic_fetch_sub_explicit(&whole_of(config)->references, 1, memory_order_acq_rel) != 1)
        return;
    arena_done(&whole_of(config)->arena);
    free(whole_of(config));
}

/* ---- what the command line and the environment say */

static void copy_listen(struct loader *l, const struct span *items, size_t count,
                        const struct where *where)
{
    struct span *copies = loader_alloc(l, count * sizeof *copies);
    for (size_t i = 0; copies && i < count; i++)
        copies[i] = loader_copy(l, items[i]);
    l->config->listen = (struct span_list){copies, copies ? count : 0};
    l->listen_where = *where;
}

static bool is_separator(char c)
{
    return c == ',' || c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void listen_from_environment(struct loader *l, struct span list)
{
    struct span items[CONFIG_LISTEN_MAX];
    size_t count = 0, start = 0;
    const struct where where = {&l->environment, SPAN("UNSTREAM_LISTEN"), -1};
    for (size_t i = 0; i <= list.n; i++) {
        if (i < list.n && !is_separator(list.p[i]))
            continue;
        if (i > start && count == CONFIG_LISTEN_MAX) {
            loader_problem(l, &where, "has over %d addresses", CONFIG_LISTEN_MAX);
            return;
        }
        if (i > start)
            items[count++] = (struct span){list.p + start, i - start};
        start = i + 1;
    }
    if (count == 0)
        loader_problem(l, &where, "holds no address, such as 127.0.0.1:8080; unset it");
    else
        copy_listen(l, items, count, &where);
}

static void choose_listen(struct loader *l, bool in_file)
{
    const struct span_list *said = &l->arguments->listen,
                           *inherited = &l->arguments->inherited_listen;
    struct span list = loader_getenv(l, "UNSTREAM_LISTEN");
    l->listen_where = (struct where){&l->file, SPAN("listen"), -1};
    if (inherited->count > CONFIG_LISTEN_MAX)
        loader_problem(l, &l->inherited, "are over %d", CONFIG_LISTEN_MAX);
    else if (inherited->count)
        copy_listen(l, inherited->items, inherited->count, &l->inherited);
    else if (said->count > CONFIG_LISTEN_MAX)
        loader_problem(l, WHERE(&l->command_line, SPAN("--listen")), "has over %d addresses",
                       CONFIG_LISTEN_MAX);
    else if (said->count)
        copy_listen(l, said->items, said->count, WHERE(&l->command_line, SPAN("--listen")));
    else if (!in_file && list.p)
        listen_from_environment(l, list);
    else
        l->config->listen_standard = !in_file;
}

static void choose_ops_listen(struct loader *l)
{
    l->ops_listen_where = (struct where){&l->file, SPAN("ops_listen"), -1};
    if (!l->arguments->inherited_ops_listen.p)
        return;
    l->config->ops_listen = loader_copy(l, l->arguments->inherited_ops_listen);
    l->ops_listen_where = l->inherited;
}

static void open_from_environment(struct loader *l)
{
    struct span open = loader_getenv(l, "UNSTREAM_OPEN");
    if (open.p && !span_is(open, "0") && !span_is(open, "1"))
        loader_problem(l, WHERE(&l->environment, SPAN("UNSTREAM_OPEN")),
                       "must be 1 (whoever reaches a listener may use the configured api_key) "
                       "or 0");
    l->config->open = span_is(open, "1");
}

/* unstream.db in the first directory of $STATE_DIRECTORY (systemd.exec(5): separated by
 * colons), else where the XDG base directory specification puts state. */
static struct span standard_store(struct loader *l)
{
    BUF(store, STORE_BYTES_MAX);
    struct span service = loader_getenv(l, "STATE_DIRECTORY");
    struct span state = loader_getenv(l, "XDG_STATE_HOME"), home = loader_getenv(l, "HOME");
    struct span directory = service.p ? span_cut(&service, ':') : SPAN_ABSENT;
    if (directory.n)
        buf_printf(&store, "sqlite:%.*s/" STORE_FILE, SPAN_ARG(directory));
    else if (span_starts(state, "/"))
        buf_printf(&store, "sqlite:%.*s/unstream/" STORE_FILE, SPAN_ARG(state));
    else if (home.p)
        buf_printf(&store, "sqlite:%.*s/.local/state/unstream/" STORE_FILE, SPAN_ARG(home));
    else {
        loader_problem(l, &l->environment,
                       "there is no HOME for the store; set "
                       "UNSTREAM_STORE=sqlite:/path/" STORE_FILE);
        return SPAN_ABSENT;
    }
    return loader_keep(l, &store);
}

static void choose_store(struct loader *l)
{
    struct span variable = loader_getenv(l, "UNSTREAM_STORE");
    struct config *config = l->config;
    if (l->arguments->store.p) {
        config->store = loader_copy(l, l->arguments->store);
        l->store_where = (struct where){&l->command_line, SPAN("--store"), -1};
    } else if (config->store.p) {
        l->store_where = (struct where){&l->file, SPAN("store"), -1};
    } else if (variable.p) {
        config->store = loader_copy(l, variable);
        l->store_where = (struct where){&l->environment, SPAN("UNSTREAM_STORE"), -1};
    } else {
        config->store = standard_store(l);
        l->store_where = (struct where){&l->environment, SPAN("STATE_DIRECTORY"), -1};
    }
}

/* ---- the file */

static cJSON *read_file(struct loader *l)
{
    BUF(text, FILE_BYTES_MAX);
    if (!l->has_file)
        return cJSON_CreateObject();
    enum rc rc = l->source->read_file(l->source->context, l->file.name, &text);
    if (rc == OK)
        rc = buf_rc(&text);
    if (rc == OK)
        return config_text_parse(l, &text);
    if (rc == E_NOMEM)
        l->out_of_memory = true;
    else
        loader_problem(l, &l->file, "the configuration cannot be read: %s", rc_text(rc));
    return NULL;
}

static const cJSON *member(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

static void read_section(struct loader *l, const cJSON *root, const char *name,
                         enum config_section section)
{
    const cJSON *object = member(root, name);
    const struct where *where = WHERE(&l->file, span_of(name));
    if (!object)
        return;
    if (!cJSON_IsObject(object)) {
        loader_problem(l, where, "must be an object");
        return;
    }
    (void)config_section_read(l, where, section, object, l->config);
}

/* The default deadline gives way to a maximum that was set, and the other way round. */
static void order_deadlines(struct loader *l, const cJSON *root)
{
    struct config_limits *limits = &l->config->limits;
    const cJSON *object = member(root, "limits");
    bool deadline_said = member(object, "deadline_s"),
         max_said = member(object, "deadline_max_s");
    if (limits->deadline_ms <= limits->deadline_max_ms)
        return;
    if (deadline_said && max_said)
        loader_problem(l, WHERE(WHERE(&l->file, SPAN("limits")), SPAN("deadline_s")),
                       "is over deadline_max_s");
    else if (deadline_said)
        limits->deadline_max_ms = limits->deadline_ms;
    else
        limits->deadline_ms = limits->deadline_max_ms;
}

static void read_scalars(struct loader *l, const cJSON *root)
{
    struct config *config = l->config;
    static const enum config_section sections[] = {SECTION_ROOT, SECTION_IDEMPOTENCY,
                                                   SECTION_LIMITS, SECTION_LOG};
    for (size_t i = 0; i < COUNT_OF(sections); i++)
        config_value_defaults(l, sections[i], config);
    struct said read = config_section_read(l, &l->file, SECTION_ROOT, root, config);
    config->ops_token_set = said(read, "ops_token_sha256");
    read_section(l, root, "idempotency", SECTION_IDEMPOTENCY);
    read_section(l, root, "limits", SECTION_LIMITS);
    read_section(l, root, "log", SECTION_LOG);
    order_deadlines(l, root);
    if (!said(read, "open"))
        open_from_environment(l);
    choose_listen(l, said(read, "listen"));
    choose_ops_listen(l);
    choose_store(l);
}

static void read_who_and_where(struct loader *l, const cJSON *root)
{
    const cJSON *clients = member(root, "clients"), *upstreams = member(root, "upstreams");
    if (clients) {
        l->clients_where = (struct where){&l->file, SPAN("clients"), -1};
        config_clients_read(l, &l->clients_where, clients);
    } else {
        l->clients_where = (struct where){&l->environment, SPAN("UNSTREAM_TOKEN"), -1};
        config_clients_from_environment(l);
    }
    if (upstreams)
        config_upstreams_read(l, WHERE(&l->file, SPAN("upstreams")), upstreams);
    else
        config_upstreams_from_environment(l);
    config_routes_read(l, WHERE(&l->file, SPAN("routes")), member(root, "routes"));
}

static void read_everything(struct loader *l)
{
    cJSON *root = read_file(l);
    if (!root) {
        l->out_of_memory |= l->problem_count == 0;
        return;
    }
    read_scalars(l, root);
    read_who_and_where(l, root);
    config_check(l);
    if (l->arguments->running && l->problem_count == 0)
        config_reload(l);
    cJSON_Delete(root);
}

static void choose_file(struct loader *l)
{
    struct span file = l->arguments->file;
    if (!file.p)
        file = loader_getenv(l, "UNSTREAM_CONFIG");
    l->has_file = file.p != NULL;
    l->file = l->has_file ? (struct where){NULL, file, -1} : l->environment;
}

enum rc config_load(const struct config_source *source,
                    const struct config_arguments *arguments, struct buf *problems,
                    struct config **ret)
{
    OWNED(config) config = config_new();
    if (!config)
        return E_NOMEM;
    struct loader l = {
        .source = source,
        .arguments = arguments,
        .config = config,
        .arena = &whole_of(config)->arena,
        .problems = problems,
        .environment = {NULL, SPAN("environment"), -1},
        .command_line = {NULL, SPAN("command line"), -1},
        .inherited = {NULL, SPAN("inherited sockets"), -1},
        .running = {NULL, SPAN("running service"), -1},
    };
    buf_init(&l.warnings, WARNING_BYTES_MAX);
    choose_file(&l);
    read_everything(&l);
    if (l.problem_count == 0)
        buf_add(problems, buf_span(&l.warnings));
    bool lost = buf_rc(&l.warnings) == E_NOMEM || buf_rc(problems) == E_NOMEM;
    buf_done(&l.warnings);
    if (l.out_of_memory || lost)
        return E_NOMEM;
    if (l.problem_count)
        return E_INVALID;
    *ret = take(config);
    return OK;
}
