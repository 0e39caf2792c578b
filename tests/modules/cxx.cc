// SPDX-License-Identifier: Apache-2.0
// A plugin in C++17: scripts/check-contract compiles it with -pedantic, tests/contract/probe_test loads it.
#include <sluice/plugin.h>

static enum sl_result build(const struct sl_host *h, struct sl_task *, const struct sl_call *c, struct sl_request *r)
{
	h->get(r, "/things");
	h->query(r, "id", h->key(c));
	return SL_OK;
}

static const struct sl_record_type thing = SL_RECORD_TYPE("thing");
static const struct sl_field fields[] = {
	{ SL_METRIC, "size", "stats.size", SL_INT },
	SL_END_OF_FIELDS
};

static enum sl_result parse(const struct sl_host *h, struct sl_task *t, const struct sl_call *,
			    const struct sl_response *re)
{
	const struct sl_json *item;

	SL_EACH(h, item, h->at(re->json, "things"))
		h->record(t, &thing, h->str(item, "id"), item, fields);
	return SL_OK;
}

static const struct sl_source api = SL_SOURCE_INIT(
	"cxx_api", "https://cxx.example.org", SL_SOURCE_ANONYMOUS, SL_AUTH_NONE, nullptr, nullptr, nullptr, nullptr,
	nullptr, nullptr, 0, nullptr, "Answers one thing");
static const struct sl_via ways[] = { { &api, build, parse }, SL_END_OF_VIAS };
static const struct sl_operation fetch = SL_OPERATION_INIT("fetch", SL_HTTP, ways, nullptr, nullptr, "Things by id", 0);
static const struct sl_event_field members[] = {
	{ "event_id", SL_EV_ID, SL_ATTR, nullptr },
	SL_END_OF_EVENT_FIELDS
};
static const struct sl_stream stream = SL_STREAM_INIT("cxx_log", "cxx.dx", "cxx_log", 0, members, "One per thing");
static const struct sl_column columns[] = {
	{ "thing_id", SL_TEXT, SL_KEEP, SL_ATTR, nullptr },
	SL_END_OF_COLUMNS
};
static const struct sl_table table = SL_TABLE_INIT("cxx_thing", "thing_id", 0, columns, nullptr, "Things");

static enum sl_result retrieve(const struct sl_host *h, struct sl_task *t)
{
	const char *ids;

	if (h->round(t) == 0)
		SL_BATCHES(h, t, "ids", 10, ids)
			h->call(t, &fetch, ids, nullptr);
	return SL_OK;
}

static enum sl_result emit(const struct sl_host *h, struct sl_task *t, struct sl_record *rec)
{
	h->upsert(t, &table, rec);
	h->event(t, &stream, rec);
	return SL_OK;
}

static const struct sl_option params[] = {
	{ "ids", SL_LIST, SL_REQUIRED, nullptr, 0, 0, "Which things", { nullptr, nullptr } },
	SL_END_OF_OPTIONS
};
static const struct sl_source *const sources[] = { &api, nullptr };
static const struct sl_operation *const operations[] = { &fetch, nullptr };
static const struct sl_table *const tables[] = { &table, nullptr };
static const struct sl_stream *const streams[] = { &stream, nullptr };
static const struct sl_flow flow = SL_FLOW_INIT(
	"cxx_flow", "CXX", params, operations, tables, streams, retrieve, nullptr, emit, 0, "Things");
static const struct sl_flow *const flows[] = { &flow, nullptr };

static const struct sl_sink_column sink_columns[] = {
	{ "event_id", "String", nullptr, SL_COLUMN_NEEDED, nullptr },
	SL_END_OF_SINK_COLUMNS
};
static const struct sl_sink sink = SL_SINK_INIT(
	"cxx_log", "cxx_log_q", "cxx.dx", SL_DIRECT, "cxx_log", "cxx_log", sink_columns, "MergeTree", nullptr, "event_id",
	"event_id", nullptr, nullptr, nullptr, "Things of the C++ plugin");
static const struct sl_sink *const sinks[] = { &sink, nullptr };

SLUICE_PLUGIN("cxx", "1.0", "Shows that a plugin may be C++", nullptr, sources, operations, flows, tables, streams,
	      sinks, nullptr);
