/* SPDX-License-Identifier: Apache-2.0 */
/* core/loop: order of timers, descriptors, signals, queues and threads. Nothing here depends on how fast it runs. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <pthread.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/clock.h"
#include "loop/loop.h"

struct seen {
	struct loop *loop;
	struct loop_timer *timer, *other;
	struct loop_fd *fd;
	struct loop_signal *signal;
	struct loop_queue *queue;
	struct loop_thread *thread;
	int count, last;
	unsigned int events;
};

static void stop_after_three(void *user)
{
	struct seen *seen = user;

	if (++seen->count == 3)
		loop_timer_stop(seen->timer);
}

static void free_both(void *user)
{
	struct seen *seen = user;

	seen->last = seen->count;
	loop_timer_free(&seen->other);
}

static void timers_repeat_stop_and_free_themselves(void **state)
{
	struct seen seen = {0};
	int64_t start;

	(void)state;
	seen.loop = loop_new();
	seen.timer = loop_timer_new(seen.loop, stop_after_three, &seen);
	seen.other = loop_timer_new(seen.loop, free_both, &seen);
	assert_false(loop_timer_active(seen.timer));
	start = clock_mono_ms();
	loop_timer_start(seen.timer, 5, 5);
	loop_timer_start(seen.other, 40, 0);
	assert_true(loop_timer_active(seen.timer));
	loop_run(seen.loop);
	assert_int_equal(seen.count, 3);
	assert_int_equal(seen.last, 3);
	assert_null(seen.other);
	assert_true(clock_mono_ms() - start >= 39);
	loop_timer_free(&seen.timer);
	loop_free(&seen.loop);
	assert_null(seen.loop);
}

static void run_once_waits_no_longer_than_told(void **state)
{
	struct loop *loop = loop_new();
	int64_t start = clock_mono_ms();

	(void)state;
	loop_run_once(loop, 20);
	assert_true(clock_mono_ms() - start >= 19);
	loop_run_once(loop, 0);
	assert_true(loop_now_ms(loop) >= start);
	loop_stop(loop);
	loop_free(&loop);
}

static void run_once_ends_after_a_due_timer(void **state)
{
	struct seen seen = {.loop = loop_new()};
	int64_t start = clock_mono_ms();

	(void)state;
	seen.other = loop_timer_new(seen.loop, free_both, &seen);
	loop_timer_start(seen.other, 0, 0);
	while (seen.other)
		loop_run_once(seen.loop, 60000);
	assert_true(clock_mono_ms() - start < 60000);
	loop_free(&seen.loop);
}

static void on_readable(void *user, int fd, unsigned int events)
{
	struct seen *seen = user;
	char byte;

	seen->events |= events;
	if (read(fd, &byte, 1) == 1)
		seen->count++;
	else
		loop_fd_free(&seen->fd);
}

static void descriptors_tell_data_and_hangup(void **state)
{
	struct seen seen = {0};
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	seen.loop = loop_new();
	seen.fd = loop_fd_new(seen.loop, ends[0], on_readable, &seen);
	loop_fd_watch(seen.fd, LOOP_READ);
	assert_int_equal(write(ends[1], "abc", 3), 3);
	close(ends[1]);
	loop_run(seen.loop);
	assert_int_equal(seen.count, 3);
	assert_true(seen.events & LOOP_READ);
	assert_null(seen.fd);
	close(ends[0]);
	loop_free(&seen.loop);
}

static void on_broken(void *user, int fd, unsigned int events)
{
	struct seen *seen = user;

	(void)fd;
	seen->events = events;
	if (++seen->count == 2)
		loop_fd_free(&seen->fd);
}

static void an_error_is_told_until_it_is_handled(void **state)
{
	struct seen seen = {0};
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	close(ends[0]);
	seen.loop = loop_new();
	seen.fd = loop_fd_new(seen.loop, ends[1], on_broken, &seen);
	loop_fd_watch(seen.fd, LOOP_READ);
	loop_run(seen.loop);
	assert_int_equal(seen.count, 2);
	assert_int_equal(seen.events, LOOP_READ | LOOP_WRITE);
	close(ends[1]);
	loop_free(&seen.loop);
}

static void on_signal(void *user, int signum)
{
	struct seen *seen = user;

	seen->last = signum;
	loop_signal_free(&seen->signal);
}

static void signals_arrive_on_the_loop(void **state)
{
	struct seen seen = {0};

	(void)state;
	seen.loop = loop_new();
	seen.signal = loop_signal_new(seen.loop, SIGUSR1, on_signal, &seen);
	raise(SIGUSR1);
	assert_int_equal(seen.last, 0);
	loop_run(seen.loop);
	assert_int_equal(seen.last, SIGUSR1);
	loop_free(&seen.loop);
}

#define ITEMS 20000

static void on_item(void *user, void *item)
{
	struct seen *seen = user;

	assert_int_equal((int)(intptr_t)item, seen->last + 1);
	seen->last = (int)(intptr_t)item;
	if (seen->last == ITEMS)
		loop_queue_free(&seen->queue);
}

static void *post_many(void *user)
{
	struct loop_queue *queue = user;

	for (int i = 1; i <= ITEMS; i++)
		loop_queue_post(queue, (void *)(intptr_t)i);
	return NULL;
}

static void a_queue_delivers_in_order_from_another_thread(void **state)
{
	struct seen seen = {0};
	pthread_t thread;

	(void)state;
	seen.loop = loop_new();
	seen.queue = loop_queue_new(seen.loop, on_item, &seen, true);
	assert_int_equal(pthread_create(&thread, NULL, post_many, seen.queue), 0);
	loop_run(seen.loop);
	pthread_join(thread, NULL);
	assert_int_equal(seen.last, ITEMS);
	loop_free(&seen.loop);
}

static void a_queue_that_does_not_keep_the_loop_lets_it_end(void **state)
{
	struct seen seen = {0};

	(void)state;
	seen.loop = loop_new();
	seen.queue = loop_queue_new(seen.loop, on_item, &seen, false);
	loop_run(seen.loop);
	loop_queue_post(seen.queue, (void *)(intptr_t)1);
	while (seen.last == 0)
		loop_run_once(seen.loop, 10000);
	loop_queue_post(seen.queue, (void *)(intptr_t)2);
	loop_queue_free(&seen.queue);
	loop_free(&seen.loop);
	assert_int_equal(seen.last, 1);
}

struct counted_job {
	struct loop_job job;
	struct seen *seen;
	int number, served_by;
	bool again;
};

static void job_run(struct loop_job *job, struct loop_thread *thread)
{
	struct counted_job *first = (struct counted_job *)job;
	struct loop_job *more;

	first->served_by = first->number;
	for (int i = 0; i < 3 && (more = loop_thread_take_more(thread)); i++)
		((struct counted_job *)more)->served_by = first->number;
}

static void job_done(struct loop_job *job)
{
	struct counted_job *counted = (struct counted_job *)job;

	assert_int_equal(counted->number, counted->seen->last + 1);
	assert_in_range(counted->served_by, counted->number > 3 ? counted->number - 3 : 1, counted->number);
	counted->seen->last++;
	if (counted->again) {
		counted->again = false;
		counted->number = counted->seen->count += 1;
		loop_thread_submit(counted->seen->thread, job);
	}
}

static void a_thread_returns_jobs_in_order_also_those_taken_together(void **state)
{
	static struct counted_job jobs[500];
	struct seen seen = {0};

	(void)state;
	memset(jobs, 0, sizeof(jobs));
	seen.loop = loop_new();
	seen.thread = loop_thread_new(seen.loop, "a name longer than fifteen");
	for (int i = 0; i < 500; i++) {
		jobs[i].job = (struct loop_job){.run = job_run, .done = job_done};
		jobs[i].seen = &seen;
		jobs[i].number = i + 1;
		loop_thread_submit(seen.thread, &jobs[i].job);
	}
	assert_int_equal(loop_thread_queued(seen.thread), 500);
	loop_run(seen.loop);	/* ends by itself: an idle thread keeps nothing going */
	assert_int_equal(seen.last, 500);
	assert_int_equal(loop_thread_queued(seen.thread), 0);
	loop_thread_free(&seen.thread);
	loop_free(&seen.loop);
}

