/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The schema of the SQLite store: numbered migrations as data, and the tables
 * that plugins declare. Runs while the store is opened, before its thread has
 * work.
 */
#include "store/sqlite.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "store/schema.h"

/* Whoever only looks does not wait long for others. */
#define LOOK_BUSY_MS 5000

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
	{"schedules",
	 "CREATE TABLE schedule (name TEXT PRIMARY KEY, spec TEXT NOT NULL, slot_ms INTEGER NOT NULL, list TEXT,"
	 "	done INTEGER NOT NULL, finished INTEGER NOT NULL, made INTEGER NOT NULL, skipped INTEGER NOT NULL,"
	 "	refused INTEGER NOT NULL, error TEXT, changed_ms INTEGER NOT NULL, slots INTEGER NOT NULL,"
	 "	missed INTEGER NOT NULL, tasks INTEGER NOT NULL, skips INTEGER NOT NULL) WITHOUT ROWID;"},
	{"credentials",
	 "CREATE TABLE credential ("
	 "	id INTEGER PRIMARY KEY AUTOINCREMENT,"
	 "	idempotency_key TEXT UNIQUE,"
	 "	source TEXT,"
	 "	credentials JSON TEXT,"
	 "	handle TEXT,"
	 "	created_at TIMESTAMP TEXT,"
	 "	updated_at TIMESTAMP TEXT,"
	 "	disabled_till TIMESTAMP TEXT,"
	 "	enabled BOOLEAN,"
	 "	data_access_expired BOOLEAN,"
	 "	key_id TEXT,"
	 "	limits TEXT,"
	 "	reason TEXT,"
	 "	failures INTEGER NOT NULL DEFAULT 0,"
	 "	last_used_at TIMESTAMP TEXT);"
	 "CREATE INDEX credential_source ON credential (source, id);"},
	{"failures that flows remember",
	 "CREATE TABLE task_failure (flow TEXT, key TEXT, task_id INTEGER, failed_ms INTEGER NOT NULL,"
	 "	until_ms INTEGER NOT NULL, error TEXT NOT NULL, PRIMARY KEY (flow, key, task_id)) WITHOUT ROWID;"
	 "CREATE INDEX task_failure_until ON task_failure (until_ms);"
	 "ALTER TABLE schedule ADD COLUMN failing INTEGER NOT NULL DEFAULT 0;"
	 "ALTER TABLE schedule ADD COLUMN fails INTEGER NOT NULL DEFAULT 0;"},
	{"what is known of sources",
	 "CREATE TABLE source_state ("
	 "	source TEXT NOT NULL,"
	 "	handle TEXT NOT NULL,"
	 "	stopped INTEGER NOT NULL,"
	 "	reason TEXT,"
	 "	node TEXT,"
	 "	failures INTEGER NOT NULL,"
	 "	since INTEGER NOT NULL,"
	 "	pause INTEGER NOT NULL,"
	 "	probe_at INTEGER NOT NULL,"
	 "	probe TEXT,"
	 "	PRIMARY KEY (source, handle, stopped));"},
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

/* Any version-4 UUID: the ids of events derive from it. */
#define NEW_ID                                                                                               \
	"lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) ||"  \
	" '-8' || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))"
#define MAKE_VERSIONS                                                                                        \
	"CREATE TABLE schema_migration (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at TEXT "   \
	"NOT NULL);"
#define MAKE_ID "INSERT INTO store_meta (name, value) VALUES ('store_id', " NEW_ID ");"

/* The migration that follows version. */
static void plan_migration(struct arena *arena, int64_t version, struct store_schema *schema)
{
	store_plan_migration(arena, version + 1, &migrations[version], version == 0 ? MAKE_VERSIONS : NULL,
			     version == 0 ? MAKE_ID : NULL, "strftime('%Y-%m-%d %H:%M:%f', 'now')", schema);
}

/* Under the lock: the next migration that is missing, in schema. 1 = done one, 0 = none was missing. */
static int migrate_one(struct sqlite_db *db, struct arena *arena, struct store_schema *schema,
		       struct error *err)
{
	int64_t version;

