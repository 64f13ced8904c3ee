/* Memory that runs out: the n-th allocation of ours or of SQLite's fails, once or for ever.
 * Ours are caught by the linker (--wrap), SQLite's by its own configuration; those of libc and
 * libcrypto are not.  Thread: any. */
#ifndef FAULT_MEMORY_H
#define FAULT_MEMORY_H

#include <stdbool.h>

/* Before SQLite is used. */
void fault_memory_install(void);
void fault_memory_arm(unsigned at, bool for_ever);
/* Allocations of code that runs now do not count; after fault_memory_arm they do. */
void fault_memory_exempt(bool exempt);
/* True: an allocation failed. */
bool fault_memory_disarm(void);

#endif
