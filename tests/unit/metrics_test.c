/* SPDX-License-Identifier: Apache-2.0 */
/* Counters of several processes: what a reader sees while they live, when they die, and after. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "metrics/metrics.h"

static struct metrics *create(void)
{
	struct error err;
	struct metrics *metrics = metrics_create(&err);

	assert_non_null(metrics);
	return metrics;
}

/* A role: maps the inherited descriptor, counts, begins three tasks, ends one, and is killed. */
static void die_working(int fd, size_t slot)
{
	struct error err;
	struct metrics *metrics = metrics_map(fd, &err);

	if (metrics == NULL)
		_exit(1);
	metrics_use(metrics_slot_at(metrics, slot));
	metric_add(METRIC_TASKS_CLAIMED, 3);
	metric_set(METRIC_TASKS_RUNNING, 2);
	for (int64_t id = 101; id <= 103; id++)
		metric_task_begin(id);
	metric_task_end(102);
	raise(SIGKILL);
}

static void test_obituary(void **state)
{
	struct metrics *metrics = create();
	struct metrics_slot *slot;
	int64_t ids[4] = { 0 };
	size_t index;
	int status;
	pid_t pid;

	(void)state;
	slot = metrics_slot_take(metrics, "worker x", &index);
	assert_non_null(slot);
	pid = fork();
	if (pid == 0)
		die_working(metrics_fd(metrics), index);
	metrics_slot_set_pid(slot, pid);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	/* Dead but not buried: everything can still be read. */
	assert_true(metrics_slot_used(slot));
	assert_string_equal(metrics_slot_role(slot), "worker x");
	assert_int_equal(metrics_slot_pid(slot), pid);
	assert_int_equal(metrics_slot_tasks(slot, ids, 4), 2);
	assert_int_equal(ids[0], 101);
	assert_int_equal(ids[1], 103);
	assert_int_equal(metrics_total(metrics, METRIC_TASKS_RUNNING), 2);
	metrics_slot_fold(metrics, slot);
	assert_false(metrics_slot_used(slot));
	assert_int_equal(metrics_total(metrics, METRIC_TASKS_CLAIMED), 3);
	assert_int_equal(metrics_total(metrics, METRIC_TASKS_RUNNING), 0);
	/* The next one in the slot starts from nothing. */
	assert_ptr_equal(metrics_slot_take(metrics, "worker y", NULL), slot);
	assert_int_equal(metrics_slot_tasks(slot, ids, 4), 0);
	assert_int_equal(metrics_slot_get(slot, METRIC_TASKS_CLAIMED), 0);
	assert_int_equal(metrics_total(metrics, METRIC_TASKS_CLAIMED), 3);
	metrics_free(&metrics);
}

/* More tasks than the slot can name are counted all the same, and fewer are written than there are. */
static void test_many_tasks(void **state)
{
	struct metrics *metrics = create();
	struct metrics_slot *slot = metrics_slot_take(metrics, "worker", NULL);
	static int64_t ids[METRICS_TASKS + 10];

	(void)state;
	metrics_use(slot);
	for (int64_t id = 1; id <= METRICS_TASKS + 5; id++)
		metric_task_begin(id);
	assert_int_equal(metrics_slot_tasks(slot, ids, METRICS_TASKS + 10), METRICS_TASKS + 5);
	assert_int_equal(ids[METRICS_TASKS - 1], METRICS_TASKS);
	assert_int_equal(ids[METRICS_TASKS], 0);
	memset(ids, 0, sizeof(ids));
	assert_int_equal(metrics_slot_tasks(slot, ids, 2), METRICS_TASKS + 5);
	assert_int_equal(ids[1], 2);
	assert_int_equal(ids[2], 0);
	for (int64_t id = METRICS_TASKS + 5; id >= 1; id--)
		metric_task_end(id);
	assert_int_equal(metrics_slot_tasks(slot, ids, 1), 0);
	metric_task_end(7);	/* one too many does no harm */
	assert_int_equal(metrics_slot_tasks(slot, ids, 1), 0);
	metrics_free(&metrics);
}

