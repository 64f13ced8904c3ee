#include "app/keys_command.h"

#include "app/clock.h"
#include "app/ops_keys.h"
#include "app/ops_transport.h"
#include "core/json.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

enum { PATH_BYTES_MAX = 64, EX_NO_KEY = 1 };

static const char usage[] =
    "usage: unstream keys list|show|release|purge [--client NAME] [--key KEY]\n"
    "           [--digest HEX] [--older-than SECONDS] [--config FILE]\n"
    "\n"
    "  list       what is known of keys, without answers: their digests, as the store\n"
    "             holds no keys\n"
    "  show       one key, by --digest or --key\n"
    "  release    give up what runs or failed, so that a retry can run again\n"
    "  purge      forget keys and answers for good, except what runs\n"
    "\n"
    "--key is a key of --client, or without it of anonymous callers.  release and purge\n"
    "need a condition.  UNSTREAM_OPS_TOKEN: the token of ops_token_sha256.\n";

struct command {
    struct span verb, client, key, digest, older_than, after;
    struct ops_transport transport;
    struct buf request, reply;
};

/* ---- the command line */

static struct span *option_of(struct command *command, struct config_arguments *arguments,
                              const char *name)
{
    if (strcmp(name, "--client") == 0)
        return &command->client;
    if (strcmp(name, "--key") == 0)
        return &command->key;
    if (strcmp(name, "--digest") == 0)
        return &command->digest;
    if (strcmp(name, "--older-than") == 0)
        return &command->older_than;
    return strcmp(name, "--config") == 0 ? &arguments->file : NULL;
}

static bool is_verb(struct span verb)
{
    return span_is(verb, "list") || span_is(verb, "show") || span_is(verb, "release") ||
           span_is(verb, "purge");
}

static bool parse(struct command *command, struct config_arguments *arguments, int argc,
                  char **argv)
{
    uint64_t seconds;
    if (argc < 2)
        return false;
    command->verb = span_of(argv[1]);
    for (int i = 2; i < argc; i += 2) {
        struct span *option = option_of(command, arguments, argv[i]);
        if (!option || i + 1 == argc || !*argv[i + 1])
            return false;
        *option = span_of(argv[i + 1]);
    }
    bool by_key = command->key.p || command->digest.p;
    bool any = by_key || command->client.p || command->older_than.p;
    if (command->older_than.p && !span_to_u64(command->older_than, &seconds))
        return false;
    if (!is_verb(command->verb) || (command->key.p && command->digest.p))
        return false;
    return span_is(command->verb, "show") ? by_key : any || span_is(command->verb, "list");
}

/* ---- one step */

static void add_text(struct buf *out, const char *name, struct span text)
{
    if (!text.p)
        return;
    buf_printf(out, "%s\"%s\":", out->n > 1 ? "," : "", name);
    json_quote(text, out);
}

static void write_request(struct command *command)
{
    struct buf *out = &command->request;
    buf_clear(out);
    buf_add_byte(out, '{');
    add_text(out, "client", command->client);
    add_text(out, "key", command->key);
    add_text(out, "digest", command->digest);
    add_text(out, "after", command->after);
    if (command->older_than.p)
        buf_printf(out, "%s\"older_than_s\":%.*s", out->n > 1 ? "," : "",
                   SPAN_ARG(command->older_than));
    buf_add_byte(out, '}');
}

/* E_CLOSED: no service answers. */
static enum rc ask_service(struct command *command)
{
    BUF(path, PATH_BYTES_MAX);
    if (command->transport.store)
        return E_CLOSED;
    buf_printf(&path, "/ops/keys/%.*s", SPAN_ARG(command->verb));
    if (buf_rc(&path) != OK)
        return buf_rc(&path);
    return ops_transport_ask(&command->transport, buf_text(&path), &command->request,
                             &command->reply);
}

struct outcome {
    const struct ops_keys *keys;
    struct buf *reply;
    enum rc rc;
    bool came;
};

static void on_task(void *context, enum rc rc, const struct store_task_result *result)
{
    struct outcome *outcome = context;
    outcome->came = true;
    outcome->rc = rc;
    if (rc == OK)
        ops_keys_render(outcome->keys, result, outcome->reply);
}

static enum rc ask_store(struct command *command)
{
    struct ops_transport *transport = &command->transport;
    struct store_task task;
    const char *wrong = NULL;
    enum rc rc = ops_transport_open_store(transport);
    if (rc != OK)
        return rc;
    const struct ops_keys keys = {transport->config,
                                  {(const char *)transport->store->salt, STORE_SALT_BYTES}};
    struct outcome outcome = {.keys = &keys, .reply = &command->reply};
    rc = ops_keys_parse(&keys, command->verb, buf_span(&command->request), clock_unix_ms(),
                        &task, &wrong);
    if (rc == E_INVALID)
        buf_add_text(&command->transport.problem, wrong);
    if (rc == OK)
        rc = store_task(transport->store, &task, on_task, &outcome);
    if (rc != OK)
        return rc;
    ops_transport_wait(transport, &outcome.came);
    if (outcome.rc != OK)
        buf_printf(&command->transport.problem, "the store failed: %s", rc_text(outcome.rc));
    return outcome.rc;
}

