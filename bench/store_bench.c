/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many tasks per second a store takes through claim and commit: each
 * process claims in batches, and commits each batch as one group with 5 events
 * and one upsert per task. -c: only claims, of tasks that are there already.
 *
 *     bench/store_bench [-c] [-u URL] [-p PROCESSES] [-n TASKS] [-b BATCH]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "store/store_sync.h"

#define EVENTS 5

static const struct store_column columns[] = {
	{"followers", STORE_BIGINT, STORE_KEEP, true},
	{"handle", STORE_TEXT, STORE_KEEP, true},
};
static const struct store_table profile = {"bench_profile", "profile_id", true, columns, 2, NULL, 0};
/* Patient, for it is also the load under which tests make servers fail. */
static const struct store_options options = {.status_queues = "scrape_request_log_events", .busy_ms = 300000};

static void die(const struct error *err)
{
	fprintf(stderr, "store_bench: %s\n", err->text);
	exit(1);
}

static struct store_sync *open_store(const char *url)
{
	const struct store_table *const tables[] = {&profile};
	struct error err = {.code = ERR_NONE};
	struct store_sync *sync = store_sync_open(url, &options, true, &err);

	if (sync == NULL || store_ensure_tables(store_sync_store(sync), tables, 1, &err) < 0)
		die(&err);
	return sync;
}

static void submit(const char *url, size_t count)
{
	struct store_sync *sync = open_store(url);
	struct store_new_task *tasks = calloc(1000, sizeof(*tasks));
	struct error err = {.code = ERR_NONE};
	int64_t ids[1000], start = clock_mono_ms();
	size_t i, done;

	for (i = 0; i < 1000; i++)
		tasks[i] = (struct store_new_task){.flow = "bench",
						   .platform = "BENCH",
						   .priority = 1,
						   .params = "{\"handle\":\"somebody\"}",
						   .max_attempts = 3};
	for (done = 0; done < count; done += 1000)
		if (store_sync_submit(sync, tasks, count - done < 1000 ? count - done : 1000, ids, &err) < 0)
			die(&err);
	printf("submit: %zu tasks, %.0f/s\n", count,
	       (double)count * 1000.0 / (double)(clock_mono_ms() - start));
	free(tasks);
	store_sync_close(&sync);
}

static void fill(struct buf *events, size_t len)
{
	int i;

	for (i = 0; i < EVENTS; i++) {
		buf_adds(events, i > 0 ? "\n{\"event_id\":\"" : "{\"event_id\":\"");
		while (events->len < (size_t)(i + 1) * len - 3)
			buf_addc(events, 'x');
		buf_adds(events, "\"}");
	}
}

/* Of tasks that somebody else has made. */
static void claim_only(const char *url, size_t batch, size_t tasks)
{
	static const char *const flows[] = {"bench"};
	struct store_sync *sync = open_store(url);
	struct error err = {.code = ERR_NONE};
	struct store_claim claim = {
		.flows = flows, .slots = &batch, .flow_count = 1, .worker = "bench", .lease_ms = 3600000};
	struct arena *arena = arena_new();
	struct task_row *rows;
	size_t count, total = 0;

	while (total < tasks) {
		arena_reset(arena);
		if (store_sync_claim(sync, &claim, arena, &rows, &count, &err) < 0)
			die(&err);
		if (count == 0) {
			fprintf(stderr, "store_bench: %zu tasks to claim, not %zu\n", total, tasks);
			exit(1);
		}
		total += count;
	}
	arena_free(&arena);
	store_sync_close(&sync);
}

static void work(const char *url, size_t batch)
{
	static const char *const flows[] = {"bench"};
	struct store_sync *sync = open_store(url);
	struct error err = {.code = ERR_NONE};
	struct store_claim claim = {
		.flows = flows, .slots = &batch, .flow_count = 1, .worker = "bench", .lease_ms = 60000};
	struct arena *arena = arena_new();
	struct store_stats stats;
	struct task_row *rows;
	struct buf events;
	size_t count, i, total = 0, lost = 0;

	buf_init(&events);
	fill(&events, 500);
	for (;;) {
		struct store_outbox out = {"profile_log_events", events.data, events.len, EVENTS};
		struct store_upsert *upserts;
		struct store_commit *group;

		arena_reset(arena);
		if (store_sync_claim(sync, &claim, arena, &rows, &count, &err) < 0)
			die(&err);
		if (count == 0)
			break;
		group = arena_alloc(arena, count * sizeof(*group));
		upserts = arena_alloc(arena, count * sizeof(*upserts));
		for (i = 0; i < count; i++) {
			const char **values = arena_alloc(arena, 2 * sizeof(*values));

			values[0] = "12345";
			values[1] = "somebody";
			upserts[i] = (struct store_upsert){
				&profile, arena_printf(arena, "%" PRId64, rows[i].id), values};
			group[i] = (struct store_commit){.task_id = rows[i].id,
							 .lease_token = rows[i].lease_token,
							 .commit_seq = rows[i].commit_seq,
							 .end = STORE_COMPLETE,
							 .data = "null",
							 .upserts = &upserts[i],
							 .upsert_count = 1,
							 .outbox = &out,
							 .outbox_count = 1};
		}
		if (store_sync_commit(sync, group, count, &err) < 0)
			die(&err);
		for (i = 0; i < count; i++)
			lost += group[i].outcome != STORE_COMMITTED;
		total += count;
	}
	store_stats(store_sync_store(sync), &stats);
	printf("  process %d: %zu tasks, %zu lost, %" PRIu64 " transactions, waited %" PRIu64 " ms\n", (int)getpid(),
	       total, lost, stats.transactions, stats.busy_ms);
	fflush(stdout);
	buf_fini(&events);
	arena_free(&arena);
	store_sync_close(&sync);
}

int main(int argc, char **argv)
{
	const char *url = "sqlite:store_bench.db";
	size_t processes = 1, tasks = 20000, batch = 50, i;
	int option, status, failed = 0;
	bool only = false;
	int64_t start;

	while ((option = getopt(argc, argv, "cu:p:n:b:")) != -1) {
		if (option == 'u')
			url = optarg;
		else if (option == 'p')
			processes = strtoul(optarg, NULL, 10);
		else if (option == 'n')
			tasks = strtoul(optarg, NULL, 10);
		else if (option == 'b')
			batch = strtoul(optarg, NULL, 10);
		else if (option == 'c')
			only = true;
		else
			return 2;
	}
	if (!only)
		submit(url, tasks);
	fflush(stdout);
	start = clock_mono_ms();
	for (i = 0; i < processes; i++) {
		if (fork() == 0) {
			if (only)
				claim_only(url, batch, tasks / processes);
			else
				work(url, batch);
			_exit(0);
		}
	}
	while (wait(&status) > 0)
		failed |= status != 0;
	if (only) {
		printf("claim: %zu processes, batches of %zu: %.0f tasks/s\n", processes, batch,
		       (double)(tasks / processes * processes) * 1000.0 / (double)(clock_mono_ms() - start));
		return failed;
	}
	printf("claim+commit: %zu processes, batches of %zu: %.0f tasks/s, %.0f events/s\n", processes, batch,
	       (double)tasks * 1000.0 / (double)(clock_mono_ms() - start),
	       (double)tasks * EVENTS * 1000.0 / (double)(clock_mono_ms() - start));
	return 0;
}
