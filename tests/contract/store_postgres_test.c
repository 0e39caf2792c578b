/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is PostgreSQL's alone: connections that are lost at chosen moments,
 * deadlocks, the schema, hints. The first argument is the URL of a database.
 */
#include "store_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "loop/loop.h"
#include "store/postgres.h"
#include "store_cases.h"

/* --- a second connection, as somebody else has --- */

static PGconn *other_connect(struct fixture *fx)
{
	PGconn *conn = PQconnectdb(fx->url);

	if (PQstatus(conn) != CONNECTION_OK)
		fail_msg("%s", PQerrorMessage(conn));
	return conn;
}

/* The first column of the first row, in the fixture's arena; NULL when there is none. */
static const char *ask(struct fixture *fx, PGconn *conn, const char *sql)
{
	PGresult *result = PQexec(conn, sql);
	const char *value = NULL;

	if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK)
		fail_msg("%s: %s", sql, PQresultErrorMessage(result));
	if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) > 0)
		value = arena_strdup(fx->arena, PQgetvalue(result, 0, 0));
	PQclear(result);
	return value;
}

/* --- a commit under way --- */

struct running {
	struct fixture *fx;
	struct store_commit commit;
	struct store_upsert upserts[2];
	struct store_outbox out;
	bool answered;
	struct error err;
};

static void on_done(void *user, const struct error *err)
{
	struct running *running = user;

	running->answered = true;
	running->err = *err;
}

/* Claims a task and begins to commit it with rows a and b of fixture_table and one event. */
static void start_commit(struct fixture *fx, struct running *running)
{
	static const char *const names[] = {"a", "b"};
	size_t i;

	memset(running, 0, sizeof(*running));
	running->fx = fx;
	fixture_submit(fx, 1);
	running->commit = fixture_commit(fixture_claim(fx), STORE_COMPLETE);
	running->out = (struct store_outbox){fx->queue, "{}", 2, 1};
	for (i = 0; i < 2; i++) {
		const char **values = fixture_values(fx);

		values[COL_KEPT] = fx->flow;
		running->upserts[i] = (struct store_upsert){
			&fixture_table, arena_printf(fx->arena, "%s-%s", fx->flow, names[i]), values};
	}
	running->commit.upserts = running->upserts;
	running->commit.upsert_count = 2;
	running->commit.outbox = &running->out;
	running->commit.outbox_count = 1;
	store_commit(store_sync_store(fx->sync), &running->commit, 1, on_done, running);
}

static void turn(struct fixture *fx)
{
	loop_run_once(store_sync_loop(fx->sync), 20);
}

static void await_commit(struct running *running)
{
	while (!running->answered)
		turn(running->fx);
	if (running->err.code != ERR_NONE)
		fail_msg("%s", running->err.text);
	assert_int_equal(running->commit.outcome, STORE_COMMITTED);
}

static void finish_commit(struct running *running)
{
	struct fixture *fx = running->fx;

	await_commit(running);
	assert_int_equal(fixture_total(fx, fx->queue, "events"), 1);
	assert_int_equal(json_count(fixture_events(fx, fx->queue)), 1);
	assert_json(fixture_task(fx, running->commit.task_id), "commit_seq", "1");
	assert_int_equal(fixture_row_count(fx, &fixture_table, "kept", fx->flow), 2);
}

/* Until the store waits for a lock; its process id. Asked outside of a transaction: inside, the answer stays. */
static const char *wait_blocked(struct fixture *fx)
{
	PGconn *conn = other_connect(fx);
	const char *pid = NULL;

	while (pid == NULL) {
		turn(fx);
		pid = ask(fx, conn,
			  "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND"
			  " application_name = 'sluice'");
	}
	PQfinish(conn);
	return pid;
}

/* conn holds the fixture's row of this name, until it ends its transaction. */
static void hold_row(struct fixture *fx, PGconn *conn, const char *name)
{
	ask(fx, conn, "BEGIN");
	ask(fx, conn,
	    arena_printf(fx->arena,
			 "INSERT INTO contract_profile (profile_id) VALUES ('%s-%s') ON CONFLICT (profile_id)"
			 " DO UPDATE SET kept = NULL",
			 fx->flow, name));
}