static void test_totals(void **state)
{
	struct metrics *metrics = create();
	struct metrics_slot *a = metrics_slot_take(metrics, "a", NULL), *b = metrics_slot_take(metrics, "b", NULL);

	(void)state;
	metrics_use(a);
	metric_add(METRIC_EVENTS, 5);
	metric_set(METRIC_BUFFER_ROWS, 7);
	metrics_use(b);
	metric_add(METRIC_EVENTS, 11);
	metric_set(METRIC_BUFFER_ROWS, 1);
	assert_int_equal(metric_get(METRIC_EVENTS), 11);
	assert_int_equal(metrics_total(metrics, METRIC_EVENTS), 16);
	assert_int_equal(metrics_total(metrics, METRIC_BUFFER_ROWS), 8);
	metrics_slot_fold(metrics, a);
	assert_int_equal(metrics_total(metrics, METRIC_EVENTS), 16);
	assert_int_equal(metrics_total(metrics, METRIC_BUFFER_ROWS), 1);
	metrics_sample_memory();
	assert_true(metric_get(METRIC_RSS) > 100 * 1024);
	assert_true(metric_get(METRIC_RSS_PEAK) >= metric_get(METRIC_RSS) / 2);
	metrics_free(&metrics);
}

/* Programs without a slot count nothing and come to no harm. */
static void test_no_slot(void **state)
{
	(void)state;
	metrics_use(NULL);
	metric_add(METRIC_EVENTS, 1);
	metric_set(METRIC_RSS, 1);
	metric_task_begin(1);
	metric_task_end(1);
	metrics_sample_memory();
	assert_int_equal(metric_get(METRIC_EVENTS), 0);
}

static void test_slots_end(void **state)
{
	struct metrics *metrics = create();

	(void)state;
	for (int i = 0; i < METRICS_SLOTS; i++)
		assert_non_null(metrics_slot_take(metrics, "x", NULL));
	assert_null(metrics_slot_take(metrics, "x", NULL));
	assert_null(metrics_slot_at(metrics, METRICS_SLOTS));
	metrics_slot_fold(metrics, metrics_slot_at(metrics, 9));
	assert_ptr_equal(metrics_slot_take(metrics, "x", NULL), metrics_slot_at(metrics, 9));
	metrics_free(&metrics);
}

static void test_wrong_descriptor(void **state)
{
	int fd = memfd_create("short", MFD_CLOEXEC);
	struct error err;

	(void)state;
	assert_int_equal(ftruncate(fd, 10), 0);
	assert_null(metrics_map(fd, &err));
	assert_non_null(strstr(err.text, "does not hold the counters: 10 bytes instead of "));
	assert_null(metrics_map(-1, &err));
	assert_string_equal(err.text, "descriptor -1 does not hold the counters: Bad file descriptor");
	close(fd);
}

/* What man pages and /metrics rely on. */
static void test_table(void **state)
{
	(void)state;
	for (int id = 0; id < METRIC_COUNT; id++) {
		const char *name = metric_defs[id].name;
		size_t len = strlen(name);
		bool total = len > 6 && strcmp(name + len - 6, "_total") == 0;

		assert_int_equal(strncmp(name, "sluice_", 7), 0);
		assert_int_equal(total, metric_defs[id].type == METRIC_COUNTER);
		assert_true(strlen(metric_defs[id].help) > 0);
		for (int k = 0; k < id; k++)
			assert_string_not_equal(metric_defs[k].name, name);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_obituary), cmocka_unit_test(test_many_tasks), cmocka_unit_test(test_totals),
		cmocka_unit_test(test_no_slot), cmocka_unit_test(test_slots_end), cmocka_unit_test(test_wrong_descriptor),
		cmocka_unit_test(test_table)
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
