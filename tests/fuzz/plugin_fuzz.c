/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any answer: a plugin's flows end, with a result or a failure, whatever the
 * upstream says. Linked once with each plugin. The first byte chooses the flow,
 * the second the status, the rest is the body that every call gets. To fuzz:
 * clang -fsanitize=fuzzer,address this file with the plugin's sources, the fake
 * host, the build's core/libcore.a and its libraries.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../fake/fake_host.h"
#include "base/arena.h"
#include "base/buf.h"

#define PER_OPERATION 8		/* answers; further calls fail */
#define OPERATIONS 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *sample(const struct sl_option *option)
{
	switch (option->type) {
	case SL_LIST: return "[\"abc\"]";
	case SL_INT: return "1";
	default: return "\"abc\"";
	}
}

/* Every required parameter, as small as may be. */
static void params_put(const struct sl_flow *flow, struct buf *out)
{
	buf_addc(out, '{');
	for (const struct sl_option *option = flow->params; option->name; option++)
		if (option->flags & SL_REQUIRED)
			buf_printf(out, "%s\"%s\":%s", out->len > 1 ? "," : "", option->name, sample(option));
	buf_addc(out, '}');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int statuses[] = {200, 200, 200, 303, 400, 401, 403, 404, 429, 500};
	struct fake_answer answers[OPERATIONS * PER_OPERATION + 1] = {{NULL, NULL, 0, NULL, NULL}};
	struct fake fake = {.plugin = &sluice_plugin_v1, .answers = answers};
	const struct sl_flow *flow;
	size_t flows = 0, n = 0;
	struct buf params;
	char *body, *out;

	if (size < 2)
		return 0;
	while (sluice_plugin_v1.flows[flows])
		flows++;
	flow = sluice_plugin_v1.flows[data[0] % flows];
	body = mem_alloc(size);
	memcpy(body, data + 2, size - 2);
	for (size_t i = 0; flow->operations[i] && i < OPERATIONS; i++)
		for (size_t k = 0; k < PER_OPERATION; k++)
			answers[n++] = (struct fake_answer){flow->operations[i]->name, NULL,
				statuses[data[1] % (sizeof(statuses) / sizeof(statuses[0]))], body,
				"Link: <https://abc/next>; rel=\"next\""};
	buf_init(&params);
	params_put(flow, &params);
	out = fake_run(&fake, flow->name, params.data);
	if (!strstr(out, "{\"result\":") && !strstr(out, "{\"failure\":"))
		abort();
	mem_release(out);
	mem_release(body);
	buf_fini(&params);
	return 0;
}
