/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the cells of blocks on their way into ClickHouse, already in the byte
 * order of the wire: encoding a slice is three copies per column. Runs in the
 * thread of the consumer that owns the block.
 */
#include "warehouse/native.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "Native is little-endian; so must this machine be");

#define COLUMN_MAX ((size_t)1 << 30)
#define VARINT_MAX 10	/* bytes of 64 bits, seven in each */

struct column {
	char *name;
	char *type_text;
	struct native_type type;
	size_t cells;
	struct buf nulls;	/* a byte per cell; Nullable only */
	struct buf data;	/* values, or for strings length + bytes */
	struct buf ends;	/* strings: where each cell ends in data, uint32_t */
};

struct native_block {
	struct column *columns;
	size_t count;
	size_t rows;
};

static const struct {
	const char *name;
	enum native_kind kind;
	unsigned width;
} type_names[] = {
	{"String", NATIVE_STRING, 0},
	{"Int8", NATIVE_INT, 1},	{"Int16", NATIVE_INT, 2},
	{"Int32", NATIVE_INT, 4},	{"Int64", NATIVE_INT, 8},
	{"UInt8", NATIVE_UINT, 1},	{"UInt16", NATIVE_UINT, 2},
	{"UInt32", NATIVE_UINT, 4},	{"UInt64", NATIVE_UINT, 8},
	{"Float32", NATIVE_FLOAT, 4},	{"Float64", NATIVE_FLOAT, 8},
	{"Bool", NATIVE_BOOL, 1},
	{"Date", NATIVE_DATE, 2},
	{"DateTime", NATIVE_DATETIME, 4}, {"DateTime('UTC')", NATIVE_DATETIME, 4},
};

int native_type_parse(const char *text, struct native_type *type_r, struct error *err)
{
	const char *inner = text;
	size_t len = strlen(text);
	bool nullable = str_starts(text, "Nullable(") && str_ends(text, ")");

	if (nullable) {
		inner += strlen("Nullable(");
		len -= strlen("Nullable()");
	}
	for (size_t i = 0; i < sizeof(type_names) / sizeof(type_names[0]); i++) {
		if (strlen(type_names[i].name) != len || memcmp(type_names[i].name, inner, len) != 0)
			continue;
		type_r->kind = type_names[i].kind;
		type_r->width = type_names[i].width;
		type_r->nullable = nullable;
		return 0;
	}
	return error_set(err, ERR_INPUT, "type %s is not supported: use String, Int8 to Int64, "
			 "UInt8 to UInt64, Float32, Float64, Bool, Date, DateTime, DateTime('UTC') or "
			 "Nullable(one of them)", text);
}

struct native_block *native_block_new(void)
{
	return mem_alloc(sizeof(struct native_block));
}

void native_block_free(struct native_block **block)
{
	struct native_block *b = *block;

	if (!b)
		return;
	for (size_t i = 0; i < b->count; i++) {
		mem_free(&b->columns[i].name);
		mem_free(&b->columns[i].type_text);
		buf_fini(&b->columns[i].nulls);
		buf_fini(&b->columns[i].data);
		buf_fini(&b->columns[i].ends);
	}
	mem_free(&b->columns);
	mem_free(block);
}

int native_block_add(struct native_block *block, const char *name, const char *type, struct error *err)
{
	struct native_type parsed;
	struct column *col;

	assert(block->rows == 0);
	if (native_type_parse(type, &parsed, err) < 0)
		return error_prefix(err, "column %s", name);
	if (native_block_find(block, name) >= 0)
		return error_set(err, ERR_INPUT, "column %s stands twice", name);
	block->columns = mem_realloc(block->columns, (block->count + 1) * sizeof(*block->columns));
	col = &block->columns[block->count++];
	memset(col, 0, sizeof(*col));
	col->name = mem_strdup(name);
	col->type_text = mem_strdup(type);
	col->type = parsed;
	buf_init(&col->nulls);
	buf_init(&col->data);
	buf_init(&col->ends);
	return 0;
}

