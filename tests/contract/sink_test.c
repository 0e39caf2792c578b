/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sink between a real store (sqlite: in a folder of its own, through direct:)
 * and a warehouse that fails as told: what is inserted, what is acknowledged,
 * what is set aside, and that nothing is lost or doubled.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sluice/sink.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"
#include "base/uuid.h"
#include "bus/bus.h"
#include "contract/sink_bench.h"
#include "fake/warehouse.h"
#include "json/json.h"
#include "log/log.h"
#include "loop/loop.h"
#include "sink/batch.h"
#include "sink/consumer.h"
#include "sink/decode.h"
#include "sink/table.h"
#include "store/store_sync.h"

/* --- flushing --- */

static void test_flush_by_rows(void **state)
{
	struct bench *bench = *state;

	bench->options.batch_rows = 10;
	bench->options.batch_age_ms = HOUR_MS;
	open_consumer(bench, 0, "q", "t");
	put_events(bench, "q", "a", 0, 9);
	UNTIL(bench, stats_of(bench, 0).rows == 9);
	run_a_while(bench);
	assert_int_equal(fake_warehouse_rows("t"), 0);
	put_events(bench, "q", "a", 9, 1);
	UNTIL(bench, outbox_bytes(bench) == 0);
	assert_int_equal(fake_warehouse_inserts("t"), 1);
	expect_each_once("t", "a", 10);
}

static void test_flush_by_bytes(void **state)
{
	struct bench *bench = *state;

	bench->options.batch_bytes = 800;
	bench->options.batch_age_ms = HOUR_MS;
	open_consumer(bench, 0, "q", "t");
	put_events(bench, "q", "a", 0, 10);
	UNTIL(bench, stats_of(bench, 0).rows == 10);
	run_a_while(bench);
	assert_int_equal(fake_warehouse_rows("t"), 0);
	put_events(bench, "q", "a", 10, 10);
	/* The second message has no room beside the first. */
	UNTIL(bench, fake_warehouse_rows("t") == 10);
	expect_each_once("t", "a", 10);
	assert_int_equal(stats_of(bench, 0).rows <= 20, 1);
}

static void test_flush_by_age(void **state)
{
	struct bench *bench = *state;

	open_consumer(bench, 0, "q", "t");
	put_events(bench, "q", "a", 0, 3);
	UNTIL(bench, outbox_bytes(bench) == 0);
	assert_int_equal(fake_warehouse_rows("t"), 3);
}

static void test_one_partition_per_insert(void **state)
{
	struct bench *bench = *state;
	struct buf payload;

	buf_init(&payload);
	for (int i = 0; i < 60; i++)
		buf_printf(&payload, "{\"id\":\"a%d\",\"at\":\"2026-%02d-17 10:00:00\"}\n", i, i % 3 + 1);
	open_consumer(bench, 0, "q", "t");
	put(bench, "q", payload.data, 60);
	UNTIL(bench, outbox_bytes(bench) == 0);
	assert_int_equal(fake_warehouse_inserts("t"), 3);
	assert_int_equal(fake_warehouse_mixed(), 0);
	assert_true(fake_warehouse_tokens_differ());
	expect_each_once("t", "a", 60);
	buf_fini(&payload);
}

static void test_rows_come_in_the_tables_order(void **state)
{
	struct bench *bench = *state;
	struct buf payload;

	buf_init(&payload);
	for (int i = 59; i >= 0; i--)
		buf_printf(&payload, "{\"id\":\"a%d\",\"at\":\"2026-01-%02d 10:00:00\"}\n", i, i * 7 % 20 + 1);
	open_consumer(bench, 0, "q", "t");
	put(bench, "q", payload.data, 60);
	UNTIL(bench, outbox_bytes(bench) == 0);
	assert_int_equal(fake_warehouse_inserts("t"), 1);
	assert_int_equal(fake_warehouse_unsorted(), 0);
	expect_each_once("t", "a", 60);
	buf_fini(&payload);
}

static void test_acknowledged_after_the_insert(void **state)
{
	struct bench *bench = *state;

	fake_warehouse_gate(true);
	open_consumer(bench, 0, "q", "t");
	put_events(bench, "q", "a", 0, 5);
	UNTIL(bench, fake_warehouse_waiting() == 1);
	run_a_while(bench);
	assert_true(outbox_bytes(bench) > 0);
	fake_warehouse_gate(false);
	UNTIL(bench, outbox_bytes(bench) == 0);
	expect_each_once("t", "a", 5);
}

