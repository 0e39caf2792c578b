/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of every task store: schedules, queries of the configuration, and the removal of old tasks. */
#include "store_fixture.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "store_cases.h"

#define SLOT 1800000000000		/* some moment */
#define MINUTE 60000

/* Tasks of the flow with keys FLOW/SLOT/FROM to FLOW/SLOT/FROM + count - 1. */
static struct store_new_task *make_tasks(struct fixture *fx, int64_t slot, int64_t from, size_t count)
{
	struct store_new_task *tasks = arena_alloc(fx->arena, (count + 1) * sizeof(*tasks));

	for (size_t i = 0; i < count; i++)
		tasks[i] = (struct store_new_task){
			.flow = fx->flow, .params = "{}", .priority = 1, .max_attempts = 3,
			.idempotency_key = arena_printf(fx->arena, "%s/%lld/%lld", fx->flow, (long long)slot,
							(long long)from + (long long)i)};
	return tasks;
}

static struct store_slot a_step(struct fixture *fx, int64_t slot, int64_t from, size_t count, bool last)
{
	return (struct store_slot){.schedule = fx->flow, .spec = "* * * * * UTC", .slot_ms = slot, .list = "list",
				   .from = from, .tasks = make_tasks(fx, slot, from, count), .count = count,
				   .last = last};
}

/* The row after the step; NULL: it did not fit. */
static const struct store_schedule *take(struct fixture *fx, const struct store_slot *step)
{
	struct store_schedule *rows;
	size_t count;

	assert_good(fx, store_sync_slot(fx->sync, step, fx->arena, &rows, &count, &fx->err));
	return count > 0 ? rows : NULL;
}

static void begin(struct fixture *fx, int64_t slot)
{
	struct store_slot step = a_step(fx, slot, 0, 0, false);

	step.first = true;
	assert_non_null(take(fx, &step));
}

/* The schedule as it is listed. */
static const struct store_schedule *listed(struct fixture *fx)
{
	struct store_schedule *rows;
	size_t count, i;

	assert_good(fx, store_sync_schedules(fx->sync, fx->arena, &rows, &count, &fx->err));
	for (i = 0; i < count; i++)
		if (str_eq(rows[i].name, fx->flow))
			return &rows[i];
	return NULL;
}

static int64_t pending(struct fixture *fx)
{
	struct store_depth *rows;
	size_t count, i;

	assert_good(fx, store_sync_depths(fx->sync, fx->arena, &rows, &count, &fx->err));
	for (i = 0; i < count; i++)
		if (str_eq(rows[i].name, fx->flow))
			return rows[i].pending + rows[i].alone;
	return 0;
}

static void new_schedule_has_no_past(void **state)
{
	struct fixture *fx = *state;
	struct store_slot step = a_step(fx, SLOT, 0, 1, true);
	const struct store_schedule *row;

	assert_null(take(fx, &step));	/* nothing was noted yet */
	assert_null(listed(fx));
	begin(fx, SLOT);
	assert_null(take(fx, &step));
	row = listed(fx);
	assert_int_equal(row->slot_ms, SLOT);
	assert_true(row->finished);
	assert_int_equal(row->slots, 0);
	assert_int_equal(pending(fx), 0);
	step = a_step(fx, SLOT + MINUTE, 0, 0, false);
	step.first = true;
	assert_null(take(fx, &step));	/* it is known already */
	step.spec = "0 0 * * * UTC";
	assert_non_null(take(fx, &step));
	assert_int_equal(listed(fx)->slot_ms, SLOT + MINUTE);
	assert_string_equal(listed(fx)->spec, "0 0 * * * UTC");
}

static void slot_makes_its_tasks_once(void **state)
{
	struct fixture *fx = *state;
	struct store_slot step = a_step(fx, SLOT + MINUTE, 0, 3, true), older = a_step(fx, SLOT + 1, 0, 2, true);
	const struct store_schedule *row;

	begin(fx, SLOT);
	row = take(fx, &step);
	assert_non_null(row);
	assert_int_equal(row->made, 3);
	assert_null(take(fx, &step));
	assert_null(take(fx, &older));
	row = listed(fx);
	assert_true(row->finished);
	assert_int_equal(row->slot_ms, SLOT + MINUTE);
	assert_int_equal(row->made, 3);
	assert_int_equal(row->tasks, 3);
	assert_int_equal(row->slots, 1);
	assert_int_equal(pending(fx), 3);
	assert_int_equal(json_count(fixture_events(fx, fx->status_queue)), 3);
	assert_json(json_at(fixture_events(fx, fx->status_queue), "0"), "status", "\"PENDING\"");
}

