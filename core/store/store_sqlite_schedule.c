/* SPDX-License-Identifier: Apache-2.0 */
/* Schedules, and the removal of tasks that ended long ago. Store thread, but for the functions that make the requests. */
#include "store/sqlite.h"

#include <string.h>

#include "base/clock.h"
#include "store/slot.h"
#include "store/task_event.h"

#define SWEEP_LOOK 2000
#define SWEEP_MAX 500
#define COLUMNS                                                                                              \
	"name, spec, slot_ms, list, done, finished, made, skipped, refused, error, changed_ms, slots, missed," \
	" tasks, skips, failing, fails"

struct schedules {
	struct sqlite_request request;
	const struct store_slot *step;	/* NULL: all are read */
	struct store_schedule *rows;
	size_t count;
	store_schedules_fn *done;
	void *user;
};

static void read_row(sqlite3_stmt *statement, struct arena *arena, struct store_schedule *row)
{
	row->name = sqlite_text(statement, 0, arena);
	row->spec = sqlite_text(statement, 1, arena);
	row->slot_ms = sqlite3_column_int64(statement, 2);
	row->list = sqlite_text(statement, 3, arena);
	row->done = sqlite3_column_int64(statement, 4);
	row->finished = sqlite3_column_int(statement, 5) != 0;
	row->made = sqlite3_column_int64(statement, 6);
	row->skipped = sqlite3_column_int64(statement, 7);
	row->refused = sqlite3_column_int64(statement, 8);
	row->error = sqlite_text(statement, 9, arena);
	row->changed_ms = sqlite3_column_int64(statement, 10);
	row->slots = sqlite3_column_int64(statement, 11);
	row->missed = sqlite3_column_int64(statement, 12);
	row->tasks = sqlite3_column_int64(statement, 13);
	row->skips = sqlite3_column_int64(statement, 14);
	row->failing = sqlite3_column_int64(statement, 15);
	row->fails = sqlite3_column_int64(statement, 16);
}

static int all_run(struct sqlite_db *db, struct sqlite_request *request, struct error *err)
{
	struct schedules *schedules = (struct schedules *)request;
	sqlite3_stmt *statement = sqlite_query(db, err, "SELECT " COLUMNS " FROM schedule ORDER BY name", "");
	int rc = statement == NULL ? -1 : 1;

	while (rc > 0 && (rc = sqlite_step(db, statement, err)) > 0) {
		schedules->rows = arena_grow(request->arena, schedules->rows, schedules->count, sizeof(*schedules->rows));
		read_row(statement, request->arena, &schedules->rows[schedules->count++]);
	}
	return rc;
}

static int read_one(struct sqlite_db *db, struct arena *arena, const char *name, struct store_schedule *row,
		    struct error *err)
{
	sqlite3_stmt *statement = sqlite_query(db, err, "SELECT " COLUMNS " FROM schedule WHERE name = ?1", "t", name);
	int rc = statement == NULL ? -1 : sqlite_step(db, statement, err);

	if (rc > 0) {
		read_row(statement, arena, row);
		sqlite3_reset(statement);
	}
	row->name = name;
	return rc < 0 ? -1 : 0;
}

static int write_one(struct sqlite_db *db, const struct store_schedule *row, struct error *err)
{
	int rc = sqlite_run(db, err,
			    "INSERT OR REPLACE INTO schedule (" COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9,"
			    " ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
			    "ttitiiiiitiiiiiii", row->name, row->spec, row->slot_ms, row->list, row->done,
			    (int64_t)row->finished, row->made, row->skipped, row->refused, row->error, row->changed_ms,
			    row->slots, row->missed, row->tasks, row->skips, row->failing, row->fails);

	return rc < 0 ? -1 : 0;
}

/* Whether the task would be a live task's twin, or was made before. */
static int is_there(struct sqlite_db *db, const struct store_new_task *task, struct error *err)
{
	int64_t there = 0;
	int rc = sqlite_integer(db, &there, err,
				"SELECT EXISTS (SELECT 1 FROM scrape_request_log WHERE idempotency_key = ?1 AND"
				" idempotency_key IS NOT NULL) OR EXISTS (SELECT 1 FROM scrape_request_log WHERE flow = ?2"
				" AND unique_key = ?3 AND unique_key IS NOT NULL AND status IN ('PENDING', 'PROCESSING'))",
				"ttt", task->idempotency_key, task->flow, task->unique_key);

	return rc < 0 ? -1 : there != 0;
}

static int make_tasks(struct sqlite_db *db, struct schedules *request, int64_t now, int64_t *made_r, int64_t *failing_r,
		      struct error *err)
{
	struct group_outbox outbox;
	int rc = 0;

	*made_r = *failing_r = 0;
	group_outbox_init(&outbox, db->options);
	for (size_t i = 0; i < request->step->count && rc >= 0; i++) {
		const struct store_new_task *task = &request->step->tasks[i];
		struct task_row row;

		rc = sqlite_failure_skips(db, task, now, err);
		if (rc > 0)
			(*failing_r)++;
		else if (rc == 0)
			rc = is_there(db, task, err);
		if (rc != 0)
			continue;
		rc = sqlite_task_insert(db, request->request.arena, task, now, &row, err);
		if (rc == 0) {
			task_event_add(&outbox, &row, now, db->options);
			(*made_r)++;
		}
	}
	if (rc >= 0)
		rc = sqlite_outbox_write(db, &outbox, now, err);
	group_outbox_fini(&outbox);
	return rc < 0 ? -1 : 0;
}