/* --- bad rows --- */

static void test_undecodable_lines_do_not_block(void **state)
{
	struct bench *bench = *state;

	open_consumer(bench, 0, "q", "t");
	put(bench, "q", "{\"id\":\"a0\",\"at\":1}\n{\"id\":\"broken\"\n\n{\"id\":\"a1\",\"at\":2}\n", 3);
	put(bench, "q", "{\n\t\"id\": \"a2\",\n\t\"at\": 3\n}\n", 1);
	UNTIL(bench, outbox_bytes(bench) == 0);
	expect_each_once("t", "a", 3);
	assert_int_equal(fake_warehouse_rows("t"), 3);
	expect_letters(bench, 1, "json", "{\"id\":\"broken\"");
}

static void test_missing_member_is_a_letter(void **state)
{
	struct bench *bench = *state;

	open_consumer(bench, 0, "q", "t");
	put(bench, "q", "{\"id\":\"a0\",\"at\":1}\n{\"id\":\"late\"}\n", 2);
	UNTIL(bench, outbox_bytes(bench) == 0);
	expect_each_once("t", "a", 1);
	expect_letters(bench, 1, "column", "{\"id\":\"late\"}");
}

static void test_refused_rows_are_found(void **state)
{
	struct bench *bench = *state;

	fake_warehouse_refuse_ids("bad");
	open_consumer(bench, 0, "q", "t");
	put_events(bench, "q", "a", 0, 150);
	put_events(bench, "q", "bad", 0, 2);
	put_events(bench, "q", "a", 150, 150);
	put_events(bench, "q", "bad", 2, 1);
	UNTIL(bench, outbox_bytes(bench) == 0);
	assert_int_equal(fake_warehouse_rows("t"), 300);
	expect_each_once("t", "a", 300);
	expect_letters(bench, 3, "warehouse 53", "bad");
	assert_false(stats_of(bench, 0).open);
}

static void test_few_rows_all_refused_are_letters(void **state)
{
	struct bench *bench = *state;

	fake_warehouse_fail("t", FAKE_CONTENT, -1);
	open_consumer(bench, 0, "q", "t");
	put_events(bench, "q", "a", 0, 10);
	UNTIL(bench, outbox_bytes(bench) == 0);
	assert_int_equal(fake_warehouse_rows("t"), 0);
	expect_letters(bench, 10, "warehouse 53", "a");
}

static void test_many_rows_all_refused_are_the_tables_fault(void **state)
{
	struct bench *bench = *state;

	fake_warehouse_fail("t", FAKE_CONTENT, -1);
	open_consumer(bench, 0, "q", "t");
	put_events(bench, "q", "a", 0, 40);
	UNTIL(bench, stats_of(bench, 0).open);
	assert_true(stats_of(bench, 0).paused);
	assert_int_equal(letter_count(bench, "q"), 0);
	assert_true(outbox_bytes(bench) > 0);
	fake_warehouse_fail("t", FAKE_NONE, 0);
	UNTIL(bench, outbox_bytes(bench) == 0);
	expect_each_once("t", "a", 40);
	assert_int_equal(letter_count(bench, "q"), 0);
	assert_false(stats_of(bench, 0).open);
	assert_false(stats_of(bench, 0).paused);
}

/* One good row among many bad ones: it is found, though perhaps not at the first try. */
static void test_one_good_row_among_many(void **state)
{
	struct bench *bench = *state;

	fake_warehouse_refuse_ids("bad");
	open_consumer(bench, 0, "q", "t");
	put_events(bench, "q", "bad", 0, 59);
	put_events(bench, "q", "a", 0, 1);
	UNTIL(bench, outbox_bytes(bench) == 0);
	expect_each_once("t", "a", 1);
	assert_int_equal(fake_warehouse_rows("t"), 1);
	expect_letters(bench, 59, "warehouse 53", "bad");
}