static void backend_killed_inside_a_commit(void **state)
{
	struct fixture *fx = *state;
	PGconn *conn = other_connect(fx);
	struct running running;

	hold_row(fx, conn, "b");
	start_commit(fx, &running);
	ask(fx, conn,
	    arena_printf(fx->arena, "SELECT pg_terminate_backend(%s)", wait_blocked(fx)));
	ask(fx, conn, "ROLLBACK");
	finish_commit(&running);
	PQfinish(conn);
}

struct submission {
	bool answered;
	int64_t ids[2];
	struct error err;
};

static void on_submitted(void *user, const int64_t *ids, size_t count, const struct error *err)
{
	struct submission *submission = user;

	submission->answered = true;
	submission->err = *err;
	if (count == 2)
		memcpy(submission->ids, ids, sizeof(submission->ids));
}

/* The first of two tasks is not made, for what failed before: whether the other one is there tells it all. */
static void backend_killed_inside_a_submission(void **state)
{
	struct fixture *fx = *state;
	PGconn *conn = other_connect(fx);
	struct store_skip skip = {.key = "a", .failures = 1, .period_ms = 60000};
	struct store_new_task tasks[2] = {
		{.flow = fx->flow, .params = "{}", .priority = 1, .max_attempts = 1, .skip = &skip},
		{.flow = fx->flow, .params = "{}", .priority = 1, .max_attempts = 1, .idempotency_key = fx->flow}};
	struct submission submission = {.answered = false};
	struct store_commit failed;

	fixture_submit(fx, 1);
	failed = fixture_commit(fixture_claim(fx), STORE_FAIL);
	failed.skip_key = "a";
	failed.failure_ms = 60000;
	fixture_write(fx, &failed, 1);
	ask(fx, conn, "BEGIN");
	ask(fx, conn, arena_printf(fx->arena, "INSERT INTO scrape_request_log (flow, idempotency_key) VALUES ('', '%s')",
				   fx->flow));
	store_submit(store_sync_store(fx->sync), tasks, 2, on_submitted, &submission);
	ask(fx, conn, arena_printf(fx->arena, "SELECT pg_terminate_backend(%s)", wait_blocked(fx)));
	ask(fx, conn, "ROLLBACK");
	while (!submission.answered)
		turn(fx);
	if (submission.err.code != ERR_NONE)
		fail_msg("%s", submission.err.text);
	assert_int_equal(submission.ids[0], 0);
	assert_true(skip.skipped);
	assert_int_equal(fixture_claim(fx)->id, submission.ids[1]);
	assert_string_equal(ask(fx, conn, arena_printf(fx->arena, "SELECT count(*) FROM scrape_request_log WHERE flow = '%s'",
						       fx->flow)), "2");
	PQfinish(conn);
}

