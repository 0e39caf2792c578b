/* SPDX-License-Identifier: Apache-2.0 */
/* The plugin of flow_test.c: pure callbacks, as in any plugin. */
#include <string.h>

#include "flow_plugin.h"

static const struct sl_record_type item_type = SL_RECORD_TYPE("item");

static const char *const key_field[] = {"key", NULL};
static const char *const user_field[] = {"user", NULL};
static const char *const secret_names[] = {"token", NULL};

static enum sl_result api_error(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
				const struct sl_response *re)
{
	h->set_int(t, "left behind", 1);
	if (h->str(re->json, "gone"))
		return h->fail_as(t, SL_GONE, 404, "It's gone");
	if (h->str(re->json, "other"))
		return h->fail(t, SL_SOURCE, h->str(re->json, "other"));
	(void)c;
	return SL_OK;
}

static const struct sl_source api =
	SL_SOURCE_INIT(.name = "api", .base_url = "https://api.example/v1/", .auth = SL_AUTH_QUERY,
		       .auth_name = "key", .auth_field = "key", .fields = key_field,
		       .secret_names = secret_names, .feedback = SL_FEEDBACK_RETRY_AFTER, .error = api_error,
		       .doc = "a");
static const struct sl_source spare =
	SL_SOURCE_INIT(.name = "spare", .base_url = "https://spare.example", .auth = SL_AUTH_BEARER,
		       .auth_field = "key", .public_fields = user_field, .doc = "b");
static const struct sl_source shop =
	SL_SOURCE_INIT(.name = "shop", .base_url = "https://{handle}/admin", .flags = SL_SOURCE_BOUND,
		       .auth = SL_AUTH_NONE, .fields = key_field, .doc = "c");

static enum sl_result page_build(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
				 struct sl_request *r)
{
	(void)t;
	h->get(r, "items list");
	h->query(r, "of", h->key(c));
	h->query(r, "after", h->cursor(c));
	h->query(r, "token", h->arg(c, "token"));
	h->query_int(r, "n", 2);
	return SL_OK;
}

static const struct sl_field item_fields[] = {
	{SL_METRIC, "likes", "likes", SL_INT},
	{SL_DIMENSION, "title", "title|name", SL_STR},
	{SL_ATTR, "at", "at", SL_TIME},
	SL_END_OF_FIELDS,
};

static enum sl_result page_parse(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
				 const struct sl_response *re)
{
	const struct sl_json *item;

	(void)c;
	SL_EACH(h, item, h->at(re->json, "items"))
	h->record(t, &item_type, h->str(item, "id"), item, item_fields);
	h->set_int(t, "pages", h->get_int(t, "pages", 0) + 1);
	h->append(t, "bodies", h->str(re->json, "say"));
	h->set_cursor(t, h->str(re->json, "next"));
	if (h->str(re->json, "refuse")) {
		static const char *const words[] = {"retry", "limit", "auth", "source", "gone", "fail"};

		for (int i = 0; i < 6; i++)
			if (!strcmp(words[i], h->str(re->json, "refuse")))
				return h->fail(t, (enum sl_result)(SL_RETRY + i), "no");
	}
	return re->json ? SL_OK : SL_RETRY;
}

static const struct sl_operation items = SL_OPERATION_INIT(
	"items", SL_HTTP,
	(const struct sl_via[]){
		{&api, page_build, page_parse}, {&spare, page_build, page_parse}, SL_END_OF_VIAS});

static enum sl_result orders_build(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
				   struct sl_request *r)
{
	struct sl_out *out;

	if (h->arg(c, "link")) {
		h->follow(r, h->arg(c, "link"));
	} else if (h->arg(c, "json")) {
		h->post(r, "/orders");
		out = h->out(t);
		h->out_object(out, NULL);
		h->out_str(out, "q", h->arg(c, "json"));
		h->out_end(out);
		h->body_json(r, out);
	} else {
		h->post(r, h->key(c));
		h->form(r, "a b", "c&d");
		h->secret_form(r, "password", "key");
		h->secret_header(r, "X-Token", "T ", "key");
		h->header(r, "X-User", h->credential(r, "user"));
	}
	return SL_OK;
}

static const struct sl_operation orders = SL_OPERATION_INIT(
	"orders", SL_HTTP, (const struct sl_via[]){{&shop, orders_build, page_parse}, SL_END_OF_VIAS});

static enum sl_result part_parse(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
				 const struct sl_response *re)
{
	const struct sl_json *member;
	struct sl_record *rec = h->record(t, &item_type, h->str(re->json, "id"), NULL, NULL);

	(void)c;
	SL_EACH(h, member, h->at(re->json, "values"))
	h->put_json(rec, SL_METRIC, h->name(member), member);
	return SL_OK;
}