static int slot_run(struct sqlite_db *db, struct sqlite_request *base, struct error *err)
{
	struct schedules *request = (struct schedules *)base;
	struct store_schedule *row = request->rows;
	int64_t now = clock_wall_ms(), made, failing;

	request->count = 0;
	memset(row, 0, sizeof(*row));
	if (read_one(db, base->arena, request->step->schedule, row, err) < 0)
		return -1;
	if (!slot_fits(row, request->step))
		return 0;
	if (make_tasks(db, request, now, &made, &failing, err) < 0)
		return -1;
	slot_take(row, request->step, made, failing, now);
	request->count = 1;
	return write_one(db, row, err);
}

static void answer(struct sqlite_request *request)
{
	struct schedules *schedules = (struct schedules *)request;

	schedules->done(schedules->user, schedules->rows, request->err.code == ERR_NONE ? schedules->count : 0,
			&request->err);
}

void sqlite_schedules(struct store *store, store_schedules_fn *done, void *user)
{
	struct schedules *request = sqlite_request_new(store, sizeof(*request), false, all_run, answer);

	request->done = done;
	request->user = user;
	sqlite_request_submit(&request->request);
}

void sqlite_slot(struct store *store, const struct store_slot *step, store_schedules_fn *done, void *user)
{
	struct schedules *request = sqlite_request_new(store, sizeof(*request), true, slot_run, answer);

	request->step = step;
	request->rows = arena_alloc(request->request.arena, sizeof(*request->rows));
	request->done = done;
	request->user = user;
	sqlite_request_submit(&request->request);
}

/* --- removal --- */

struct sweep {
	struct sqlite_done base;
	struct store_sweep *sweep;
	int64_t ids[SWEEP_MAX];
	size_t count;
};

/* Looks at the next tasks: which are to go, and where the next step goes on. */
static int sweep_look(struct sqlite_db *db, struct sweep *request, struct error *err)
{
	struct store_sweep *sweep = request->sweep;
	int64_t newest = sweep->complete_before_ms > sweep->failed_before_ms ? sweep->complete_before_ms
									     : sweep->failed_before_ms;
	char complete[CLOCK_TEXT_SIZE], failed[CLOCK_TEXT_SIZE], oldest[CLOCK_TEXT_SIZE];
	bool any_old = false;
	int64_t looked = 0;
	sqlite3_stmt *statement;
	int rc;

	/* 0 is a time before all tasks. */
	statement = sqlite_query(db, err,
				 "SELECT id, (status = 'COMPLETE' AND coalesce(scraped_at, created_at) < ?2) OR"
				 " (status = 'FAILED' AND coalesce(scraped_at, created_at) < ?3), created_at < ?4"
				 " FROM scrape_request_log WHERE id > ?1 ORDER BY id LIMIT ?5",
				 "ittti", sweep->after_id, clock_format_ms(complete, sweep->complete_before_ms),
				 clock_format_ms(failed, sweep->failed_before_ms), clock_format_ms(oldest, newest),
				 (int64_t)SWEEP_LOOK);
	rc = statement == NULL ? -1 : 1;
	while (rc > 0 && request->count < SWEEP_MAX && (rc = sqlite_step(db, statement, err)) > 0) {
		looked++;
		sweep->after_id = sqlite3_column_int64(statement, 0);
		if (sqlite3_column_int(statement, 1) != 0)
			request->ids[request->count++] = sweep->after_id;
		any_old = any_old || sqlite3_column_int(statement, 2) != 0;
	}
	if (rc > 0)
		sqlite3_reset(statement);
	/* Ids rise with the time of creation, and nothing ends before it was made. */
	sweep->over = request->count < SWEEP_MAX && (looked < SWEEP_LOOK || !any_old);
	return rc < 0 ? -1 : 0;
}

/* Looks without the lock: most steps find nothing. */
static bool sweep_wanted(struct sqlite_db *db, struct sqlite_request *base)
{
	struct sweep *request = (struct sweep *)base;

	return sweep_look(db, request, &base->err) == 0 && request->count > 0;
}

static int sweep_run(struct sqlite_db *db, struct sqlite_request *base, struct error *err)
{
	struct sweep *request = (struct sweep *)base;

	for (size_t i = 0; i < request->count; i++) {
		int changed = sqlite_run(db, err,
					 "DELETE FROM scrape_request_log WHERE id = ?1 AND status IN ('COMPLETE', 'FAILED')",
					 "i", request->ids[i]);

		if (changed < 0)
			return -1;
		request->sweep->removed += changed;
	}
	return 0;
}

void sqlite_sweep(struct store *store, struct store_sweep *sweep, store_done_fn *done, void *user)
{
	struct sweep *request = sqlite_request_new(store, sizeof(*request), true, sweep_run, sqlite_answer_done);

	request->base.request.wanted = sweep_wanted;
	request->base.done = done;
	request->base.user = user;
	request->sweep = sweep;
	sweep->removed = 0;
	sqlite_request_submit(&request->base.request);
}
