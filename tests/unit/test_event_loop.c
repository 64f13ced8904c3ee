#include "io/event_loop.h"
#include "test.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

struct fixture {
    struct event_loop *loop;
};

static void fixture_done(struct fixture *f)
{
    event_loop_free(f->loop);
}

#define FIXTURE(f)                                                                             \
    __attribute__((cleanup(fixture_done))) struct fixture f = {0};                             \
    assert_int_equal(event_loop_new(&f.loop), OK)

struct counter {
    struct watch watch;
    struct event_loop *loop;
    struct counter *victim; /* unwatched when this one runs */
    unsigned runs;
    uint32_t events;
};

static void count(struct watch *watch, uint32_t events)
{
    struct counter *counter = CONTAINER_OF(watch, struct counter, watch);
    counter->runs++;
    counter->events = events;
    if (counter->victim)
        event_loop_unwatch(counter->loop, &counter->victim->watch);
}

static struct counter counter_new(struct fixture *f, unsigned value)
{
    return (struct counter){.watch = {.fd = eventfd(value, EFD_NONBLOCK), .run = count},
                            .loop = f->loop};
}

TEST(event_loop, a_watch_runs_in_every_round_in_which_it_is_ready)
{
    FIXTURE(f);
    struct counter ready = counter_new(&f, 1), quiet = counter_new(&f, 0);
    assert_int_equal(event_loop_watch(f.loop, &ready.watch, EPOLLIN), OK);
    assert_int_equal(event_loop_watch(f.loop, &quiet.watch, EPOLLIN), OK);
    event_loop_round(f.loop, 0);
    event_loop_round(f.loop, 0);
    assert_int_equal(ready.runs, 2);
    assert_int_equal(ready.events, EPOLLIN);
    assert_int_equal(quiet.runs, 0);
    event_loop_unwatch(f.loop, &ready.watch);
    event_loop_unwatch(f.loop, &ready.watch);
    event_loop_round(f.loop, 0);
    assert_int_equal(ready.runs, 2);
    close(ready.watch.fd);
    close(quiet.watch.fd);
}

TEST(event_loop, watching_again_changes_the_events_and_arms_a_oneshot)
{
    FIXTURE(f);
    struct counter c = counter_new(&f, 1);
    assert_int_equal(event_loop_watch(f.loop, &c.watch, EPOLLIN | EPOLLONESHOT), OK);
    event_loop_round(f.loop, 0);
    event_loop_round(f.loop, 0);
    assert_int_equal(c.runs, 1);
    assert_int_equal(event_loop_watch(f.loop, &c.watch, EPOLLOUT | EPOLLONESHOT), OK);
    event_loop_round(f.loop, 0);
    assert_int_equal(c.runs, 2);
    assert_int_equal(c.events, EPOLLOUT);
    close(c.watch.fd);
    struct counter bad = {.watch = {.fd = -1, .run = count}};
    assert_int_equal(event_loop_watch(f.loop, &bad.watch, EPOLLIN), E_IO);
    assert_false(bad.watch.watched);
}

TEST(event_loop, a_watch_unwatched_in_a_round_does_not_run_in_it)
{
    FIXTURE(f);
    struct counter a = counter_new(&f, 1), b = counter_new(&f, 1);
    a.victim = &b;
    b.victim = &a;
    assert_int_equal(event_loop_watch(f.loop, &a.watch, EPOLLIN), OK);
    assert_int_equal(event_loop_watch(f.loop, &b.watch, EPOLLIN), OK);
    event_loop_round(f.loop, 0);
    assert_int_equal(a.runs + b.runs, 1);
    event_loop_round(f.loop, 0);
    assert_int_equal(a.runs + b.runs, 2); /* whichever was first goes on alone */
    close(a.watch.fd);
    close(b.watch.fd);
    struct counter self = counter_new(&f, 1);
    self.victim = &self;
    assert_int_equal(event_loop_watch(f.loop, &self.watch, EPOLLIN), OK);
    event_loop_round(f.loop, 0);
    event_loop_round(f.loop, 0);
    assert_int_equal(self.runs, 1);
    close(self.watch.fd);
}

struct alarm {
    struct timer timer;
    unsigned runs;
};

static void ring(struct timer *timer)
{
    CONTAINER_OF(timer, struct alarm, timer)->runs++;
}

TEST(event_loop, a_timer_ends_the_wait_and_runs_no_earlier_than_due)
{
    FIXTURE(f);
    struct alarm alarm = {.timer.run = ring};
    int64_t due_ms = event_loop_now_ms(f.loop) + 30;
    assert_int_equal(timers_start(event_loop_timers(f.loop), &alarm.timer, due_ms), OK);
    event_loop_round(f.loop, 0);
    while (!alarm.runs)
        event_loop_round(f.loop, -1);
    assert_true(event_loop_now_ms(f.loop) >= due_ms);
    assert_int_equal(alarm.runs, 1);
}