size_t native_block_columns(const struct native_block *block)
{
	return block->count;
}

size_t native_block_rows(const struct native_block *block)
{
	return block->rows;
}

static size_t data_end(const struct column *col, size_t rows);

size_t native_block_bytes(const struct native_block *block)
{
	size_t bytes = 0;

	for (size_t i = 0; i < block->count; i++)
		bytes += data_end(&block->columns[i], block->rows) +
			 (block->columns[i].type.nullable ? block->rows : 0);
	return bytes;
}

const char *native_block_name(const struct native_block *block, size_t column)
{
	assert(column < block->count);
	return block->columns[column].name;
}

const char *native_block_type_text(const struct native_block *block, size_t column)
{
	assert(column < block->count);
	return block->columns[column].type_text;
}

const struct native_type *native_block_type(const struct native_block *block, size_t column)
{
	assert(column < block->count);
	return &block->columns[column].type;
}

int native_block_find(const struct native_block *block, const char *name)
{
	for (size_t i = 0; i < block->count; i++)
		if (str_eq(block->columns[i].name, name))
			return (int)i;
	return -1;
}

/* Cells */

static struct column *open_cell(struct native_block *block, size_t column)
{
	assert(column < block->count && block->columns[column].cells == block->rows);
	return &block->columns[column];
}

