/* HTTP dates (RFC 9110 5.6.7).  Pure; thread: any. */
#ifndef CORE_HTTP_DATE_H
#define CORE_HTTP_DATE_H

#include "base/buf.h"
#include "base/rc.h"
#include "base/span.h"

/* Seconds since 1970 of an IMF-fixdate, "Sun, 06 Nov 1994 08:49:37 GMT".  The two obsolete
 * forms are not read: no provider sends them.  False: anything else. */
bool http_date_parse(struct span text, int64_t *ret_unix_s);
/* Appends the IMF-fixdate of a time from 1970 to the end of year 9999. */
void http_date_print(int64_t unix_s, struct buf *out);

#endif