static const struct sl_operation part = SL_OPERATION_INIT(
	"part", SL_HTTP, (const struct sl_via[]){{&api, page_build, part_parse}, SL_END_OF_VIAS});

static const struct sl_column item_columns[] = {
	{"item_id", SL_TEXT, SL_KEEP, SL_ATTR, NULL},
	{"likes", SL_BIGINT, SL_KEEP, SL_METRIC, "likes"},
	{"ratio", SL_DOUBLE, SL_KEEP, SL_METRIC, "ratio"},
	{"title", SL_TEXT, SL_OVERWRITE, SL_DIMENSION, "title"},
	{"public", SL_BOOLEAN, SL_KEEP, SL_DIMENSION, "public"},
	{"tags", SL_TEXT_ARRAY, SL_KEEP, SL_DIMENSION, "tags"},
	{"raw", SL_JSONB, SL_KEEP, SL_DIMENSION, "raw"},
	{"metrics", SL_JSONB, SL_KEEP, SL_METRIC, ""},
	{"at", SL_TIMESTAMP, SL_KEEP, SL_ATTR, "at"},
	{"others", SL_TEXT, SL_KEEP, SL_ATTR, NULL},
	SL_END_OF_COLUMNS,
};
static const struct sl_table item_table = SL_TABLE_INIT("item", "item_id", 0, item_columns, NULL, "d");

static enum sl_result rows_parse(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
				 const struct sl_response *re)
{
	h->set_text(t, "row", h->str(re->json, "0.title"));
	(void)c;
	return re->status == 200 ? SL_OK : SL_FAIL;
}

static const struct sl_operation row =
	SL_OPERATION_INIT("row", SL_LOOKUP, (const struct sl_via[]){{NULL, NULL, rows_parse}, SL_END_OF_VIAS},
			  &item_table, "item_id");

static const struct sl_operation blob = SL_OPERATION_INIT(
	"blob", SL_BLOB, (const struct sl_via[]){{&api, page_build, page_parse}, SL_END_OF_VIAS});

static const struct sl_event_field log_fields[] = {
	{"event_id", SL_EV_ID, SL_ATTR, NULL},       {"source", SL_EV_SOURCE, SL_ATTR, NULL},
	{"platform", SL_EV_PLATFORM, SL_ATTR, NULL}, {"kind", SL_EV_CONST, SL_ATTR, "item"},
	{"item_id", SL_EV_KEY, SL_ATTR, NULL},       {"title", SL_EV_VALUE, SL_DIMENSION, "title"},
	{"publish_time", SL_EV_TIME, SL_ATTR, "at"}, {"event_timestamp", SL_EV_NOW, SL_ATTR, NULL},
	{"metrics", SL_EV_GROUP, SL_METRIC, NULL},   SL_END_OF_EVENT_FIELDS,
};
static const struct sl_stream item_log = SL_STREAM_INIT("item_log", "x", "item_log", 0, log_fields, "e");

/* Without an identity: the same whatever the slices are. */
static const struct sl_event_field plain_fields[] = {
	{"item_id", SL_EV_KEY, SL_ATTR, NULL},
	{"metrics", SL_EV_GROUP, SL_METRIC, NULL},
	SL_END_OF_EVENT_FIELDS,
};
static const struct sl_stream plain_log = SL_STREAM_INIT("plain_log", "x", "plain_log", 0, plain_fields, "f");
static const struct sl_stream free_log = SL_STREAM_INIT("free_log", "x", "free_log", 0, NULL, "g");

static enum sl_result walk_retrieve(const struct sl_host *h, struct sl_task *t)
{
	const struct sl_call *c;
	struct sl_out *out;
	const char *what;

	if (h->round(t) == 0) {
		for (size_t i = 0; (what = h->batch(t, "of", 1, i)) != NULL; i++)
			h->on_error(h->call(t, &items, what, "token", h->param(t, "token"), NULL),
				    h->param_int(t, "report", 0) ? SL_ON_ERROR_REPORT : SL_ON_ERROR_FAIL);
		return SL_OK;
	}
	for (size_t i = 0; (c = h->ended(t, i)) != NULL; i++) {
		if (h->outcome(c) != SL_OK)
			h->append(t, "errors", h->outcome_text(c));
		else
			h->next(t, c, 1000);
	}
	out = h->out(t);
	h->out_object(out, NULL);
	h->out_int(out, "pages", h->get_int(t, "pages", 0));
	h->out_array(out, "said");
	for (size_t i = 0; i < h->count(t, "bodies"); i++)
		h->out_str(out, NULL, h->item(t, "bodies", i));
	h->out_end(out);
	h->out_array(out, "errors");
	for (size_t i = 0; i < h->count(t, "errors"); i++)
		h->out_str(out, NULL, h->item(t, "errors", i));
	h->out_end(out);
	h->out_int(out, "left behind", h->get_int(t, "left behind", 0));
	h->out_int(out, "random", (int64_t)(h->random(t) >> 1));
	h->out_end(out);
	h->result(t, out);
	return SL_OK;
}

