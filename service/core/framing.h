/* The framing guard: a request is only believed about where its body ends when nobody could
 * read it another way.  Two servers in a row that disagree about that hand one client's bytes
 * to the next one as a request of their own (RFC 9112 11.2).  Pure; thread: any. */
#ifndef CORE_FRAMING_H
#define CORE_FRAMING_H

#include "core/http_message.h"

enum framing_fault {
    FRAMING_FINE,
    FRAMING_AMBIGUOUS,  /* request line, Content-Length or Transfer-Encoding (RFC 9112 6.3) */
    FRAMING_BAD_HEADER, /* not a token, a control character, or one too many */
    FRAMING_NO_HOST,    /* RFC 9112 3.2: a must in HTTP/1.1 */
    FRAMING_BAD_TRANSFER_ENCODING, /* anything but `chunked`: 501 (RFC 9112 6.1) */
    FRAMING_BAD_EXPECT             /* anything but `100-continue`: 417 (RFC 9110 10.1.1) */
};

struct framing {
    enum framing_fault fault; /* the rest is only set when FRAMING_FINE */
    bool chunked;
    bool expects_continue; /* the client waits for our word before it sends the body */
    uint64_t body_bytes;   /* Content-Length; 0 when there is none or it is chunked */
};

/* Refused are: a method or header name that is no token; a target with blanks or control
 * characters; control characters (a bare CR) in values; Content-Length beside
 * Transfer-Encoding, twice, or not a number; Transfer-Encoding twice or on HTTP/1.0; more than
 * one of Host, Content-Type, Idempotency-Key, X-Idempotency-Key, Authorization, X-Api-Key and
 * Api-Key; HTTP/1.1 without Host. */
struct framing framing_check(const struct http_head *head);

/* Splits a request target into path and query.  An absolute-form target (RFC 9112 3.2.2) is
 * taken when its authority is the Host header's; "*" is a path of its own.  False: neither of
 * these. */
bool framing_split_target(struct span target, const struct headers *headers,
                          struct span *ret_path, struct span *ret_query);

/* A head as an in-place parser leaves it: `raw` is all its bytes, with blanks of the request
 * line, colons and line ends overwritten by NULs; the other spans point into it, untrimmed. */
struct framing_parts {
    struct span raw, method, target, version;
    struct headers headers;
};
/* True when the parts and their separators make up the whole of `raw`, each line ended by CRLF.
 * Bytes that no part covers were hidden from whoever reads the parts: a NUL that cut a value, a
 * continuation line (obs-fold), a header without a name; a bare LF is refused as well.  What is
 * not seen: NULs right in front of a bare LF, which leave the same bytes as CRLF. */
bool framing_is_whole(const struct framing_parts *parts);

#endif
