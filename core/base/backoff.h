/* SPDX-License-Identifier: Apache-2.0 */
/* Exponential back-off with full jitter on the upper half: delays in [d/2, d], d doubling from first to cap. */
#ifndef SLUICE_BASE_BACKOFF_H
#define SLUICE_BASE_BACKOFF_H

#include <stdint.h>

struct backoff {
	int64_t first_ms, cap_ms;
	unsigned int failures;
};

void backoff_init(struct backoff *backoff, int64_t first_ms, int64_t cap_ms);
/* Other bounds for what comes; failures stay counted. A zeroed one may be given bounds by it too. */
void backoff_bound(struct backoff *backoff, int64_t first_ms, int64_t cap_ms);
/* Counts one more failure and returns how long to wait. */
int64_t backoff_next(struct backoff *backoff);
void backoff_reset(struct backoff *backoff);

#endif
