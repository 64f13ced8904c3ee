#include "app/history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALLED_MAX = OPS_ENDED_FLIGHTS_MAX - OPS_UNCALLED_FLIGHTS_MAX };

struct history {
    struct ended_flight called[CALLED_MAX], uncalled[OPS_UNCALLED_FLIGHTS_MAX];
    uint64_t called_count, uncalled_count; /* ever added */
    struct map by_id; /* of those that are there; without memory one is not found */
    struct request_summary requests[OPS_RECENT_MAX];
    uint64_t request_count;
};

struct history *history_new(void)
{
    struct history *history = calloc(1, sizeof *history);
    if (history)
        map_init(&history->by_id, FLIGHT_ID_BYTES);
    return history;
}

void history_free(struct history *history)
{
    if (!history)
        return;
    for (size_t i = 0; i < CALLED_MAX; i++)
        timeline_done(&history->called[i].timeline);
    for (size_t i = 0; i < OPS_UNCALLED_FLIGHTS_MAX; i++)
        timeline_done(&history->uncalled[i].timeline);
    map_done(&history->by_id);
    free(history);
}

/* ---- names */

/* At the end of a character. */
static void copy(char *to, size_t bytes_max, struct span text)
{
    size_t n = text.n;
    if (n > bytes_max) {
        n = bytes_max;
        while (n && ((unsigned char)text.p[n] & 0xC0) == 0x80)
            n--;
    }
    if (n)
        memcpy(to, text.p, n);
    to[n] = '\0';
}

void history_key_text(const struct digest *key, char text[KEY_TEXT_BYTES])
{
    for (size_t i = 0; i + 1 < KEY_TEXT_BYTES; i += 2)
        (void)snprintf(text + i, 3, "%02x", key->bytes[i / 2]);
}

void history_name_route(struct history_names *names, struct span route)
{
    copy(names->route, sizeof names->route - 1, route);
}

void history_name_client(struct history_names *names, struct span client)
{
    copy(names->client, sizeof names->client - 1, client);
}

void history_name_upstream(struct history_names *names, struct span upstream)
{
    copy(names->upstream, sizeof names->upstream - 1, upstream);
}

void history_name_model(struct history_names *names, struct span model)
{
    copy(names->model, sizeof names->model - 1, model);
}

/* ---- flights */

void history_add_flight(struct history *history, const struct flight_summary *summary,
                        struct timeline *timeline, int64_t start_ms)
{
    struct ended_flight *ended =
        summary->attempts
            ? &history->called[history->called_count++ % CALLED_MAX]
            : &history->uncalled[history->uncalled_count++ % OPS_UNCALLED_FLIGHTS_MAX];
    if (map_get(&history->by_id, ended->summary.id.bytes) == ended)
        (void)map_remove(&history->by_id, ended->summary.id.bytes);
    timeline_done(&ended->timeline);
    *ended = (struct ended_flight){*summary, timeline_take(timeline), start_ms};
    (void)map_remove(&history->by_id, summary->id.bytes);
    (void)!map_put(&history->by_id, summary->id.bytes, ended);
}

struct ended_flight *history_flight(struct history *history, struct flight_id id)
{
    return map_get(&history->by_id, id.bytes);
}

/* ---- requests */

void history_add_request(struct history *history, const struct request_summary *request)
{
    history->requests[history->request_count++ % OPS_RECENT_MAX] = *request;
}

const struct request_summary *history_request(const struct history *history, unsigned i)
{
    if (i >= history->request_count || i >= OPS_RECENT_MAX)
        return NULL;
    return &history->requests[(history->request_count - 1 - i) % OPS_RECENT_MAX];
}

uint64_t history_request_count(const struct history *history)
{
    return history->request_count;
}
