/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tasks.keep: a pass over all tasks every few minutes, in small steps with a
 * pause between them. A task's events do not need its row: they stay in the
 * outbox until they have arrived, whatever becomes of it. Before each pass,
 * failures go that no flow has to remember any more.
 */
#include <inttypes.h>

#include "base/arena.h"
#include "base/clock.h"
#include "conf/model.h"
#include "log/log.h"
#include "loop/loop.h"
#include "metrics/metrics.h"
#include "role/role.h"
#include "store/store.h"
#include "timer/internal.h"

#define PASS_MS (10 * 60000)
#define AGAIN_MS 60000		/* after an error */
#define PAUSE_MS 100
#define TELL_MS 60000

struct sweeper {
	const struct timer_part *part;
	struct store_sweep sweep;
	struct store_forget forget;
	bool forgetting;		/* of the pass: failures first, then tasks */
	struct loop_timer *pause;
	bool passing, asking;
	int64_t next_ms;		/* loop time of the next pass */
	int64_t removed, forgotten;	/* in this pass */
	int64_t told_ms, complained_ms;
};

static void end_pass(struct sweeper *sweeper, int64_t again_ms)
{
	sweeper->passing = false;
	sweeper->next_ms = loop_now_ms(sweeper->part->role->loop) + again_ms;
	if (sweeper->removed > 0)
		log_info("old tasks removed tasks=%" PRId64, sweeper->removed);
	if (sweeper->forgotten > 0)
		log_info("old failures forgotten failures=%" PRId64, sweeper->forgotten);
}

static void complain(struct sweeper *sweeper, const char *what, const struct error *err)
{
	if (log_limited(&sweeper->complained_ms, TELL_MS))
		log_warning("%s: %s", what, err->text);
	end_pass(sweeper, AGAIN_MS);
}

static void on_swept(void *user, const struct error *err)
{
	struct sweeper *sweeper = user;

	sweeper->asking = false;
	if (err->code != ERR_NONE) {
		complain(sweeper, "removing old tasks", err);
	} else {
		metric_add(METRIC_TASKS_REMOVED, (uint64_t)sweeper->sweep.removed);
		sweeper->removed += sweeper->sweep.removed;
		if (sweeper->sweep.over)
			end_pass(sweeper, PASS_MS);
		else if (!sweeper->part->active(sweeper->part->user))
			end_pass(sweeper, 0);
		else
			loop_timer_start(sweeper->pause, PAUSE_MS, 0);
		if (sweeper->passing && sweeper->removed > 0 && log_limited(&sweeper->told_ms, TELL_MS))
			log_info("removing old tasks tasks=%" PRId64 " up_to=%" PRId64, sweeper->removed,
				 sweeper->sweep.after_id);
	}
	sweeper->part->idle(sweeper->part->user);
}

static void on_forgotten(void *user, int64_t count, const struct error *err)
{
	struct sweeper *sweeper = user;
	bool tasks = sweeper->sweep.complete_before_ms > 0 || sweeper->sweep.failed_before_ms > 0;

	sweeper->asking = false;
	if (err->code != ERR_NONE) {
		complain(sweeper, "forgetting old failures", err);
	} else {
		sweeper->forgotten += count;
		sweeper->forgetting = count > 0;
		if (sweeper->forgetting || tasks)
			loop_timer_start(sweeper->pause, PAUSE_MS, 0);
		else
			end_pass(sweeper, PASS_MS);
	}
	sweeper->part->idle(sweeper->part->user);
}

static void step(void *user)
{
	struct sweeper *sweeper = user;

	if (!sweeper->part->active(sweeper->part->user)) {
		end_pass(sweeper, 0);
		return;
	}
	sweeper->asking = true;
	if (sweeper->forgetting)
		store_forget(sweeper->part->store, &sweeper->forget, on_forgotten, sweeper);
	else
		store_sweep(sweeper->part->store, &sweeper->sweep, on_swept, sweeper);
}

void sweeper_tick(struct sweeper *sweeper)
{
	const struct conf_model *conf = sweeper->part->role->conf;
	int64_t now = clock_wall_ms();

	if (sweeper->passing || loop_now_ms(sweeper->part->role->loop) < sweeper->next_ms)
		return;
	sweeper->sweep = (struct store_sweep){
		.complete_before_ms = conf->keep_complete_ms > 0 ? now - conf->keep_complete_ms : 0,
		.failed_before_ms = conf->keep_failed_ms > 0 ? now - conf->keep_failed_ms : 0};
	sweeper->forget = (struct store_forget){.over_ms = now};
	sweeper->passing = sweeper->forgetting = true;
	sweeper->removed = sweeper->forgotten = 0;
	step(sweeper);
}

bool sweeper_busy(const struct sweeper *sweeper)
{
	return sweeper->asking;
}

struct sweeper *sweeper_new(const struct timer_part *part)
{
	struct sweeper *sweeper = mem_alloc(sizeof(*sweeper));

	sweeper->part = part;
	sweeper->pause = loop_timer_new(part->role->loop, step, sweeper);
	return sweeper;
}

void sweeper_free(struct sweeper **sweeper)
{
	if (*sweeper == NULL)
		return;
	loop_timer_free(&(*sweeper)->pause);
	mem_free(sweeper);
}
