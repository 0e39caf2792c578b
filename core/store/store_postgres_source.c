/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of sources. Loop thread. */
#include "store/postgres.h"

#include "store/source.h"

static const char *const statements[] = SOURCE_STATEMENTS(PG_NOW_MS);

struct sources {
	struct pg_request request;
	struct source_query query;
};

static void done(struct pg_request *request)
{
	struct source_query *query = &((struct sources *)request)->query;
	const PGresult *result = pg_batch(request)->results[query->change != NULL ? 1 : 0];
	struct arena *arena = request->arena;

	query->count = (size_t)PQntuples(result);
	query->rows = arena_alloc(arena, (query->count + 1) * sizeof(*query->rows));
	for (int i = 0; i < PQntuples(result); i++)
		query->rows[i] = (struct store_source){
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
	request->wrote = query->change != NULL;
	pg_finish(request);
}

static void start(struct pg_request *request)
{
	const struct source_query *query = &((struct sources *)request)->query;
	struct pg_param params[SOURCE_VALUES_MAX];

	pg_add_limits(request);
	for (size_t i = 0; i < SOURCE_VALUES_MAX; i++)
		params[i] = pg_text(query->values[i]);
	if (query->change != NULL)
		pg_add_params(request, query->change, params, query->change_count);
	pg_add_params(request, query->read, params, query->read_count);
	pg_send(request, done);
}

static void answer(struct pg_request *request)
{
	source_answer(&((struct sources *)request)->query, &request->err);
}

void pg_sources(struct store *store, size_t limit, store_sources_fn *done_fn, void *user)
{
	struct sources *sources = pg_request_new(store, sizeof(*sources), start, answer);

	source_list(&sources->query, SOURCE_LIST(PG_NOW_MS), sources->request.arena, limit, done_fn, user);
	pg_request_submit(&sources->request);
}

void pg_source_change(struct store *store, const struct store_source_change *change, store_sources_fn *done_fn,
		      void *user)
{
	struct sources *sources = pg_request_new(store, sizeof(*sources), start, answer);
	struct source_query *query = &sources->query;

	source_change(query, statements, SOURCE_ONE(PG_NOW_MS), sources->request.arena, change, done_fn, user);
	for (size_t i = 0; i < query->change_count; i++)
		query->values[i] = pg_clean(sources->request.arena, query->values[i]);
	pg_request_submit(&sources->request);
}
