#include "fuzz_assemble.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return fuzz_assemble(API_RESPONSES, data, size);
}
