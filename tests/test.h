/* A test is a sentence: TEST(json, a_number_keeps_its_lexeme) { assert_int_equal(...); }
 * The assertions are cmocka's; this header only adds registration by itself and a filter:
 * `test_json 'json: a_number*'` runs what matches (* and ? as in file names). */
#ifndef TEST_H
#define TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

void test_register(const char *name, CMUnitTestFunction run);

#define TEST(module, sentence)                                                                 \
    static void module##__##sentence(void **state);                                            \
    __attribute__((constructor)) static void register__##module##__##sentence(void)            \
    {                                                                                          \
        test_register(#module ": " #sentence, module##__##sentence);                           \
    }                                                                                          \
    static void module##__##sentence(void **state __attribute__((unused)))

/* Compares a struct span (base/span.h) with a literal. */
#define assert_span_equal(span, literal)                                                       \
    do {                                                                                       \
        assert_int_equal((span).n, strlen(literal));                                           \
        assert_memory_equal((span).p, literal, strlen(literal));                               \
    } while (0)

#endif
