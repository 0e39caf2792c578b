/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The schema of the SQLite store: numbered migrations as data, and the tables
 * that plugins declare. Runs while the store is opened, before its thread has
 * work.
 */
#include "store/sqlite.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"

/*
 * Appended to, never changed. The partial indexes hold only rows that are in
 * the state they serve, so that finding work costs the same at any depth.
 */
static const struct store_migration migrations[] = {
	{"tasks, outbox and dead letters",
	 "CREATE TABLE store_meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
	 "CREATE TABLE scrape_request_log ("
	 "	id INTEGER PRIMARY KEY AUTOINCREMENT,"
	 "	idempotency_key TEXT,"
	 "	platform TEXT,"
	 "	source TEXT,"
	 "	account_id TEXT,"
	 "	flow TEXT NOT NULL,"
	 "	status TEXT NOT NULL,"
	 "	priority INTEGER NOT NULL DEFAULT 1,"
	 "	params TEXT NOT NULL,"
	 "	data TEXT,"
	 "	created_at TEXT NOT NULL,"
	 "	scraped_at TEXT,"
	 "	expires_at TEXT,"
	 "	picked_at TEXT,"
	 "	retry_count INTEGER NOT NULL DEFAULT 1,"
	 "	reason TEXT,"
	 "	attempt INTEGER NOT NULL DEFAULT 0,"
	 "	max_attempts INTEGER NOT NULL,"
	 "	crashes INTEGER NOT NULL DEFAULT 0,"
	 "	crashes_alone INTEGER NOT NULL DEFAULT 0,"
	 "	alone INTEGER NOT NULL DEFAULT 0,"
	 "	run_after INTEGER,"
	 "	lease_until INTEGER,"
	 "	lease_token INTEGER,"
	 "	commit_seq INTEGER NOT NULL DEFAULT 0,"
	 "	checkpoint TEXT,"
	 "	worker TEXT,"
	 "	error_code TEXT,"
	 "	unique_key TEXT);"
	 "CREATE UNIQUE INDEX task_idempotency ON scrape_request_log (idempotency_key)"
	 "	WHERE idempotency_key IS NOT NULL;"
	 "CREATE INDEX task_ready ON scrape_request_log (flow, priority, id)"
	 "	WHERE status = 'PENDING' AND run_after IS NULL AND crashes < 2;"
	 "CREATE INDEX task_alone ON scrape_request_log (flow, priority, id)"
	 "	WHERE status = 'PENDING' AND run_after IS NULL AND crashes >= 2;"
	 "CREATE INDEX task_due ON scrape_request_log (run_after, flow)"
	 "	WHERE status = 'PENDING' AND run_after IS NOT NULL;"
	 "CREATE INDEX task_lease ON scrape_request_log (lease_until, flow) WHERE status = 'PROCESSING';"
	 "CREATE INDEX task_expiry ON scrape_request_log (expires_at)"
	 "	WHERE status = 'PENDING' AND expires_at IS NOT NULL;"
	 "CREATE INDEX task_failed ON scrape_request_log (flow, id) WHERE status = 'FAILED';"
	 "CREATE UNIQUE INDEX task_unique ON scrape_request_log (flow, unique_key)"
	 "	WHERE unique_key IS NOT NULL AND status IN ('PENDING', 'PROCESSING');"
	 "CREATE TABLE task_total (flow TEXT, status TEXT, tasks INTEGER NOT NULL,"
	 "	PRIMARY KEY (flow, status)) WITHOUT ROWID;"
	 "CREATE TABLE flow_total (flow TEXT PRIMARY KEY, requests INTEGER NOT NULL, events INTEGER NOT NULL)"
	 "	WITHOUT ROWID;"
	 "CREATE TABLE outbox ("
	 "	id INTEGER PRIMARY KEY AUTOINCREMENT,"
	 "	queue TEXT NOT NULL,"
	 "	events INTEGER NOT NULL,"
	 "	bytes INTEGER NOT NULL,"
	 "	created_ms INTEGER NOT NULL,"
	 "	payload TEXT NOT NULL);"
	 "CREATE INDEX outbox_queue ON outbox (queue, id);"
	 "CREATE TABLE outbox_total (queue TEXT PRIMARY KEY, events INTEGER NOT NULL, waiting_rows INTEGER "
	 "NOT NULL,"
	 "	waiting_events INTEGER NOT NULL, waiting_bytes INTEGER NOT NULL) WITHOUT ROWID;"
	 "CREATE TABLE dead_letter ("
	 "	id INTEGER PRIMARY KEY AUTOINCREMENT,"
	 "	queue TEXT NOT NULL,"
	 "	dedup_id TEXT NOT NULL,"
	 "	payload TEXT NOT NULL,"
	 "	reason TEXT,"
	 "	code TEXT,"
	 "	first_at TEXT NOT NULL,"
	 "	last_at TEXT NOT NULL,"
	 "	count INTEGER NOT NULL,"
	 "	UNIQUE (queue, dedup_id));"},
	{"shards of the outbox, and who does what only one may do",
	 "ALTER TABLE outbox ADD COLUMN shard INTEGER;"
	 "DROP INDEX outbox_queue;"
	 "CREATE INDEX outbox_queue ON outbox (queue, id) WHERE shard IS NULL;"
	 "CREATE INDEX outbox_shard ON outbox (shard, id) WHERE shard IS NOT NULL;"
	 "CREATE TABLE hold (name TEXT PRIMARY KEY, holder TEXT NOT NULL, until INTEGER NOT NULL) WITHOUT ROWID;"
	 "CREATE TABLE relay (name TEXT PRIMARY KEY, alive_until INTEGER NOT NULL) WITHOUT ROWID;"
	 "CREATE TABLE relay_shard (shard INTEGER PRIMARY KEY, holder TEXT, token INTEGER NOT NULL DEFAULT 0,"
	 "	lease_until INTEGER NOT NULL DEFAULT 0, sending TEXT NOT NULL DEFAULT '');"
	 "INSERT INTO relay_shard (shard) VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11),"
	 "	(12), (13), (14), (15);"},
};

