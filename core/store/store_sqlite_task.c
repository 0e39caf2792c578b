/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of scrape_request_log: creation, claim, lease extension, rescue. The
 * operations make their requests on the loop thread; the rest is the store's.
 */
#include "store/sqlite.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "store/task_event.h"

#define READY "status = 'PENDING' AND run_after IS NULL AND crashes < 2"
#define ALONE "status = 'PENDING' AND run_after IS NULL AND crashes >= 2"
#define RESCUE_MAX 500

void sqlite_task_read(sqlite3_stmt *statement, bool whole, struct arena *arena, struct task_row *row_r)
{
	memset(row_r, 0, sizeof(*row_r));
	row_r->id = sqlite3_column_int64(statement, 0);
	row_r->flow = sqlite_text(statement, 1, arena);
	row_r->platform = sqlite_text(statement, 2, arena);
	row_r->params = sqlite_text(statement, 3, arena);
	row_r->account_id = sqlite_text(statement, 4, arena);
	row_r->source = sqlite_text(statement, 5, arena);
	row_r->status = task_status_from((const char *)sqlite3_column_text(statement, 6));
	row_r->priority = sqlite3_column_int(statement, 7);
	row_r->reason = sqlite_text(statement, 8, arena);
	row_r->created_at = sqlite_text(statement, 9, arena);
	row_r->picked_at = sqlite_text(statement, 10, arena);
	row_r->expires_at = sqlite_text(statement, 11, arena);
	row_r->retry_count = sqlite3_column_int(statement, 12);
	row_r->attempt = sqlite3_column_int(statement, 13);
	row_r->max_attempts = sqlite3_column_int(statement, 14);
	row_r->crashes = sqlite3_column_int(statement, 15);
	row_r->alone = sqlite3_column_int(statement, 16) != 0;
	row_r->commit_seq = sqlite3_column_int64(statement, 17);
	if (!whole)
		return;
	row_r->data = sqlite_text(statement, 18, arena);
	row_r->checkpoint = sqlite_text(statement, 19, arena);
	row_r->worker = sqlite_text(statement, 20, arena);
	row_r->error_code = sqlite_text(statement, 21, arena);
	row_r->unique_key = sqlite_text(statement, 22, arena);
	row_r->scraped_at = sqlite_text(statement, 23, arena);
	row_r->run_after_ms = sqlite3_column_int64(statement, 24);
	row_r->lease_until_ms = sqlite3_column_int64(statement, 25);
	row_r->lease_token = sqlite3_column_int64(statement, 26);
}

int sqlite_task_total(struct sqlite_db *db, const char *flow, enum task_status status, struct error *err)
{
	int rc = sqlite_run(db, err,
			    "INSERT INTO task_total (flow, status, tasks) VALUES (?1, ?2, 1)"
			    " ON CONFLICT (flow, status) DO UPDATE SET tasks = tasks + 1",
			    "tt", flow, task_status_name(status));

	return rc < 0 ? -1 : 0;
}

/* --- creation --- */

struct submit {
	struct sqlite_request request;
	const struct store_new_task *tasks;
	size_t count;
	int64_t *ids;
	store_ids_fn *done;
	void *user;
};

static int refuse_twin(struct sqlite_db *db, const struct store_new_task *task, struct error *err)
{
	int64_t twin = 0;

	if (task->unique_key == NULL)
		return 0;
	if (sqlite_integer(db, &twin, err,
			   "SELECT id FROM scrape_request_log WHERE flow = ?1 AND unique_key = ?2"
			   " AND unique_key IS NOT NULL AND status IN ('PENDING', 'PROCESSING')",
			   "tt", task->flow, task->unique_key) < 0)
		return -1;
	if (twin != 0)
		return error_set(err, ERR_INPUT,
				 "task %" PRId64 " of flow %s is already waiting or running for \"%s\"", twin,
				 task->flow, task->unique_key);
	return 0;
}

static const char *time_text(struct arena *arena, int64_t epoch_ms)
{
	char text[CLOCK_TEXT_SIZE];

	return epoch_ms == 0 ? NULL : arena_strdup(arena, clock_format_ms(text, epoch_ms));
}