/* The same letter once more, after a death between parking and acknowledging, is no second letter. */
static void test_letters_are_recognised(void **state)
{
	struct bench *bench = *state;
	struct store *store = store_sync_store(bench->sync);
	struct error err = { .code = ERR_NONE };
	struct store_outbox_row *rows;
	struct store_dead letter = { .queue = "q", .payload = "{\"id\":", .payload_len = 6, .reason = "r", .code = "json" };
	struct json_doc *doc;
	int64_t count;
	size_t found;

	put(bench, "q", "{\"id\":\"a0\",\"at\":1}\n{\"id\":\n", 2);
	assert_int_equal(store_sync_outbox_read(bench->sync, "q", NULL, 0, 1, 1 << 20, bench->arena, &rows, &found, &err),
			 0);
	letter.dedup_id = arena_printf(bench->arena, "%s/%lld/1", store_id(store), (long long)rows[0].id);
	assert_int_equal(store_sync_dead_letter(bench->sync, &letter, 1, &err), 0);
	open_consumer(bench, 0, "q", "t");
	UNTIL(bench, outbox_bytes(bench) == 0);
	expect_letters(bench, 1, "json", "{\"id\":");
	assert_true(json_int(json_at(letters(bench, "q", &doc), "0.count"), &count));
	assert_int_equal(count, 2);
	json_doc_free(&doc);
}

/* The identity that the index-th event of the only waiting message gets when it has none. */
static char *derived_identity(struct bench *bench, int index)
{
	struct error err = { .code = ERR_NONE };
	struct store_outbox_row *rows;
	const char *name;
	size_t count;

	assert_int_equal(store_sync_outbox_read(bench->sync, "q", NULL, 0, 2, 1 << 20, bench->arena, &rows, &count, &err),
			 0);
	assert_int_equal(count, 1);
	name = arena_printf(bench->arena, "%s/%lld/%d", store_id(store_sync_store(bench->sync)), (long long)rows[0].id,
			    index);
	return uuid_from(arena_alloc(bench->arena, UUID_TEXT_SIZE), name, strlen(name));
}

static void replay_all(struct bench *bench, size_t expected)
{
	struct bus_letters_filter all = { .queue = "q" };
	struct error err = { .code = ERR_NONE };
	struct bus_letters *letters = bus_letters_open("direct:", bench->sync, NULL, 0, &err);
	size_t done;

	assert_non_null(letters);
	assert_int_equal(bus_letters_change(letters, BUS_REPLAY, &all, NULL, NULL, &done, &err), 0);
	assert_int_equal(done, expected);
	bus_letters_close(&letters);
}

/* Events without an identity keep the one that was made for them, however often they are sent again. */
static void test_letters_sent_again_keep_their_identity(void **state)
{
	struct bench *bench = *state;
	const char *ids[2];
	struct json_doc *doc;
	const struct json *list;

	put(bench, "q", "{\"v\":\"same\",\"at\":1}\n{\"v\":\"same\",\"at\":1}\n", 2);
	ids[0] = derived_identity(bench, 0);
	ids[1] = derived_identity(bench, 1);
	fake_warehouse_fail("t", FAKE_CONTENT, -1);
	open_consumer(bench, 0, "q", "t");
	UNTIL(bench, outbox_bytes(bench) == 0);
	assert_int_equal(letter_count(bench, "q"), 2);
	/* Still bad: they come back, and their count goes on. */
	replay_all(bench, 2);
	assert_int_equal(letter_count(bench, "q"), 0);
	UNTIL(bench, outbox_bytes(bench) == 0);
	list = letters(bench, "q", &doc);
	assert_int_equal(json_count(list), 2);
	for (const struct json *letter = json_first(list); letter != NULL; letter = json_next(letter)) {
		int64_t count = 0;

		assert_true(json_int(json_member(letter, "count"), &count));
		assert_int_equal(count, 2);
		assert_true(strcmp(json_string(json_member(letter, "first_at"), NULL),
				   json_string(json_member(letter, "last_at"), NULL)) < 0);
	}
	json_doc_free(&doc);
	fake_warehouse_fail("t", FAKE_NONE, 0);
	replay_all(bench, 2);
	UNTIL(bench, outbox_bytes(bench) == 0);
	assert_int_equal(letter_count(bench, "q"), 0);
	assert_int_equal(fake_warehouse_rows("t"), 2);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(fake_warehouse_has("t", ids[i]), 1);
}

