#include "fault_disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_BYTES_MAX = 256 << 20 };

void fault_disk_init(struct disk *disk)
{
    *disk = (struct disk){0};
    for (enum fault_file file = FAULT_DATABASE; file < FAULT_FILES; file++)
        buf_init(&disk->files[file].durable, FILE_BYTES_MAX);
}

void fault_disk_done(struct disk *disk)
{
    for (enum fault_file file = FAULT_DATABASE; file < FAULT_FILES; file++) {
        buf_done(&disk->files[file].durable);
        free(disk->files[file].pending);
    }
}

static void resize(struct buf *content, size_t n)
{
    if (n > content->n) {
        size_t more = n - content->n;
        char *room = buf_reserve(content, more);
        ASSERT(room);
        memset(room, 0, more);
    }
    content->n = n;
}

/* The first n bytes of a change arrive. */
static void apply(struct buf *content, const struct fault_record *record, size_t n)
{
    size_t offset = (size_t)record->offset;
    if (record->change != FAULT_WRITTEN) {
        resize(content, record->change == FAULT_DELETED ? 0 : offset);
        return;
    }
    if (n == 0)
        return;
    if (content->n < offset + n)
        resize(content, offset + n);
    memcpy(content->p + offset, record->bytes, n);
}

/* The first n pending changes are on the disk for certain. */
static void settle(struct disk_file *file, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        apply(&file->durable, file->pending[i], file->pending[i]->n);
        file->exists = file->pending[i]->change != FAULT_DELETED;
    }
    file->count -= n;
    if (file->count)
        memmove((void *)file->pending, (const void *)(file->pending + n),
                file->count * sizeof(struct fault_record *));
}

/* Names that were deleted do not come back. */
static void settle_deletions(struct disk *disk)
{
    for (enum fault_file i = FAULT_DATABASE; i < FAULT_FILES; i++) {
        struct disk_file *file = &disk->files[i];
        size_t n = file->count;
        while (n > 0 && file->pending[n - 1]->change != FAULT_DELETED)
            n--;
        settle(file, n);
    }
}

void fault_disk_play(struct disk *disk, const struct fault_record *record)
{
    struct disk_file *file = &disk->files[record->file];
    switch (record->change) {
    case FAULT_SYNCED:
        file->exists = true;
        settle(file, file->count);
        break;
    case FAULT_UNSYNCED:
        file->count = 0; /* the kernel marked the pages clean and forgot them */
        break;
    case FAULT_WRITTEN:
    case FAULT_TRUNCATED:
    case FAULT_DELETED:
        if (file->count == file->capacity) {
            file->capacity = file->capacity ? 2 * file->capacity : 64;
            file->pending =
                realloc((void *)file->pending, file->capacity * sizeof(struct fault_record *));
            ASSERT(file->pending);
        }
        file->pending[file->count++] = record;
        break;
    }
    if (record->directory)
        settle_deletions(disk);
}

bool fault_disk_has_pending(const struct disk *disk)
{
    size_t pending = 0;
    for (enum fault_file file = FAULT_DATABASE; file < FAULT_FILES; file++)
        pending += disk->files[file].count;
    return pending > 0;
}

/* How many bytes of a pending change arrive; SIZE_MAX: it does not, and what follows on the
 * same file neither (a new file behind a deletion that did not happen). */
static size_t arrives(const struct fault_record *record, enum cut cut, bool last,
                      uint64_t *dice)
{
    switch (cut) {
    case CUT_DROP:
        return 0;
    case CUT_TEAR:
        return last ? record->n / 2 : record->n;
    case CUT_SHUFFLE:
        *dice = *dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        return *dice >> 62 == 0 ? 0 : *dice >> 62 == 1 ? record->n / 2 : record->n;
    case CUT_KEEP:
    case CUTS:
        break;
    }
    return record->n;
}

static bool cut_file(const struct disk_file *file, enum cut cut, uint64_t dice,
                     struct buf *content)
{
    bool exists = file->exists;
    buf_clear(content);
    buf_add(content, buf_span(&file->durable));
    for (size_t i = 0; i < file->count && cut != CUT_DROP; i++) {
        const struct fault_record *record = file->pending[i];
        size_t n = arrives(record, cut, i + 1 == file->count, &dice);
        /* Sizes and names change as a whole or not at all. */
        bool whole = n == record->n && (record->n > 0 || cut == CUT_KEEP || dice >> 63);
        if (record->change == FAULT_DELETED && !whole)
            break; /* what follows went into a new file, which is not to be found */
        if (record->change != FAULT_WRITTEN && !whole)
            continue;
        apply(content, record, n);
        exists = record->change != FAULT_DELETED;
    }
    ASSERT(buf_rc(content) == OK);
    return exists;
}

void fault_disk_cut(const struct disk *disk, enum cut cut, uint64_t dice, const char *path)
{
    BUF(content, FILE_BYTES_MAX);
    for (enum fault_file file = FAULT_DATABASE; file < FAULT_FILES; file++) {
        char name[256];
        (void)snprintf(name, sizeof name, "%s%s", path, fault_file_ending(file));
        (void)unlink(name); /* may not be there */
        if (!cut_file(&disk->files[file], cut, dice + (uint64_t)file, &content))
            continue;
        FILE *out = fopen(name, "we");
        ASSERT(out);
        size_t written = fwrite(content.p ? content.p : "", 1, content.n, out);
        int closed = fclose(out);
        ASSERT(written == content.n && closed == 0);
    }
}
