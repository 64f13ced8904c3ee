#include "base/timers.h"

#include <stdlib.h>

void timers_init(struct timers *timers)
{
    *timers = (struct timers){0};
}

void timers_done(struct timers *timers)
{
    for (size_t i = 0; i < timers->count; i++)
        timers->heap[i]->place = 0;
    free(timers->heap);
    timers_init(timers);
}

static void put(struct timers *timers, size_t place, struct timer *timer)
{
    timers->heap[place - 1] = timer;
    timer->place = place;
}

static void sift_up(struct timers *timers, struct timer *timer)
{
    size_t place = timer->place;
    while (place > 1 && timers->heap[place / 2 - 1]->due_ms > timer->due_ms) {
        put(timers, place, timers->heap[place / 2 - 1]);
        place /= 2;
    }
    put(timers, place, timer);
}

static void sift_down(struct timers *timers, struct timer *timer)
{
    size_t place = timer->place;
    for (;;) {
        size_t child = 2 * place;
        if (child > timers->count)
            break;
        if (child < timers->count &&
            timers->heap[child]->due_ms < timers->heap[child - 1]->due_ms)
            child++;
        if (timers->heap[child - 1]->due_ms >= timer->due_ms)
            break;
        put(timers, place, timers->heap[child - 1]);
        place = child;
    }
    put(timers, place, timer);
}

enum rc timers_start(struct timers *timers, struct timer *timer, int64_t due_ms)
{
    if (!timer->place) {
        if (timers->count == timers->capacity) {
            size_t capacity = timers->capacity ? timers->capacity * 2 : 64;
            struct timer **heap = realloc(timers->heap, capacity * sizeof(struct timer *));
            if (!heap)
                return E_NOMEM;
            timers->heap = heap;
            timers->capacity = capacity;
        }
        timers->count++;
        put(timers, timers->count, timer);
    }
    timer->due_ms = due_ms;
    sift_up(timers, timer);
    sift_down(timers, timer);
    return OK;
}

void timers_stop(struct timers *timers, struct timer *timer)
{
    size_t place = timer->place;
    if (!place)
        return;
    timer->place = 0;
    struct timer *last = timers->heap[--timers->count];
    if (last == timer)
        return;
    put(timers, place, last);
    sift_up(timers, last);
    sift_down(timers, last);
}

int64_t timers_next_ms(const struct timers *timers)
{
    return timers->count ? timers->heap[0]->due_ms : TIMERS_NEVER;
}

void timers_run(struct timers *timers, int64_t now_ms)
{
    /* At most as many as there were: a timer that starts itself for a time that has come
     * waits for the next call. */
    for (size_t left = timers->count; left && timers_next_ms(timers) <= now_ms; left--) {
        struct timer *timer = timers->heap[0];
        timers_stop(timers, timer);
        timer->run(timer);
    }
}