/* More of them than may be blamed on rows when they come for the first time. */
static void test_many_letters_sent_again_stop_nothing(void **state)
{
	struct bench *bench = *state;
	struct error err = { .code = ERR_NONE };
	struct store_dead letters[20];

	for (size_t i = 0; i < 20; i++) {
		const char *payload = arena_printf(bench->arena, "{\"id\":\"bad%zu\",\"v\":\"b\",\"at\":1}", i);

		letters[i] = (struct store_dead){
			.queue = "q", .payload = payload, .payload_len = strlen(payload), .reason = "r",
			.code = "warehouse 1", .dedup_id = arena_printf(bench->arena, "x%zu/0", i)};
	}
	assert_int_equal(store_sync_dead_letter(bench->sync, letters, 20, &err), 0);
	fake_warehouse_refuse_ids("bad");
	open_consumer(bench, 0, "q", "t");
	replay_all(bench, 20);
	UNTIL(bench, outbox_bytes(bench) == 0);
	assert_int_equal(letter_count(bench, "q"), 20);
	assert_int_equal(fake_warehouse_rows("t"), 0);
	put_events(bench, "q", "a", 0, 5);
	UNTIL(bench, fake_warehouse_rows("t") == 5);
}

/* Killed between parking and acknowledging: the letter is sent again, and the message it came in too. */
static void test_letter_sent_again_beside_its_message(void **state)
{
	struct bench *bench = *state;
	struct error err = { .code = ERR_NONE };
	struct store_dead letter = { .queue = "q", .payload = "{\"v\":\"b\",\"at\":1}", .reason = "r", .code = "warehouse 1" };
	struct store_outbox_row *rows;
	size_t count;

	put(bench, "q", "{\"v\":\"a\",\"at\":1}\n{\"v\":\"b\",\"at\":1}\n", 2);
	assert_int_equal(store_sync_outbox_read(bench->sync, "q", NULL, 0, 1, 1 << 20, bench->arena, &rows, &count, &err),
			 0);
	letter.payload_len = strlen(letter.payload);
	letter.dedup_id = arena_printf(bench->arena, "%s/%lld/1", store_id(store_sync_store(bench->sync)),
				       (long long)rows[0].id);
	assert_int_equal(store_sync_dead_letter(bench->sync, &letter, 1, &err), 0);
	open_consumer(bench, 0, "q", "t");
	UNTIL(bench, outbox_bytes(bench) == 0);
	assert_int_equal(fake_warehouse_rows("t"), 2);
	/* Long after the start, when new rows are no suspects. */
	replay_all(bench, 1);
	UNTIL(bench, outbox_bytes(bench) == 0);
	assert_int_equal(fake_warehouse_rows("t"), 2);
	assert_int_equal(letter_count(bench, "q"), 0);
}

/* --- a table that does not take rows --- */

static void test_breaker_opens_and_probes(void **state)
{
	struct bench *bench = *state;
	size_t tries;

	fake_warehouse_fail("t", FAKE_IO, -1);
	open_consumer(bench, 0, "q", "t");
	put_events(bench, "q", "a", 0, 5);
	UNTIL(bench, stats_of(bench, 0).open);
	tries = fake_warehouse_tries("t");
	assert_int_equal(tries, bench->options.breaker_failures);
	put_events(bench, "q", "a", 5, 5);
	UNTIL(bench, fake_warehouse_tries("t") >= tries + 3);
	assert_int_equal(stats_of(bench, 0).rows <= 10, 1);
	fake_warehouse_fail("t", FAKE_NONE, 0);
	UNTIL(bench, outbox_bytes(bench) == 0);
	expect_each_once("t", "a", 10);
	assert_int_equal(letter_count(bench, "q"), 0);
}

/* All that is held are suspects whose time is far: the table is tried with what comes. */
static void test_breaker_is_not_closed_by_suspects_alone(void **state)
{
	struct bench *bench = *state;

	bench->options.suspect_wait_ms = HOUR_MS;
	fake_warehouse_fail("t", FAKE_UNCLEAR_LOST, (int)bench->options.breaker_failures);
	open_consumer(bench, 0, "q", "t");
	for (size_t i = 0; i < bench->options.breaker_failures; i++) {
		put_events(bench, "q", "a", 10 * i, 10);
		UNTIL(bench, stats_of(bench, 0).attempts == i + 1);
	}
	assert_true(stats_of(bench, 0).open);
	put_events(bench, "q", "b", 0, 10);
	UNTIL(bench, fake_warehouse_rows("t") == 10);
	expect_each_once("t", "b", 10);
	UNTIL(bench, !stats_of(bench, 0).open);
}

