/* SPDX-License-Identifier: Apache-2.0 */
#include "base/backoff.h"

#include "base/uuid.h"

void backoff_bound(struct backoff *backoff, int64_t first_ms, int64_t cap_ms)
{
	backoff->first_ms = first_ms < 1 ? 1 : first_ms;
	backoff->cap_ms = cap_ms < backoff->first_ms ? backoff->first_ms : cap_ms;
}

void backoff_init(struct backoff *backoff, int64_t first_ms, int64_t cap_ms)
{
	backoff_bound(backoff, first_ms, cap_ms);
	backoff->failures = 0;
}

int64_t backoff_next(struct backoff *backoff)
{
	int64_t delay = backoff->first_ms;

	for (unsigned int i = 0; i < backoff->failures && delay < backoff->cap_ms; i++)
		delay = delay > backoff->cap_ms / 2 ? backoff->cap_ms : delay * 2;
	backoff->failures++;
	return delay - (int64_t)(random_u64() % (uint64_t)(delay / 2 + 1));
}

void backoff_reset(struct backoff *backoff)
{
	backoff->failures = 0;
}
