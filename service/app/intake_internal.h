/* What intake's files share. */
#ifndef APP_INTAKE_INTERNAL_H
#define APP_INTAKE_INTERNAL_H

#include "app/intake.h"

/* Each returns E_INVALID, with the refusal in *ret. */
enum rc intake_refuse(struct intake_refusal *ret, enum http_error error, const char *detail);
/* With a message put together for this request. */
PRINTF_LIKE(4, 5)
enum rc intake_refuse_with(struct intake *intake, struct intake_refusal *ret,
                           enum http_error error, const char *format, ...);

/* intake_relay.c: the route of a path that generates nothing.  Refused (E_INVALID): it is not
 * relayed either, or has no upstream. */
MUST_CHECK enum rc intake_relay_route(struct intake *intake, const struct http_head *head,
                                      struct intake_refusal *ret);
/* In place of all that is done with the body of a generation. */
MUST_CHECK enum rc intake_relay_body(struct intake *intake,
                                     const struct intake_context *context,
                                     const struct http_head *head, struct span body,
                                     struct intake_refusal *ret);
/* The route that intake->api names, and its upstream.  Refused: it has none. */
MUST_CHECK enum rc intake_find_upstream(struct intake *intake, struct intake_refusal *ret);

/* Whether the provider gets stream_options. */
bool intake_wants_include_usage(const struct intake *intake,
                                const struct intake_context *context);
/* What the request calls its model, for people, whatever way it is escaped (PHP writes "a\/b"). */
void intake_name_model(struct intake *intake, struct span value);
/* Writes upstream_body from client_body, and what the body tells. */
MUST_CHECK enum rc intake_splice(struct intake *intake, struct intake_refusal *ret);
/* URL and headers of the upstream call. */
MUST_CHECK enum rc intake_address(struct intake *intake, const struct intake_context *context,
                                  const struct http_head *head, struct intake_refusal *ret);
/* For an intake that accepts: what is kept of its head.  E_NOMEM. */
MUST_CHECK enum rc intake_keep_request(struct intake *intake, const struct http_head *head);

#endif
