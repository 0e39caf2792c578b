/* SPDX-License-Identifier: Apache-2.0 */
/* The columns of profile events as the plugin "sinks" declares them (plugins/sinks/sinks.c). */
#ifndef SLUICE_BENCH_PROFILE_COLUMNS_H
#define SLUICE_BENCH_PROFILE_COLUMNS_H

#include <stddef.h>

#include <sluice/sink.h>

static const struct sl_sink_column columns[] = {
	{"event_id", "String", NULL, SL_COLUMN_NEEDED, NULL}, {"source", "String", NULL, SL_COLUMN_NEEDED, NULL},
	{"platform", "String", NULL, SL_COLUMN_NEEDED, NULL}, {"profile_id", "String", NULL, SL_COLUMN_NEEDED, NULL},
	{"handle", "Nullable(String)", NULL, SL_COLUMN_NEEDED, NULL},
	{"event_timestamp", "DateTime", NULL, SL_COLUMN_NEEDED, NULL},
	{"insert_timestamp", "DateTime", NULL, SL_COLUMN_NOW, NULL},
	{"metrics", "String", NULL, SL_COLUMN_NEEDED | SL_COLUMN_OBJECT, NULL},
	{"dimensions", "String", NULL, SL_COLUMN_NEEDED | SL_COLUMN_OBJECT, NULL},
	SL_END_OF_SINK_COLUMNS
};
static const char *const prefix[] = {"platform", "profile_id", "event_timestamp", NULL};

#endif