/* "column x: <value> has no place in T" */
static int refuse(const struct column *col, struct error *err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int refuse(const struct column *col, struct error *err, const char *fmt, ...)
{
	char value[100];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(value, sizeof(value), fmt, ap);
	va_end(ap);
	return error_set(err, ERR_INPUT, "column %s: %s has no place in %s", col->name, value,
			 col->type_text);
}

static void put_cell(struct column *col, bool is_null, const void *value)
{
	if (col->type.nullable)
		buf_addc(&col->nulls, is_null);
	buf_add(&col->data, value, col->type.width);
	col->cells++;
}

/* At most VARINT_MAX bytes; returns what is behind them. */
static char *write_varint(char *to, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		*to++ = (char)(value | 0x80);
	*to++ = (char)value;
	return to;
}

static void put_varint(struct buf *out, uint64_t value)
{
	char bytes[VARINT_MAX];

	buf_add(out, bytes, (size_t)(write_varint(bytes, value) - bytes));
}

/* Three or four of these make most rows: room is asked for once for length and bytes. */
static void put_string_cell(struct column *col, bool is_null, const char *bytes, size_t len)
{
	char *start = buf_reserve(&col->data, VARINT_MAX + len), *to = write_varint(start, len);
	uint32_t end;

	if (len)
		memcpy(to, bytes, len);
	to[len] = '\0';
	col->data.len += (size_t)(to - start) + len;
	if (col->type.nullable)
		buf_addc(&col->nulls, is_null);
	end = (uint32_t)col->data.len;
	buf_add(&col->ends, &end, sizeof(end));
	col->cells++;
}

int native_put_string(struct native_block *block, size_t column, const char *bytes, size_t len,
		      struct error *err)
{
	struct column *col = open_cell(block, column);

	if (col->type.kind != NATIVE_STRING)
		return refuse(col, err, "text \"%.*s\"", (int)(len > 60 ? 60 : len), bytes);
	if (len > COLUMN_MAX || col->data.len + len > COLUMN_MAX)
		return error_set(err, ERR_LIMIT, "column %s: more than %zu bytes in one block", col->name,
				 COLUMN_MAX);
	put_string_cell(col, false, bytes, len);
	return 0;
}

static uint64_t uint_max(unsigned width)
{
	return width == 8 ? UINT64_MAX : ((uint64_t)1 << (8 * width)) - 1;
}

/* Magnitude and sign apart, so that one check serves the whole range of both 64-bit types. */
static int put_integer(struct native_block *block, size_t column, bool negative, uint64_t magnitude,
		       struct error *err)
{
	struct column *col = open_cell(block, column);
	uint64_t bits = negative ? 0 - magnitude : magnitude;
	uint64_t max = 0;
	double f64 = negative ? -(double)magnitude : (double)magnitude;
	float f32 = (float)f64;

	switch (col->type.kind) {
	case NATIVE_FLOAT:
		put_cell(col, false, col->type.width == 8 ? (const void *)&f64 : &f32);
		return 0;
	case NATIVE_INT:
		max = uint_max(col->type.width) / 2 + (negative ? 1 : 0);
		break;
	case NATIVE_UINT:
	case NATIVE_DATE:
	case NATIVE_DATETIME:
		max = negative ? 0 : uint_max(col->type.width);
		break;
	case NATIVE_BOOL:
		max = negative ? 0 : 1;
		break;
	case NATIVE_STRING:
		break;
	}
	if (col->type.kind == NATIVE_STRING || magnitude > max)
		return refuse(col, err, "number %s%" PRIu64, negative ? "-" : "", magnitude);
	put_cell(col, false, &bits);
	return 0;
}

int native_put_int(struct native_block *block, size_t column, int64_t value, struct error *err)
{
	return put_integer(block, column, value < 0, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, err);
}

int native_put_uint(struct native_block *block, size_t column, uint64_t value, struct error *err)
{
	return put_integer(block, column, false, value, err);
}

int native_put_double(struct native_block *block, size_t column, double value, struct error *err)
{
	struct column *col = open_cell(block, column);
	float narrow = (float)value;

	if (col->type.kind == NATIVE_FLOAT) {
		if (col->type.width == 4 && isfinite(value) && !isfinite(narrow))
			return refuse(col, err, "number %g", value);
		put_cell(col, false, col->type.width == 8 ? (const void *)&value : &narrow);
		return 0;
	}
	/* 2^64 is the first double that no 64-bit integer holds. */
	if (!isfinite(value) || trunc(value) != value || fabs(value) >= 18446744073709551616.0)
		return refuse(col, err, "number %g", value);
	return put_integer(block, column, value < 0, (uint64_t)fabs(value), err);
}

int native_put_bool(struct native_block *block, size_t column, bool value, struct error *err)
{
	return put_integer(block, column, false, value, err);
}

int native_put_time(struct native_block *block, size_t column, int64_t epoch_s, struct error *err)
{
	struct column *col = open_cell(block, column);

	if (col->type.kind == NATIVE_DATE && epoch_s >= 0)
		epoch_s /= 86400;
	else if (col->type.kind == NATIVE_FLOAT || col->type.kind == NATIVE_BOOL)
		return refuse(col, err, "a time");
	return native_put_int(block, column, epoch_s, err);
}

static void put_zero(struct column *col, bool is_null)
{
	static const char zero[8];

	if (col->type.kind == NATIVE_STRING)
		put_string_cell(col, is_null, NULL, 0);
	else
		put_cell(col, is_null, zero);
}

int native_put_null(struct native_block *block, size_t column, struct error *err)
{
	struct column *col = open_cell(block, column);

	if (!col->type.nullable)
		return refuse(col, err, "null");
	put_zero(col, true);
	return 0;
}

void native_put_default(struct native_block *block, size_t column)
{
	struct column *col = open_cell(block, column);

	put_zero(col, col->type.nullable);
}

bool native_is_put(const struct native_block *block, size_t column)
{
	assert(column < block->count);
	return block->columns[column].cells > block->rows;
}

/* Rows */

static uint32_t string_end(const struct column *col, size_t rows)
{
	uint32_t end = 0;

	if (rows)
		memcpy(&end, col->ends.data + (rows - 1) * sizeof(end), sizeof(end));
	return end;
}

/* Where the first rows cells end in data. */
static size_t data_end(const struct column *col, size_t rows)
{
	return col->type.kind == NATIVE_STRING ? string_end(col, rows) : rows * col->type.width;
}

void native_block_end_row(struct native_block *block)
{
	for (size_t i = 0; i < block->count; i++)
		if (!native_is_put(block, i))
			native_put_default(block, i);
	block->rows++;
}

static void cut_column(struct column *col, size_t rows)
{
	if (col->cells == rows)
		return;
	col->data.len = data_end(col, rows);
	if (col->type.nullable)
		col->nulls.len = rows;
	if (col->type.kind == NATIVE_STRING)
		col->ends.len = rows * sizeof(uint32_t);
	col->cells = rows;
}

void native_unput(struct native_block *block, size_t column)
{
	assert(column < block->count);
	cut_column(&block->columns[column], block->rows);
}

void native_block_drop_row(struct native_block *block)
{
	for (size_t i = 0; i < block->count; i++)
		cut_column(&block->columns[i], block->rows);
}

void native_block_clear(struct native_block *block)
{
	block->rows = 0;
	native_block_drop_row(block);
}

static const struct column *cell(const struct native_block *block, size_t column, size_t row)
{
	assert(column < block->count && row < block->rows);
	return &block->columns[column];
}

bool native_cell_is_null(const struct native_block *block, size_t column, size_t row)
{
	const struct column *col = cell(block, column, row);

	return col->type.nullable && col->nulls.data[row];
}

const char *native_cell_string(const struct native_block *block, size_t column, size_t row, size_t *len_r)
{
	const struct column *col = cell(block, column, row);
	const char *at;

	assert(col->type.kind == NATIVE_STRING);
	at = col->data.data + string_end(col, row);
	while (*at & 0x80)
		at++;
	at++;
	*len_r = (size_t)(col->data.data + string_end(col, row + 1) - at);
	return at;
}

int64_t native_cell_int(const struct native_block *block, size_t column, size_t row)
{
	const struct column *col = cell(block, column, row);
	unsigned width = col->type.width;
	uint64_t bits = 0;

	assert(col->type.kind != NATIVE_STRING && col->type.kind != NATIVE_FLOAT);
	memcpy(&bits, col->data.data + row * width, width);
	if (col->type.kind == NATIVE_INT && width < 8 && (bits >> (8 * width - 1)))
		bits |= ~uint_max(width);
	return (int64_t)bits;
}

/* Encoding */

static void put_text(struct buf *out, const char *text)
{
	put_varint(out, strlen(text));
	buf_adds(out, text);
}

static void put_header(struct buf *out, const struct native_block *block, size_t rows)
{
	put_varint(out, block->count);
	put_varint(out, rows);
}

static void put_column_header(struct buf *out, const struct column *col)
{
	put_text(out, col->name);
	put_text(out, col->type_text);
}

void native_block_encode(const struct native_block *block, size_t from, size_t to, struct buf *out)
{
	assert(from <= to && to <= block->rows);
	put_header(out, block, to - from);
	for (size_t i = 0; i < block->count; i++) {
		const struct column *col = &block->columns[i];
		size_t start = data_end(col, from);

		put_column_header(out, col);
		if (from == to)
			continue;
		if (col->type.nullable)
			buf_add(out, col->nulls.data + from, to - from);
		buf_add(out, col->data.data + start, data_end(col, to) - start);
	}
}

void native_block_encode_rows(const struct native_block *block, const uint32_t *rows, size_t count,
			      struct buf *out)
{
	put_header(out, block, count);
	for (size_t i = 0; i < block->count; i++) {
		const struct column *col = &block->columns[i];

		put_column_header(out, col);
		for (size_t r = 0; col->type.nullable && r < count; r++)
			buf_addc(out, col->nulls.data[rows[r]]);
		for (size_t r = 0; r < count; r++) {
			size_t start = data_end(col, rows[r]);

			assert(rows[r] < block->rows);
			buf_add(out, col->data.data + start, data_end(col, rows[r] + (size_t)1) - start);
		}
	}
}
