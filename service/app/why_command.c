#include "app/why_command.h"

#include "app/clock.h"
#include "app/ops_state.h"
#include "app/ops_transport.h"
#include "core/json.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

enum { PATH_BYTES_MAX = 64, EX_NO_FLIGHT = 1 };

static const char usage[] =
    "usage: unstream why ID [--json] [--config FILE]\n"
    "\n"
    "  ID         of the flight: Unstream-Request-Id of the answer, \"flight\" in the log\n"
    "  --json     print what the service says as it is\n"
    "\n"
    "UNSTREAM_OPS_TOKEN: the token of ops_token_sha256.\n";

struct command {
    struct flight_id id;
    bool json;
    struct ops_transport transport;
    struct buf reply;
};

static bool parse(struct command *command, struct config_arguments *arguments, int argc,
                  char **argv)
{
    bool has_id = false;
    for (int i = 1; i < argc; i++) {
        bool is_config = strcmp(argv[i], "--config") == 0;
        if (is_config && i + 1 < argc && *argv[i + 1])
            arguments->file = span_of(argv[++i]);
        else if (strcmp(argv[i], "--json") == 0)
            command->json = true;
        else if (!has_id && span_hex_to_bytes(span_of(argv[i]), command->id.bytes,
                                              sizeof command->id.bytes))
            has_id = true;
        else
            return false;
    }
    return has_id;
}

/* ---- asking */

static enum rc ask_service(struct command *command)
{
    char id[FLIGHT_ID_TEXT_BYTES];
    BUF(path, PATH_BYTES_MAX);
    flight_id_text(command->id, id);
    buf_printf(&path, "/ops/flights/%s", id);
    if (buf_rc(&path) != OK)
        return buf_rc(&path);
    return ops_transport_ask(&command->transport, buf_text(&path), NULL, &command->reply);
}

struct outcome {
    struct command *command;
    enum rc rc;
    bool came;
};

static void on_row(void *context, enum rc rc, const struct flight_record *record)
{
    struct outcome *outcome = context;
    outcome->came = true;
    outcome->rc = rc;
    if (rc == OK && record->state == FLIGHT_ROW_ABSENT)
        outcome->rc = E_NOT_FOUND;
    if (outcome->rc != OK)
        return;
    const struct flight_summary summary = ops_flight_of_row(record);
    const struct ops_flight flight = {&summary, NULL, clock_unix_ms()};
    ops_flight_render(&flight, &outcome->command->reply);
}

static enum rc ask_store(struct command *command)
{
    struct outcome outcome = {.command = command};
    const struct store_result_query query = {.flight = command->id, .now_ms = clock_unix_ms()};
    enum rc rc = ops_transport_open_store(&command->transport);
    if (rc == OK)
        rc = store_result(command->transport.store, &query, on_row, &outcome);
    if (rc != OK)
        return rc;
    ops_transport_wait(&command->transport, &outcome.came);
    if (outcome.rc == E_NOT_FOUND)
        buf_add_text(&command->transport.problem,
                     "no service runs, and the store has no flight of this id");
    else if (outcome.rc != OK)
        buf_printf(&command->transport.problem, "the store failed: %s", rc_text(outcome.rc));
    return outcome.rc;
}

static enum rc ask(struct command *command)
{
    enum rc rc = ask_service(command);
    if (rc == E_CLOSED)
        rc = ask_store(command);
    return rc == OK ? buf_rc(&command->reply) : rc;
}

/* ---- for people */

/* What a string stands for, in printable ASCII. */
static void print_text(struct span value)
{
    BUF(text, OPS_FLIGHT_BYTES_MAX);
    json_unescape(json_inside(value), &text);
    for (size_t i = 0; i < text.n; i++)
        (void)putchar(text.p[i] >= ' ' && text.p[i] <= '~' ? text.p[i] : '?');
}

static void print_string(struct span flight, const char *name, const char *label)
{
    struct span value = json_get(flight, name);
    if (json_type(value) != JSON_STRING)
        return;
    (void)printf("%-10s ", label);
    print_text(value);
    (void)putchar('\n');
}

static void print_seconds(struct span ms, const char *before)
{
    uint64_t value;
    if (json_to_u64(ms, &value))
        (void)printf("%s%llu.%03u s", before, (unsigned long long)(value / 1000),
                     (unsigned)(value % 1000));
}

static void print_number(struct span value, const char *before, const char *behind)
{
    if (json_type(value) == JSON_NUMBER)
        (void)printf("%s%.*s%s", before, SPAN_ARG(value), behind);
}

