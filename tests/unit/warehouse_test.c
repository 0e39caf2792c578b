/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The warehouse without an engine: quoting, TSV, error codes, and what
 * warehouse.c makes of a server's answers, on a driver that replays them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"
#include "http/http_sync.h"
#include "warehouse/chdb.h"
#include "warehouse/clickhouse_url.h"
#include "pack/compress.h"
#include "warehouse/driver.h"
#include "warehouse/engine.h"
#include "warehouse/native.h"
#include "warehouse/outcome.h"
#include "warehouse/sql.h"
#include "warehouse/warehouse.h"

/* A driver that answers each statement from a script and remembers what it was asked. */
static struct {
	const char *const *answers;	/* pairs: part of the statement, answer; "!" + text is an error */
	struct buf asked, brought;
} fake;

static int fake_open(const char *rest, const struct warehouse_options *options, void **conn_r,
		     struct error *err)
{
	(void)options;
	(void)err;
	assert_string_equal(rest, "somewhere");
	*conn_r = &fake;
	return 0;
}

static void fake_close(void *conn)
{
	assert_ptr_equal(conn, &fake);
}

static int answer(const char *sql, struct buf *out, int *code_r, struct error *err)
{
	const char *const *a = fake.answers;

	buf_printf(&fake.asked, "%s\n", sql);
	while (*a && !strstr(sql, a[0]))
		a += 2;
	if (*a && a[1][0] == '!') {
		*code_r = outcome_code(a[1]);
		return error_set(err, ERR_UNCLEAR, "%s", a[1] + 1);
	}
	if (*a && out)
		buf_adds(out, a[1]);
	return 0;
}

static int fake_query(void *conn, const struct driver_query *query, struct buf *out, int *code_r,
		      struct error *err)
{
	(void)conn;
	if (query->table) {
		assert_string_equal(query->table->structure, "id String");
		assert_true(query->table->len <= 1000);
		buf_add(&fake.brought, query->table->data, query->table->len);
	}
	return answer(query->sql, out, code_r, err);
}

static int fake_insert(void *conn, const struct driver_insert *insert, int *code_r, struct error *err)
{
	struct buf sql;
	int rc;

	(void)conn;
	buf_init(&sql);
	buf_adds(&sql, insert->into);
	for (size_t i = 0; i < insert->setting_count; i++)
		buf_printf(&sql, " %s=%s", insert->settings[i].name, insert->settings[i].value);
	rc = answer(sql.data, NULL, code_r, err);
	buf_fini(&sql);
	return rc;
}

static struct warehouse_ops fake_ops = {
	.scheme = "fake", .table_bytes = 1000, .open = fake_open, .close = fake_close, .query = fake_query,
	.insert = fake_insert
};

static struct warehouse *open_fake(const char *const *answers)
{
	struct error err = {0};
	struct warehouse *wh;

	fake.answers = answers;
	wh = warehouse_open("fake:somewhere", NULL, &err);
	if (!wh)
		fail_msg("%s", err.text);
	buf_clear(&fake.asked);
	return wh;
}

#define NEW_SERVER "version()", "version 26.7.2.1\nset async_insert\nset deduplicate_insert\n" \
	"set insert_deduplication_token\nset log_comment\nmt fsync_after_insert\n" \
	"mt non_replicated_deduplication_window\n"

static void expect_quoted(void (*quote)(struct buf *, const char *), const char *in, const char *wanted)
{
	struct buf out;

	buf_init(&out);
	quote(&out, in);
	assert_string_equal(out.data, wanted);
	buf_fini(&out);
}

static void quote_text(struct buf *out, const char *text)
{
	sql_text(out, text, strlen(text));
}

static void test_quoting(void **state)
{
	struct buf out;

	(void)state;
	expect_quoted(sql_name, "plain", "`plain`");
	expect_quoted(sql_name, "a`b\\c'd", "`a\\`b\\\\c'd`");
	expect_quoted(sql_name, "", "``");
	expect_quoted(quote_text, "it's", "'it\\'s'");
	expect_quoted(quote_text, "\\' OR 1 -- ", "'\\\\\\' OR 1 -- '");
	expect_quoted(quote_text, "line\n\ttab `x`", "'line\n\ttab `x`'");
	buf_init(&out);
	sql_text(&out, "a\0b", 3);
	assert_int_equal(out.len, 6);
	assert_memory_equal(out.data, "'a\\0b'", 6);
	buf_clear(&out);
	sql_table(&out, "_e", "x.y");
	assert_string_equal(out.data, "`_e`.`x.y`");
	buf_fini(&out);
}