static void slot_goes_on_where_it_was(void **state)
{
	struct fixture *fx = *state;
	struct store_slot first = a_step(fx, SLOT + MINUTE, 0, 2, false), second = a_step(fx, SLOT + MINUTE, 2, 2, false);
	struct store_slot early = a_step(fx, SLOT + MINUTE, 4, 1, true), other = a_step(fx, SLOT + MINUTE, 0, 5, true);

	begin(fx, SLOT);
	assert_null(take(fx, &second));
	assert_non_null(take(fx, &first));
	assert_null(take(fx, &first));
	assert_null(take(fx, &early));
	assert_false(listed(fx)->finished);
	assert_int_equal(listed(fx)->done, 2);
	assert_non_null(take(fx, &second));
	assert_null(take(fx, &other));		/* the same list from the beginning */
	other.list = "another list";		/* … of which four were made already */
	assert_int_equal(take(fx, &other)->made, 5);
	assert_true(listed(fx)->finished);
	assert_int_equal(pending(fx), 5);
	assert_int_equal(json_count(fixture_events(fx, fx->status_queue)), 5);
}

static void unfinished_slot_gives_way_to_the_next(void **state)
{
	struct fixture *fx = *state;
	struct store_slot first = a_step(fx, SLOT + MINUTE, 0, 2, false), next = a_step(fx, SLOT + 2 * MINUTE, 0, 2, true);
	struct store_slot late = a_step(fx, SLOT + MINUTE, 2, 2, true);

	begin(fx, SLOT);
	assert_non_null(take(fx, &first));
	assert_int_equal(take(fx, &next)->made, 2);
	assert_null(take(fx, &late));
	assert_int_equal(pending(fx), 4);
	assert_int_equal(listed(fx)->slots, 2);
}

static void live_twins_are_skipped(void **state)
{
	struct fixture *fx = *state;
	struct store_slot step = a_step(fx, SLOT + MINUTE, 0, 4, true);
	struct store_new_task *tasks = make_tasks(fx, SLOT + MINUTE, 0, 4);
	struct store_commit commit;

	tasks[0].unique_key = tasks[2].unique_key = "a";
	tasks[1].unique_key = "b";
	step.tasks = tasks;
	begin(fx, SLOT);
	assert_int_equal(take(fx, &step)->made, 3);
	assert_int_equal(listed(fx)->skipped, 1);
	/* The next slot: one of them has ended. */
	commit = fixture_commit(fixture_claim(fx), STORE_COMPLETE);
	fixture_write(fx, &commit, 1);
	step.slot_ms += MINUTE;
	tasks = make_tasks(fx, step.slot_ms, 0, 2);
	tasks[0].unique_key = "a";
	tasks[1].unique_key = "b";
	step.tasks = tasks;
	step.count = 2;
	assert_int_equal(take(fx, &step)->made, 1);
	assert_int_equal(listed(fx)->skipped, 1);
	assert_int_equal(listed(fx)->skips, 2);
	assert_int_equal(listed(fx)->tasks, 4);
	assert_int_equal(pending(fx), 3);
}

static void what_went_wrong_is_noted(void **state)
{
	struct fixture *fx = *state;
	struct store_slot step = a_step(fx, SLOT + 5 * MINUTE, 0, 0, false);

	begin(fx, SLOT);
	step.missed = 4;
	step.list = NULL;
	step.error = "no such file";
	assert_string_equal(take(fx, &step)->error, "no such file");
	assert_int_equal(listed(fx)->missed, 4);
	step = a_step(fx, SLOT + 5 * MINUTE, 0, 1, false);	/* it could be read after all */
	assert_null(take(fx, &step)->error);
	step = a_step(fx, SLOT + 5 * MINUTE, 1, 1, false);
	step.refused = 2;
	step.error = "line 2";
	assert_non_null(take(fx, &step));
	step = a_step(fx, SLOT + 5 * MINUTE, 4, 1, true);
	assert_string_equal(take(fx, &step)->error, "line 2");
	assert_int_equal(listed(fx)->refused, 2);
	assert_int_equal(listed(fx)->made, 3);
	step = a_step(fx, SLOT + 9 * MINUTE, 0, 0, true);
	step.over = true;
	step.missed = 4;
	assert_null(take(fx, &step)->error);
	assert_int_equal(listed(fx)->missed, 8);
	assert_int_equal(listed(fx)->slots, 1);
	assert_true(listed(fx)->finished);
}

/* --- several at once --- */

enum { SLOTS = 12, STEPS = 4, STEP_TASKS = 10, TIMERS = 3 };

