/* SPDX-License-Identifier: Apache-2.0 */
/* See rate.h. */
#include "base/rate.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

#include "base/num.h"
#include "base/str.h"

static int parse_period(const char *text, int64_t *ms_r)
{
	static const struct {
		const char *name;
		int64_t ms;
	} one[] = {
		{"s", 1000}, {"second", 1000}, {"m", 60000}, {"min", 60000}, {"minute", 60000},
		{"h", 3600000}, {"hour", 3600000}, {"d", 86400000}, {"day", 86400000}
	};

	for (size_t i = 0; i < sizeof(one) / sizeof(one[0]); i++) {
		if (str_eq(text, one[i].name)) {
			*ms_r = one[i].ms;
			return 0;
		}
	}
	return num_parse_duration(text, ms_r);
}

int rate_parse(const char *text, struct rate *rate_r)
{
	const char *slash = strchr(text, '/');
	const char *burst = strstr(text, " burst ");
	size_t end = burst != NULL ? (size_t)(burst - text) : strlen(text);
	char count[32], period[32];

	*rate_r = (struct rate){0};
	if (slash == NULL || (size_t)(slash - text) >= end ||
	    !str_format(count, sizeof(count), "%.*s", (int)(slash - text), text) ||
	    !str_format(period, sizeof(period), "%.*s", (int)(text + end - slash - 1), slash + 1))
		return -1;
	if (!isdigit((unsigned char)*count) || num_parse_int(count, &rate_r->count) < 0 ||
	    rate_r->count < 1 || rate_r->count > RATE_COUNT_MAX)
		return -1;
	if (parse_period(period, &rate_r->period_ms) < 0 || rate_r->period_ms < 1 ||
	    rate_r->period_ms > RATE_PERIOD_MAX_MS)
		return -1;
	if (burst == NULL)
		return 0;
	burst += strlen(" burst ");
	return isdigit((unsigned char)*burst) && num_parse_int(burst, &rate_r->burst) == 0 &&
			       rate_r->burst >= 1 && rate_r->burst <= rate_r->count
		       ? 0
		       : -1;
}