static enum sl_result walk_emit(const struct sl_host *h, struct sl_task *t, struct sl_record *rec)
{
	h->event(t, &plain_log, rec);
	if (h->value_int(rec, SL_METRIC, "likes", 0) == 666)
		return h->fail(t, SL_FAIL, "cursed");
	h->append(t, "bodies", h->record_key(rec));
	return SL_OK;
}

static const struct sl_option walk_params[] = {
	{"of", SL_LIST, SL_REQUIRED, NULL, 1, 3, "what", {NULL, NULL}},
	{"report", SL_BOOL, 0, "false", 0, 0, "r", {NULL, NULL}},
	{"token", SL_STR, 0, NULL, 2, 10, "t", {NULL, NULL}},
	{"most", SL_INT, SL_REQUIRED | SL_NULLABLE, NULL, 1, 0, "m", {NULL, NULL}},
	SL_END_OF_OPTIONS,
};
static const struct sl_flow walk = SL_FLOW_INIT(
	"walk", "TEST", walk_params, (const struct sl_operation *const[]){&items, NULL}, NULL,
	(const struct sl_stream *const[]){&plain_log, NULL}, walk_retrieve, NULL, walk_emit, 0, "w");

/* What needs no response: the result shows what came back. */
static void host_functions(const struct sl_host *h, struct sl_task *t)
{
	const char *const link = "<https://a/1>; rel=\"previous\", <https://a/3?x=1,2>; rel=\"next\"";
	struct sl_out *out = h->out(t);
	const char *lot;

	for (int i = 0; i < 40; i++)
		h->append(t, "list", h->format(t, "n%d", i));
	h->set_text(t, "text", "kept");
	h->set_text(t, "text", NULL);
	h->set_int(t, "int", 7);
	h->forget(t, "int");
	h->out_array(out, NULL);
	for (size_t i = 0; (lot = h->batch(t, "list", 16, i)) != NULL; i++)
		h->out_int(out, NULL, (int64_t)strlen(lot));
	h->out_bool(out, NULL, h->contains(t, "list", "n39") && !h->contains(t, "list", "n40"));
	h->out_str(out, NULL, h->get_text(t, "text"));
	h->out_int(out, NULL, h->get_int(t, "int", -1));
	h->out_str(out, NULL, h->link_next(t, link));
	h->out_int(out, NULL, h->time("2023-11-14T22:13:20.9Z", -1) - h->now(t));
	h->out_int(out, NULL, h->param_int(t, "wait", -1));
	h->out_int(out, NULL, h->param_int(t, "since", -1));
	h->out_str(out, NULL, h->param(t, "path"));
	h->out_int(out, NULL, h->option_int(t, "page_delay"));
	h->out_str(out, NULL, h->str(h->parse_json(t, "{\"a\":[{\"b\":1.5}]}"), "x|a.0.b"));
	h->out_float(out, NULL, h->number(h->parse_json(t, "[2.5]"), "0", 0));
	h->out_json(out, NULL, h->parse_json(t, "{\"k\":null}"));
	h->out_end(out);
	h->result(t, out);
}

/* One flow whose steps are chosen by a parameter. */
static enum sl_result try_retrieve(const struct sl_host *h, struct sl_task *t)
{
	const char *what = h->param(t, "what");
	const struct sl_call *c;
	struct sl_call *added;

