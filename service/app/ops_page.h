/* GET /ops: the operators' page, one HTML document with its own style and script inside
 * (ops_page.html), compiled in.  It holds no data and no secret, so it needs no token: its script
 * asks /ops/state and /ops/flights, and asks the operator for the token where those want one.
 *
 * What is shown there comes from outside (names of models, errors of providers), so the page's
 * Content-Security-Policy allows this style, this script, its own icon (img-src data:) and requests
 * to this listener, and nothing else: no other script, no markup made of text, no frame or form.
 * Thread: the loop. */
#ifndef APP_OPS_PAGE_H
#define APP_OPS_PAGE_H

#include "io/http_front.h"

struct ops_page {
    struct blob *html;
    struct buf policy;
};

/* E_NOMEM: nothing is held. */
MUST_CHECK enum rc ops_page_init(struct ops_page *page);
void ops_page_done(struct ops_page *page);
/* Replies to a GET or HEAD. */
void ops_page_send(const struct ops_page *page, struct http_request *request);

#endif