int sqlite_task_insert(struct sqlite_db *db, struct arena *arena, const struct store_new_task *task,
		       int64_t now, struct task_row *row_r, struct error *err)
{
	memset(row_r, 0, sizeof(*row_r));
	row_r->flow = task->flow;
	row_r->platform = task->platform;
	row_r->params = group_clean_json(arena, task->params);
	row_r->status = TASK_PENDING;
	row_r->priority = task->priority;
	row_r->reason = task->reason;
	row_r->created_at = time_text(arena, now);
	row_r->expires_at = time_text(arena, task->expires_at_ms);
	row_r->retry_count = 1;
	if (sqlite_run(db, err,
		       "INSERT INTO scrape_request_log (flow, platform, params, account_id, status, priority,"
		       " reason, created_at, expires_at, retry_count, max_attempts, run_after, unique_key,"
		       " idempotency_key) VALUES (?1, ?2, ?3, ?4, 'PENDING', ?5, ?6, ?7, ?8, 1, ?9, ?10, ?11, ?12)",
		       "ttttitttintt", task->flow, task->platform, row_r->params, task->account_id,
		       (int64_t)task->priority, task->reason, row_r->created_at, row_r->expires_at,
		       (int64_t)(task->max_attempts > 0 ? task->max_attempts : 1),
		       task->run_after_ms > now ? task->run_after_ms : (int64_t)0, task->unique_key,
		       task->idempotency_key) < 0)
		return -1;
	row_r->id = sqlite3_last_insert_rowid(db->handle);
	return 0;
}

static int submit_run(struct sqlite_db *db, struct sqlite_request *request, struct error *err)
{
	struct submit *submit = (struct submit *)request;
	struct group_outbox outbox;
	struct task_row row;
	int64_t now = clock_wall_ms();
	size_t i;
	int rc = 0;

	group_outbox_init(&outbox, db->options);
	for (i = 0; i < submit->count && rc == 0; i++) {
		rc = sqlite_failure_skips(db, &submit->tasks[i], now, err);
		if (rc > 0) {
			submit->ids[i] = rc = 0;
			continue;
		}
		if (rc == 0)
			rc = refuse_twin(db, &submit->tasks[i], err);
		if (rc == 0)
			rc = sqlite_task_insert(db, request->arena, &submit->tasks[i], now, &row, err);
		if (rc < 0)
			break;
		submit->ids[i] = row.id;
		task_event_add(&outbox, &row, now, db->options);
	}
	if (rc == 0)
		rc = sqlite_outbox_write(db, &outbox, now, err);
	group_outbox_fini(&outbox);
	return rc;
}

static void submit_answer(struct sqlite_request *request)
{
	struct submit *submit = (struct submit *)request;
	bool good = request->err.code == ERR_NONE;

	submit->done(submit->user, good ? submit->ids : NULL, good ? submit->count : 0, &request->err);
}

void sqlite_submit(struct store *store, const struct store_new_task *tasks, size_t count, store_ids_fn *done,
		   void *user)
{
	struct submit *submit = sqlite_request_new(store, sizeof(*submit), true, submit_run, submit_answer);

	submit->tasks = tasks;
	submit->count = count;
	submit->ids = arena_alloc(submit->request.arena, (count + 1) * sizeof(*submit->ids));
	submit->done = done;
	submit->user = user;
	sqlite_request_submit(&submit->request);
}

/* --- claim --- */

struct claim {
	struct sqlite_request request;
	struct store_claim *claim;
	struct task_row *rows;
	size_t count;
	store_claimed_fn *done;
	void *user;
};

#define FIRST_READY                                                                                          \
	"SELECT id FROM scrape_request_log INDEXED BY task_ready WHERE flow = ?1 AND " READY                 \
	" AND (expires_at IS NULL OR expires_at > ?2) LIMIT 1"
#define FIRST_ALONE                                                                                          \
	"SELECT id FROM scrape_request_log INDEXED BY task_alone WHERE flow = ?1 AND " ALONE                 \
	" AND (expires_at IS NULL OR expires_at > ?2) LIMIT 1"

static bool any(struct sqlite_db *db, const char *sql, const struct store_claim *claim, const char *now)
{
	int64_t found = 0;
	size_t i;

	for (i = 0; i < claim->flow_count && found == 0; i++)
		if (claim->slots[i] > 0 &&
		    sqlite_integer(db, &found, NULL, sql, "tt", claim->flows[i], now) < 0)
			return true; /* with the lock the error shows again, and is reported */
	return found != 0;
}

