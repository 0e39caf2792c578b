/* SPDX-License-Identifier: Apache-2.0 */
/* Events into columns: what converts into what, exactly, and what refuses a row without a trace. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <sluice/plugin.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include "base/uuid.h"
#include "sink/decode.h"
#include "sink/table.h"
#include "warehouse/native.h"

#define NOW_S 1700000000

struct bench {			/* one sink, its decoder and a block */
	struct arena *arena;
	const struct sink_table *table;
	struct decoder *decoder;
	struct native_block *block;
};

static void bench_open(struct bench *bench, const struct sl_sink *sink)
{
	struct error err = { .code = ERR_NONE };

	bench->arena = arena_new();
	bench->table = sink_table_new(sink, "d", sink->table, bench->arena, &err);
	if (bench->table == NULL)
		fail_msg("%s", err.text);
	bench->decoder = decoder_new(bench->table);
	bench->block = sink_table_block(bench->table);
}

static void bench_close(struct bench *bench)
{
	native_block_free(&bench->block);
	decoder_free(&bench->decoder);
	arena_free(&bench->arena);
}

static int decode_as(struct bench *bench, const char *json, size_t index, const char **code_r, struct error *err)
{
	const struct decode_event event = {
		.json = json, .len = strlen(json), .message_id = "message/7", .index = index, .now_s = NOW_S
	};

	return decoder_row(bench->decoder, bench->block, &event, code_r, err);
}

static void decode(struct bench *bench, const char *json)
{
	struct error err = { .code = ERR_NONE };
	const char *code;

	if (decode_as(bench, json, 0, &code, &err) < 0)
		fail_msg("%s: %s", json, err.text);
}

