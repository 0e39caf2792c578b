/* SPDX-License-Identifier: Apache-2.0 */
/* A plugin for bench/grow: eight queues and tables that are all the same; flows.yaml says which are used. */
#include <sluice/plugin.h>

#include "profile_columns.h"

#define TABLE(name_) \
	static const struct sl_sink name_ = SL_SINK_INIT( \
		.name = #name_, .queue = #name_ "_q", .exchange = "bench.dx", .exchange_type = SL_DIRECT, .key = #name_, \
		.table = #name_, .columns = columns, .engine = "MergeTree", .identity = "event_id", .prefix = prefix, \
		.partition_by = "toYYYYMM(event_timestamp)", .order_by = "platform, profile_id, event_timestamp", \
		.time_column = "event_timestamp", .doc = "One of eight")

TABLE(table_1);
TABLE(table_2);
TABLE(table_3);
TABLE(table_4);
TABLE(table_5);
TABLE(table_6);
TABLE(table_7);
TABLE(table_8);

static const struct sl_sink *const sinks[] = {
	&table_1, &table_2, &table_3, &table_4, &table_5, &table_6, &table_7, &table_8, NULL
};

SLUICE_PLUGIN(.name = "tables", .version = "1.0", .doc = "Eight tables that are the same", .sinks = sinks);
