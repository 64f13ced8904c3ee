#include "app/config_command.h"

#include "core/config_address.h"

#include <errno.h>
#include <stdlib.h>
#include <sysexits.h>

enum { OUTPUT_BYTES_MAX = 16 << 20, READ_BYTES = 16384 };

/* ---- the real environment */

static const char *system_getenv(void *context, const char *name)
{
    (void)context;
    return getenv(name);
}

static enum rc read_stream(FILE *file, struct buf *out)
{
    for (;;) {
        char bytes[READ_BYTES];
        size_t n = fread(bytes, 1, sizeof bytes, file);
        buf_add(out, (struct span){bytes, n});
        if (buf_rc(out) != OK)
            return buf_rc(out);
        if (n < sizeof bytes)
            return ferror(file) ? E_IO : OK;
    }
}

static enum rc system_read_file(void *context, struct span path, struct buf *out)
{
    (void)context;
    char *name = span_dup(path);
    if (!name)
        return E_NOMEM;
    FILE *file = fopen(name, "re");
    int error = errno;
    free(name);
    if (!file)
        return error == ENOENT ? E_NOT_FOUND : E_IO;
    enum rc rc = read_stream(file, out);
    (void)fclose(file);
    return rc;
}

struct config_source config_source_system(void)
{
    return (struct config_source){.getenv = system_getenv, .read_file = system_read_file};
}

/* ---- the commands */

static const char *auth_text(const struct config_upstream *upstream)
{
    if (!upstream->api_key.p)
        return "none configured; the client's own is passed on";
    return upstream->auth == AUTH_BEARER ? "configured, sent as Authorization: Bearer"
                                         : "configured, sent as x-api-key";
}

/* A proxy's URL without its user and password. */
static void add_proxy(struct buf *out, const struct config_effective *proxy)
{
    struct span shown = proxy->value.n ? proxy->value : SPAN("none");
    struct url url;
    buf_add_text(out, "  proxy        ");
    if (url_parse(proxy->value, &url) == NULL && url.user.p) {
        buf_add(out, (struct span){shown.p, (size_t)(url.user.p - shown.p)});
        shown = span_from(shown, (size_t)(url.user.p + url.user.n + 1 - shown.p));
    }
    buf_printf(out, "%.*s (%s)\n", SPAN_ARG(shown), proxy->from);
}

static void add_authorities(struct buf *out, const struct config_effective *ca_file)
{
    if (ca_file->value.n)
        buf_printf(out, "  authorities  %.*s (%s)\n", SPAN_ARG(ca_file->value), ca_file->from);
    else
        buf_add_text(out, "  authorities  the system's\n");
}

static void add_routes(struct buf *out, const struct config *config,
                       const struct config_upstream *upstream)
{
    buf_add_text(out, "  routes      ");
    bool any = false;
    for (int i = 0; i < API_COUNT; i++)
        if (config->routes[i].upstream == upstream) {
            buf_printf(out, " %s", api_route((enum api)i));
            any = true;
        }
    buf_add_text(out, any ? "\n" : " none\n");
}

static void add_report(struct buf *out, const struct config *config)
{
    buf_add_text(out, "listen        ");
    for (size_t i = 0; i < config->listen.count; i++)
        buf_printf(out, " %.*s", SPAN_ARG(config->listen.items[i]));
    buf_printf(out, "\nstore          %.*s\n", SPAN_ARG(config->store));
    for (size_t i = 0; i < config->upstream_count; i++) {
        const struct config_upstream *upstream = &config->upstreams[i];
        buf_printf(out, "upstream %.*s\n", SPAN_ARG(upstream->name));
        buf_printf(out, "  base URL     %.*s\n", SPAN_ARG(upstream->base_url));
        buf_printf(out, "  provider     %s%s\n", provider_name(upstream->provider),
                   upstream->provider_guessed ? " (guessed from name and URL)" : "");
        buf_printf(out, "  credential   %s\n", auth_text(upstream));
        add_proxy(out, &upstream->effective_proxy);
        add_authorities(out, &upstream->effective_ca_file);
        add_routes(out, config, upstream);
    }
}

static int write_all(struct buf *text, FILE *file)
{
    bool fine = buf_rc(text) == OK && fwrite(buf_text(text), 1, text->n, file) == text->n &&
                fflush(file) == 0;
    return fine ? 0 : EX_SOFTWARE;
}

/* Loads; refusals and warnings go to `told`.  0, or the exit code. */
static int load(const struct config_source *source, const struct config_arguments *arguments,
                FILE *told, FILE *err, struct config **ret)
{
    BUF(problems, OUTPUT_BYTES_MAX);
    enum rc rc = config_load(source, arguments, &problems, ret);
    if (rc == E_NOMEM)
        (void)fputs("unstream: out of memory\n", err);
    else if (write_all(&problems, rc == OK ? told : err) != 0)
        return EX_SOFTWARE;
    return rc == OK ? 0 : rc == E_NOMEM ? EX_SOFTWARE : EX_CONFIG;
}

int config_check_command(const struct config_source *source,
                         const struct config_arguments *arguments, FILE *out, FILE *err)
{
    OWNED(config) config = NULL;
    int code = load(source, arguments, out, err, &config);
    if (code != 0)
        return code;
    BUF(report, OUTPUT_BYTES_MAX);
    add_report(&report, config);
    return write_all(&report, out);
}

int config_print_command(const struct config_source *source,
                         const struct config_arguments *arguments, FILE *out, FILE *err)
{
    OWNED(config) config = NULL;
    int code = load(source, arguments, err, err, &config);
    if (code != 0)
        return code;
    BUF(text, OUTPUT_BYTES_MAX);
    config_print(config, &text);
    return write_all(&text, out);
}
