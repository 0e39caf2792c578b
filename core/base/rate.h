/* SPDX-License-Identifier: Apache-2.0 */
/* Rates as people write them: "100/30s", "850/min", "20000/day burst 50". Any thread. */
#ifndef SLUICE_BASE_RATE_H
#define SLUICE_BASE_RATE_H

#include <stdint.h>

#define RATE_COUNT_MAX 100000000
#define RATE_PERIOD_MAX_MS (INT64_C(366) * 86400000)

/* At most count in any time of period_ms; and, burst > 0, at most so many at once. */
struct rate {
	int64_t count, period_ms;
	int64_t burst;		/* 0: none given */
};

/*
 * "N/T" or "N/T burst B": 1 <= B <= N <= RATE_COUNT_MAX; T is a duration (30s,
 * 10m) of 1 ms to 366 days, or one second, min, hour, day. Returns 0, or -1
 * when text (all of it) is no rate.
 */
int rate_parse(const char *text, struct rate *rate_r);

#endif
