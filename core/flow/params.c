/* SPDX-License-Identifier: Apache-2.0 */
/* Checking a task's parameters against what its flow declares, before the task is made. Any thread. */
#include "flow/internal.h"

#include "conf/params.h"

int flow_check_params(const struct sl_flow *flow, const struct json *params, struct error *err)
{
	if (conf_params_check(flow->params, params, err) == 0)
		return 0;
	return error_prefix(err, "flow \"%s\"", flow->name);
}
