/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every sink of the sinks plugin against a warehouse: its table is made, takes
 * the messages of tests/sinks and gives back their rows; when they come again
 * as suspects, they are found and none doubles. The URL is the first argument;
 * without one, chdb: in a directory of its own. Exits 77 (skipped) for chdb
 * when SLUICE_NO_CHDB=1.
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

#include <sluice/plugin.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"
#include "log/log.h"
#include "sink/batch.h"
#include "sink/decode.h"
#include "sink/table.h"
#include "sink_case.h"
#include "warehouse/native.h"
#include "warehouse/warehouse.h"

#define DB "sluice_sinks"
#define DEADLINE_MS 60000

static const char *url;
static struct warehouse *wh;

/* Appends the output to out, which may be NULL. */
static void ask(const char *sql, struct buf *out)
{
	struct error err = { .code = ERR_NONE };

	if (warehouse_query(wh, sql, "TSVRaw", DEADLINE_MS, out, &err) < 0)
		fail_msg("%s: %s", sql, err.text);
}

/* The table as in tests/sinks/NAME/rows. */
static void read_rows(const struct sink_table *table, struct buf *out)
{
	struct buf sql;

	buf_init(&sql);
	for (size_t i = 0; i < table->column_count; i++) {
		const struct sink_column *column = &table->columns[i];

		if (column->flags & SL_COLUMN_NOW)
			continue;
		buf_adds(&sql, sql.len == 0 ? "SELECT " : ", ");
		/* Servers write NULL differently. */
		if (column->type.nullable)
			buf_adds(&sql, "ifNull(toString(");
		buf_printf(&sql, column->type.kind == NATIVE_DATETIME ? "toUInt32(`%s`)" : "`%s`",
			   column->name);
		if (column->type.nullable)
			buf_adds(&sql, "), '\\\\N')");
	}
	buf_printf(&sql, " FROM " DB ".%s ORDER BY %s", table->name, table->sink->identity);
	ask(sql.data, out);
	buf_fini(&sql);
	for (size_t i = 0; i < out->len; i++)
		if (out->data[i] == '\t')
			out->data[i] = '|';
}

static void check_rows(const struct sink_table *table)
{
	struct buf expected, found;

	buf_init(&expected);
	buf_init(&found);
	sink_case_read(table->name, "rows", &expected);
	read_rows(table, &found);
	assert_string_equal(found.data, expected.data);
	buf_fini(&found);
	buf_fini(&expected);
}

/* Returns the rows that the table took; repeats: how many it is to have already, 0 when the events are new. */
static size_t take(struct writer *writer, size_t repeats)
{
	struct batch *batch = sink_case_batch(writer->table->name, repeats > 0);
	size_t rows;

	batch_attempt(batch, writer);
	if (batch->outcome != BATCH_DONE)
		fail_msg("%s: %s", writer->table->name, batch->err.text);
	rows = batch->counts.rows;
	assert_int_equal(batch->letter_count, 0);
	assert_int_equal(batch->counts.suspects, repeats);
	assert_int_equal(batch->counts.repeats, repeats);
	batch_free(&batch);
	return rows;
}

static void take_messages(const struct sl_sink *sink)
{
	struct arena *arena = arena_new();
	struct error err = { .code = ERR_NONE };
	size_t rows;
	struct writer writer = {
		.table = sink_table_new(sink, DB, sink->table, arena, &err), .url = url, .node = "contract",
		.deadline_ms = DEADLINE_MS, .durability = WAREHOUSE_FSYNC
	};

	if (writer.table == NULL)
		fail_msg("%s", err.text);
	writer.decoder = decoder_new(writer.table);
	rows = take(&writer, 0);
	assert_true(rows >= 2);
	check_rows(writer.table);
	assert_int_equal(take(&writer, rows), 0);
	check_rows(writer.table);
	writer_shrink(&writer);
	decoder_free(&writer.decoder);
	warehouse_close(&writer.wh);
	arena_free(&arena);
}

static void test_every_table_takes_messages(void **state)
{
	(void)state;
	for (size_t i = 0; sluice_plugin_v1.sinks[i] != NULL; i++)
		take_messages(sluice_plugin_v1.sinks[i]);
}

/* As the system that Sluice replaces made it, for an installation that moves. */
static void test_an_older_trace_table_is_used_as_it_is(void **state)
{
	(void)state;
	ask("DROP TABLE IF EXISTS " DB ".trace_log_events", NULL);
	ask("CREATE TABLE " DB ".trace_log_events (id String, host_name String, service_name String, "
	    "timestamp DateTime, time_taken Int32, method String, uri String, headers String, "
	    "response_status Int32, remote_address String, only_request UInt8, request_body String, "
	    "response_body String) ENGINE = ReplacingMergeTree ORDER BY id", NULL);
	for (size_t i = 0; sluice_plugin_v1.sinks[i] != NULL; i++)
		if (str_eq(sluice_plugin_v1.sinks[i]->name, "trace_log_events"))
			take_messages(sluice_plugin_v1.sinks[i]);
}

static int set_up(void **state)
{
	struct error err = { .code = ERR_NONE };

	(void)state;
	wh = warehouse_open(url, NULL, &err);
	if (wh == NULL)
		fail_msg("%s", err.text);
	ask("DROP DATABASE IF EXISTS " DB, NULL);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	ask("DROP DATABASE IF EXISTS " DB, NULL);
	warehouse_close(&wh);
	return 0;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
	(void)status;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int run(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_table_takes_messages),
		cmocka_unit_test(test_an_older_trace_table_is_used_as_it_is),
	};

	return cmocka_run_group_tests_name("sink_tables", tests, set_up, tear_down);
}

int main(int argc, char **argv)
{
	static char dir[] = "/tmp/sluice-tables-XXXXXX";
	static char own_url[64];
	const char *off = getenv("SLUICE_NO_CHDB");
	int rc;

	log_init(STDERR_FILENO, "sink_tables_test", LOG_LEVEL_ERROR);
#ifdef __SANITIZE_ADDRESS__
	off = "1";
#endif
	url = argc > 1 ? argv[1] : "chdb:";
	if (str_starts(url, "chdb:") && str_eq(off, "1"))
		return 77;
	if (argc > 1)
		return run();
	if (mkdtemp(dir) == NULL)
		return 1;
	str_format(own_url, sizeof(own_url), "chdb:%s/data", dir);
	url = own_url;
	rc = run();
	nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	return rc;
}
