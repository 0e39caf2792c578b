/* SPDX-License-Identifier: Apache-2.0 */
/* Native blocks, byte by byte: types, ranges, NULLs, rolled-back rows, slices. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/error.h"
#include "warehouse/native.h"

static struct native_block *block_of(const char *const *columns)
{
	struct native_block *block = native_block_new();
	struct error err = {0};

	for (; *columns; columns += 2)
		if (native_block_add(block, columns[0], columns[1], &err) < 0)
			fail_msg("%s", err.text);
	return block;
}

static void expect_bytes(const struct buf *out, const char *bytes, size_t len)
{
	assert_int_equal(out->len, len);
	assert_memory_equal(out->data, bytes, len);
}

#define EXPECT(out, literal) expect_bytes((out), (literal), sizeof(literal) - 1)

static void test_types(void **state)
{
	static const struct {
		const char *text;
		enum native_kind kind;
		unsigned width;
		bool nullable;
	} good[] = {
		{"String", NATIVE_STRING, 0, false}, {"Nullable(String)", NATIVE_STRING, 0, true},
		{"UInt8", NATIVE_UINT, 1, false}, {"Int64", NATIVE_INT, 8, false},
		{"Float32", NATIVE_FLOAT, 4, false}, {"Bool", NATIVE_BOOL, 1, false},
		{"Date", NATIVE_DATE, 2, false}, {"DateTime", NATIVE_DATETIME, 4, false},
		{"Nullable(DateTime('UTC'))", NATIVE_DATETIME, 4, true},
	};
	static const char *const bad[] = {
		"", "string", "Nullable(Nullable(String))", "LowCardinality(String)", "DateTime64(3)",
		"Nullable(",
		"DateTime('Europe/Berlin')", "UInt128", "String ", "Nullable()", "Array(String)",
	};
	struct native_type type;
	struct error err;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(native_type_parse(good[i].text, &type, &err), 0);
		assert_int_equal(type.kind, good[i].kind);
		assert_int_equal(type.width, good[i].width);
		assert_int_equal(type.nullable, good[i].nullable);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		error_clear(&err);
		assert_int_equal(native_type_parse(bad[i], &type, &err), -1);
		assert_int_equal(err.code, ERR_INPUT);
		assert_non_null(strstr(err.text, "is not supported"));
	}
}

static void test_bytes_of_every_type(void **state)
{
	static const char *const columns[] = {
		"s", "String", "ns", "Nullable(String)", "i8", "Int8", "u16", "UInt16", "i32", "Int32",
		"u64", "UInt64",
		"f", "Float64", "g", "Float32", "b", "Bool", "d", "Date", "t", "DateTime('UTC')",
		"nt", "Nullable(DateTime)",
		NULL
	};
	struct native_block *block = block_of(columns);
	struct buf out;

	(void)state;
	buf_init(&out);
	assert_int_equal(native_put_string(block, 0, "a\n\0b", 4, NULL), 0);
	assert_int_equal(native_put_null(block, 1, NULL), 0);
	assert_int_equal(native_put_int(block, 2, -128, NULL), 0);
	assert_int_equal(native_put_int(block, 3, 65535, NULL), 0);
	assert_int_equal(native_put_int(block, 4, INT32_MIN, NULL), 0);
	assert_int_equal(native_put_uint(block, 5, UINT64_MAX, NULL), 0);
	assert_int_equal(native_put_double(block, 6, 1.5, NULL), 0);
	assert_int_equal(native_put_int(block, 7, -2, NULL), 0);
	assert_int_equal(native_put_bool(block, 8, true, NULL), 0);
	assert_int_equal(native_put_time(block, 9, 86400 * 3 + 5, NULL), 0);
	assert_int_equal(native_put_time(block, 10, 1, NULL), 0);
	assert_int_equal(native_put_time(block, 11, UINT32_MAX, NULL), 0);
	native_block_end_row(block);
	native_block_end_row(block);	/* a row of nothing but defaults */
	native_block_encode(block, 0, 2, &out);
	EXPECT(&out,
	       "\x0c\x02"
	       "\x01s\x06String" "\x04" "a\n\0b" "\x00"
	       "\x02ns\x10Nullable(String)" "\x01\x01" "\x00" "\x00"
	       "\x02i8\x04Int8" "\x80" "\x00"
	       "\x03u16\x06UInt16" "\xff\xff" "\x00\x00"
	       "\x03i32\x05Int32" "\x00\x00\x00\x80" "\x00\x00\x00\x00"
	       "\x03u64\x06UInt64" "\xff\xff\xff\xff\xff\xff\xff\xff" "\0\0\0\0\0\0\0\0"
	       "\x01" "f\x07" "Float64" "\0\0\0\0\0\0\xf8\x3f" "\0\0\0\0\0\0\0\0"
	       "\x01g\x07" "Float32" "\x00\x00\x00\xc0" "\0\0\0\0"
	       "\x01" "b\x04" "Bool" "\x01\x00"
	       "\x01" "d\x04" "Date" "\x03\x00" "\x00\x00"
	       "\x01t\x0f" "DateTime('UTC')" "\x01\0\0\0" "\0\0\0\0"
	       "\x02nt\x12Nullable(DateTime)" "\x00\x01" "\xff\xff\xff\xff" "\0\0\0\0");
	buf_fini(&out);
	native_block_free(&block);
	assert_null(block);
}

