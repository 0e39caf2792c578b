/* SPDX-License-Identifier: Apache-2.0 */
/* core/log and core/metrics: what a line looks like; what a slot tells of a process that died. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/str.h"
#include "log/log.h"
#include "metrics/metrics.h"

/* Reads what was logged to the pipe since the last call. */
static size_t take(int fd, char *out, size_t size)
{
	ssize_t len = read(fd, out, size - 1);

	out[len > 0 ? len : 0] = '\0';
	return len > 0 ? (size_t)len : 0;
}

static void a_message_is_one_line_at_most_8_kib(void **state)
{
	char line[16384], role[64], longer[10000];
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	log_init(ends[1], "worker refresh_x 3/10", LOG_LEVEL_INFO);
	log_info("two\nlines\tand\033[0m flow=%s", "x");
	take(ends[0], line, sizeof(line));
	snprintf(role, sizeof(role), " info worker refresh_x 3/10[%d] ", (int)getpid());
	assert_non_null(strstr(line, role));
	assert_true(str_ends(line, "two lines and [0m flow=x\n"));
	assert_int_equal(line[4], '-');
	assert_int_equal(line[19], '.');

	memset(longer, 'z', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	log_error("%s", longer);
	assert_in_range(take(ends[0], line, sizeof(line)), 8000, 8192);
	assert_true(str_ends(line, "z...\n"));

	log_debug("not shown");
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("shown");
	take(ends[0], line, sizeof(line));
	assert_null(strstr(line, "not shown"));
	assert_non_null(strstr(line, " debug "));
	log_set_level(LOG_LEVEL_ERROR);
	assert_false(log_enabled(LOG_LEVEL_WARNING));
	log_init(STDERR_FILENO, "test", LOG_LEVEL_INFO);
	close(ends[0]);
	close(ends[1]);
}

static void levels_have_names_and_repeats_can_be_limited(void **state)
{
	enum log_level level;
	int64_t limit = 0;

	(void)state;
	assert_int_equal(log_level_parse("warning", &level), 0);
	assert_int_equal(level, LOG_LEVEL_WARNING);
	assert_int_equal(log_level_parse("loud", &level), -1);
	assert_true(log_limited(&limit, 3600000));
	assert_false(log_limited(&limit, 3600000));
	assert_true(log_limited(&limit, 0));
}

static void every_metric_is_described(void **state)
{
	(void)state;
	for (int i = 0; i < METRIC_COUNT; i++) {
		assert_non_null(metric_defs[i].name);
		assert_non_null(metric_defs[i].unit);
		assert_true(str_starts(metric_defs[i].name, "sluice_"));
		assert_true(str_ends(metric_defs[i].help, "."));
		assert_int_equal(str_ends(metric_defs[i].name, "_total"), metric_defs[i].type == METRIC_COUNTER);
		for (int j = 0; j < i; j++)
			assert_string_not_equal(metric_defs[i].name, metric_defs[j].name);
	}
}

/* What a role does: maps the inherited descriptor, counts, and dies in the middle of its work. */
static void role_process(int fd, size_t index)
{
	struct error err;
	struct metrics *metrics = metrics_map(fd, &err);

	if (!metrics)
		_exit(1);
	metrics_use(metrics_slot_at(metrics, index));
	for (int64_t id = 1; id <= 5; id++)
		metric_task_begin(id * 100);
	metric_task_end(200);
	metric_add(METRIC_TASKS_CLAIMED, 5);
	metric_set(METRIC_TASKS_RUNNING, 4);
	metrics_sample_memory();
	raise(SIGKILL);
}

static void a_killed_process_leaves_its_counts_and_task_ids(void **state)
{
	struct error err;
	struct metrics *metrics = metrics_create(&err);
	struct metrics_slot *slot;
	int64_t ids[METRICS_TASKS];
	size_t index;
	int status;
	pid_t pid;

	(void)state;
	assert_non_null(metrics);
	slot = metrics_slot_take(metrics, "worker x", &index);
	assert_non_null(slot);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		role_process(metrics_fd(metrics), index);
	metrics_slot_set_pid(slot, pid);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

	assert_true(metrics_slot_used(slot));
	assert_string_equal(metrics_slot_role(slot), "worker x");
	assert_int_equal(metrics_slot_pid(slot), pid);
	assert_int_equal(metrics_slot_tasks(slot, ids, METRICS_TASKS), 4);
	assert_int_equal(ids[0] + ids[1] + ids[2] + ids[3], 100 + 300 + 400 + 500);
	assert_int_equal(metrics_slot_tasks(slot, ids, 1), 4);
	assert_int_equal(metrics_slot_get(slot, METRIC_TASKS_CLAIMED), 5);
	assert_true(metrics_slot_get(slot, METRIC_RSS) > 4096);
	assert_true(metrics_slot_get(slot, METRIC_RSS_PEAK) >= metrics_slot_get(slot, METRIC_RSS) / 2);
	assert_int_equal(metrics_total(metrics, METRIC_TASKS_RUNNING), 4);

	metrics_slot_fold(metrics, slot);
	assert_false(metrics_slot_used(slot));
	assert_int_equal(metrics_total(metrics, METRIC_TASKS_CLAIMED), 5);
	assert_int_equal(metrics_total(metrics, METRIC_TASKS_RUNNING), 0);
	assert_ptr_equal(metrics_slot_take(metrics, "next", NULL), slot);
	assert_int_equal(metrics_slot_tasks(slot, ids, METRICS_TASKS), 0);
	assert_int_equal(metrics_slot_get(slot, METRIC_TASKS_CLAIMED), 0);
	metrics_free(&metrics);
	assert_null(metrics);
}

static void slots_run_out_and_a_wrong_descriptor_is_refused(void **state)
{
	struct error err;
	struct metrics *metrics = metrics_create(&err);
	FILE *file = tmpfile();

	(void)state;
	assert_non_null(metrics);
	assert_non_null(file);
	for (int i = 0; i < METRICS_SLOTS; i++)
		assert_non_null(metrics_slot_take(metrics, "x", NULL));
	assert_null(metrics_slot_take(metrics, "x", NULL));
	assert_null(metrics_slot_at(metrics, METRICS_SLOTS));
	assert_null(metrics_map(fileno(file), &err));
	assert_int_equal(err.code, ERR_INPUT);
	metrics_use(NULL);
	metric_add(METRIC_EVENTS, 1);
	assert_int_equal(metrics_total(metrics, METRIC_EVENTS), 0);
	fclose(file);
	metrics_free(&metrics);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_is_one_line_at_most_8_kib),
		cmocka_unit_test(levels_have_names_and_repeats_can_be_limited),
		cmocka_unit_test(every_metric_is_described),
		cmocka_unit_test(a_killed_process_leaves_its_counts_and_task_ids),
		cmocka_unit_test(slots_run_out_and_a_wrong_descriptor_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