TEST(event_loop, the_clock_stands_still_between_rounds)
{
    FIXTURE(f);
    int64_t before_ms = event_loop_now_ms(f.loop);
    usleep(5000);
    assert_int_equal(event_loop_now_ms(f.loop), before_ms);
    event_loop_round(f.loop, 0);
    assert_true(event_loop_now_ms(f.loop) >= before_ms + 5);
}

struct letter {
    struct message message;
    unsigned runs;
};

static void deliver(struct message *message)
{
    CONTAINER_OF(message, struct letter, message)->runs++;
}

static void *post(void *context)
{
    usleep(20000);
    void **two = context;
    mailbox_post(two[0], two[1]);
    return NULL;
}

TEST(event_loop, a_message_of_another_thread_ends_the_wait)
{
    FIXTURE(f);
    struct letter letter = {.message.run = deliver};
    void *context[] = {event_loop_mailbox(f.loop), &letter.message};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, post, context), 0);
    while (!letter.runs)
        event_loop_round(f.loop, -1);
    assert_int_equal(letter.runs, 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

TEST(event_loop, a_wake_ends_one_round_and_loses_no_message)
{
    FIXTURE(f);
    struct mailbox *box = event_loop_mailbox(f.loop);
    struct pollfd waiting = {.fd = box->fd, .events = POLLIN};
    struct letter letter = {.message.run = deliver};
    mailbox_wake(box);
    event_loop_round(f.loop, -1); /* would hang without it */
    assert_int_equal(poll(&waiting, 1, 0), 0);
    mailbox_post(box, &letter.message);
    mailbox_wake(box);
    event_loop_round(f.loop, -1);
    assert_int_equal(letter.runs, 1);
    assert_int_equal(poll(&waiting, 1, 0), 0);
}

struct every_round {
    struct round_hook hook;
    int64_t again_in_ms;
    unsigned runs;
    const struct letter *letter;
    bool saw_letter;
};

static int64_t look(struct round_hook *hook, int64_t now_ms)
{
    struct every_round *every = CONTAINER_OF(hook, struct every_round, hook);
    every->runs++;
    every->saw_letter = every->letter && every->letter->runs;
    return every->again_in_ms < 0 ? TIMERS_NEVER : now_ms + every->again_in_ms;
}

TEST(event_loop, hooks_run_last_in_every_round_and_say_when_the_next_one_is)
{
    FIXTURE(f);
    struct letter letter = {.message.run = deliver};
    struct every_round soon = {.hook.run = look, .again_in_ms = 10, .letter = &letter};
    struct every_round never = {.hook.run = look, .again_in_ms = -1};
    event_loop_hook(f.loop, &soon.hook);
    event_loop_hook(f.loop, &never.hook);
    mailbox_post(event_loop_mailbox(f.loop), &letter.message);
    event_loop_round(f.loop, -1);
    assert_true(soon.saw_letter);
    event_loop_round(f.loop, -1); /* would hang without the first hook's wish */
    assert_int_equal(soon.runs, 2);
    assert_int_equal(never.runs, 2);
    event_loop_unhook(f.loop, &soon.hook);
    event_loop_round(f.loop, 0);
    assert_int_equal(soon.runs, 2);
    assert_int_equal(never.runs, 3);
    event_loop_unhook(f.loop, &never.hook);
}

TEST(event_loop, as_many_hooks_as_there_is_room_for_all_run)
{
    FIXTURE(f);
    struct every_round hooks[EVENT_LOOP_HOOKS_MAX + 1];
    for (size_t i = 0; i < COUNT_OF(hooks); i++)
        hooks[i] = (struct every_round){.hook.run = look, .again_in_ms = -1};
    for (size_t i = 0; i < EVENT_LOOP_HOOKS_MAX; i++)
        event_loop_hook(f.loop, &hooks[i].hook);
    event_loop_round(f.loop, 0);
    for (size_t i = 0; i < EVENT_LOOP_HOOKS_MAX; i++)
        assert_int_equal(hooks[i].runs, 1);
    /* One more is a mistake of ours. */
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)close(STDERR_FILENO);
        event_loop_hook(f.loop, &hooks[EVENT_LOOP_HOOKS_MAX].hook);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    /* A place that was given up is there again. */
    event_loop_unhook(f.loop, &hooks[1].hook);
    event_loop_hook(f.loop, &hooks[EVENT_LOOP_HOOKS_MAX].hook);
    event_loop_round(f.loop, 0);
    assert_int_equal(hooks[1].runs, 1);
    assert_int_equal(hooks[EVENT_LOOP_HOOKS_MAX].runs, 1);
}

static void ignore(int signal)
{
    (void)signal;
}

TEST(event_loop, a_signal_ends_a_round_and_breaks_nothing)
{
    FIXTURE(f);
    struct sigaction action = {.sa_handler = ignore};
    assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
    struct itimerval soon = {.it_value.tv_usec = 10000};
    assert_int_equal(setitimer(ITIMER_REAL, &soon, NULL), 0);
    event_loop_round(f.loop, -1);
}
