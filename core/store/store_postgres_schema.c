/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The schema of the PostgreSQL store: numbered migrations as data, and the
 * tables that plugins declare. Runs over a blocking connection while the store
 * is opened; an advisory lock lets one process at a time do it.
 */
#include "store/postgres.h"

#include <string.h>

#include "base/str.h"
#include "store/schema.h"

#define LOCK "SELECT pg_advisory_xact_lock(7311543)"
#define OLDEST_SERVER 120000

/*
 * Appended to, never changed. The first works on an empty database and on the
 * original system's: its scrape_request_log gets the columns that are missing.
 * The totals have a row per shard, so that transactions which count for the
 * same queue do not wait for each other; who reads them adds the rows up.
 */
static const struct store_migration migrations[] = {
	{"tasks, outbox and dead letters",
	 "CREATE TABLE store_meta (name text PRIMARY KEY, value text NOT NULL);"
	 "CREATE SEQUENCE IF NOT EXISTS crawl_dump_id_seq;"
	 "CREATE TABLE IF NOT EXISTS scrape_request_log ("
	 "	id bigint PRIMARY KEY DEFAULT nextval('crawl_dump_id_seq'),"
	 "	idempotency_key text,"
	 "	platform text,"
	 "	source text,"
	 "	flow text,"
	 "	status text,"
	 "	priority integer,"
	 "	params jsonb,"
	 "	data text,"
	 "	created_at timestamp,"
	 "	scraped_at timestamp,"
	 "	expires_at timestamp);"
	 "ALTER TABLE scrape_request_log"
	 "	ADD COLUMN IF NOT EXISTS account_id text,"
	 "	ADD COLUMN IF NOT EXISTS picked_at timestamp,"
	 "	ADD COLUMN IF NOT EXISTS retry_count integer,"
	 "	ADD COLUMN IF NOT EXISTS reason text,"
	 "	ADD COLUMN IF NOT EXISTS attempt integer NOT NULL DEFAULT 0,"
	 "	ADD COLUMN IF NOT EXISTS max_attempts integer NOT NULL DEFAULT 3,"
	 "	ADD COLUMN IF NOT EXISTS crashes integer NOT NULL DEFAULT 0,"
	 "	ADD COLUMN IF NOT EXISTS crashes_alone integer NOT NULL DEFAULT 0,"
	 "	ADD COLUMN IF NOT EXISTS alone boolean NOT NULL DEFAULT false,"
	 "	ADD COLUMN IF NOT EXISTS run_after bigint,"
	 "	ADD COLUMN IF NOT EXISTS lease_until bigint,"
	 "	ADD COLUMN IF NOT EXISTS lease_token bigint,"
	 "	ADD COLUMN IF NOT EXISTS commit_seq bigint NOT NULL DEFAULT 0,"
	 "	ADD COLUMN IF NOT EXISTS checkpoint text,"
	 "	ADD COLUMN IF NOT EXISTS worker text,"
	 "	ADD COLUMN IF NOT EXISTS error_code text,"
	 "	ADD COLUMN IF NOT EXISTS unique_key text;"
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
	 "CREATE TABLE task_total (flow text, status text, shard integer, tasks bigint NOT NULL,"
	 "	PRIMARY KEY (flow, status, shard)) WITH (fillfactor = 50);"
	 "CREATE TABLE flow_total (flow text, shard integer, requests bigint NOT NULL, events bigint NOT NULL,"
	 "	PRIMARY KEY (flow, shard)) WITH (fillfactor = 50);"
	 "CREATE TABLE outbox ("
	 "	id bigserial PRIMARY KEY,"
	 "	queue text NOT NULL,"
	 "	events bigint NOT NULL,"
	 "	bytes bigint NOT NULL,"
	 "	created_ms bigint NOT NULL,"
	 "	payload text NOT NULL);"
	 "CREATE INDEX outbox_queue ON outbox (queue, id);"
	 "CREATE TABLE outbox_total (queue text, shard integer, events bigint NOT NULL,"
	 "	waiting_rows bigint NOT NULL, waiting_events bigint NOT NULL, waiting_bytes bigint NOT NULL,"
	 "	PRIMARY KEY (queue, shard)) WITH (fillfactor = 50);"
	 "CREATE TABLE dead_letter ("
	 "	id bigserial PRIMARY KEY,"
	 "	queue text NOT NULL,"
	 "	dedup_id text NOT NULL,"
	 "	payload text NOT NULL,"
	 "	reason text,"
	 "	code text,"
	 "	first_at timestamp NOT NULL,"
	 "	last_at timestamp NOT NULL,"
	 "	count bigint NOT NULL,"
	 "	UNIQUE (queue, dedup_id));"
	 /* Rows that come and go: what is dead must go before claims and reads have to step over it. */
	 "ALTER TABLE scrape_request_log SET (autovacuum_vacuum_scale_factor = 0.01,"
	 "	autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);"
	 "ALTER TABLE outbox SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000,"
	 "	autovacuum_vacuum_cost_delay = 0);"},
	{"shards of the outbox, and who does what only one may do",
	 "ALTER TABLE outbox ADD COLUMN shard integer;"
	 "DROP INDEX outbox_queue;"
	 "CREATE INDEX outbox_queue ON outbox (queue, id) WHERE shard IS NULL;"
	 "CREATE INDEX outbox_shard ON outbox (shard, id) WHERE shard IS NOT NULL;"
	 "CREATE TABLE hold (name text PRIMARY KEY, holder text NOT NULL, until bigint NOT NULL);"
	 "CREATE TABLE relay (name text PRIMARY KEY, alive_until bigint NOT NULL);"
	 "CREATE TABLE relay_shard (shard integer PRIMARY KEY, holder text, token bigint NOT NULL DEFAULT 0,"
	 "	lease_until bigint NOT NULL DEFAULT 0, sending bigint[] NOT NULL DEFAULT '{}') WITH (fillfactor = 50);"
	 "INSERT INTO relay_shard (shard) SELECT generate_series(0, 15);"},
	{"schedules",
	 /* spec is null while the first step of a schedule is being taken. */
	 "CREATE TABLE schedule (name text PRIMARY KEY, spec text, slot_ms bigint NOT NULL DEFAULT 0, list text,"
	 "	done bigint NOT NULL DEFAULT 0, finished boolean NOT NULL DEFAULT false,"
	 "	made bigint NOT NULL DEFAULT 0, skipped bigint NOT NULL DEFAULT 0, refused bigint NOT NULL DEFAULT 0,"
	 "	error text, changed_ms bigint NOT NULL DEFAULT 0, slots bigint NOT NULL DEFAULT 0,"
	 "	missed bigint NOT NULL DEFAULT 0, tasks bigint NOT NULL DEFAULT 0, skips bigint NOT NULL DEFAULT 0);"},
	/* The original's table where there is one, widened. */
	{"credentials",
	 "CREATE TABLE IF NOT EXISTS credential ("
	 "	id integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,"
	 "	idempotency_key text,"
	 "	source text,"
	 "	credentials jsonb,"
	 "	handle text,"
	 "	created_at timestamp,"
	 "	updated_at timestamp,"
	 "	disabled_till timestamp,"
	 "	enabled boolean,"
	 "	data_access_expired boolean);"
	 "ALTER TABLE credential"
	 "	ADD COLUMN IF NOT EXISTS key_id text,"
	 "	ADD COLUMN IF NOT EXISTS limits text,"
	 "	ADD COLUMN IF NOT EXISTS reason text,"
	 "	ADD COLUMN IF NOT EXISTS failures bigint NOT NULL DEFAULT 0,"
	 "	ADD COLUMN IF NOT EXISTS last_used_at timestamp;"
	 "CREATE UNIQUE INDEX IF NOT EXISTS credential_idempotency ON credential (idempotency_key);"
	 "CREATE INDEX IF NOT EXISTS credential_source ON credential (source, id);"},
	{"failures that flows remember",
	 "CREATE TABLE task_failure (flow text, key text, task_id bigint, failed_ms bigint NOT NULL,"
	 "	until_ms bigint NOT NULL, error text NOT NULL, PRIMARY KEY (flow, key, task_id));"
	 "CREATE INDEX task_failure_until ON task_failure (until_ms);"
	 "ALTER TABLE schedule ADD COLUMN failing bigint NOT NULL DEFAULT 0, ADD COLUMN fails bigint NOT NULL DEFAULT 0;"},
	{"what is known of sources",
	 "CREATE TABLE source_state (source text, handle text, stopped integer, reason text, node text,"
	 "	failures bigint NOT NULL, since bigint NOT NULL, pause bigint NOT NULL, probe_at bigint NOT NULL,"
	 "	probe text, PRIMARY KEY (source, handle, stopped));"},
	{"packed outbox rows",
	 "ALTER TABLE outbox ALTER COLUMN payload DROP NOT NULL, ADD COLUMN packed bytea;"
	 "ALTER TABLE outbox ALTER COLUMN packed SET STORAGE EXTERNAL;"},
};