static bool claim_wanted(struct sqlite_db *db, struct sqlite_request *request)
{
	struct store_claim *claim = ((struct claim *)request)->claim;
	char now[CLOCK_TEXT_SIZE];

	clock_format_ms(now, clock_wall_ms());
	claim->alone_waiting = any(db, FIRST_ALONE, claim, now);
	return (claim->alone_allowed && claim->alone_waiting) || any(db, FIRST_READY, claim, now);
}

/* Reads up to limit rows of flow that are ready, most urgent first. */
static int select_ready(struct sqlite_db *db, struct claim *request, const char *sql, const char *flow,
			size_t limit, const char *now, struct error *err)
{
	struct arena *arena = request->request.arena;
	sqlite3_stmt *statement = sqlite_query(db, err, sql, "tti", flow, now, (int64_t)limit);
	int rc;

	if (statement == NULL)
		return -1;
	while ((rc = sqlite_step(db, statement, err)) > 0)
		sqlite_task_read(statement, true, arena, &request->rows[request->count++]);
	return rc;
}

static int select_tasks(struct sqlite_db *db, struct claim *request, const char *now, struct error *err)
{
	struct store_claim *claim = request->claim;
	size_t i, total = 1;

	for (i = 0; i < claim->flow_count; i++)
		total += claim->slots[i];
	request->rows = arena_alloc(request->request.arena, total * sizeof(*request->rows));
	for (i = 0; claim->alone_allowed && i < claim->flow_count; i++) {
		if (claim->slots[i] > 0 &&
		    select_ready(db, request,
				 "SELECT " SQLITE_TASK_COLUMNS " FROM scrape_request_log"
				 " INDEXED BY task_alone WHERE flow = ?1 AND " ALONE
				 " AND (expires_at IS NULL OR"
				 " expires_at > ?2) ORDER BY priority, id LIMIT ?3",
				 claim->flows[i], 1, now, err) < 0)
			return -1;
		if (request->count > 0) {
			request->rows[0].alone = true;
			claim->alone_waiting = false;
			return 0;
		}
	}
	for (i = 0; i < claim->flow_count; i++)
		if (claim->slots[i] > 0 &&
		    select_ready(db, request,
				 "SELECT " SQLITE_TASK_COLUMNS " FROM scrape_request_log"
				 " INDEXED BY task_ready WHERE flow = ?1 AND " READY
				 " AND (expires_at IS NULL OR"
				 " expires_at > ?2) ORDER BY priority, id LIMIT ?3",
				 claim->flows[i], claim->slots[i], now, err) < 0)
			return -1;
	return 0;
}

static int take_task(struct sqlite_db *db, const struct store_claim *claim, struct task_row *row,
		     const char *now_text, int64_t now, struct error *err)
{
	row->status = TASK_PROCESSING;
	row->lease_token = (int64_t)(random_u64() >> 1) | 1; /* never 0 */
	row->lease_until_ms = now + claim->lease_ms;
	row->picked_at = now_text;
	row->worker = claim->worker;
	return sqlite_run(db, err,
			  "UPDATE scrape_request_log SET status = 'PROCESSING', lease_token = ?2,"
			  " lease_until = ?3, picked_at = ?4, worker = ?5, alone = ?6 WHERE id = ?1",
			  "iiitti", row->id, row->lease_token, row->lease_until_ms, now_text, claim->worker,
			  (int64_t)row->alone) < 0
		       ? -1
		       : 0;
}

static int claim_run(struct sqlite_db *db, struct sqlite_request *base, struct error *err)
{
	struct claim *request = (struct claim *)base;
	int64_t now = clock_wall_ms();
	const char *now_text = time_text(base->arena, now);
	struct group_outbox outbox;
	size_t i;
	int rc = select_tasks(db, request, now_text, err);

	group_outbox_init(&outbox, db->options);
	for (i = 0; i < request->count && rc == 0; i++) {
		rc = take_task(db, request->claim, &request->rows[i], now_text, now, err);
		if (rc == 0)
			task_event_add(&outbox, &request->rows[i], now, db->options);
	}
	if (rc == 0)
		rc = sqlite_outbox_write(db, &outbox, now, err);
	group_outbox_fini(&outbox);
	return rc;
}

static void claim_answer(struct sqlite_request *base)
{
	struct claim *request = (struct claim *)base;

	request->done(request->user, request->rows, base->err.code == ERR_NONE ? request->count : 0,
		      &base->err);
}

