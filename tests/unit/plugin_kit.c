/* SPDX-License-Identifier: Apache-2.0 */
/* See plugin_kit.h. */
#include <string.h>

#include "plugin_kit.h"

static enum sl_result build(const struct sl_host *h, struct sl_task *t, const struct sl_call *c, struct sl_request *r)
{
	(void)t;
	h->get(r, h->key(c));
	return SL_OK;
}

static enum sl_result parse(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
			    const struct sl_response *re)
{
	(void)h;
	(void)t;
	(void)c;
	return re->status == 200 ? SL_OK : SL_FAIL;
}

static enum sl_result retrieve(const struct sl_host *h, struct sl_task *t)
{
	(void)h;
	(void)t;
	return SL_OK;
}

static enum sl_result emit(const struct sl_host *h, struct sl_task *t, struct sl_record *rec)
{
	(void)h;
	(void)t;
	(void)rec;
	return SL_OK;
}

static enum sl_result handle(const struct sl_host *h, struct sl_task *t, const struct sl_json *message)
{
	(void)h;
	(void)t;
	(void)message;
	return SL_OK;
}

static void init_upstream(struct kit *kit)
{
	kit->source = (struct sl_source)SL_SOURCE_INIT(
		.name = "api", .base_url = "https://api.example.org", .auth = SL_AUTH_HEADER, .auth_name = "X-Key",
		.auth_field = "key");
	kit->source2 = kit->source;
	kit->source2.name = "api2";
	kit->sources[0] = &kit->source;
	kit->ways[0] = (struct sl_via){ &kit->source, build, parse };
	kit->operation = (struct sl_operation)SL_OPERATION_INIT(.name = "fetch", .via = kit->ways);
	kit->lookup_ways[0] = (struct sl_via){ NULL, NULL, parse };
	kit->lookup = (struct sl_operation)SL_OPERATION_INIT(
		.name = "find", .kind = SL_LOOKUP, .via = kit->lookup_ways, .table = &kit->table, .column = "handle");
	kit->operations[0] = &kit->operation;
	kit->operations[1] = &kit->lookup;
}

static void init_state(struct kit *kit)
{
	kit->columns[0] = (struct sl_column){ "account_key", SL_TEXT, SL_KEEP, SL_ATTR, "key" };
	kit->columns[1] = (struct sl_column){ "handle", SL_TEXT, SL_KEEP, SL_ATTR, "handle" };
	kit->columns[2] = (struct sl_column){ "followers", SL_BIGINT, SL_KEEP, SL_METRIC, "followers" };
	kit->indexes[0] = "handle";
	kit->table = (struct sl_table)SL_TABLE_INIT(
		.name = "account", .key_column = "account_key", .columns = kit->columns, .indexes = kit->indexes);
	kit->table2 = kit->table;
	kit->table2.name = "account2";
	kit->tables[0] = &kit->table;
	kit->fields[0] = (struct sl_event_field){ "event_id", SL_EV_ID, SL_ATTR, NULL };
	kit->fields[1] = (struct sl_event_field){ "handle", SL_EV_VALUE, SL_ATTR, "handle" };
	kit->fields[2] = (struct sl_event_field){ "metrics", SL_EV_GROUP, SL_METRIC, NULL };
	kit->stream = (struct sl_stream)SL_STREAM_INIT(
		.name = "account_log", .exchange = "test.dx", .key = "account_log", .fields = kit->fields);
	kit->stream2 = kit->stream;
	kit->stream2.name = "account_log2";
	kit->streams[0] = &kit->stream;
}

static void init_flow(struct kit *kit)
{
	kit->params[0] = (struct sl_option){ .name = "handle", .type = SL_STR, .flags = SL_REQUIRED };
	kit->params[1] = (struct sl_option){ .name = "depth", .type = SL_INT };
	kit->flow_operations[0] = &kit->operation;
	kit->flow_operations[1] = &kit->lookup;
	kit->flow_tables[0] = &kit->table;
	kit->flow_streams[0] = &kit->stream;
	kit->flow = (struct sl_flow)SL_FLOW_INIT(
		.name = "refresh_account", .platform = "TEST", .params = kit->params,
		.operations = kit->flow_operations, .tables = kit->flow_tables, .streams = kit->flow_streams,
		.retrieve = retrieve, .emit = emit);
	kit->flow2 = kit->flow;
	kit->flow2.name = "refresh_account2";
	kit->flows[0] = &kit->flow;
}

static void init_sinks(struct kit *kit)
{
	kit->sink_columns[0] = (struct sl_sink_column){ .name = "event_id", .type = "String" };
	kit->sink_columns[1] = (struct sl_sink_column){ .name = "handle", .type = "String" };
	kit->sink_columns[2] = (struct sl_sink_column){ .name = "event_timestamp", .type = "DateTime" };
	kit->prefix[0] = "handle";
	kit->sink = (struct sl_sink)SL_SINK_INIT(
		.name = "account_log", .queue = "account_log_q", .exchange = "test.dx", .key = "account_log",
		.table = "account_log", .columns = kit->sink_columns, .engine = "MergeTree",
		.order_by = "handle, event_timestamp", .identity = "event_id", .prefix = kit->prefix,
		.time_column = "event_timestamp");
	kit->sink2 = kit->sink;
	kit->sink2.name = "account_log2";
	kit->sinks[0] = &kit->sink;
	kit->listener_tables[0] = &kit->table;
	kit->listener_streams[0] = &kit->stream;
	kit->listener = (struct sl_listener)SL_LISTENER_INIT(
		.name = "hear", .exchange = "test.dx", .key = "hear", .queue = "hear_q", .handle = handle,
		.tables = kit->listener_tables, .streams = kit->listener_streams);
	kit->listener2 = kit->listener;
	kit->listener2.name = "hear2";
	kit->listeners[0] = &kit->listener;
}

void kit_init(struct kit *kit)
{
	memset(kit, 0, sizeof(*kit));
	kit->options[0] = (struct sl_option){ .name = "colour", .type = SL_STR };
	kit->options[1] = (struct sl_option){ .name = "size", .type = SL_SIZE };
	init_upstream(kit);
	init_state(kit);
	init_flow(kit);
	init_sinks(kit);
	kit->plugin = (struct sl_plugin){
		.size = sizeof(kit->plugin), .abi_major = SL_ABI_MAJOR, .abi_minor = SL_ABI_MINOR, .name = "kit",
		.version = "1.0", .options = kit->options, .sources = kit->sources, .operations = kit->operations,
		.flows = kit->flows, .tables = kit->tables, .streams = kit->streams, .sinks = kit->sinks,
		.listeners = kit->listeners
	};
}