static void test_long_string_length_is_a_varint(void **state)
{
	static const char *const columns[] = {"s", "String", NULL};
	struct native_block *block = block_of(columns);
	char text[300];
	const char *back;
	size_t len;
	struct buf out;

	(void)state;
	buf_init(&out);
	memset(text, 'x', sizeof(text));
	assert_int_equal(native_put_string(block, 0, text, sizeof(text), NULL), 0);
	native_block_end_row(block);
	assert_int_equal(native_block_bytes(block), 302);
	native_block_encode(block, 0, 1, &out);
	assert_int_equal(out.len, 2 + 2 + 7 + 302);
	assert_memory_equal(out.data + 11, "\xac\x02xx", 4);
	back = native_cell_string(block, 0, 0, &len);
	assert_int_equal(len, sizeof(text));
	assert_memory_equal(back, text, len);
	buf_fini(&out);
	native_block_free(&block);
}

/* What must be refused, and that a refusal leaves the column as it was. */
static void test_ranges(void **state)
{
	static const char *const columns[] = {
		"i8", "Int8", "u32", "UInt32", "i64", "Int64", "b", "Bool", "d", "Date", "t", "DateTime",
		"s", "String",
		"u64", "UInt64", "g", "Float32", NULL
	};
	struct native_block *block = block_of(columns);
	struct error err = {0};

	(void)state;
	assert_int_equal(native_put_int(block, 0, 128, &err), -1);
	assert_int_equal(err.code, ERR_INPUT);
	assert_string_equal(err.text, "column i8: number 128 has no place in Int8");
	assert_int_equal(native_put_int(block, 0, -129, &err), -1);
	assert_int_equal(native_put_int(block, 1, -1, &err), -1);
	assert_string_equal(err.text, "column u32: number -1 has no place in UInt32");
	assert_int_equal(native_put_int(block, 1, 4294967296, &err), -1);
	assert_int_equal(native_put_uint(block, 2, (uint64_t)INT64_MAX + 1, &err), -1);
	assert_int_equal(native_put_int(block, 3, 2, &err), -1);
	assert_int_equal(native_put_time(block, 4, 65536LL * 86400, &err), -1);
	assert_int_equal(native_put_time(block, 4, -1, &err), -1);
	assert_int_equal(native_put_time(block, 5, 4294967296, &err), -1);
	assert_int_equal(native_put_int(block, 6, 1, &err), -1);
	assert_int_equal(native_put_string(block, 5, "2020", 4, &err), -1);
	assert_string_equal(err.text, "column t: text \"2020\" has no place in DateTime");
	assert_int_equal(native_put_null(block, 6, &err), -1);
	assert_string_equal(err.text, "column s: null has no place in String");
	assert_int_equal(native_put_double(block, 7, 1.5, &err), -1);
	assert_int_equal(native_put_double(block, 7, 18446744073709551616.0, &err), -1);
	assert_int_equal(native_put_double(block, 8, 1e300, &err), -1);
	for (size_t i = 0; i < native_block_columns(block); i++)
		assert_false(native_is_put(block, i));

	assert_int_equal(native_put_int(block, 0, 127, &err), 0);
	assert_int_equal(native_put_uint(block, 1, 4294967295, &err), 0);
	assert_int_equal(native_put_int(block, 2, INT64_MIN, &err), 0);
	assert_int_equal(native_put_double(block, 7, 9007199254740992.0, &err), 0);
	assert_true(native_is_put(block, 7));
	native_block_end_row(block);
	assert_int_equal(native_cell_int(block, 0, 0), 127);
	assert_int_equal(native_cell_int(block, 1, 0), 4294967295);
	assert_true(native_cell_int(block, 2, 0) == INT64_MIN);
	assert_true(native_cell_int(block, 7, 0) == 9007199254740992);
	native_block_free(&block);
}

