/* The wall clock and the dice, which the pure layers take as arguments.  Monotonic time comes
 * from the event loop, but for what takes less than a millisecond.  Thread: the loop. */
#ifndef APP_CLOCK_H
#define APP_CLOCK_H

#include <stddef.h>
#include <stdint.h>

/* Milliseconds since 1970; may jump in both directions. */
int64_t clock_unix_ms(void);
/* Microseconds of the monotonic clock, of this moment and not of the loop's round. */
int64_t clock_monotonic_us(void);
enum { CLOCK_UTC_BYTES = 32 };
/* A time since 1970 as 2025-01-31T12:00:00Z; "-" where the calendar has none. */
void clock_utc_text(int64_t unix_ms, char text[CLOCK_UTC_BYTES]);
/* 64 random bits of cryptographic quality, never the same twice. */
uint64_t clock_dice(void);
/* n such bytes. */
void clock_random(uint8_t *to, size_t n);

#endif
