/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of the timer. Two of them are only one node's: the active one, which holds
 * the store's lease for it. Nothing breaks when two believe to be it for a
 * moment: each step of theirs is a transaction that looks for itself. Loop thread.
 */
#ifndef SLUICE_TIMER_INTERNAL_H
#define SLUICE_TIMER_INTERNAL_H

#include <stdbool.h>

#include "base/error.h"

struct role;
struct store;

/* What the parts need of the timer; outlives them. */
struct timer_part {
	struct role *role;
	struct store *store;
	bool (*active)(void *user);		/* this node's timer still is the active one, and goes on */
	void (*made)(void *user, const char *flow);	/* tasks of the flow were made */
	void (*idle)(void *user);		/* after each answer of the store */
	void *user;
};

/* --- schedule.c: carrying out the schedules of flows.yaml --- */
struct schedules;
/* Before a store is opened: time zones need a process with one thread. */
struct schedules *schedules_new(const struct timer_part *part, struct error *err);
/*
 * Opens a store of their own, if there are any: what lasts, such as a query, must
 * not hold up the extension of the lease.
 */
int schedules_open(struct schedules *schedules, struct error *err);
/* Answers what waits: before anything that the answers use is gone. */
void schedules_close(struct schedules *schedules);
void schedules_free(struct schedules **schedules);
/* Each second, while active; restarted: since it last was, another may have been. */
void schedules_tick(struct schedules *schedules, bool restarted);
bool schedules_busy(const struct schedules *schedules);	/* an answer of the store is awaited */

/* --- sweep.c: removing tasks that ended long ago --- */
struct sweeper;
struct sweeper *sweeper_new(const struct timer_part *part);
void sweeper_free(struct sweeper **sweeper);
void sweeper_tick(struct sweeper *sweeper);	/* each second, while active */
bool sweeper_busy(const struct sweeper *sweeper);

/* --- sources.c: which sources are stopped or fail; on every node --- */
struct sources;
struct sources *sources_new(const struct timer_part *part);
void sources_free(struct sources **sources);
void sources_tick(struct sources *sources);	/* each second */
bool sources_busy(const struct sources *sources);

#endif