	if (read_version(db, &version, err) < 0)
		return -1;
	if (version >= NEWEST)
		return 0;
	plan_migration(arena, version, schema);
	if (sqlite_script(db, schema->steps[0].sql, err) < 0)
		return error_prefix(err, "migration \"%s\"", migrations[version].name);
	return 1;
}

/* Each in a transaction of its own. applied may be NULL. */
static int migrate(struct sqlite_db *db, store_applied_fn *applied, void *user, struct error *err)
{
	int rc = 1;

	while (rc > 0) {
		struct store_schema schema = {.version = 0};
		struct arena *arena;

		if (sqlite_begin(db, err) < 0)
			return -1;
		arena = arena_new();
		rc = migrate_one(db, arena, &schema, err);
		if (rc < 0)
			sqlite_rollback(db);
		else if (sqlite_commit(db, err) < 0)
			rc = -1;
		if (rc > 0 && applied != NULL)
			applied(user, &schema.steps[0]);
		arena_free(&arena);
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
	if (version < NEWEST && migrate(db, NULL, NULL, err) < 0)
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

static bool fits(enum store_type type, const char *there)
{
	return strcmp(there, type_name(type)) == 0;
}

/* A column's type stays for ever; a new column can take its place. */
static const char *retype(struct arena *arena, const char *table, const char *column, enum store_type type)
{
	(void)type;
	return arena_printf(arena,
			    "run ALTER TABLE \"%s\" RENAME COLUMN \"%s\" TO another name: a new one is made",
			    table, column);
}

static const struct store_dialect dialect = {
	.id_column = "id INTEGER PRIMARY KEY AUTOINCREMENT",
	.inline_key = true,
	.type_name = type_name,
	.fits = fits,
	.retype = retype,
};

static int read_columns(struct sqlite_db *db, const char *table, struct arena *arena,
			struct store_there *there, struct error *err)
{
	sqlite3_stmt *statement = sqlite_query(
		db, err, "SELECT name, type, count(*) OVER () FROM pragma_table_info(?1)", "t", table);
	struct store_column_there *columns = NULL;
	int rc;

	if (statement == NULL)
		return -1;
	while ((rc = sqlite_step(db, statement, err)) > 0) {
		if (columns == NULL)
			columns = arena_alloc(arena,
					      (size_t)sqlite3_column_int64(statement, 2) * sizeof(*columns));
		columns[there->column_count++] = (struct store_column_there){
			sqlite_text(statement, 0, arena), sqlite_text(statement, 1, arena)};
	}
	there->table = columns != NULL;
	there->columns = columns;
	return rc;
}

static int read_indexes(struct sqlite_db *db, const struct store_table *table, struct arena *arena,
			struct store_there *there, struct error *err)
{
	bool *indexes = arena_alloc(arena, (table->index_count + 1) * sizeof(*indexes));
	int64_t found;
	size_t i;

	there->indexes = indexes;
	for (i = 0; i < table->index_count; i++) {
		if (sqlite_integer(db, &found, err,
				   "SELECT 1 FROM sqlite_schema WHERE type = 'index' AND name = ?1", "t",
				   arena_printf(arena, "%s_%s", table->name, table->indexes[i])) < 0)
			return -1;
		indexes[i] = found != 0;
	}
	return 0;
}

static int plan_table(struct sqlite_db *db, const struct store_table *table, struct arena *arena,
		      struct store_schema *schema, struct error *err)
{
	struct store_there there = {.table = false};

	if (read_columns(db, table->name, arena, &there, err) < 0 ||
	    read_indexes(db, table, arena, &there, err) < 0)
		return -1;
	store_plan_table(arena, &dialect, table, &there, schema);
	return 0;
}

/* Inside a transaction: all that the tables need, or an error that says what is wrong. */
static int make_tables(struct sqlite_db *db, const struct store_table *const *tables, size_t count,
		       struct arena *arena, struct store_schema *schema, struct error *err)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (plan_table(db, tables[i], arena, schema, err) < 0)
			return -1;
	if (store_plan_error(schema, err) < 0)
		return -1;
	for (i = 0; i < schema->step_count; i++)
		if (sqlite_script(db, schema->steps[i].sql, err) < 0)
			return error_prefix(err, "table %s", schema->steps[i].name);
	return 0;
}

int sqlite_schema_tables(struct sqlite_db *db, const struct store_table *const *tables, size_t count,
			 store_applied_fn *applied, void *user, struct error *err)
{
	struct store_schema schema = {.version = 0};
	struct arena *arena;
	size_t i;
	int rc;

	if (sqlite_begin(db, err) < 0)
		return -1;
	arena = arena_new();
	rc = make_tables(db, tables, count, arena, &schema, err);
	if (rc < 0)
		sqlite_rollback(db);
	else
		rc = sqlite_commit(db, err);
	for (i = 0; rc == 0 && applied != NULL && i < schema.step_count; i++)
		applied(user, &schema.steps[i]);
	arena_free(&arena);
	return rc;
}

/* --- for administrators --- */

static void describe(struct arena *arena, struct store_schema *schema)
{
	schema->server = arena_printf(arena, "SQLite %s", sqlite3_libversion());
	schema->newest = NEWEST;
	schema->before = schema->version == 0 ? SQLITE_PAGE_SIZE "\nPRAGMA journal_mode = WAL;\n" : "";
	schema->begin = "BEGIN IMMEDIATE;\n";
	schema->commit = "COMMIT;\n";
}

void sqlite_schema_whole(const struct store_table *const *tables, size_t count, struct arena *arena,
			 struct store_schema *schema)
{
	const struct store_there nothing = {.table = false};
	int64_t version;
	size_t i;

	describe(arena, schema);
	for (version = 0; version < NEWEST; version++)
		plan_migration(arena, version, schema);
	for (i = 0; i < count; i++)
		store_plan_table(arena, &dialect, tables[i], &nothing, schema);
}

static int read_schema(struct sqlite_db *db, const struct store_table *const *tables, size_t count,
		       struct arena *arena, struct store_schema *schema, struct error *err)
{
	int64_t version;
	size_t i;

	if (read_version(db, &schema->version, err) < 0)
		return -1;
	describe(arena, schema);
	if (!store_plan_version(arena, schema))
		return 0;
	for (version = schema->version; version < NEWEST; version++)
		plan_migration(arena, version, schema);
	for (i = 0; i < count; i++)
		if (plan_table(db, tables[i], arena, schema, err) < 0)
			return -1;
	if (sqlite3_db_readonly(db->handle, "main") == 1)
		store_plan_finding(arena, schema, STORE_WRONG,
				   "run this as the user that sluiced runs as, or chown it",
				   "this user may not write the file");
	return 0;
}

int sqlite_schema_read(const char *path, const struct store_table *const *tables, size_t count,
		       struct arena *arena, struct store_schema *schema, struct error *err)
{
	const struct store_options options = {.busy_ms = LOOK_BUSY_MS};
	struct sqlite_db db;
	int rc;

	if (access(path, F_OK) < 0 && errno == ENOENT) {
		sqlite_schema_whole(tables, count, arena, schema);
		store_plan_version(arena, schema);
		return 0;
	}
	if (sqlite_db_look(&db, path, &options, err) < 0)
		return -1;
	rc = read_schema(&db, tables, count, arena, schema, err);
	sqlite_db_close(&db);
	return rc < 0 ? error_prefix(err, "%s", path) : 0;
}

int sqlite_schema_apply(const char *path, const struct store_options *options,
			const struct store_table *const *tables, size_t count, store_applied_fn *applied,
			void *user, struct error *err)
{
	struct sqlite_db db;
	int64_t version;
	int rc;

	if (sqlite_db_open(&db, path, true, options, err) < 0)
		return -1;
	rc = read_version(&db, &version, err);
	if (rc == 0)
		rc = store_check_version(version, NEWEST, true, err);
	if (rc == 0)
		rc = migrate(&db, applied, user, err);
	if (rc == 0)
		rc = sqlite_schema_tables(&db, tables, count, applied, user, err);
	sqlite_db_close(&db);
	return rc < 0 ? error_prefix(err, "%s", path) : 0;
}
