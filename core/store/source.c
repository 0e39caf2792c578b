/* SPDX-License-Identifier: Apache-2.0 */
/* What drivers do alike when asked of sources. Any thread. */
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

/* The values of the statement's parameters; how many. */
static size_t change_values(struct arena *arena, const struct store_source_change *change,
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

void source_list(struct source_query *query, const char *read, struct arena *arena, size_t limit,
		 store_sources_fn *done, void *user)
{
	*query = (struct source_query){.read = read, .read_count = 1, .done = done, .user = user};
	query->values[0] = number(arena, (int64_t)limit);
}

void source_change(struct source_query *query, const char *const *statements, const char *read, struct arena *arena,
		   const struct store_source_change *change, store_sources_fn *done, void *user)
{
	*query = (struct source_query){
		.change = statements[change->action], .read = read, .read_count = 2, .done = done, .user = user};
	query->change_count = change_values(arena, change, query->values);
	if (query->change_count == 1)
		query->values[1] = "";
}

void source_answer(const struct source_query *query, const struct error *err)
{
	query->done(query->user, query->rows, err->code == ERR_NONE ? query->count : 0, err);
}
