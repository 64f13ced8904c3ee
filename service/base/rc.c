#include "base/rc.h"

#include <stdio.h>
#include <stdlib.h>

const char *rc_text(enum rc rc)
{
    switch (rc) {
#define X(name, text)                                                                          \
    case name:                                                                                 \
        return text;
        RC_TABLE(X)
#undef X
    }
    return "unknown result";
}

void rc_assert_failed(const char *file, int line, const char *condition)
{
    (void)fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, condition);
    abort();
}