#define NEWEST ((int64_t)(sizeof(migrations) / sizeof(migrations[0])))

static int run(PGconn *conn, const char *sql, struct error *err)
{
	PGresult *result = pg_exec_blocking(conn, err, sql, "");

	PQclear(result);
	return result != NULL ? 0 : -1;
}

/* What a query gives in its first column; 0 when it has no row. */
static int read_int(PGconn *conn, const char *sql, int64_t *value_r, struct error *err)
{
	PGresult *result = pg_exec_blocking(conn, err, sql, "");

	if (result == NULL)
		return -1;
	*value_r = PQntuples(result) > 0 ? pg_get_int(result, 0, 0) : 0;
	PQclear(result);
	return 0;
}

/* The schema's version; 0 for a database without it. */
static int read_version(PGconn *conn, int64_t *version_r, struct error *err)
{
	int64_t there;

	*version_r = 0;
	if (read_int(conn, "SELECT count(*) FROM pg_class WHERE oid = to_regclass('schema_migration')", &there,
		     err) < 0)
		return -1;
	if (there == 0)
		return 0;
	return read_int(conn, "SELECT max(version) FROM schema_migration", version_r, err);
}

#define MAKE_VERSIONS                                                                                        \
	"CREATE TABLE schema_migration (version bigint PRIMARY KEY, name text NOT NULL,"                     \
	" applied_at timestamp NOT NULL);"