static void test_tsv(void **state)
{
	static const char text[] = "a\\tb\t\t\\N\nx\\\\y\\'\\n\nlast";
	static const struct { const char *field; char stop; } wanted[] = {
		{"a\tb", '\t'}, {"", '\t'}, {"\\N", '\n'}, {"x\\y'\n", '\n'}, {"last", '\n'},
	};
	const char *at = text, *end = text + sizeof(text) - 1;
	struct buf field;

	(void)state;
	buf_init(&field);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		assert_int_equal(sql_tsv_field(&at, end, &field), wanted[i].stop);
		assert_int_equal(field.len, strlen(wanted[i].field));
		if (field.len)
			assert_memory_equal(field.data, wanted[i].field, field.len);
	}
	assert_int_equal(sql_tsv_field(&at, end, &field), 0);
	buf_fini(&field);
}

static void test_outcomes(void **state)
{
	(void)state;
	assert_int_equal(outcome_code("Code: 27. DB::Exception: Cannot parse"), 27);
	assert_int_equal(outcome_code("Poco::Exception. Code: 1000, e.code() = 111"), 1000);
	assert_int_equal(outcome_code("connection refused"), 0);
	assert_int_equal(outcome_insert(469, "", ERR_UNCLEAR), ERR_CONTENT);
	assert_int_equal(outcome_insert(53, "", ERR_UNCLEAR), ERR_CONTENT);
	assert_int_equal(outcome_insert(252, "Too many parts (3000)", ERR_UNCLEAR), ERR_BUSY);
	assert_int_equal(outcome_insert(252, "Too many partitions for single INSERT block", ERR_UNCLEAR),
			 ERR_IO);
	assert_int_equal(outcome_insert(252, "Too many parts (300) in table '_e.partitions'", ERR_UNCLEAR), ERR_BUSY);
	/* The table itself has the rows by then. */
	assert_int_equal(outcome_insert(395, "Code: 395. DB::Exception: no: while pushing to view _e.sums", ERR_IO),
			 ERR_UNCLEAR);
	assert_int_equal(outcome_insert(159, "", ERR_IO), ERR_UNCLEAR);
	assert_int_equal(outcome_insert(60, "", ERR_UNCLEAR), ERR_IO);
	assert_int_equal(outcome_insert(241, "", ERR_UNCLEAR), ERR_IO);
	assert_int_equal(outcome_insert(0, "", ERR_UNCLEAR), ERR_UNCLEAR);
	assert_int_equal(outcome_insert(0, "", ERR_IO), ERR_IO);
	assert_int_equal(outcome_query(60, ERR_IO), ERR_NOT_FOUND);
	assert_int_equal(outcome_query(62, ERR_IO), ERR_INPUT);
	assert_int_equal(outcome_query(159, ERR_IO), ERR_TIMEOUT);
	assert_int_equal(outcome_query(241, ERR_IO), ERR_IO);
}

static void test_open_refusals(void **state)
{
	struct warehouse_options options = {.library = "/nonexistent/libchdb.so"};
	struct error err = {0};

	(void)state;
	assert_null(warehouse_open("nothing", NULL, &err));
	assert_int_equal(err.code, ERR_INPUT);
	assert_null(warehouse_open("mysql://x", NULL, &err));
	assert_non_null(strstr(err.text, "no driver for this URL"));
	assert_null(warehouse_open("chdb:", &options, &err));
	assert_non_null(strstr(err.text, "needs a directory"));
	assert_null(warehouse_open("chdb:/tmp/never-made", &options, &err));
	assert_int_equal(err.code, ERR_INPUT);
	assert_non_null(strstr(err.text, "run scripts/chdb"));
	assert_non_null(strstr(err.text, "/nonexistent/libchdb.so"));
}

