/* `unstream assemble chat|responses|messages [--chunk N] [--n N] < stream.sse`: what the
 * service would make of a provider's stream, for debugging a provider.
 *
 * Prints the body, exit code 0, or {"kind": why there is none, "error": the provider's error or
 * null}, exit code 3.  64: usage; 70: input or output failed.  --chunk feeds N bytes at a time;
 * --n is the `n` of the request.
 *
 * A stream does not tell who sent it, so `annotations` are not added (only api.openai.com's
 * are), and a response that failed is printed like any other body, as it came. */
#ifndef APP_ASSEMBLE_COMMAND_H
#define APP_ASSEMBLE_COMMAND_H

/* argv[0] is "assemble".  Returns the exit code. */
int assemble_command(int argc, char **argv);

#endif