/* Some UUID that no other store has: the ids of events derive from it. */
#define MAKE_ID                                                                                              \
	"INSERT INTO store_meta (name, value) VALUES ('store_id', md5(random()::text || random()::text ||"   \
	" clock_timestamp()::text || pg_backend_pid()::text || current_database())::uuid::text);"

/* The migration that follows version. */
static void plan_migration(struct arena *arena, int64_t version, struct store_schema *schema)
{
	store_plan_migration(arena, version + 1, &migrations[version], version == 0 ? MAKE_VERSIONS : NULL,
			     version == 0 ? MAKE_ID : NULL, PG_UTC_NOW, schema);
}

/* What is done inside a transaction that holds the lock. */
struct change {
	const struct store_table *const *tables;
	size_t count;
	struct arena *arena;
	struct store_schema schema;	/* the steps taken */
};

/* All migrations that are missing. */
static int migrate(PGconn *conn, struct change *change, struct error *err)
{
	struct store_schema *schema = &change->schema;
	int64_t version;

	if (read_version(conn, &version, err) < 0)
		return -1;
	for (; version < NEWEST; version++) {
		plan_migration(change->arena, version, schema);
		if (run(conn, schema->steps[schema->step_count - 1].sql, err) < 0)
			return error_prefix(err, "migration \"%s\"", migrations[version].name);
	}
	return 0;
}

/* do_it inside a transaction that holds the lock, then says what was done. applied may be NULL. */
static int in_transaction(PGconn *conn, int (*do_it)(PGconn *conn, struct change *change, struct error *err),
			  const struct store_table *const *tables, size_t count, store_applied_fn *applied,
			  void *user, struct error *err)
{
	struct change change = {.tables = tables, .count = count, .arena = arena_new()};
	size_t i;
	int rc = -1;

	if (run(conn, "BEGIN", err) == 0) {
		rc = run(conn, LOCK, err) < 0 ? -1 : do_it(conn, &change, err);
		if (rc < 0)
			run(conn, "ROLLBACK", NULL);
		else
			rc = run(conn, "COMMIT", err);
	}
	for (i = 0; rc == 0 && applied != NULL && i < change.schema.step_count; i++)
		applied(user, &change.schema.steps[i]);
	arena_free(&change.arena);
	return rc;
}