static void test_urls(void **state)
{
	static const char *const bad[] = {
		"", "/", "//", "host:8123", "//host:x", "//a,,b", "//u:p@", "//u:%zz@h", "//u:p%0a@h", "//h/a/b", "//h/d#x",
		"//h?compression=lzma", "//h?ca", "//h?nope=1", "//s3c ret@h:1:2", "//u:s3c/ret@h",
	};
	struct arena *arena = arena_new();
	struct clickhouse_url parts;
	struct error err;

	(void)state;
	assert_int_equal(clickhouse_url_parse("//u%40x:p%3A%2f@a:1,[::1]:2,b/d%41?compression=gzip&ca=/x%20y", false, arena,
					      &parts, &err), 0);
	assert_int_equal(parts.origin_count, 3);
	assert_string_equal(parts.origins[0], "http://a:1");
	assert_string_equal(parts.origins[1], "http://[::1]:2");
	assert_string_equal(parts.origins[2], "http://b:8123");
	assert_string_equal(parts.user, "u@x");
	assert_string_equal(parts.password, "p:/");
	assert_string_equal(parts.database, "dA");
	assert_string_equal(parts.ca_file, "/x y");
	assert_int_equal(parts.compression, COMPRESS_GZIP);
	assert_int_equal(clickhouse_url_parse("//h", true, arena, &parts, &err), 0);
	assert_string_equal(parts.origins[0], "https://h:8443");
	assert_null(parts.user);
	assert_null(parts.database);
	assert_int_equal(parts.compression, compress_default());
	assert_int_equal(clickhouse_url_parse("//h?compression=none", true, arena, &parts, &err), 0);
	assert_int_equal(parts.compression, COMPRESS_NONE);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (clickhouse_url_parse(bad[i], false, arena, &parts, &err) == 0)
			fail_msg("%s was taken", bad[i]);
		assert_int_equal(err.code, ERR_INPUT);
		assert_null(strstr(err.text, "s3c"));
	}
	assert_string_equal(warehouse_database("clickhouses://h,i/db", arena), "db");
	assert_null(warehouse_database("clickhouse://h", arena));
	assert_null(warehouse_database("chdb:/var/lib/x", arena));
	arena_free(&arena);
}

