/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Schedules as cron writes them: "MINUTE HOUR DAY MONTH WEEKDAY", with an
 * optional field of seconds before them, or @hourly, @daily (@midnight),
 * @weekly, @monthly, @yearly (@annually). A field is "*", a number, a name (JAN,
 * MON; any case), a range a-b, each with an optional /step, or several with
 * commas; a/step goes from a to the field's end. Weekdays are 0 to 7, Sunday is
 * both. When neither DAY nor WEEKDAY begins with "*", one of them has to match,
 * else both.
 *
 * When clocks change, a schedule whose MINUTE or HOUR begins with "*" goes by
 * the wall clock as it runs: it has no slots in an hour that is left out, and
 * its slots twice in one that comes twice. Any other schedule is for fixed times
 * of a day: what falls into an hour that is left out comes right after it, once;
 * in an hour that comes twice only the first counts.
 *
 * Pure. Any thread.
 */
#ifndef SLUICE_BASE_CRON_H
#define SLUICE_BASE_CRON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct zone;
struct cron {			/* a bit for each value that matches */
	uint64_t seconds, minutes;
	uint32_t hours, days, months, weekdays;
	bool either;		/* day or weekday is enough */
	bool runs;		/* goes by the clock as it runs: minute or hour begins with "*" */
};

/* 0, or -1 and ERR_INPUT saying which field is wrong. */
int cron_parse(struct cron *cron, const char *text, struct error *err);
/* The first slot after the second after_s of UTC; -1: there is none within 40 years (30 February). */
int64_t cron_next(const struct cron *cron, const struct zone *zone, int64_t after_s);

#endif
