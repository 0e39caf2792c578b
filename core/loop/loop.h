/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One event loop per process (libuv behind this header): timers, file
 * descriptors, signals, and work that comes back from other threads. All of it
 * belongs to the thread that runs the loop, except where "any thread" is said.
 * Callbacks run one after the other and must not block.
 */
#ifndef SLUICE_LOOP_LOOP_H
#define SLUICE_LOOP_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;
struct loop_timer;
struct loop_fd;
struct loop_signal;
struct loop_queue;
struct loop_thread;

struct loop *loop_new(void);
/* Every handle must have been freed; asserts otherwise. Sets *loop to NULL. */
void loop_free(struct loop **loop);
/* Runs until loop_stop, or until nothing is left that could ever call back. */
void loop_run(struct loop *loop);
/* Runs what is due, waiting at most timeout_ms for the first event. */
void loop_run_once(struct loop *loop, int64_t timeout_ms);
void loop_stop(struct loop *loop);
/* Monotonic time at the start of this turn of the loop. */
int64_t loop_now_ms(const struct loop *loop);

/* --- timers --- */
typedef void loop_timer_fn(void *user);
/* A stopped timer. A handle may be freed inside its own callback. */
struct loop_timer *loop_timer_new(struct loop *loop, loop_timer_fn *fn, void *user);
/* Calls back once after delay_ms; every_ms > 0: and then every so often. Starting again replaces. */
void loop_timer_start(struct loop_timer *timer, int64_t delay_ms, int64_t every_ms);
void loop_timer_stop(struct loop_timer *timer);
bool loop_timer_active(const struct loop_timer *timer);
void loop_timer_free(struct loop_timer **timer);

/* --- file descriptors --- */
enum loop_events { LOOP_READ = 1, LOOP_WRITE = 2 };
/* events: which of LOOP_READ and LOOP_WRITE are ready; both on an error or hang-up. */
typedef void loop_fd_fn(void *user, int fd, unsigned int events);
/* fd stays the caller's and must outlive the handle. */
struct loop_fd *loop_fd_new(struct loop *loop, int fd, loop_fd_fn *fn, void *user);
void loop_fd_watch(struct loop_fd *handle, unsigned int events);	/* 0 = none */
void loop_fd_free(struct loop_fd **handle);

/* --- signals --- */
typedef void loop_signal_fn(void *user, int signum);
struct loop_signal *loop_signal_new(struct loop *loop, int signum, loop_signal_fn *fn, void *user);
void loop_signal_free(struct loop_signal **handle);

/*
 * A queue from any thread to the loop's. fn runs on the loop's thread for each
 * item in the order posted. Does not keep loop_run going unless keep is set.
 */
typedef void loop_item_fn(void *user, void *item);
struct loop_queue *loop_queue_new(struct loop *loop, loop_item_fn *fn, void *user, bool keep);
void loop_queue_post(struct loop_queue *queue, void *item);		/* any thread */
void loop_queue_free(struct loop_queue **queue);	/* items not delivered yet are dropped: the owner drains first */

/*
 * A thread that runs jobs one after the other; each comes back to the loop.
 * run: on the thread. done: on the loop, in the same order. take_more lets a
 * job serve several queued ones at once (group commit): it returns the next
 * queued job, or NULL, and may be called only inside run; those jobs' run is
 * not called, their done is.
 */
struct loop_job {
	void (*run)(struct loop_job *job, struct loop_thread *thread);
	void (*done)(struct loop_job *job);
	struct loop_job *next;		/* the thread's */
};
struct loop_thread *loop_thread_new(struct loop *loop, const char *name);
void loop_thread_submit(struct loop_thread *thread, struct loop_job *job);
struct loop_job *loop_thread_take_more(struct loop_thread *thread);
size_t loop_thread_queued(const struct loop_thread *thread);		/* submitted, done not called yet */
/* Finishes the queued jobs and delivers their done before it returns. */
void loop_thread_free(struct loop_thread **thread);

#endif