/* Refuses json with this code and a reason that holds this text, and leaves the block as it was. */
static void refuse(struct bench *bench, const char *json, const char *code, const char *reason)
{
	struct error err = { .code = ERR_NONE };
	struct buf before, after;
	const char *found = NULL;

	buf_init(&before);
	buf_init(&after);
	native_block_encode(bench->block, 0, native_block_rows(bench->block), &before);
	assert_int_equal(decode_as(bench, json, 0, &found, &err), -1);
	assert_string_equal(found, code);
	if (strstr(err.text, reason) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", err.text, reason);
	native_block_encode(bench->block, 0, native_block_rows(bench->block), &after);
	assert_int_equal(before.len, after.len);
	assert_memory_equal(before.data, after.data, before.len);
	for (size_t i = 0; i < native_block_columns(bench->block); i++)
		assert_false(native_is_put(bench->block, i));
	buf_fini(&before);
	buf_fini(&after);
}

static size_t last_row(const struct bench *bench)
{
	assert_true(native_block_rows(bench->block) > 0);
	return native_block_rows(bench->block) - 1;
}

static void expect_text(const struct bench *bench, const char *column, const char *text)
{
	size_t len, at = (size_t)native_block_find(bench->block, column);
	const char *found = native_cell_string(bench->block, at, last_row(bench), &len);

	assert_int_equal(len, strlen(text));
	assert_memory_equal(found, text, len);
}

/* A float's cell is the end of a block that holds only that row, and this column last. */
static double read_float(const struct bench *bench, size_t column)
{
	const struct native_type *type = native_block_type(bench->block, column);
	struct buf out;
	double wide;
	float narrow;

	assert_int_equal(column + 1, native_block_columns(bench->block));
	buf_init(&out);
	native_block_encode(bench->block, last_row(bench), last_row(bench) + 1, &out);
	memcpy(&wide, out.data + out.len - sizeof(wide), sizeof(wide));
	memcpy(&narrow, out.data + out.len - sizeof(narrow), sizeof(narrow));
	buf_fini(&out);
	return type->width == 8 ? wide : (double)narrow;
}

static void read_cell(const struct bench *bench, size_t column, char *text, size_t size)
{
	const struct native_type *type = native_block_type(bench->block, column);
	const char *bytes;
	size_t len;

	if (native_cell_is_null(bench->block, column, last_row(bench))) {
		str_format(text, size, "NULL");
	} else if (type->kind == NATIVE_STRING) {
		bytes = native_cell_string(bench->block, column, last_row(bench), &len);
		str_format(text, size, "%.*s", (int)len, bytes);
	} else if (type->kind == NATIVE_FLOAT) {
		str_format(text, size, "%.17g", read_float(bench, column));
	} else if (type->kind == NATIVE_UINT) {
		str_format(text, size, "%" PRIu64, (uint64_t)native_cell_int(bench->block, column, last_row(bench)));
	} else {
		str_format(text, size, "%" PRId64, native_cell_int(bench->block, column, last_row(bench)));
	}
}

static const struct {
	const char *type;
	unsigned int flags;
	const char *fallback;
	const char *json;
	const char *cell;
} conversions[] = {
	/* into text: exactly what was written, as far as JSON tells */
	{"String", 0, NULL, "\"plain\"", "plain"},
	{"String", 0, NULL, "\"\"", ""},
	{"String", 0, NULL, "12345678901234567", "12345678901234567"},
	{"String", 0, NULL, "18446744073709551615", "18446744073709551615"},
	{"String", 0, NULL, "123456789012345678901234567890", "123456789012345678901234567890"},
	{"String", 0, NULL, "-9223372036854775808", "-9223372036854775808"},
	{"String", 0, NULL, "0.1", "0.1"},
	{"String", 0, NULL, "1.10", "1.10"},
	{"String", 0, NULL, "-1.5E+3", "-1.5E+3"},
	{"String", 0, NULL, "0.12345678901234567890", "0.12345678901234567890"},
	{"String", 0, NULL, "1e400", "1e400"},
	{"String", 0, NULL, "true", "true"},
	{"String", 0, NULL, "[1,\"a\",null]", "[1,\"a\",null]"},
	{"String", 0, NULL, "{\"a\":{\"b\":9007199254740993}}", "{\"a\":{\"b\":9007199254740993}}"},
	{"String", 0, NULL, "\"\\u00e4 \\ud83d\\ude00\"", "\xc3\xa4 \xf0\x9f\x98\x80"},
	{"String", 0, NULL, "null", ""},
	{"String", 0, "none", "null", "none"},
	{"Nullable(String)", 0, NULL, "null", "NULL"},
	{"Nullable(String)", 0, "none", "null", "NULL"},
	{"Nullable(String)", 0, NULL, "7", "7"},
	/* objects */
	{"String", SL_COLUMN_OBJECT, NULL, "{\"a\":1}", "{\"a\":1}"},
	{"String", SL_COLUMN_OBJECT, NULL, "[1]", "{}"},
	{"String", SL_COLUMN_OBJECT, NULL, "\"{\\\"a\\\":1}\"", "{}"},
	{"String", SL_COLUMN_OBJECT, NULL, "null", "{}"},
	/* integers */
	{"Int64", 0, NULL, "-9223372036854775808", "-9223372036854775808"},
	{"UInt64", 0, NULL, "18446744073709551615", "18446744073709551615"},
	{"UInt64", 0, NULL, "\"18446744073709551615\"", "18446744073709551615"},
	{"UInt64", 0, NULL, "-1", "0"},
	{"UInt64", 0, "5", "-1", "5"},
	{"Nullable(UInt64)", 0, "5", "-1", "NULL"},
	{"Int32", 0, NULL, "2147483648", "0"},
	{"Int32", 0, NULL, "3.0", "3"},
	{"Int32", 0, NULL, "3.5", "0"},
	{"Int32", SL_COLUMN_CUT, NULL, "3.9", "3"},
	{"Int32", SL_COLUMN_CUT, NULL, "-3.9", "-3"},
	{"Int32", SL_COLUMN_CUT, NULL, "\"3.9\"", "3"},
	{"Int64", SL_COLUMN_CUT, NULL, "\"9007199254740993\"", "9007199254740993"},
	{"Int32", SL_COLUMN_CUT, "7", "3000000000.5", "7"},
	{"Int32", SL_COLUMN_CUT, "7", "\"3.9s\"", "7"},
	{"String", SL_COLUMN_CUT, NULL, "3.9", "3.9"},
	{"Nullable(Int32)", 0, NULL, "\"12\"", "12"},
	{"Nullable(Int32)", 0, NULL, "\"twelve\"", "NULL"},
	{"Nullable(Int32)", 0, NULL, "[1]", "NULL"},
	{"UInt8", 0, NULL, "true", "1"},
	{"Bool", 0, NULL, "false", "0"},
	{"Bool", 0, NULL, "\"true\"", "1"},
	{"Bool", 0, NULL, "2", "0"},
	/* floats */
	{"Float64", 0, NULL, "0.1", "0.10000000000000001"},
	{"Float64", 0, NULL, "\"1e3\"", "1000"},
	{"Float64", 0, NULL, "9007199254740992", "9007199254740992"},
	{"Nullable(Float64)", 0, NULL, "\"x\"", "NULL"},
	{"Float32", 0, NULL, "0.5", "0.5"},
	/* times */
	{"DateTime", 0, NULL, "\"2023-11-14 22:13:20\"", "1700000000"},
	{"DateTime", 0, NULL, "\"2023-11-14T22:13:20.999Z\"", "1700000000"},
	{"DateTime", 0, NULL, "\"2023-11-15T03:43:20+05:30\"", "1700000000"},
	{"DateTime", 0, NULL, "1700000000", "1700000000"},
	{"DateTime", 0, NULL, "1700000000.9", "1700000000"},
	{"DateTime", SL_COLUMN_MILLISECONDS, NULL, "1700000000999", "1700000000"},
	{"DateTime", 0, NULL, "1700000000999", "0"},
	{"DateTime", 0, NULL, "\"1700000000\"", "0"},
	{"DateTime", SL_COLUMN_EITHER_UNIT, NULL, "1700000000", "1700000000"},
	{"DateTime", SL_COLUMN_EITHER_UNIT, NULL, "4294967295", "4294967295"},
	{"DateTime", SL_COLUMN_EITHER_UNIT, NULL, "4294967296", "4294967"},
	{"DateTime", SL_COLUMN_EITHER_UNIT, NULL, "1700000000999", "1700000000"},
	{"DateTime", SL_COLUMN_EITHER_UNIT, NULL, "1700000000999.5", "1700000000"},
	{"DateTime", SL_COLUMN_EITHER_UNIT, NULL, "\"1700000000999\"", "1700000000"},
	{"DateTime", SL_COLUMN_EITHER_UNIT, NULL, "\"1700000000\"", "1700000000"},
	{"DateTime", SL_COLUMN_EITHER_UNIT, NULL, "\"2023-11-14T22:13:20\"", "1700000000"},
	{"DateTime", SL_COLUMN_EITHER_UNIT, NULL, "\"2023-11-14 22:13:20\"", "1700000000"},
	{"DateTime", SL_COLUMN_EITHER_UNIT, NULL, "1700000000999000", "0"},
	{"DateTime", SL_COLUMN_EITHER_UNIT, NULL, "-1", "0"},
	{"DateTime", SL_COLUMN_EITHER_UNIT, NULL, "true", "0"},
	{"Nullable(DateTime)", SL_COLUMN_EITHER_UNIT, NULL, "\"yesterday\"", "NULL"},
	{"Nullable(DateTime)", SL_COLUMN_EITHER_UNIT, NULL, "{}", "NULL"},
	{"DateTime", 0, NULL, "\"yesterday\"", "0"},
	{"DateTime", 0, "2023-11-14 22:13:20", "\"yesterday\"", "1700000000"},
	{"DateTime", 0, NULL, "\"1960-01-01 00:00:00\"", "0"},
	{"DateTime", 0, NULL, "true", "0"},
	{"Nullable(DateTime)", 0, NULL, "null", "NULL"},
	{"Nullable(DateTime)", 0, NULL, "\"2023-02-30 00:00:00\"", "NULL"},
	{"DateTime('UTC')", 0, NULL, "\"2023-11-14T22:13:20\"", "1700000000"},
	{"Date", 0, NULL, "\"2023-11-14T22:13:20\"", "19675"},
	/* the time of insertion */
	{"DateTime", SL_COLUMN_NOW, NULL, "\"1999-01-01 00:00:00\"", "1700000000"},
	{"String", SL_COLUMN_NOW, NULL, "1", "2023-11-14 22:13:20"},
};

static void test_conversions(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(conversions) / sizeof(conversions[0]); i++) {
		const struct sl_sink_column columns[] = {
			{"id", "String", NULL, 0, NULL},
			{"v", conversions[i].type, NULL, conversions[i].flags, conversions[i].fallback},
			SL_END_OF_SINK_COLUMNS
		};
		const struct sl_sink sink = SL_SINK_INIT(.name = "s", .table = "t", .columns = columns, .identity = "id");
		struct bench bench;
		char json[300], cell[300];

		bench_open(&bench, &sink);
		str_format(json, sizeof(json), "{\"id\":\"a\",\"v\":%s}", conversions[i].json);
		decode(&bench, json);
		read_cell(&bench, 1, cell, sizeof(cell));
		if (!str_eq(cell, conversions[i].cell))
			fail_msg("%s into %s: \"%s\", not \"%s\"", conversions[i].json, conversions[i].type, cell,
				 conversions[i].cell);
		bench_close(&bench);
	}
}

