/* What a disk may hold after a power cut: a recording played back up to a point, with every
 * write since the last sync kept, dropped or torn. */
#ifndef FAULT_DISK_H
#define FAULT_DISK_H

#include "fault_vfs.h"

#include "base/buf.h"

enum cut {
    CUT_KEEP,    /* all writes since the last sync arrived */
    CUT_DROP,    /* none did */
    CUT_TEAR,    /* all but the last, of which half did */
    CUT_SHUFFLE, /* some did, by dice */
    CUTS
};

/* The writes of one file that may not be on the disk yet. */
struct disk_file {
    struct buf durable; /* what is there for certain */
    bool exists;
    const struct fault_record **pending;
    size_t count, capacity;
};

struct disk {
    struct disk_file files[FAULT_FILES];
};

void fault_disk_init(struct disk *disk);
void fault_disk_done(struct disk *disk);
/* Plays one more record; it must stay until the disk is done. */
void fault_disk_play(struct disk *disk, const struct fault_record *record);
/* Something is not on the disk for certain. */
bool fault_disk_has_pending(const struct disk *disk);
/* Makes the files as a power cut now would leave them, at `path` and its endings. */
void fault_disk_cut(const struct disk *disk, enum cut cut, uint64_t dice, const char *path);

#endif
