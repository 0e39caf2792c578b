/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks in ClickHouse's Native format: columns filled cell by cell, encoded
 * whole, by slice or by a list of rows. The encoded form is what
 * INSERT INTO t (names) FORMAT Native takes. Not thread-safe; one thread owns
 * a block at a time.
 *
 * A row is open until native_block_end_row; native_block_drop_row takes back
 * the cells given so far, so that a row that fails half-way leaves nothing.
 */
#ifndef SLUICE_WAREHOUSE_NATIVE_H
#define SLUICE_WAREHOUSE_NATIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct error;

enum native_kind {
	NATIVE_STRING,
	NATIVE_INT,		/* two's complement, width bytes */
	NATIVE_UINT,
	NATIVE_FLOAT,
	NATIVE_DATETIME,	/* seconds since 1970 UTC in 32 bits */
	NATIVE_DATE,		/* days since 1970 in 16 bits */
	NATIVE_BOOL
};

struct native_type {
	enum native_kind kind;
	unsigned width;		/* bytes per value; 0 for strings */
	bool nullable;
};

/*
 * Reads String, (U)Int8..64, Float32/64, Bool, Date, DateTime, DateTime('UTC')
 * and Nullable(...) of them. Anything else is ERR_INPUT naming the type.
 */
int native_type_parse(const char *text, struct native_type *type_r, struct error *err);

struct native_block;

struct native_block *native_block_new(void);
void native_block_free(struct native_block **block);
/*
 * Adds a column; only while the block has no rows. name and type are copied.
 * ERR_INPUT: the type is not supported, or the name stands twice.
 */
int native_block_add(struct native_block *block, const char *name, const char *type, struct error *err);
size_t native_block_columns(const struct native_block *block);
size_t native_block_rows(const struct native_block *block);
/* Bytes the complete rows will take when encoded, headers left out: what a batch limit is checked against. */
size_t native_block_bytes(const struct native_block *block);
/* borrowed; column < native_block_columns */
const char *native_block_name(const struct native_block *block, size_t column);
const char *native_block_type_text(const struct native_block *block, size_t column);
const struct native_type *native_block_type(const struct native_block *block, size_t column);
/* Index of the column, or -1. */
int native_block_find(const struct native_block *block, const char *name);

/*
 * Give the open row its cell in a column, once. Each checks that the value has
 * a place in the column's type: ERR_INPUT names column, value and type, and
 * leaves the column as it was. ERR_LIMIT: the column would pass 1 GiB.
 *
 * int and uint go into every numeric kind whose range holds them, into Bool
 * when 0 or 1, into DateTime as seconds, into Date as days. A double goes into
 * an integer column only when it is whole. time (seconds since 1970) goes into
 * DateTime, Date and integer columns. Strings go into String columns only.
 */
int native_put_string(struct native_block *block, size_t column, const char *bytes, size_t len,
		      struct error *err);
int native_put_int(struct native_block *block, size_t column, int64_t value, struct error *err);
int native_put_uint(struct native_block *block, size_t column, uint64_t value, struct error *err);
int native_put_double(struct native_block *block, size_t column, double value, struct error *err);
int native_put_bool(struct native_block *block, size_t column, bool value, struct error *err);
int native_put_time(struct native_block *block, size_t column, int64_t epoch_s, struct error *err);
/* ERR_INPUT when the column is not Nullable. */
int native_put_null(struct native_block *block, size_t column, struct error *err);
/* NULL for a Nullable column, else the type's zero. */
void native_put_default(struct native_block *block, size_t column);
/* True when the open row has its cell in this column. */
bool native_is_put(const struct native_block *block, size_t column);
/* Takes the open row's cell in this column back, if it has one, so that another can be put. */
void native_unput(struct native_block *block, size_t column);

/* Completes the open row; a column without a cell gets its default. */
void native_block_end_row(struct native_block *block);
/* Forgets the cells of the open row. */
void native_block_drop_row(struct native_block *block);
/* Forgets all rows; columns and memory are kept. */
void native_block_clear(struct native_block *block);

/* Reading back: row < native_block_rows. */
bool native_cell_is_null(const struct native_block *block, size_t column, size_t row);
/* A String cell; borrowed until the block changes. */
const char *native_cell_string(const struct native_block *block, size_t column, size_t row, size_t *len_r);
/* A cell of an integer, Bool, Date or DateTime column; UInt64 above INT64_MAX wraps. */
int64_t native_cell_int(const struct native_block *block, size_t column, size_t row);

/* Append the rows [from, to), or the rows listed, to out as one Native block. */
void native_block_encode(const struct native_block *block, size_t from, size_t to, struct buf *out);
void native_block_encode_rows(const struct native_block *block, const uint32_t *rows, size_t count,
			      struct buf *out);

#endif
