/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of every task store: failures that flows remember, and tasks that are not made for them. */
#include "store_fixture.h"

#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "store_cases.h"

#define DAY ((int64_t)86400000)
#define ERROR "(404, 'no such handle')"
#define SLOT 1800000000000

static struct store_skip a_skip(const char *key, int failures)
{
	return (struct store_skip){.key = key, .failures = failures, .period_ms = DAY};
}

static struct store_new_task a_task(struct fixture *fx, struct store_skip *skip)
{
	return (struct store_new_task){.flow = fx->flow, .params = "{\"handle\":\"abc\"}", .priority = 1,
				       .max_attempts = 3, .skip = skip};
}

/* Submits one; its id, 0: it was not made. */
static int64_t submit(struct fixture *fx, struct store_skip *skip)
{
	struct store_new_task task = a_task(fx, skip);
	int64_t id = -1;

	assert_good(fx, store_sync_submit(fx->sync, &task, 1, &id, &fx->err));
	return id;
}

static struct store_commit an_end(const struct task_row *row, const char *key, enum store_end end)
{
	struct store_commit commit = fixture_commit(row, end);

	commit.skip_key = key;
	if (end == STORE_FAIL) {
		commit.data = ERROR;
		commit.error_code = "gone";
		commit.failure_ms = DAY;
	}
	return commit;
}

/* A task for key that ends so, whatever failed before. */
static void run(struct fixture *fx, const char *key, enum store_end end)
{
	struct store_commit commit;

	fixture_submit(fx, 1);
	commit = an_end(fixture_claim(fx), key, end);
	fixture_write(fx, &commit, 1);
}

static struct store_failure *listed(struct fixture *fx, const char *key, int64_t least, size_t *count_r)
{
	struct store_failure_filter filter = {.flow = fx->flow, .key = key, .least = least, .limit = 100};
	struct store_failure *rows;

	assert_good(fx, store_sync_failures(fx->sync, &filter, fx->arena, &rows, count_r, &fx->err));
	return rows;
}

static size_t how_many(struct fixture *fx, const char *key)
{
	size_t count;
	const struct store_failure *rows = listed(fx, key, 1, &count);

	assert_true(count <= 1);
	return count > 0 ? (size_t)rows[0].count : 0;
}

static void so_many_failures_and_no_more_tasks(void **state)
{
	struct fixture *fx = *state;
	struct store_skip skip = a_skip("a", 3), other = a_skip("b", 3);
	int64_t before = clock_wall_ms();

	run(fx, "a", STORE_FAIL);
	run(fx, "a", STORE_FAIL);
	assert_true(submit(fx, &skip) > 0);
	assert_false(skip.skipped);
	fixture_claim(fx);
	run(fx, "a", STORE_FAIL);
	assert_int_equal(submit(fx, &skip), 0);
	assert_true(skip.skipped);
	assert_int_equal(skip.count, 3);
	assert_true(skip.first_ms >= before && skip.first_ms <= clock_wall_ms());
	assert_string_equal(skip.error, ERROR);
	assert_true(submit(fx, &other) > 0);
	assert_true(submit(fx, NULL) > 0);
	/* Seen by another process, too. */
	fixture_reopen(fx);
	assert_int_equal(submit(fx, &skip), 0);
}

static void other_flows_do_not_count(void **state)
{
	struct fixture *fx = *state;
	struct store_skip skip = a_skip("a", 1);
	struct store_new_task task = a_task(fx, &skip);
	int64_t id;

	run(fx, "a", STORE_FAIL);
	task.flow = fx->other_flow;
	assert_good(fx, store_sync_submit(fx->sync, &task, 1, &id, &fx->err));
	assert_true(id > 0);
}

static void success_forgets(void **state)
{
	struct fixture *fx = *state;
	struct store_skip skip = a_skip("a", 2), other = a_skip("b", 1);

	run(fx, "b", STORE_FAIL);
	run(fx, "a", STORE_FAIL);
	run(fx, "a", STORE_COMPLETE);
	assert_int_equal(how_many(fx, "a"), 0);
	run(fx, "a", STORE_FAIL);
	assert_true(submit(fx, &skip) > 0);
	assert_int_equal(submit(fx, &other), 0);
}

