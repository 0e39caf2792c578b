/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every warehouse driver must do, run over one driver: the URL is the
 * first argument; without one, chdb: in a directory of its own. Exits 77
 * (skipped) for chdb when SLUICE_NO_CHDB=1, for sanitizers and valgrind cannot
 * follow the engine.
 *
 * WAREHOUSE_TESTS in the environment is a pattern: only the tests it names run.
 *
 * Run again with "--insert" or "--verify" it is the process that
 * test_kill_in_mid_insert kills, and the one that looks at what is left.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"
#include "base/uuid.h"
#include "warehouse/native.h"
#include "warehouse/warehouse.h"

#include "warehouse_helpers.h"

/* Tables */

static void test_create_and_describe(void **state)
{
	static const struct warehouse_column columns[] = {
		{"event_id", "String", NULL, NULL},
		{"handle", "Nullable(String)", NULL, NULL},
		{"event_timestamp", "DateTime('UTC')", NULL, NULL},
		{"insert_timestamp", "DateTime", NULL, "now()"},
	};
	struct warehouse_table spec = table_of("created", columns, 4);
	const struct warehouse_table *found;
	struct arena *arena = arena_new();
	struct error err = {0};

	(void)state;
	assert_null(warehouse_describe(wh, arena, DB, "created", &err));
	assert_int_equal(err.code, ERR_NOT_FOUND);
	assert_null(warehouse_describe(wh, arena, "no_such_database", "created", &err));
	assert_int_equal(err.code, ERR_NOT_FOUND);

	spec.partition_by = "toYYYYMM(event_timestamp)";
	spec.order_by = "event_id, event_timestamp";
	spec.durability = warehouse_features(wh)->fsync ? WAREHOUSE_FSYNC : WAREHOUSE_INSERTED;
	must(warehouse_ensure_table(wh, &spec, &err), &err);
	must(warehouse_ensure_table(wh, &spec, &err), &err);
	found = warehouse_describe(wh, arena, DB, "created", &err);
	if (!found)
		fail_msg("%s", err.text);
	assert_int_equal(found->column_count, 4);
	for (size_t i = 0; i < 4; i++) {
		assert_string_equal(found->columns[i].name, columns[i].name);
		assert_string_equal(found->columns[i].type, columns[i].type);
	}
	assert_string_equal(found->columns[3].default_kind, "DEFAULT");
	assert_string_equal(found->columns[3].default_expr, "now()");
	assert_string_equal(found->engine, "MergeTree");
	assert_string_equal(found->partition_by, "toYYYYMM(event_timestamp)");
	assert_string_equal(found->order_by, "event_id, event_timestamp");
	if (spec.durability == WAREHOUSE_FSYNC)
		assert_non_null(strstr(found->settings, "fsync_after_insert = 1, fsync_part_directory = 1"));
	arena_free(&arena);
}