static void test_a_dead_table_stops_no_other(void **state)
{
	struct bench *bench = *state;

	bench->options.batch_rows = 10;
	fake_warehouse_fail("dead", FAKE_IO, -1);
	open_consumer(bench, 0, "q", "dead");
	open_consumer(bench, 1, "q2", "t");
	for (size_t i = 0; i < 20; i++) {
		put_events(bench, "q", "a", i * 10, 10);
		put_events(bench, "q2", "b", i * 10, 10);
	}
	UNTIL(bench, fake_warehouse_rows("t") == 200);
	expect_each_once("t", "b", 200);
	UNTIL(bench, stats_of(bench, 0).open);
	assert_int_equal(fake_warehouse_rows("dead"), 0);
	fake_warehouse_fail("dead", FAKE_NONE, 0);
	UNTIL(bench, outbox_bytes(bench) == 0);
	expect_each_once("dead", "a", 200);
}

static void test_back_pressure_is_waited_for(void **state)
{
	struct bench *bench = *state;

	bench->options.breaker_failures = 1;
	fake_warehouse_fail("t", FAKE_BUSY, 4);
	open_consumer(bench, 0, "q", "t");
	put_events(bench, "q", "a", 0, 20);
	UNTIL(bench, fake_warehouse_tries("t") >= 4);
	assert_false(stats_of(bench, 0).open);
	UNTIL(bench, outbox_bytes(bench) == 0);
	expect_each_once("t", "a", 20);
	assert_int_equal(letter_count(bench, "q"), 0);
}

/* --- once --- */

static void test_unclear_insert_is_looked_up(void **state)
{
	struct bench *bench = *state;

	open_consumer(bench, 0, "q", "t");
	fake_warehouse_fail("t", FAKE_UNCLEAR_STORED, 1);
	put_events(bench, "q", "a", 0, 20);
	UNTIL(bench, outbox_bytes(bench) == 0);
	expect_each_once("t", "a", 20);
	assert_int_equal(fake_warehouse_tries("t"), 1);
	fake_warehouse_fail("t", FAKE_UNCLEAR_LOST, 2);
	put_events(bench, "q", "a", 20, 20);
	UNTIL(bench, outbox_bytes(bench) == 0);
	expect_each_once("t", "a", 40);
	assert_int_equal(fake_warehouse_tries("t"), 4);
}

static void test_unclear_insert_waits(void **state)
{
	struct bench *bench = *state;

	bench->options.suspect_wait_ms = HOUR_MS;
	bench->options.batch_rows = 10;
	open_consumer(bench, 0, "q", "t");
	fake_warehouse_fail("t", FAKE_UNCLEAR_STORED, 1);
	put_events(bench, "q", "a", 0, 10);
	UNTIL(bench, stats_of(bench, 0).attempts == 1);
	/* Others go on meanwhile. */
	put_events(bench, "q", "b", 0, 10);
	UNTIL(bench, fake_warehouse_rows("t") == 20);
	expect_each_once("t", "b", 10);
	run_a_while(bench);
	assert_int_equal(fake_warehouse_lookups(), 0);
	assert_true(outbox_bytes(bench) > 0);
}

/* An insert of before goes on in the server: what it brings cannot be found yet. */
static void test_suspects_wait_for_orphans(void **state)
{
	struct bench *bench = *state;

	fake_warehouse_orphans(1);
	put_events(bench, "q", "a", 0, 20);
	open_consumer(bench, 0, "q", "t");
	UNTIL(bench, stats_of(bench, 0).attempts > 0);
	/* Others go on meanwhile. */
	put_events(bench, "q", "b", 0, 10);
	UNTIL(bench, fake_warehouse_rows("t") == 10);
	expect_each_once("t", "b", 10);
	assert_int_equal(fake_warehouse_lookups(), 0);
	for (int i = 0; i < 20; i++) {		/* the insert ends */
		char id[16];

		str_format(id, sizeof(id), "a%d", i);
		fake_warehouse_put("t", id);
	}
	fake_warehouse_orphans(0);
	UNTIL(bench, outbox_bytes(bench) == 0);
	expect_each_once("t", "a", 20);
	assert_false(stats_of(bench, 0).open);
}

/* It runs for twice as long as an insert may take: it is told to stop, and until it has nobody looks anything up. */
static void test_old_orphans_are_told_to_stop(void **state)
{
	struct bench *bench = *state;

	fake_warehouse_orphans(2);
	fake_warehouse_orphan_age(1900);
	put_events(bench, "q", "a", 0, 20);
	open_consumer(bench, 0, "q", "t");
	UNTIL(bench, stats_of(bench, 0).attempts > 1);
	assert_int_equal(fake_warehouse_lookups(), 0);
	fake_warehouse_orphan_age(2100);
	UNTIL(bench, outbox_bytes(bench) == 0);
	expect_each_once("t", "a", 20);
}