static void freeing_a_thread_finishes_its_jobs_and_theirs(void **state)
{
	static struct counted_job jobs[50];
	struct seen seen = {.count = 50};

	(void)state;
	memset(jobs, 0, sizeof(jobs));
	seen.loop = loop_new();
	seen.thread = loop_thread_new(seen.loop, "test");
	for (int i = 0; i < 50; i++) {
		jobs[i].job = (struct loop_job){.run = job_run, .done = job_done};
		jobs[i].seen = &seen;
		jobs[i].number = i + 1;
		jobs[i].again = i % 10 == 0;
		loop_thread_submit(seen.thread, &jobs[i].job);
	}
	loop_thread_free(&seen.thread);
	assert_int_equal(seen.last, 55);
	assert_null(seen.thread);
	loop_free(&seen.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timers_repeat_stop_and_free_themselves),
		cmocka_unit_test(run_once_waits_no_longer_than_told),
		cmocka_unit_test(run_once_ends_after_a_due_timer),
		cmocka_unit_test(descriptors_tell_data_and_hangup),
		cmocka_unit_test(an_error_is_told_until_it_is_handled),
		cmocka_unit_test(signals_arrive_on_the_loop),
		cmocka_unit_test(a_queue_delivers_in_order_from_another_thread),
		cmocka_unit_test(a_queue_that_does_not_keep_the_loop_lets_it_end),
		cmocka_unit_test(a_thread_returns_jobs_in_order_also_those_taken_together),
		cmocka_unit_test(freeing_a_thread_finishes_its_jobs_and_theirs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
