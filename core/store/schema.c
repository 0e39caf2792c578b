/* SPDX-License-Identifier: Apache-2.0 */
/* See schema.h. */
#include "store/schema.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

#define APPLY "run 'sluicectl schema apply', or start sluiced, which does the same"

static void add_step(struct arena *arena, struct store_schema *schema, int64_t version, const char *name,
		     const char *sql)
{
	schema->steps = arena_grow(arena, schema->steps, schema->step_count, sizeof(*schema->steps));
	schema->steps[schema->step_count++] = (struct store_step){version, name, sql};
}

void store_plan_finding(struct arena *arena, struct store_schema *schema, enum store_finding_kind kind,
			const char *todo, const char *fmt, ...)
{
	struct store_finding finding = {.kind = kind, .todo = todo};
	va_list ap;

	va_start(ap, fmt);
	finding.text = arena_vprintf(arena, fmt, ap);
	va_end(ap);
	schema->findings = arena_grow(arena, schema->findings, schema->finding_count, sizeof(*schema->findings));
	schema->findings[schema->finding_count++] = finding;
}

bool store_plan_version(struct arena *arena, struct store_schema *schema)
{
	if (schema->version > schema->newest) {
		store_plan_finding(arena, schema, STORE_WRONG, "use a newer program",
				   "the schema is version %" PRId64 ", newer than the %" PRId64
				   " this program knows",
				   schema->version, schema->newest);
		return false;
	}
	if (schema->version == 0)
		store_plan_finding(arena, schema, STORE_MISSING, APPLY, "the task store is not made yet");
	else if (schema->version < schema->newest)
		store_plan_finding(arena, schema, STORE_MISSING, APPLY,
				   "the schema is version %" PRId64 ", this program needs %" PRId64,
				   schema->version, schema->newest);
	return true;
}

int store_plan_error(const struct store_schema *schema, struct error *err)
{
	size_t i;

	for (i = 0; i < schema->finding_count; i++)
		if (schema->findings[i].kind == STORE_WRONG)
			return error_set(err, ERR_INPUT, "%s", schema->findings[i].text);
	return 0;
}

/* --- migrations --- */

/* One column a line, one statement after the other; what stands in quotes stays. */
static void add_pretty(struct buf *out, const char *sql)
{
	bool quoted = false;
	size_t i;

	for (i = 0; sql != NULL && sql[i] != '\0'; i++) {
		quoted ^= sql[i] == '\'';
		if (sql[i] == '\t' && !quoted)
			buf_addc(out, '\n');
		buf_addc(out, sql[i]);
		if (sql[i] == ';' && !quoted)
			buf_addc(out, '\n');
	}
	if (out->len > 0 && out->data[out->len - 1] != '\n')
		buf_adds(out, ";\n");
}

static void add_text(struct buf *out, const char *text)
{
	buf_addc(out, '\'');
	for (; *text != '\0'; text++)
		buf_printf(out, "%s%c", *text == '\'' ? "'" : "", *text);
	buf_addc(out, '\'');
}

void store_plan_migration(struct arena *arena, int64_t version, const struct store_migration *migration,
			  const char *before, const char *after, const char *now, struct store_schema *schema)
{
	struct buf sql;

	buf_init(&sql);
	add_pretty(&sql, before);
	add_pretty(&sql, migration->sql);
	add_pretty(&sql, after);
	buf_printf(&sql, "INSERT INTO schema_migration (version, name, applied_at) VALUES (%" PRId64 ", ",
		   version);
	add_text(&sql, migration->name);
	buf_printf(&sql, ", %s);\n", now);
	add_step(arena, schema, version, migration->name, arena_strndup(arena, sql.data, sql.len));
	buf_fini(&sql);
}

/* --- tables of plugins --- */

struct column {
	const char *name;
	enum store_type type;
};

/* One table being planned. */
struct planning {
	struct arena *arena;
	const struct store_dialect *dialect;
	const struct store_table *table;
	const struct store_there *there;
	struct store_schema *schema;
	struct column *columns;		/* all it has to have, the key first */
	size_t count;
	struct buf sql;
};

static const char *upper(struct arena *arena, const char *text)
{
	char *copy = arena_strdup(arena, text), *p;

	for (p = copy; *p != '\0'; p++)
		*p = (char)toupper((unsigned char)*p);
	return copy;
}

static void complain_type(struct planning *plan, const struct column *column, const char *there)
{
	store_plan_finding(plan->arena, plan->schema, STORE_WRONG,
			   plan->dialect->retype(plan->arena, plan->table->name, column->name, column->type),
			   "table %s: column %s is %s in the task store, the plugin declares %s",
			   plan->table->name, column->name, upper(plan->arena, there),
			   upper(plan->arena, plan->dialect->type_name(column->type)));
}

