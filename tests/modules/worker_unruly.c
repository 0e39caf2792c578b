/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plugin that does on request what no plugin should. tests/system/test_worker.py
 * builds it and runs its tasks; what they do is the parameter "act":
 *
 *     event    one record, one upsert, one event: all is well
 *     crash    ends its process with SIGSEGV
 *     hang     never returns
 *     refuse   upserts a text that is not UTF-8, which the store refuses
 *     large    an event of more than a MiB
 *     odd      returns a result that is none
 *     pages    asks "pages" pages, each "delay" ms after the one before
 *     submit   submits a task, which this version does not carry out
 */
#include <string.h>

#include <sluice/plugin.h>

static const struct sl_source source = SL_SOURCE_INIT(
	.name = "worker_unruly", .base_url = "http://127.0.0.1:1", .flags = SL_SOURCE_ANONYMOUS,
	.feedback = SL_FEEDBACK_RETRY_AFTER);

static const struct sl_record_type thing = SL_RECORD_TYPE("thing");

static enum sl_result page_build(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
				 struct sl_request *r)
{
	(void)t;
	h->get(r, "/ig/info_username/");
	h->query(r, "user", h->key(c));
	return SL_OK;
}

static enum sl_result page_parse(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
				 const struct sl_response *re)
{
	(void)re;
	h->record(t, &thing, h->format(t, "%s/%lld", h->key(c), (long long)h->round(t)), NULL, NULL);
	h->set_cursor(t, "more");
	return SL_OK;
}

static const struct sl_via vias[] = {{&source, page_build, page_parse}, SL_END_OF_VIAS};
static const struct sl_operation page = SL_OPERATION_INIT(.name = "page", .via = vias);

static const struct sl_column columns[] = {
	{"name", SL_TEXT, SL_KEEP, SL_ATTR, NULL},
	{"remark", SL_TEXT, SL_KEEP, SL_ATTR, "remark"},
	SL_END_OF_COLUMNS
};
static const struct sl_table table = SL_TABLE_INIT(
	.name = "worker_unruly", .key_column = "name", .flags = SL_TABLE_STAMPED, .columns = columns);

static const struct sl_event_field fields[] = {
	{"event_id", SL_EV_ID, SL_ATTR, NULL},
	{"name", SL_EV_KEY, SL_ATTR, NULL},
	{"remark", SL_EV_VALUE, SL_ATTR, "remark"},
	{"event_timestamp", SL_EV_NOW, SL_ATTR, NULL},
	SL_END_OF_EVENT_FIELDS
};
static const struct sl_stream stream = SL_STREAM_INIT(
	.name = "worker_unruly", .exchange = "worker_unruly.dx", .key = "worker_unruly", .fields = fields);

static void next_page(const struct sl_host *h, struct sl_task *t)
{
	int64_t pages = h->param_int(t, "pages", 1);

	if (h->round(t) == 0)
		h->call(t, &page, h->param(t, "name"), NULL);
	else if (h->round(t) < pages)
		h->next(t, h->ended(t, 0), h->param_int(t, "delay", 0));
}

static enum sl_result retrieve(const struct sl_host *h, struct sl_task *t)
{
	const char *act = h->param(t, "act");
	struct sl_record *record;
	struct sl_out *out;

	if (strcmp(act, "crash") == 0)
		__builtin_trap();
	while (strcmp(act, "hang") == 0)
		h->now(t);
	if (strcmp(act, "odd") == 0)
		return (enum sl_result)99;
	if (strcmp(act, "pages") == 0) {
		next_page(h, t);
		return SL_OK;
	}
	if (strcmp(act, "submit") == 0) {
		out = h->out(t);
		h->out_object(out, NULL);
		h->out_end(out);
		h->submit(t, "worker_unruly", out);
	}
	if (h->round(t) > 0)
		return SL_OK;
	record = h->record(t, &thing, h->param(t, "name"), NULL, NULL);
	h->put_str(record, SL_ATTR, "remark", strcmp(act, "refuse") == 0 ? "\xff\xfe" : "fine");
	if (strcmp(act, "large") == 0) {
		char *text = h->alloc(t, (1 << 20) + 1);

		memset(text, 'x', 1 << 20);
		text[1 << 20] = '\0';
		h->put_str(record, SL_ATTR, "remark", text);
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
	{"act", SL_STR, SL_REQUIRED, NULL, 1, 20, "what to do", {NULL, NULL}},
	{"name", SL_STR, 0, "nobody", 1, 100, "the record's key", {NULL, NULL}},
	{"pages", SL_INT, 0, "1", 1, 1000, "how many pages", {NULL, NULL}},
	{"delay", SL_INT, 0, "0", 0, 60000, "ms between pages", {NULL, NULL}},
	SL_END_OF_OPTIONS
};
static const struct sl_operation *const operations[] = {&page, NULL};
static const struct sl_table *const tables[] = {&table, NULL};
static const struct sl_stream *const streams[] = {&stream, NULL};
static const struct sl_flow flow = SL_FLOW_INIT(
	.name = "worker_unruly", .platform = "TEST", .params = params, .operations = operations,
	.tables = tables, .streams = streams, .retrieve = retrieve, .emit = emit);

static const struct sl_sink_column sink_columns[] = {
	{"event_id", "String", NULL, SL_COLUMN_NEEDED, NULL}, {"name", "String", NULL, 0, NULL},
	{"event_timestamp", "DateTime", NULL, 0, NULL}, SL_END_OF_SINK_COLUMNS
};
static const char *const prefix[] = {"name", "event_timestamp", NULL};
static const struct sl_sink sink = SL_SINK_INIT(
	.name = "worker_unruly", .queue = "worker_unruly_q", .exchange = "worker_unruly.dx", .key = "worker_unruly",
	.table = "worker_unruly", .columns = sink_columns, .engine = "MergeTree", .order_by = "name, event_timestamp",
	.identity = "event_id", .prefix = prefix, .time_column = "event_timestamp");

static const struct sl_source *const sources[] = {&source, NULL};
static const struct sl_flow *const flows[] = {&flow, NULL};
static const struct sl_sink *const sinks[] = {&sink, NULL};
SLUICE_PLUGIN(.name = "worker_unruly", .version = "1.0", .doc = "What no plugin should do", .sources = sources,
	      .operations = operations, .flows = flows, .tables = tables, .streams = streams, .sinks = sinks);