static int check_server(PGconn *conn, struct error *err)
{
	if (PQserverVersion(conn) >= OLDEST_SERVER)
		return 0;
	return error_set(err, ERR_INPUT, "the task store is PostgreSQL %d; it must be 12 or newer",
			 PQserverVersion(conn) / 10000);
}

/* The store's id, and whether the server packs with LZ4: since version 14, when it was built with it. */
#define WHO_IT_IS                                                                                            \
	"SELECT value, EXISTS (SELECT 1 FROM pg_settings WHERE name = 'default_toast_compression' AND"       \
	" 'lz4' = ANY (enumvals)) FROM store_meta WHERE name = 'store_id'"

int pg_schema_open(PGconn *conn, bool create, char id_r[UUID_TEXT_SIZE], bool *lz4_r, struct error *err)
{
	PGresult *result;
	int64_t version;
	int rc = 0;

	if (check_server(conn, err) < 0)
		return -1;
	if (read_version(conn, &version, err) < 0)
		return -1;
	if (store_check_version(version, NEWEST, create, err) < 0)
		return -1;
	if (version < NEWEST && in_transaction(conn, migrate, NULL, 0, NULL, NULL, err) < 0)
		return -1;
	result = pg_exec_blocking(conn, err, WHO_IT_IS, "");
	if (result == NULL)
		return -1;
	if (PQntuples(result) == 0) {
		rc = error_set(err, ERR_INPUT, "the task store has no store_id");
	} else {
		str_format(id_r, UUID_TEXT_SIZE, "%s", PQgetvalue(result, 0, 0));
		*lz4_r = PQgetvalue(result, 0, 1)[0] == 't';
	}
	PQclear(result);
	return rc;
}

/* --- tables of plugins --- */

/* What holds the type's values as well: the original's tables use both. */
static bool fits(enum store_type type, const char *there)
{
	if (str_eq(there, pg_type_name(type)))
		return true;
	switch (type) {
	case STORE_TEXT:
		return str_starts(there, "character varying");
	case STORE_TEXT_ARRAY:
		return str_starts(there, "character varying") && str_ends(there, "[]");
	case STORE_JSON:
		return str_eq(there, "json");
	default:
		return false;
	}
}

static const char *retype(struct arena *arena, const char *table, const char *column, enum store_type type)
{
	return arena_printf(arena, "run ALTER TABLE \"%s\" ALTER COLUMN \"%s\" TYPE %s USING \"%s\"::%s",
			    table, column, pg_type_name(type), column, pg_type_name(type));
}

static const struct store_dialect dialect = {
	.id_column = "id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
	.inline_key = false,
	.type_name = pg_type_name,
	.fits = fits,
	.retype = retype,
};

/* One table, as the server has it. */
struct look {
	PGconn *conn;
	const struct store_table *table;
	struct arena *arena;
	struct store_there there;
};

static const char *quoted(const struct look *look)
{
	return arena_printf(look->arena, "\"%s\"", look->table->name);
}

static int look_at_columns(struct look *look, struct error *err)
{
	PGresult *result = pg_exec_blocking(
		look->conn, err,
		"SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
		" WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped",
		"t", quoted(look));
	struct store_column_there *columns;
	int i;

	if (result == NULL)
		return -1;
	columns = arena_alloc(look->arena, ((size_t)PQntuples(result) + 1) * sizeof(*columns));
	for (i = 0; i < PQntuples(result); i++)
		columns[i] = (struct store_column_there){pg_get_text(result, i, 0, look->arena),
							 pg_get_text(result, i, 1, look->arena)};
	look->there.table = i > 0;
	look->there.columns = columns;
	look->there.column_count = (size_t)i;
	PQclear(result);
	return 0;
}

