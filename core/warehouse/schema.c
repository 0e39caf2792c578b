/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns tables: describing, creating, comparing the declared with the real.
 * Runs in the thread that owns the handle.
 */
#include <assert.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"
#include "warehouse/engine.h"
#include "warehouse/internal.h"
#include "warehouse/sql.h"

#define FSYNC_SETTINGS "fsync_after_insert = 1, fsync_part_directory = 1"
#define CHANGE_MS 60000		/* replicas agree on a change, which takes its time */
#define DEDUP_WINDOW "non_replicated_deduplication_window = 100"

static bool given(const char *text)
{
	return text && *text;
}

/* The SETTINGS part of an engine's full text. */
static char *settings_of(struct arena *arena, const char *engine_full)
{
	const char *at = strstr(engine_full, " SETTINGS ");

	return arena_strdup(arena, at ? at + strlen(" SETTINGS ") : "");
}

static int describe_keys(struct warehouse *wh, struct arena *arena, struct warehouse_table *table,
			 struct error *err)
{
	const char **parts[] = {&table->engine, &table->partition_by, &table->order_by, &table->settings};
	struct buf sql, out, field;
	const char *at;
	int rc;

	buf_init(&sql);
	buf_init(&out);
	buf_init(&field);
	buf_adds(&sql, "SELECT engine, partition_key, sorting_key, engine_full FROM system.tables "
		 "WHERE database = ");
	sql_text(&sql, table->database, strlen(table->database));
	buf_adds(&sql, " AND name = ");
	sql_text(&sql, table->name, strlen(table->name));
	rc = warehouse_run(wh, &sql, WAREHOUSE_LOOK_MS, &out, err);
	if (rc == 0 && out.len == 0)
		rc = error_set(err, ERR_NOT_FOUND, "table %s.%s does not exist", table->database,
			       table->name);
	at = out.data;
	for (size_t i = 0; rc == 0 && i < sizeof(parts) / sizeof(parts[0]); i++) {
		sql_tsv_field(&at, out.data + out.len, &field);
		*parts[i] = arena_strndup(arena, field.data, field.len);
	}
	if (rc == 0)
		table->settings = settings_of(arena, table->settings);
	buf_fini(&field);
	buf_fini(&out);
	buf_fini(&sql);
	return rc;
}

/* DESCRIBE TABLE answers with more fields in newer versions; the first four are in all. */
static void read_columns(struct arena *arena, const struct buf *out, struct warehouse_table *table)
{
	const char *at = out->data, *end = out->data + out->len;
	struct warehouse_column *columns;
	struct buf field;
	size_t lines = 0;

	buf_init(&field);
	for (const char *p = at; p < end; p++)
		lines += *p == '\n';
	columns = arena_alloc(arena, (lines + 1) * sizeof(*columns));
	for (size_t i = 0; i < lines; i++) {
		const char **parts[] = {&columns[i].name, &columns[i].type, &columns[i].default_kind,
					&columns[i].default_expr};
		char stop = '\t';

		for (size_t n = 0; stop == '\t'; n++) {
			stop = sql_tsv_field(&at, end, &field);
			if (n < sizeof(parts) / sizeof(parts[0]))
				*parts[n] = arena_strndup(arena, field.data ? field.data : "", field.len);
		}
	}
	table->columns = columns;
	table->column_count = lines;
	buf_fini(&field);
}

const struct warehouse_table *warehouse_describe(struct warehouse *wh, struct arena *arena,
						 const char *database, const char *table, struct error *err)
{
	struct warehouse_table *found = arena_alloc(arena, sizeof(*found));
	struct buf sql, out;
	int rc;

	buf_init(&sql);
	buf_init(&out);
	found->database = arena_strdup(arena, database);
	found->name = arena_strdup(arena, table);
	buf_adds(&sql, "DESCRIBE TABLE ");
	sql_table(&sql, database, table);
	rc = warehouse_run(wh, &sql, WAREHOUSE_LOOK_MS, &out, err);
	if (rc == 0) {
		read_columns(arena, &out, found);
		rc = describe_keys(wh, arena, found, err);
	}
	if (rc < 0)
		error_prefix(err, "describing %s.%s", database, table);
	buf_fini(&out);
	buf_fini(&sql);
	return rc < 0 ? NULL : found;
}

/* Creating */

static void add_column(struct buf *sql, const struct warehouse_column *column)
{
	sql_name(sql, column->name);
	buf_addc(sql, ' ');
	buf_adds(sql, column->type);
	if (given(column->default_expr))
		buf_printf(sql, " DEFAULT %s", column->default_expr);
}

