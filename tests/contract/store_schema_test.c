/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of every task store: what its schema lacks is told, then done, and then told no more. */
#include "store_fixture.h"

#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "store_cases.h"

#define STEPS_MAX 40

static const struct store_column narrow_columns[] = {
	{"handle", STORE_TEXT, STORE_KEEP, true},
	{"followers", STORE_BIGINT, STORE_KEEP, true},
};
static const struct store_column wide_columns[] = {
	{"handle", STORE_TEXT, STORE_KEEP, true},
	{"followers", STORE_BIGINT, STORE_KEEP, true},
	{"tags", STORE_TEXT_ARRAY, STORE_KEEP, true},
	{"detail", STORE_JSON, STORE_KEEP, true},
};
static const struct store_column other_columns[] = {
	{"handle", STORE_TEXT, STORE_KEEP, true},
	{"followers", STORE_TEXT, STORE_KEEP, true},
};
static const char *const indexes[] = {"handle"};

struct applied {
	struct fixture *fx;
	const char *names[STEPS_MAX];
	size_t count;
};

static void on_applied(void *user, const struct store_step *step)
{
	struct applied *applied = user;

	assert_true(applied->count < STEPS_MAX);
	applied->names[applied->count++] = arena_strdup(applied->fx->arena, step->name);
}

/* A table that only this test has. */
static struct store_table *table_of(struct fixture *fx, const struct store_column *columns, size_t count)
{
	struct store_table *table = arena_alloc(fx->arena, sizeof(*table));

	*table = (struct store_table){
		arena_printf(fx->arena, "t_%s", fx->flow), "profile_id", true, columns, count, NULL, 0};
	return table;
}

static struct store_schema look(struct fixture *fx, const struct store_table *table, size_t steps,
				size_t findings)
{
	struct store_schema schema;

	assert_good(fx, store_schema_read(fx->url, &table, 1, fx->arena, &schema, &fx->err));
	if (schema.step_count != steps || schema.finding_count != findings)
		fail_msg("%zu steps and %zu findings, the first: %s", schema.step_count, schema.finding_count,
			 schema.finding_count > 0 ? schema.findings[0].text : "-");
	return schema;
}

static void apply(struct fixture *fx, const struct store_table *table, size_t steps)
{
	struct applied applied = {.fx = fx};

	assert_good(fx, store_schema_apply(fx->url, &table, 1, on_applied, &applied, &fx->err));
	assert_int_equal(applied.count, steps);
	if (steps > 0)
		assert_string_equal(applied.names[steps - 1], table->name);
}

static void store_that_is_up_to_date_lacks_nothing(void **state)
{
	struct fixture *fx = *state;
	struct store_schema schema = look(fx, &fixture_table, 0, 0);

	assert_true(schema.version > 0);
	assert_int_equal(schema.version, schema.newest);
	assert_true(str_starts(schema.server, "SQLite ") || str_starts(schema.server, "PostgreSQL "));
	apply(fx, &fixture_table, 0);
}

static void table_that_is_missing_is_made(void **state)
{
	struct fixture *fx = *state;
	struct store_table *table = table_of(fx, narrow_columns, 2);
	struct store_schema schema = look(fx, table, 1, 1);

	assert_string_equal(schema.steps[0].name, table->name);
	assert_int_equal(schema.steps[0].version, 0);
	assert_true(str_starts(schema.steps[0].sql,
			       arena_printf(fx->arena, "CREATE TABLE \"%s\" (", table->name)));
	assert_true(str_ends(schema.steps[0].sql, ");\n"));
	assert_int_equal(schema.findings[0].kind, STORE_MISSING);
	assert_non_null(strstr(schema.findings[0].text, table->name));
	assert_non_null(strstr(schema.findings[0].todo, "sluicectl schema apply"));
	/* Looking has changed nothing. */
	look(fx, table, 1, 1);
	apply(fx, table, 1);
	look(fx, table, 0, 0);
	apply(fx, table, 0);
	assert_good(fx, store_ensure_tables(store_sync_store(fx->sync),
					    (const struct store_table *const *)&table, 1, &fx->err));
}

