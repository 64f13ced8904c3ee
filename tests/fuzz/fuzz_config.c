/* The configuration: a file is refused with reasons, or what is printed of it loads and prints
 * the same again. */
#include "core/config.h"
#include "core/utf8.h"
#include "fuzz.h"

static const char file_name[] = "unstream.json";

static enum rc read_file(void *context, struct span path, struct buf *out)
{
    const struct span *text = context;
    if (span_is(path, file_name))
        buf_add(out, *text);
    else if (span_is(path, "/value"))
        buf_add_text(out, "from a file\n");
    else
        return E_NOT_FOUND;
    return buf_rc(out);
}

static const char *get_variable(void *context, const char *name)
{
    static const struct {
        const char *name, *value;
    } variables[] = {
        {"HOME", "/home/u"}, {"OPENAI_API_KEY", "sk-1"}, {"ANTHROPIC_API_KEY", "sk-2"}};
    (void)context;
    for (size_t i = 0; i < COUNT_OF(variables); i++)
        if (strcmp(name, variables[i].name) == 0)
            return variables[i].value;
    return NULL;
}

/* Appends what is printed.  False: refused. */
static bool print(struct span text, struct buf *out)
{
    struct config_source source = {get_variable, read_file, &text};
    struct config_arguments arguments = {.file = span_of(file_name)};
    struct config *config = NULL;
    BUF(problems, FUZZ_BYTES_MAX);
    enum rc rc = config_load(&source, &arguments, &problems, &config);
    ASSERT(rc == OK || rc == E_INVALID);
    ASSERT((rc == OK) == (config != NULL) && (rc == OK || problems.n));
    ASSERT(buf_rc(&problems) == OK && utf8_is_valid(buf_span(&problems)));
    ASSERT(!problems.n || problems.p[problems.n - 1] == '\n');
    if (config)
        config_print(config, out);
    config_free(config);
    return rc == OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    BUF(first, FUZZ_BYTES_MAX);
    BUF(second, FUZZ_BYTES_MAX);
    if (!print(fuzz_span(data, size), &first))
        return 0;
    ASSERT(fuzz_is_json(buf_span(&first), JSON_STRICT));
    ASSERT(print(buf_span(&first), &second));
    ASSERT(span_eq(buf_span(&first), buf_span(&second)));
    return 0;
}
