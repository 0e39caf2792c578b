/* SPDX-License-Identifier: Apache-2.0 */
/* See store_table.h. */
#include "plugin/store_table.h"

#include "base/arena.h"
#include "base/str.h"

static const enum store_type types[] = {
	[SL_BIGINT] = STORE_BIGINT, [SL_DOUBLE] = STORE_DOUBLE, [SL_TEXT] = STORE_TEXT,
	[SL_BOOLEAN] = STORE_BOOLEAN, [SL_JSONB] = STORE_JSON, [SL_TIMESTAMP] = STORE_TIMESTAMP,
	[SL_TEXT_ARRAY] = STORE_TEXT_ARRAY
};
static const enum store_rule rules[] = {
	[SL_KEEP] = STORE_KEEP, [SL_OVERWRITE] = STORE_OVERWRITE, [SL_ONCE] = STORE_ONCE
};

const struct store_table *plugin_store_table(struct arena *arena, const struct sl_table *from)
{
	struct store_table *table = arena_alloc(arena, sizeof(*table));
	struct store_column *columns;

	table->name = from->name;
	table->key_column = from->key_column;
	table->stamped = (from->flags & SL_TABLE_STAMPED) != 0;
	while (from->columns[table->column_count].name != NULL)
		table->column_count++;
	columns = arena_alloc(arena, table->column_count * sizeof(*columns));
	for (size_t i = 0; i < table->column_count; i++) {
		const struct sl_column *column = &from->columns[i];

		columns[i].name = column->name;
		columns[i].type = types[column->type];
		columns[i].rule = rules[column->rule];
		columns[i].written = column->key != NULL || str_eq(column->name, from->key_column);
	}
	table->columns = columns;
	table->indexes = from->indexes;
	while (from->indexes != NULL && from->indexes[table->index_count] != NULL)
		table->index_count++;
	return table;
}
