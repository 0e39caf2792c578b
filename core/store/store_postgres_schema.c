/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The schema of the PostgreSQL store: numbered migrations as data, and the
 * tables that plugins declare. Runs over a blocking connection while the store
 * is opened; an advisory lock lets one process at a time do it.
 */
#include "store/postgres.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"

#define LOCK "SELECT pg_advisory_xact_lock(7311543)"

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

static int insert(PGconn *conn, const char *sql, const char *a, const char *b, const char *c,
		  struct error *err)
{
	PGresult *result = c != NULL ? pg_exec_blocking(conn, err, sql, "ttt", a, b, c)
				     : pg_exec_blocking(conn, err, sql, "tt", a, b);

	PQclear(result);
	return result != NULL ? 0 : -1;
}

/* Inside a transaction that holds the lock: all that is missing. */
static int migrate(PGconn *conn, struct error *err)
{
	char now[CLOCK_TEXT_SIZE], id[UUID_TEXT_SIZE], number[24];
	int64_t version;

	if (run(conn, LOCK, err) < 0 || read_version(conn, &version, err) < 0)
		return -1;
	if (version == 0 &&
	    run(conn,
		"CREATE TABLE schema_migration (version bigint PRIMARY KEY, name text NOT NULL,"
		" applied_at timestamp NOT NULL)",
		err) < 0)
		return -1;
	for (; version < NEWEST; version++) {
		if (run(conn, migrations[version].sql, err) < 0)
			return error_prefix(err, "migration \"%s\"", migrations[version].name);
		if (version == 0 &&
		    insert(conn, "INSERT INTO store_meta (name, value) VALUES ($1, $2)", "store_id",
			   uuid_random(id), NULL, err) < 0)
			return -1;
		str_format(number, sizeof(number), "%" PRId64, version + 1);
		if (insert(conn,
			   "INSERT INTO schema_migration (version, name, applied_at) VALUES ($1, $2, $3)",
			   number, migrations[version].name, clock_format_ms(now, clock_wall_ms()), err) < 0)
			return -1;
	}
	return 0;
}

/* do_it inside a transaction. */
static int in_transaction(PGconn *conn, int (*do_it)(PGconn *conn, struct error *err), struct error *err)
{
	if (run(conn, "BEGIN", err) < 0)
		return -1;
	if (do_it(conn, err) < 0) {
		run(conn, "ROLLBACK", NULL);
		return -1;
	}
	return run(conn, "COMMIT", err);
}

int pg_schema_open(PGconn *conn, bool create, char id_r[UUID_TEXT_SIZE], struct error *err)
{
	PGresult *result;
	int64_t version;
	int rc = 0;

	if (PQserverVersion(conn) < 120000)
		return error_set(err, ERR_INPUT, "the task store is PostgreSQL %d; it must be 12 or newer",
				 PQserverVersion(conn) / 10000);
	if (read_version(conn, &version, err) < 0)
		return -1;
	if (store_check_version(version, NEWEST, create, err) < 0)
		return -1;
	if (version < NEWEST && in_transaction(conn, migrate, err) < 0)
		return -1;
	result = pg_exec_blocking(conn, err, "SELECT value FROM store_meta WHERE name = 'store_id'", "");
	if (result == NULL)
		return -1;
	if (PQntuples(result) == 0)
		rc = error_set(err, ERR_INPUT, "the task store has no store_id");
	else
		str_format(id_r, UUID_TEXT_SIZE, "%s", PQgetvalue(result, 0, 0));
	PQclear(result);
	return rc;
}

/* --- tables of plugins --- */

static const char *upper(struct arena *arena, const char *text)
{
	char *copy = arena_strdup(arena, text), *p;

	for (p = copy; *p != '\0'; p++)
		*p = (char)toupper((unsigned char)*p);
	return copy;
}

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

/* One table, with what the server has of it: rows of (column, type). */
struct ensure {
	PGconn *conn;
	const struct store_table *table;
	PGresult *there;
	struct arena *arena;
	struct buf alter;		/* ALTER TABLE … ADD COLUMN …, … */
};

static const char *type_there(const struct ensure *ensure, const char *column)
{
	int i;

	for (i = 0; i < PQntuples(ensure->there); i++)
		if (strcmp(PQgetvalue(ensure->there, i, 0), column) == 0)
			return PQgetvalue(ensure->there, i, 1);
	return NULL;
}

static int ensure_column(struct ensure *ensure, const char *column, enum store_type type, struct error *err)
{
	const char *there = type_there(ensure, column);

	if (there == NULL) {
		buf_printf(&ensure->alter, "%s ADD COLUMN IF NOT EXISTS \"%s\" %s",
			   ensure->alter.len > 0 ? "," : "", column, pg_type_name(type));
		return 0;
	}
	if (fits(type, there))
		return 0;
	return error_set(err, ERR_INPUT, "table %s: column %s is %s in the task store, the plugin declares %s",
			 ensure->table->name, column, upper(ensure->arena, there),
			 upper(ensure->arena, pg_type_name(type)));
}

