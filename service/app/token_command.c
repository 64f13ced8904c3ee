#include "app/token_command.h"

#include "core/config.h"
#include "core/config_table.h"
#include "core/result_url.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define TOKEN_PREFIX "ust_" /* so that secret scanners, and people, see what it is */

enum { OUTPUT_BYTES_MAX = 4096 };

static const char usage[] =
    "usage: unstream token NAME\n"
    "\n"
    "Prints a new token for the client NAME, once, and the entry for \"clients\" in the\n"
    "configuration that lets it in.  Then: systemctl reload unstream, or SIGHUP.\n";

/* The same characters as a result token: 43 of base64url for 32 random bytes. */
static void add_token(struct buf *out)
{
    uint8_t random[RESULT_TOKEN_BYTES];
    arc4random_buf(random, sizeof random);
    struct result_token token = result_token_make(random);
    buf_add_text(out, TOKEN_PREFIX);
    buf_add_text(out, token.text);
}

static void add_entry(struct span name, const struct digest *digest, struct buf *out)
{
    buf_add_text(out, "\n{ \"name\": ");
    config_quote(name, out);
    buf_add_text(out, ", \"token_sha256\": \"");
    buf_add_hex(out, digest->bytes, sizeof digest->bytes);
    buf_add_text(out, "\" }\n");
}

static int print_token(struct span name, FILE *out, FILE *err)
{
    struct digest digest;
    BUF(text, OUTPUT_BYTES_MAX);
    add_token(&text);
    const struct span token = buf_span(&text);
    bool fine = buf_rc(&text) == OK && sha256_of(&token, 1, &digest) == OK;
    if (fine)
        add_entry(name, &digest, &text);
    if (!fine || buf_rc(&text) != OK || fputs(buf_text(&text), out) < 0 || fflush(out) != 0) {
        (void)fputs("unstream token: the token could not be printed\n", err);
        return EX_SOFTWARE;
    }
    (void)fputs(
        "The first line is the token, shown this once: give it to the client.  The second "
        "is its entry\nfor \"clients\" in the configuration; then reload or restart.\n",
        err);
    return EX_OK;
}

int token_command(int argc, char **argv, FILE *out, FILE *err)
{
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        (void)fputs(usage, out);
        return EX_OK;
    }
    if (argc != 2 || argv[1][0] == '-') {
        (void)fputs(usage, err);
        return EX_USAGE;
    }
    struct span name = span_of(argv[1]);
    if (config_client_name_is_sound(name))
        return print_token(name, out, err);
    (void)fprintf(
        err,
        "unstream token: a client's name is 1 to %d printable ASCII characters without "
        "blanks\n",
        CONFIG_NAME_BYTES_MAX);
    return EX_USAGE;
}