#define NEWEST ((int64_t)(sizeof(migrations) / sizeof(migrations[0])))

/* The schema's version; 0 for an empty file. */
static int read_version(struct sqlite_db *db, int64_t *version_r, struct error *err)
{
	int64_t there;

	*version_r = 0;
	if (sqlite_integer(db, &there, err, "SELECT 1 FROM sqlite_schema WHERE name = 'schema_migration'",
			   "") < 0)
		return -1;
	if (there == 0)
		return 0;
	return sqlite_integer(db, version_r, err, "SELECT max(version) FROM schema_migration", "");
}

/* Under the lock: does the next migration that is missing, if any. 1 = done one, 0 = none was missing. */
static int migrate_one(struct sqlite_db *db, struct error *err)
{
	char now[CLOCK_TEXT_SIZE], id[UUID_TEXT_SIZE];
	int64_t version;

	if (read_version(db, &version, err) < 0)
		return -1;
	if (version >= NEWEST)
		return 0;
	if (version == 0 &&
	    sqlite_script(db,
			  "CREATE TABLE schema_migration (version INTEGER PRIMARY KEY, name TEXT NOT NULL,"
			  " applied_at TEXT NOT NULL)",
			  err) < 0)
		return -1;
	if (sqlite_script(db, migrations[version].sql, err) < 0)
		return -1;
	if (version == 0 &&
	    sqlite_run(db, err, "INSERT INTO store_meta (name, value) VALUES ('store_id', ?1)", "t",
		       uuid_random(id)) < 0)
		return -1;
	if (sqlite_run(db, err,
		       "INSERT INTO schema_migration (version, name, applied_at) VALUES (?1, ?2, ?3)", "itt",
		       version + 1, migrations[version].name, clock_format_ms(now, clock_wall_ms())) < 0)
		return -1;
	return 1;
}

static int migrate(struct sqlite_db *db, struct error *err)
{
	int rc = 1;

	while (rc > 0) {
		if (sqlite_begin(db, err) < 0)
			return -1;
		rc = migrate_one(db, err);
		if (rc < 0)
			sqlite_rollback(db);
		else if (sqlite_commit(db, err) < 0)
			rc = -1;
	}
	return rc;
}

int sqlite_schema_open(struct sqlite_db *db, bool create, char id_r[UUID_TEXT_SIZE], struct error *err)
{
	sqlite3_stmt *statement;
	int64_t version;

	if (read_version(db, &version, err) < 0)
		return -1;
	if (store_check_version(version, NEWEST, create, err) < 0)
		return -1;
	if (version < NEWEST && migrate(db, err) < 0)
		return -1;
	statement = sqlite_query(db, err, "SELECT value FROM store_meta WHERE name = 'store_id'", "");
	if (statement == NULL)
		return -1;
	switch (sqlite_step(db, statement, err)) {
	case 1:
		str_format(id_r, UUID_TEXT_SIZE, "%s", (const char *)sqlite3_column_text(statement, 0));
		sqlite3_reset(statement);
		return 0;
	case 0:
		return error_set(err, ERR_INPUT, "the task store has no store_id");
	default:
		return -1;
	}
}

/* --- tables of plugins --- */