/* One host of several is away: no suspect can be looked up, and no fresh row has to wait for that. */
static void test_suspects_wait_for_a_silent_host(void **state)
{
	struct bench *bench = *state;

	fake_warehouse_deaf(true);
	fake_warehouse_orphans(0);
	put_events(bench, "q", "a", 0, 20);
	fake_warehouse_put("t", "a0");
	open_consumer(bench, 0, "q", "t");
	UNTIL(bench, stats_of(bench, 0).attempts > 0);
	for (size_t i = 0; i < 5; i++) {
		put_events(bench, "q", "b", i * 10, 10);
		UNTIL(bench, fake_warehouse_rows("t") == 1 + 10 * (i + 1));
	}
	assert_false(stats_of(bench, 0).open);
	assert_true(outbox_bytes(bench) > 0);
	fake_warehouse_deaf(false);
	UNTIL(bench, outbox_bytes(bench) == 0);
	expect_each_once("t", "a", 20);
	expect_each_once("t", "b", 50);
	/* Narrowed by the key's columns and the partition's, where they say something. */
	assert_non_null(strstr(fake_warehouse_question(), " WHERE 1 AND `at` >= toDateTime('2026-11-01 00:00:00', 'UTC') "
			       "AND `at` <= toDateTime('2026-11-01 00:00:00', 'UTC') AND `id` IN "));
}

/* A host that was away when the tables were made, and is back. */
static void test_missing_table_is_made(void **state)
{
	struct bench *bench = *state;

	open_consumer(bench, 0, "q", "t");
	fake_warehouse_fail("t", FAKE_MISSING, -1);
	put_events(bench, "q", "a", 0, 20);
	UNTIL(bench, outbox_bytes(bench) == 0);
	expect_each_once("t", "a", 20);
	consumer_free(&bench->consumers[0]);
	fake_warehouse_fail("t", FAKE_MISSING, -1);
	put_events(bench, "q", "b", 0, 20);
	open_consumer(bench, 0, "q", "t");
	UNTIL(bench, outbox_bytes(bench) == 0);
	expect_each_once("t", "b", 20);
}

/*
 * What another consumer may have sent to a host just before the look-up, after
 * that host was last heard of: one deadline after it was heard of again it shows.
 */
static void test_moved_suspects_are_asked_for_twice(void **state)
{
	struct bench *bench = *state;
	const struct bus_message message = { .tag = 1, .id = "m", .body = "{\"id\":\"a0\",\"at\":1}", .len = 18,
					     .events = 1, .suspect = true, .suspect_ms = 1 };
	struct error err = { .code = ERR_NONE };
	struct writer writer = { .node = "node", .deadline_ms = 300, .hold_ms = HOUR_MS };
	struct batch *batch = batch_new(NULL);
	int64_t start_ms = clock_mono_ms();

	fake_warehouse_orphans(0);
	writer.table = sink_table_new(&bench_sink, "d", "t", bench->arena, &err);
	writer.wh = warehouse_open("fake:", NULL, &err);
	writer.decoder = decoder_new(writer.table);
	batch_add(batch, &message);
	batch_attempt(batch, &writer);
	assert_int_equal(batch->outcome, BATCH_EARLY);
	assert_true(batch->wait_ms > 0 && batch->wait_ms <= 300);
	fake_warehouse_put("t", "a0");		/* it arrives meanwhile */
	while (batch->outcome == BATCH_EARLY && clock_mono_ms() < start_ms + DEADLINE_MS) {
		usleep(10000);
		batch_attempt(batch, &writer);
	}
	assert_true(clock_mono_ms() - start_ms >= 300);
	assert_int_equal(batch->outcome, BATCH_DONE);
	assert_int_equal(fake_warehouse_has("t", "a0"), 1);
	batch_free(&batch);
	writer_shrink(&writer);
	decoder_free(&writer.decoder);
	warehouse_close(&writer.wh);
}