static void test_text_keeps_every_byte(void **state)
{
	static const struct sl_sink_column columns[] = {{"id", "String", NULL, 0, NULL}, SL_END_OF_SINK_COLUMNS};
	static const struct sl_sink sink = SL_SINK_INIT(.name = "s", .table = "t", .columns = columns, .identity = "id");
	struct bench bench;
	size_t len;

	(void)state;
	bench_open(&bench, &sink);
	decode(&bench, "{\"id\":\"a\\u0000b\"}");
	assert_memory_equal(native_cell_string(bench.block, 0, 0, &len), "a\0b", 3);
	assert_int_equal(len, 3);
	bench_close(&bench);
}

static const struct sl_sink_column path_columns[] = {
	{"id", "String", NULL, 0, NULL},
	{"owner", "String", "user.pk|owner.id", 0, NULL},
	{"first", "Nullable(String)", "tags.0", 0, NULL},
	{"event", "String", "", 0, NULL},
	SL_END_OF_SINK_COLUMNS
};
static const struct sl_sink path_sink = SL_SINK_INIT(.name = "s", .table = "t", .columns = path_columns, .identity = "id");

static void test_paths(void **state)
{
	struct bench bench;

	(void)state;
	bench_open(&bench, &path_sink);
	decode(&bench, "{\"id\":\"a\",\"owner\":{\"id\":55},\"tags\":[\"x\",\"y\"]}");
	expect_text(&bench, "owner", "55");
	expect_text(&bench, "first", "x");
	expect_text(&bench, "event", "{\"id\":\"a\",\"owner\":{\"id\":55},\"tags\":[\"x\",\"y\"]}");
	bench_close(&bench);
}

