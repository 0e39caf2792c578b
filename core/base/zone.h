/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A time zone as a table: what clocks there show from when on. The C library
 * knows one zone per process, named by the environment, so a table is made once
 * by walking that zone, before there is a second thread; all questions are then
 * answered from the table, by any thread. It reaches ZONE_YEARS into the
 * future; beyond that the last offset goes on.
 */
#ifndef SLUICE_BASE_ZONE_H
#define SLUICE_BASE_ZONE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define ZONE_YEARS 25

struct arena;
struct zone_change {
	int64_t at_s;			/* from this second of UTC on … */
	int64_t offset_s;		/* … a wall clock shows UTC plus this */
};
struct zone {
	const struct zone_change *changes;	/* the first counts for all time before it too; at least one */
	size_t count;
};

/*
 * The zone of this name of the system's tables ("Asia/Kolkata"), or "UTC", which
 * needs none. In the arena, good for times from a year before now_s on. Changes
 * the process's environment and puts it back: only while there is one thread.
 * NULL and ERR_INPUT when there is no such zone.
 */
const struct zone *zone_load(struct arena *arena, const char *name, int64_t now_s, struct error *err);
/* What is to be added to the second utc_s to have what a wall clock shows. */
int64_t zone_offset(const struct zone *zone, int64_t utc_s);
/* The first change after utc_s; INT64_MAX: none. */
int64_t zone_next_change(const struct zone *zone, int64_t utc_s);
/*
 * When a wall clock shows wall_s (as seconds, as if it were UTC): the first time
 * if it does so twice, the moment of the change if it never does.
 */
int64_t zone_instant(const struct zone *zone, int64_t wall_s);

#endif
