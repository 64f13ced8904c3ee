/* Results, assertions and ownership, used by every layer.
 *
 * Other people's mistakes (bad input, a full disk, a lost connection) are results: a function
 * returns enum rc and leaves its `ret` parameters untouched unless it returns OK.  Our own
 * mistakes are ASSERTs, which stay in every build. */
#ifndef BASE_RC_H
#define BASE_RC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RC_TABLE(X)                                                                            \
    X(OK, "fine")                                                                              \
    X(E_NOMEM, "out of memory")                                                                \
    X(E_LIMIT, "a limit was reached")                                                          \
    X(E_SYNTAX, "malformed input")                                                             \
    X(E_INVALID, "a value that is not allowed")                                                \
    X(E_NOT_FOUND, "not found")                                                                \
    X(E_CONFLICT, "in conflict with what is there")                                            \
    X(E_IO, "input or output failed")                                                          \
    X(E_CLOSED, "already closed")

enum rc {
#define X(name, text) name,
    RC_TABLE(X)
#undef X
};

/* The human text of a result, never NULL. */
const char *rc_text(enum rc rc);

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))

/* Always on.  Prints file, line and the condition, then aborts. */
#define ASSERT(condition)                                                                      \
    ((condition) ? (void)0 : rc_assert_failed(__FILE__, __LINE__, #condition))
_Noreturn void rc_assert_failed(const char *file, int line, const char *condition);

/* Scope-bound ownership.  A module with `void flight_free(struct flight *)` says
 * OWNED_DEFINE(flight) in its header; then `OWNED(flight) f = ...;` is freed at the end of the
 * scope unless `return take(f);` handed it over. */
#define OWNED_DEFINE(module)                                                                   \
    static inline void module##_free_owned(struct module **owned)                              \
    {                                                                                          \
        module##_free(*owned);                                                                 \
    }
#define OWNED(module) __attribute__((cleanup(module##_free_owned))) struct module *
#define take(pointer)                                                                          \
    __extension__({                                                                            \
        __typeof__(pointer) taken_ = (pointer);                                                \
        (pointer) = NULL;                                                                      \
        taken_;                                                                                \
    })

/* The struct that holds `member`, from a pointer to that member. */
#define CONTAINER_OF(pointer, type, member)                                                    \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#endif
