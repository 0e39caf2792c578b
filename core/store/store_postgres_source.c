/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of sources. Loop thread. */
#include "store/postgres.h"

#include "store/source.h"

static const char *const statements[] = SOURCE_STATEMENTS(PG_NOW_MS);

struct sources {
	struct pg_request request;
	const char *change;		/* NULL: nothing is changed */
	const char *read;
	const char *values[SOURCE_VALUES_MAX];	/* of change; the first ones are of read, too */
	size_t change_count, read_count;
	struct store_source *rows;
	size_t count;
	store_sources_fn *done;
	void *user;
};

static void done(struct pg_request *request)
{
	struct sources *sources = (struct sources *)request;
	const PGresult *result = pg_batch(request)->results[sources->change != NULL ? 1 : 0];
	struct arena *arena = request->arena;

	sources->count = (size_t)PQntuples(result);
	sources->rows = arena_alloc(arena, (sources->count + 1) * sizeof(*sources->rows));
	for (int i = 0; i < PQntuples(result); i++)
		sources->rows[i] = (struct store_source){
			.source = pg_get_text(result, i, 0, arena),
			.handle = pg_get_text(result, i, 1, arena),
			.stopped = pg_get_int(result, i, 2) != 0,
			.reason = pg_get_text(result, i, 3, arena),
			.node = pg_get_text(result, i, 4, arena),
			.failures = pg_get_int(result, i, 5),
			.since_ms = pg_get_int(result, i, 6),
			.pause_ms = pg_get_int(result, i, 7),
			.probe_in_ms = pg_get_int(result, i, 8),
			.probe = pg_get_text(result, i, 9, arena),
		};
	request->wrote = sources->change != NULL;
	pg_finish(request);
}

static void start(struct pg_request *request)
{
	const struct sources *sources = (struct sources *)request;

	pg_add_limits(request);
	if (sources->change != NULL)
		pg_add_values(request, sources->change, sources->values, sources->change_count);
	pg_add_values(request, sources->read, sources->values, sources->read_count);
	pg_send(request, done);
}

static void answer(struct pg_request *request)
{
	struct sources *sources = (struct sources *)request;

	sources->done(sources->user, sources->rows, request->err.code == ERR_NONE ? sources->count : 0,
		      &request->err);
}

void pg_sources(struct store *store, size_t limit, store_sources_fn *done_fn, void *user)
{
	struct sources *sources = pg_request_new(store, sizeof(*sources), start, answer);

	sources->read = SOURCE_LIST(PG_NOW_MS);
	sources->values[0] = pg_int_text(sources->request.arena, (int64_t)limit);
	sources->read_count = 1;
	sources->done = done_fn;
	sources->user = user;
	pg_request_submit(&sources->request);
}

void pg_source_change(struct store *store, const struct store_source_change *change, store_sources_fn *done_fn,
		      void *user)
{
	struct sources *sources = pg_request_new(store, sizeof(*sources), start, answer);

	sources->change = statements[change->action];
	sources->change_count = source_values(sources->request.arena, change, sources->values);
	for (size_t i = 0; i < sources->change_count; i++)
		sources->values[i] = pg_clean(sources->request.arena, sources->values[i]);
	sources->read = SOURCE_ONE(PG_NOW_MS);
	if (sources->change_count == 1)
		sources->values[1] = "";
	sources->read_count = 2;
	sources->done = done_fn;
	sources->user = user;
	pg_request_submit(&sources->request);
}
