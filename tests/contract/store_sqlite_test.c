/* SPDX-License-Identifier: Apache-2.0 */
/* What is SQLite's alone: the file, its mode, migrations, waiting for a lock. */
#include "store_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/sqlite.h"
#include "store_cases.h"

static const char *path_of(struct fixture *fx)
{
	return strchr(fx->url, ':') + 1;
}

static void open_raw(struct fixture *fx, struct sqlite_db *db)
{
	fx->options.busy_ms = 5000;
	assert_good(fx, sqlite_db_open(db, path_of(fx), true, &fx->options, &fx->err));
}

static void file_is_private(void **state)
{
	struct fixture *fx = *state;
	struct stat st;

	assert_int_equal(stat(path_of(fx), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void settings_are_the_safe_ones(void **state)
{
	struct fixture *fx = *state;
	struct sqlite_db db;
	int64_t value;

	open_raw(fx, &db);
	assert_good(fx, sqlite_integer(&db, &value, &fx->err, "PRAGMA synchronous", ""));
	assert_int_equal(value, 2);
	assert_good(fx, sqlite_integer(&db, &value, &fx->err, "PRAGMA foreign_keys", ""));
	assert_int_equal(value, 1);
	assert_good(fx, sqlite_integer(&db, &value, &fx->err,
				       "SELECT journal_mode = 'wal' FROM pragma_journal_mode", ""));
	assert_int_equal(value, 1);
	sqlite_db_close(&db);
}

static void migrations_are_recorded(void **state)
{
	struct fixture *fx = *state;
	struct sqlite_db db;
	int64_t highest, count;

	open_raw(fx, &db);
	assert_good(fx,
		    sqlite_integer(&db, &highest, &fx->err, "SELECT max(version) FROM schema_migration", ""));
	assert_good(fx, sqlite_integer(&db, &count, &fx->err, "SELECT count(*) FROM schema_migration", ""));
	assert_true(highest >= 1);
	assert_int_equal(count, highest);
	sqlite_db_close(&db);
}

static void newer_schema_is_refused(void **state)
{
	struct fixture *fx = *state;
	struct sqlite_db db;

	open_raw(fx, &db);
	assert_good(fx,
		    sqlite_script(&db, "INSERT INTO schema_migration VALUES (999, 'later', '')", &fx->err));
	sqlite_db_close(&db);
	assert_null(store_sync_open(fx->url, &fx->options, true, &fx->err));
	assert_int_equal(fx->err.code, ERR_INPUT);
	assert_non_null(strstr(fx->err.text, "version 999, newer than"));
}

static void missing_file_is_not_made_without_leave(void **state)
{
	struct fixture *fx = *state;
	char url[340];

	snprintf(url, sizeof(url), "%s-missing", fx->url);
	assert_null(store_sync_open(url, NULL, false, &fx->err));
	assert_int_equal(fx->err.code, ERR_NOT_FOUND);
	assert_int_equal(access(strchr(url, ':') + 1, F_OK), -1);
}

static void empty_file_is_not_migrated_without_leave(void **state)
{
	struct fixture *fx = *state;
	char url[340];

	snprintf(url, sizeof(url), "%s-empty", fx->url);
	fclose(fopen(strchr(url, ':') + 1, "w"));
	assert_null(store_sync_open(url, NULL, false, &fx->err));
	assert_int_equal(fx->err.code, ERR_INPUT);
	assert_non_null(strstr(fx->err.text, "version 0"));
	unlink(strchr(url, ':') + 1);
}

static void file_that_is_no_database_is_refused(void **state)
{
	struct fixture *fx = *state;
	char url[340];
	FILE *file;

	snprintf(url, sizeof(url), "%s-text", fx->url);
	file = fopen(strchr(url, ':') + 1, "w");
	fprintf(file, "%2000s", "this is no database");
	fclose(file);
	assert_null(store_sync_open(url, NULL, true, &fx->err));
	assert_non_null(strstr(fx->err.text, "not a database"));
	unlink(strchr(url, ':') + 1);
}

static void memory_store_works(void **state)
{
	struct fixture *fx = *state;
	char file_url[sizeof(fx->url)];

	store_sync_close(&fx->sync);
	strcpy(file_url, fx->url);
	strcpy(fx->url, "sqlite::memory:");
	fx->sync = fixture_open(fx);
	strcpy(fx->url, file_url);
	fixture_submit(fx, 1);
	fixture_claim(fx);
}

static void held_lock_is_waited_for_and_then_reported(void **state)
{
	struct fixture *fx = *state;
	struct store_new_task task = {.flow = fx->flow, .params = "{}", .priority = 1};
	struct sqlite_db db;
	int64_t id, start;

	open_raw(fx, &db);
	fx->options.busy_ms = 200;
	fixture_reopen(fx);
	assert_good(fx, sqlite_begin(&db, &fx->err));
	start = clock_mono_ms();
	assert_int_equal(store_sync_submit(fx->sync, &task, 1, &id, &fx->err), -1);
	assert_int_equal(fx->err.code, ERR_BUSY);
	assert_true(clock_mono_ms() - start >= 200);
	sqlite_rollback(&db);
	sqlite_db_close(&db);
	assert_good(fx, store_sync_submit(fx->sync, &task, 1, &id, &fx->err));
}

static void claim_uses_its_index(void **state)
{
	struct fixture *fx = *state;
	struct sqlite_db db;
	sqlite3_stmt *plan;
	bool sorted = false;

	open_raw(fx, &db);
	plan = sqlite_query(
		&db, &fx->err,
		"EXPLAIN QUERY PLAN SELECT * FROM scrape_request_log INDEXED BY task_ready"
		" WHERE flow = ?1 AND status = 'PENDING' AND run_after IS NULL AND crashes < 2 AND"
		" (expires_at IS NULL OR expires_at > ?2) ORDER BY priority, id LIMIT ?3",
		"tti", "f", "", (int64_t)5);
	assert_non_null(plan);
	while (sqlite_step(&db, plan, &fx->err) > 0)
		sorted |= strstr((const char *)sqlite3_column_text(plan, 3), "TEMP B-TREE") != NULL;
	assert_false(sorted);
	sqlite_db_close(&db);
}

/* What SQLite itself refuses, after other rows of the task were written: they go too, the other task stays. */
static void constraint_undoes_its_task_alone(void **state)
{
	struct fixture *fx = *state;
	const char *log_values[2] = {fx->flow, NULL};
	const char **values = fixture_values(fx);
	struct store_upsert upserts[4] = {
		{&fixture_log, NULL, log_values},
		{&fixture_table, "first", values},
		{&fixture_log, NULL, log_values},
		{&fixture_table, "second", values},
	};
	struct store_commit group[2];
	struct task_row *rows;
	struct sqlite_db db;
	size_t count, i;

	open_raw(fx, &db);
	assert_good(fx, sqlite_script(&db, "CREATE UNIQUE INDEX strict ON contract_profile (kept)", &fx->err));
	sqlite_db_close(&db);
	values[COL_KEPT] = "the same";
	for (i = 0; i < 2; i++)
		fixture_submit(fx, 1);
	rows = fixture_claim_from(fx, fx->sync, 2, 60000, false, &count);
	for (i = 0; i < 2; i++) {
		group[i] = fixture_commit(&rows[i], STORE_COMPLETE);
		group[i].upserts = &upserts[i * 2];
		group[i].upsert_count = 2;
	}
	assert_good(fx, store_sync_commit(fx->sync, group, 2, &fx->err));
	assert_int_equal(group[0].outcome, STORE_COMMITTED);
	assert_int_equal(group[1].outcome, STORE_REFUSED);
	assert_int_equal(fixture_row_count(fx, &fixture_log, "actor", fx->flow), 1);
	assert_int_equal(fixture_row_count(fx, &fixture_table, "kept", "the same"), 1);
	assert_json(fixture_task(fx, rows[1].id), "status", "\"PROCESSING\"");
}

/* --- the schema, by hand and by program --- */

static struct store_schema look(struct fixture *fx, const char *url, const struct store_table *const *tables)
{
	struct store_schema schema;

	assert_good(fx, store_schema_read(url, tables, 1, fx->arena, &schema, &fx->err));
	return schema;
}

static void count_step(void *user, const struct store_step *step)
{
	assert_int_equal(++*(int64_t *)user == step->version || step->version == 0, 1);
}

static void schema_of_a_file_that_is_missing(void **state)
{
	const struct store_table *const tables[] = {&fixture_table};
	struct fixture *fx = *state;
	const char *url = arena_printf(fx->arena, "%s-new", fx->url), *path = strchr(url, ':') + 1;
	struct store_schema schema = look(fx, url, tables);
	struct stat st;
	int64_t steps = 0;

	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(schema.version, 0);
	assert_int_equal(schema.step_count, schema.newest + 1);
	assert_int_equal(schema.finding_count, 1);
	assert_good(fx, store_schema_apply(url, tables, 1, count_step, &steps, &fx->err));
	assert_int_equal(steps, schema.newest + 1);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	schema = look(fx, url, tables);
	assert_int_equal(schema.version, schema.newest);
	assert_int_equal(schema.step_count + schema.finding_count, 0);
	unlink(path);
}

/* What is shown does the same as the program, run by hand. */
static void schema_by_hand(void **state)
{
	const struct store_table *const tables[] = {&fixture_table};
	struct fixture *fx = *state;
	const char *url = arena_printf(fx->arena, "%s-hand", fx->url), *path = strchr(url, ':') + 1;
	struct store_schema schema;
	struct store_sync *sync;
	struct buf script;
	sqlite3 *handle;
	char *wrong = NULL;

	assert_good(fx, store_schema_whole(url, tables, 1, fx->arena, &schema, &fx->err));
	buf_init(&script);
	buf_printf(&script, "%s%s", schema.before, schema.begin);
	for (size_t i = 0; i < schema.step_count; i++)
		buf_adds(&script, schema.steps[i].sql);
	buf_adds(&script, schema.commit);
	assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
	if (sqlite3_exec(handle, script.data, NULL, NULL, &wrong) != SQLITE_OK)
		fail_msg("%s", wrong);
	sqlite3_close(handle);
	buf_fini(&script);
	schema = look(fx, url, tables);
	assert_int_equal(schema.version, schema.newest);
	assert_int_equal(schema.step_count + schema.finding_count, 0);
	sync = store_sync_open(url, &fx->options, false, &fx->err);
	assert_non_null(sync);
	assert_int_equal(strlen(store_id(store_sync_store(sync))), UUID_TEXT_SIZE - 1);
	assert_string_not_equal(store_id(store_sync_store(sync)), store_id(store_sync_store(fx->sync)));
	store_sync_close(&sync);
	unlink(path);
}

static void newer_schema_is_told(void **state)
{
	const struct store_table *const tables[] = {&fixture_table};
	struct fixture *fx = *state;
	struct store_schema schema;
	struct sqlite_db db;

	open_raw(fx, &db);
	assert_good(fx,
		    sqlite_script(&db, "INSERT INTO schema_migration VALUES (999, 'later', '')", &fx->err));
	sqlite_db_close(&db);
	schema = look(fx, fx->url, tables);
	assert_int_equal(schema.version, 999);
	assert_int_equal(schema.step_count, 0);
	assert_int_equal(schema.findings[0].kind, STORE_WRONG);
	assert_int_equal(store_schema_apply(fx->url, tables, 1, NULL, NULL, &fx->err), -1);
	assert_int_equal(fx->err.code, ERR_INPUT);
}

static const struct CMUnitTest cases[] = {
	CASE(file_is_private),
	CASE(settings_are_the_safe_ones),
	CASE(migrations_are_recorded),
	CASE(newer_schema_is_refused),
	CASE(missing_file_is_not_made_without_leave),
	CASE(empty_file_is_not_migrated_without_leave),
	CASE(file_that_is_no_database_is_refused),
	CASE(memory_store_works),
	CASE(held_lock_is_waited_for_and_then_reported),
	CASE(claim_uses_its_index),
	CASE(constraint_undoes_its_task_alone),
	CASE(schema_of_a_file_that_is_missing),
	CASE(schema_by_hand),
	CASE(newer_schema_is_told),
};

int main(void)
{
	unsetenv("SLUICE_TEST_STORE");
	return cmocka_run_group_tests(cases, NULL, NULL);
}
