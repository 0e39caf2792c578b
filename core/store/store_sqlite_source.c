/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of sources. Store thread, but for the functions that make the requests. */
#include "store/sqlite.h"

#include "store/source.h"

#define NOW "CAST((julianday('now') - 2440587.5) * 86400000 + 0.5 AS INTEGER)"

static const char *const statements[] = SOURCE_STATEMENTS(NOW);

struct sources {
	struct sqlite_request request;
	const char *change;		/* NULL: nothing is changed */
	const char *read;
	const char *values[SOURCE_VALUES_MAX];	/* of change; the first ones are of read, too */
	size_t change_count, read_count;
	struct store_source *rows;
	size_t count;
	store_sources_fn *done;
	void *user;
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

static void add_row(struct sources *sources, sqlite3_stmt *statement)
{
	struct arena *arena = sources->request.arena;

	sources->rows = arena_grow(arena, sources->rows, sources->count, sizeof(*sources->rows));
	sources->rows[sources->count++] = (struct store_source){
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
	struct sources *sources = (struct sources *)request;
	sqlite3_stmt *statement;
	int rc;

	if (sources->change != NULL) {
		statement = bound(db, sources->change, sources->values, sources->change_count, err);
		if (statement == NULL || sqlite_step(db, statement, err) < 0)
			return -1;
	}
	sources->count = 0;
	statement = bound(db, sources->read, sources->values, sources->read_count, err);
	if (statement == NULL)
		return -1;
	while ((rc = sqlite_step(db, statement, err)) > 0)
		add_row(sources, statement);
	return rc;
}

static void answer(struct sqlite_request *request)
{
	struct sources *sources = (struct sources *)request;

	sources->done(sources->user, sources->rows, request->err.code == ERR_NONE ? sources->count : 0,
		      &request->err);
}

void sqlite_sources(struct store *store, size_t limit, store_sources_fn *done, void *user)
{
	struct sources *sources = sqlite_request_new(store, sizeof(*sources), false, run, answer);

	sources->read = SOURCE_LIST(NOW);
	sources->values[0] = arena_printf(sources->request.arena, "%zu", limit);
	sources->read_count = 1;
	sources->done = done;
	sources->user = user;
	sqlite_request_submit(&sources->request);
}

void sqlite_source_change(struct store *store, const struct store_source_change *change, store_sources_fn *done,
			  void *user)
{
	struct sources *sources = sqlite_request_new(store, sizeof(*sources), true, run, answer);

	sources->change = statements[change->action];
	sources->change_count = source_values(sources->request.arena, change, sources->values);
	sources->read = SOURCE_ONE(NOW);
	if (sources->change_count == 1)
		sources->values[1] = "";
	sources->read_count = 2;
	sources->done = done;
	sources->user = user;
	sqlite_request_submit(&sources->request);
}