static void only_what_failed_for_good_counts(void **state)
{
	struct fixture *fx = *state;
	struct store_commit commit;

	fixture_submit(fx, 1);
	commit = an_end(fixture_claim(fx), "a", STORE_FAIL);
	commit.failure_ms = 0;		/* a time-out, say */
	fixture_write(fx, &commit, 1);
	fixture_submit(fx, 1);
	commit = an_end(fixture_claim(fx), NULL, STORE_FAIL);
	fixture_write(fx, &commit, 1);
	fixture_submit(fx, 1);
	commit = an_end(fixture_claim(fx), "a", STORE_FAIL);
	commit.end = STORE_RETRY;
	fixture_write(fx, &commit, 1);
	assert_int_equal(how_many(fx, "a"), 0);
	/* What loses its lease notes nothing either. */
	commit = an_end(fixture_claim(fx), "a", STORE_FAIL);
	commit.lease_token++;
	assert_good(fx, store_sync_commit(fx->sync, &commit, 1, &fx->err));
	assert_int_equal(commit.outcome, STORE_LOST);
	assert_int_equal(how_many(fx, "a"), 0);
}

static void old_failures_do_not_count(void **state)
{
	struct fixture *fx = *state;
	struct store_skip skip = a_skip("a", 2);
	struct store_forget over = {.flow = fx->flow};
	int64_t gone;

	run(fx, "a", STORE_FAIL);
	usleep(60000);
	run(fx, "a", STORE_FAIL);
	assert_int_equal(submit(fx, &skip), 0);
	skip.period_ms = 40;		/* the second one may be older than that, too; both never are younger */
	assert_true(submit(fx, &skip) > 0);
	/* Rows stay for as long as they were to be remembered. */
	over.over_ms = clock_wall_ms() + DAY / 2;
	assert_good(fx, store_sync_forget(fx->sync, &over, &gone, &fx->err));
	assert_int_equal(gone, 0);
	over.over_ms = clock_wall_ms() + 2 * DAY;
	assert_good(fx, store_sync_forget(fx->sync, &over, &gone, &fx->err));
	assert_int_equal(gone, 2);
	assert_int_equal(how_many(fx, "a"), 0);
}

/* Of one submission: what is skipped does not hold up the others, nor does it leave an event. */
static void some_of_many(void **state)
{
	struct fixture *fx = *state;
	struct store_skip skips[4] = {a_skip("a", 1), a_skip("b", 1), a_skip("a", 1), a_skip("a", 2)};
	struct store_new_task tasks[5];
	int64_t ids[5];
	size_t events;

	run(fx, "a", STORE_FAIL);
	events = json_count(fixture_events(fx, fx->status_queue));
	for (size_t i = 0; i < 5; i++)
		tasks[i] = a_task(fx, i < 4 ? &skips[i] : NULL);
	tasks[0].unique_key = tasks[1].unique_key = "u";	/* the first is not made, and so no twin */
	assert_good(fx, store_sync_submit(fx->sync, tasks, 5, ids, &fx->err));
	assert_int_equal(ids[0], 0);
	assert_true(ids[1] > 0);
	assert_int_equal(ids[2], 0);
	assert_true(ids[3] > 0 && ids[4] > 0);
	assert_true(skips[0].skipped && !skips[1].skipped && skips[2].skipped && !skips[3].skipped);
	assert_int_equal(json_count(fixture_events(fx, fx->status_queue)), events + 3);
	/* A twin still is one. */
	assert_int_equal(store_sync_submit(fx->sync, &tasks[1], 1, ids, &fx->err), -1);
	assert_int_equal(fx->err.code, ERR_INPUT);
}

/* Ends of several tasks in one commit; one whose data is refused does not lose the others' failures. */
static void ends_in_a_group(void **state)
{
	struct fixture *fx = *state;
	struct store_upsert bad = {&fixture_table, "x", NULL};
	const char **values = fixture_values(fx);
	struct store_commit group[4];
	size_t i;

	run(fx, "b", STORE_FAIL);
	for (i = 0; i < 4; i++) {
		fixture_submit(fx, 1);
		group[i] = an_end(fixture_claim(fx), i == 1 ? "b" : "a", i == 1 || i == 3 ? STORE_COMPLETE : STORE_FAIL);
	}
	values[COL_COUNT] = "many";
	bad.values = values;
	group[3].upserts = &bad;
	group[3].upsert_count = 1;
	assert_good(fx, store_sync_commit(fx->sync, group, 4, &fx->err));
	for (i = 0; i < 3; i++)
		assert_int_equal(group[i].outcome, STORE_COMMITTED);
	assert_int_equal(group[3].outcome, STORE_REFUSED);
	assert_int_equal(how_many(fx, "a"), 2);
	assert_int_equal(how_many(fx, "b"), 0);
}