static struct native_block *three_rows(void)
{
	static const char *const columns[] = {"s", "Nullable(String)", "n", "Int16", NULL};
	struct native_block *block = block_of(columns);

	native_put_string(block, 0, "one", 3, NULL);
	native_put_int(block, 1, 1, NULL);
	native_block_end_row(block);
	native_put_int(block, 1, -2, NULL);
	native_block_end_row(block);
	native_put_string(block, 0, "three", 5, NULL);
	native_put_int(block, 1, 3, NULL);
	native_block_end_row(block);
	return block;
}

static void test_dropped_row_leaves_nothing(void **state)
{
	struct native_block *block = three_rows();
	struct buf before, after;
	size_t bytes = native_block_bytes(block);

	(void)state;
	buf_init(&before);
	buf_init(&after);
	native_block_encode(block, 0, 3, &before);
	native_put_string(block, 0, "half", 4, NULL);
	assert_int_equal(native_put_int(block, 1, 40000, NULL), -1);
	native_block_drop_row(block);
	assert_int_equal(native_block_bytes(block), bytes);
	native_block_encode(block, 0, 3, &after);
	expect_bytes(&after, before.data, before.len);
	native_put_string(block, 0, "first thought", 13, NULL);
	native_unput(block, 0);
	native_unput(block, 0);
	assert_false(native_is_put(block, 0));
	assert_int_equal(native_put_null(block, 0, NULL), 0);
	native_block_drop_row(block);
	assert_int_equal(native_block_bytes(block), bytes);
	assert_int_equal(native_block_rows(block), 3);
	native_block_clear(block);
	assert_int_equal(native_block_rows(block), 0);
	assert_int_equal(native_block_bytes(block), 0);
	buf_clear(&after);
	native_block_encode(block, 0, 0, &after);
	EXPECT(&after, "\x02\x00\x01s\x10Nullable(String)\x01n\x05Int16");
	buf_fini(&before);
	buf_fini(&after);
	native_block_free(&block);
}

static void test_slices_and_lists(void **state)
{
	static const uint32_t picked[] = {2, 0};
	struct native_block *block = three_rows();
	struct buf out;

	(void)state;
	buf_init(&out);
	native_block_encode(block, 1, 3, &out);
	EXPECT(&out, "\x02\x02" "\x01s\x10Nullable(String)" "\x01\x00" "\x00" "\x05three" "\x01n\x05Int16"
	       "\xfe\xff\x03\x00");
	buf_clear(&out);
	native_block_encode_rows(block, picked, 2, &out);
	EXPECT(&out, "\x02\x02" "\x01s\x10Nullable(String)" "\x00\x00" "\x05three" "\x03one" "\x01n\x05Int16"
	       "\x03\x00\x01\x00");
	assert_true(native_cell_is_null(block, 0, 1));
	assert_false(native_cell_is_null(block, 0, 2));
	assert_int_equal(native_cell_int(block, 1, 1), -2);
	buf_fini(&out);
	native_block_free(&block);
}

static void test_column_twice(void **state)
{
	static const char *const columns[] = {"s", "String", NULL};
	struct native_block *block = block_of(columns);
	struct error err = {0};

	(void)state;
	assert_int_equal(native_block_add(block, "s", "Int8", &err), -1);
	assert_string_equal(err.text, "column s stands twice");
	assert_int_equal(native_block_add(block, "x", "UUID", &err), -1);
	assert_non_null(strstr(err.text, "column x: type UUID is not supported"));
	assert_int_equal(native_block_columns(block), 1);
	assert_int_equal(native_block_find(block, "x"), -1);
	native_block_free(&block);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_bytes_of_every_type),
		cmocka_unit_test(test_long_string_length_is_a_varint),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_dropped_row_leaves_nothing),
		cmocka_unit_test(test_slices_and_lists),
		cmocka_unit_test(test_column_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
