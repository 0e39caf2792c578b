/* SPDX-License-Identifier: Apache-2.0 */
/* Shopify: the orders of one shop, through the Admin API with the shop's own token. */
#include "../lib/lib.h"

/* 402, 423: the shop is frozen or locked; no other credential changes that. */
static enum sl_result shop_error(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
				 const struct sl_response *re)
{
	const char *text = h->str(re->json, "errors|error");

	(void)c;
	if (!text && h->at(re->json, "errors|error"))
		text = h->raw(h->at(re->json, "errors|error"));
	if (!text)
		text = "Something went wrong";
	switch (re->status) {
	case 401:
	case 403:
		return h->fail(t, SL_AUTH, text);
	case 404:
		return h->fail(t, SL_GONE, text);
	case 408:
		return h->fail(t, SL_RETRY, text);
	case 429:
		return h->fail(t, SL_LIMIT, text);
	default:
		return h->fail(t, re->status >= 500 ? SL_RETRY : SL_FAIL, text);
	}
}

static const struct sl_source shopify = SL_SOURCE_INIT(
	.name = "shopify", .base_url = "https://{handle}", .flags = SL_SOURCE_BOUND,
	.auth = SL_AUTH_HEADERS,
	.feedback = SL_FEEDBACK_RETRY_AFTER | SL_FEEDBACK_SHOPIFY, .error = shop_error,
	.doc = "Shopify Admin API of one shop; the credential's members are headers");

static const struct sl_record_type order_type = SL_RECORD_TYPE("order");

static const struct sl_field order_fields[] = {
	{SL_DIMENSION, "platform_order_id", "id", SL_STR},
	{SL_DIMENSION, "name", "name", SL_STR},
	{SL_DIMENSION, "status", "fulfillments.0.status", SL_STR},
	{SL_DIMENSION, "landing_site", "landing_site", SL_STR},
	{SL_DIMENSION, "store_name", "line_items.0.vendor", SL_STR},
	{SL_DIMENSION, "order_data", "", SL_ANY},
	SL_END_OF_FIELDS
};

/* Further pages are addressed by Shopify's own link, which holds all that was asked for. */
static enum sl_result orders_build(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
				   struct sl_request *r)
{
	static const char *const bounds[] = {"updated_at_min", "created_at_min", "created_at_max"};

	(void)t;
	if (h->cursor(c)) {
		h->follow(r, h->cursor(c));
		return SL_OK;
	}
	h->get(r, "/admin/api/2023-04/orders.json");
	h->query(r, "status", "any");
	h->query(r, "limit", h->arg(c, "limit"));
	for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++)
		h->query(r, bounds[i], h->arg(c, bounds[i]));
	return SL_OK;
}

static enum sl_result orders_parse(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
				   const struct sl_response *re)
{
	const struct sl_json *order;

	if (!h->is_array(h->at(re->json, "orders")))
		return h->fail(t, SL_RETRY, "API Failure");
	SL_EACH(h, order, h->at(re->json, "orders")) {
		struct sl_record *rec = h->record(t, &order_type, h->str(order, "id"), order, order_fields);

		h->put_str(rec, SL_DIMENSION, "platform", "SHOPIFY");
		h->put_str(rec, SL_DIMENSION, "store", h->key(c));
		h->put_str(rec, SL_DIMENSION, "utm_params", utm_params(h, t, h->str(order, "landing_site")));
		if (rec)
			paging_note(h, t, "orders", 0);
	}
	h->set_cursor(t, h->link_next(t, h->response_header(re, "Link")));
	return SL_OK;
}

static const struct sl_via orders_vias[] = {{&shopify, orders_build, orders_parse}, SL_END_OF_VIAS};

static const struct sl_operation orders = SL_OPERATION_INIT(
	.name = "orders", .via = orders_vias, .doc = "A page of a shop's orders");

#define D SL_DIMENSION

static const struct sl_column order_columns[] = {
	{"platform", SL_TEXT, SL_KEEP, D, "platform"},
	{"platform_order_id", SL_TEXT, SL_KEEP, D, "platform_order_id"},
	{"status", SL_TEXT, SL_KEEP, D, "status"},
	{"name", SL_TEXT, SL_KEEP, D, "name"},
	{"store", SL_TEXT, SL_KEEP, D, "store"},
	{"store_name", SL_TEXT, SL_KEEP, D, "store_name"},
	{"landing_site", SL_TEXT, SL_KEEP, D, "landing_site"},
	{"utm_params", SL_TEXT, SL_KEEP, D, "utm_params"},
	{"order_data", SL_JSONB, SL_KEEP, D, "order_data"},
	SL_END_OF_COLUMNS
};

