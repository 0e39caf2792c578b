/* SPDX-License-Identifier: Apache-2.0 */
/* The plugins' tables as the store sees them, and opening the store with them. */
#include <sluice/plugin.h>

#include "base/arena.h"
#include "base/str.h"
#include "conf/model.h"
#include "plugin/plugin.h"
#include "plugin/store_table.h"
#include "role/role.h"
#include "setup/setup.h"
#include "store/store.h"

/* The tables made so far; a process has few, and looks one up per upsert. */
struct table_pair {
	const struct sl_table *contract;
	const struct store_table *store;
};
static struct table_pair pairs[256];
static size_t pair_count;

const struct store_table *role_store_table(struct role *role, const void *sl_table)
{
	for (size_t i = 0; i < pair_count; i++)
		if (pairs[i].contract == sl_table)
			return pairs[i].store;
	if (pair_count == sizeof(pairs) / sizeof(pairs[0]))
		return NULL;
	pairs[pair_count] = (struct table_pair){ sl_table, plugin_store_table(role->arena, sl_table) };
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

struct store *role_open_store(struct role *role, struct error *err)
{
	struct store_options options = setup_store_options(role->conf, role->arena);
	struct store *store;

	/* Workers are many; the other roles have to get through when all of them are busy. */
	if (str_eq(role->def->name, "worker")) {
		options.gate = arena_printf(role->arena, "%s/connections", role->conf->state);
		options.gate_places = role->conf->task_connections;
	}
	store = store_open(role->loop, role->conf->tasks, &options, true, err);

	if (store != NULL && role->plugins != NULL && ensure_tables(role, store, err) != 0)
		store_close(&store);
	return store;
}