static void table_is_widened(void **state)
{
	struct fixture *fx = *state;
	struct store_table *narrow = table_of(fx, narrow_columns, 2), *wide = table_of(fx, wide_columns, 4);
	struct store_schema schema;

	apply(fx, narrow, 1);
	wide->indexes = indexes;
	wide->index_count = 1;
	schema = look(fx, wide, 1, 3);
	assert_null(strstr(schema.steps[0].sql, "CREATE TABLE"));
	assert_non_null(strstr(schema.steps[0].sql, "ADD COLUMN \"tags\""));
	assert_non_null(strstr(schema.steps[0].sql, "ADD COLUMN \"detail\""));
	assert_non_null(strstr(schema.steps[0].sql, "CREATE INDEX"));
	apply(fx, wide, 1);
	look(fx, wide, 0, 0);
	look(fx, narrow, 0, 0);
}

static void wrong_type_stops_everything(void **state)
{
	struct fixture *fx = *state;
	struct store_table *narrow = table_of(fx, narrow_columns, 2), *other = table_of(fx, other_columns, 2);
	struct store_table *fresh = table_of(fx, narrow_columns, 2);
	const struct store_table *const both[] = {fresh, other};
	struct applied applied = {.fx = fx};
	struct store_schema schema;

	apply(fx, narrow, 1);
	schema = look(fx, other, 0, 1);
	assert_int_equal(schema.findings[0].kind, STORE_WRONG);
	assert_string_equal(
		schema.findings[0].text,
		arena_printf(
			fx->arena,
			"table %s: column followers is BIGINT in the task store, the plugin declares TEXT",
			other->name));
	assert_non_null(strstr(schema.findings[0].todo, "ALTER TABLE"));
	fresh->name = arena_printf(fx->arena, "%s_fresh", fresh->name);
	assert_int_equal(store_schema_apply(fx->url, both, 2, on_applied, &applied, &fx->err), -1);
	assert_int_equal(fx->err.code, ERR_INPUT);
	assert_non_null(strstr(fx->err.text, schema.findings[0].text));
	assert_int_equal(applied.count, 0);
	look(fx, fresh, 1, 1);
	assert_int_equal(store_ensure_tables(store_sync_store(fx->sync), both, 2, &fx->err), -1);
	assert_non_null(strstr(fx->err.text, schema.findings[0].text));
}

static void names_of_the_store_are_its_own(void **state)
{
	struct fixture *fx = *state;
	struct store_table *table = table_of(fx, narrow_columns, 2);
	struct store_schema schema;

	table->name = "outbox";
	schema = look(fx, table, 0, 1);
	assert_int_equal(schema.findings[0].kind, STORE_WRONG);
	assert_int_equal(store_ensure_tables(store_sync_store(fx->sync),
					     (const struct store_table *const *)&table, 1, &fx->err),
			 -1);
	assert_non_null(strstr(fx->err.text, "task store's own"));
}

static void whole_schema_is_told_without_a_store(void **state)
{
	struct fixture *fx = *state;
	const struct store_table *table = &fixture_table;
	struct store_schema schema, real = look(fx, table, 0, 0);

	assert_good(fx, store_schema_whole(fx->url, &table, 1, fx->arena, &schema, &fx->err));
	assert_int_equal(schema.version, 0);
	assert_int_equal(schema.step_count, real.newest + 1);
	for (size_t i = 0; i + 1 < schema.step_count; i++) {
		assert_int_equal(schema.steps[i].version, i + 1);
		assert_non_null(strstr(schema.steps[i].sql, "INSERT INTO schema_migration"));
	}
	assert_non_null(strstr(schema.steps[0].sql, "CREATE TABLE dead_letter ("));
	assert_string_equal(schema.steps[real.newest].name, "contract_profile");
	assert_int_equal(store_schema_whole("carrier-pigeon:", &table, 1, fx->arena, &schema, &fx->err), -1);
	assert_int_equal(fx->err.code, ERR_INPUT);
}

static const struct CMUnitTest store_schema_cases[] = {
	CASE(store_that_is_up_to_date_lacks_nothing),
	CASE(table_that_is_missing_is_made),
	CASE(table_is_widened),
	CASE(wrong_type_stops_everything),
	CASE(names_of_the_store_are_its_own),
	CASE(whole_schema_is_told_without_a_store),
};

int store_run_schema_cases(void)
{
	return cmocka_run_group_tests(store_schema_cases, NULL, NULL);
}
