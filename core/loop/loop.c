/* SPDX-License-Identifier: Apache-2.0 */
/* The loop, its timers, descriptors and signals, and the queue other threads post to. Only core/loop includes uv.h. */
#include "loop/loop.h"

#include <pthread.h>
#include <stdlib.h>
#include <uv.h>

#include "base/arena.h"
#include "base/clock.h"
#include "log/log.h"
#include "loop/internal.h"

struct loop {
	uv_loop_t uv;
	uv_timer_t limit;	/* bounds loop_run_once */
	bool once;		/* inside loop_run_once */
};

/* Every handle: uv first, so that the pointer closes and frees alike. */
struct loop_timer {
	uv_timer_t uv;
	loop_timer_fn *fn;
	void *user;
};

struct loop_fd {
	uv_poll_t uv;
	loop_fd_fn *fn;
	void *user;
	int fd;
	unsigned int events;
};

struct loop_signal {
	uv_signal_t uv;
	loop_signal_fn *fn;
	void *user;
};

struct item {
	struct item *next;
	void *value;
};

struct loop_queue {
	uv_async_t uv;
	loop_item_fn *fn;
	void *user;
	pthread_mutex_t mutex;		/* guards the list */
	struct item *first, **last;
	size_t count;
};

/* libuv refuses only what is a bug of ours (a closed descriptor) or a system out of descriptors. */
static void must(int status, const char *what)
{
	if (status >= 0)
		return;
	log_error("loop: %s: %s", what, uv_strerror(status));
	abort();
}

/* --- the loop --- */

struct loop *loop_new(void)
{
	struct loop *loop = mem_alloc(sizeof(*loop));

	must(uv_loop_init(&loop->uv), "cannot create the event loop");
	must(uv_timer_init(&loop->uv, &loop->limit), "cannot create a timer");
	return loop;
}

void loop_free(struct loop **loop)
{
	if (!*loop)
		return;
	uv_close((uv_handle_t *)&(*loop)->limit, NULL);
	/* Freed handles are given back by a turn of the loop; the first may only clear an earlier loop_stop. */
	for (int turn = 0; turn < 2; turn++)
		uv_run(&(*loop)->uv, UV_RUN_NOWAIT);
	must(uv_loop_close(&(*loop)->uv), "handles were left open");
	mem_free(loop);
}

void loop_run(struct loop *loop)
{
	uv_run(&loop->uv, UV_RUN_DEFAULT);
}

static void on_limit(uv_timer_t *timer)
{
	(void)timer;	/* having woken the loop is all it is for */
}

void loop_run_once(struct loop *loop, int64_t timeout_ms)
{
	if (timeout_ms <= 0) {
		uv_run(&loop->uv, UV_RUN_NOWAIT);
		return;
	}
	uv_update_time(&loop->uv);
	uv_timer_start(&loop->limit, on_limit, (uint64_t)timeout_ms, 0);
	loop->once = true;
	uv_run(&loop->uv, UV_RUN_ONCE);
	loop->once = false;
	uv_timer_stop(&loop->limit);
}

void loop_stop(struct loop *loop)
{
	uv_stop(&loop->uv);
}

int64_t loop_now_ms(const struct loop *loop)
{
	return (int64_t)uv_now(&loop->uv);
}

static void on_closed(uv_handle_t *handle)
{
	mem_release(handle);
}

/* --- timers --- */

static void on_timer(uv_timer_t *uv)
{
	struct loop_timer *timer = (struct loop_timer *)uv;

	/* libuv would go on and wait for a descriptor, although something was due. */
	if (((struct loop *)uv->loop)->once)
		uv_stop(uv->loop);
	timer->fn(timer->user);
}

struct loop_timer *loop_timer_new(struct loop *loop, loop_timer_fn *fn, void *user)
{
	struct loop_timer *timer = mem_alloc(sizeof(*timer));

	must(uv_timer_init(&loop->uv, &timer->uv), "cannot create a timer");
	timer->fn = fn;
	timer->user = user;
	return timer;
}

void loop_timer_start(struct loop_timer *timer, int64_t delay_ms, int64_t every_ms)
{
	/* libuv counts from the start of this turn; a callback that took long must not make a timer early. */
	int64_t late = clock_mono_ms() - (int64_t)uv_now(timer->uv.loop);
	int64_t delay = (delay_ms < 0 ? 0 : delay_ms) + (late < 0 ? 0 : late);

	uv_timer_start(&timer->uv, on_timer, (uint64_t)delay, every_ms > 0 ? (uint64_t)every_ms : 0);
}

void loop_timer_stop(struct loop_timer *timer)
{
	uv_timer_stop(&timer->uv);
}

bool loop_timer_active(const struct loop_timer *timer)
{
	return uv_is_active((const uv_handle_t *)&timer->uv) != 0;
}

void loop_timer_free(struct loop_timer **timer)
{
	if (!*timer)
		return;
	uv_close((uv_handle_t *)&(*timer)->uv, on_closed);
	*timer = NULL;
}

/* --- file descriptors --- */

static void on_poll(uv_poll_t *uv, int status, int events);

static void poll_apply(struct loop_fd *handle)
{
	int events = (handle->events & LOOP_READ ? UV_READABLE : 0) | (handle->events & LOOP_WRITE ? UV_WRITABLE : 0);

	if (events)
		must(uv_poll_start(&handle->uv, events, on_poll), "cannot watch a descriptor");
	else
		uv_poll_stop(&handle->uv);
}

