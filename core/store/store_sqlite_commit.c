/* SPDX-License-Identifier: Apache-2.0 */
/* The group commit of tasks, in two steps, inside the request's savepoint. Store thread. */
#include "store/sqlite.h"

#include <string.h>

#include "base/clock.h"
#include "base/num.h"
#include "store/task_event.h"

struct commit {
	struct sqlite_done base;
	struct store_commit *group;
	size_t count;
};

/* A part of the group that is written in one go: all of it, or one member. */
struct part {
	struct store_commit **members;
	struct task_row *rows; /* beside each member that is not lost */
	size_t count;
	int64_t now;
	char now_text[CLOCK_TEXT_SIZE];
};

/* Step one: who still has its lease. The write lock is held, so it stays that way. */
static int lock_tasks(struct sqlite_db *db, struct arena *arena, struct part *part, struct error *err)
{
	size_t i;

	for (i = 0; i < part->count; i++) {
		struct store_commit *member = part->members[i];
		sqlite3_stmt *statement =
			sqlite_query(db, err,
				     "SELECT " SQLITE_TASK_EVENT_COLUMNS
				     " FROM scrape_request_log WHERE id = ?1 AND lease_token = ?2"
				     " AND commit_seq = ?3 AND status = 'PROCESSING'",
				     "iii", member->task_id, member->lease_token, member->commit_seq);
		int rc = statement == NULL ? -1 : sqlite_step(db, statement, err);

		if (rc < 0)
			return -1;
		member->outcome = rc > 0 ? STORE_COMMITTED : STORE_LOST;
		if (rc > 0) {
			sqlite_task_read(statement, false, arena, &part->rows[i]);
			sqlite3_reset(statement);
		}
	}
	return 0;
}

/* --- upserts --- */

/* ?1 is the key, ?2 the time, ?3 and so on the columns. */
static void upsert_sql(struct buf *sql, const struct store_table *table)
{
	struct buf values;
	size_t i, n = 2;

	buf_init(&values);
	buf_printf(sql, "INSERT INTO \"%s\" (", table->name);
	if (table->key_column != NULL)
		buf_printf(sql, "\"%s\", ", table->key_column);
	buf_adds(&values, table->key_column != NULL ? "?1, " : "");
	for (i = 0; i < table->column_count; i++) {
		if (!group_is_bound(table, &table->columns[i]))
			continue;
		buf_printf(sql, "\"%s\", ", table->columns[i].name);
		buf_printf(&values, "?%zu, ", ++n);
	}
	/* The id goes last, so that the list never ends with a comma. */
	buf_printf(sql, "%sid) VALUES (%s%sNULL)", table->stamped ? "created_at, updated_at, " : "",
		   values.data, table->stamped ? "?2, ?2, " : "");
	buf_fini(&values);
	group_conflict_sql(sql, table);
}

static int bind_value(sqlite3_stmt *statement, int index, enum store_type type, const char *value)
{
	double number;

	if (value == NULL)
		return sqlite3_bind_null(statement, index);
	/* Affinity makes integers of BIGINT and BOOLEAN texts, exactly; reals are read without the locale
	 * here. */
	if (type == STORE_DOUBLE && num_parse_double(value, &number) == 0)
		return sqlite3_bind_double(statement, index, number);
	return sqlite3_bind_text(statement, index, value, -1, SQLITE_STATIC);
}

static int write_upsert(struct sqlite_db *db, const char *sql, const struct store_upsert *upsert,
			const char *now, struct error *err)
{
	const struct store_table *table = upsert->table;
	sqlite3_stmt *statement = sqlite_prepared(db, err, sql);
	int index = 2, rc = SQLITE_OK;
	size_t i;

	if (statement == NULL)
		return -1;
	if (table->key_column != NULL)
		rc = sqlite3_bind_text(statement, 1, upsert->key, -1, SQLITE_STATIC);
	if (rc == SQLITE_OK && table->stamped)
		rc = sqlite3_bind_text(statement, 2, now, -1, SQLITE_STATIC);
	for (i = 0; i < table->column_count && rc == SQLITE_OK; i++)
		if (group_is_bound(table, &table->columns[i]))
			rc = bind_value(statement, ++index, table->columns[i].type, upsert->values[i]);
	if (rc != SQLITE_OK) {
		sqlite_error(db, err, table->name);
		return -1;
	}
	if (sqlite_step(db, statement, err) < 0)
		return error_prefix(err, "%s \"%s\"", table->name, upsert->key != NULL ? upsert->key : "");
	return 0;
}

