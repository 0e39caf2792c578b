/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plugin with the ways to place a credential that no shipped plugin has, for
 * tests/system/test_secrets.py. What its upstream says goes where plugins put
 * such things: into error texts, cursors and facts of its own making.
 */
#include <string.h>

#include <sluice/plugin.h>

static const char *const names[] = {"X-Ticket", NULL};

static const struct sl_source bearer = SL_SOURCE_INIT(
	.name = "echo-bearer", .base_url = "http://127.0.0.1:1", .auth = SL_AUTH_BEARER, .auth_field = "token",
	.secret_names = names);
static const struct sl_source header = SL_SOURCE_INIT(
	.name = "echo-header", .base_url = "http://127.0.0.1:1", .auth = SL_AUTH_HEADER, .auth_name = "X-Key",
	.auth_field = "key", .secret_names = names);
static const struct sl_source query = SL_SOURCE_INIT(
	.name = "echo-query", .base_url = "http://127.0.0.1:1", .auth = SL_AUTH_QUERY, .auth_name = "k", .auth_field = "key",
	.secret_names = names);
static const struct sl_source hand = SL_SOURCE_INIT(.name = "echo-hand", .base_url = "http://127.0.0.1:1");

static const struct sl_record_type page_type = SL_RECORD_TYPE("page");

static enum sl_result build(const struct sl_host *h, struct sl_task *t, const struct sl_call *c, struct sl_request *r)
{
	if (h->cursor(c)) {
		h->follow(r, h->cursor(c));
		return SL_OK;
	}
	h->get(r, "/ask");
	h->query(r, "mode", h->param(t, "mode"));
	h->header(r, "X-Ticket", "ticket-S3cret-42");
	return SL_OK;
}

static enum sl_result build_by_hand(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
				    struct sl_request *r)
{
	(void)c;
	h->post(r, "/ask");
	h->query(r, "mode", h->param(t, "mode"));
	h->secret_query(r, "sig", "key");
	h->secret_header(r, "X-Sig", "Key ", "key");
	h->secret_form(r, "pass", "key");
	h->header(r, "X-App", h->option(t, "app_secret"));
	return SL_OK;
}

static enum sl_result parse(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
			    const struct sl_response *re)
{
	(void)c;
	if (!re->json || h->str(re->json, "message"))
		return h->fail(t, SL_FAIL, re->json ? h->str(re->json, "message") : re->body);
	h->record(t, &page_type, h->str(re->json, "page"), NULL, NULL);
	h->set_cursor(t, h->str(re->json, "next"));
	return SL_OK;
}

static const struct sl_operation ask_bearer = SL_OPERATION_INIT(
	.name = "bearer", .via = (const struct sl_via[]){{&bearer, build, parse}, SL_END_OF_VIAS});
static const struct sl_operation ask_header = SL_OPERATION_INIT(
	.name = "header", .via = (const struct sl_via[]){{&header, build, parse}, SL_END_OF_VIAS});
static const struct sl_operation ask_query = SL_OPERATION_INIT(
	.name = "query", .via = (const struct sl_via[]){{&query, build, parse}, SL_END_OF_VIAS});
static const struct sl_operation ask_hand = SL_OPERATION_INIT(
	.name = "hand", .via = (const struct sl_via[]){{&hand, build_by_hand, parse}, SL_END_OF_VIAS});
static const struct sl_operation *const operations[] = {&ask_bearer, &ask_header, &ask_query, &ask_hand, NULL};

static enum sl_result retrieve(const struct sl_host *h, struct sl_task *t)
{
	if (strcmp(h->param(t, "mode"), "crash") == 0 && h->round(t) > 0)
		__builtin_trap();
	if (h->round(t) > 0) {
		if (h->next_cursor(h->ended(t, 0)))
			h->next(t, h->ended(t, 0), 0);
		return SL_OK;
	}
	for (size_t i = 0; operations[i]; i++)
		if (strcmp(operations[i]->name, h->param(t, "kind")) == 0)
			h->call(t, operations[i], h->param(t, "kind"), NULL);
	return SL_OK;
}

static enum sl_result emit(const struct sl_host *h, struct sl_task *t, struct sl_record *rec)
{
	(void)h;
	(void)t;
	(void)rec;
	return SL_OK;
}

static const struct sl_option params[] = {
	{"kind", SL_STR, SL_REQUIRED, NULL, 1, 20, "which source", {NULL, NULL}},
	{"mode", SL_STR, SL_REQUIRED, NULL, 1, 20, "what its upstream answers", {NULL, NULL}},
	SL_END_OF_OPTIONS
};
static const struct sl_flow flow = SL_FLOW_INIT(.name = "secrets_echo", .platform = "TEST", .params = params,
						.operations = operations, .retrieve = retrieve, .emit = emit);

static const struct sl_option options[] = {
	{"app_secret", SL_STR, SL_SECRET | SL_REQUIRED, NULL, 0, 0, "sent along", {NULL, NULL}},
	SL_END_OF_OPTIONS
};
SLUICE_PLUGIN(.name = "secrets_echo", .version = "1.0", .doc = "Sends secrets in every way", .options = options,
	      .sources = (const struct sl_source *const[]){&bearer, &header, &query, &hand, NULL},
	      .operations = operations, .flows = (const struct sl_flow *const[]){&flow, NULL});
