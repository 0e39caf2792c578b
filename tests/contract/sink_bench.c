/* SPDX-License-Identifier: Apache-2.0 */
/* See sink_bench.h. */
#include "contract/sink_bench.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sluice/sink.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include "fake/warehouse.h"
#include "json/json.h"
#include "loop/loop.h"
#include "sink/table.h"
#include "store/store_sync.h"
#include "warehouse/warehouse.h"

static const struct sl_sink_column columns[] = {
	{"id", "String", NULL, 0, NULL}, {"v", "Nullable(String)", NULL, 0, NULL},
	{"at", "DateTime", NULL, SL_COLUMN_NEEDED, NULL}, SL_END_OF_SINK_COLUMNS
};
static const char *const prefix[] = {"at", NULL};
const struct sl_sink bench_sink = SL_SINK_INIT(
	.name = "events", .queue = "q", .table = "t", .columns = columns, .engine = "MergeTree",
	.partition_by = "toYYYYMM(at)", .order_by = "at, id, toString(v)", .identity = "id", .prefix = prefix, .time_column = "at");

int bench_set_up(void **state)
{
	struct bench *bench = mem_alloc(sizeof(*bench));
	struct error err = { .code = ERR_NONE };

	fake_warehouse_reset();
	str_format(bench->folder, sizeof(bench->folder), "/tmp/sluice-sink-XXXXXX");
	assert_non_null(mkdtemp(bench->folder));
	bench->arena = arena_new();
	bench->sync = store_sync_open(arena_printf(bench->arena, "sqlite:%s/s.db", bench->folder), NULL, true, &err);
	if (bench->sync == NULL)
		fail_msg("%s", err.text);
	bench->loop = store_sync_loop(bench->sync);
	bench->options = (struct consumer_options){
		.loop = bench->loop, .store = store_sync_store(bench->sync), .bus = "direct:", .node = "node",
		.batch_rows = 1000, .batch_bytes = 1 << 20, .batch_age_ms = 20, .deadline_ms = 1000,
		.durability = WAREHOUSE_INSERTED, .breaker_failures = 3, .breaker_first_ms = 20, .breaker_cap_ms = 50
	};
	*state = bench;
	return 0;
}

int bench_tear_down(void **state)
{
	struct bench *bench = *state;
	static const char *const files[] = {"s.db", "s.db-wal", "s.db-shm"};
	char path[128];

	fake_warehouse_gate(false);
	consumer_free(&bench->consumers[0]);
	consumer_free(&bench->consumers[1]);
	store_sync_close(&bench->sync);
	for (size_t i = 0; i < 3; i++) {
		str_format(path, sizeof(path), "%s/%s", bench->folder, files[i]);
		unlink(path);
	}
	rmdir(bench->folder);
	arena_free(&bench->arena);
	mem_release(bench);
	return 0;
}

void open_consumer(struct bench *bench, size_t at, const char *queue, const char *table)
{
	struct error err = { .code = ERR_NONE };

	bench->options.queue = queue;
	bench->options.table = sink_table_new(&bench_sink, "d", table, bench->arena, &err);
	assert_non_null(bench->options.table);
	bench->options.wh = bench->options.warehouse ? NULL : warehouse_open("fake:", NULL, &err);
	if (bench->options.wh == NULL && bench->options.warehouse == NULL)
		fail_msg("%s", err.text);
	bench->consumers[at] = consumer_new(&bench->options, &err);
	if (bench->consumers[at] == NULL)
		fail_msg("%s", err.text);
}

void put(struct bench *bench, const char *queue, const char *payload, uint32_t events)
{
	static const char *const flows[] = {"f"};
	const struct store_new_task task = { .flow = "f", .platform = "P", .params = "{}", .priority = 1,
					     .max_attempts = 1 };
	const struct store_outbox out = { queue, payload, strlen(payload), events };
	struct error err = { .code = ERR_NONE };
	size_t slots = 1, count = 0;
	struct store_claim claim = { .flows = flows, .slots = &slots, .flow_count = 1, .worker = "w", .lease_ms = 60000 };
	struct store_commit commit = { .end = STORE_COMPLETE, .data = "null", .outbox = &out, .outbox_count = 1 };
	struct task_row *rows;
	int64_t id;

	assert_int_equal(store_sync_submit(bench->sync, &task, 1, &id, &err), 0);
	assert_int_equal(store_sync_claim(bench->sync, &claim, bench->arena, &rows, &count, &err), 0);
	assert_int_equal(count, 1);
	commit.task_id = rows[0].id;
	commit.lease_token = rows[0].lease_token;
	commit.commit_seq = rows[0].commit_seq;
	assert_int_equal(store_sync_commit(bench->sync, &commit, 1, &err), 0);
	assert_int_equal(commit.outcome, STORE_COMMITTED);
}

void put_events(struct bench *bench, const char *queue, const char *word, size_t first, size_t count)
{
	struct buf payload;

	buf_init(&payload);
	for (size_t i = first; i < first + count; i++)
		buf_printf(&payload, "{\"id\":\"%s%zu\",\"v\":\"x\",\"at\":\"2026-11-01 00:00:00\"}\n", word, i);
	put(bench, queue, payload.data, (uint32_t)count);
	buf_fini(&payload);
}

void turn(struct bench *bench)
{
	loop_run_once(bench->loop, 10);
}

void run_a_while(struct bench *bench)
{
	int64_t end = clock_mono_ms() + 300;

	while (clock_mono_ms() < end)
		turn(bench);
}

int64_t outbox_bytes(struct bench *bench)
{
	struct error err = { .code = ERR_NONE };
	int64_t bytes;

	assert_int_equal(store_sync_outbox_bytes(bench->sync, &bytes, &err), 0);
	return bytes;
}

const struct json *letters(struct bench *bench, const char *queue, struct json_doc **doc_r)
{
	struct error err = { .code = ERR_NONE };
	struct buf out;

	buf_init(&out);
	assert_int_equal(store_sync_dead_list(bench->sync, queue, 1000, &out, &err), 0);
	*doc_r = json_parse(out.data, out.len, &err);
	assert_non_null(*doc_r);
	buf_fini(&out);
	return json_root(*doc_r);
}

size_t letter_count(struct bench *bench, const char *queue)
{
	struct json_doc *doc;
	size_t count = json_count(letters(bench, queue, &doc));

	json_doc_free(&doc);
	return count;
}

void expect_letters(struct bench *bench, size_t count, const char *code, const char *payload)
{
	struct json_doc *doc;
	const struct json *list = letters(bench, "q", &doc);

	assert_int_equal(json_count(list), count);
	for (const struct json *letter = json_first(list); letter != NULL; letter = json_next(letter)) {
		assert_string_equal(json_string(json_member(letter, "code"), NULL), code);
		assert_non_null(strstr(json_string(json_member(letter, "payload"), NULL), payload));
		assert_true(*json_string(json_member(letter, "reason"), NULL) != '\0');
	}
	json_doc_free(&doc);
}

struct consumer_stats stats_of(const struct bench *bench, size_t at)
{
	struct consumer_stats stats;

	consumer_stats(bench->consumers[at], &stats);
	return stats;
}

void expect_each_once(const char *table, const char *word, size_t count)
{
	char id[32];

	for (size_t i = 0; i < count; i++) {
		str_format(id, sizeof(id), "%s%zu", word, i);
		if (fake_warehouse_has(table, id) != 1)
			fail_msg("%s is there %zu times", id, fake_warehouse_has(table, id));
	}
}