static void on_poll(uv_poll_t *uv, int status, int events)
{
	struct loop_fd *handle = (struct loop_fd *)uv;
	unsigned int ready = (events & UV_READABLE ? LOOP_READ : 0) | (events & UV_WRITABLE ? LOOP_WRITE : 0);

	if (status < 0) {
		/* libuv stops watching after an error; here that is the callback's decision. */
		poll_apply(handle);
		ready = LOOP_READ | LOOP_WRITE;
	}
	handle->fn(handle->user, handle->fd, ready);
}

struct loop_fd *loop_fd_new(struct loop *loop, int fd, loop_fd_fn *fn, void *user)
{
	struct loop_fd *handle = mem_alloc(sizeof(*handle));

	must(uv_poll_init(&loop->uv, &handle->uv, fd), "cannot watch a descriptor");
	handle->fn = fn;
	handle->user = user;
	handle->fd = fd;
	return handle;
}

void loop_fd_watch(struct loop_fd *handle, unsigned int events)
{
	if (handle->events == events)
		return;
	handle->events = events;
	poll_apply(handle);
}

void loop_fd_free(struct loop_fd **handle)
{
	if (!*handle)
		return;
	uv_close((uv_handle_t *)&(*handle)->uv, on_closed);
	*handle = NULL;
}

/* --- signals --- */

static void on_signal(uv_signal_t *uv, int signum)
{
	struct loop_signal *handle = (struct loop_signal *)uv;

	handle->fn(handle->user, signum);
}

struct loop_signal *loop_signal_new(struct loop *loop, int signum, loop_signal_fn *fn, void *user)
{
	struct loop_signal *handle = mem_alloc(sizeof(*handle));

	must(uv_signal_init(&loop->uv, &handle->uv), "cannot watch a signal");
	must(uv_signal_start(&handle->uv, on_signal, signum), "cannot watch a signal");
	handle->fn = fn;
	handle->user = user;
	return handle;
}

void loop_signal_free(struct loop_signal **handle)
{
	if (!*handle)
		return;
	uv_close((uv_handle_t *)&(*handle)->uv, on_closed);
	*handle = NULL;
}

/* --- the queue --- */

static struct item *queue_pop(struct loop_queue *queue)
{
	struct item *item;

	pthread_mutex_lock(&queue->mutex);
	item = queue->first;
	if (item) {
		queue->first = item->next;
		if (!queue->first)
			queue->last = &queue->first;
		queue->count--;
	}
	pthread_mutex_unlock(&queue->mutex);
	return item;
}

bool queue_deliver_one(struct loop_queue *queue)
{
	struct item *item = queue_pop(queue);
	void *value;

	if (!item)
		return false;
	value = item->value;
	mem_release(item);
	queue->fn(queue->user, value);
	return true;
}

static void on_async(uv_async_t *uv)
{
	struct loop_queue *queue = (struct loop_queue *)uv;
	size_t due;

	pthread_mutex_lock(&queue->mutex);
	due = queue->count;
	pthread_mutex_unlock(&queue->mutex);
	/* What is posted meanwhile waits for the next turn, so that a busy thread cannot starve the timers. */
	while (due-- > 0 && !uv_is_closing((uv_handle_t *)uv) && queue_deliver_one(queue))
		;
	if (uv_is_closing((uv_handle_t *)uv))
		return;
	pthread_mutex_lock(&queue->mutex);
	if (queue->count > 0)
		uv_async_send(uv);
	pthread_mutex_unlock(&queue->mutex);
}

struct loop_queue *loop_queue_new(struct loop *loop, loop_item_fn *fn, void *user, bool keep)
{
	struct loop_queue *queue = mem_alloc(sizeof(*queue));

	must(uv_async_init(&loop->uv, &queue->uv, on_async), "cannot create a queue");
	queue->fn = fn;
	queue->user = user;
	queue->last = &queue->first;
	pthread_mutex_init(&queue->mutex, NULL);
	queue_keep(queue, keep);
	return queue;
}

void queue_keep(struct loop_queue *queue, bool keep)
{
	if (keep)
		uv_ref((uv_handle_t *)&queue->uv);
	else
		uv_unref((uv_handle_t *)&queue->uv);
}

void loop_queue_post(struct loop_queue *queue, void *value)
{
	struct item *item = mem_alloc(sizeof(*item));

	item->value = value;
	pthread_mutex_lock(&queue->mutex);
	*queue->last = item;
	queue->last = &item->next;
	queue->count++;
	/* Under the mutex: once the item can be seen its receiver may free the queue. */
	uv_async_send(&queue->uv);
	pthread_mutex_unlock(&queue->mutex);
}

static void on_queue_closed(uv_handle_t *handle)
{
	struct loop_queue *queue = (struct loop_queue *)handle;
	struct item *item;

	while ((item = queue_pop(queue)))
		mem_release(item);
	pthread_mutex_destroy(&queue->mutex);
	mem_release(queue);
}

void loop_queue_free(struct loop_queue **queue)
{
	if (!*queue)
		return;
	uv_close((uv_handle_t *)&(*queue)->uv, on_queue_closed);
	*queue = NULL;
}
