/* SPDX-License-Identifier: Apache-2.0 */
/* From the contract's tables to the store's plain ones. Any thread. */
#ifndef SLUICE_PLUGIN_STORE_TABLE_H
#define SLUICE_PLUGIN_STORE_TABLE_H

#include <sluice/plugin.h>

#include "store/store.h"

struct arena;

/* The table as the store sees it; in the arena, names and indexes borrowed from the plugin. */
const struct store_table *plugin_store_table(struct arena *arena, const struct sl_table *table);

#endif