static void deadlock_repeats_the_group(void **state)
{
	struct fixture *fx = *state;
	PGconn *conn = other_connect(fx);
	struct running running;
	PGresult *result;

	hold_row(fx, conn, "b");
	start_commit(fx, &running);
	wait_blocked(fx);
	/* The store has row a and waits for b; it has waited longer, so that it is the one who is told. */
	assert_int_equal(PQsendQuery(conn, arena_printf(fx->arena,
							"INSERT INTO contract_profile (profile_id) VALUES ('%s-a')"
							" ON CONFLICT (profile_id) DO UPDATE SET kept = NULL",
							fx->flow)),
			 1);
	while (PQconsumeInput(conn) && PQisBusy(conn))
		turn(fx);
	result = PQgetResult(conn);
	assert_int_equal(PQresultStatus(result), PGRES_COMMAND_OK);
	PQclear(result);
	assert_null(PQgetResult(conn));
	ask(fx, conn, "COMMIT");
	finish_commit(&running);
	while (strcmp(ask(fx, conn, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"),
		      "1") < 0)
		turn(fx);
	PQfinish(conn);
}

static void locks_are_waited_for(void **state)
{
	struct fixture *fx = *state;
	PGconn *conn = other_connect(fx);
	struct running running;

	hold_row(fx, conn, "a");
	start_commit(fx, &running);
	wait_blocked(fx);
	assert_false(running.answered);
	ask(fx, conn, "COMMIT");
	finish_commit(&running);
	PQfinish(conn);
}

/* Where the server can; its own way costs a worker more than the rest of its commit. */
static void large_values_are_packed_with_lz4(void **state)
{
	struct fixture *fx = *state;
	PGconn *conn = other_connect(fx);
	struct store_commit commit;
	struct store_outbox out;
	struct buf payload;
	const char *can;

	buf_init(&payload);
	for (int i = 0; i < 400; i++)
		buf_printf(&payload, "%s{\"number\":%d}", i > 0 ? "\n" : "", i);
	out = (struct store_outbox){fx->queue, payload.data, payload.len, 400};
	fixture_submit(fx, 1);
	commit = fixture_commit(fixture_claim(fx), STORE_COMPLETE);
	commit.outbox = &out;
	commit.outbox_count = 1;
	assert_good(fx, store_sync_commit(fx->sync, &commit, 1, &fx->err));
	assert_int_equal(commit.outcome, STORE_COMMITTED);
	can = ask(fx, conn, "SELECT 1 FROM pg_settings WHERE name = 'default_toast_compression'"
		  " AND 'lz4' = ANY (enumvals)");
	if (can != NULL)
		assert_string_equal(ask(fx, conn, arena_printf(fx->arena, "SELECT pg_column_compression(payload)"
							       " FROM outbox WHERE queue = '%s'", fx->queue)),
				    "lz4");
	assert_string_equal(ask(fx, conn, arena_printf(fx->arena, "SELECT payload FROM outbox WHERE queue = '%s'",
						       fx->queue)),
			    payload.data);
	buf_fini(&payload);
	PQfinish(conn);
}

/* Tasks that somebody else has locked are neither claimed nor rescued nor waited for. */
static void locked_tasks_are_passed_over(void **state)
{
	struct fixture *fx = *state;
	PGconn *conn = other_connect(fx);
	int64_t first = fixture_submit(fx, 1), second = fixture_submit(fx, 1);
	size_t count;

	ask(fx, conn, "BEGIN");
	ask(fx, conn,
	    arena_printf(fx->arena, "SELECT 1 FROM scrape_request_log WHERE id = %lld FOR UPDATE",
			 (long long)first));
	assert_int_equal(fixture_claim_from(fx, fx->sync, 5, 1, false, &count)->id, second);
	assert_int_equal(count, 1);
	ask(fx, conn, "COMMIT");
	assert_int_equal(fixture_claim(fx)->id, first);
	PQfinish(conn);
}

/* Refused after other rows of the task were written: they go too, the other task stays. */
static void constraint_undoes_its_task_alone(void **state)
{
	struct fixture *fx = *state;
	PGconn *conn = other_connect(fx);
	const char *log_values[2] = {fx->flow, NULL};
	const char **values = fixture_values(fx);
	struct store_upsert upserts[4] = {
		{&fixture_log, NULL, log_values},
		{&fixture_table, arena_printf(fx->arena, "%s-1", fx->flow), values},
		{&fixture_log, NULL, log_values},
		{&fixture_table, arena_printf(fx->arena, "%s-2", fx->flow), values},
	};
	struct store_commit group[2];
	struct task_row *rows;
	size_t count, i;

	ask(fx, conn, "CREATE UNIQUE INDEX strict ON contract_profile (overwritten)");
	values[COL_OVERWRITTEN] = values[COL_KEPT] = fx->flow;
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
	assert_non_null(strstr(group[1].error.text, "23505"));
	assert_int_equal(fixture_row_count(fx, &fixture_log, "actor", fx->flow), 1);
	assert_int_equal(fixture_row_count(fx, &fixture_table, "kept", fx->flow), 1);
	assert_json(fixture_task(fx, rows[1].id), "status", "\"PROCESSING\"");
	ask(fx, conn, "DROP INDEX strict");
	PQfinish(conn);
}

/* --- values --- */

static void odd_values_come_back(void **state)
{
	struct fixture *fx = *state;
	struct store_dead letter = {.queue = fx->queue, .payload = "\xff{\"a\0", .payload_len = 5,
				    .reason = "not \xfe UTF-8", .code = "json"};
	const char **values = fixture_values(fx);
	struct store_upsert upsert = {&fixture_table, fx->flow, values};
	struct store_commit commit;
	struct buf out;

	values[COL_TAGS] = "[\"a \\\"b\\\"\",\"c\\\\d\",\"{e,f}\",\"\",null,\"NULL\",7]";
	values[COL_TIME] = "2024-01-02T03:04:05.25+02:00";
	values[COL_JSON] = "{\"x\\\"y , :\":\"a , b\"}";
	values[COL_RATIO] = "3";
	fixture_submit(fx, 1);
	commit = fixture_commit(fixture_claim(fx), STORE_COMPLETE);
	commit.upserts = &upsert;
	commit.upsert_count = 1;
	commit.data = "bad \xff text";
	fixture_write(fx, &commit, 1);
	assert_json(fixture_task(fx, commit.task_id), "data", "\"bad \xef\xbf\xbd text\"");
	assert_json(fixture_row(fx, fx->flow), "tags",
		    "[\"a \\\"b\\\"\",\"c\\\\d\",\"{e,f}\",\"\",null,\"NULL\",\"7\"]");
	assert_json(fixture_row(fx, fx->flow), "published_at", "\"2024-01-02 01:04:05.25\"");
	assert_json(fixture_row(fx, fx->flow), "detail", "{\"x\\\"y , :\":\"a , b\"}");
	assert_json(fixture_row(fx, fx->flow), "ratio", "3.0");
	assert_good(fx, store_sync_dead_letter(fx->sync, &letter, 1, &fx->err));
	buf_init(&out);
	assert_good(fx, store_sync_dead_list(fx->sync, fx->queue, 1, &out, &fx->err));
	assert_non_null(strstr(out.data, "\xef\xbf\xbd{\\\"a\xef\xbf\xbd"));
	buf_fini(&out);
}

/* --- the schema --- */

/* The fixture's URL with a schema of its own, empty. */
static const char *own_schema(struct fixture *fx, PGconn *conn)
{
	ask(fx, conn, arena_printf(fx->arena, "CREATE SCHEMA %s", fx->flow));
	ask(fx, conn, arena_printf(fx->arena, "SET search_path = %s", fx->flow));
	return arena_printf(fx->arena, "%s?options=-csearch_path%%3D%s", fx->url, fx->flow);
}

static void schema_is_made_only_with_leave(void **state)
{
	struct fixture *fx = *state;
	PGconn *conn = other_connect(fx);
	const char *url = own_schema(fx, conn);
	struct store_sync *sync;

	assert_null(store_sync_open(url, NULL, false, &fx->err));
	assert_int_equal(fx->err.code, ERR_INPUT);
	assert_non_null(strstr(fx->err.text, "version 0"));
	sync = store_sync_open(url, NULL, true, &fx->err);
	assert_non_null(sync);
	store_sync_close(&sync);
	ask(fx, conn, "INSERT INTO schema_migration VALUES (999, 'later', now())");
	assert_null(store_sync_open(url, NULL, true, &fx->err));
	assert_int_equal(fx->err.code, ERR_INPUT);
	assert_non_null(strstr(fx->err.text, "version 999, newer than"));
	PQfinish(conn);
}

static void original_tables_are_taken_over(void **state)
{
	static const struct store_column columns[] = {
		{"handle", STORE_TEXT, STORE_KEEP, true},
		{"story_links", STORE_TEXT_ARRAY, STORE_KEEP, true},
		{"followers", STORE_BIGINT, STORE_KEEP, true},
		{"new_one", STORE_JSON, STORE_KEEP, true},
	};
	static const struct store_table table = {"youtube_account", "channel_id", true, columns, 4, NULL, 0};
	static const struct store_table *const tables[] = {&table};
	struct fixture *fx = *state;
	PGconn *conn = other_connect(fx);
	const char *url = own_schema(fx, conn), *flows[] = {"old_flow"};
	size_t slots = 1, count;
	struct store_claim claim = {
		.flows = flows, .slots = &slots, .flow_count = 1, .worker = "w", .lease_ms = 60000};
	const char *values[4] = {"h", "[\"a\"]", "12", "{}"};
	struct store_upsert upsert = {&table, "UC1", values};
	struct store_commit commit;
	struct store_sync *sync;
	struct task_row *rows;

	ask(fx, conn,
	    "CREATE SEQUENCE crawl_dump_id_seq START 100;"
	    "CREATE TABLE scrape_request_log (id bigint PRIMARY KEY DEFAULT nextval('crawl_dump_id_seq'),"
	    " idempotency_key text UNIQUE, platform text, source text, flow text, status text, priority int,"
	    " params jsonb, data text, created_at timestamp, scraped_at timestamp, expires_at timestamp);"
	    "INSERT INTO scrape_request_log (flow, status, priority) VALUES ('old_flow', 'PENDING', 1);"
	    "CREATE TABLE youtube_account (id bigserial, channel_id text, handle varchar, story_links varchar[],"
	    " followers bigint, created_at timestamp, updated_at timestamp)");
	sync = store_sync_open(url, NULL, true, &fx->err);
	if (sync == NULL)
		fail_msg("%s", fx->err.text);
	assert_good(fx, store_ensure_tables(store_sync_store(sync), tables, 1, &fx->err));
	assert_good(fx, store_sync_claim(sync, &claim, fx->arena, &rows, &count, &fx->err));
	assert_int_equal(count, 1);
	assert_int_equal(rows[0].id, 100);
	assert_string_equal(rows[0].params, "{}");
	commit = fixture_commit(rows, STORE_COMPLETE);
	commit.upserts = &upsert;
	commit.upsert_count = 1;
	assert_good(fx, store_sync_commit(sync, &commit, 1, &fx->err));
	assert_int_equal(commit.outcome, STORE_COMMITTED);
	assert_string_equal(ask(fx, conn, "SELECT story_links FROM youtube_account"), "{a}");
	store_sync_close(&sync);
	PQfinish(conn);
}

/* The original's table, with its rows in clear, and with the original still writing to it. */
static void original_credentials_are_taken_over(void **state)
{
	struct fixture *fx = *state;
	PGconn *conn = other_connect(fx);
	const char *url = own_schema(fx, conn);
	struct store_credential row = {.idempotency_key = "graphapi:17", .source = "graphapi", .credentials = "{}"}, *rows;
	struct store_credential_filter filter = {.limit = 10};
	struct store_credential_change change = {.action = STORE_CREDENTIAL_PARK, .at_ms = 1700000000500, .reason = "r"};
	struct store_sync *sync;
	int64_t id, changed;
	size_t count;

	ask(fx, conn,
	    "CREATE TABLE credential (id integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, idempotency_key text UNIQUE,"
	    " source text, credentials jsonb, handle text, created_at timestamp, updated_at timestamp,"
	    " disabled_till timestamp, enabled boolean, data_access_expired boolean);"
	    "INSERT INTO credential (idempotency_key, source, credentials, enabled, disabled_till) VALUES"
	    " ('graphapi:17', 'graphapi', '{\"token\": \"t\", \"user_id\": \"17\"}', true, '2023-11-14 22:13:20.123'),"
	    " ('lama:k', 'lama', '{\"x-access-key\": \"k\"}', NULL, NULL)");
	sync = store_sync_open(url, NULL, true, &fx->err);
	if (sync == NULL)
		fail_msg("%s", fx->err.text);
	assert_good(fx, store_sync_credential_read(sync, &filter, fx->arena, &rows, &count, &fx->err));
	assert_int_equal(count, 2);
	assert_int_equal(rows[0].disabled_till_ms, 1700000000123);
	assert_string_equal(rows[0].credentials, "{\"token\": \"t\", \"user_id\": \"17\"}");
	assert_true(rows[0].enabled && !rows[1].enabled && rows[0].failures == 0 && rows[0].key_id == NULL);
	change.id = rows[0].id;
	assert_good(fx, store_sync_credential_change(sync, &change, 1, &changed, &fx->err));
	assert_int_equal(changed, 1);
	assert_string_equal(ask(fx, conn, "SELECT disabled_till FROM credential WHERE source = 'graphapi'"),
			    "2023-11-14 22:13:20.5");
	assert_good(fx, store_sync_credential_put(sync, &row, 1, &id, &fx->err));
	assert_int_equal(id, rows[0].id);
	ask(fx, conn, "INSERT INTO credential (idempotency_key, source, credentials) VALUES ('a', 'b', '{}')");
	store_sync_close(&sync);
	PQfinish(conn);
}

/* --- what administrators see --- */

static struct store_schema look(struct fixture *fx, const char *url)
{
	const struct store_table *const tables[] = {&fixture_table};
	struct store_schema schema;

	assert_good(fx, store_schema_read(url, tables, 1, fx->arena, &schema, &fx->err));
	return schema;
}

static bool has_finding(const struct store_schema *schema, const char *text, const char *todo)
{
	size_t i;

	for (i = 0; i < schema->finding_count; i++)
		if (strstr(schema->findings[i].text, text) != NULL &&
		    strstr(schema->findings[i].todo, todo) != NULL)
			return true;
	return false;
}

/* What is shown does the same as the program, run by hand; a second time it does nothing. */
static void schema_by_hand(void **state)
{
	const struct store_table *const tables[] = {&fixture_table};
	struct fixture *fx = *state;
	PGconn *conn = other_connect(fx);
	const char *url = own_schema(fx, conn);
	struct store_schema schema = look(fx, url);
	struct store_sync *sync;
	struct buf script;
	size_t i;

	assert_int_equal(schema.version, 0);
	buf_init(&script);
	buf_adds(&script, schema.begin);
	for (i = 0; i < schema.step_count; i++)
		buf_adds(&script, schema.steps[i].sql);
	buf_adds(&script, schema.commit);
	ask(fx, conn, script.data);
	buf_fini(&script);
	schema = look(fx, url);
	assert_int_equal(schema.version, schema.newest);
	assert_int_equal(schema.step_count + schema.finding_count, 0);
	assert_good(fx, store_schema_apply(url, tables, 1, NULL, NULL, &fx->err));
	sync = store_sync_open(url, NULL, false, &fx->err);
	assert_non_null(sync);
	assert_int_equal(strlen(store_id(store_sync_store(sync))), UUID_TEXT_SIZE - 1);
	store_sync_close(&sync);
	PQfinish(conn);
}

static void missing_rights_are_told(void **state)
{
	struct fixture *fx = *state;
	PGconn *conn = other_connect(fx);
	const char *at = strstr(fx->url, "sluice@"), *url;
	struct store_schema schema;

	assert_non_null(at);
	ask(fx, conn, arena_printf(fx->arena, "CREATE ROLE %s LOGIN CONNECTION LIMIT 7", fx->flow));
	url = arena_printf(fx->arena, "%.*s%s@%s", (int)(at - fx->url), fx->url, fx->flow,
			   at + strlen("sluice@"));
	schema = look(fx, url);
	assert_true(has_finding(&schema, "may not use \"outbox\"",
				"GRANT SELECT, INSERT, UPDATE, DELETE ON \"outbox\""));
	assert_true(has_finding(&schema, "\"contract_profile\"", "GRANT"));
	assert_true(has_finding(&schema, "SEQUENCE \"outbox_id_seq\"", "GRANT SELECT, USAGE ON SEQUENCE"));
	assert_int_equal(schema.connections.role, 7);
	assert_int_equal(schema.connections.most, 7);
	assert_int_equal(schema.connections.server, 50);
	assert_true(schema.connections.reserved >= 3);
	/* Enough rights for a store that is made, none to make one. */
	ask(fx, conn,
	    arena_printf(fx->arena,
			 "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO %s;"
			 "GRANT SELECT, USAGE ON ALL SEQUENCES IN SCHEMA public TO %s;"
			 "ALTER ROLE %s CONNECTION LIMIT -1",
			 fx->flow, fx->flow, fx->flow));
	schema = look(fx, url);
	assert_int_equal(schema.finding_count, 0);
	assert_int_equal(schema.connections.most, 50 - schema.connections.reserved);
	ask(fx, conn,
	    arena_printf(fx->arena, "CREATE SCHEMA s_%s; GRANT USAGE ON SCHEMA s_%s TO %s", fx->flow,
			 fx->flow, fx->flow));
	schema = look(fx, arena_printf(fx->arena, "%s?options=-csearch_path%%3Ds_%s", url, fx->flow));
	assert_true(has_finding(&schema, "may make no tables", "GRANT CREATE ON SCHEMA"));
	ask(fx, conn,
	    arena_printf(fx->arena, "ALTER ROLE %s SET default_transaction_read_only = on", fx->flow));
	schema = look(fx, url);
	assert_true(has_finding(&schema, "read-only", "default_transaction_read_only = off"));
	ask(fx, conn, arena_printf(fx->arena, "DROP OWNED BY %s; DROP ROLE %s", fx->flow, fx->flow));
	PQfinish(conn);
}

/* --- how it connects --- */

static const char *option(const struct pg_target *target, const char *key)
{
	size_t i;

	for (i = 0; target->keys[i] != NULL; i++)
		if (strcmp(target->keys[i], key) == 0)
			return target->values[i];
	return NULL;
}

static const char *tls_of(struct fixture *fx, const char *rest)
{
	struct pg_target target;
	const char *mode;

	assert_good(fx, pg_target_parse(&target, rest, &fx->err));
	mode = option(&target, "sslmode");
	mode = mode != NULL ? arena_strdup(fx->arena, mode) : "";
	pg_target_free(&target);
	return mode;
}

static void tls_is_verified_unless_it_stays_here(void **state)
{
	struct fixture *fx = *state;

	unsetenv("PGSSLMODE");
	unsetenv("PGHOST");
	assert_string_equal(tls_of(fx, "//u@db.example/x"), "verify-full");
	assert_string_equal(tls_of(fx, "//u@10.0.0.1/x"), "verify-full");
	assert_string_equal(tls_of(fx, "//u@localhost,db.example/x"), "verify-full");
	assert_string_equal(tls_of(fx, "//u@db.example/x?sslmode=disable"), "disable");
	assert_string_equal(tls_of(fx, "//u@127.0.0.1,localhost,[::1]/x"), "");
	assert_string_equal(tls_of(fx, "///x?host=/run/postgresql"), "");
	assert_string_equal(tls_of(fx, "///x"), "");
}

static void errors_show_no_password(void **state)
{
	struct fixture *fx = *state;
	struct pg_target target;

	assert_int_equal(pg_target_parse(&target, "//u:hu%zzsh@h/d", &fx->err), -1);
	assert_int_equal(fx->err.code, ERR_INPUT);
	assert_null(strstr(fx->err.text, "hu%zzsh"));
	assert_null(store_sync_open("postgresql://u:hush@127.0.0.1:1/d", NULL, true, &fx->err));
	assert_int_equal(fx->err.code, ERR_IO);
	assert_null(strstr(fx->err.text, "hush"));
	assert_non_null(strstr(fx->err.text, "127.0.0.1"));
}

static void both_schemes_are_known(void **state)
{
	struct fixture *fx = *state;
	struct store_sync *sync;

	sync = store_sync_open(arena_printf(fx->arena, "postgres:%s", strchr(fx->url, ':') + 1), NULL, true,
			       &fx->err);
	assert_non_null(sync);
	store_sync_close(&sync);
}

static int64_t connections(struct fixture *fx, PGconn *conn)
{
	return strtol(ask(fx, conn, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sluice'"),
		      NULL, 10);
}

static void connection_is_opened_when_needed(void **state)
{
	struct fixture *fx = *state;
	PGconn *conn = other_connect(fx);

	while (connections(fx, conn) > 0)
		usleep(10000);
	fixture_submit(fx, 1);
	assert_int_equal(connections(fx, conn), 1);
	PQfinish(conn);
}

/* --- statements --- */

static void counted(struct pg_request *request)
{
	if (pg_batch(request)->count > 0)
		((struct pg_count *)request)->count = pg_get_int(pg_batch(request)->results[0], 0, 0);
	pg_finish(request);
}

static void count_prepared(struct pg_request *request)
{
	pg_add(request, "SELECT count(*) FROM pg_prepared_statements", "");
	pg_send(request, counted);
}

static void deallocate(struct pg_request *request)
{
	pg_add_silent(request, "DEALLOCATE ALL");
	pg_send(request, counted);
}

struct count {
	bool answered;
	int64_t count;
};

static void on_count(void *user, int64_t count, const struct error *err)
{
	assert_int_equal(err->code, ERR_NONE);
	*(struct count *)user = (struct count){true, count};
}

/* What start's statement says, on the store's own connection. */
static int64_t on_connection(struct fixture *fx, void (*start)(struct pg_request *))
{
	struct pg_count *request =
		pg_request_new(store_sync_store(fx->sync), sizeof(*request), start, pg_answer_count);
	struct count count = {0};

	request->request.internal = true;
	request->done = on_count;
	request->user = &count;
	pg_request_submit(&request->request);
	while (!count.answered)
		turn(fx);
	return count.count;
}

static void commit_one(struct fixture *fx)
{
	struct running running;

	start_commit(fx, &running);
	await_commit(&running);
}

static void statements_are_prepared_while_they_last(void **state)
{
	struct fixture *fx = *state;

	commit_one(fx);
	commit_one(fx);
	assert_true(on_connection(fx, count_prepared) > 5);
	/* As a pooler does that gives the next transaction another connection. */
	on_connection(fx, deallocate);
	commit_one(fx);
	commit_one(fx);
	assert_int_equal(on_connection(fx, count_prepared), 0);
	assert_int_equal(fixture_total(fx, fx->queue, "events"), 4);
	assert_int_equal(fixture_row_count(fx, &fixture_table, "kept", fx->flow), 2);
}

static void texts_that_vary_stay_bounded(void **state)
{
	struct fixture *fx = *state;

	/* Each with its own number of slots, so each claim is another text. */
	for (size_t slots = 1; slots < 300; slots++) {
		size_t count;

		fixture_claim_from(fx, fx->sync, slots, 60000, false, &count);
		fixture_claim_from(fx, fx->sync, slots, 60000, false, &count);
	}
	assert_true(on_connection(fx, count_prepared) < 64);
	commit_one(fx);
}

/* --- hints --- */

struct heard {
	const char *flow;
	bool told, any;
};

static void on_hint(void *user, const char *flow)
{
	struct heard *heard = user;

	heard->any = true;
	heard->told |= flow != NULL && strcmp(flow, heard->flow) == 0;
}

static void new_tasks_are_heard_of(void **state)
{
	struct fixture *fx = *state;
	struct heard heard = {.flow = fx->flow};
	struct store_sync *listener = fixture_open(fx);
	PGconn *conn = other_connect(fx);

	assert_true(store_listen(store_sync_store(listener), on_hint, &heard));
	while (!heard.any)
		loop_run_once(store_sync_loop(listener), 20);
	fixture_submit(fx, 1);
	while (!heard.told) {
		turn(fx);
		loop_run_once(store_sync_loop(listener), 20);
	}
	/* It comes back by itself. */
	heard.any = heard.told = false;
	ask(fx, conn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'");
	while (!heard.any)
		loop_run_once(store_sync_loop(listener), 20);
	store_sync_close(&listener);
	PQfinish(conn);
}

static const struct CMUnitTest cases[] = {
	CASE(backend_killed_inside_a_commit),
	CASE(deadlock_repeats_the_group),
	CASE(locks_are_waited_for),
	CASE(locked_tasks_are_passed_over),
	CASE(backend_killed_inside_a_submission),
	CASE(large_values_are_packed_with_lz4),
	CASE(constraint_undoes_its_task_alone),
	CASE(odd_values_come_back),
	CASE(schema_is_made_only_with_leave),
	CASE(original_tables_are_taken_over),
	CASE(original_credentials_are_taken_over),
	CASE(schema_by_hand),
	CASE(missing_rights_are_told),
	CASE(tls_is_verified_unless_it_stays_here),
	CASE(errors_show_no_password),
	CASE(both_schemes_are_known),
	CASE(connection_is_opened_when_needed),
	CASE(statements_are_prepared_while_they_last),
	CASE(texts_that_vary_stay_bounded),
	CASE(new_tasks_are_heard_of),
};

int main(int argc, char **argv)
{
	if (argc < 2) {
		printf("no database was given: nothing is tested (tests/system/test_store_postgres.py gives one)\n");
		return 77;
	}
	setenv("SLUICE_TEST_STORE", argv[1], 1);
	return cmocka_run_group_tests(cases, NULL, NULL);
}