/* What one build has another lacks; the message says what there is. */
static void test_compressions(void **state)
{
	static const char *const names[] = {"gzip", "lz4", "zstd"};
	static const unsigned char methods[] = {0, 0x82, 0x90};
	char text[3000];
	const struct http_piece pieces[] = {{"INSERT", 6}, {text, sizeof(text)}};
	enum compression how;
	struct error err;
	struct buf out;

	(void)state;
	memset(text, 'x', sizeof(text));
	for (size_t i = 0; i < 3; i++) {
		if (compress_find(names[i], &how, &err) < 0) {
			assert_non_null(strstr(err.text, "this build of sluice has none, gzip"));
			continue;
		}
		buf_init(&out);
		compress_pieces(&out, how, pieces, 2);
		assert_true(out.len < 200);
		if (how != COMPRESS_GZIP) {	/* method, size with the header, size unpacked; then the next block */
			size_t first = (size_t)(unsigned char)out.data[17];

			assert_memory_equal(out.data + 16, &methods[i], 1);
			assert_memory_equal(out.data + 21, "\x06\0\0\0", 4);
			assert_memory_equal(out.data + 16 + first + 16, &methods[i], 1);
			assert_memory_equal(out.data + 16 + first + 21, "\xb8\x0b\0\0", 4);
		}
		buf_fini(&out);
	}
	assert_int_equal(compress_find("brotli", &how, &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
}

static void test_library_search(void **state)
{
	struct buf path;

	(void)state;
	buf_init(&path);
	chdb_find_library("/opt/libchdb.so", &path);
	assert_string_equal(path.data, "/opt/libchdb.so");
	setenv("SLUICE_CHDB", "/elsewhere/libchdb.so", 1);
	buf_clear(&path);
	chdb_find_library(NULL, &path);
	assert_string_equal(path.data, "/elsewhere/libchdb.so");
	unsetenv("SLUICE_CHDB");
	setenv("XDG_CACHE_HOME", "/nonexistent", 1);
	buf_clear(&path);
	chdb_find_library(NULL, &path);
	assert_string_equal(path.data, "libchdb.so");
	buf_fini(&path);
}

static const struct warehouse_column two_columns[] = {
	{"id", "String", NULL, NULL}, {"when", "DateTime", NULL, "now()"}
};
static const struct warehouse_table spec = {
	.database = "_e", .name = "t", .columns = two_columns, .column_count = 2, .engine = "MergeTree",
	.partition_by = "toYYYYMM(when)", .order_by = "id, when", .settings = "index_granularity = 8192",
	.durability = WAREHOUSE_FSYNC
};

static void test_create_statement(void **state)
{
	static const char *const answers[] = {NEW_SERVER, NULL};
	static const char *const old[] = {"version()", "version 18.16.1\n", NULL};
	struct warehouse *wh = open_fake(answers);
	struct error err = {0};

	(void)state;
	assert_string_equal(warehouse_features(wh)->version, "26.7.2.1");
	assert_int_equal(warehouse_create_table(wh, &spec, &err), 0);
	assert_string_equal(fake.asked.data,
		"CREATE DATABASE IF NOT EXISTS `_e`\n"
		"CREATE TABLE IF NOT EXISTS `_e`.`t` (`id` String, `when` DateTime DEFAULT now()) "
		"ENGINE = MergeTree PARTITION BY toYYYYMM(when) ORDER BY (id, when) "
		"SETTINGS index_granularity = 8192, fsync_after_insert = 1, fsync_part_directory = 1, "
		"non_replicated_deduplication_window = 100\n");
	warehouse_close(&wh);

	wh = open_fake(old);
	assert_false(warehouse_features(wh)->fsync);
	assert_int_equal(warehouse_create_table(wh, &spec, &err), 0);
	assert_non_null(strstr(fake.asked.data, "ORDER BY (id, when) SETTINGS index_granularity = 8192\n"));
	warehouse_close(&wh);
	assert_null(wh);
}

static void test_engines(void **state)
{
	static const struct { const char *plain, *replacing; } cases[] = {
		{"MergeTree", "ReplacingMergeTree"}, {"MergeTree()", "ReplacingMergeTree()"},
		{"ReplicatedMergeTree('/t', '{replica}')", "ReplicatedReplacingMergeTree('/t', '{replica}')"},
		{"ReplacingMergeTree(at)", "ReplacingMergeTree(at)"}, {"SummingMergeTree", NULL}, {"Memory", NULL},
	};
	struct error err;
	struct buf out;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		buf_init(&out);
		assert_int_equal(engine_add_replacing(&out, cases[i].plain, &err), cases[i].replacing ? 0 : -1);
		if (cases[i].replacing)
			assert_string_equal(out.data, cases[i].replacing);
		else
			assert_non_null(strstr(err.text, "has no variant that replaces"));
		buf_fini(&out);
	}
	assert_true(engine_orders_by("a, event_id", "event_id"));
	assert_true(engine_orders_by("`event_id` , a", "event_id"));
	assert_true(engine_orders_by("f(a, ')\\','), event_id", "event_id"));
	assert_false(engine_orders_by("a, cityHash64(event_id), b", "event_id"));
	assert_false(engine_orders_by("f(a, event_id)", "event_id"));
	assert_false(engine_orders_by("my_event_id, event_id2, 'event_id'", "event_id"));
	assert_false(engine_orders_by("", "event_id"));
}

/* The shape of a table, and what ensure says of it when rows are to be replaced by identity. */
static void test_ensure_replacing(void **state)
{
	static const struct { const char *engine, *order, *wanted; } cases[] = {
		{"ReplacingMergeTree", "when, id", ""}, {"Distributed", "", ""},
		{"MergeTree", "id", "table _e.t: warehouse.engine is replacing, but the table is a MergeTree"},
		{"ReplacingMergeTree", "when", "a ReplacingMergeTree ordered by (when) makes rows one that differ in id"},
	};
	struct warehouse_table replacing = spec;
	struct error err = {0};

	(void)state;
	replacing.identity = "id";
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char keys[200];
		const char *const answers[] = {"version()", "version 18.16.1\n", "DESCRIBE",
			"id\tString\t\t\nwhen\tDateTime\t\t\n", "system.tables", keys, NULL};
		struct warehouse *wh = open_fake(answers);

		str_format(keys, sizeof(keys), "%s\t\t%s\t\n", cases[i].engine, cases[i].order);
		assert_int_equal(warehouse_ensure_table(wh, &replacing, &err), *cases[i].wanted ? -1 : 0);
		if (*cases[i].wanted) {
			assert_int_equal(err.code, ERR_INPUT);
			assert_non_null(strstr(err.text, cases[i].wanted));
		}
		warehouse_close(&wh);
	}
}

static int insert_one(struct warehouse *wh, const char *token, enum warehouse_durability durability,
		      struct error *err)
{
	struct native_block *block = native_block_new();
	struct warehouse_insert insert = {.database = "_e", .table = "t", .block = block, .query_id = "n1/s",
					  .dedup_token = token, .durability = durability};
	int rc;

	native_block_add(block, "id", "String", NULL);
	native_block_end_row(block);
	rc = warehouse_insert(wh, &insert, err);
	native_block_free(&block);
	return rc;
}

