/* SPDX-License-Identifier: Apache-2.0 */
/* Schedules, and the removal of tasks that ended long ago. Loop thread. */
#include "store/postgres.h"

#include <string.h>

#include "base/clock.h"
#include "store/slot.h"

#define COLUMNS                                                                                              \
	"name, spec, slot_ms, list, done, finished::int, made, skipped, refused, error, changed_ms, slots,"    \
	" missed, tasks, skips, failing, fails"

/* --- reading --- */

struct schedules {
	struct pg_request request;
	struct store_schedule *rows;	/* in the arena */
	size_t count;
	store_schedules_fn *done;
	void *user;
	/* A step */
	const struct store_slot *step;
	const struct store_new_task **tasks;	/* those of it that are to be made */
	int64_t *ids;			/* drawn for them */
	size_t task_count;
	int64_t now, made;
};

static void read_row(const PGresult *result, int row, struct arena *arena, struct store_schedule *schedule)
{
	schedule->name = pg_get_text(result, row, 0, arena);
	schedule->spec = pg_get_text(result, row, 1, arena);
	schedule->slot_ms = pg_get_int(result, row, 2);
	schedule->list = pg_get_text(result, row, 3, arena);
	schedule->done = pg_get_int(result, row, 4);
	schedule->finished = pg_get_int(result, row, 5) != 0;
	schedule->made = pg_get_int(result, row, 6);
	schedule->skipped = pg_get_int(result, row, 7);
	schedule->refused = pg_get_int(result, row, 8);
	schedule->error = pg_get_text(result, row, 9, arena);
	schedule->changed_ms = pg_get_int(result, row, 10);
	schedule->slots = pg_get_int(result, row, 11);
	schedule->missed = pg_get_int(result, row, 12);
	schedule->tasks = pg_get_int(result, row, 13);
	schedule->skips = pg_get_int(result, row, 14);
	schedule->failing = pg_get_int(result, row, 15);
	schedule->fails = pg_get_int(result, row, 16);
}

static void all_read(struct pg_request *request)
{
	const PGresult *result = pg_batch(request)->results[0];
	struct schedules *schedules = (struct schedules *)request;

	schedules->count = (size_t)PQntuples(result);
	schedules->rows = arena_alloc(request->arena, (schedules->count + 1) * sizeof(*schedules->rows));
	for (int row = 0; row < PQntuples(result); row++)
		read_row(result, row, request->arena, &schedules->rows[row]);
	pg_finish(request);
}

static void all_start(struct pg_request *request)
{
	pg_add_limits(request);
	pg_add(request, "SELECT " COLUMNS " FROM schedule WHERE spec IS NOT NULL ORDER BY name", "");
	pg_send(request, all_read);
}

static void answer(struct pg_request *request)
{
	struct schedules *schedules = (struct schedules *)request;
	bool good = request->err.code == ERR_NONE;

	if (good && schedules->count > 0 && schedules->made > 0)
		pg_hint(request->store, schedules->step->tasks[0].flow);
	schedules->done(schedules->user, schedules->rows, good ? schedules->count : 0, &request->err);
}

static struct schedules *schedules_request(struct store *store, void (*start)(struct pg_request *),
					   store_schedules_fn *done, void *user)
{
	struct schedules *schedules = pg_request_new(store, sizeof(*schedules), start, answer);

	schedules->done = done;
	schedules->user = user;
	return schedules;
}

void pg_schedules(struct store *store, store_schedules_fn *done, void *user)
{
	pg_request_submit(&schedules_request(store, all_start, done, user)->request);
}

/* --- a step --- */

static void slot_written(struct pg_request *request)
{
	request->unclear = false;
	request->wrote = true;
	pg_finish(request);
}