static void test_ensure_refuses_another_shape(void **state)
{
	static const struct warehouse_column declared[] = {
		{"id", "String", NULL, NULL}, {"n", "Int64", NULL, NULL}, {"gone", "Date", NULL, NULL}
	};
	struct warehouse_table table = table_of("shape", declared, 3);
	struct native_block *block = id_table("shape");
	struct error err = {0};

	(void)state;
	assert_int_equal(warehouse_ensure_table(wh, &table, &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
	assert_string_equal(err.text,
		"table sluice_contract.shape: column n is declared Int64 but is UInt64 in the table: "
		"run ALTER TABLE `sluice_contract`.`shape` MODIFY COLUMN `n` Int64, or change the sink; "
		"column gone is declared Date but is missing in the table: "
		"run ALTER TABLE `sluice_contract`.`shape` ADD COLUMN `gone` Date, or change the sink");
	table.column_count = 1;		/* a column beyond the declared ones is fine */
	must(warehouse_ensure_table(wh, &table, &err), &err);
	native_block_free(&block);
}

static void test_ensure_raises_durability(void **state)
{
	struct warehouse_table table = table_of("raised", id_and_n, 2);
	struct native_block *block = id_table("raised");
	struct error err = {0};

	(void)state;
	native_block_free(&block);
	if (!warehouse_features(wh)->fsync)
		skip();
	table.durability = WAREHOUSE_FSYNC;
	must(warehouse_ensure_table(wh, &table, &err), &err);
	expect("ALTER TABLE " DB ".raised RESET SETTING non_replicated_deduplication_window", "");
	must(warehouse_ensure_table(wh, &table, &err), &err);
	expect("SELECT countSubstrings(engine_full, 'fsync_after_insert = 1, fsync_part_directory = 1, "
	       "non_replicated_deduplication_window = 100') FROM system.tables WHERE database = '" DB "' AND name = 'raised'", "1\n");
}

static void test_check_changes_nothing(void **state)
{
	static const struct warehouse_column other[] = {{"id", "String", NULL, NULL},
							{"n", "Int64", NULL, NULL}};
	struct warehouse_table table = table_of("checked", id_and_n, 2);
	struct warehouse_table differs = table_of("checked", other, 2);
	struct error err = {0};
	struct buf advice;

	(void)state;
	buf_init(&advice);
	assert_int_equal(warehouse_check_table(wh, &table, &advice, &err), -1);
	assert_int_equal(err.code, ERR_NOT_FOUND);
	must(warehouse_query(
		     wh, "CREATE TABLE " DB ".checked (id String, n UInt64) ENGINE = MergeTree ORDER BY id",
		     "TSV", 60000, NULL, &err),
	     &err);
	assert_int_equal(warehouse_check_table(wh, &differs, &advice, &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
	assert_non_null(strstr(err.text, "column n is declared Int64 but is UInt64"));
	must(warehouse_check_table(wh, &table, &advice, &err), &err);
	if (warehouse_features(wh)->dedup_window) {
		const char *statement = strstr(advice.data, "ALTER TABLE");

		assert_non_null(statement);
		must(warehouse_query(wh, statement, "TSV", 60000, NULL, &err), &err);
		must(warehouse_check_table(wh, &table, &advice, &err), &err);
	}
	assert_int_equal(advice.len, 0);
	buf_fini(&advice);
}

/* A quorum of a table without replicas would be no more than a word. */
static void test_quorum_needs_replicas(void **state)
{
	struct warehouse_table table = table_of("alone", id_and_n, 2);
	struct error err = {0};

	(void)state;
	table.durability = WAREHOUSE_QUORUM;
	assert_int_equal(warehouse_ensure_table(wh, &table, &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
	assert_non_null(strstr(err.text, "durability quorum needs"));
	native_block_free(&(struct native_block *){id_table("alone")});
	assert_int_equal(warehouse_ensure_table(wh, &table, &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
}

/* A second row of an event, as a window that remains may bring it, goes away again. */
static void test_replacing(void **state)
{
	struct warehouse_table table = table_of("replacing", id_and_n, 2);
	struct native_block *block = block_for(&table);
	struct error err = {0};

	(void)state;
	table.order_by = "n";
	table.identity = "id";
	must(warehouse_ensure_table(wh, &table, &err), &err);
	must(warehouse_ensure_table(wh, &table, &err), &err);
	put_id(block, "a", 1);
	put_id(block, "b", 1);
	insert_all("replacing", block);
	insert_all("replacing", block);
	expect("SELECT count() FROM " DB ".replacing FINAL", "2\n");
	expect("OPTIMIZE TABLE " DB ".replacing FINAL", "");
	expect("SELECT id FROM " DB ".replacing ORDER BY id", "a\nb\n");
	native_block_free(&block);
}

static void test_names_cannot_break_out(void **state)
{
	static const struct warehouse_column columns[] = {
		{"a`, `b` String) --", "String", NULL, NULL}, {"back\\slash '", "UInt64", NULL, NULL}
	};
	struct warehouse_table table = table_of("x`; DROP TABLE `y\\", columns, 2);
	struct warehouse_text id = {"') OR (1=1 --\\", 14};
	struct warehouse_lookup lookup = {.database = DB, .table = table.name, .column = columns[0].name,
					  .ids = &id, .id_count = 1};
	struct native_block *block = block_for(&table);
	struct error err = {0};
	bool found;

	(void)state;
	table.order_by = "tuple()";
	must(warehouse_ensure_table(wh, &table, &err), &err);
	must(warehouse_ensure_table(wh, &table, &err), &err);
	put_id(block, "x", 1);
	insert_all(table.name, block);
	must(warehouse_lookup(wh, &lookup, &found, &err), &err);
	assert_false(found);
	native_block_clear(block);
	put_id(block, id.bytes, 2);
	insert_all(table.name, block);
	must(warehouse_lookup(wh, &lookup, &found, &err), &err);
	assert_true(found);
	native_block_free(&block);
}

/* Inserting */

static void test_every_type(void **state)
{
	static const struct warehouse_column columns[] = {
		{"s", "String", NULL, NULL}, {"ns", "Nullable(String)", NULL, NULL},
		{"t", "DateTime", NULL, NULL},
		{"tu", "DateTime('UTC')", NULL, NULL}, {"nt", "Nullable(DateTime)", NULL, NULL},
		{"d", "Date", NULL, NULL}, {"u8", "UInt8", NULL, NULL}, {"u16", "UInt16", NULL, NULL},
		{"u32", "UInt32", NULL, NULL}, {"u64", "UInt64", NULL, NULL}, {"i8", "Int8", NULL, NULL},
		{"i16", "Int16", NULL, NULL}, {"i32", "Int32", NULL, NULL}, {"i64", "Int64", NULL, NULL},
		{"ni", "Nullable(Int32)", NULL, NULL}, {"f64", "Float64", NULL, NULL},
		{"f32", "Float32", NULL, NULL},
	};
	static const int64_t high[] = {UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT16_MAX, UINT8_MAX, UINT16_MAX,
				       UINT32_MAX, -1, INT8_MAX, INT16_MAX, INT32_MAX, INT64_MAX, INT32_MAX};
	static const int64_t low[] = {0, 0, 0, 0, 0, 0, 0, 0, INT8_MIN, INT16_MIN, INT32_MIN, INT64_MIN,
				      INT32_MIN};
	static const char text[] = "Zoë 日本 👩‍👩‍👧 \n;\n\t'\"`\\ \0 end";
	struct warehouse_table table = table_of("types", columns, sizeof(columns) / sizeof(columns[0]));
	struct native_block *block = block_for(&table);
	struct error err = {0};

	(void)state;
	must(warehouse_ensure_table(wh, &table, &err), &err);
	must(warehouse_ensure_table(wh, &table, &err), &err);
	for (size_t i = 0; i < 13; i++) {
		must(i == 7 ? native_put_uint(block, 9, UINT64_MAX, &err) :
			native_put_int(block, i + 2, high[i], &err), &err);
	}
	must(native_put_string(block, 0, text, sizeof(text) - 1, &err), &err);
	must(native_put_string(block, 1, "", 0, &err), &err);
	must(native_put_double(block, 15, 1.7976931348623157e308, &err), &err);
	must(native_put_double(block, 16, 0.5, &err), &err);
	native_block_end_row(block);
	for (size_t i = 0; i < 13; i++)
		must(native_put_int(block, i + 2, low[i], &err), &err);
	must(native_put_double(block, 15, -0.25, &err), &err);
	native_block_end_row(block);
	native_block_end_row(block);	/* defaults, NULL where possible */
	insert_all("types", block);
	native_block_free(&block);
	/* As numbers: older servers show the first and the last day of their calendar in a way of their own. */
	expect("SELECT toUInt32(t), toUInt32(tu), toUInt32(nt), toUInt16(d), u8, u16, u32, u64, i8, i16, i32, i64, "
	       "ni, f64, f32 FROM " DB ".types ORDER BY u8 DESC, i8",
	       "4294967295\t4294967295\t4294967295\t65535\t255\t65535\t"
	       "4294967295\t18446744073709551615\t127\t32767\t2147483647\t9223372036854775807\t2147483647\t"
	       "1.7976931348623157e308\t0.5\n"
	       "0\t0\t0\t0\t0\t0\t0\t0\t-128\t"
	       "-32768\t-2147483648\t-9223372036854775808\t-2147483648\t-0.25\t0\n"
	       "0\t0\t\\N\t0\t0\t0\t0\t0\t0\t0\t0\t0\t\\N\t0\t0\n");
	expect("SELECT s, ns, isNull(ns) FROM " DB ".types ORDER BY u8 DESC, i8",
	       "Zoë 日本 👩‍👩‍👧 \\n;\\n\\t\\'\"`\\\\ \\0 end\t\t0\n\t\\N\t1\n\t\\N\t1\n");
}

static void test_slices(void **state)
{
	static const uint32_t picked[] = {9, 0, 5};
	struct native_block *block = id_table("slices");
	struct error err = {0};
	struct buf part;

	(void)state;
	buf_init(&part);
	for (uint64_t i = 0; i < 10; i++)
		put_id(block, i % 2 ? "odd" : "even", i);
	native_block_encode(block, 2, 4, &part);
	must(insert_as(wh, "slices", block, &part, NULL, &err), &err);
	buf_clear(&part);
	native_block_encode_rows(block, picked, 3, &part);
	must(insert_as(wh, "slices", block, &part, NULL, &err), &err);
	expect("SELECT id, n FROM " DB ".slices ORDER BY n", "even\t0\neven\t2\nodd\t3\nodd\t5\nodd\t9\n");
	buf_fini(&part);
	native_block_free(&block);
}

static void test_one_block_is_one_part(void **state)
{
	struct native_block *block = id_table("parts");
	char id[32];

	(void)state;
	/* More than servers cut other formats at. */
	for (uint64_t i = 0; i < 1200000; i++) {
		snprintf(id, sizeof(id), "row %" PRIu64, i);
		put_id(block, id, i);
	}
	insert_all("parts", block);
	expect("SELECT count(), sum(rows) FROM system.parts WHERE active AND database = '" DB "' AND "
	       "table = 'parts'", "1\t1200000\n");
	native_block_free(&block);
}

/* Whether a table can have constraints; a column that is computed for each row does as well. */
static bool has_constraints(void)
{
	return !str_starts(warehouse_features(wh)->version, "18.");
}

static void test_content_is_told_from_the_table(void **state)
{
	struct native_block *block = id_table("content"), *wrong;
	struct warehouse_column columns[] = {{"id", "String", NULL, NULL}, {"nope", "UInt64", NULL, NULL}};
	struct warehouse_table other = table_of("content", columns, 2);
	struct error err = {0};

	(void)state;
	expect(has_constraints() ? "ALTER TABLE " DB ".content ADD CONSTRAINT small CHECK n < 100" :
	       "ALTER TABLE " DB ".content ADD COLUMN small UInt8 MATERIALIZED throwIf(n >= 100)", "");
	put_id(block, "good", 1);
	put_id(block, "bad", 100);
	assert_int_equal(insert_as(wh, "content", block, NULL, NULL, &err), -1);
	assert_int_equal(err.code, ERR_CONTENT);
	assert_int_equal(warehouse_code(wh), has_constraints() ? 469 : 395);
	assert_non_null(strstr(err.text, has_constraints() ? "small" : "throwIf"));
	expect("SELECT count() FROM " DB ".content", "0\n");

	assert_int_equal(insert_as(wh, "no_such_table", block, NULL, NULL, &err), -1);
	assert_int_equal(err.code, ERR_IO);
	assert_int_equal(warehouse_code(wh), 60);
	wrong = block_for(&other);
	put_id(wrong, "x", 1);
	assert_int_equal(insert_as(wh, "content", wrong, NULL, NULL, &err), -1);
	assert_int_equal(err.code, ERR_IO);
	assert_int_equal(warehouse_code(wh), 16);
	native_block_free(&wrong);

	native_block_drop_row(block);	/* the handle still works */
	native_block_clear(block);
	put_id(block, "good", 1);
	insert_all("content", block);
	assert_int_equal(warehouse_code(wh), 0);
	expect("SELECT id FROM " DB ".content", "good\n");
	native_block_free(&block);
}

/* One code, two meanings: parts are merged if one waits, too many partitions stay too many. */
static void test_too_many_of_what(void **state)
{
	struct warehouse_table table = table_of("crowded", id_and_n, 2);
	struct native_block *block = block_for(&table);
	struct error err = {0};
	int rc = 0;

	(void)state;
	table.settings = "parts_to_delay_insert = 1, parts_to_throw_insert = 2";
	must(warehouse_ensure_table(wh, &table, &err), &err);
	expect("SYSTEM STOP MERGES", "");
	put_id(block, "x", 0);
	for (int i = 0; rc == 0 && i < 10; i++)
		rc = insert_as(wh, "crowded", block, NULL, NULL, &err);
	assert_int_equal(rc, -1);
	assert_int_equal(err.code, ERR_BUSY);
	assert_int_equal(warehouse_code(wh), 252);
	expect("SYSTEM START MERGES", "");
	if (has_constraints()) {	/* older servers count no partitions */
		table.name = "partitions";
		table.settings = NULL;
		table.partition_by = "n";
		must(warehouse_ensure_table(wh, &table, &err), &err);
		for (uint64_t i = 1; i < 200; i++)
			put_id(block, "x", i);
		assert_int_equal(insert_as(wh, "partitions", block, NULL, NULL, &err), -1);
		assert_int_equal(err.code, ERR_IO);
		assert_int_equal(warehouse_code(wh), 252);
	}
	native_block_free(&block);
}

static void test_cut_block_inserts_nothing(void **state)
{
	struct native_block *block = id_table("cut");
	struct error err = {0};
	struct buf data;

	(void)state;
	buf_init(&data);
	for (uint64_t i = 0; i < 1000; i++)
		put_id(block, "some text", i);
	native_block_encode(block, 0, 1000, &data);
	data.len -= 1;
	assert_int_equal(insert_as(wh, "cut", block, &data, NULL, &err), -1);
	assert_int_equal(err.code, ERR_IO);
	expect("SELECT count() FROM " DB ".cut", "0\n");
	buf_fini(&data);
	native_block_free(&block);
}

static void test_repeated_batches(void **state)
{
	struct native_block *block = id_table("repeats");
	struct error err = {0};

	(void)state;
	put_id(block, "same", 1);
	insert_all("repeats", block);	/* without a token equal blocks are not repeats */
	insert_all("repeats", block);
	expect("SELECT count() FROM " DB ".repeats", "2\n");
	if (warehouse_features(wh)->dedup_token && warehouse_features(wh)->dedup_window) {
		must(insert_as(wh, "repeats", block, NULL, "t'1", &err), &err);
		must(insert_as(wh, "repeats", block, NULL, "t'1", &err), &err);
		must(insert_as(wh, "repeats", block, NULL, "t'2", &err), &err);
		expect("SELECT count() FROM " DB ".repeats", "4\n");
	}
	native_block_free(&block);
}

/* A table whose inserts take half a second for each row. */
static struct native_block *slow_table(const char *name)
{
	struct native_block *block = id_table(name);
	char sql[200];

	snprintf(sql, sizeof(sql), "ALTER TABLE " DB ".%s ADD %s", name, has_constraints() ?
		 "CONSTRAINT c CHECK sleepEachRow(0.5) = 0" : "COLUMN c UInt8 MATERIALIZED sleepEachRow(0.5)");
	expect(sql, "");
	for (uint64_t i = 0; i < 5; i++)
		put_id(block, "x", i);
	return block;
}

static size_t orphans_of(const char *query_id, int64_t kill_ms)
{
	const struct warehouse_orphans orphans = {
		.database = DB, .table = "slow", .query_id = query_id, .older_ms = 200, .kill_ms = kill_ms,
		.deadline_ms = 60000
	};
	struct error err = {0};
	size_t running;

	must(warehouse_orphans(wh, &orphans, &running, &err), &err);
	return running;
}

static void wait_for_orphans(size_t count)
{
	for (int i = 0; i < 600 && orphans_of("/slow/", 0) != count; i++)
		usleep(50000);
	assert_int_equal(orphans_of("/slow/", 0), count);
}

static void test_insert_past_its_deadline(void **state)
{
	struct native_block *block = slow_table("slow");
	struct warehouse_insert insert = {.database = DB, .table = "slow", .block = block,
					  .query_id = "node/slow/1/1", .deadline_ms = 500};
	struct error err = {0};

	(void)state;
	assert_int_equal(orphans_of("/slow/", 0), 0);
	assert_int_equal(warehouse_insert(wh, &insert, &err), -1);
	assert_int_equal(err.code, ERR_UNCLEAR);
	if (!warehouse_features(wh)->dies_with_process) {
		/* Nobody waits for it and it goes on: that is what a lookup has to wait for. */
		assert_int_equal(orphans_of("/slow/", 0), 1);
		assert_int_equal(orphans_of("/another/", 1), 0);
		assert_int_equal(orphans_of("/slow/", 300), 1);	/* told to stop */
	}
	wait_for_orphans(0);
	native_block_free(&block);
}

/* Looking up */

static void test_lookup_of_many(void **state)
{
	enum { COUNT = 20000 };
	struct warehouse_text *ids = mem_alloc(COUNT * sizeof(*ids));
	static const struct warehouse_column columns[] = {
		{"id", "String", NULL, NULL}, {"n", "String", NULL, NULL}, {"t", "DateTime('UTC')", NULL, NULL}
	};
	struct warehouse_table table = table_of("many", columns, 3);
	struct warehouse_filter filters[2] = {{.column = "t", .from = "1970-01-01 00:00:00",
					       .to = "1970-01-01 02:46:39", .time = true}};
	struct warehouse_text keys[] = {{"nobody", 6}, {"k0", 2}, {"k2", 2}};
	struct warehouse_lookup lookup = {.database = DB, .table = "many", .column = "id", .ids = ids,
					  .id_count = COUNT};
	struct native_block *block = block_for(&table);
	struct arena *arena = arena_new();
	bool *found = mem_alloc(COUNT * sizeof(*found));
	struct error err = {0};
	char key[32];

	(void)state;
	must(warehouse_ensure_table(wh, &table, &err), &err);
	for (size_t i = 0; i < COUNT; i++) {
		ids[i].bytes = arena_printf(arena, "0192f0c4-7e1b-7000-8000-%012zu 'é\\", i);
		ids[i].len = strlen(ids[i].bytes);
		if (i % 2 != 0)
			continue;
		snprintf(key, sizeof(key), "k%d", (int)i);
		native_put_string(block, 0, ids[i].bytes, ids[i].len, NULL);
		native_put_string(block, 1, key, strlen(key), NULL);
		native_put_time(block, 2, (int64_t)i, NULL);
		native_block_end_row(block);
	}
	insert_all("many", block);
	must(warehouse_lookup(wh, &lookup, found, &err), &err);
	for (size_t i = 0; i < COUNT; i++)
		assert_int_equal(found[i], i % 2 == 0);
	lookup.filters = filters;
	lookup.filter_count = 1;
	must(warehouse_lookup(wh, &lookup, found, &err), &err);
	for (size_t i = 0; i < COUNT; i++)
		assert_int_equal(found[i], i % 2 == 0 && i < 10000);
	filters[1] = (struct warehouse_filter){.column = "n", .values = keys + 1, .value_count = 2};
	lookup.filter_count = 2;
	must(warehouse_lookup(wh, &lookup, found, &err), &err);
	for (size_t i = 0; i < COUNT; i++)
		assert_int_equal(found[i], i == 0 || i == 2);
	lookup.id_count = 0;
	must(warehouse_lookup(wh, &lookup, found, &err), &err);
	native_block_free(&block);
	arena_free(&arena);
	mem_free(&ids);
	mem_free(&found);
}

static void test_lookup_of_odd_identities(void **state)
{
	static const char *const odd[] = {
		"", "'", "\\", "\n", "a\tb", "\xff\xfe", "`", "--", "\\'", "NULL", "\\N"
	};
	enum { COUNT = sizeof(odd) / sizeof(odd[0]) };
	struct warehouse_text ids[COUNT * 2 + 3];
	struct warehouse_lookup lookup = {.database = DB, .table = "odd", .column = "id", .ids = ids,
					  .id_count = COUNT * 2 + 3};
	struct native_block *block = id_table("odd");
	bool found[COUNT * 2 + 3];
	struct error err = {0};

	(void)state;
	for (size_t i = 0; i < COUNT; i++) {
		ids[2 * i] = (struct warehouse_text){odd[i], strlen(odd[i])};
		ids[2 * i + 1] = ids[2 * i];	/* asked twice */
		put_id(block, odd[i], i);
	}
	native_put_string(block, 0, "z\0z", 3, NULL);
	native_block_end_row(block);
	ids[2 * COUNT] = (struct warehouse_text){"z\0z", 3};
	ids[2 * COUNT + 1] = (struct warehouse_text){"z\0y", 3};
	ids[2 * COUNT + 2] = (struct warehouse_text){"z", 1};
	insert_all("odd", block);
	must(warehouse_lookup(wh, &lookup, found, &err), &err);
	for (size_t i = 0; i <= 2 * COUNT; i++)
		assert_true(found[i]);
	assert_false(found[2 * COUNT + 1]);
	assert_false(found[2 * COUNT + 2]);

	lookup.column = "n";	/* a number as identity */
	ids[0] = (struct warehouse_text){"3", 1};
	ids[1] = (struct warehouse_text){"18446744073709551615", 20};
	lookup.id_count = 2;
	must(warehouse_lookup(wh, &lookup, found, &err), &err);
	assert_true(found[0]);
	assert_false(found[1]);
	lookup.table = "no_such_table";
	assert_int_equal(warehouse_lookup(wh, &lookup, found, &err), -1);
	assert_int_equal(err.code, ERR_NOT_FOUND);
	native_block_free(&block);
}

/* Asking */

static void test_queries(void **state)
{
	struct error err = {0};
	struct buf out;

	(void)state;
	buf_init(&out);
	must(warehouse_query(wh, "SELECT 1 AS a, 'x\ny' AS b", "JSONEachRow", 0, &out, &err), &err);
	assert_non_null(strstr(out.data, "\"b\":\"x\\ny\""));
	buf_clear(&out);
	must(warehouse_query(wh, "SELECT 1 FORMAT CSV", "TSV", 0, &out, &err), &err);
	assert_string_equal(out.data, "1\n");
	must(warehouse_query(wh, "SELECT 2", "TSV", 0, &out, &err), &err);
	assert_string_equal(out.data, "1\n2\n");	/* appended */
	assert_int_equal(warehouse_query(wh, "SELEC 1", "TSV", 0, &out, &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
	assert_int_equal(warehouse_code(wh), 62);
	assert_int_equal(warehouse_query(wh, "SELECT nope", "TSV", 0, &out, &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
	assert_int_equal(warehouse_query(wh, "SELECT * FROM " DB ".nope", "TSV", 0, &out, &err), -1);
	assert_int_equal(err.code, ERR_NOT_FOUND);
	assert_int_equal(warehouse_query(wh, "SELECT sleepEachRow(0.2) FROM numbers(10)", "TSV", 300, &out,
					 &err), -1);
	assert_int_equal(err.code, ERR_TIMEOUT);
	assert_string_equal(out.data, "1\n2\n");
	expect("SELECT timezone() IN ('UTC', 'Etc/UTC')", "1\n");
	assert_true(warehouse_features(wh)->version[0] >= '1');
	buf_fini(&out);
}

static void test_session(void **state)
{
	const struct warehouse_options options = {.database = DB, .readonly = true};
	struct native_block *block = id_table("session");
	struct error err = {0};
	struct warehouse *own;
	struct buf out;

	(void)state;
	put_id(block, "x", 1);
	insert_all("session", block);
	own = warehouse_open(url, &options, &err);
	if (!own)
		fail_msg("%s", err.text);
	buf_init(&out);
	for (int i = 0; i < 2; i++)
		must(warehouse_query(own, "SELECT count() FROM session", "TSV", 5000, &out, &err), &err);
	assert_string_equal(out.data, "1\n1\n");
	assert_int_equal(warehouse_query(own, "DROP TABLE session", "TSV", 5000, &out, &err), -1);
	assert_int_equal(warehouse_code(own), 164);
	assert_int_equal(err.code, ERR_INPUT);
	warehouse_close(&own);
	expect("SELECT count() FROM " DB ".session", "1\n");
	buf_fini(&out);
	native_block_free(&block);
}

static void *insert_on_own_handle(void *arg)
{
	struct native_block *block = arg;
	struct error err = {0};
	struct warehouse *own = warehouse_open(url, NULL, &err);
	char *failure = NULL;

	for (int i = 0; own && !failure && i < 5; i++)
		if (insert_as(own, "threads", block, NULL, NULL, &err) < 0)
			failure = mem_strdup(err.text);
	if (!own)
		failure = mem_strdup(err.text);
	warehouse_close(&own);
	return failure;
}

static void test_a_handle_per_thread(void **state)
{
	struct native_block *block = id_table("threads");
	pthread_t threads[3];

	(void)state;
	for (uint64_t i = 0; i < 1000; i++)
		put_id(block, "row", i);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, insert_on_own_handle, block), 0);
	for (size_t i = 0; i < 3; i++) {
		void *failure;

		pthread_join(threads[i], &failure);
		if (failure)
			fail_msg("%s", (const char *)failure);
	}
	expect("SELECT count(), sum(n) FROM " DB ".threads", "15000\t7492500\n");
	native_block_free(&block);
}

/* Killing: child processes, because chdb has one engine per process. */

enum { BATCH = 20000 };

/* Numbers its batches from base + 1 on. */
static int child_insert(uint64_t base)
{
	struct native_block *block;
	struct error err = {0};
	char padding[400];

	wh = warehouse_open(url, NULL, &err);
	if (!wh) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	memset(padding, 'p', sizeof(padding));
	block = id_table("killed");
	for (uint64_t n = base + 1;; n++) {
		native_block_clear(block);
		for (size_t i = 0; i < BATCH; i++) {
			native_put_string(block, 0, padding, sizeof(padding), NULL);
			native_put_uint(block, 1, n, NULL);
			native_block_end_row(block);
		}
		if (insert_as(wh, "killed", block, NULL, NULL, &err) < 0) {
			fprintf(stderr, "%s\n", err.text);
			return 1;
		}
		if (write(STDOUT_FILENO, &n, sizeof(n)) != sizeof(n))
			return 1;
	}
}

/*
 * Says which batch after base is the last, and fails when one is there in part
 * or twice: also of those before, which a server may have finished without us.
 */
static int child_verify(uint64_t base)
{
	struct error err = {0};
	uint64_t last;
	struct buf out;
	char sql[200];

	wh = warehouse_open(url, NULL, &err);
	if (!wh) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	buf_init(&out);
	if (warehouse_query(wh, "SELECT n, count() FROM " DB ".killed GROUP BY n HAVING count() != 20000",
			    "TSV", 0, &out, &err) < 0 || out.len) {
		fprintf(stderr, "batches in part: %s%s\n", out.data ? out.data : "", err.text);
		return 1;
	}
	snprintf(sql, sizeof(sql), "SELECT max(n), max(n) - %" PRIu64 " = uniqExact(n) FROM " DB ".killed "
		 "WHERE n > %" PRIu64, base, base);
	if (warehouse_query(wh, sql, "TSV", 0, &out, &err) < 0 || !str_ends(out.data, "\t1\n")) {
		fprintf(stderr, "batches are missing: %s%s\n", out.data ? out.data : "", err.text);
		return 1;
	}
	last = strtoull(out.data, NULL, 10);
	buf_fini(&out);
	warehouse_close(&wh);
	return write(STDOUT_FILENO, &last, sizeof(last)) == sizeof(last) ? 0 : 1;
}

static pid_t start_child(const char *role, const char *child_url, uint64_t base, int *out_r)
{
	char number[24];
	int pipe_fds[2];
	pid_t pid;

	snprintf(number, sizeof(number), "%" PRIu64, base);
	assert_int_equal(pipe(pipe_fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(pipe_fds[1], STDOUT_FILENO);
		close(pipe_fds[0]);
		close(pipe_fds[1]);
		execl("/proc/self/exe", "warehouse_test", role, child_url, number, (char *)NULL);
		_exit(127);
	}
	close(pipe_fds[1]);
	*out_r = pipe_fds[0];
	return pid;
}

/* Reads numbers until the child is dead; when killing, that is at a random moment after the first. */
static uint64_t last_number(pid_t pid, int fd, bool kill_it, int *status_r)
{
	uint64_t number, last = 0;
	bool killed = false;

	while (read(fd, &number, sizeof(number)) == sizeof(number)) {
		last = number;
		if (!kill_it || killed)
			continue;
		usleep((useconds_t)(random_u64() % 120000));
		kill(pid, SIGKILL);
		killed = true;
	}
	close(fd);
	assert_int_equal(waitpid(pid, status_r, 0), pid);
	return last;
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *at)
{
	(void)info;
	(void)type;
	(void)at;
	return remove(path);
}

static void test_kill_in_mid_insert(void **state)
{
	char dir[] = "/tmp/sluice-warehouse-XXXXXX", child_url[64];
	bool chdb = str_starts(url, "chdb:");

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(child_url, sizeof(child_url), "chdb:%s/data", dir);
	for (int round = 0; round < 10; round++) {
		int fd, status;
		uint64_t base = (uint64_t)round * 1000000;	/* never a number again that is still under way */
		pid_t pid = start_child("--insert", chdb ? child_url : url, base, &fd);
		uint64_t inserted = last_number(pid, fd, true, &status), seen;

		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		pid = start_child("--verify", chdb ? child_url : url, base, &fd);
		seen = last_number(pid, fd, false, &status);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 0);
		/* What was acknowledged is there; the one batch in flight may be, too. */
		assert_true(seen == inserted || seen == inserted + 1);
	}
	nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void test_directory_in_use(void **state)
{
	int fd, status;
	pid_t pid;

	(void)state;
	if (!str_starts(url, "chdb:"))
		skip();
	pid = start_child("--busy", url, 0, &fd);
	last_number(pid, fd, false, &status);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static int child_busy(void)
{
	struct error err = {0};

	wh = warehouse_open(url, NULL, &err);
	return !wh && err.code == ERR_BUSY && strstr(err.text, "is in use by another process") ? 0 : 1;
}

/* The run */

static int open_group(void **state)
{
	struct error err = {0};

	(void)state;
	wh = warehouse_open(url, NULL, &err);
	if (!wh) {
		fprintf(stderr, "%s\n", err.text);
		return -1;
	}
	if (warehouse_query(wh, "DROP DATABASE IF EXISTS " DB, "TSV", 0, NULL, &err) == 0)
		return 0;
	fprintf(stderr, "%s\n", err.text);
	return -1;
}

static int close_group(void **state)
{
	(void)state;
	if (wh)
		warehouse_query(wh, "DROP DATABASE IF EXISTS " DB, "TSV", 0, NULL, NULL);
	warehouse_close(&wh);
	return 0;
}

static int run_all(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_create_and_describe),
		cmocka_unit_test(test_check_changes_nothing),
		cmocka_unit_test(test_ensure_refuses_another_shape),
		cmocka_unit_test(test_ensure_raises_durability),
		cmocka_unit_test(test_quorum_needs_replicas),
		cmocka_unit_test(test_replacing),
		cmocka_unit_test(test_names_cannot_break_out),
		cmocka_unit_test(test_every_type),
		cmocka_unit_test(test_slices),
		cmocka_unit_test(test_one_block_is_one_part),
		cmocka_unit_test(test_content_is_told_from_the_table),
		cmocka_unit_test(test_too_many_of_what),
		cmocka_unit_test(test_cut_block_inserts_nothing),
		cmocka_unit_test(test_repeated_batches),
		cmocka_unit_test(test_insert_past_its_deadline),
		cmocka_unit_test(test_lookup_of_many),
		cmocka_unit_test(test_lookup_of_odd_identities),
		cmocka_unit_test(test_queries),
		cmocka_unit_test(test_session),
		cmocka_unit_test(test_a_handle_per_thread),
		cmocka_unit_test(test_directory_in_use),
		cmocka_unit_test(test_kill_in_mid_insert),
	};

	if (getenv("WAREHOUSE_TESTS"))
		cmocka_set_test_filter(getenv("WAREHOUSE_TESTS"));
	return cmocka_run_group_tests(tests, open_group, close_group);
}

int main(int argc, char **argv)
{
	static char dir[] = "/tmp/sluice-warehouse-XXXXXX";
	static char own_url[64];
	const char *off = getenv("SLUICE_NO_CHDB");
	int rc;

	if (argc > 3) {
		uint64_t base = strtoull(argv[3], NULL, 10);

		url = argv[2];
		return str_eq(argv[1], "--insert") ? child_insert(base) :
			str_eq(argv[1], "--verify") ? child_verify(base) : child_busy();
	}
	url = argc > 1 ? argv[1] : "chdb:";
#ifdef __SANITIZE_ADDRESS__
	off = "1";
#endif
	if (str_starts(url, "chdb:") && str_eq(off, "1"))
		return 77;
	if (argc > 1)
		return run_all();
	if (!mkdtemp(dir))
		return 1;
	snprintf(own_url, sizeof(own_url), "chdb:%s/data", dir);
	url = own_url;
	rc = run_all();
	nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	return rc;
}