static void test_insert_settings(void **state)
{
	static const char *const answers[] = {NEW_SERVER, NULL};
	static const char *const old[] = {"version()", "version 18.16.1\n", NULL};
	struct warehouse *wh = open_fake(answers);
	struct error err = {0};

	(void)state;
	assert_int_equal(insert_one(wh, "abc", WAREHOUSE_FSYNC, &err), 0);
	assert_string_equal(fake.asked.data, "INSERT INTO `_e`.`t` (`id`) async_insert=0 "
			    "insert_deduplication_token=abc deduplicate_insert=enable log_comment=n1/s\n");
	buf_clear(&fake.asked);
	assert_int_equal(insert_one(wh, NULL, WAREHOUSE_INSERTED, &err), 0);
	assert_string_equal(fake.asked.data, "INSERT INTO `_e`.`t` (`id`) async_insert=0 "
			    "deduplicate_insert=disable log_comment=n1/s\n");
	assert_int_equal(insert_one(wh, NULL, WAREHOUSE_QUORUM, &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
	warehouse_close(&wh);

	wh = open_fake(old);
	assert_int_equal(insert_one(wh, "abc", WAREHOUSE_INSERTED, &err), 0);
	assert_string_equal(fake.asked.data, "INSERT INTO `_e`.`t` (`id`) insert_deduplicate=0\n");
	warehouse_close(&wh);

	fake_ops.quorum = true;
	wh = open_fake(old);
	assert_int_equal(insert_one(wh, NULL, WAREHOUSE_QUORUM, &err), 0);
	assert_string_equal(fake.asked.data, "INSERT INTO `_e`.`t` (`id`) insert_deduplicate=0 insert_quorum=2 "
			    "insert_quorum_timeout=600000\n");
	warehouse_close(&wh);
	wh = open_fake(answers);
	assert_int_equal(insert_one(wh, NULL, WAREHOUSE_QUORUM, &err), 0);
	assert_non_null(strstr(fake.asked.data, " insert_quorum=auto"));
	warehouse_close(&wh);
	fake_ops.quorum = false;
}

static void test_insert_outcomes(void **state)
{
	static const struct { const char *answer; enum error_code wanted; int code; } cases[] = {
		{"!Code: 252. DB::Exception: Too many parts (3001)", ERR_BUSY, 252},
		{"!Code: 469. DB::Exception: Constraint `c` is violated", ERR_CONTENT, 469},
		{"!Code: 60. DB::Exception: Table does not exist", ERR_IO, 60},
		{"!connection reset by peer", ERR_UNCLEAR, 0},
	};
	struct error err;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *const answers[] = {NEW_SERVER, "INSERT", cases[i].answer, NULL};
		struct warehouse *wh = open_fake(answers);

		assert_int_equal(insert_one(wh, NULL, WAREHOUSE_INSERTED, &err), -1);
		assert_int_equal(err.code, cases[i].wanted);
		assert_int_equal(warehouse_code(wh), cases[i].code);
		assert_true(str_starts(err.text, "inserting into _e.t: "));
		warehouse_close(&wh);
	}
}

static void test_lookup_in_several_statements(void **state)
{
	static const char *const answers[] = {
		NEW_SERVER, "SELECT DISTINCT", "\x04" "id 7" "\x05" "id 70" "\x01" "?", "DESCRIBE", "id\tString\t\t\n",
		"system.tables", "MergeTree\t\tid\t\n", NULL
	};
	static const char statement[] = "SELECT DISTINCT assumeNotNull(toString(`id`)) FROM `_e`.`t` WHERE 1 AND `when` >= "
		"'2020-01-01 00:00:00' AND `when` <= 'it\\'s' AND `id` IN (SELECT id FROM sluice_ids) SETTINGS "
		"read_overflow_mode = 'throw', ";
	struct warehouse_filter filter = {.column = "when", .from = "2020-01-01 00:00:00", .to = "it's"};
	struct warehouse_lookup lookup = {.database = "_e", .table = "t", .column = "id", .filters = &filter,
					  .filter_count = 1, .id_count = 200};
	struct warehouse_text ids[200];
	struct warehouse *wh = open_fake(answers);
	struct arena *arena = arena_new();
	struct buf all;
	bool found[200];
	struct error err = {0};
	size_t statements = 0;

	(void)state;
	buf_init(&all);
	for (size_t i = 0; i < 200; i++) {
		ids[i].bytes = arena_printf(arena, "id %zu", i == 199 ? 7 : i);
		ids[i].len = strlen(ids[i].bytes);
		buf_printf(&all, "%s\n", ids[i].bytes);
	}
	lookup.ids = ids;
	assert_int_equal(warehouse_lookup(wh, &lookup, found, &err), 0);
	for (size_t i = 0; i < 200; i++)
		assert_int_equal(found[i], i == 7 || i == 70 || i == 199);
	assert_string_equal(fake.brought.data, all.data);
	for (char *line = strtok(fake.asked.data, "\n"); line; line = strtok(NULL, "\n"))
		statements += str_starts(line, statement);
	assert_true(statements >= 2);
	warehouse_close(&wh);
	buf_fini(&all);
	arena_free(&arena);
}

/* What an existing table looks like and what ensure says of it; "" = content with it. */
static void test_ensure_compares(void **state)
{
	static const struct { const char *columns, *wanted; } cases[] = {
		{"id\tString\t\t\nwhen\tDateTime('UTC')\tDEFAULT\tnow()\nextra\tInt8\t\t\t\t\t\n", ""},
		{"when\tDateTime\t\t\nid\tLowCardinality(String)\t\t\n", ""},
		{"when\tDateTime\t\t\n",
		 "table _e.t: column id is declared String but is missing in the table: run ALTER TABLE "
		 "`_e`.`t` ADD COLUMN `id` String, or change the sink"},
		{"id\tNullable(String)\t\t\nwhen\tDateTime(\\'Europe/Berlin\\')\t\t\n",
		 "table _e.t: column id is declared String but is Nullable(String) in the table: run ALTER "
		 "TABLE `_e`.`t` MODIFY COLUMN `id` String, or change the sink; column when is declared "
		 "DateTime but is DateTime('Europe/Berlin') in the table: run ALTER TABLE `_e`.`t` MODIFY "
		 "COLUMN `when` DateTime DEFAULT now(), or change the sink"},
		{"id\tString\tMATERIALIZED\thex(x)\nwhen\tDateTime\t\t\n",
		 "table _e.t: column id is declared String but is MATERIALIZED in the table, so nothing can "
		 "be inserted into it: make it an ordinary column"},
	};
	struct error err;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *const answers[] = {NEW_SERVER, "DESCRIBE", cases[i].columns, "system.tables",
			"MergeTree\ttoYYYYMM(when)\tid\tMergeTree ORDER BY id SETTINGS "
			"fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 7\n",
			NULL};
		struct warehouse *wh = open_fake(answers);

		error_clear(&err);
		assert_int_equal(warehouse_ensure_table(wh, &spec, &err), *cases[i].wanted ? -1 : 0);
		assert_string_equal(err.text, cases[i].wanted);
		assert_int_equal(err.code, *cases[i].wanted ? ERR_INPUT : ERR_NONE);
		assert_null(strstr(fake.asked.data, "CREATE"));
		warehouse_close(&wh);
	}
}

