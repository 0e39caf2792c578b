/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The smallest plugin that has a part of every kind. At each release its
 * binary is stored below tests/abi (scripts/abi-store) and must work for ever.
 */
#include <sluice/plugin.h>

static const struct sl_source null_api = SL_SOURCE_INIT(
	.name = "null_api", .base_url = "https://null.example.org/v1", .auth = SL_AUTH_HEADER,
	.auth_name = "X-Key", .auth_field = "key", .doc = "Answers one thing");

static const struct sl_record_type thing = SL_RECORD_TYPE("thing");

static const struct sl_field thing_fields[] = {
	{ SL_METRIC, "size", "stats.size", SL_INT },
	{ SL_DIMENSION, "title", "title|name", SL_STR },
	SL_END_OF_FIELDS
};

static enum sl_result build(const struct sl_host *h, struct sl_task *t, const struct sl_call *c, struct sl_request *r)
{
	h->get(r, "/things");
	h->query(r, "id", h->key(c));
	h->query(r, "colour", h->arg(c, "colour"));
	h->query_int(r, "now", h->now(t));
	h->query(r, "page", h->cursor(c));
	return SL_OK;
}

static enum sl_result parse(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
			    const struct sl_response *re)
{
	const struct sl_json *item;
	struct sl_record *rec;

	(void)c;
	if (re->status != 200)
		return h->fail(t, SL_FAIL, "not a thing");
	SL_EACH(h, item, h->at(re->json, "things")) {
		rec = h->record(t, &thing, h->str(item, "id"), item, thing_fields);
		h->put_str(rec, SL_ATTR, "handle", h->str(item, "name"));
	}
	h->set_int(t, "things", h->get_int(t, "things", 0) + (int64_t)h->length(h->at(re->json, "things")));
	h->set_cursor(t, h->str(re->json, "next"));
	return SL_OK;
}

static const struct sl_via ways[] = { { &null_api, build, parse }, SL_END_OF_VIAS };
static const struct sl_operation fetch = SL_OPERATION_INIT(.name = "fetch", .via = ways, .doc = "Things by id");

static const struct sl_column columns[] = {
	{ "thing_id", SL_TEXT, SL_KEEP, SL_ATTR, NULL },
	{ "handle", SL_TEXT, SL_ONCE, SL_ATTR, "handle" },
	{ "title", SL_TEXT, SL_KEEP, SL_DIMENSION, "title" },
	{ "size", SL_BIGINT, SL_OVERWRITE, SL_METRIC, "size" },
	SL_END_OF_COLUMNS
};
static const struct sl_table table = SL_TABLE_INIT(
	.name = "null_thing", .key_column = "thing_id", .flags = SL_TABLE_STAMPED, .columns = columns,
	.doc = "Things as last seen");

static const struct sl_event_field fields[] = {
	{ "event_id", SL_EV_ID, SL_ATTR, NULL },
	{ "platform", SL_EV_PLATFORM, SL_ATTR, NULL },
	{ "thing_id", SL_EV_KEY, SL_ATTR, NULL },
	{ "metrics", SL_EV_GROUP, SL_METRIC, NULL },
	SL_END_OF_EVENT_FIELDS
};
static const struct sl_stream stream = SL_STREAM_INIT(
	.name = "null_log", .exchange = "null.dx", .key = "null_log", .fields = fields, .doc = "One per thing");

static enum sl_result retrieve(const struct sl_host *h, struct sl_task *t)
{
	const struct sl_call *ended = h->ended(t, 0);
	struct sl_out *out;

	if (h->round(t) == 0) {
		h->call(t, &fetch, h->param(t, "id"), "colour", "red", NULL);
	} else if (!h->next(t, ended, 0)) {
		out = h->out(t);
		h->out_object(out, NULL);
		h->out_int(out, "things", h->get_int(t, "things", 0));
		h->out_end(out);
		h->result(t, out);
	}
	return SL_OK;
}

static enum sl_result emit(const struct sl_host *h, struct sl_task *t, struct sl_record *rec)
{
	h->upsert(t, &table, rec);
	h->event(t, &stream, rec);
	return SL_OK;
}

static const struct sl_option params[] = {
	{ .name = "id", .type = SL_STR, .flags = SL_REQUIRED, .doc = "Which thing" },
	SL_END_OF_OPTIONS
};
static const struct sl_operation *const flow_operations[] = { &fetch, NULL };
static const struct sl_table *const flow_tables[] = { &table, NULL };
static const struct sl_stream *const flow_streams[] = { &stream, NULL };
static const struct sl_flow flow = SL_FLOW_INIT(
	.name = "null_flow", .platform = "NULL", .params = params, .operations = flow_operations,
	.tables = flow_tables, .streams = flow_streams, .retrieve = retrieve, .emit = emit,
	.doc = "Fetches things and emits them");

static const struct sl_sink_column sink_columns[] = {
	{ .name = "event_id", .type = "String", .flags = SL_COLUMN_NEEDED },
	{ .name = "thing_id", .type = "String" },
	{ .name = "metrics", .type = "String", .flags = SL_COLUMN_OBJECT },
	SL_END_OF_SINK_COLUMNS
};
static const struct sl_sink sink = SL_SINK_INIT(
	.name = "null_log", .queue = "null_log_q", .exchange = "null.dx", .key = "null_log", .table = "null_log",
	.columns = sink_columns, .engine = "MergeTree", .order_by = "thing_id", .identity = "event_id",
	.doc = "Things of the null plugin");

static const struct sl_source *const sources[] = { &null_api, NULL };
static const struct sl_operation *const operations[] = { &fetch, NULL };
static const struct sl_flow *const flows[] = { &flow, NULL };
static const struct sl_table *const tables[] = { &table, NULL };
static const struct sl_stream *const streams[] = { &stream, NULL };
static const struct sl_sink *const sinks[] = { &sink, NULL };

SLUICE_PLUGIN(
	.name = "null", .version = "1.0", .doc = "Has a part of every kind", .sources = sources,
	.operations = operations, .flows = flows, .tables = tables, .streams = streams, .sinks = sinks);