static void slot_commit(struct schedules *schedules, struct group_outbox *outbox)
{
	struct pg_request *request = &schedules->request;
	struct store_schedule *row = schedules->rows;

	slot_take(row, schedules->step, schedules->made, (int64_t)(schedules->step->count - schedules->task_count),
		  schedules->now);
	if (outbox != NULL)
		pg_add_outbox(request, outbox, schedules->now);
	pg_add(request,
	       "UPDATE schedule SET spec = $2, slot_ms = $3, list = $4, done = $5, finished = $6::int::boolean, made = $7,"
	       " skipped = $8, refused = $9, error = $10, changed_ms = $11, slots = $12, missed = $13, tasks = $14,"
	       " skips = $15, failing = $16, fails = $17 WHERE name = $1",
	       "ttitiiiiitiiiiiii", row->name, row->spec, row->slot_ms, row->list, row->done, (int64_t)row->finished,
	       row->made, row->skipped, row->refused, row->error, row->changed_ms, row->slots, row->missed, row->tasks,
	       row->skips, row->failing, row->fails);
	pg_add_silent(request, "COMMIT");
	pg_send_commit(request, slot_written);
}

/* Which tasks were made: the others were there. */
static void tasks_made(struct pg_request *request)
{
	struct schedules *schedules = (struct schedules *)request;
	const PGresult *result = pg_batch(request)->results[0];
	struct group_outbox outbox;
	int row = 0;

	schedules->made = PQntuples(result);
	group_outbox_init(&outbox, &request->store->base.options);
	for (size_t i = 0; i < schedules->task_count && row < PQntuples(result); i++)
		if (schedules->ids[i] == pg_get_int(result, row, 0)) {
			pg_new_task_event(&outbox, schedules->tasks[i], schedules->ids[i], schedules->now, request);
			row++;
		}
	slot_commit(schedules, &outbox);
	group_outbox_fini(&outbox);
}

static void slot_make(struct schedules *schedules)
{
	struct pg_request *request = &schedules->request;

	pg_add_new_tasks(request, schedules->tasks, schedules->ids, schedules->task_count, schedules->now, true);
	pg_send(request, tasks_made);
}

/* Which tasks are to be made; failed: what the store says of those that ask, NULL when none does. */
static void take_tasks(struct schedules *schedules, const PGresult *ids, const PGresult *failed)
{
	const struct store_slot *step = schedules->step;

	if (failed != NULL)
		pg_take_skips(failed, schedules->tasks, step->count);
	schedules->task_count = 0;
	for (size_t i = 0; i < step->count; i++) {
		if (step->tasks[i].skip != NULL && step->tasks[i].skip->skipped)
			continue;
		schedules->tasks[schedules->task_count] = &step->tasks[i];
		schedules->ids[schedules->task_count++] = pg_get_int(ids, (int)i, 0);
	}
}

/* The row is locked, and there for certain. */
static void slot_locked(struct pg_request *request)
{
	struct schedules *schedules = (struct schedules *)request;
	const struct pg_batch *batch = pg_batch(request);
	bool taken, fits;

	read_row(batch->results[1], 0, request->arena, schedules->rows);
	taken = request->unclear && slot_was_taken(schedules->rows, schedules->step);
	fits = !taken && slot_fits(schedules->rows, schedules->step);
	schedules->count = taken || fits;
	schedules->made = 0;
	if (!fits) {
		pg_add_silent(request, "ROLLBACK");
		pg_send(request, slot_written);
		return;
	}
	take_tasks(schedules, batch->results[2], batch->count > 3 ? batch->results[3] : NULL);
	if (schedules->task_count > 0)
		slot_make(schedules);
	else
		slot_commit(schedules, NULL);
}

static void slot_start(struct pg_request *request)
{
	struct schedules *schedules = (struct schedules *)request;
	size_t count = schedules->step->count;

	for (size_t i = 0; i < count; i++)
		schedules->tasks[i] = &schedules->step->tasks[i];
	schedules->now = clock_wall_ms();
	pg_add_begin(request);
	pg_add(request, "INSERT INTO schedule (name) VALUES ($1) ON CONFLICT (name) DO NOTHING", "t",
	       schedules->step->schedule);
	pg_add(request, "SELECT " COLUMNS " FROM schedule WHERE name = $1 FOR UPDATE", "t", schedules->step->schedule);
	pg_add(request, "SELECT nextval('crawl_dump_id_seq') FROM generate_series(1, $1)", "i",
	       (int64_t)count);
	if (pg_failures_asked(schedules->tasks, count))
		pg_add_skips(request, schedules->tasks, count, schedules->now);
	pg_send(request, slot_locked);
}