static int write_upserts(struct sqlite_db *db, struct arena *arena, struct part *part, struct error *err)
{
	const struct store_table *table = NULL;
	struct store_upsert *upserts;
	struct buf sql;
	size_t count, i;
	int rc = 0;

	if (group_upserts(arena, part->members, part->count, &upserts, &count, err) < 0)
		return -1;
	buf_init(&sql);
	for (i = 0; i < count && rc == 0; i++) {
		if (upserts[i].table != table) {
			table = upserts[i].table;
			buf_clear(&sql);
			upsert_sql(&sql, table);
		}
		rc = write_upsert(db, sql.data, &upserts[i], part->now_text, err);
	}
	buf_fini(&sql);
	return rc;
}

/* --- task rows --- */

static int end_task(struct sqlite_db *db, const struct store_commit *member, const struct part *part,
		    struct error *err)
{
	bool complete = member->end == STORE_COMPLETE;

	return sqlite_run(
		db, err,
		"UPDATE scrape_request_log SET commit_seq = commit_seq + 1, status = ?2, data = ?3,"
		" error_code = ?4, scraped_at = ?5, checkpoint = CASE WHEN ?6 THEN NULL ELSE checkpoint END,"
		" lease_until = NULL, lease_token = NULL, alone = 0 WHERE id = ?1",
		"itttti", member->task_id, task_status_name(complete ? TASK_COMPLETE : TASK_FAILED),
		member->data, complete ? NULL : member->error_code, part->now_text, (int64_t)complete);
}

static int pend_task(struct sqlite_db *db, const struct store_commit *member, const struct part *part,
		     struct error *err)
{
	int64_t run_after = member->run_after_ms > part->now ? member->run_after_ms : 0;

	if (member->end == STORE_RELEASE)
		return sqlite_run(
			db, err,
			"UPDATE scrape_request_log SET commit_seq = commit_seq + 1, status ="
			" 'PENDING', checkpoint = ?2, run_after = ?3, lease_until = NULL, lease_token = NULL,"
			" alone = 0 WHERE id = ?1",
			"itn", member->task_id, member->checkpoint, run_after);
	return sqlite_run(
		db, err,
		"UPDATE scrape_request_log SET commit_seq = commit_seq + 1, status = 'PENDING',"
		" checkpoint = ?2, run_after = ?3, attempt = attempt + 1, data = ?4, error_code = ?5,"
		" lease_until = NULL, lease_token = NULL, alone = 0 WHERE id = ?1",
		"itntt", member->task_id, member->checkpoint, run_after, member->data, member->error_code);
}

static int write_task(struct sqlite_db *db, const struct store_commit *member, struct task_row *row,
		      struct group_outbox *outbox, const struct part *part, struct error *err)
{
	int rc = -1;

	switch (member->end) {
	case STORE_SLICE:
		return sqlite_run(
			       db, err,
			       "UPDATE scrape_request_log SET commit_seq = commit_seq + 1, checkpoint = ?2,"
			       " lease_until = ?3, attempt = 0, crashes = 0, crashes_alone = 0 WHERE id = ?1",
			       "iti", member->task_id, member->checkpoint, member->lease_until_ms) < 0
			       ? -1
			       : 0;
	case STORE_RELEASE:
	case STORE_RETRY:
		row->status = TASK_PENDING;
		row->picked_at = NULL;
		rc = pend_task(db, member, part, err);
		break;
	case STORE_COMPLETE:
	case STORE_FAIL:
		row->status = member->end == STORE_COMPLETE ? TASK_COMPLETE : TASK_FAILED;
		rc = end_task(db, member, part, err);
		if (rc >= 0)
			rc = sqlite_task_total(db, row->flow, row->status, err);
		if (rc >= 0 && member->skip_key != NULL)
			rc = sqlite_failure_note(db, member, row->flow, part->now, err);
		break;
	}
	if (rc < 0)
		return -1;
	task_event_add(outbox, row, part->now, db->options);
	return 0;
}