static const char *const order_indexes[] = {"store", NULL};

static const struct sl_table order_table = SL_TABLE_INIT(
	.name = "order", .key_column = "platform_order_id", .flags = SL_TABLE_STAMPED,
	.columns = order_columns, .indexes = order_indexes, .doc = "Orders as last seen");

static const struct sl_event_field event_fields[] = {
	{"event_id", SL_EV_ID, SL_ATTR, NULL},
	{"source", SL_EV_SOURCE, SL_ATTR, NULL},
	{"platform", SL_EV_PLATFORM, SL_ATTR, NULL},
	{"platform_order_id", SL_EV_KEY, SL_ATTR, NULL},
	{"store", SL_EV_VALUE, D, "store"},
	{"event_timestamp", SL_EV_NOW, SL_ATTR, NULL},
	{"metrics", SL_EV_GROUP, SL_METRIC, NULL},
	{"dimensions", SL_EV_GROUP, D, NULL},
	SL_END_OF_EVENT_FIELDS
};

static const struct sl_stream order_log_events = SL_STREAM_INIT(
	.name = "order_log_events", .exchange = BEAT_EXCHANGE, .key = "order_log_events",
	.fields = event_fields, .doc = "One event per order refreshed");

static enum sl_result retrieve(const struct sl_host *h, struct sl_task *t)
{
	const char *store = h->param(t, "store");
	const struct sl_call *ended = h->ended(t, 0);
	struct sl_out *out;

	if (h->round(t) == 0) {
		const char *limit = h->format(t, "%lld", (long long)h->param_int(t, "limit", 250));

		h->bind(h->call(t, &orders, store, "limit", limit,
				"updated_at_min", h->param(t, "updated_at_min"),
				"created_at_min", h->param(t, "created_at_min"),
				"created_at_max", h->param(t, "created_at_max"), NULL), store);
		return SL_OK;
	}
	if (ended && paging_more(h, t, ended, "orders", INT64_MAX, 0)) {
		h->next(t, ended, 0);
		return SL_OK;
	}
	out = h->out(t);
	h->out_object(out, NULL);
	h->out_int(out, "orders", paging_count(h, t, "orders"));
	h->out_end(out);
	h->result(t, out);
	return SL_OK;
}

static enum sl_result emit(const struct sl_host *h, struct sl_task *t, struct sl_record *rec)
{
	h->upsert(t, &order_table, rec);
	h->event(t, &order_log_events, rec);
	return SL_OK;
}

static const struct sl_source *const sources[] = {&shopify, NULL};
static const struct sl_operation *const operations[] = {&orders, NULL};
static const struct sl_table *const tables[] = {&order_table, NULL};
static const struct sl_stream *const streams[] = {&order_log_events, NULL};

static const struct sl_option params[] = {
	{"store", SL_STR, SL_REQUIRED, NULL, 1, 253, "host name of the shop", {NULL, NULL}},
	{"limit", SL_INT, 0, "250", 1, 250, "orders per page", {NULL, NULL}},
	{"updated_at_min", SL_STR, SL_NULLABLE, NULL, 0, 0, "orders changed since, ISO 8601", {NULL, NULL}},
	{"created_at_min", SL_STR, SL_NULLABLE, NULL, 0, 0, "orders made since, ISO 8601", {NULL, NULL}},
	{"created_at_max", SL_STR, SL_NULLABLE, NULL, 0, 0, "orders made until, ISO 8601", {NULL, NULL}},
	SL_END_OF_OPTIONS
};

static const struct sl_flow refresh_orders_by_store = SL_FLOW_INIT(
	.name = "refresh_orders_by_store", .platform = "SHOPIFY", .params = params,
	.operations = operations, .tables = tables, .streams = streams,
	.retrieve = retrieve, .emit = emit, .doc = "All orders of a shop within the bounds given");

static const struct sl_flow *const flows[] = {&refresh_orders_by_store, NULL};

SLUICE_PLUGIN(
	.name = "shopify", .version = "1.0", .doc = "Orders of Shopify shops",
	.sources = sources, .operations = operations, .flows = flows, .tables = tables, .streams = streams);