static void add_setting(struct buf *sql, bool *any, const char *text)
{
	buf_adds(sql, *any ? ", " : " SETTINGS ");
	buf_adds(sql, text);
	*any = true;
}

static void add_settings(struct warehouse *wh, struct buf *sql, const struct warehouse_table *spec)
{
	const char *own = given(spec->settings) ? spec->settings : "";
	bool any = false;

	if (*own)
		add_setting(sql, &any, own);
	if (wh->features.fsync && spec->durability == WAREHOUSE_FSYNC && !strstr(own, "fsync_"))
		add_setting(sql, &any, FSYNC_SETTINGS);
	if (wh->features.dedup_window && !engine_replicates(spec->engine) &&
	    !strstr(own, "deduplication_window"))
		add_setting(sql, &any, DEDUP_WINDOW);
}

/* With an identity, rows that differ in it alone have to stay apart. */
static void add_order(struct buf *sql, const struct warehouse_table *spec)
{
	bool any = given(spec->order_by), more = spec->identity && !(any && engine_orders_by(spec->order_by, spec->identity));

	buf_printf(sql, " ORDER BY (%s", any ? spec->order_by : more ? "" : "tuple()");
	if (more) {
		buf_adds(sql, any ? ", " : "");
		sql_name(sql, spec->identity);
	}
	buf_addc(sql, ')');
}

static int create_statement(struct warehouse *wh, const struct warehouse_table *spec, struct buf *sql,
			    struct error *err)
{
	buf_adds(sql, "CREATE TABLE IF NOT EXISTS ");
	sql_table(sql, spec->database, spec->name);
	for (size_t i = 0; i < spec->column_count; i++) {
		buf_adds(sql, i ? ", " : " (");
		add_column(sql, &spec->columns[i]);
	}
	buf_adds(sql, ") ENGINE = ");
	if (!spec->identity)
		buf_adds(sql, spec->engine);
	else if (engine_add_replacing(sql, spec->engine, err) < 0)
		return -1;
	if (given(spec->partition_by))
		buf_printf(sql, " PARTITION BY %s", spec->partition_by);
	if (engine_merges(spec->engine)) {
		add_order(sql, spec);
		add_settings(wh, sql, spec);
	}
	return 0;
}

int warehouse_create_table(struct warehouse *wh, const struct warehouse_table *spec, struct error *err)
{
	struct buf sql;
	int rc;

	buf_init(&sql);
	buf_adds(&sql, "CREATE DATABASE IF NOT EXISTS ");
	sql_name(&sql, spec->database);
	rc = warehouse_run(wh, &sql, CHANGE_MS, NULL, err);
	buf_clear(&sql);
	if (rc == 0)
		rc = create_statement(wh, spec, &sql, err);
	if (rc == 0)
		rc = warehouse_run(wh, &sql, CHANGE_MS, NULL, err);
	if (rc < 0)
		error_prefix(err, "creating table %s.%s", spec->database, spec->name);
	buf_fini(&sql);
	return rc;
}

/* Comparing */

/* Appends type in the one form that equal types share: an INSERT converts between them without loss. */
static void canonical_type(struct buf *out, const char *type)
{
	static const struct { const char *found, *plain; } same[] = {
		{"DateTime('UTC')", "DateTime"}, {"DateTime('Etc/UTC')", "DateTime"}, {"Bool", "UInt8"},
		{"LowCardinality(", ""}, {" ", ""},
	};
	int brackets = 0;

	while (*type) {
		size_t i = 0;

		while (i < sizeof(same) / sizeof(same[0]) && !str_starts(type, same[i].found))
			i++;
		if (i == sizeof(same) / sizeof(same[0])) {
			buf_addc(out, *type++);
			continue;
		}
		buf_adds(out, same[i].plain);
		type += strlen(same[i].found);
		brackets += str_ends(same[i].found, "(");
	}
	for (; brackets && out->len && out->data[out->len - 1] == ')'; brackets--)
		out->data[--out->len] = '\0';
}

static bool same_type(const char *a, const char *b)
{
	struct buf one, other;
	bool same;

	buf_init(&one);
	buf_init(&other);
	canonical_type(&one, a);
	canonical_type(&other, b);
	same = str_eq(one.data, other.data);
	buf_fini(&one);
	buf_fini(&other);
	return same;
}

