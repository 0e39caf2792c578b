/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What upstreams say of their own limits, in headers and bodies. Pure: no
 * state, no clock; any thread. What cannot be read says nothing.
 */
#ifndef SLUICE_LIMIT_FEEDBACK_H
#define SLUICE_LIMIT_FEEDBACK_H

#include <stddef.h>
#include <stdint.h>

struct feedback_header {
	const char *name, *value;
};

/* A response, borrowed. */
struct feedback_response {
	int status;
	const struct feedback_header *headers;
	size_t header_count;
	const char *body;
	size_t body_len;
};

/* Of the credential that the request was made with. */
struct feedback {
	int64_t park_ms;	/* nothing for so long; 0: not said */
	int64_t left, left_ms;	/* at most so many more within that time; left_ms 0: not said, or far away */
};

#define FEEDBACK_MAX_MS (INT64_C(86400) * 1000)		/* longer is cut: it is said again */

/*
 * declared: enum sl_feedback, what the source's plugin says is to be obeyed.
 * now_ms: since 1970.
 */
struct feedback feedback_read(unsigned int declared, const struct feedback_response *response, int64_t now_ms);

/* Retry-After: seconds, or a date; 0 when value is neither or in the past. */
int64_t feedback_retry_after_ms(const char *value, int64_t now_ms);
/* Until the next midnight in California. */
int64_t feedback_midnight_ms(int64_t now_ms);

#endif