/* The consumer begins before the warehouse answers; events of before wait on from its first answer. */
static void test_warehouse_away_at_start(void **state)
{
	struct bench *bench = *state;
	int64_t back_ms;

	fake_warehouse_orphans(0);
	fake_warehouse_away(true);
	bench->options.warehouse = "fake:";
	bench->options.suspect_wait_ms = 400;
	put_events(bench, "q", "a", 0, 20);
	open_consumer(bench, 0, "q", "t");
	put_events(bench, "q", "b", 0, 10);
	UNTIL(bench, stats_of(bench, 0).open);
	run_a_while(bench);
	assert_int_equal(fake_warehouse_rows("t"), 0);
	back_ms = clock_mono_ms();
	fake_warehouse_away(false);
	UNTIL(bench, fake_warehouse_lookups() > 0);
	assert_true(clock_mono_ms() - back_ms >= 400);
	UNTIL(bench, outbox_bytes(bench) == 0);
	expect_each_once("t", "a", 20);
	expect_each_once("t", "b", 10);
}

/* Killed after the insert and before the acknowledgement. */
static void test_restart_after_the_insert(void **state)
{
	struct bench *bench = *state;

	fake_warehouse_gate(true);
	open_consumer(bench, 0, "q", "t");
	put_events(bench, "q", "a", 0, 30);
	UNTIL(bench, fake_warehouse_waiting() == 1);
	fake_warehouse_gate(false);
	consumer_free(&bench->consumers[0]);
	assert_int_equal(fake_warehouse_rows("t"), 30);
	assert_true(outbox_bytes(bench) > 0);
	open_consumer(bench, 0, "q", "t");
	UNTIL(bench, outbox_bytes(bench) == 0);
	expect_each_once("t", "a", 30);
	assert_int_equal(fake_warehouse_lookups(), 30);
	assert_int_equal(fake_warehouse_tries("t"), 1);
}

static void test_restart_before_the_insert(void **state)
{
	struct bench *bench = *state;

	fake_warehouse_fail("t", FAKE_IO, -1);
	open_consumer(bench, 0, "q", "t");
	put_events(bench, "q", "a", 0, 30);
	UNTIL(bench, stats_of(bench, 0).attempts > 0);
	consumer_free(&bench->consumers[0]);
	fake_warehouse_fail("t", FAKE_NONE, 0);
	open_consumer(bench, 0, "q", "t");
	UNTIL(bench, outbox_bytes(bench) == 0);
	expect_each_once("t", "a", 30);
}

/* Some of a message arrived, some did not, and one event stands in two messages. */
static void test_suspects_one_by_one(void **state)
{
	struct bench *bench = *state;
	char id[16];

	put_events(bench, "q", "a", 0, 30);
	put_events(bench, "q", "a", 25, 10);
	for (int i = 0; i < 35; i += 3) {
		str_format(id, sizeof(id), "a%d", i);
		fake_warehouse_put("t", id);
	}
	open_consumer(bench, 0, "q", "t");
	UNTIL(bench, outbox_bytes(bench) == 0);
	expect_each_once("t", "a", 35);
	assert_int_equal(fake_warehouse_rows("t"), 35);
}

static void test_events_without_identity_restart(void **state)
{
	struct bench *bench = *state;

	fake_warehouse_gate(true);
	open_consumer(bench, 0, "q", "t");
	put(bench, "q", "{\"v\":\"same\",\"at\":1}\n{\"v\":\"same\",\"at\":1}\n", 2);
	UNTIL(bench, fake_warehouse_waiting() == 1);
	fake_warehouse_gate(false);
	consumer_free(&bench->consumers[0]);
	open_consumer(bench, 0, "q", "t");
	UNTIL(bench, outbox_bytes(bench) == 0);
	assert_int_equal(fake_warehouse_rows("t"), 2);
}

/* --- bounds and ends --- */

static void test_memory_is_bounded(void **state)
{
	struct bench *bench = *state;

	bench->options.batch_rows = 10;
	bench->options.batch_bytes = 1000;
	fake_warehouse_gate(true);
	open_consumer(bench, 0, "q", "t");
	for (size_t i = 0; i < 60; i++)
		put_events(bench, "q", "a", i * 5, 5);
	UNTIL(bench, stats_of(bench, 0).rows >= 20 && stats_of(bench, 0).paused);
	run_a_while(bench);
	/* Two batches of bytes, and the message that passed the mark. */
	assert_true(stats_of(bench, 0).bytes <= 2 * 1000 + 5 * 60);
	assert_true(stats_of(bench, 0).rows_peak <= 50);
	fake_warehouse_gate(false);
	UNTIL(bench, outbox_bytes(bench) == 0);
	expect_each_once("t", "a", 300);
	assert_true(stats_of(bench, 0).rows_peak <= 50);
	assert_false(stats_of(bench, 0).paused);
}