static const struct warehouse_column *find_column(const struct warehouse_table *table, const char *name)
{
	for (size_t i = 0; i < table->column_count; i++)
		if (str_eq(table->columns[i].name, name))
			return &table->columns[i];
	return NULL;
}

/* Appends what is wrong with one declared column, and the statement that would put it right, to text. */
static void compare_column(const struct warehouse_table *real, const struct warehouse_column *declared,
			   struct buf *text)
{
	const struct warehouse_column *found = find_column(real, declared->name);
	const char *way = found ? "MODIFY" : "ADD";
	const char *kind = found ? found->default_kind : "";

	if (found && same_type(found->type, declared->type) && (!*kind || str_eq(kind, "DEFAULT")))
		return;
	if (text->len)
		buf_adds(text, "; ");
	buf_printf(text, "column %s is declared %s but ", declared->name, declared->type);
	if (found && *kind && !str_eq(kind, "DEFAULT")) {
		buf_printf(text, "is %s in the table, so nothing can be inserted into it: make it an "
			   "ordinary column", kind);
		return;
	}
	if (found)
		buf_printf(text, "is %s in the table", found->type);
	else
		buf_adds(text, "is missing in the table");
	buf_printf(text, ": run ALTER TABLE ");
	sql_table(text, real->database, real->name);
	buf_printf(text, " %s COLUMN ", way);
	add_column(text, declared);
	buf_adds(text, ", or change the sink");
}

static int compare(const struct warehouse_table *spec, const struct warehouse_table *real, struct error *err)
{
	struct buf text;
	int rc = 0;

	buf_init(&text);
	for (size_t i = 0; i < spec->column_count; i++)
		compare_column(real, &spec->columns[i], &text);
	if (text.len)
		rc = error_set(err, ERR_INPUT, "table %s.%s: %s", spec->database, spec->name, text.data);
	buf_fini(&text);
	return rc;
}

/* What a table that was there before lacks of the settings that it would be made with. */
static int raise_settings(struct warehouse *wh, const struct warehouse_table *spec,
			  const struct warehouse_table *real, struct error *err)
{
	bool fsync = spec->durability == WAREHOUSE_FSYNC && wh->features.fsync &&
		(!strstr(real->settings, "fsync_after_insert = 1") ||
		 !strstr(real->settings, "fsync_part_directory = 1"));
	bool window = wh->features.dedup_window && !engine_replicates(real->engine) &&
		!strstr(real->settings, "deduplication_window");
	struct buf sql;
	int rc;

	if (!engine_merges(real->engine) || (!fsync && !window))
		return 0;
	buf_init(&sql);
	buf_adds(&sql, "ALTER TABLE ");
	sql_table(&sql, spec->database, spec->name);
	buf_printf(&sql, " MODIFY SETTING %s%s%s", fsync ? FSYNC_SETTINGS : "", fsync && window ? ", " : "",
		   window ? DEDUP_WINDOW : "");
	rc = warehouse_run(wh, &sql, CHANGE_MS, NULL, err);
	if (rc < 0)
		error_prefix(err, "changing the settings of table %s.%s", spec->database, spec->name);
	buf_fini(&sql);
	return rc;
}

/* Elsewhere insert_quorum is silently ignored. */
static int check_quorum(const struct warehouse_table *spec, const char *engine, struct error *err)
{
	if (spec->durability != WAREHOUSE_QUORUM || engine_replicates(engine))
		return 0;
	return error_set(err, ERR_INPUT, "table %s.%s: durability quorum needs a Replicated table, not %s: create it so, "
			 "or choose another durability", spec->database, spec->name, engine);
}

/*
 * A table is not changed into one that replaces; one that replaces by something
 * else would make different events one. What is no MergeTree passes rows on.
 */
static int check_replacing(const struct warehouse_table *spec, const struct warehouse_table *real, struct error *err)
{
	if (!spec->identity || !engine_merges(real->engine))
		return 0;
	if (!engine_replaces(real->engine))
		return error_set(err, ERR_INPUT, "table %s.%s: warehouse.engine is replacing, but the table is a %s, which "
				 "stays as it is: RENAME TABLE it, start again, and copy its rows into the new one; or set "
				 "warehouse.engine to plain", spec->database, spec->name, real->engine);
	if (!engine_orders_by(real->order_by, spec->identity))
		return error_set(err, ERR_INPUT, "table %s.%s: a %s ordered by (%s) makes rows one that differ in %s: "
				 "RENAME TABLE it, and let a new one be made", spec->database, spec->name, real->engine,
				 real->order_by, spec->identity);
	return 0;
}