/* In a child: carries out slot after slot as if it were the only one. */
static void run_timer(struct fixture *fx)
{
	struct store_schedule *rows;
	size_t count;

	fx->sync = fixture_open(fx);
	for (int64_t slot = 1; slot <= SLOTS; slot++)
		for (int64_t from = 0; from < STEPS * STEP_TASKS; from += STEP_TASKS) {
			struct store_slot step = a_step(fx, SLOT + slot * MINUTE, from, STEP_TASKS,
							from + STEP_TASKS == STEPS * STEP_TASKS);

			if (store_sync_slot(fx->sync, &step, fx->arena, &rows, &count, &fx->err) < 0)
				_exit(1);
		}
	_exit(0);
}

static void one_slot_is_one_slot_for_all(void **state)
{
	struct fixture *fx = *state;
	pid_t pids[TIMERS];
	int64_t left = 0;
	int status;

	begin(fx, SLOT);
	store_sync_close(&fx->sync);
	for (size_t i = 0; i < TIMERS; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] == 0)
			run_timer(fx);
	}
	usleep(50000);
	kill(pids[0], SIGKILL);
	for (size_t i = 0; i < TIMERS; i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		if (i > 0)
			assert_int_equal(status, 0);
	}
	fx->sync = fixture_open(fx);
	/* Whoever comes next ends what the killed one had begun, if the others had not. */
	while (!listed(fx)->finished) {
		const struct store_schedule *row = listed(fx);
		struct store_slot step = a_step(fx, row->slot_ms, row->done, STEP_TASKS,
						row->done + STEP_TASKS == STEPS * STEP_TASKS);

		assert_non_null(take(fx, &step));
		assert_true(left++ < STEPS);
	}
	assert_int_equal(listed(fx)->slots, SLOTS);
	assert_int_equal(listed(fx)->tasks, pending(fx));
	assert_int_equal(listed(fx)->made, STEPS * STEP_TASKS);
	assert_int_equal(listed(fx)->skips, 0);
	assert_true(listed(fx)->tasks <= SLOTS * STEPS * STEP_TASKS);
}

/* --- queries --- */

static void query_gives_rows(void **state)
{
	struct fixture *fx = *state;
	struct buf out;
	const char *sql = arena_printf(fx->arena, "SELECT flow AS handle, id AS n, NULL AS empty FROM scrape_request_log"
						  " WHERE flow = '%s' ORDER BY id -- the end", fx->flow);
	int64_t id = fixture_submit(fx, 1);

	buf_init(&out);
	assert_good(fx, store_sync_query(fx->sync, sql, 1, &out, &fx->err));
	assert_string_equal(out.data, arena_printf(fx->arena, "[{\"handle\":\"%s\",\"n\":%lld,\"empty\":null}]", fx->flow,
						   (long long)id));
	buf_clear(&out);
	fixture_submit(fx, 1);
	assert_int_equal(store_sync_query(fx->sync, sql, 1, &out, &fx->err), -1);
	assert_int_equal(fx->err.code, ERR_LIMIT);
	assert_int_equal(store_sync_query(fx->sync, "SELECT nothing FROM nowhere", 1, &out, &fx->err), -1);
	assert_int_equal(fx->err.code, ERR_INPUT);
	buf_fini(&out);
}

static void query_changes_nothing(void **state)
{
	static const char *const statements[] = {
		"DELETE FROM scrape_request_log WHERE id > 0",
		"WITH gone AS (DELETE FROM scrape_request_log RETURNING id) SELECT id FROM gone",
		"SELECT 1; DELETE FROM scrape_request_log",
		"SELECT nextval('crawl_dump_id_seq')",
		"SELECT * FROM (SELECT 1) x; DROP TABLE scrape_request_log",
		"PRAGMA user_version = 5",
		"ATTACH 'other.db' AS other",
		"COMMIT",
		"CREATE TABLE contract_made (id integer)",
		"UPDATE scrape_request_log SET status = 'FAILED'",
		"SELECT id INTO contract_made FROM scrape_request_log",
		""
	};
	struct fixture *fx = *state;
	int64_t id = fixture_submit(fx, 1);
	struct buf out;

	buf_init(&out);
	for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
		if (store_sync_query(fx->sync, statements[i], 10, &out, &fx->err) == 0)
			fail_msg("\"%s\" gave %s", statements[i], out.data);
		if (fx->err.code != ERR_INPUT)
			fail_msg("\"%s\": %s", statements[i], fx->err.text);
	}
	buf_fini(&out);
	assert_json(fixture_task(fx, id), "status", "\"PENDING\"");
	assert_int_equal(pending(fx), 1);
	fixture_submit(fx, 1);		/* the connection does all it did before */
	assert_int_equal(pending(fx), 2);
}

