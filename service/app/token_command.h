/* unstream token NAME: a new token for a client, and the entry of "clients" that knows it.
 * Nothing is stored: the service learns of it from its configuration.  Thread: the main one. */
#ifndef APP_TOKEN_COMMAND_H
#define APP_TOKEN_COMMAND_H

#include <stdio.h>

/* `argv` begins with the word "token".  `out` gets two lines, the token (which is not shown again)
 * and the entry; `err` what to do with them, or what is wrong.  Returns the exit code: EX_OK,
 * EX_USAGE, EX_SOFTWARE. */
int token_command(int argc, char **argv, FILE *out, FILE *err);

#endif