/* The next page, after which *ret_next is absent or where to go on. */
static enum rc send_request(struct command *command, uint64_t *ret_count, struct span *ret_next)
{
    write_request(command);
    buf_clear(&command->reply);
    if (buf_rc(&command->request) != OK)
        return buf_rc(&command->request);
    enum rc rc = ask_service(command);
    if (rc == E_CLOSED)
        rc = ask_store(command);
    if (rc == OK)
        rc = buf_rc(&command->reply);
    if (rc != OK)
        return rc;
    struct span reply = buf_span(&command->reply);
    if (!json_to_u64(json_get(reply, "count"), ret_count)) {
        buf_add_text(&command->transport.problem, "what answers at ops_listen is no unstream");
        return E_INVALID;
    }
    *ret_next = json_inside(json_get(reply, "next"));
    return OK;
}

/* ---- output */

static void print_time(struct span value)
{
    uint64_t ms;
    char text[CLOCK_UTC_BYTES] = "-";
    if (json_to_u64(value, &ms))
        clock_utc_text((int64_t)ms, text);
    (void)printf("%-20s ", text);
}

static void print_line(struct span key)
{
    struct span client = json_inside(json_get(key, "client"));
    struct span scope = client.p ? client : json_inside(json_get(key, "scope"));
    (void)printf("%.*s  %-8.*s %5.*s  ", SPAN_ARG(json_inside(json_get(key, "digest"))),
                 SPAN_ARG(json_inside(json_get(key, "state"))),
                 SPAN_ARG(json_get(key, "paid_calls")));
    print_time(json_get(key, "created_ms"));
    (void)printf("%s%.*s  %.*s\n", client.p ? "client " : "", SPAN_ARG(scope),
                 SPAN_ARG(json_inside(json_get(key, "route"))));
}

/* A member a line. */
static void print_members(struct span key)
{
    struct json json;
    struct span name;
    json_init(&json, key, JSON_STRICT);
    if (!json_enter(&json, JSON_OBJECT))
        return;
    while (json_member(&json, &name)) {
        struct span value = json_value(&json);
        struct span text = json_inside(value);
        (void)printf("%-14.*s ", SPAN_ARG(name));
        if (span_ends(name, "_ms"))
            print_time(value);
        (void)printf("%.*s\n", SPAN_ARG(text.p ? text : value));
    }
}

static void print_keys(const struct command *command)
{
    struct json json;
    json_init(&json, json_get(buf_span(&command->reply), "keys"), JSON_STRICT);
    if (!json_enter(&json, JSON_ARRAY))
        return;
    while (json_element(&json)) {
        struct span key = json_value(&json);
        if (span_is(command->verb, "show"))
            print_members(key);
        else
            print_line(key);
    }
}

/* ---- all steps */

static enum rc run(struct command *command, uint64_t *ret_count)
{
    char next[2 * SHA256_BYTES];
    uint64_t total = 0;
    for (;;) {
        uint64_t count;
        struct span rest;
        enum rc rc = send_request(command, &count, &rest);
        if (rc != OK)
            return rc;
        print_keys(command);
        total += count;
        if (!rest.p || rest.n != sizeof next)
            break;
        memcpy(next, rest.p, sizeof next); /* the reply is overwritten by the next one */
        command->after = (struct span){next, sizeof next};
    }
    *ret_count = total;
    return OK;
}

static int tell(const struct command *command, uint64_t count)
{
    if (span_is(command->verb, "show")) {
        if (count == 0)
            (void)fputs("unstream keys: no such key\n", stderr);
        return count == 0 ? EX_NO_KEY : EX_OK;
    }
    if (!span_is(command->verb, "list"))
        (void)printf("%.*sd %llu key%s\n", SPAN_ARG(command->verb), (unsigned long long)count,
                     count == 1 ? "" : "s");
    return EX_OK;
}

int keys_command(const struct config_source *source, struct config_arguments arguments,
                 int argc, char **argv)
{
    struct command command = {.verb = SPAN_ABSENT};
    uint64_t count;
    if (!parse(&command, &arguments, argc, argv)) {
        (void)fputs(usage, stderr);
        return EX_USAGE;
    }
    int status = ops_transport_init(&command.transport, "keys", source, &arguments);
    if (status != EX_OK)
        return status;
    buf_init(&command.request, OPS_KEYS_REQUEST_BYTES_MAX);
    buf_init(&command.reply, OPS_KEYS_REPLY_BYTES_MAX);
    enum rc rc = run(&command, &count);
    if (rc != OK)
        status = ops_transport_fail(&command.transport, rc);
    else
        status = fflush(stdout) == 0 ? tell(&command, count) : EX_SOFTWARE;
    buf_done(&command.request);
    buf_done(&command.reply);
    ops_transport_done(&command.transport);
    return status;
}