/* The key's own type when it is among the columns too; texts otherwise. */
static enum store_type key_type(const struct store_table *table)
{
	size_t i;

	for (i = 0; i < table->column_count; i++)
		if (str_eq(table->columns[i].name, table->key_column))
			return table->columns[i].type;
	return STORE_TEXT;
}

static int ensure_columns(struct ensure *ensure, struct error *err)
{
	const struct store_table *table = ensure->table;
	size_t i;

	for (i = 0; i < table->column_count; i++)
		if (ensure_column(ensure, table->columns[i].name, table->columns[i].type, err) < 0)
			return -1;
	if (table->key_column != NULL && ensure_column(ensure, table->key_column, key_type(table), err) < 0)
		return -1;
	if (table->stamped && (ensure_column(ensure, "created_at", STORE_TIMESTAMP, err) < 0 ||
			       ensure_column(ensure, "updated_at", STORE_TIMESTAMP, err) < 0))
		return -1;
	if (ensure->alter.len == 0)
		return 0;
	return run(ensure->conn,
		   arena_printf(ensure->arena, "ALTER TABLE \"%s\"%s", table->name, ensure->alter.data), err);
}

/* What upserts rely on: a unique index over the key alone. The original lacks it on one of its tables. */
static int ensure_key(struct ensure *ensure, struct error *err)
{
	const struct store_table *table = ensure->table;
	PGresult *result;
	int rc = 0;

	if (table->key_column == NULL)
		return 0;
	result = pg_exec_blocking(ensure->conn, err,
				  "SELECT 1 FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND"
				  " a.attnum = i.indkey[0] WHERE i.indrelid = to_regclass($1) AND i.indisunique"
				  " AND i.indnkeyatts = 1 AND i.indpred IS NULL AND a.attname = $2",
				  "tt", arena_printf(ensure->arena, "\"%s\"", table->name), table->key_column);
	if (result == NULL)
		return -1;
	if (PQntuples(result) == 0 &&
	    run(ensure->conn,
		arena_printf(ensure->arena, "CREATE UNIQUE INDEX \"%s_%s_key\" ON \"%s\" (\"%s\")", table->name,
			     table->key_column, table->name, table->key_column),
		err) < 0)
		rc = error_prefix(err, "table %s: its key %s must be unique", table->name, table->key_column);
	PQclear(result);
	return rc;
}

/* Asked first: CREATE INDEX IF NOT EXISTS locks out writers even when there is nothing to do. */
static int ensure_index(struct ensure *ensure, const char *column, struct error *err)
{
	const char *table = ensure->table->name;
	PGresult *result = pg_exec_blocking(ensure->conn, err, "SELECT to_regclass($1)", "t",
					    arena_printf(ensure->arena, "\"%s_%s\"", table, column));
	bool missing = result != NULL && PQgetisnull(result, 0, 0);

	PQclear(result);
	if (result == NULL || !missing)
		return result != NULL ? 0 : -1;
	return run(ensure->conn,
		   arena_printf(ensure->arena, "CREATE INDEX \"%s_%s\" ON \"%s\" (\"%s\")", table, column, table,
				column),
		   err);
}

static int ensure_indexes(struct ensure *ensure, struct error *err)
{
	size_t i;

	for (i = 0; i < ensure->table->index_count; i++)
		if (ensure_index(ensure, ensure->table->indexes[i], err) < 0)
			return -1;
	return 0;
}

static int ensure_table(PGconn *conn, const struct store_table *table, struct error *err)
{
	struct ensure ensure = {.conn = conn, .table = table, .arena = arena_new()};
	int rc = -1;

	buf_init(&ensure.alter);
	if (run(conn,
		arena_printf(ensure.arena,
			     "CREATE TABLE IF NOT EXISTS \"%s\" (id bigint GENERATED BY DEFAULT AS IDENTITY"
			     " PRIMARY KEY)",
			     table->name),
		err) == 0) {
		ensure.there = pg_exec_blocking(
			conn, err,
			"SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
			" WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped",
			"t", arena_printf(ensure.arena, "\"%s\"", table->name));
		if (ensure.there != NULL && ensure_columns(&ensure, err) == 0 && ensure_key(&ensure, err) == 0)
			rc = ensure_indexes(&ensure, err);
	}
	PQclear(ensure.there);
	buf_fini(&ensure.alter);
	arena_free(&ensure.arena);
	return rc;
}

int pg_schema_tables(PGconn *conn, const struct store_table *const *tables, size_t count, struct error *err)
{
	size_t i;
	int rc;

	for (i = 0; i < count; i++)
		if (store_check_table_name(tables[i]->name, err) < 0)
			return -1;
	if (run(conn, "BEGIN", err) < 0)
		return -1;
	rc = run(conn, LOCK, err);
	for (i = 0; i < count && rc == 0; i++)
		rc = ensure_table(conn, tables[i], err);
	if (rc < 0) {
		run(conn, "ROLLBACK", NULL);
		return -1;
	}
	return run(conn, "COMMIT", err);
}