static int ensure(struct warehouse *wh, const struct warehouse_table *spec, struct error *err)
{
	struct arena *arena = arena_new();
	struct error local = {0};
	const struct warehouse_table *real = warehouse_describe(wh, arena, spec->database, spec->name, &local);
	int rc = -1;

	if (!real && local.code == ERR_NOT_FOUND && check_quorum(spec, spec->engine, &local) == 0)
		real = warehouse_create_table(wh, spec, &local) < 0 ? NULL :
			warehouse_describe(wh, arena, spec->database, spec->name, &local);
	if (!real)
		error_set(err, local.code, "%s", local.text);
	else if (check_quorum(spec, real->engine, err) == 0 && check_replacing(spec, real, err) == 0 &&
		 compare(spec, real, err) == 0)
		rc = raise_settings(wh, spec, real, err);
	arena_free(&arena);
	return rc;
}

/* On every host that answers, of those that did when last asked or of the others. -1: one answered with no. */
static int ensure_on(struct warehouse *wh, const struct warehouse_table *spec, bool silent, size_t *made_r,
		     struct error *err)
{
	size_t hosts = warehouse_hosts(wh);
	bool refused = false;

	*made_r = 0;
	for (size_t host = 1; host <= hosts && !refused; host++) {
		if ((wh->ops->silent && wh->ops->silent(wh->conn, host)) != silent)
			continue;
		wh->host = hosts > 1 ? host : 0;
		if (ensure(wh, spec, err) == 0)
			++*made_r;
		else
			refused = wh->code != 0 || err->code == ERR_INPUT;
	}
	wh->host = 0;
	return refused ? -1 : 0;
}

int warehouse_ensure_table(struct warehouse *wh, const struct warehouse_table *spec, struct error *err)
{
	struct error local = {0};
	size_t made;
	int rc;

	if (spec->durability == WAREHOUSE_QUORUM && !wh->features.quorum)
		return error_set(err, ERR_INPUT, "table %s.%s: durability quorum needs replicas, which %s: "
				 "has not", spec->database, spec->name, wh->ops->scheme);
	rc = ensure_on(wh, spec, false, &made, &local);
	if (rc == 0 && made == 0)
		rc = ensure_on(wh, spec, true, &made, &local);
	/* A host that is away does not keep the others from their work. */
	return rc < 0 || made == 0 ? error_set(err, local.code, "%s", local.text) : 0;
}

/* Looking only */

/* Without it the server does not know a repeat from an insert of its own. */
static void advise_window(const struct warehouse *wh, const struct warehouse_table *real, struct buf *advice)
{
	if (!wh->features.dedup_window || !engine_merges(real->engine) || engine_replicates(real->engine) ||
	    strstr(real->settings, "deduplication_window"))
		return;
	if (advice->len)
		buf_adds(advice, "; ");
	buf_printf(advice, "table %s.%s has no deduplication window: run ALTER TABLE ", real->database,
		   real->name);
	sql_table(advice, real->database, real->name);
	buf_adds(advice, " MODIFY SETTING " DEDUP_WINDOW);
}

static int check(struct warehouse *wh, const struct warehouse_table *spec, struct buf *advice,
		 struct error *err)
{
	struct arena *arena = arena_new();
	const struct warehouse_table *real = warehouse_describe(wh, arena, spec->database, spec->name, err);
	int rc = -1;

	if (real && check_quorum(spec, real->engine, err) == 0 && check_replacing(spec, real, err) == 0 &&
	    compare(spec, real, err) == 0) {
		advise_window(wh, real, advice);
		rc = 0;
	}
	arena_free(&arena);
	return rc;
}

int warehouse_check_table(struct warehouse *wh, const struct warehouse_table *spec, struct buf *advice,
			  struct error *err)
{
	size_t hosts = warehouse_hosts(wh), answered = 0;
	struct error local = {0};
	int rc = 0;

	for (size_t host = 1; host <= hosts && rc == 0; host++) {
		wh->host = hosts > 1 ? host : 0;
		buf_clear(advice);
		if (check(wh, spec, advice, &local) == 0)
			answered++;
		else if (wh->code != 0 || local.code == ERR_INPUT || local.code == ERR_NOT_FOUND)
			rc = error_set(err, local.code, "%s", local.text);
	}
	wh->host = 0;
	return rc == 0 && answered == 0 ? error_set(err, local.code, "%s", local.text) : rc;
}