static void print_state(struct span flight)
{
    struct span row = json_get(flight, "row");
    struct span error = json_get(flight, "error");
    (void)printf("%-10s ", "state");
    print_text(json_get(flight, "state"));
    print_number(json_get(flight, "status"), ", status ", "");
    if (json_type(error) == JSON_STRING) {
        (void)putchar(' ');
        print_text(error);
    }
    if (json_type(row) == JSON_STRING) {
        (void)fputs("; its row in the store is ", stdout);
        print_text(row);
    }
    (void)putchar('\n');
}

static void print_calls(struct span flight)
{
    struct span attempt = json_get(flight, "attempt");
    if (json_type(attempt) != JSON_NUMBER)
        return;
    (void)printf("%-10s %.*s", "calls", SPAN_ARG(attempt));
    print_number(json_get(flight, "paid_calls"), "; ", " paid in the life of its key");
    print_number(json_get(flight, "output_bytes"), "; ", " bytes of output in the last one");
    (void)putchar('\n');
}

static void print_times(struct span flight)
{
    uint64_t started_ms, ended_ms;
    char text[CLOCK_UTC_BYTES];
    struct span elapsed = json_get(flight, "elapsed_ms");
    if (!json_to_u64(json_get(flight, "started_unix_ms"), &started_ms))
        return;
    clock_utc_text((int64_t)started_ms, text);
    (void)printf("%-10s %s", "started", text);
    if (json_to_u64(json_get(flight, "ended_unix_ms"), &ended_ms)) {
        print_seconds(elapsed, ", ended after ");
    } else {
        print_seconds(elapsed, ", for ");
        print_seconds(json_get(flight, "deadline_ms"), " now; its deadline is at ");
    }
    (void)putchar('\n');
}

static void print_entry(struct span entry)
{
    uint64_t at_ms = 0;
    struct span request_id = json_get(entry, "request_id");
    (void)!json_to_u64(json_get(entry, "at_ms"), &at_ms);
    (void)printf("%9llu.%03u s  ", (unsigned long long)(at_ms / 1000),
                 (unsigned)(at_ms % 1000));
    print_text(json_get(entry, "text"));
    if (json_type(request_id) == JSON_STRING) {
        (void)fputs(" (request id ", stdout);
        print_text(request_id);
        (void)putchar(')');
    }
    (void)putchar('\n');
}

static void print_timeline(struct span flight)
{
    uint64_t omitted;
    struct json json;
    json_init(&json, json_get(flight, "timeline"), JSON_STRICT);
    if (json_enter(&json, JSON_ARRAY))
        while (json_element(&json))
            print_entry(json_value(&json));
    if (json_to_u64(json_get(flight, "timeline_omitted"), &omitted) && omitted > 0)
        (void)printf("%llu more happened that are not kept\n", (unsigned long long)omitted);
    if (span_is(json_inside(json_get(flight, "from")), "store"))
        (void)puts("Only the store knows this flight, so there is no timeline.");
}

static void print_flight(struct span flight)
{
    print_string(flight, "id", "flight");
    print_string(flight, "route", "route");
    print_string(flight, "client", "client");
    print_string(flight, "model", "model");
    print_string(flight, "upstream", "upstream");
    print_string(flight, "key", "key");
    print_state(flight);
    print_calls(flight);
    print_times(flight);
    (void)putchar('\n');
    print_timeline(flight);
}

/* ---- all of it */

static int execute(struct command *command)
{
    enum rc rc = ask(command);
    struct span flight = buf_span(&command->reply);
    if (rc == OK && json_type(json_get(flight, "timeline")) != JSON_ARRAY) {
        buf_add_text(&command->transport.problem, "what answers at ops_listen is no unstream");
        rc = E_INVALID;
    }
    if (rc != OK) {
        int status = ops_transport_fail(&command->transport, rc);
        return rc == E_NOT_FOUND ? EX_NO_FLIGHT : status;
    }
    if (command->json)
        (void)printf("%.*s", SPAN_ARG(flight));
    else
        print_flight(flight);
    return fflush(stdout) == 0 ? EX_OK : EX_SOFTWARE;
}

int why_command(const struct config_source *source, struct config_arguments arguments, int argc,
                char **argv)
{
    struct command command = {.json = false};
    if (!parse(&command, &arguments, argc, argv)) {
        (void)fputs(usage, stderr);
        return EX_USAGE;
    }
    int status = ops_transport_init(&command.transport, "why", source, &arguments);
    if (status != EX_OK)
        return status;
    buf_init(&command.reply, OPS_FLIGHT_BYTES_MAX);
    status = execute(&command);
    buf_done(&command.reply);
    ops_transport_done(&command.transport);
    return status;
}
