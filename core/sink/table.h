/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a sink's declaration means for the warehouse: its table, and per column
 * how events fill it. Made once at start; read by the sink's thread.
 */
#ifndef SLUICE_SINK_TABLE_H
#define SLUICE_SINK_TABLE_H

#include <sluice/sink.h>

#include "base/error.h"
#include "warehouse/native.h"
#include "warehouse/warehouse.h"

struct arena;
struct buf;

struct sink_column {
	const char *name, *type_text;
	const char *path;		/* "" = the whole event */
	bool plain;			/* path is one member's name */
	unsigned int flags;		/* enum sl_sink_column_flags */
	const char *fallback;		/* NULL: none */
	struct native_type type;
};

/* How rows are told apart so that an insert meets one partition. */
enum sink_split {
	SPLIT_NONE,		/* the table has one partition */
	SPLIT_MONTH, SPLIT_DAY,	/* of the time column */
	SPLIT_UNKNOWN		/* an expression that is not computed here: blocks go as they are */
};

struct sink_table {
	const struct sl_sink *sink;
	const char *database, *name;
	struct sink_column *columns;
	size_t column_count;
	size_t identity;		/* index of its column */
	int time_column;		/* or -1 */
	enum sink_split split;
	bool replacing;			/* the table is made so that a second row of an event goes away again */
	size_t *prefix;			/* columns that lead to a row cheaply */
	size_t prefix_count;
	size_t *order;			/* columns that the table is ordered by, as far as they are plain ones */
	size_t order_count;
};

/* The database of the sinks' tables: the URL's, or the one where it names none; in the arena, or constant. */
const char *sink_database(const char *warehouse, struct arena *arena);
/*
 * table: its name. All is borrowed from or allocated in the arena. NULL with
 * ERR_INPUT naming sink and column when a type is not supported or a fallback
 * has no place in its column.
 */
const struct sink_table *sink_table_new(const struct sl_sink *sink, const char *database, const char *table,
					struct arena *arena, struct error *err);
/*
 * The same with replacing set. NULL with ERR_INPUT when its declaration cannot
 * do that: a column that is another for each insert tells rows apart.
 */
const struct sink_table *sink_table_replacing(const struct sink_table *table, struct arena *arena, struct error *err);
/* Creates or checks the table: warehouse_ensure_table, the sink's name put before errors. */
int sink_table_ensure(const struct sink_table *table, struct warehouse *wh, enum warehouse_durability durability,
		      struct error *err);
/* Compares the table and changes nothing: warehouse_check_table. */
int sink_table_check(const struct sink_table *table, struct warehouse *wh,
		     enum warehouse_durability durability, struct buf *advice, struct error *err);
/*
 * Opens the warehouse for this sink and makes its table ready. *durability is
 * lowered, and that logged, where the warehouse cannot fsync. Any thread.
 */
struct warehouse *sink_table_open(const struct sink_table *table, const char *url,
				  enum warehouse_durability *durability, struct error *err);
/* An empty block with the table's columns. */
struct native_block *sink_table_block(const struct sink_table *table);
/* Whether one complete row comes before the other in the table's order: less than 0, 0 or more, as memcmp. */
int sink_table_compare(const struct sink_table *table, const struct native_block *block, size_t left, size_t right);
/* The partition of a complete row, as a number that is equal for equal partitions. */
int64_t sink_table_partition(const struct sink_table *table, const struct native_block *block, size_t row);

#endif