void pg_slot(struct store *store, const struct store_slot *step, store_schedules_fn *done, void *user)
{
	struct schedules *schedules = schedules_request(store, slot_start, done, user);
	struct arena *arena = schedules->request.arena;

	schedules->step = step;
	schedules->rows = arena_alloc(arena, sizeof(*schedules->rows));
	schedules->tasks = arena_alloc(arena, (step->count + 1) * sizeof(*schedules->tasks));
	schedules->ids = arena_alloc(arena, (step->count + 1) * sizeof(*schedules->ids));
	pg_request_submit(&schedules->request);
}

/* --- removal --- */

struct sweep {
	struct pg_done base;
	struct store_sweep *sweep;
};

static void swept(struct pg_request *request)
{
	struct store_sweep *sweep = ((struct sweep *)request)->sweep;
	const PGresult *result = pg_batch(request)->results[0];
	int64_t last = pg_get_int(result, 0, 1), most = pg_get_int(result, 0, 2);

	sweep->removed = pg_get_int(result, 0, 0);
	if (last > 0)
		sweep->after_id = last;
	sweep->over = most == 0;
	request->wrote = sweep->removed > 0;
	pg_finish(request);
}

/*
 * Ids rise with the time of creation, and nothing ends before it was made: no
 * index is needed to find what is old. Whoever changes a row that has ended at
 * the same time, if anybody does, is left alone.
 */
static void sweep_start(struct pg_request *request)
{
	const struct store_sweep *sweep = ((struct sweep *)request)->sweep;
	int64_t newest = sweep->complete_before_ms > sweep->failed_before_ms ? sweep->complete_before_ms
									     : sweep->failed_before_ms;
	char complete[CLOCK_TEXT_SIZE], failed[CLOCK_TEXT_SIZE], oldest[CLOCK_TEXT_SIZE];

	pg_add_limits(request);
	pg_add(request,
	       "WITH seen AS MATERIALIZED (SELECT id, created_at, status, coalesce(scraped_at, picked_at, created_at) AS"
	       " ended FROM scrape_request_log WHERE id > $1 ORDER BY id LIMIT 2000),"
	       " old AS MATERIALIZED (SELECT id FROM seen WHERE (status = 'COMPLETE' AND ended < $2::timestamp) OR"
	       " (status = 'FAILED' AND ended < $3::timestamp) ORDER BY id LIMIT 500),"
	       " gone AS (DELETE FROM scrape_request_log s WHERE s.id IN (SELECT id FROM old) AND s.status IN"
	       " ('COMPLETE', 'FAILED') RETURNING 1)"
	       " SELECT (SELECT count(*) FROM gone), CASE WHEN (SELECT count(*) FROM old) = 500"
	       " THEN (SELECT max(id) FROM old) ELSE (SELECT max(id) FROM seen) END,"
	       " ((SELECT count(*) FROM old) = 500 OR (SELECT count(*) = 2000 AND min(created_at) < $4::timestamp"
	       " FROM seen))::int",
	       "irrr", sweep->after_id, clock_format_ms(complete, sweep->complete_before_ms),
	       clock_format_ms(failed, sweep->failed_before_ms), clock_format_ms(oldest, newest));
	pg_send(request, swept);
}

void pg_sweep(struct store *store, struct store_sweep *sweep, store_done_fn *done, void *user)
{
	struct sweep *request = pg_request_new(store, sizeof(*request), sweep_start, pg_answer_done);

	request->base.done = done;
	request->base.user = user;
	request->sweep = sweep;
	sweep->removed = 0;
	pg_request_submit(&request->base.request);
}
