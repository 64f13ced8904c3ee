#include "app/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int64_t clock_unix_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t clock_monotonic_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* glibc's arc4random asks the kernel each time; a pool makes that once in 64 draws. */
enum { POOL_DRAWS = 64 };

uint64_t clock_dice(void)
{
    static uint64_t pool[POOL_DRAWS];
    static size_t left;
    if (left == 0) {
        arc4random_buf(pool, sizeof pool);
        left = POOL_DRAWS;
    }
    return pool[--left];
}

void clock_utc_text(int64_t unix_ms, char text[CLOCK_UTC_BYTES])
{
    struct tm tm;
    time_t seconds = (time_t)(unix_ms / 1000);
    if (!gmtime_r(&seconds, &tm) || strftime(text, CLOCK_UTC_BYTES, "%FT%TZ", &tm) == 0)
        (void)snprintf(text, CLOCK_UTC_BYTES, "-");
}

void clock_random(uint8_t *to, size_t n)
{
    for (size_t i = 0; i < n; i += sizeof(uint64_t)) {
        uint64_t dice = clock_dice();
        memcpy(to + i, &dice, n - i < sizeof dice ? n - i : sizeof dice);
    }
}