void sqlite_claim(struct store *store, struct store_claim *claim, store_claimed_fn *done, void *user)
{
	struct claim *request = sqlite_request_new(store, sizeof(*request), true, claim_run, claim_answer);

	request->request.wanted = claim_wanted;
	request->claim = claim;
	request->done = done;
	request->user = user;
	sqlite_request_submit(&request->request);
}

/* --- lease extension --- */

struct extend {
	struct sqlite_done base;
	struct store_lease *leases;
	size_t count;
	int64_t lease_ms;
};

static int extend_run(struct sqlite_db *db, struct sqlite_request *request, struct error *err)
{
	struct extend *extend = (struct extend *)request;
	int64_t until = clock_wall_ms() + extend->lease_ms;
	size_t i;

	for (i = 0; i < extend->count; i++) {
		int changed =
			sqlite_run(db, err,
				   "UPDATE scrape_request_log SET lease_until = ?3 WHERE id = ?1"
				   " AND lease_token = ?2 AND status = 'PROCESSING'",
				   "iii", extend->leases[i].task_id, extend->leases[i].lease_token, until);

		if (changed < 0)
			return -1;
		extend->leases[i].lost = changed == 0;
	}
	return 0;
}

void sqlite_extend(struct store *store, struct store_lease *leases, size_t count, int64_t lease_ms,
		   store_done_fn *done, void *user)
{
	struct extend *extend =
		sqlite_request_new(store, sizeof(*extend), true, extend_run, sqlite_answer_done);

	extend->base.done = done;
	extend->base.user = user;
	extend->leases = leases;
	extend->count = count;
	extend->lease_ms = lease_ms;
	sqlite_request_submit(&extend->base.request);
}

/* --- rescue --- */

static bool rescue_wanted(struct sqlite_db *db, struct sqlite_request *request)
{
	char text[CLOCK_TEXT_SIZE];
	int64_t now = clock_wall_ms(), found = 0;

	(void)request;
	return sqlite_integer(
		       db, &found, NULL,
		       "SELECT EXISTS (SELECT 1 FROM scrape_request_log INDEXED BY task_lease WHERE status ="
		       " 'PROCESSING' AND lease_until <= ?1) OR EXISTS (SELECT 1 FROM scrape_request_log "
		       "INDEXED"
		       " BY task_due WHERE status = 'PENDING' AND run_after IS NOT NULL AND run_after <= ?1) "
		       "OR"
		       " EXISTS (SELECT 1 FROM scrape_request_log INDEXED BY task_expiry WHERE status = "
		       "'PENDING'"
		       " AND expires_at IS NOT NULL AND expires_at <= ?2)",
		       "it", now, clock_format_ms(text, now)) < 0 ||
	       found != 0;
}

int sqlite_task_fail(struct sqlite_db *db, struct group_outbox *outbox, struct task_row *row,
		     const char *data, const char *error_code, int64_t now_ms, struct error *err)
{
	char now[CLOCK_TEXT_SIZE];

	row->status = TASK_FAILED;
	task_event_add(outbox, row, now_ms, db->options);
	if (sqlite_run(db, err,
		       "UPDATE scrape_request_log SET status = 'FAILED', data = ?2, error_code = ?3,"
		       " scraped_at = ?4, crashes = ?5, crashes_alone = crashes_alone + alone, alone = 0,"
		       " lease_until = NULL, lease_token = NULL, run_after = NULL WHERE id = ?1",
		       "ittti", row->id, data, error_code, clock_format_ms(now, now_ms),
		       (int64_t)row->crashes) < 0)
		return -1;
	return sqlite_task_total(db, row->flow, TASK_FAILED, err);
}

/* A lease ran out: the process that held it is taken to have died of the task. */
static int rescue_one(struct sqlite_db *db, struct group_outbox *outbox, struct task_row *row,
		      int64_t crashes_alone, int64_t now, struct error *err)
{
	char text[80];

	row->crashes++;
	if (crashes_alone + row->alone >= db->options->crash_limit) {
		str_format(text, sizeof(text), "(500, 'quarantined after %d crashes')", row->crashes);
		return sqlite_task_fail(db, outbox, row, text, "crash", now, err);
	}
	row->status = TASK_PENDING;
	row->picked_at = NULL;
	task_event_add(outbox, row, now, db->options);
	return sqlite_run(db, err,
			  "UPDATE scrape_request_log SET status = 'PENDING', crashes = ?2, crashes_alone ="
			  " crashes_alone + alone, alone = 0, lease_until = NULL, lease_token = NULL WHERE "
			  "id = ?1",
			  "ii", row->id, (int64_t)row->crashes) < 0
		       ? -1
		       : 0;
}