static void test_ensure_raises_settings(void **state)
{
	static const char *const answers[] = {NEW_SERVER, "DESCRIBE", "id\tString\t\t\nwhen\tDateTime\t\t\n",
		"system.tables", "MergeTree\t\tid\tMergeTree ORDER BY id SETTINGS index_granularity = 8192\n",
		NULL};
	struct warehouse *wh = open_fake(answers);
	struct error err = {0};

	(void)state;
	assert_int_equal(warehouse_ensure_table(wh, &spec, &err), 0);
	assert_non_null(strstr(fake.asked.data, "ALTER TABLE `_e`.`t` MODIFY SETTING fsync_after_insert = 1, "
			       "fsync_part_directory = 1, non_replicated_deduplication_window = 100\n"));
	warehouse_close(&wh);
}

static int setup(void **state)
{
	(void)state;
	buf_init(&fake.asked);
	buf_init(&fake.brought);
	warehouse_add_driver(&fake_ops);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	buf_fini(&fake.asked);
	buf_fini(&fake.brought);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_quoting),
		cmocka_unit_test(test_tsv),
		cmocka_unit_test(test_outcomes),
		cmocka_unit_test(test_open_refusals),
		cmocka_unit_test(test_urls),
		cmocka_unit_test(test_compressions),
		cmocka_unit_test(test_library_search),
		cmocka_unit_test(test_create_statement),
		cmocka_unit_test(test_engines),
		cmocka_unit_test(test_ensure_replacing),
		cmocka_unit_test(test_insert_settings),
		cmocka_unit_test(test_insert_outcomes),
		cmocka_unit_test(test_lookup_in_several_statements),
		cmocka_unit_test(test_ensure_compares),
		cmocka_unit_test(test_ensure_raises_settings),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
