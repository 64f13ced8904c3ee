#include "core/http_date.h"

#include <string.h>

/* Two or four digits at `p`, or -1. */
static int digits(const char *p, int count)
{
    int value = 0;
    for (int i = 0; i < count; i++) {
        if (p[i] < '0' || p[i] > '9')
            return -1;
        value = value * 10 + (p[i] - '0');
    }
    return value;
}

static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

/* 1..12, or 0. */
static int month_of(const char *p)
{
    for (size_t month = 0; month < 12; month++)
        if (memcmp(months + 3 * month, p, 3) == 0)
            return (int)month + 1;
    return 0;
}

/* Days since 1970-01-01 in the proleptic Gregorian calendar; years start in March, so that the
 * leap day comes last. */
static int64_t days_from_civil(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = year / 400, year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

bool http_date_parse(struct span text, int64_t *ret_unix_s)
{
    static const char shape[] = "Www, DD Mmm YYYY HH:MM:SS GMT";
    if (text.n != sizeof shape - 1)
        return false;
    for (size_t i = 0; i < text.n; i++)
        if (strchr(" ,:", shape[i]) && text.p[i] != shape[i])
            return false;
    int day = digits(text.p + 5, 2), month = month_of(text.p + 8),
        year = digits(text.p + 12, 4);
    int hour = digits(text.p + 17, 2), minute = digits(text.p + 20, 2);
    int second = digits(text.p + 23, 2);
    if (day < 1 || day > 31 || month == 0 || year < 1970 || hour < 0 || hour > 23 ||
        minute < 0 || minute > 59 || second < 0 || second > 60 || !span_ends(text, " GMT"))
        return false;
    int64_t second_of_day = ((int64_t)hour * 60 + minute) * 60 + second;
    *ret_unix_s = days_from_civil(year, month, day) * 86400 + second_of_day;
    return true;
}

void http_date_print(int64_t unix_s, struct buf *out)
{
    static const char weekdays[] = "ThuFriSatSunMonTueWed"; /* 1970 began on a Thursday */
    int64_t days = unix_s / 86400, second = unix_s % 86400;
    int64_t year = 1970 + days / 366; /* not after the year it is */
    int month = 1;
    while (days_from_civil(year + 1, 1, 1) <= days)
        year++;
    while (month < 12 && days_from_civil(year, month + 1, 1) <= days)
        month++;
    buf_printf(out, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT", weekdays + 3 * (days % 7),
               (int)(days - days_from_civil(year, month, 1)) + 1, months + 3L * (month - 1),
               (int)year, (int)(second / 3600), (int)(second / 60 % 60), (int)(second % 60));
}
