/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks at a database for an administrator: what its schema lacks, what the
 * user may not do there, how many connections it may have. Changes nothing.
 * Blocks.
 */
#include "store/postgres.h"

#include <string.h>

#include "base/str.h"
#include "store/schema.h"

/* Whoever looks wants to hear that there is no room, not to wait for it. */
#define LOOK_WAIT_MS 2000

struct looking {
	const struct store_table *const *tables;
	size_t count;
	struct arena *arena;
	struct store_schema *schema;
};

/* --- what the user may not do --- */

static bool is_ours(const struct looking *looking, const char *name)
{
	struct error err;
	size_t i;

	if (store_check_table_name(name, &err) < 0)
		return true;
	for (i = 0; i < looking->count; i++)
		if (str_eq(looking->tables[i]->name, name))
			return true;
	return false;
}

static void complain_grant(const struct looking *looking, const char *what, const char *rights,
			   const char *role)
{
	store_plan_finding(looking->arena, looking->schema, STORE_WRONG,
			   arena_printf(looking->arena, "run GRANT %s ON %s TO \"%s\"", rights, what, role),
			   "role %s may not use %s", role, what);
}

static int check_tables(struct looking *looking, PGconn *conn, struct error *err)
{
	PGresult *result = pg_exec_blocking(
		conn, err,
		"SELECT relname, current_user FROM pg_class WHERE relkind IN ('r', 'p') AND "
		"pg_table_is_visible(oid)"
		" AND NOT (has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')"
		" AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE')) ORDER BY "
		"relname",
		"");
	int i;

	for (i = 0; i < PQntuples(result); i++)
		if (is_ours(looking, PQgetvalue(result, i, 0)))
			complain_grant(looking,
				       arena_printf(looking->arena, "\"%s\"", PQgetvalue(result, i, 0)),
				       "SELECT, INSERT, UPDATE, DELETE", PQgetvalue(result, i, 1));
	PQclear(result);
	return result != NULL ? 0 : -1;
}

static int check_sequences(struct looking *looking, PGconn *conn, struct error *err)
{
	PGresult *result = pg_exec_blocking(
		conn, err,
		"SELECT relname, current_user FROM pg_class WHERE relkind = 'S' AND pg_table_is_visible(oid)"
		" AND relname IN ('crawl_dump_id_seq', 'outbox_id_seq', 'dead_letter_id_seq')"
		" AND NOT (has_sequence_privilege(oid, 'SELECT') AND has_sequence_privilege(oid, 'USAGE'))"
		" ORDER BY relname",
		"");
	int i;

	for (i = 0; i < PQntuples(result); i++)
		complain_grant(looking,
			       arena_printf(looking->arena, "SEQUENCE \"%s\"", PQgetvalue(result, i, 0)),
			       "SELECT, USAGE", PQgetvalue(result, i, 1));
	PQclear(result);
	return result != NULL ? 0 : -1;
}

static bool is_true(const PGresult *result, int column)
{
	return strcmp(PQgetvalue(result, 0, column), "t") == 0;
}

static void check_database(const struct looking *looking, const PGresult *result)
{
	struct arena *arena = looking->arena;
	struct store_schema *schema = looking->schema;
	const char *role = pg_get_text(result, 0, 0, arena), *place = pg_get_text(result, 0, 1, arena);

	if (is_true(result, 2))
		store_plan_finding(arena, schema, STORE_WRONG,
				   "name the primary server in stores.tasks, or all of them: the one that "
				   "takes writes is found",
				   "the server is a standby and takes no writes");
	else if (is_true(result, 3))
		store_plan_finding(
			arena, schema, STORE_WRONG,
			arena_printf(arena, "run ALTER ROLE \"%s\" SET default_transaction_read_only = off",
				     role),
			"transactions of role %s are read-only", role);
	if (place == NULL)
		store_plan_finding(arena, schema, STORE_WRONG,
				   "make one, or set search_path to one that is there",
				   "no schema of role %s's search_path exists", role);
	else if (schema->step_count > 0 && !is_true(result, 4))
		store_plan_finding(
			arena, schema, STORE_WRONG,
			arena_printf(
				arena,
				"run GRANT CREATE ON SCHEMA \"%s\" TO \"%s\", or what 'sluicectl schema show'"
				" prints as its owner",
				place, role),
			"role %s may make no tables in schema %s", role, place);
	if (strcmp(PQgetvalue(result, 0, 5), "UTF8") != 0)
		store_plan_finding(arena, schema, STORE_WARNING,
				   "make the database anew with ENCODING 'UTF8'",
				   "the database's encoding is %s: texts that it cannot hold are refused",
				   PQgetvalue(result, 0, 5));
}