	if (h->round(t) > 0) {
		for (size_t i = 0; (c = h->ended(t, i)) != NULL; i++) {
			h->debug(t, "%s", h->key(c));
			if (h->outcome(c) != SL_OK && h->round(t) == 1)
				h->next(t, c, 0);
		}
		if (!strcmp(what, "join") && h->round(t) == 1)
			h->join(h->call(t, &part, "c", NULL), "j");
		return SL_OK;
	}
	if (!strcmp(what, "join")) {
		h->join(h->call(t, &part, "a", NULL), "j");
		h->join(h->call(t, &part, "b", NULL), "j");
	} else if (!strcmp(what, "orders")) {
		added = h->call(t, &orders, h->param(t, "path"), "link", h->param(t, "link"), "json",
				h->param(t, "json"), NULL);
		h->bind(added, h->param(t, "shop"));
	} else if (!strcmp(what, "row")) {
		h->call(t, &row, "1", NULL);
	} else if (!strcmp(what, "blob")) {
		h->call(t, &blob, "1", NULL);
	} else if (!strcmp(what, "again")) {
		h->on_error(h->call(t, &part, "again", "token", "t", NULL), SL_ON_ERROR_REPORT);
	} else if (!strcmp(what, "host")) {
		host_functions(h, t);
	} else if (!strcmp(what, "stub")) {
		h->put_str(h->record(t, &item_type, "s1", NULL, NULL), SL_DIMENSION, "title", "stub");
		h->record(t, &item_type, "", NULL, NULL);
	} else if (!strcmp(what, "facts")) {
		for (int i = 0; i < 100000; i++)
			h->append(t, "list", "0123456789");
	} else if (!strcmp(what, "json")) {
		h->result(t, h->out(t));
	} else if (!strcmp(what, "unlisted")) {
		h->call(t, &items, "1", NULL);
	} else {
		h->call(t, &part, what, NULL);
	}
	return SL_OK;
}

static enum sl_result try_page(const struct sl_host *h, struct sl_task *t, const struct sl_call *c)
{
	struct sl_out *out = h->out(t);

	if (strcmp(h->param(t, "what"), "page"))
		return SL_OK;
	h->out_object(out, NULL);
	h->out_str(out, "of", h->key(c));
	h->out_value(out, "likes", h->page_record(t, 0), SL_METRIC,
		     h->value_name(h->page_record(t, 0), SL_METRIC, 0));
	h->out_end(out);
	h->event_json(t, &free_log, out);
	return SL_OK;
}

static enum sl_result try_emit(const struct sl_host *h, struct sl_task *t, struct sl_record *rec)
{
	const struct sl_json *extra = h->parse_json(t, h->param(t, "extra"));

	h->put_json(rec, SL_DIMENSION, "public", h->at(extra, "public"));
	h->put_json(rec, SL_DIMENSION, "tags", h->at(extra, "tags"));
	h->put_json(rec, SL_DIMENSION, "raw", h->at(extra, "raw"));
	if (h->str(extra, "at"))
		h->put_int(rec, SL_ATTR, "at", h->time(h->str(extra, "at"), 0));
	h->upsert(t, &item_table, rec);
	h->event(t, &item_log, rec);
	return SL_OK;
}

static const struct sl_option try_params[] = {
	{"what", SL_STR, 0, "part", 0, 0, "w", {NULL, NULL}},
	{"path", SL_STR, 0, "/orders", 0, 0, "p", {NULL, NULL}},
	{"link", SL_STR, 0, NULL, 0, 0, "l", {NULL, NULL}},
	{"json", SL_STR, 0, NULL, 0, 0, "j", {NULL, NULL}},
	{"shop", SL_STR, 0, NULL, 0, 0, "s", {NULL, NULL}},
	{"extra", SL_STR, 0, NULL, 0, 0, "e", {NULL, NULL}},
	{"wait", SL_DURATION, 0, "2s", 0, 0, "d", {NULL, NULL}},
	{"since", SL_TIME, 0, NULL, 0, 0, "t", {NULL, NULL}},
	SL_END_OF_OPTIONS,
};
static const struct sl_flow try_flow = SL_FLOW_INIT(
	"try", "TEST", try_params, (const struct sl_operation *const[]){&orders, &part, &row, &blob, NULL},
	(const struct sl_table *const[]){&item_table, NULL},
	(const struct sl_stream *const[]){&item_log, &free_log, NULL}, try_retrieve, try_page, try_emit, 0,
	"t");

static const struct sl_option plugin_options[] = {
	{"page_delay", SL_DURATION, 0, "250ms", 0, 0, "p", {NULL, NULL}},
	SL_END_OF_OPTIONS,
};
const struct sl_plugin flow_plugin = {
	sizeof(struct sl_plugin),
	SL_ABI_MAJOR,
	SL_ABI_MINOR,
	.options = plugin_options,
	.name = "test",
	.version = "1",
	.doc = "for the tests",
	.sources = (const struct sl_source *const[]){&api, &spare, &shop, NULL},
	.operations = (const struct sl_operation *const[]){&items, &orders, &part, &row, &blob, NULL},
	.flows = (const struct sl_flow *const[]){&walk, &try_flow, NULL},
	.tables = (const struct sl_table *const[]){&item_table, NULL},
	.streams = (const struct sl_stream *const[]){&item_log, &plain_log, &free_log, NULL},
};
