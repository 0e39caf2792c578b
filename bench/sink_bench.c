/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many events per second a sink takes from the outbox into a warehouse: the
 * outbox of a new store is filled with profile events of about 500 bytes, then
 * one consumer empties it. -s fills before the consumer starts, so that every
 * event is suspect and looked up. Exits 1 unless the table holds each once.
 *
 *     bench/sink_bench [-s] [-n EVENTS] [-w WAREHOUSE_URL] DIR
 *
 * DIR must not exist; the store and chdb's directory are made in it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "loop/loop.h"
#include "profile_sink.h"
#include "sink/consumer.h"
#include "sink/table.h"
#include "store/store_sync.h"

#define TASK_EVENTS 100
#define GROUP 25

static void die(const struct error *err)
{
	fprintf(stderr, "sink_bench: %s\n", err->text);
	exit(1);
}

static void fill(struct store_sync *sync, size_t tasks, uint32_t *number)
{
	static const char *const flows[] = { "bench" };
	struct store_new_task news[GROUP];
	int64_t ids[GROUP];
	size_t slots = tasks, count = 0;
	struct store_claim claim = { .flows = flows, .slots = &slots, .flow_count = 1, .worker = "bench",
				     .lease_ms = 60000 };
	struct store_commit group[GROUP];
	struct store_outbox out[GROUP];
	struct buf events[GROUP];
	struct error err = { .code = ERR_NONE };
	struct arena *arena = arena_new();
	struct task_row *rows;

	for (size_t i = 0; i < tasks; i++)
		news[i] = (struct store_new_task){ .flow = "bench", .platform = "BENCH", .priority = 1,
						   .params = "{}", .max_attempts = 3 };
	if (store_sync_submit(sync, news, tasks, ids, &err) < 0 ||
	    store_sync_claim(sync, &claim, arena, &rows, &count, &err) < 0)
		die(&err);
	for (size_t i = 0; i < count; i++) {
		buf_init(&events[i]);
		for (size_t n = 0; n < TASK_EVENTS; n++)
			add_event(&events[i], (*number)++);
		out[i] = (struct store_outbox){ QUEUE, events[i].data, events[i].len, TASK_EVENTS };
		group[i] = (struct store_commit){
			.task_id = rows[i].id, .lease_token = rows[i].lease_token, .commit_seq = rows[i].commit_seq,
			.end = STORE_COMPLETE, .data = "null", .outbox = &out[i], .outbox_count = 1
		};
	}
	if (store_sync_commit(sync, group, count, &err) < 0)
		die(&err);
	for (size_t i = 0; i < count; i++)
		buf_fini(&events[i]);
	arena_free(&arena);
}

static int64_t ask(struct warehouse *wh, const char *sql)
{
	struct error err = { .code = ERR_NONE };
	struct buf out;
	int64_t value;

	buf_init(&out);
	if (warehouse_query(wh, sql, "TSV", 0, &out, &err) < 0)
		die(&err);
	value = strtoll(out.data, NULL, 10);
	buf_fini(&out);
	return value;
}

static void on_drained(void *user)
{
	loop_stop(user);
}

static struct consumer *open_consumer(struct store_sync *sync, const char *url, struct arena *arena)
{
	struct error err = { .code = ERR_NONE };
	struct consumer_options options = {
		.loop = store_sync_loop(sync), .store = store_sync_store(sync), .bus = "direct:", .queue = QUEUE,
		.node = "bench", .batch_rows = 50000, .batch_bytes = (size_t)32 << 20, .batch_age_ms = 1000,
		.deadline_ms = 60000, .durability = WAREHOUSE_FSYNC, .breaker_failures = 5,
		.breaker_first_ms = 1000, .breaker_cap_ms = 60000
	};
	struct consumer *consumer;

	options.table = sink_table_new(&sink, "_e", "profile_log_events", arena, &err);
	options.wh = options.table != NULL ? warehouse_open(url, NULL, &err) : NULL;
	if (options.wh == NULL || sink_table_ensure(options.table, options.wh, options.durability, &err) < 0)
		die(&err);
	consumer = consumer_new(&options, &err);
	if (consumer == NULL)
		die(&err);
	return consumer;
}

