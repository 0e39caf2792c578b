/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of sources. Store thread, but for the functions that make the requests. */
#include "store/sqlite.h"

#include "store/source.h"

#define NOW "CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER)"

static const char *const statements[] = SOURCE_STATEMENTS(NOW);

struct sources {
	struct sqlite_request request;
	struct source_query query;
};

/* Columns of numbers turn texts into such. */
static sqlite3_stmt *bound(struct sqlite_db *db, const char *sql, const char *const *values, size_t count,
			   struct error *err)
{
	sqlite3_stmt *statement = sqlite_prepared(db, err, sql);
	char name[] = "$0";

	for (size_t i = 0; statement != NULL && i < count; i++) {
		name[1] = (char)('1' + i);
		if (sqlite3_bind_text(statement, sqlite3_bind_parameter_index(statement, name), values[i], -1,
				      SQLITE_STATIC) != SQLITE_OK) {
			sqlite_error(db, err, "binding");
			return NULL;
		}
	}
	return statement;
}

static void add_row(struct source_query *query, struct arena *arena, sqlite3_stmt *statement)
{

	query->rows = arena_grow(arena, query->rows, query->count, sizeof(*query->rows));
	query->rows[query->count++] = (struct store_source){
		.source = sqlite_text(statement, 0, arena),
		.handle = sqlite_text(statement, 1, arena),
		.stopped = sqlite3_column_int(statement, 2) != 0,
		.reason = sqlite_text(statement, 3, arena),
		.node = sqlite_text(statement, 4, arena),
		.failures = sqlite3_column_int64(statement, 5),
		.since_ms = sqlite3_column_int64(statement, 6),
		.pause_ms = sqlite3_column_int64(statement, 7),
		.probe_in_ms = sqlite3_column_int64(statement, 8),
		.probe = sqlite_text(statement, 9, arena),
	};
}

static int run(struct sqlite_db *db, struct sqlite_request *request, struct error *err)
{
	struct source_query *query = &((struct sources *)request)->query;
	sqlite3_stmt *statement;
	int rc;

	if (query->change != NULL) {
		statement = bound(db, query->change, query->values, query->change_count, err);
		if (statement == NULL || sqlite_step(db, statement, err) < 0)
			return -1;
	}
	query->count = 0;
	statement = bound(db, query->read, query->values, query->read_count, err);
	if (statement == NULL)
		return -1;
	while ((rc = sqlite_step(db, statement, err)) > 0)
		add_row(query, request->arena, statement);
	return rc;
}

static void answer(struct sqlite_request *request)
{
	source_answer(&((struct sources *)request)->query, &request->err);
}

void sqlite_sources(struct store *store, size_t limit, store_sources_fn *done, void *user)
{
	struct sources *sources = sqlite_request_new(store, sizeof(*sources), false, run, answer);

	source_list(&sources->query, SOURCE_LIST(NOW), sources->request.arena, limit, done, user);
	sqlite_request_submit(&sources->request);
}

void sqlite_source_change(struct store *store, const struct store_source_change *change, store_sources_fn *done,
			  void *user)
{
	struct sources *sources = sqlite_request_new(store, sizeof(*sources), true, run, answer);

	source_change(&sources->query, statements, SOURCE_ONE(NOW), sources->request.arena, change, done, user);
	sqlite_request_submit(&sources->request);
}
