/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes to servers of the newest version, put to an engine of that version:
 * the one inside libchdb, which is asked here as servers are. Only the way
 * there, HTTP, is another: clickhouse_test has it. Exits 77 (skipped) when
 * SLUICE_NO_CHDB=1.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"
#include "warehouse/driver.h"
#include "warehouse/native.h"
#include "warehouse/warehouse.h"

#include "warehouse_ask.h"

#define DB "newer"

static char url[64];
static const char *orphan;	/* a query id that the question for orphans finds; NULL: none */
static struct buf settings;	/* names of the last insert's, each in quotes */
static size_t killed;

/* The driver: the embedded engine, told about and asked like a server. */

static int newer_query(void *conn, const struct driver_query *query, struct buf *out, int *code_r, struct error *err)
{
	int rc = warehouse_chdb.query(conn, query, out, code_r, err);

	killed += rc == 0 && str_starts(query->sql, "KILL QUERY");
	if (rc == 0 && orphan && strstr(query->sql, "system.processes"))
		buf_printf(out, "%s\t1\n", orphan);
	return rc;
}

static int newer_insert(void *conn, const struct driver_insert *insert, int *code_r, struct error *err)
{
	buf_clear(&settings);
	for (size_t i = 0; i < insert->setting_count; i++)
		buf_printf(&settings, "%s'%s'", i ? "," : "", insert->settings[i].name);
	return warehouse_chdb.insert(conn, insert, code_r, err);
}

static struct warehouse_ops newer = {
	.scheme = "newer", .quorum = true, .query = newer_query, .insert = newer_insert
};

/* Helpers */

static const struct warehouse_column columns[] = {{"id", "String", NULL, NULL}, {"at", "DateTime", NULL, NULL}};
static const struct warehouse_table table = {
	.database = DB, .name = "t", .columns = columns, .column_count = 2, .engine = "MergeTree",
	.partition_by = "toYYYYMM(at)", .order_by = "at", .durability = WAREHOUSE_FSYNC
};

static void put(struct native_block *block, const char *bytes, size_t len)
{
	native_put_string(block, 0, bytes, len, NULL);
	native_put_time(block, 1, 1800000000, NULL);
	native_block_end_row(block);
}

static int insert(const struct native_block *block, const char *token, enum warehouse_durability durability,
		  struct error *err)
{
	const struct warehouse_insert what = {
		.database = DB, .table = "t", .block = block, .query_id = "node/slow/1/1", .dedup_token = token,
		.deadline_ms = 60000, .durability = durability
	};

	return warehouse_insert(wh, &what, err);
}

/* Tests */

/* All that warehouse.c and clickhouse.c set, this version still knows. */
static void test_settings(void **state)
{
	struct native_block *block = native_block_new();
	struct error err = {0};
	struct buf sql;

	(void)state;
	for (size_t i = 0; i < 2; i++)
		must(native_block_add(block, columns[i].name, columns[i].type, &err), &err);
	put(block, "settings", 8);
	must(insert(block, "token", WAREHOUSE_QUORUM, &err), &err);
	must(insert(block, "token", WAREHOUSE_FSYNC, &err), &err);	/* the same again */
	expect("SELECT count() FROM " DB ".t WHERE id = 'settings'", "1\n");
	must(insert(block, "token", WAREHOUSE_QUORUM, &err), &err);
	buf_init(&sql);
	buf_printf(&sql, "SELECT arrayJoin([%s, 'max_execution_time', 'timeout_overflow_mode', 'max_query_size', 'readonly', "
		   "'http_native_compression_disable_checksumming_on_decompress']) AS name WHERE name NOT IN "
		   "(SELECT name FROM system.settings)", settings.data);
	expect(sql.data, "");
	assert_non_null(strstr(settings.data, "'insert_quorum','insert_quorum_timeout','insert_distributed_sync'"));
	assert_true(warehouse_features(wh)->fsync && warehouse_features(wh)->dedup_token &&
		    warehouse_features(wh)->dedup_window && warehouse_features(wh)->dedup_switch);
	buf_fini(&sql);
	native_block_free(&block);
}

