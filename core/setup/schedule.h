/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A flow's schedule made ready: when its slots come, and the tasks that one of
 * them makes. The timer carries schedules out, `sluicectl schedule run` one of
 * them at once. One thread.
 */
#ifndef SLUICE_SETUP_SCHEDULE_H
#define SLUICE_SETUP_SCHEDULE_H

#include <sluice/option.h>

#include "base/cron.h"
#include "store/store.h"

struct arena;
struct conf_flow;
struct items;
struct zone;

#define SCHEDULE_STEP 500	/* tasks made in one transaction */
#define SCHEDULE_ROWS 100000	/* that a query may give */

struct schedule {
	const struct conf_flow *flow;
	const struct zone *zone;
	const struct sl_option *options;	/* the flow's parameters */
	const char *spec;			/* cron and zone, as the store keeps them */
	const char *by_hand;			/* the name under which the store counts what was made by hand */
	struct cron cron;
};

/* For a flow with a schedule; in the arena. While there is one thread only (base/zone.h). */
int schedule_make(struct schedule *schedule, struct arena *arena, const struct conf_flow *flow, struct error *err);
/* The first slot after a moment of the wall clock, in ms; -1: there is none. */
int64_t schedule_next(const struct schedule *schedule, int64_t after_ms);
/* How much later than its time a slot is carried out: the same on every node, another one for each slot. */
int64_t schedule_delay(const struct schedule *schedule, int64_t slot_ms);

/* What tasks are made of. rows: what the schedule's query gave, if it has one. NULL and err when it cannot be read. */
struct items *schedule_items(const struct schedule *schedule, const char *rows, size_t len, struct error *err);
/* Passes over entries that are dealt with. */
void schedule_skip(struct items *items, int64_t count);
/*
 * Fills in what the next entries give: tasks, count, refused, the error of the
 * last that was wrong, last. slot_ms and from are there already. In the arena.
 */
void schedule_fill(const struct schedule *schedule, struct items *items, struct arena *arena, struct store_slot *step);

#endif