/* A column that is declared twice counts once; its types must agree. */
static void need_column(struct planning *plan, const char *name, enum store_type type)
{
	size_t i;

	for (i = 0; i < plan->count; i++)
		if (str_eq(plan->columns[i].name, name)) {
			if (plan->columns[i].type != type)
				complain_type(plan, &(struct column){name, type},
					      plan->dialect->type_name(plan->columns[i].type));
			return;
		}
	plan->columns[plan->count++] = (struct column){name, type};
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

static void need_columns(struct planning *plan)
{
	const struct store_table *table = plan->table;
	size_t i;

	plan->columns = arena_alloc(plan->arena, (table->column_count + 3) * sizeof(*plan->columns));
	if (table->key_column != NULL)
		need_column(plan, table->key_column, key_type(table));
	for (i = 0; i < table->column_count; i++)
		need_column(plan, table->columns[i].name, table->columns[i].type);
	if (table->stamped) {
		need_column(plan, "created_at", STORE_TIMESTAMP);
		need_column(plan, "updated_at", STORE_TIMESTAMP);
	}
}

static bool is_inline_key(const struct planning *plan, const char *column)
{
	return plan->dialect->inline_key && str_eq(plan->table->key_column, column);
}

static void make_table(struct planning *plan)
{
	size_t i;

	buf_printf(&plan->sql, "CREATE TABLE \"%s\" (\n\t%s", plan->table->name, plan->dialect->id_column);
	for (i = 0; i < plan->count; i++)
		buf_printf(&plan->sql, ",\n\t\"%s\" %s%s", plan->columns[i].name,
			   plan->dialect->type_name(plan->columns[i].type),
			   is_inline_key(plan, plan->columns[i].name) ? " NOT NULL UNIQUE" : "");
	buf_adds(&plan->sql, ");\n");
	/* Of a store that has nothing it has been said. */
	if (plan->schema->version > 0)
		store_plan_finding(plan->arena, plan->schema, STORE_MISSING, APPLY,
				   "table %s of a plugin is missing", plan->table->name);
}

static const char *type_there(const struct store_there *there, const char *column)
{
	size_t i;

	for (i = 0; i < there->column_count; i++)
		if (str_eq(there->columns[i].name, column))
			return there->columns[i].type;
	return NULL;
}

static void widen_table(struct planning *plan)
{
	const char *table = plan->table->name;
	size_t i;

	for (i = 0; i < plan->count; i++) {
		const struct column *column = &plan->columns[i];
		const char *type = plan->dialect->type_name(column->type);
		const char *there = type_there(plan->there, column->name);

		if (there != NULL && !plan->dialect->fits(column->type, there)) {
			complain_type(plan, column, there);
		} else if (there == NULL && is_inline_key(plan, column->name)) {
			store_plan_finding(
				plan->arena, plan->schema, STORE_WRONG,
				arena_printf(plan->arena,
					     "ALTER TABLE \"%s\" RENAME TO another name: a new one is made",
					     table),
				"table %s: the key column %s is missing in the task store", table,
				column->name);
		} else if (there == NULL) {
			buf_printf(&plan->sql, "ALTER TABLE \"%s\" ADD COLUMN \"%s\" %s;\n", table,
				   column->name, type);
			store_plan_finding(plan->arena, plan->schema, STORE_MISSING, APPLY,
					   "table %s: column %s is missing", table, column->name);
		}
	}
}

/* What upserts rely on. The original lacks it on one of its tables. */
static void make_key(struct planning *plan)
{
	const char *table = plan->table->name, *key = plan->table->key_column;

	if (key == NULL || plan->dialect->inline_key || plan->there->key)
		return;
	buf_printf(&plan->sql, "CREATE UNIQUE INDEX \"%s_%s_key\" ON \"%s\" (\"%s\");\n", table, key, table,
		   key);
	if (plan->there->table)
		store_plan_finding(plan->arena, plan->schema, STORE_MISSING, APPLY,
				   "table %s: its key %s is not unique", table, key);
}

static void make_indexes(struct planning *plan)
{
	const struct store_table *table = plan->table;
	size_t i;

	for (i = 0; i < table->index_count; i++) {
		if (plan->there->indexes != NULL && plan->there->indexes[i])
			continue;
		buf_printf(&plan->sql, "CREATE INDEX \"%s_%s\" ON \"%s\" (\"%s\");\n", table->name,
			   table->indexes[i], table->name, table->indexes[i]);
		if (plan->there->table)
			store_plan_finding(plan->arena, plan->schema, STORE_MISSING, APPLY,
					   "table %s: the index over %s is missing", table->name,
					   table->indexes[i]);
	}
}

void store_plan_table(struct arena *arena, const struct store_dialect *dialect,
		      const struct store_table *table, const struct store_there *there,
		      struct store_schema *schema)
{
	struct planning plan = {
		.arena = arena, .dialect = dialect, .table = table, .there = there, .schema = schema};
	struct error err;

	if (store_check_table_name(table->name, &err) < 0) {
		store_plan_finding(arena, schema, STORE_WRONG, "have its plugin name it otherwise", "%s",
				   err.text);
		return;
	}
	buf_init(&plan.sql);
	need_columns(&plan);
	if (there->table)
		widen_table(&plan);
	else
		make_table(&plan);
	make_key(&plan);
	make_indexes(&plan);
	if (plan.sql.len > 0)
		add_step(arena, schema, 0, arena_strdup(arena, table->name),
			 arena_strndup(arena, plan.sql.data, plan.sql.len));
	buf_fini(&plan.sql);
}
