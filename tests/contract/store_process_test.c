/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of every task store: several processes at once, and processes that are killed. */
#include "store_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/uuid.h"
#include "store_cases.h"

#define EVENTS 5

/* In a child: commits whatever it can claim until there is nothing left. Each task appends a row naming
 * itself. */
static void work(struct fixture *fx)
{
	struct store_sync *sync = fixture_open(fx);
	struct store_outbox out = {fx->queue, "{}\n{}\n{}\n{}\n{}", 14, EVENTS};
	size_t count, i;

	for (;;) {
		struct task_row *rows = fixture_claim_from(fx, sync, 7, 60000, false, &count);
		struct store_commit *group = arena_alloc(fx->arena, (count + 1) * sizeof(*group));
		struct store_upsert *upserts = arena_alloc(fx->arena, (count + 1) * sizeof(*upserts));

		if (count == 0)
			break;
		for (i = 0; i < count; i++) {
			const char **values = arena_alloc(fx->arena, 2 * sizeof(*values));

			values[0] = arena_printf(fx->arena, "%s/%lld", fx->flow, (long long)rows[i].id);
			upserts[i] = (struct store_upsert){&fixture_log, NULL, values};
			group[i] = fixture_commit(&rows[i], STORE_COMPLETE);
			group[i].upserts = &upserts[i];
			group[i].upsert_count = 1;
			group[i].outbox = &out;
			group[i].outbox_count = 1;
		}
		if (store_sync_commit(sync, group, count, &fx->err) < 0) {
			fprintf(stderr, "child: %s\n", fx->err.text);
			_exit(1);
		}
	}
	store_sync_close(&sync);
	_exit(0);
}

/* The connection is closed before fork: SQLite's must not cross it. */
static pid_t start_worker(struct fixture *fx)
{
	pid_t pid;

	fflush(NULL);
	store_sync_close(&fx->sync);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		work(fx);
	return pid;
}

static void submit_many(struct fixture *fx, size_t count, int64_t *ids)
{
	struct store_new_task *tasks = arena_alloc(fx->arena, count * sizeof(*tasks));
	size_t i;

	for (i = 0; i < count; i++)
		tasks[i] = (struct store_new_task){
			.flow = fx->flow, .params = "{}", .priority = 1, .max_attempts = 3};
	assert_good(fx, store_sync_submit(fx->sync, tasks, count, ids, &fx->err));
}

static int64_t completed(struct fixture *fx)
{
	struct store_depth *rows;
	size_t count, i;

	assert_good(fx, store_sync_depths(fx->sync, fx->arena, &rows, &count, &fx->err));
	for (i = 0; i < count; i++)
		if (strcmp(rows[i].name, fx->flow) == 0)
			return rows[i].complete;
	return 0;
}

static void processes_share_tasks_exactly_once(void **state)
{
	enum { TASKS = 400, WORKERS = 3 };
	struct fixture *fx = *state;
	int64_t ids[TASKS];
	pid_t pids[WORKERS];
	int status;
	size_t i;

	submit_many(fx, TASKS, ids);
	for (i = 0; i < WORKERS; i++)
		pids[i] = start_worker(fx);
	for (i = 0; i < WORKERS; i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	fx->sync = fixture_open(fx);
	assert_int_equal(completed(fx), TASKS);
	assert_int_equal(fixture_total(fx, fx->queue, "events"), TASKS * EVENTS);
	for (i = 0; i < TASKS; i++)
		assert_int_equal(
			fixture_row_count(fx, &fixture_log, "actor",
					  arena_printf(fx->arena, "%s/%lld", fx->flow, (long long)ids[i])),
			1);
}

static int64_t waiting_events(struct fixture *fx)
{
	struct store_outbox_row *rows;
	int64_t events = 0;
	size_t count, i;

	assert_good(fx, store_sync_outbox_read(fx->sync, fx->queue, NULL, 0, 100000, 1 << 30, fx->arena,
					       &rows, &count, &fx->err));
	for (i = 0; i < count; i++)
		events += rows[i].events;
	return events;
}

static void killed_process_leaves_whole_commits(void **state)
{
	struct fixture *fx = *state;
	int64_t ids[200], done = 0, left;
	uint64_t longest_us = 25000;
	int round, status;

	/* Longer and longer, until even a slow machine gets something done. */
	for (round = 0; round < 20 || done == 0; round++) {
		pid_t pid;

		submit_many(fx, 200, ids);
		pid = start_worker(fx);
		/* Any moment will do: opening, claiming, committing, or finished. */
		usleep((useconds_t)(1000 + random_u64() % longest_us));
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		fx->sync = fixture_open(fx);
		left = completed(fx);
		assert_true(left >= done);
		done = left;
		/* Where opening takes long, longer. */
		if (done == 0 && longest_us < 1000000)
			longest_us *= 2;
		assert_int_equal(fixture_total(fx, fx->queue, "events"), done * EVENTS);
		assert_int_equal(fixture_total(fx, fx->queue, "waiting_events"), done * EVENTS);
		assert_int_equal(waiting_events(fx), done * EVENTS);
	}
	/* What the killed ones held comes back and is done once. */
	assert_true(done > 0);
}

/* Every task whose holder was killed is run again after its lease, and nothing is doubled. */
static void killed_process_loses_no_task(void **state)
{
	struct fixture *fx = *state;
	int64_t ids[50], changed;
	size_t count, i;
	pid_t pid;
	int status;

	submit_many(fx, 50, ids);
	fixture_claim_from(fx, fx->sync, 20, 1, false, &count);
	assert_int_equal(count, 20);
	usleep(5000);
	assert_good(fx, store_sync_rescue(fx->sync, &changed, &fx->err));
	assert_true(changed >= 20);
	pid = start_worker(fx);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	fx->sync = fixture_open(fx);
	assert_int_equal(completed(fx), 50);
	for (i = 0; i < 50; i++)
		assert_json(fixture_task(fx, ids[i]), "status", "\"COMPLETE\"");
	assert_int_equal(fixture_total(fx, fx->queue, "events"), 50 * EVENTS);
}

static void store_id_is_kept(void **state)
{
	struct fixture *fx = *state;
	char id[UUID_TEXT_SIZE];
	struct store_sync *second = fixture_open(fx);

	snprintf(id, sizeof(id), "%s", store_id(store_sync_store(fx->sync)));
	assert_int_equal(strlen(id), 36);
	assert_string_equal(store_id(store_sync_store(second)), id);
	store_sync_close(&second);
	fixture_reopen(fx);
	assert_string_equal(store_id(store_sync_store(fx->sync)), id);
}

static void unknown_scheme_names_the_known(void **state)
{
	struct fixture *fx = *state;

	assert_null(store_sync_open("oracle:/nowhere", NULL, true, &fx->err));
	assert_int_equal(fx->err.code, ERR_INPUT);
	assert_non_null(strstr(fx->err.text, "sqlite:"));
	assert_int_equal(store_check_url(fx->url, &fx->err), 0);
	assert_int_equal(store_check_url("sqlit:x", &fx->err), -1);
}

static const struct CMUnitTest cases[] = {
	CASE(processes_share_tasks_exactly_once), CASE(killed_process_leaves_whole_commits),
	CASE(killed_process_loses_no_task),       CASE(store_id_is_kept),
	CASE(unknown_scheme_names_the_known),
};

int store_run_process_cases(void)
{
	return cmocka_run_group_tests(cases, NULL, NULL);
}
