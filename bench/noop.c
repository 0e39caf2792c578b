/* SPDX-License-Identifier: Apache-2.0 */
/* A plugin for bench/run: tasks that ask and write nothing. What is left is their claim and their end. */
#include <sluice/plugin.h>

static enum sl_result noop_retrieve(const struct sl_host *h, struct sl_task *t)
{
	(void)h;
	(void)t;
	return SL_OK;
}

static enum sl_result noop_emit(const struct sl_host *h, struct sl_task *t, struct sl_record *rec)
{
	(void)h;
	(void)t;
	(void)rec;
	return SL_OK;
}

static const struct sl_option params[] = {SL_END_OF_OPTIONS};

static const struct sl_flow noop = SL_FLOW_INIT(
	.name = "noop", .platform = "BENCH", .params = params, .retrieve = noop_retrieve, .emit = noop_emit,
	.doc = "Nothing at all");
static const struct sl_flow *const flows[] = {&noop, NULL};

SLUICE_PLUGIN(.name = "noop", .version = "1.0", .doc = "Tasks that do nothing", .flows = flows);
