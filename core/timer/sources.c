/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which sources are stopped or fail, as all nodes know it: read every two seconds on
 * every node and passed on to its workers, so that they need not ask.
 */
#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "log/log.h"
#include "loop/loop.h"
#include "metrics/metrics.h"
#include "role/role.h"
#include "role/sources.h"
#include "store/store.h"
#include "timer/internal.h"

#define ASK_MS 1900		/* every second tick */
#define AGAIN_MS 30000		/* that all is well is told so often, lest it got lost */
#define COMPLAIN_MS 60000

struct sources {
	const struct timer_part *part;
	bool asking;
	bool told_some;			/* the last message named some */
	int64_t asked_ms;		/* boot clock */
	int64_t told_ms, complained_ms;
};

static void tell(struct sources *sources, const struct store_source *rows, size_t count)
{
	struct buf message;

	sources->told_ms = clock_boot_ms();
	sources->told_some = count > 0;
	buf_init(&message);
	role_sources_write(&message, rows, count, sources->asked_ms);
	role_send(sources->part->role, message.data);
	buf_fini(&message);
}

static void on_sources(void *user, const struct store_source *rows, size_t count, const struct error *err)
{
	struct sources *sources = user;
	size_t open = 0;

	sources->asking = false;
	if (err->code != ERR_NONE) {
		if (log_limited(&sources->complained_ms, COMPLAIN_MS))
			log_warning("reading which sources fail: %s", err->text);
	} else {
		for (size_t i = 0; i < count; i++)
			open += !rows[i].stopped;
		metric_set(METRIC_BREAKERS_OPEN, open);
		if (count > 0 || sources->told_some || clock_boot_ms() - sources->told_ms >= AGAIN_MS)
			tell(sources, rows, count);
	}
	sources->part->idle(sources->part->user);
}

void sources_tick(struct sources *sources)
{
	if (sources->asking || clock_boot_ms() - sources->asked_ms < ASK_MS)
		return;
	sources->asking = true;
	sources->asked_ms = clock_boot_ms();
	store_sources(sources->part->store, SOURCES_MAX, on_sources, sources);
}

bool sources_busy(const struct sources *sources)
{
	return sources->asking;
}

struct sources *sources_new(const struct timer_part *part)
{
	struct sources *sources = mem_alloc(sizeof(*sources));

	sources->part = part;
	return sources;
}

void sources_free(struct sources **sources)
{
	mem_free(sources);
}
