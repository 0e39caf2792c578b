/* SPDX-License-Identifier: Apache-2.0 */
/* The values that changes of what is known of a source are written with. Any thread. */
#include "store/source.h"

#include "base/arena.h"

static const char *number(struct arena *arena, int64_t value)
{
	return arena_printf(arena, "%lld", (long long)value);
}

static const char *text(struct arena *arena, const char *value)
{
	return value != NULL ? arena_strdup(arena, value) : NULL;
}

size_t source_values(struct arena *arena, const struct store_source_change *change,
		     const char *values_r[SOURCE_VALUES_MAX])
{
	size_t count = 0;

	values_r[count++] = text(arena, change->source);
	if (change->action == STORE_SOURCE_START)
		return count;
	values_r[count++] = text(arena, change->handle);
	switch (change->action) {
	case STORE_SOURCE_OPEN:
	case STORE_SOURCE_STOP:
		values_r[count++] = text(arena, change->reason);
		values_r[count++] = text(arena, change->node);
		if (change->action == STORE_SOURCE_STOP)
			break;
		values_r[count++] = number(arena, change->failures);
		values_r[count++] = number(arena, change->ms);
		break;
	case STORE_SOURCE_PROBE:
	case STORE_SOURCE_FAILED:
		values_r[count++] = text(arena, change->token);
		values_r[count++] = number(arena, change->ms);
		if (change->action == STORE_SOURCE_FAILED)
			values_r[count++] = text(arena, change->reason);
		break;
	case STORE_SOURCE_LEAVE:
		values_r[count++] = text(arena, change->token);
		break;
	case STORE_SOURCE_CLOSE:
	case STORE_SOURCE_START:
		break;
	}
	return count;
}
