/* How threads talk: messages posted by any thread, run or taken by the one that owns the box.
 *
 * A message is embedded in the job it belongs to and belongs to the box from post until it is
 * run or taken; nothing is allocated, so posting cannot fail.  Messages of one sender keep
 * their order. */
#ifndef BASE_MAILBOX_H
#define BASE_MAILBOX_H

#include "base/rc.h"

#include <pthread.h>

struct message {
    struct message *next;
    void (*run)(struct message *message); /* in the owner's thread */
};

struct mailbox {
    pthread_mutex_t mutex;
    struct message *first, **last;
    int fd; /* an eventfd, readable while messages wait */
};

/* E_IO: no file descriptor left. */
MUST_CHECK enum rc mailbox_init(struct mailbox *box);
/* The box must be empty. */
void mailbox_done(struct mailbox *box);
/* Thread: any. */
void mailbox_post(struct mailbox *box, struct message *message);
/* As if a message came: the owner looks around.  Thread: any, while the box exists. */
void mailbox_wake(struct mailbox *box);
/* All that waits, in order, linked by `next`; NULL when there is nothing.  Thread: owner. */
struct message *mailbox_take(struct mailbox *box);
/* Runs all that waits.  Returns how many ran.  Thread: owner. */
size_t mailbox_run(struct mailbox *box);
/* Blocks until something waits or the box was woken.  For owners without an event loop.  Thread: owner. */
void mailbox_wait(struct mailbox *box);

#endif