/* --- removal --- */

static bool is_there(struct fixture *fx, int64_t id)
{
	struct buf out;
	int rc;

	buf_init(&out);
	rc = store_sync_task_get(fx->sync, id, &out, &fx->err);
	buf_fini(&out);
	if (rc < 0)
		assert_int_equal(fx->err.code, ERR_NOT_FOUND);
	return rc == 0;
}

/* A whole pass; what it removed. */
static int64_t sweep(struct fixture *fx, int64_t complete_before_ms, int64_t failed_before_ms)
{
	struct store_sweep sweep = {.complete_before_ms = complete_before_ms, .failed_before_ms = failed_before_ms};
	int64_t removed = 0;

	while (!sweep.over) {
		assert_good(fx, store_sync_sweep(fx->sync, &sweep, &fx->err));
		assert_in_range(sweep.removed, 0, 500);
		removed += sweep.removed;
	}
	return removed;
}

static int64_t end_one(struct fixture *fx, enum store_end end)
{
	struct store_commit commit;
	int64_t id = fixture_submit(fx, 1);

	commit = fixture_commit(fixture_claim(fx), end);
	if (end != STORE_COMPLETE)
		commit.error_code = "fail";
	fixture_write(fx, &commit, 1);
	return id;
}

static void old_tasks_are_removed_by_kind(void **state)
{
	struct fixture *fx = *state;
	int64_t complete = end_one(fx, STORE_COMPLETE), failed = end_one(fx, STORE_FAIL), running, waiting;
	int64_t now = clock_wall_ms(), soon = now + MINUTE;

	fixture_submit(fx, 1);
	running = fixture_claim(fx)->id;
	waiting = fixture_submit(fx, 1);
	sweep(fx, now - 60 * MINUTE, now - 60 * MINUTE);
	assert_true(is_there(fx, complete));
	sweep(fx, soon, 0);
	assert_false(is_there(fx, complete));
	assert_true(is_there(fx, failed));
	sweep(fx, 0, soon);
	assert_false(is_there(fx, failed));
	assert_true(is_there(fx, running));
	assert_true(is_there(fx, waiting));
	assert_int_equal(sweep(fx, soon, soon), 0);
}

static void removal_takes_small_steps(void **state)
{
	enum { TASKS = 1100 };
	struct fixture *fx = *state;
	struct store_new_task *tasks = make_tasks(fx, SLOT, 0, TASKS);
	int64_t *ids = arena_alloc(fx->arena, TASKS * sizeof(*ids));
	struct store_sweep step = {.complete_before_ms = clock_wall_ms() + MINUTE};
	struct store_commit *group;
	struct task_row *rows;
	size_t count, i;

	sweep(fx, step.complete_before_ms, step.complete_before_ms);
	for (i = 0; i < TASKS; i++)
		tasks[i].idempotency_key = NULL;
	assert_good(fx, store_sync_submit(fx->sync, tasks, TASKS, ids, &fx->err));
	rows = fixture_claim_from(fx, fx->sync, TASKS, 60000, false, &count);
	assert_int_equal(count, TASKS);
	group = arena_alloc(fx->arena, TASKS * sizeof(*group));
	for (i = 0; i < TASKS; i++)
		group[i] = fixture_commit(&rows[i], STORE_COMPLETE);
	fixture_write(fx, group, TASKS);
	assert_good(fx, store_sync_sweep(fx->sync, &step, &fx->err));
	assert_int_equal(step.removed, 500);
	assert_false(step.over);
	assert_int_equal(sweep(fx, step.complete_before_ms, 0), TASKS - 500);
	assert_false(is_there(fx, ids[TASKS - 1]));
}

int store_run_schedule_cases(void)
{
	static const struct CMUnitTest store_schedule_cases[] = {
		CASE(new_schedule_has_no_past),
		CASE(slot_makes_its_tasks_once),
		CASE(slot_goes_on_where_it_was),
		CASE(unfinished_slot_gives_way_to_the_next),
		CASE(live_twins_are_skipped),
		CASE(what_went_wrong_is_noted),
		CASE(one_slot_is_one_slot_for_all),
		CASE(query_gives_rows),
		CASE(query_changes_nothing),
		CASE(old_tasks_are_removed_by_kind),
		CASE(removal_takes_small_steps),
	};

	return cmocka_run_group_tests(store_schedule_cases, NULL, NULL);
}