/* Identities that come along as a table, with all that TSV has to escape. */
static void test_lookup_with_a_table(void **state)
{
	enum { COUNT = 3000 };
	static const struct warehouse_text odd[] = {
		{"", 0}, {"a\tb\nc\r\\N", 8}, {"\\N", 2}, {"it's", 4}, {"\xff\0\xfe", 3}, {"\\t", 2}
	};
	enum { ODD = sizeof(odd) / sizeof(odd[0]) };
	const struct warehouse_filter filter = {.column = "at", .from = "2027-01-15 08:00:00", .to = "2027-01-15 08:00:00",
						.time = true};
	struct native_block *block = native_block_new();
	struct arena *arena = arena_new();
	struct warehouse_text *ids = arena_alloc(arena, COUNT * sizeof(*ids));
	bool *found = arena_alloc(arena, COUNT * sizeof(*found));
	const struct warehouse_lookup lookup = {.database = DB, .table = "t", .column = "id", .filters = &filter,
						.filter_count = 1, .ids = ids, .id_count = COUNT, .deadline_ms = 60000};
	struct error err = {0};

	(void)state;
	for (size_t i = 0; i < 2; i++)
		must(native_block_add(block, columns[i].name, columns[i].type, &err), &err);
	for (size_t i = 0; i < COUNT; i++) {
		ids[i] = i < ODD ? odd[i] : (struct warehouse_text){arena_printf(arena, "id %04zu", i), 7};
		if (i % 2 == 0)
			put(block, ids[i].bytes, ids[i].len);
	}
	must(insert(block, NULL, WAREHOUSE_INSERTED, &err), &err);
	must(warehouse_lookup(wh, &lookup, found, &err), &err);
	for (size_t i = 0; i < COUNT; i++)
		assert_int_equal(found[i], i % 2 == 0);
	arena_free(&arena);
	native_block_free(&block);
}

static void test_orphans(void **state)
{
	const struct warehouse_orphans orphans = {.database = DB, .table = "t", .query_id = "/slow/", .older_ms = 0,
						  .kill_ms = 1, .deadline_ms = 60000};
	struct error err = {0};
	size_t running;

	(void)state;
	must(warehouse_orphans(wh, &orphans, &running, &err), &err);
	assert_int_equal(running, 0);
	orphan = "node/slow/'1/1";
	must(warehouse_orphans(wh, &orphans, &running, &err), &err);
	assert_int_equal(running, 1);
	assert_int_equal(killed, 1);
	orphan = NULL;
}

/* The run */

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *at)
{
	(void)info;
	(void)type;
	(void)at;
	return remove(path);
}

static int open_group(void **state)
{
	struct error err = {0};

	(void)state;
	newer.open = warehouse_chdb.open;
	newer.close = warehouse_chdb.close;
	newer.table_bytes = warehouse_chdb.table_bytes;
	warehouse_add_driver(&newer);
	wh = warehouse_open(url, NULL, &err);
	if (wh && warehouse_ensure_table(wh, &table, &err) == 0)
		return 0;
	fprintf(stderr, "%s\n", err.text);
	return -1;
}

static int close_group(void **state)
{
	(void)state;
	warehouse_close(&wh);
	buf_fini(&settings);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_settings), cmocka_unit_test(test_lookup_with_a_table),
		cmocka_unit_test(test_orphans),
	};
	static char dir[] = "/tmp/sluice-newer-XXXXXX";
	const char *off = getenv("SLUICE_NO_CHDB");
	int rc;

#ifdef __SANITIZE_ADDRESS__
	off = "1";
#endif
	if (str_eq(off, "1"))
		return 77;
	if (!mkdtemp(dir))
		return 1;
	snprintf(url, sizeof(url), "newer:%s/data", dir);
	rc = cmocka_run_group_tests(tests, open_group, close_group);
	nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	return rc;
}