static bool is_empty(struct store_sync *sync)
{
	struct error err = { .code = ERR_NONE };
	int64_t bytes;

	if (store_sync_outbox_bytes(sync, &bytes, &err) < 0)
		die(&err);
	return bytes == 0;
}

struct bench {
	const char *store, *warehouse;
	size_t events;
	bool suspects;
	struct arena *arena;
};

static struct store_sync *open_store(const struct bench *bench)
{
	struct error err = { .code = ERR_NONE };
	struct store_sync *sync = store_sync_open(bench->store, NULL, true, &err);

	if (sync == NULL)
		die(&err);
	return sync;
}

/* Through a store and a loop of its own: the consumer's stands still meanwhile. */
static void fill_outbox(const struct bench *bench)
{
	struct store_sync *sync = open_store(bench);
	uint32_t number = 0;

	while (number < bench->events) {
		size_t tasks = (bench->events - number) / TASK_EVENTS;

		fill(sync, tasks < GROUP ? tasks : GROUP, &number);
	}
	store_sync_close(&sync);
}

static int report(const struct bench *bench, int64_t elapsed)
{
	struct error err = { .code = ERR_NONE };
	struct warehouse *wh = warehouse_open(bench->warehouse, NULL, &err);
	struct rusage usage;
	int64_t rows, distinct;

	if (wh == NULL)
		die(&err);
	rows = ask(wh, "SELECT count() FROM _e.profile_log_events");
	distinct = ask(wh, "SELECT uniqExact(event_id) FROM _e.profile_log_events");
	getrusage(RUSAGE_SELF, &usage);
	printf("%zu %s events in %" PRId64 " ms: %.0f events/s; rows %" PRId64 ", distinct %" PRId64 "; peak %ld MiB\n",
	       bench->events, bench->suspects ? "suspect" : "fresh", elapsed,
	       (double)bench->events * 1000.0 / (double)elapsed, rows, distinct, usage.ru_maxrss / 1024);
	warehouse_close(&wh);
	return rows == (int64_t)bench->events && distinct == rows ? 0 : 1;
}

static int run(const struct bench *bench)
{
	struct store_sync *sync = open_store(bench);
	struct loop *loop = store_sync_loop(sync);
	struct consumer *consumer;
	int64_t start, elapsed;
	int status;

	if (bench->suspects)
		fill_outbox(bench);
	consumer = open_consumer(sync, bench->warehouse, bench->arena);
	if (!bench->suspects) {
		is_empty(sync);		/* answered after the consumer's first look */
		fill_outbox(bench);
	}
	start = clock_mono_ms();
	consumer_nudge(consumer);
	while (!is_empty(sync))
		loop_run_once(loop, 50);
	elapsed = clock_mono_ms() - start;
	consumer_drain(consumer, on_drained, loop);
	loop_run(loop);
	status = report(bench, elapsed);
	consumer_free(&consumer);
	store_sync_close(&sync);
	return status;
}

int main(int argc, char **argv)
{
	struct bench bench = { .events = 200000, .arena = arena_new() };
	int option, status;

	while ((option = getopt(argc, argv, "n:sw:")) != -1) {
		if (option == 'n')
			bench.events = (size_t)strtoull(optarg, NULL, 10) / TASK_EVENTS * TASK_EVENTS;
		else if (option == 's')
			bench.suspects = true;
		else if (option == 'w')
			bench.warehouse = optarg;
		else
			return 2;
	}
	if (argc != optind + 1 || bench.events == 0 || mkdir(argv[optind], 0700) != 0) {
		fprintf(stderr, "usage: sink_bench [-s] [-n EVENTS] [-w WAREHOUSE_URL] DIR (which must not exist)\n");
		return 2;
	}
	bench.store = arena_printf(bench.arena, "sqlite:%s/sluice.db", argv[optind]);
	if (bench.warehouse == NULL)
		bench.warehouse = arena_printf(bench.arena, "chdb:%s/warehouse", argv[optind]);
	status = run(&bench);
	arena_free(&bench.arena);
	return status;
}
