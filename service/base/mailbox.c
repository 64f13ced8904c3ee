#include "base/mailbox.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum rc mailbox_init(struct mailbox *box)
{
    *box = (struct mailbox){.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    box->last = &box->first;
    if (box->fd < 0)
        return E_IO;
    int initialised = pthread_mutex_init(&box->mutex, NULL);
    ASSERT(initialised == 0);
    return OK;
}

void mailbox_done(struct mailbox *box)
{
    ASSERT(!box->first);
    (void)pthread_mutex_destroy(&box->mutex);
    (void)close(box->fd);
}

void mailbox_wake(struct mailbox *box)
{
    uint64_t one = 1;
    ssize_t written = write(box->fd, &one, sizeof one);
    ASSERT(written == sizeof one);
}

void mailbox_post(struct mailbox *box, struct message *message)
{
    message->next = NULL;
    (void)pthread_mutex_lock(&box->mutex);
    bool was_empty = !box->first;
    *box->last = message;
    box->last = &message->next;
    /* Under the lock: once it is released the owner may run this and close the box.  The
     * counter does not overflow, as of messages only the first into an empty box adds to it. */
    if (was_empty)
        mailbox_wake(box);
    (void)pthread_mutex_unlock(&box->mutex);
}

struct message *mailbox_take(struct mailbox *box)
{
    uint64_t count;
    (void)pthread_mutex_lock(&box->mutex);
    struct message *first = box->first;
    box->first = NULL;
    box->last = &box->first;
    ssize_t got = read(box->fd, &count, sizeof count);
    ASSERT(got == sizeof count || !first); /* woken or not, nothing may wait */
    (void)pthread_mutex_unlock(&box->mutex);
    return first;
}

size_t mailbox_run(struct mailbox *box)
{
    size_t ran = 0;
    struct message *message = mailbox_take(box);
    while (message) {
        struct message *next = message->next; /* running may free it */
        message->run(message);
        message = next;
        ran++;
    }
    return ran;
}

void mailbox_wait(struct mailbox *box)
{
    struct pollfd poll_fd = {.fd = box->fd, .events = POLLIN};
    while (poll(&poll_fd, 1, -1) < 0)
        ASSERT(errno == EINTR);
}