/* The rows a query finds, with the column after the event's own as an integer beside each. */
static int collect(struct sqlite_db *db, struct arena *arena, sqlite3_stmt *statement,
		   struct task_row **rows_r, int64_t **extra_r, size_t *count_r, struct error *err)
{
	int rc;

	*rows_r = arena_alloc(arena, RESCUE_MAX * sizeof(**rows_r));
	*extra_r = arena_alloc(arena, RESCUE_MAX * sizeof(**extra_r));
	*count_r = 0;
	if (statement == NULL)
		return -1;
	while ((rc = sqlite_step(db, statement, err)) > 0) {
		sqlite_task_read(statement, false, arena, &(*rows_r)[*count_r]);
		(*extra_r)[(*count_r)++] = sqlite3_column_int64(statement, 18);
	}
	return rc;
}

static int rescue_leases(struct sqlite_db *db, struct sqlite_count *request, struct group_outbox *outbox,
			 int64_t now, struct error *err)
{
	struct task_row *rows;
	int64_t *crashes_alone;
	size_t count, i;

	if (collect(db, request->request.arena,
		    sqlite_query(db, err,
				 "SELECT " SQLITE_TASK_EVENT_COLUMNS ", crashes_alone FROM scrape_request_log"
				 " INDEXED BY task_lease WHERE status = 'PROCESSING' AND lease_until <= ?1 "
				 "LIMIT ?2",
				 "ii", now, (int64_t)RESCUE_MAX),
		    &rows, &crashes_alone, &count, err) < 0)
		return -1;
	for (i = 0; i < count; i++)
		if (rescue_one(db, outbox, &rows[i], crashes_alone[i], now, err) < 0)
			return -1;
	request->count += (int64_t)count;
	return 0;
}

static int rescue_expired(struct sqlite_db *db, struct sqlite_count *request, struct group_outbox *outbox,
			  int64_t now, struct error *err)
{
	struct task_row *rows;
	int64_t *unused;
	size_t count, i;

	if (collect(db, request->request.arena,
		    sqlite_query(
			    db, err,
			    "SELECT " SQLITE_TASK_EVENT_COLUMNS ", 0 FROM scrape_request_log"
			    " INDEXED BY task_expiry WHERE status = 'PENDING' AND expires_at IS NOT NULL AND"
			    " expires_at <= ?1 LIMIT ?2",
			    "ti", time_text(request->request.arena, now), (int64_t)RESCUE_MAX),
		    &rows, &unused, &count, err) < 0)
		return -1;
	for (i = 0; i < count; i++)
		if (sqlite_task_fail(db, outbox, &rows[i], "(408, 'expired before it was started')",
				     "expired", now, err) < 0)
			return -1;
	request->count += (int64_t)count;
	return 0;
}

static int rescue_run(struct sqlite_db *db, struct sqlite_request *base, struct error *err)
{
	struct sqlite_count *request = (struct sqlite_count *)base;
	struct group_outbox outbox;
	int64_t now = clock_wall_ms();
	int due, rc = -1;

	group_outbox_init(&outbox, db->options);
	if (rescue_leases(db, request, &outbox, now, err) == 0 &&
	    rescue_expired(db, request, &outbox, now, err) == 0) {
		due = sqlite_run(db, err,
				 "UPDATE scrape_request_log SET run_after = NULL WHERE id IN (SELECT id FROM"
				 " scrape_request_log INDEXED BY task_due WHERE status = 'PENDING' AND "
				 "run_after IS NOT"
				 " NULL AND run_after <= ?1 LIMIT ?2)",
				 "ii", now, (int64_t)RESCUE_MAX);
		request->count += due;
		if (due >= 0)
			rc = sqlite_outbox_write(db, &outbox, now, err);
	}
	group_outbox_fini(&outbox);
	return rc;
}

void sqlite_rescue(struct store *store, store_count_fn *done, void *user)
{
	struct sqlite_count *request =
		sqlite_request_new(store, sizeof(*request), true, rescue_run, sqlite_answer_count);

	request->request.wanted = rescue_wanted;
	request->done = done;
	request->user = user;
	sqlite_request_submit(&request->request);
}