static const struct sl_sink_column needed_columns[] = {
	{"id", "String", NULL, 0, NULL},
	{"n", "Int32", NULL, SL_COLUMN_NEEDED, NULL},
	{"deep", "Nullable(String)", "a.b|c.d", SL_COLUMN_NEEDED, NULL},
	SL_END_OF_SINK_COLUMNS
};
static const struct sl_sink needed_sink = SL_SINK_INIT(.name = "s", .table = "t", .columns = needed_columns,
						       .identity = "id");

static void test_needed(void **state)
{
	struct bench bench;

	(void)state;
	bench_open(&bench, &needed_sink);
	decode(&bench, "{\"id\":\"a\",\"n\":1,\"a\":{\"b\":\"x\"}}");
	decode(&bench, "{\"id\":\"b\",\"n\":null,\"c\":{\"d\":null}}");
	refuse(&bench, "{\"id\":\"c\",\"a\":{\"b\":1}}", "column", "has no n");
	refuse(&bench, "{\"id\":\"d\",\"n\":1,\"a\":{\"x\":1}}", "column", "has no a.b|c.d");
	refuse(&bench, "{\"id\":\"e\",\"n\":1}", "column", "has no a.b|c.d");
	decode(&bench, "{\"id\":\"f\",\"n\":2,\"c\":{\"d\":1}}");
	assert_int_equal(native_block_rows(bench.block), 3);
	expect_text(&bench, "id", "f");
	bench_close(&bench);
}

static void test_undecodable(void **state)
{
	struct bench bench;

	(void)state;
	bench_open(&bench, &path_sink);
	refuse(&bench, "{\"id\":", "json", "JSON");
	refuse(&bench, "", "json", "JSON");
	refuse(&bench, "[{\"id\":\"a\"}]", "json", "not a JSON object");
	refuse(&bench, "7", "json", "not a JSON object");
	bench_close(&bench);
}

