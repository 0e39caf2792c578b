/* SPDX-License-Identifier: Apache-2.0 */
/* What the cases of warehouse_test.c, which includes it, do all the time: ask, insert, make blocks. */
#ifndef SLUICE_TESTS_WAREHOUSE_HELPERS_H
#define SLUICE_TESTS_WAREHOUSE_HELPERS_H

#define DB "sluice_contract"

#include "warehouse_ask.h"

static const char *url;

/* Helpers */

static int insert_as(struct warehouse *handle, const char *table, const struct native_block *block,
		     const struct buf *data, const char *token, struct error *err)
{
	static atomic_int inserts;
	char query_id[64];
	struct warehouse_insert insert = {
		.database = DB, .table = table, .block = block, .data = data, .query_id = query_id,
		.dedup_token = token, .deadline_ms = 60000, .durability = WAREHOUSE_INSERTED
	};

	snprintf(query_id, sizeof(query_id), "node/contract/%d/%d", (int)getpid(), ++inserts);
	return warehouse_insert(handle, &insert, err);
}

static void insert_all(const char *table, const struct native_block *block)
{
	struct error err = {0};

	must(insert_as(wh, table, block, NULL, NULL, &err), &err);
}

static struct warehouse_table table_of(const char *name, const struct warehouse_column *columns, size_t count)
{
	return (struct warehouse_table){
		.database = DB, .name = name, .columns = columns, .column_count = count,
		.engine = "MergeTree", .order_by = columns[0].name, .durability = WAREHOUSE_INSERTED
	};
}

static struct native_block *block_for(const struct warehouse_table *table)
{
	struct native_block *block = native_block_new();
	struct error err = {0};

	for (size_t i = 0; i < table->column_count; i++)
		must(native_block_add(block, table->columns[i].name, table->columns[i].type, &err), &err);
	return block;
}

static const struct warehouse_column id_and_n[] = {
	{"id", "String", NULL, NULL}, {"n", "UInt64", NULL, NULL}
};

static void put_id(struct native_block *block, const char *id, uint64_t n)
{
	native_put_string(block, 0, id, strlen(id), NULL);
	native_put_uint(block, 1, n, NULL);
	native_block_end_row(block);
}

/* Creates a table of (id String, n UInt64) and returns an empty block for it. */
static struct native_block *id_table(const char *name)
{
	struct warehouse_table table = table_of(name, id_and_n, 2);
	struct error err = {0};

	must(warehouse_ensure_table(wh, &table, &err), &err);
	return block_for(&table);
}

#endif
