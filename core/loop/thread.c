/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker thread: jobs go over under a mutex, come back through a loop_queue.
 * The loop's thread owns everything in struct loop_thread but the waiting list
 * and the stop flag, which the mutex guards, and taken, which is the thread's.
 */
#include "loop/loop.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/str.h"
#include "log/log.h"
#include "loop/internal.h"

struct job_list {
	struct loop_job *first, **last;
};

struct loop_thread {
	pthread_t id;
	pthread_mutex_t mutex;
	pthread_cond_t wake;
	struct job_list waiting;
	bool stopping;
	struct job_list taken;		/* served by the job that runs now */
	struct loop_queue *back;
	size_t queued;
};

static void list_init_empty(struct job_list *list)
{
	list->first = NULL;
	list->last = &list->first;
}

static void list_push(struct job_list *list, struct loop_job *job)
{
	job->next = NULL;
	*list->last = job;
	list->last = &job->next;
}

static struct loop_job *list_pop(struct job_list *list)
{
	struct loop_job *job = list->first;

	if (!job)
		return NULL;
	list->first = job->next;
	if (!list->first)
		list->last = &list->first;
	job->next = NULL;
	return job;
}

static struct loop_job *pop_waiting(struct loop_thread *thread)
{
	struct loop_job *job;

	pthread_mutex_lock(&thread->mutex);
	job = list_pop(&thread->waiting);
	pthread_mutex_unlock(&thread->mutex);
	return job;
}

/* As pop_waiting, but waits for one; NULL when the thread shall end. */
static struct loop_job *wait_for_job(struct loop_thread *thread)
{
	struct loop_job *job;

	pthread_mutex_lock(&thread->mutex);
	while (!(job = list_pop(&thread->waiting)) && !thread->stopping)
		pthread_cond_wait(&thread->wake, &thread->mutex);
	pthread_mutex_unlock(&thread->mutex);
	return job;
}

static void serve(struct loop_thread *thread, struct loop_job *job)
{
	struct loop_job *more;

	job->run(job, thread);
	/* The list is cut loose first: a job that is back may be gone. */
	more = thread->taken.first;
	list_init_empty(&thread->taken);
	loop_queue_post(thread->back, job);
	while (more) {
		struct loop_job *next = more->next;

		loop_queue_post(thread->back, more);
		more = next;
	}
}

static void *thread_main(void *user)
{
	struct loop_thread *thread = user;
	struct loop_job *job;

	while ((job = wait_for_job(thread)))
		serve(thread, job);
	return NULL;
}

/* done may free the thread: nothing is touched after it. */
static void on_back(void *user, void *item)
{
	struct loop_thread *thread = user;
	struct loop_job *job = item;

	if (--thread->queued == 0)
		queue_keep(thread->back, false);
	if (job->done)
		job->done(job);
}

struct loop_thread *loop_thread_new(struct loop *loop, const char *name)
{
	struct loop_thread *thread = mem_alloc(sizeof(*thread));
	sigset_t all, before;
	char short_name[16];
	int status;

	pthread_mutex_init(&thread->mutex, NULL);
	pthread_cond_init(&thread->wake, NULL);
	list_init_empty(&thread->waiting);
	list_init_empty(&thread->taken);
	thread->back = loop_queue_new(loop, on_back, thread, false);
	/* Signals are for the loop's thread. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	status = pthread_create(&thread->id, NULL, thread_main, thread);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (status != 0) {
		log_error("loop: cannot start the thread %s (error %d)", name, status);
		abort();
	}
	str_format(short_name, sizeof(short_name), "%s", name);
	pthread_setname_np(thread->id, short_name);
	return thread;
}

void loop_thread_submit(struct loop_thread *thread, struct loop_job *job)
{
	if (thread->queued++ == 0)
		queue_keep(thread->back, true);
	pthread_mutex_lock(&thread->mutex);
	list_push(&thread->waiting, job);
	pthread_cond_signal(&thread->wake);
	pthread_mutex_unlock(&thread->mutex);
}

struct loop_job *loop_thread_take_more(struct loop_thread *thread)
{
	struct loop_job *job = pop_waiting(thread);

	if (job)
		list_push(&thread->taken, job);
	return job;
}

size_t loop_thread_queued(const struct loop_thread *thread)
{
	return thread->queued;
}

void loop_thread_free(struct loop_thread **handle)
{
	struct loop_thread *thread = *handle;
	struct loop_job *job;

	if (!thread)
		return;
	pthread_mutex_lock(&thread->mutex);
	thread->stopping = true;
	pthread_cond_signal(&thread->wake);
	pthread_mutex_unlock(&thread->mutex);
	pthread_join(thread->id, NULL);
	/* A done may have submitted another job: the thread is gone, so it is served here. */
	for (;;) {
		if (queue_deliver_one(thread->back))
			continue;
		job = pop_waiting(thread);
		if (!job)
			break;
		serve(thread, job);
	}
	loop_queue_free(&thread->back);
	pthread_cond_destroy(&thread->wake);
	pthread_mutex_destroy(&thread->mutex);
	mem_free(handle);
}
