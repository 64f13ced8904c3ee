#include "app/clock.h"

#include <stdlib.h>
#include <time.h>

int64_t clock_unix_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

uint64_t clock_dice(void)
{
    uint64_t dice;
    arc4random_buf(&dice, sizeof dice);
    return dice;
}