static void test_full_prefetch_flushes(void **state)
{
	struct bench *bench = *state;

	bench->options.batch_age_ms = HOUR_MS;
	bench->options.unacked_messages = 4;
	open_consumer(bench, 0, "q", "t");
	for (size_t i = 0; i < 8; i++)
		put_events(bench, "q", "a", i, 1);
	UNTIL(bench, fake_warehouse_rows("t") == 8);
}

static void on_drained(void *user)
{
	((struct bench *)user)->drained = true;
}

static void test_drain_flushes(void **state)
{
	struct bench *bench = *state;

	bench->options.batch_age_ms = HOUR_MS;
	open_consumer(bench, 0, "q", "t");
	put_events(bench, "q", "a", 0, 25);
	put(bench, "q", "{\"id\":\n", 1);
	UNTIL(bench, stats_of(bench, 0).rows == 26);
	consumer_drain(bench->consumers[0], on_drained, bench);
	UNTIL(bench, bench->drained);
	assert_int_equal(outbox_bytes(bench), 0);
	expect_each_once("t", "a", 25);
	expect_letters(bench, 1, "json", "{\"id\":");
	assert_int_equal(stats_of(bench, 0).rows, 0);
}

static void test_drain_leaves_what_cannot_be_inserted(void **state)
{
	struct bench *bench = *state;

	bench->options.batch_age_ms = HOUR_MS;
	open_consumer(bench, 0, "q", "t");
	put_events(bench, "q", "a", 0, 25);
	UNTIL(bench, stats_of(bench, 0).rows == 25);
	fake_warehouse_fail("t", FAKE_IO, -1);
	consumer_drain(bench->consumers[0], on_drained, bench);
	UNTIL(bench, bench->drained);
	assert_true(outbox_bytes(bench) > 0);
	consumer_free(&bench->consumers[0]);
	fake_warehouse_fail("t", FAKE_NONE, 0);
	bench->options.batch_age_ms = 20;
	open_consumer(bench, 0, "q", "t");
	UNTIL(bench, outbox_bytes(bench) == 0);
	expect_each_once("t", "a", 25);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, bench_set_up, bench_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_flush_by_rows),
		TEST(test_flush_by_bytes),
		TEST(test_flush_by_age),
		TEST(test_one_partition_per_insert),
		TEST(test_rows_come_in_the_tables_order),
		TEST(test_acknowledged_after_the_insert),
		TEST(test_undecodable_lines_do_not_block),
		TEST(test_missing_member_is_a_letter),
		TEST(test_refused_rows_are_found),
		TEST(test_few_rows_all_refused_are_letters),
		TEST(test_many_rows_all_refused_are_the_tables_fault),
		TEST(test_one_good_row_among_many),
		TEST(test_letters_are_recognised),
		TEST(test_letters_sent_again_keep_their_identity),
		TEST(test_letter_sent_again_beside_its_message),
		TEST(test_many_letters_sent_again_stop_nothing),
		TEST(test_breaker_opens_and_probes),
		TEST(test_breaker_is_not_closed_by_suspects_alone),
		TEST(test_a_dead_table_stops_no_other),
		TEST(test_back_pressure_is_waited_for),
		TEST(test_unclear_insert_is_looked_up),
		TEST(test_unclear_insert_waits),
		TEST(test_restart_after_the_insert),
		TEST(test_restart_before_the_insert),
		TEST(test_suspects_wait_for_orphans),
		TEST(test_old_orphans_are_told_to_stop),
		TEST(test_suspects_wait_for_a_silent_host),
		TEST(test_missing_table_is_made),
		TEST(test_moved_suspects_are_asked_for_twice), TEST(test_warehouse_away_at_start),
		TEST(test_suspects_one_by_one),
		TEST(test_events_without_identity_restart),
		TEST(test_memory_is_bounded),
		TEST(test_full_prefetch_flushes),
		TEST(test_drain_flushes),
		TEST(test_drain_leaves_what_cannot_be_inserted),
	};
#undef TEST

	log_init(STDERR_FILENO, "sink_test", LOG_LEVEL_ERROR);
	fake_warehouse_add();
	return cmocka_run_group_tests_name("sink", tests, NULL, NULL);
}
