#include "app/ops_page.h"

#include "app/ops_page_html.h"
#include "app/reply.h"
#include "base/sha256.h"

#include <string.h>

enum { POLICY_BYTES_MAX = 512 };

/* What stands in the page's only element of this name. */
static struct span content_of(const char *open, const char *close)
{
    const char *start = strstr(ops_page_html, open);
    ASSERT(start);
    start += strlen(open);
    const char *end = strstr(start, close);
    ASSERT(end && !strstr(end, open));
    return (struct span){start, (size_t)(end - start)};
}

/* " 'sha256-...'" as CSP names inline text (https://www.w3.org/TR/CSP3/#grammardef-hash-source). */
static enum rc add_source(struct buf *policy, struct span text)
{
    struct digest digest;
    char base64[DIGEST_BASE64_BYTES];
    enum rc rc = sha256_of(&text, 1, &digest);
    if (rc != OK)
        return rc;
    digest_base64(&digest, base64);
    buf_printf(policy, " 'sha256-%s'", base64);
    return buf_rc(policy);
}

static enum rc write_policy(struct buf *policy)
{
    enum rc rc;
    buf_add_text(policy, "default-src 'none'; script-src");
    if ((rc = add_source(policy, content_of("<script>", "</script>"))) != OK)
        return rc;
    buf_add_text(policy, "; style-src");
    if ((rc = add_source(policy, content_of("<style>", "</style>"))) != OK)
        return rc;
    buf_add_text(
        policy,
        "; img-src data:; connect-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
        "trusted-types 'none'");
    return buf_rc(policy);
}

enum rc ops_page_init(struct ops_page *page)
{
    BUF(policy, POLICY_BYTES_MAX);
    enum rc rc = write_policy(&policy);
    if (rc != OK)
        return rc;
    struct blob *html = blob_new(span_of(ops_page_html));
    if (!html)
        return E_NOMEM;
    *page = (struct ops_page){html, policy};
    policy = (struct buf){0};
    return OK;
}

void ops_page_done(struct ops_page *page)
{
    blob_free(page->html);
    buf_done(&page->policy);
}

void ops_page_send(const struct ops_page *page, struct http_request *request)
{
    reply_page(request, page->html, buf_span(&page->policy));
}
