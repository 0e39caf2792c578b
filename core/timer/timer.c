/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One process per node, one thread: asks the store once a second which flows
 * have ready tasks and has the supervisor nudge their workers, puts expired
 * leases back and makes due tasks ready.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "conf/model.h"
#include "json/jwrite.h"
#include "log/log.h"
#include "loop/loop.h"
#include "metrics/metrics.h"
#include "store/store.h"
#include "timer/timer.h"

#define POLL_MS 1000
#define COMPLAIN_MS 60000
#define MEASURE_MS 5000
#define CALM_MS 5000		/* workers that hear nothing for twice as long ask the store themselves */

struct timer {
	struct role *role;
	struct store *store;
	struct loop_timer *tick;
	int64_t complained_ms;
	int64_t calm_ms;		/* when all workers were last told that somebody asks for them */
	int64_t rescue_from_ms;		/* loop time: no lease counts as expired before */
	bool asking, rescuing, measuring, trouble;
	int64_t measured_ms;
};

static void complain(struct timer *timer, const char *what, const struct error *err)
{
	timer->trouble = true;
	if (log_limited(&timer->complained_ms, COMPLAIN_MS))
		log_warning("%s: %s", what, err->text);
}

static void finish_drain(struct timer *timer)
{
	if (timer->role->draining && !timer->asking && !timer->rescuing && !timer->measuring)
		role_finished(timer->role);
}

/* While the store was away nobody could extend a lease: everybody gets one more before any counts as expired. */
static void note_answer(struct timer *timer)
{
	if (timer->trouble)
		timer->rescue_from_ms = loop_now_ms(timer->role->loop) + timer->role->conf->lease_ms;
	timer->trouble = false;
}

static void rescue(struct timer *timer);

/* The flows of these rows have tasks that are ready. */
static void nudge(struct timer *timer, const struct store_depth *rows, size_t count)
{
	struct buf message;
	struct jwrite w;

	buf_init(&message);
	jwrite_init(&w, &message);
	jwrite_object(&w, NULL);
	jwrite_array(&w, "nudge");
	for (size_t i = 0; i < count; i++)
		jwrite_string(&w, NULL, rows[i].name);
	jwrite_end(&w);
	jwrite_end(&w);
	role_send(timer->role, message.data);
	buf_fini(&message);
}

static void on_ready(void *user, const struct store_depth *rows, size_t count, const struct error *err)
{
	struct timer *timer = user;

	timer->asking = false;
	if (err->code != ERR_NONE)
		complain(timer, "asking for ready tasks", err);
	else
		note_answer(timer);
	if (count > 0)
		nudge(timer, rows, count);
	if (err->code == ERR_NONE && loop_now_ms(timer->role->loop) - timer->calm_ms >= CALM_MS) {
		timer->calm_ms = loop_now_ms(timer->role->loop);
		nudge(timer, NULL, 0);
	}
	finish_drain(timer);
}

static void on_rescued(void *user, int64_t count, const struct error *err)
{
	struct timer *timer = user;

	timer->rescuing = false;
	if (err->code != ERR_NONE)
		complain(timer, "housekeeping", err);
	else
		note_answer(timer);
	if (count > 0) {
		metric_add(METRIC_RESCUED, (uint64_t)count);
		/* It stops at a few hundred rows: there may be more. */
		rescue(timer);
	}
	finish_drain(timer);
}

static void rescue(struct timer *timer)
{
	/* After trouble the other question comes first: with its answer the leases' time begins. */
	if (timer->rescuing || timer->trouble || timer->role->draining ||
	    loop_now_ms(timer->role->loop) < timer->rescue_from_ms)
		return;
	timer->rescuing = true;
	store_rescue(timer->store, on_rescued, timer);
}

static void on_outbox_bytes(void *user, int64_t bytes, const struct error *err)
{
	struct timer *timer = user;

	timer->measuring = false;
	if (err->code == ERR_NONE)
		metric_set(METRIC_OUTBOX_WAITING, bytes > 0 ? (uint64_t)bytes : 0);
	finish_drain(timer);
}

static void measure(struct timer *timer)
{
	int64_t now = loop_now_ms(timer->role->loop);

	if (timer->measuring || now - timer->measured_ms < MEASURE_MS)
		return;
	timer->measured_ms = now;
	timer->measuring = true;
	store_outbox_bytes(timer->store, on_outbox_bytes, timer);
}

static void on_tick(void *user)
{
	struct timer *timer = user;

	if (timer->role->draining)
		return;
	rescue(timer);
	measure(timer);
	if (!timer->asking) {
		timer->asking = true;
		store_ready(timer->store, on_ready, timer);
	}
}

/* Somebody submitted tasks. The poll is what counts; this only comes sooner. */
static void on_hint(void *user, const char *flow)
{
	const struct store_depth row = {.name = flow};

	if (flow != NULL)
		nudge(user, &row, 1);
}

static int start(struct role *role, struct error *err)
{
	struct timer *timer = mem_alloc(sizeof(*timer));

	role->state = timer;
	timer->role = role;
	timer->store = role_open_store(role, err);
	if (timer->store == NULL)
		return -1;
	store_listen(timer->store, on_hint, timer);
	timer->tick = loop_timer_new(role->loop, on_tick, timer);
	loop_timer_start(timer->tick, 0, POLL_MS);
	return 0;
}

static void drain(struct role *role)
{
	finish_drain(role->state);
}

static void stop(struct role *role)
{
	struct timer *timer = role->state;

	loop_timer_free(&timer->tick);
	store_close(&timer->store);
	mem_release(timer);
}

const struct role_def timer_role = {
	.name = "timer",
	.plugins = false,
	.start = start,
	.drain = drain,
	.stop = stop
};