static int look_at_key(struct look *look, struct error *err)
{
	PGresult *result;

	if (look->table->key_column == NULL || !look->there.table)
		return 0;
	result = pg_exec_blocking(
		look->conn, err,
		"SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND"
		" a.attnum = i.indkey[0] WHERE i.indrelid = to_regclass($1) AND i.indisunique"
		" AND i.indnkeyatts = 1 AND i.indpred IS NULL AND a.attname = $2",
		"tt", quoted(look), look->table->key_column);
	look->there.key = result != NULL && PQntuples(result) > 0;
	PQclear(result);
	return result != NULL ? 0 : -1;
}

static int look_at_indexes(struct look *look, struct error *err)
{
	bool *indexes = arena_alloc(look->arena, (look->table->index_count + 1) * sizeof(*indexes));
	size_t i;

	look->there.indexes = indexes;
	for (i = 0; i < look->table->index_count; i++) {
		PGresult *result = pg_exec_blocking(look->conn, err, "SELECT to_regclass($1)", "t",
						    arena_printf(look->arena, "\"%s_%s\"", look->table->name,
								 look->table->indexes[i]));

		if (result == NULL)
			return -1;
		indexes[i] = !PQgetisnull(result, 0, 0);
		PQclear(result);
	}
	return 0;
}

int pg_schema_plan(PGconn *conn, const struct store_table *table, struct arena *arena,
		   struct store_schema *schema, struct error *err)
{
	struct look look = {.conn = conn, .table = table, .arena = arena};

	if (look_at_columns(&look, err) < 0 || look_at_key(&look, err) < 0 || look_at_indexes(&look, err) < 0)
		return -1;
	store_plan_table(arena, &dialect, table, &look.there, schema);
	return 0;
}

static int make_tables(PGconn *conn, struct change *change, struct error *err)
{
	struct store_schema *schema = &change->schema;
	size_t i;

	for (i = 0; i < change->count; i++)
		if (pg_schema_plan(conn, change->tables[i], change->arena, schema, err) < 0)
			return -1;
	if (store_plan_error(schema, err) < 0)
		return -1;
	for (i = 0; i < schema->step_count; i++)
		if (run(conn, schema->steps[i].sql, err) < 0)
			return error_prefix(err, "table %s", schema->steps[i].name);
	return 0;
}

int pg_schema_tables(PGconn *conn, const struct store_table *const *tables, size_t count, struct error *err)
{
	return in_transaction(conn, make_tables, tables, count, NULL, NULL, err);
}

/* --- for administrators --- */

static void plan_migrations(struct arena *arena, struct store_schema *schema)
{
	int64_t version;

	schema->newest = NEWEST;
	schema->before = "";
	schema->begin = "BEGIN;\n" LOCK ";\n";
	schema->commit = "COMMIT;\n";
	for (version = schema->version; version < NEWEST; version++)
		plan_migration(arena, version, schema);
}

void pg_schema_whole(const struct store_table *const *tables, size_t count, struct arena *arena,
		     struct store_schema *schema)
{
	const struct store_there nothing = {.table = false};
	size_t i;

	schema->server = "PostgreSQL";
	plan_migrations(arena, schema);
	for (i = 0; i < count; i++)
		store_plan_table(arena, &dialect, tables[i], &nothing, schema);
}

int pg_schema_missing(PGconn *conn, struct arena *arena, struct store_schema *schema, struct error *err)
{
	schema->newest = NEWEST;
	if (PQserverVersion(conn) < OLDEST_SERVER) {
		store_plan_finding(arena, schema, STORE_WRONG, "move the database to a newer server",
				   "the server is PostgreSQL %d; it must be 12 or newer",
				   PQserverVersion(conn) / 10000);
		return 0;
	}
	if (read_version(conn, &schema->version, err) < 0)
		return -1;
	if (!store_plan_version(arena, schema))
		return 0;
	plan_migrations(arena, schema);
	return 1;
}

int pg_schema_apply(PGconn *conn, const struct store_table *const *tables, size_t count,
		    store_applied_fn *applied, void *user, struct error *err)
{
	int64_t version;

	if (check_server(conn, err) < 0 || read_version(conn, &version, err) < 0 ||
	    store_check_version(version, NEWEST, true, err) < 0)
		return -1;
	if (version < NEWEST && in_transaction(conn, migrate, NULL, 0, applied, user, err) < 0)
		return -1;
	return in_transaction(conn, make_tables, tables, count, applied, user, err);
}
