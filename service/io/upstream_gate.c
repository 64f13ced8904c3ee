#include "io/upstream_internal.h"

#include <stdlib.h>
#include <string.h>

struct gate {
    struct list link; /* in the thread's gates */
    struct call *first;
    struct list waiting;
    char host[];
};

static struct gate *gate_find(struct upstream_thread *thread, const char *host)
{
    for (struct list *at = thread->gates.next; at != &thread->gates; at = at->next) {
        struct gate *gate = CONTAINER_OF(at, struct gate, link);
        if (strcmp(gate->host, host) == 0)
            return gate;
    }
    return NULL;
}

static struct gate *gate_new(struct upstream_thread *thread, const char *host)
{
    size_t host_bytes = strlen(host) + 1;
    struct gate *gate = calloc(1, sizeof *gate + host_bytes);
    if (!gate)
        return NULL;
    list_init(&gate->link);
    list_init(&gate->waiting);
    memcpy(gate->host, host, host_bytes);
    list_append(&thread->gates, &gate->link);
    return gate;
}

enum rc upstream_gate_enter(struct call *call, bool *ret_first)
{
    ASSERT(!call->gate);
    struct upstream_thread *thread = call->thread;
    struct gate *gate = gate_find(thread, call->transfer->resolved_host);
    bool is_new = !gate;
    if (is_new)
        gate = gate_new(thread, call->transfer->resolved_host);
    if (!gate)
        return E_NOMEM;
    call->gate = gate;
    if (is_new)
        gate->first = call;
    else
        list_append(&gate->waiting, &call->waiting);
    *ret_first = is_new;
    return OK;
}

void upstream_gate_leave(struct call *call)
{
    struct gate *gate = call->gate;
    if (!gate)
        return;
    call->gate = NULL;
    list_remove(&call->waiting);
    if (gate->first == call) {
        gate->first = NULL;
        call->thread->gates_moved = true;
    }
}

void upstream_gate_fail(struct call *call)
{
    struct gate *gate = call->gate;
    if (!gate || gate->first != call)
        return;
    struct list *next;
    while ((next = list_pop(&gate->waiting))) {
        struct call *other = CONTAINER_OF(next, struct call, waiting);
        other->cause = call->cause;
        upstream_call_abort(other, ATTEMPT_DNS_FAILED);
    }
}

static void gate_release(struct gate *gate)
{
    struct list *next = list_pop(&gate->waiting);
    if (!next) {
        list_remove(&gate->link);
        free(gate);
        return;
    }
    gate->first = CONTAINER_OF(next, struct call, waiting);
    upstream_call_connect(gate->first);
}

static void release_all(struct upstream_thread *thread)
{
    struct list *at = thread->gates.next;
    while (at != &thread->gates) {
        struct gate *gate = CONTAINER_OF(at, struct gate, link);
        at = at->next; /* this gate may be freed, no other one is */
        if (!gate->first)
            gate_release(gate);
    }
}

void upstream_gates_release(struct upstream_thread *thread)
{
    while (thread->gates_moved) {
        thread->gates_moved = false;
        release_all(thread);
    }
}
