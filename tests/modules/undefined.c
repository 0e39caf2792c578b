/* SPDX-License-Identifier: Apache-2.0 */
/* A plugin that calls a function nobody has: to be refused when it is loaded, not when it calls. */
#include <sluice/plugin.h>

enum sl_result sluice_test_nobody_has_this(const struct sl_host *h, struct sl_task *t);

static enum sl_result retrieve(const struct sl_host *h, struct sl_task *t)
{
	return sluice_test_nobody_has_this(h, t);
}

static enum sl_result emit(const struct sl_host *h, struct sl_task *t, struct sl_record *rec)
{
	(void)h;
	(void)t;
	(void)rec;
	return SL_OK;
}

static const struct sl_flow flow = SL_FLOW_INIT(
	.name = "undefined_flow", .platform = "TEST", .retrieve = retrieve, .emit = emit, .doc = "Never runs");
static const struct sl_flow *const flows[] = { &flow, NULL };

SLUICE_PLUGIN(.name = "undefined", .version = "1.0", .doc = "Misses a symbol", .flows = flows);