/* --- how many connections --- */

/* The least of limits that are no -1. */
static int64_t least(int64_t a, int64_t b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

static void read_connections(const PGresult *result, struct store_connections *connections)
{
	connections->server = pg_get_int(result, 0, 6);
	connections->reserved = pg_get_int(result, 0, 7);
	connections->role = pg_get_int(result, 0, 8);
	connections->database = pg_get_int(result, 0, 9);
	connections->most = least(least(connections->server - connections->reserved, connections->role),
				  connections->database);
}

static int look_at_database(struct looking *looking, PGconn *conn, struct error *err)
{
	PGresult *result = pg_exec_blocking(
		conn, err,
		"SELECT current_user, current_schema(), pg_is_in_recovery(),"
		" current_setting('default_transaction_read_only')::boolean,"
		" coalesce(has_schema_privilege(current_schema(), 'CREATE'), false),"
		" current_setting('server_encoding'), current_setting('max_connections')::bigint,"
		" CASE WHEN r.rolsuper THEN 0 ELSE current_setting('superuser_reserved_connections')::bigint"
		" + coalesce(current_setting('reserved_connections', true)::bigint, 0) END,"
		" CASE WHEN r.rolsuper THEN -1 ELSE r.rolconnlimit END,"
		" CASE WHEN r.rolsuper THEN -1 ELSE d.datconnlimit END"
		" FROM pg_roles r, pg_database d WHERE r.rolname = current_user AND d.datname = "
		"current_database()",
		"");

	if (result == NULL)
		return -1;
	check_database(looking, result);
	read_connections(result, &looking->schema->connections);
	PQclear(result);
	return 0;
}

/* --- all of it --- */

static const char *server_name(struct arena *arena, const PGconn *conn)
{
	int version = PQserverVersion(conn);

	return arena_printf(arena, "PostgreSQL %d.%d", version / 10000, version % 10000);
}

static int look(PGconn *conn, void *user, struct error *err)
{
	struct looking *looking = user;
	struct store_schema *schema = looking->schema;
	size_t i;
	int rc;

	*schema = (struct store_schema){.server = server_name(looking->arena, conn)};
	if (check_tables(looking, conn, err) < 0 || check_sequences(looking, conn, err) < 0)
		return -1;
	rc = pg_schema_missing(conn, looking->arena, schema, err);
	/* It may not even be read: that has been said. */
	if (rc < 0 && schema->finding_count > 0 && PQstatus(conn) == CONNECTION_OK)
		return look_at_database(looking, conn, err);
	if (rc <= 0)
		return rc;
	for (i = 0; i < looking->count; i++)
		if (pg_schema_plan(conn, looking->tables[i], looking->arena, schema, err) < 0)
			return -1;
	return look_at_database(looking, conn, err);
}

int pg_look(const char *rest, const struct store_table *const *tables, size_t count, struct arena *arena,
	    struct store_schema *schema, struct error *err)
{
	struct looking looking = {.tables = tables, .count = count, .arena = arena, .schema = schema};
	struct pg_target target;
	int rc;

	if (pg_target_parse(&target, rest, err) < 0)
		return -1;
	rc = pg_blocking(&target, LOOK_WAIT_MS, look, &looking, err);
	pg_target_free(&target);
	return rc;
}

struct applying {
	const struct store_table *const *tables;
	size_t count;
	store_applied_fn *applied;
	void *user;
};

static int apply(PGconn *conn, void *user, struct error *err)
{
	struct applying *applying = user;

	return pg_schema_apply(conn, applying->tables, applying->count, applying->applied, applying->user,
			       err);
}

int pg_apply(const char *rest, const struct store_options *options, const struct store_table *const *tables,
	     size_t count, store_applied_fn *applied, void *user, struct error *err)
{
	struct applying applying = {.tables = tables, .count = count, .applied = applied, .user = user};
	struct pg_target target;
	int rc;

	if (pg_target_parse(&target, rest, err) < 0)
		return -1;
	rc = pg_blocking(&target, options->busy_ms, apply, &applying, err);
	pg_target_free(&target);
	return rc;
}
