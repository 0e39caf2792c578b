/* SPDX-License-Identifier: Apache-2.0 */
/* A flow whose retrieve does what the parameter how says: ok, hang, crash, exit. It asks nothing and emits nothing. */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <sluice/plugin.h>

static enum sl_result retrieve(const struct sl_host *h, struct sl_task *t)
{
	const char *how = h->param(t, "how");

	if (how == NULL || strcmp(how, "ok") == 0)
		return SL_OK;
	if (strcmp(how, "crash") == 0)
		raise(SIGSEGV);
	if (strcmp(how, "exit") == 0)
		_exit(0);
	while (strcmp(how, "hang") == 0)
		pause();
	return h->fail(t, SL_FAIL, "how: it is one of ok, hang, crash, exit");
}

static enum sl_result emit(const struct sl_host *h, struct sl_task *t, struct sl_record *rec)
{
	(void)h;
	(void)t;
	(void)rec;
	return SL_OK;
}

static const struct sl_option params[] = {
	{ .name = "how", .type = SL_STR, .doc = "What goes wrong" },
	SL_END_OF_OPTIONS
};

static const struct sl_flow flow = SL_FLOW_INIT(
	.name = "faulty_flow", .platform = "TEST", .params = params, .retrieve = retrieve, .emit = emit,
	.doc = "Hangs, crashes or exits in its callback");
static const struct sl_flow *const flows[] = { &flow, NULL };

SLUICE_PLUGIN(.name = "faulty", .version = "1.0", .doc = "Misbehaves while it runs", .flows = flows);
