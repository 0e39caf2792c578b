/* SPDX-License-Identifier: Apache-2.0 */
/* From the contract's tables to the store's plain ones, and opening the store with them. */
#include <sluice/plugin.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include "conf/model.h"
#include "plugin/plugin.h"
#include "role/role.h"
#include "store/store.h"

static const enum store_type types[] = {
	[SL_BIGINT] = STORE_BIGINT, [SL_DOUBLE] = STORE_DOUBLE, [SL_TEXT] = STORE_TEXT,
	[SL_BOOLEAN] = STORE_BOOLEAN, [SL_JSONB] = STORE_JSON, [SL_TIMESTAMP] = STORE_TIMESTAMP,
	[SL_TEXT_ARRAY] = STORE_TEXT_ARRAY
};
static const enum store_rule rules[] = {
	[SL_KEEP] = STORE_KEEP, [SL_OVERWRITE] = STORE_OVERWRITE, [SL_ONCE] = STORE_ONCE
};

/* The tables made so far; a process has few, and looks one up per upsert. */
struct table_pair {
	const struct sl_table *contract;
	const struct store_table *store;
};
static struct table_pair pairs[256];
static size_t pair_count;

static const struct store_table *make(struct arena *arena, const struct sl_table *from)
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

const struct store_table *role_store_table(struct role *role, const void *sl_table)
{
	for (size_t i = 0; i < pair_count; i++)
		if (pairs[i].contract == sl_table)
			return pairs[i].store;
	if (pair_count == sizeof(pairs) / sizeof(pairs[0]))
		return NULL;
	pairs[pair_count] = (struct table_pair){ sl_table, make(role->arena, sl_table) };
	return pairs[pair_count++].store;
}

static int ensure_tables(struct role *role, struct store *store, struct error *err)
{
	const struct store_table **tables;
	size_t count = 0;

	for (size_t i = 0; i < plugin_count(role->plugins); i++) {
		const struct sl_plugin *plugin = plugin_descriptor(plugin_at(role->plugins, i));

		for (size_t k = 0; plugin->tables != NULL && plugin->tables[k] != NULL; k++)
			if (role_store_table(role, plugin->tables[k]) == NULL)
				return error_set(err, ERR_LIMIT, "the plugins declare more than %zu tables",
						 sizeof(pairs) / sizeof(pairs[0]));
	}
	tables = arena_alloc(role->arena, (pair_count + 1) * sizeof(*tables));
	for (; count < pair_count; count++)
		tables[count] = pairs[count].store;
	return store_ensure_tables(store, tables, count, err);
}

/* Comma-separated: what task status events go to. */
static char *status_queues(const struct conf_model *conf, struct arena *arena)
{
	struct buf names;
	const char *queue;
	char *list = NULL;

	buf_init(&names);
	for (size_t i = 0; (queue = conf_route(conf, "beat.dx", "scrape_request_log_events", i)) != NULL; i++) {
		if (i > 0)
			buf_addc(&names, ',');
		buf_adds(&names, queue);
	}
	if (names.len > 0)
		list = arena_strndup(arena, names.data, names.len);
	buf_fini(&names);
	return list;
}

struct store *role_open_store(struct role *role, struct error *err)
{
	const struct store_options options = {
		.status_queues = status_queues(role->conf, role->arena),
		.busy_ms = 30000,
		.crash_limit = role->conf->crash_limit
	};
	struct store *store = store_open(role->loop, role->conf->tasks, &options, true, err);

	if (store != NULL && role->plugins != NULL && ensure_tables(role, store, err) != 0)
		store_close(&store);
	return store;
}
