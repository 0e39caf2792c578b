/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plugin whose one source wants OAuth 2.0. tests/system/test_credential.py
 * compiles it with the addresses of the servers that it plays: TOKEN_URL and BASE_URL.
 */
#include <sluice/plugin.h>

static const char *const fields_needed[] = {"refresh_token", "client_id", "client_secret", NULL};
static const struct sl_source source = SL_SOURCE_INIT(
	.name = "worker_oauth", .base_url = BASE_URL, .auth = SL_AUTH_OAUTH2, .auth_name = TOKEN_URL,
	.fields = fields_needed);

static enum sl_result item_build(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
				 struct sl_request *r)
{
	(void)t;
	(void)c;
	h->get(r, "/item");
	return SL_OK;
}

static enum sl_result item_parse(const struct sl_host *h, struct sl_task *t, const struct sl_call *c,
				 const struct sl_response *re)
{
	(void)h;
	(void)t;
	(void)c;
	(void)re;
	return SL_OK;
}

static const struct sl_via vias[] = {{&source, item_build, item_parse}, SL_END_OF_VIAS};
static const struct sl_operation item = SL_OPERATION_INIT(.name = "item", .via = vias);

static enum sl_result retrieve(const struct sl_host *h, struct sl_task *t)
{
	if (h->round(t) == 0)
		h->call(t, &item, "one", NULL);
	return SL_OK;
}

static enum sl_result emit(const struct sl_host *h, struct sl_task *t, struct sl_record *rec)
{
	(void)h;
	(void)t;
	(void)rec;
	return SL_OK;
}

static const struct sl_option params[] = {SL_END_OF_OPTIONS};
static const struct sl_operation *const operations[] = {&item, NULL};
static const struct sl_flow flow = SL_FLOW_INIT(
	.name = "worker_oauth", .platform = "TEST", .params = params, .operations = operations, .retrieve = retrieve,
	.emit = emit);

static const struct sl_source *const sources[] = {&source, NULL};
static const struct sl_flow *const flows[] = {&flow, NULL};
SLUICE_PLUGIN(.name = "worker_oauth", .version = "1.0", .doc = "A source with OAuth 2.0", .sources = sources,
	      .operations = operations, .flows = flows);
