/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One process per node: asks the store once a second which flows have ready tasks
 * and has the supervisor nudge their workers, and tells them which sources fail. One of the nodes' timers, whose the
 * lease is, also puts expired leases back, makes due tasks ready, carries out
 * schedules and removes old tasks.
 */
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "conf/model.h"
#include "json/jwrite.h"
#include "log/log.h"
#include "loop/loop.h"
#include "metrics/metrics.h"
#include "store/store.h"
#include "timer/internal.h"
#include "timer/timer.h"

#define POLL_MS 1000
#define COMPLAIN_MS 60000
#define MEASURE_MS 5000
#define LEASE_NAME "timer"
#define MARGIN_MS 500		/* the lease is taken to end so much earlier than the store says */
#define CALM_MS 15000		/* workers that hear nothing for twice as long ask the store themselves */

struct timer {
	struct role *role;
	struct store *store;
	struct loop_timer *tick;
	int64_t complained_ms;
	int64_t calm_ms;		/* when all workers were last told that somebody asks for them */
	int64_t rescue_from_ms;		/* loop time: no lease counts as expired before */
	bool asking, rescuing, measuring, trouble;
	const char *node;		/* under which name the lease is held: another process of this node goes on with it */
	bool holding;			/* asked for the lease, or gives it back */
	bool active, leaving;
	bool fresh;			/* active anew: what others did is to be read */
	int64_t held_until_ms, hold_asked_ms;	/* boot clock */
	struct timer_part part;
	struct schedules *schedules;
	struct sweeper *sweeper;
	struct sources *sources;
	int64_t measured_ms;
};

static void complain(struct timer *timer, const char *what, const struct error *err)
{
	timer->trouble = true;
	if (log_limited(&timer->complained_ms, COMPLAIN_MS))
		log_warning("%s: %s", what, err->text);
}

static void give_back(struct timer *timer);

static void finish_drain(struct timer *timer)
{
	if (!timer->role->draining || timer->asking || timer->rescuing || timer->measuring || timer->holding ||
	    schedules_busy(timer->schedules) || sweeper_busy(timer->sweeper) || sources_busy(timer->sources))
		return;
	if (timer->active && !timer->leaving && !timer->trouble)
		give_back(timer);
	else
		role_finished(timer->role);
}

/* --- what one of the nodes does --- */

static bool is_active(void *user)
{
	struct timer *timer = user;

	return timer->active && !timer->role->draining && clock_boot_ms() < timer->held_until_ms;
}

static void set_active(struct timer *timer, bool active)
{
	if (timer->active != active)
		log_info(active ? "this node's timer is the active one" : "another node's timer is the active one");
	timer->active = active;
	metric_set(METRIC_TIMER_ACTIVE, active);
}

static void on_given_back(void *user, int64_t count, const struct error *err)
{
	struct timer *timer = user;

	(void)count;
	(void)err;		/* it ends by itself, then */
	timer->holding = false;
	finish_drain(timer);
}

static void give_back(struct timer *timer)
{
	timer->leaving = timer->holding = true;
	store_hold(timer->store, LEASE_NAME, timer->node, 1, on_given_back, timer);
}

static void on_held(void *user, int64_t count, const struct error *err)
{
	struct timer *timer = user;

	timer->holding = false;
	if (err->code != ERR_NONE) {
		complain(timer, "asking for the timers' lease", err);
	} else {
		if (count > 0)
			timer->held_until_ms = timer->hold_asked_ms + timer->role->conf->timer_lease_ms - MARGIN_MS;
		timer->fresh = timer->fresh || (count > 0 && !timer->active);
		set_active(timer, count > 0);
	}
	finish_drain(timer);
}

/* Extended every third of it; others ask as often. */
static void hold(struct timer *timer)
{
	int64_t now = clock_boot_ms();

	if (timer->active && now >= timer->held_until_ms)
		set_active(timer, false);
	if (timer->holding || (timer->hold_asked_ms > 0 && now - timer->hold_asked_ms < timer->role->conf->timer_lease_ms / 3))
		return;
	timer->holding = true;
	timer->hold_asked_ms = now;
	store_hold(timer->store, LEASE_NAME, timer->node, timer->role->conf->timer_lease_ms, on_held, timer);
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
	if (timer->rescuing || timer->trouble || !is_active(timer) ||
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
	hold(timer);
	rescue(timer);
	if (is_active(timer)) {
		if (!schedules_busy(timer->schedules)) {
			schedules_tick(timer->schedules, timer->fresh);
			timer->fresh = false;
		}
		sweeper_tick(timer->sweeper);
	}
	measure(timer);
	sources_tick(timer->sources);
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

static void on_made(void *user, const char *flow)
{
	const struct store_depth row = {.name = flow};

	nudge(user, &row, 1);
}

static void on_idle(void *user)
{
	finish_drain(user);
}

static const char *node_name(const struct role *role)
{
	char host[256] = "";

	gethostname(host, sizeof(host) - 1);
	return arena_printf(role->arena, "%s:%s", host, role->conf->state);
}

static int start(struct role *role, struct error *err)
{
	struct timer *timer = mem_alloc(sizeof(*timer));

	role->state = timer;
	timer->role = role;
	timer->node = node_name(role);
	timer->part = (struct timer_part){.role = role, .active = is_active, .made = on_made, .idle = on_idle, .user = timer};
	/* Before the store begins its thread: see base/zone.h. */
	timer->schedules = schedules_new(&timer->part, err);
	if (timer->schedules == NULL)
		return -1;
	timer->store = timer->part.store = role_open_store(role, err);
	if (timer->store == NULL)
		return -1;
	timer->sweeper = sweeper_new(&timer->part);
	timer->sources = sources_new(&timer->part);
	if (schedules_open(timer->schedules, err) < 0)
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
	schedules_close(timer->schedules);
	store_close(&timer->store);
	sweeper_free(&timer->sweeper);
	sources_free(&timer->sources);
	schedules_free(&timer->schedules);
	mem_release(timer);
}

const struct role_def timer_role = {
	.name = "timer",
	.plugins = false,
	.start = start,
	.drain = drain,
	.stop = stop
};