/* --- both steps --- */

static int add_to_totals(struct sqlite_db *db, const struct store_commit *member, const char *flow, struct error *err)
{
	if (member->requests == 0 && member->events == 0)
		return 0;
	return sqlite_run(db, err,
			  "INSERT INTO flow_total (flow, requests, events) VALUES (?1, ?2, ?3) ON CONFLICT (flow)"
			  " DO UPDATE SET requests = requests + excluded.requests, events = events + excluded.events",
			  "tii", flow, (int64_t)member->requests, (int64_t)member->events) < 0
		       ? -1
		       : 0;
}

static int write_part(struct sqlite_db *db, struct arena *arena, struct part *part, struct error *err)
{
	struct group_outbox outbox;
	size_t i, j;
	int rc;

	if (lock_tasks(db, arena, part, err) < 0)
		return -1;
	rc = write_upserts(db, arena, part, err);
	group_outbox_init(&outbox, db->options);
	for (i = 0; i < part->count && rc == 0; i++) {
		const struct store_commit *member = part->members[i];

		if (member->outcome != STORE_COMMITTED)
			continue;
		for (j = 0; j < member->outbox_count; j++)
			group_outbox_add(&outbox, member->outbox[j].queue, member->outbox[j].payload,
					 member->outbox[j].payload_len, member->outbox[j].events);
		rc = write_task(db, member, &part->rows[i], &outbox, part, err);
		if (rc == 0)
			rc = add_to_totals(db, member, part->rows[i].flow, err);
	}
	if (rc == 0)
		rc = sqlite_outbox_write(db, &outbox, part->now, err);
	group_outbox_fini(&outbox);
	return rc;
}

/* The data of one of several was refused: each alone, so that only its own task suffers. */
static int write_one_by_one(struct sqlite_db *db, struct arena *arena, struct part *all, struct error *err)
{
	size_t i;

	for (i = 0; i < all->count; i++) {
		struct part one = *all;
		struct error refused = {.code = ERR_NONE};

		one.members = all->members + i;
		one.rows = all->rows + i;
		one.count = 1;
		if (sqlite_run(db, err, "SAVEPOINT member", "") < 0)
			return -1;
		if (write_part(db, arena, &one, &refused) < 0) {
			if (refused.code != ERR_CONTENT) {
				*err = refused;
				return -1;
			}
			if (sqlite_run(db, err, "ROLLBACK TO member", "") < 0)
				return -1;
			one.members[0]->outcome = STORE_REFUSED;
			one.members[0]->error = refused;
		}
		if (sqlite_run(db, err, "RELEASE member", "") < 0)
			return -1;
	}
	return 0;
}

static int commit_run(struct sqlite_db *db, struct sqlite_request *request, struct error *err)
{
	struct commit *commit = (struct commit *)request;
	struct part part = {.count = commit->count, .now = clock_wall_ms()};
	struct error refused = {.code = ERR_NONE};
	size_t i;

	part.members = arena_alloc(request->arena, (part.count + 1) * sizeof(*part.members));
	part.rows = arena_alloc(request->arena, (part.count + 1) * sizeof(*part.rows));
	for (i = 0; i < part.count; i++)
		part.members[i] = &commit->group[i];
	clock_format_ms(part.now_text, part.now);
	if (sqlite_run(db, err, "SAVEPOINT together", "") < 0)
		return -1;
	if (write_part(db, request->arena, &part, &refused) < 0) {
		if (refused.code != ERR_CONTENT) {
			*err = refused;
			return -1;
		}
		if (sqlite_run(db, err, "ROLLBACK TO together", "") < 0 ||
		    write_one_by_one(db, request->arena, &part, err) < 0)
			return -1;
	}
	return sqlite_run(db, err, "RELEASE together", "") < 0 ? -1 : 0;
}

void sqlite_commit_group(struct store *store, struct store_commit *group, size_t count, store_done_fn *done,
			 void *user)
{
	struct commit *commit =
		sqlite_request_new(store, sizeof(*commit), true, commit_run, sqlite_answer_done);

	commit->base.done = done;
	commit->base.user = user;
	commit->group = group;
	commit->count = count;
	sqlite_request_submit(&commit->base.request);
}
