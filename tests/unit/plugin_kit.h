/* SPDX-License-Identifier: Apache-2.0 */
/* A plugin with one part of every kind, all of it changeable, from which tests make bad ones. */
#ifndef SLUICE_PLUGIN_KIT_H
#define SLUICE_PLUGIN_KIT_H

#include <sluice/plugin.h>

struct kit {
	struct sl_option options[3], params[3];
	struct sl_source source, source2;
	struct sl_via ways[3], lookup_ways[2];
	struct sl_operation operation, lookup;
	struct sl_column columns[4];
	const char *indexes[2];
	struct sl_table table, table2;
	struct sl_event_field fields[4];
	struct sl_stream stream, stream2;
	struct sl_flow flow, flow2;
	struct sl_sink_column sink_columns[4];
	const char *prefix[2];
	struct sl_sink sink, sink2;
	struct sl_listener listener, listener2;
	/* The lists: one entry each, place for a second, the end. */
	const struct sl_source *sources[3];
	const struct sl_operation *operations[3], *flow_operations[3];
	const struct sl_table *tables[3], *flow_tables[3], *listener_tables[3];
	const struct sl_stream *streams[3], *flow_streams[3], *listener_streams[3];
	const struct sl_flow *flows[3];
	const struct sl_sink *sinks[3];
	const struct sl_listener *listeners[3];
	struct sl_plugin plugin;
};

/* Fills kit with a good plugin called "kit". */
void kit_init(struct kit *kit);

#endif
