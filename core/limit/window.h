/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limiter's algorithm: a window that slides in slices. Pure: time comes in
 * as an argument, in microseconds of whatever clock the driver has; no memory
 * of its own. redis.lua says the same in Lua; tests/contract/limit_test.c holds
 * the two together.
 *
 * THE PROMISE. Of a rule N/T never more than N are granted in any window of
 * length T, whatever the costs and the pauses between them.
 *
 * HOW. Time is cut into slices of width w = ceil(T / 20), counted from time 0;
 * what is granted is added to the slice of its time. A request of cost c at
 * time t is granted when the S newest slices (the one of t and those before
 * it) hold N - c or less, where S = ceil((T - 1) / w) + 1, which is at most 21.
 *
 * WHY IT HOLDS. Take any window [a, a + T) and the last grant in it, at time t.
 * Whatever else was granted in the window was granted earlier, at T - 1 ticks
 * before t at most, and an interval of T ticks touches at most
 * ceil((T - 1) / w) + 1 = S slices. So all of it stood in the S slices that
 * were added up when t was granted, and with t's own cost came to N at most.
 * Nothing leaves a slice but what was granted and given back unused.
 * What moves between slices (another period, a clock set back) moves to later
 * ones, so it counts for longer, never shorter.
 *
 * WHAT IT COSTS. A grant counts for S * w instead of T, that is up to one
 * slice longer: under steady demand N are granted in every T * 21/20, which is
 * 95 % of the budget. (A token bucket that keeps the promise has to split N
 * into burst and rate, with burst + rate * T <= N: 95 % of the rate would leave
 * a burst of 5 % of N, so that of 20000 a day 1000 could be used in the first
 * hour, and of 5 a second none at once. Here all of N may be used at any time.)
 *
 * BURST. "N/T burst B" is two rules, N/T and B in T * B/N: at most B at once,
 * then at the pace of N/T.
 *
 * AFTER A LOSS. A record that is older than `since` (the time at which the
 * store was found to have lost what it knew) counts as fully used then: a
 * period of up to ten minutes as if all of N had been taken at that moment,
 * so that the promise holds across the loss. A longer one as if N had been
 * taken evenly over the last T: it goes on at its own pace rather than stand
 * still for a day. Across that one loss a window may then hold more than N: what
 * was used before it, and N * x/T in the x after it. There is never a second burst.
 */
#ifndef SLUICE_LIMIT_WINDOW_H
#define SLUICE_LIMIT_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rate.h"

#define LIMIT_SLICES 21
#define LIMIT_WINDOWS_MAX 6
#define LIMIT_STRICT_US (INT64_C(600) * 1000000)	/* AFTER A LOSS: longer periods are spread */

struct limit_rule {
	int64_t count, period_us;
};

struct limit_window {
	int64_t period_us;
	int64_t asked_us;		/* last grant under a rule of this period */
	int64_t newest;			/* number of the newest slice */
	uint32_t used[LIMIT_SLICES];	/* newest first */
	uint32_t unused;
};

/* All that is known of one key. Zeroed: nothing was ever taken. */
struct limit_record {
	int64_t since_us;		/* complete since then */
	int64_t parked_us;		/* nothing before then */
	int64_t cap_until_us, cap_since_us, cap_left;	/* at most cap_left more until then */
	uint32_t window_count, unused;
	struct limit_window windows[LIMIT_WINDOWS_MAX];
};

/* What rates mean as rules; a burst makes a second one. -1: more than LIMIT_WINDOWS_MAX. */
int limit_rules(const struct rate *rates, size_t count, struct limit_rule rules[LIMIT_WINDOWS_MAX],
		size_t *count_r);

/*
 * How long until cost can be granted, microseconds; 0 = now. Brings the record
 * up to now (and since_us): a copy, which is kept when the cost is taken.
 * Every rule's count must be cost or more.
 */
int64_t limit_record_wait(struct limit_record *record, const struct limit_rule *rules, size_t count,
			  int64_t cost, int64_t since_us, int64_t now_us);
/* Takes cost; right after limit_record_wait of the same arguments returned 0. */
void limit_record_take(struct limit_record *record, const struct limit_rule *rules, size_t count,
		       int64_t cost, int64_t now_us);
/* Gives back amount of what was taken at taken_us; never more than is known of that time. */
void limit_record_refund(struct limit_record *record, int64_t amount, int64_t taken_us, int64_t now_us);
/*
 * What was taken at taken_us is used only now, and counts from now on. (It stays in
 * every window it was in but the oldest, so no later grant sees less than before.)
 */
void limit_record_move(struct limit_record *record, int64_t amount, int64_t taken_us, int64_t now_us);
/* Nothing before until_us; never shortens. */
void limit_record_park(struct limit_record *record, int64_t until_us);
/* At most left more until then. Only lowers: news that leaves more than is known already changes nothing. */
void limit_record_lower(struct limit_record *record, int64_t left, int64_t until_us, int64_t now_us);
/* So many bytes of it are in use; the rest need not be copied. */
size_t limit_record_size(const struct limit_record *record);
/* From then on the record says no more than a zeroed one. */
int64_t limit_record_expires(const struct limit_record *record);

#endif