static void test_identity_is_derived(void **state)
{
	static const struct sl_sink_column number_columns[] = {
		{"n", "UInt64", NULL, 0, NULL}, {"t", "String", NULL, 0, NULL}, SL_END_OF_SINK_COLUMNS
	};
	static const struct sl_sink number_sink = SL_SINK_INIT(.name = "s", .table = "t", .columns = number_columns,
							      .identity = "n");
	static const char *const without[] = {"{\"x\":1}", "{\"id\":null}", "{\"id\":\"\"}", "{\"id\":false}",
					      "{\"id\":[1]}"};
	char expected[UUID_TEXT_SIZE];
	struct error err;
	struct bench bench;
	const char *code;
	int64_t number;

	(void)state;
	bench_open(&bench, &path_sink);
	uuid_from(expected, "message/7/4", strlen("message/7/4"));
	for (size_t i = 0; i < sizeof(without) / sizeof(without[0]); i++) {
		assert_int_equal(decode_as(&bench, without[i], 4, &code, &err), 0);
		expect_text(&bench, "id", expected);
	}
	assert_int_equal(decode_as(&bench, without[0], 5, &code, &err), 0);
	uuid_from(expected, "message/7/5", strlen("message/7/5"));
	expect_text(&bench, "id", expected);
	decode(&bench, "{\"id\":0.10}");
	expect_text(&bench, "id", "0.10");
	bench_close(&bench);

	bench_open(&bench, &number_sink);
	decode(&bench, "{\"t\":\"x\"}");
	decode(&bench, "{\"t\":\"y\"}");
	decode(&bench, "{\"n\":0}");
	number = native_cell_int(bench.block, 0, 0);
	assert_true(number > 0);
	assert_true(native_cell_int(bench.block, 0, 1) == number);
	assert_true(native_cell_int(bench.block, 0, 2) == 0);
	bench_close(&bench);
}

/* --- transform --- */

static enum sl_result change(const struct sl_host *h, const struct sl_json *event, struct sl_row *row)
{
	const char *what = h->str(event, "what");

	if (str_eq(what, "refuse"))
		return SL_FAIL;
	if (str_eq(what, "unknown"))
		h->row_text(row, "no_such_column", "x");
	h->row_text(row, "id", h->str(event, "other.id"));
	h->row_int(row, "n", h->integer(event, "n", 0) * 2);
	h->row_float(row, "f", 0.25);
	h->row_text(row, "when", "2023-11-14 22:13:20");
	return SL_OK;
}

static const struct sl_sink_column changed_columns[] = {
	{"id", "String", NULL, 0, NULL}, {"n", "Nullable(Int32)", NULL, 0, NULL}, {"when", "DateTime", NULL, 0, NULL},
	{"f", "Float64", NULL, 0, NULL}, SL_END_OF_SINK_COLUMNS
};
static const struct sl_sink changed_sink = SL_SINK_INIT(.name = "s", .table = "t", .columns = changed_columns,
							.identity = "id", .transform = change);

static void test_transform(void **state)
{
	char expected[UUID_TEXT_SIZE];
	struct bench bench;

	(void)state;
	bench_open(&bench, &changed_sink);
	decode(&bench, "{\"id\":\"a\",\"n\":21,\"other\":{\"id\":77}}");
	expect_text(&bench, "id", "77");
	assert_int_equal(native_cell_int(bench.block, 1, 0), 42);
	assert_int_equal(native_cell_int(bench.block, 2, 0), 1700000000);
	assert_true(read_float(&bench, 3) == 0.25);
	/* What transform takes away is derived again; what does not fit is NULL. */
	decode(&bench, "{\"id\":\"a\",\"n\":2000000000}");
	expect_text(&bench, "id", uuid_from(expected, "message/7/0", strlen("message/7/0")));
	assert_true(native_cell_is_null(bench.block, 1, 1));
	refuse(&bench, "{\"id\":\"b\",\"what\":\"refuse\"}", "transform", "SL_FAIL");
	refuse(&bench, "{\"id\":\"b\",\"what\":\"unknown\"}", "transform", "no_such_column");
	bench_close(&bench);
}