static void failures_are_listed_and_forgotten(void **state)
{
	struct fixture *fx = *state;
	struct store_forget what = {.flow = fx->flow, .key = "a"};
	struct store_failure *rows;
	int64_t gone;
	size_t count;

	run(fx, "a", STORE_FAIL);
	run(fx, "a", STORE_FAIL);
	usleep(2000);
	run(fx, "b", STORE_FAIL);
	rows = listed(fx, NULL, 1, &count);
	assert_int_equal(count, 2);
	assert_string_equal(rows[0].key, "b");
	assert_string_equal(rows[0].flow, fx->flow);
	assert_string_equal(rows[1].key, "a");
	assert_int_equal(rows[1].count, 2);
	assert_true(rows[1].first_ms <= rows[1].last_ms && rows[1].last_ms <= rows[0].last_ms);
	assert_string_equal(rows[1].error, ERROR);
	listed(fx, NULL, 2, &count);
	assert_int_equal(count, 1);
	assert_good(fx, store_sync_forget(fx->sync, &what, &gone, &fx->err));
	assert_int_equal(gone, 2);
	assert_int_equal(how_many(fx, "a"), 0);
	assert_int_equal(how_many(fx, "b"), 1);
	what.key = NULL;
	assert_good(fx, store_sync_forget(fx->sync, &what, &gone, &fx->err));
	assert_int_equal(gone, 1);
	assert_good(fx, store_sync_forget(fx->sync, &what, &gone, &fx->err));
	assert_int_equal(gone, 0);
}

static void long_errors_are_cut(void **state)
{
	struct fixture *fx = *state;
	struct store_commit commit;
	struct store_skip skip = a_skip("a", 1);
	char text[STORE_FAILURE_TEXT + 40];

	/* Two bytes a letter, one of them just where it ends. */
	for (size_t i = 0; i + 2 < sizeof(text); i += 2)
		memcpy(text + i, "\xc3\xa9", 3);
	fixture_submit(fx, 1);
	commit = an_end(fixture_claim(fx), "a", STORE_FAIL);
	commit.data = text;
	fixture_write(fx, &commit, 1);
	assert_int_equal(submit(fx, &skip), 0);
	assert_int_equal(strlen(skip.error), STORE_FAILURE_TEXT - 2);
	assert_true(str_is_utf8(skip.error, strlen(skip.error)));
}

/* --- schedules --- */

static struct store_schedule step_of(struct fixture *fx, const struct store_slot *step)
{
	struct store_schedule *rows;
	size_t count;

	assert_good(fx, store_sync_slot(fx->sync, step, fx->arena, &rows, &count, &fx->err));
	assert_int_equal(count, 1);
	return rows[0];
}

static void schedules_leave_out_what_fails(void **state)
{
	struct fixture *fx = *state;
	struct store_skip skips[3] = {a_skip("a", 1), a_skip("b", 1), a_skip("c", 1)};
	struct store_new_task tasks[3];
	struct store_slot step = {.schedule = fx->flow, .spec = "* * * * * UTC", .slot_ms = SLOT, .first = true};
	struct store_schedule row;

	run(fx, "a", STORE_FAIL);
	step_of(fx, &step);
	for (size_t i = 0; i < 3; i++) {
		tasks[i] = a_task(fx, &skips[i]);
		tasks[i].unique_key = i == 0 ? "a" : "twins";
	}
	step = (struct store_slot){.schedule = fx->flow, .spec = step.spec, .slot_ms = SLOT + 60000, .list = "list",
				   .tasks = tasks, .count = 3, .last = true};
	row = step_of(fx, &step);
	assert_int_equal(row.made, 1);
	assert_int_equal(row.skipped, 1);
	assert_int_equal(row.failing, 1);
	run(fx, "b", STORE_FAIL);
	run(fx, "c", STORE_FAIL);
	step.slot_ms += 60000;
	row = step_of(fx, &step);		/* none is left to be made */
	assert_int_equal(row.made, 0);
	assert_int_equal(row.skipped, 0);
	assert_int_equal(row.failing, 3);
	assert_int_equal(row.fails, 4);
	assert_int_equal(row.skips, 1);
	assert_int_equal(row.tasks, 1);
	assert_true(row.finished);
	assert_int_equal(row.done, 3);
}

int store_run_failure_cases(void)
{
	const struct CMUnitTest cases[] = {
		CASE(so_many_failures_and_no_more_tasks),
		CASE(other_flows_do_not_count),
		CASE(success_forgets),
		CASE(only_what_failed_for_good_counts),
		CASE(old_failures_do_not_count),
		CASE(some_of_many),
		CASE(ends_in_a_group),
		CASE(failures_are_listed_and_forgotten),
		CASE(long_errors_are_cut),
		CASE(schedules_leave_out_what_fails),
	};

	return cmocka_run_group_tests_name("failures that flows remember", cases, NULL, NULL);
}
