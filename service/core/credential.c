#include "core/credential.h"

/* The secret of a Bearer credential (RFC 6750; the scheme has no case, RFC 9110, 11.1), absent
 * for another scheme. */
static struct span bearer_secret(struct span value)
{
    struct span rest = value;
    struct span scheme = span_cut(&rest, ' ');
    return span_is_nocase(scheme, "bearer") ? span_trim(rest) : SPAN_ABSENT;
}

static struct credential read_authorization(struct span value)
{
    struct span secret = bearer_secret(value);
    if (secret.n)
        return (struct credential){CREDENTIAL_BEARER, secret};
    if (!value.n || span_is_nocase(value, "bearer"))
        return (struct credential){CREDENTIAL_NONE, SPAN_ABSENT};
    return (struct credential){CREDENTIAL_AUTHORIZATION, value};
}

static struct credential read_header(const struct header *header)
{
    struct span value = span_trim(header->value);
    if (span_is_nocase(header->name, "authorization"))
        return read_authorization(value);
    if (value.n && span_is_nocase(header->name, "x-api-key"))
        return (struct credential){CREDENTIAL_X_API_KEY, value};
    if (value.n && span_is_nocase(header->name, "api-key"))
        return (struct credential){CREDENTIAL_API_KEY, value};
    return (struct credential){CREDENTIAL_NONE, SPAN_ABSENT};
}

enum rc credential_find(const struct headers *headers, struct credential *ret)
{
    struct credential best = {CREDENTIAL_NONE, SPAN_ABSENT};
    for (size_t i = 0; i < headers->count; i++) {
        struct credential next = read_header(&headers->items[i]);
        if (next.carrier == CREDENTIAL_NONE)
            continue;
        if (best.carrier != CREDENTIAL_NONE && !span_eq(best.secret, next.secret))
            return E_CONFLICT;
        if (best.carrier == CREDENTIAL_NONE || next.carrier < best.carrier)
            best = next;
    }
    *ret = best;
    return OK;
}

bool credential_is_header(struct span name)
{
#define X(carrier, header)                                                                     \
    if (name.n && span_is_nocase(name, header))                                                \
        return true;
    CREDENTIAL_CARRIER_TABLE(X)
#undef X
    return false;
}