/* "TEXT" in a declared type keeps SQLite from turning the value into a number. */
static const char *type_name(enum store_type type)
{
	switch (type) {
	case STORE_BIGINT:
		return "BIGINT";
	case STORE_DOUBLE:
		return "DOUBLE";
	case STORE_TEXT:
		return "TEXT";
	case STORE_BOOLEAN:
		return "BOOLEAN";
	case STORE_JSON:
		return "JSON TEXT";
	case STORE_TIMESTAMP:
		return "TIMESTAMP TEXT";
	case STORE_TEXT_ARRAY:
		return "ARRAY TEXT";
	}
	return "TEXT";
}

/* The declared type of a column that is there, else NULL. */
static int column_type(struct sqlite_db *db, const struct store_table *table, const char *column,
		       struct arena *arena, const char **type_r, struct error *err)
{
	sqlite3_stmt *statement = sqlite_query(
		db, err, "SELECT type FROM pragma_table_info(?1) WHERE name = ?2", "tt", table->name, column);
	int rc;

	*type_r = NULL;
	if (statement == NULL)
		return -1;
	rc = sqlite_step(db, statement, err);
	if (rc > 0) {
		*type_r = sqlite_text(statement, 0, arena);
		sqlite3_reset(statement);
	}
	return rc < 0 ? -1 : 0;
}

static int ensure_column(struct sqlite_db *db, const struct store_table *table, const char *column,
			 const char *type, struct arena *arena, struct error *err)
{
	const char *there;

	if (column_type(db, table, column, arena, &there, err) < 0)
		return -1;
	if (there == NULL)
		return sqlite_script(db,
				     arena_printf(arena, "ALTER TABLE \"%s\" ADD COLUMN \"%s\" %s",
						  table->name, column, type),
				     err);
	if (strcmp(there, type) != 0)
		return error_set(err, ERR_INPUT,
				 "table %s: column %s is %s in the task store, the plugin declares %s",
				 table->name, column, there, type);
	return 0;
}

static int ensure_columns(struct sqlite_db *db, const struct store_table *table, struct arena *arena,
			  struct error *err)
{
	size_t i;

	for (i = 0; i < table->column_count; i++)
		if (!str_eq(table->columns[i].name, table->key_column) &&
		    ensure_column(db, table, table->columns[i].name, type_name(table->columns[i].type), arena,
				  err) < 0)
			return -1;
	if (table->stamped &&
	    (ensure_column(db, table, "created_at", type_name(STORE_TIMESTAMP), arena, err) < 0 ||
	     ensure_column(db, table, "updated_at", type_name(STORE_TIMESTAMP), arena, err) < 0))
		return -1;
	for (i = 0; i < table->index_count; i++)
		if (sqlite_script(
			    db,
			    arena_printf(arena, "CREATE INDEX IF NOT EXISTS \"%s_%s\" ON \"%s\" (\"%s\")",
					 table->name, table->indexes[i], table->name, table->indexes[i]),
			    err) < 0)
			return -1;
	return 0;
}

/* The key's own type when it is among the columns too; texts otherwise. */
static const char *key_type(const struct store_table *table)
{
	size_t i;

	for (i = 0; i < table->column_count; i++)
		if (str_eq(table->columns[i].name, table->key_column))
			return type_name(table->columns[i].type);
	return type_name(STORE_TEXT);
}

int sqlite_schema_table(struct sqlite_db *db, const struct store_table *table, struct error *err)
{
	struct arena *arena;
	const char *sql;
	int rc;

	if (store_check_table_name(table->name, err) < 0)
		return -1;
	arena = arena_new();
	sql = arena_printf(arena, "CREATE TABLE IF NOT EXISTS \"%s\" (id INTEGER PRIMARY KEY AUTOINCREMENT",
			   table->name);
	if (table->key_column != NULL)
		sql = arena_printf(arena, "%s, \"%s\" %s NOT NULL UNIQUE", sql, table->key_column,
				   key_type(table));
	rc = sqlite_script(db, arena_printf(arena, "%s)", sql), err);
	if (rc == 0 && table->key_column != NULL) {
		/* A table that was there before must already have the key. */
		const char *there;

		rc = column_type(db, table, table->key_column, arena, &there, err);
		if (rc == 0 && there == NULL)
			rc = error_set(err, ERR_INPUT,
				       "table %s: the key column %s is missing in the task store",
				       table->name, table->key_column);
		else if (rc == 0 && strcmp(there, key_type(table)) != 0)
			rc = error_set(err, ERR_INPUT,
				       "table %s: column %s is %s in the task store, the plugin declares %s",
				       table->name, table->key_column, there, key_type(table));
	}
	if (rc == 0)
		rc = ensure_columns(db, table, arena, err);
	arena_free(&arena);
	return rc;
}
