/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Failures that flows remember: a row for each task that failed for good, so
 * that what has become too old counts no more, whatever came after it. Store
 * thread, but for the functions that make the requests.
 */
#include "store/sqlite.h"

#define FORGET_MAX 500

int sqlite_failure_skips(struct sqlite_db *db, const struct store_new_task *task, int64_t now_ms, struct error *err)
{
	struct store_skip *skip = task->skip;
	sqlite3_stmt *statement;
	int rc;

	if (skip == NULL)
		return 0;
	skip->skipped = false;
	statement = sqlite_query(db, err,
				 "SELECT count(*), min(failed_ms), (SELECT error FROM task_failure WHERE flow = ?1 AND key = ?2"
				 " AND failed_ms > ?3 ORDER BY failed_ms DESC, task_id DESC LIMIT 1)"
				 " FROM task_failure WHERE flow = ?1 AND key = ?2 AND failed_ms > ?3",
				 "tti", task->flow, skip->key, now_ms - skip->period_ms);
	rc = statement == NULL ? -1 : sqlite_step(db, statement, err);
	if (rc <= 0)
		return rc;
	if (sqlite3_column_int64(statement, 0) >= skip->failures) {
		skip->skipped = true;
		skip->count = sqlite3_column_int64(statement, 0);
		skip->first_ms = sqlite3_column_int64(statement, 1);
		store_failure_text(skip->error, (const char *)sqlite3_column_text(statement, 2));
	}
	sqlite3_reset(statement);
	return skip->skipped;
}

int sqlite_failure_note(struct sqlite_db *db, const struct store_commit *member, const char *flow, int64_t now_ms,
			struct error *err)
{
	char text[STORE_FAILURE_TEXT];
	int rc = 0;

	if (member->end == STORE_COMPLETE)
		rc = sqlite_run(db, err, "DELETE FROM task_failure WHERE flow = ?1 AND key = ?2", "tt", flow,
				member->skip_key);
	else if (member->end == STORE_FAIL && member->failure_ms > 0)
		rc = sqlite_run(db, err,
				"INSERT OR REPLACE INTO task_failure (flow, key, task_id, failed_ms, until_ms, error)"
				" VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
				"ttiiit", flow, member->skip_key, member->task_id, now_ms, now_ms + member->failure_ms,
				store_failure_text(text, member->data));
	return rc < 0 ? -1 : 0;
}

/* --- reading --- */

struct failures {
	struct sqlite_request request;
	const struct store_failure_filter *filter;
	struct store_failure *rows;
	size_t count;
	store_failures_fn *done;
	void *user;
};

static int failures_run(struct sqlite_db *db, struct sqlite_request *request, struct error *err)
{
	struct failures *failures = (struct failures *)request;
	const struct store_failure_filter *filter = failures->filter;
	sqlite3_stmt *statement =
		sqlite_query(db, err,
			     "SELECT flow, key, count(*), min(failed_ms), max(failed_ms), (SELECT error FROM task_failure l"
			     " WHERE l.flow = f.flow AND l.key = f.key ORDER BY failed_ms DESC, task_id DESC LIMIT 1)"
			     " FROM task_failure f WHERE (?1 IS NULL OR flow = ?1) AND (?2 IS NULL OR key = ?2)"
			     " AND failed_ms > ?3 GROUP BY flow, key HAVING count(*) >= ?4"
			     " ORDER BY max(failed_ms) DESC, flow, key LIMIT ?5",
			     "ttiii", filter->flow, filter->key, filter->after_ms, filter->least, (int64_t)filter->limit);
	int rc = statement == NULL ? -1 : 1;

	while (rc > 0 && (rc = sqlite_step(db, statement, err)) > 0) {
		failures->rows = arena_grow(request->arena, failures->rows, failures->count, sizeof(*failures->rows));
		failures->rows[failures->count++] = (struct store_failure){
			.flow = sqlite_text(statement, 0, request->arena),
			.key = sqlite_text(statement, 1, request->arena),
			.count = sqlite3_column_int64(statement, 2),
			.first_ms = sqlite3_column_int64(statement, 3),
			.last_ms = sqlite3_column_int64(statement, 4),
			.error = sqlite_text(statement, 5, request->arena)};
	}
	return rc;
}

static void failures_answer(struct sqlite_request *request)
{
	struct failures *failures = (struct failures *)request;

	failures->done(failures->user, failures->rows, request->err.code == ERR_NONE ? failures->count : 0,
		       &request->err);
}

void sqlite_failures(struct store *store, const struct store_failure_filter *filter, store_failures_fn *done, void *user)
{
	struct failures *request = sqlite_request_new(store, sizeof(*request), false, failures_run, failures_answer);

	request->filter = filter;
	request->done = done;
	request->user = user;
	sqlite_request_submit(&request->request);
}

/* --- forgetting --- */

struct forget {
	struct sqlite_count base;
	const struct store_forget *forget;
};

#define FORGOTTEN                                                                                            \
	"SELECT flow, key, task_id FROM task_failure WHERE (?1 IS NULL OR flow = ?1) AND (?2 IS NULL OR key = ?2)" \
	" AND until_ms <= ?3 LIMIT ?4"

static int64_t until_ms(const struct store_forget *forget)
{
	return forget->over_ms > 0 ? forget->over_ms : INT64_MAX;
}

/* Looks without the lock: mostly there is nothing. */
static bool forget_wanted(struct sqlite_db *db, struct sqlite_request *request)
{
	const struct store_forget *forget = ((struct forget *)request)->forget;
	int64_t found = 0;

	return sqlite_integer(db, &found, NULL, "SELECT EXISTS (" FORGOTTEN ")", "ttii", forget->flow, forget->key,
			      until_ms(forget), (int64_t)1) < 0 || found != 0;
}

static int forget_run(struct sqlite_db *db, struct sqlite_request *request, struct error *err)
{
	const struct store_forget *forget = ((struct forget *)request)->forget;
	int changed = sqlite_run(db, err, "DELETE FROM task_failure WHERE (flow, key, task_id) IN (" FORGOTTEN ")", "ttii",
				 forget->flow, forget->key, until_ms(forget), (int64_t)FORGET_MAX);

	((struct sqlite_count *)request)->count = changed;
	return changed < 0 ? -1 : 0;
}

void sqlite_forget(struct store *store, const struct store_forget *forget, store_count_fn *done, void *user)
{
	struct forget *request = sqlite_request_new(store, sizeof(*request), true, forget_run, sqlite_answer_count);

	request->base.request.wanted = forget_wanted;
	request->base.done = done;
	request->base.user = user;
	request->forget = forget;
	sqlite_request_submit(&request->base.request);
}