/* What is another for each insert would keep a second row of an event for ever. */
static void test_replacing_plan(void **state)
{
	static const struct sl_sink_column columns[] = {{"id", "String", NULL, 0, NULL},
		{"at", "DateTime", NULL, 0, NULL}, {"at_now", "DateTime", NULL, SL_COLUMN_NOW, NULL}, SL_END_OF_SINK_COLUMNS};
	struct sl_sink sink = SL_SINK_INIT(.name = "orders", .table = "t", .columns = columns, .identity = "id",
					   .order_by = "at", .partition_by = "toYYYYMM(at)");
	struct arena *arena = arena_new();
	struct error err = { .code = ERR_NONE };
	const struct sink_table *plain = sink_table_new(&sink, "d", "t", arena, &err);

	(void)state;
	assert_non_null(plain);
	assert_true(sink_table_replacing(plain, arena, &err)->replacing);
	assert_false(plain->replacing);
	sink.order_by = "at, at_now";
	assert_null(sink_table_replacing(plain, arena, &err));
	assert_non_null(strstr(err.text, "sink orders: warehouse.engine cannot be replacing"));
	sink.order_by = "at";
	sink.partition_by = "toYYYYMM(at_now)";
	assert_null(sink_table_replacing(plain, arena, &err));
	arena_free(&arena);
}

static void test_plan_refuses(void **state)
{
	static const struct sl_sink_column bad_type[] = {{"id", "String", NULL, 0, NULL}, {"x", "Array(String)", NULL, 0, NULL},
							 SL_END_OF_SINK_COLUMNS};
	static const struct sl_sink_column bad_fallback[] = {{"id", "String", NULL, 0, NULL}, {"x", "Int8", NULL, 0, "300"},
							     SL_END_OF_SINK_COLUMNS};
	struct sl_sink sink = SL_SINK_INIT(.name = "orders", .table = "t", .columns = bad_type, .identity = "id");
	struct arena *arena = arena_new();
	struct error err = { .code = ERR_NONE };

	(void)state;
	assert_null(sink_table_new(&sink, "d", "t", arena, &err));
	assert_non_null(strstr(err.text, "sink orders: column x: type Array(String) is not supported"));
	sink.columns = bad_fallback;
	assert_null(sink_table_new(&sink, "d", "t", arena, &err));
	assert_non_null(strstr(err.text, "sink orders: fallback: column x: number 300"));
	arena_free(&arena);
}

static void test_partitions(void **state)
{
	static const struct sl_sink_column columns[] = {
		{"id", "String", NULL, 0, NULL}, {"at", "DateTime", NULL, 0, NULL}, SL_END_OF_SINK_COLUMNS
	};
	static const char *const events[] = {"{\"at\":\"2023-11-01\"}", "{\"at\":\"2023-11-30\"}", "{\"at\":\"2023-12-01\"}",
					     "{\"at\":\"2024-11-01 23:59:59\"}", "{\"at\":\"2024-11-01 00:00:00\"}"};
	struct sl_sink sink = SL_SINK_INIT(.name = "s", .table = "t", .columns = columns, .identity = "id",
					   .partition_by = "toYYYYMM(at)", .time_column = "at");
	int64_t key[5];
	struct bench bench;

	(void)state;
	for (int day = 0; day < 2; day++) {
		bench_open(&bench, &sink);
		for (size_t i = 0; i < 5; i++) {
			decode(&bench, events[i]);
			key[i] = sink_table_partition(bench.table, bench.block, i);
		}
		assert_int_equal(key[0] == key[1], !day);
		assert_true(key[1] != key[2]);
		assert_true(key[0] != key[3]);
		assert_true(key[3] == key[4]);
		bench_close(&bench);
		sink.partition_by = "toYYYYMMDD(at)";
	}
	sink.partition_by = "cityHash64(id)";
	bench_open(&bench, &sink);
	assert_int_equal(bench.table->split, SPLIT_UNKNOWN);
	bench_close(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_conversions),
		cmocka_unit_test(test_text_keeps_every_byte),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_needed),
		cmocka_unit_test(test_undecodable),
		cmocka_unit_test(test_identity_is_derived),
		cmocka_unit_test(test_transform),
		cmocka_unit_test(test_replacing_plan),
		cmocka_unit_test(test_plan_refuses),
		cmocka_unit_test(test_partitions),
	};

	return cmocka_run_group_tests_name("sink_decode", tests, NULL, NULL);
}
