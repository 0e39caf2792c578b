/* SPDX-License-Identifier: Apache-2.0 */
/* sluicectl task skipped and forget: the failures that flows with skip_after remember. */
#include "ctl.h"

#include <string.h>

#include <sluice/plugin.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/str.h"
#include "conf/model.h"
#include "conf/params.h"
#include "json/json.h"
#include "json/jwrite.h"
#include "setup/new_task.h"
#include "store/store_sync.h"

#define LIST_DEFAULT 50
#define CELL_MAX 70

const struct ctl_option task_skipped_options[] = {
	{"all", 0, NULL, "also what failed less often, or so long ago, that it still gets tasks"},
	{"limit", 0, "N", "at most N of a flow (50)"},
	{NULL, 0, NULL, NULL}
};

const struct ctl_option task_forget_options[] = {
	{"all", 0, NULL, "everything that the flow remembers"},
	{"json-params", 0, "JSON", "parameters as a JSON object; KEY=VALUE goes before it"},
	{NULL, 0, NULL, NULL}
};

/* --- skipped --- */

/* The flow of flows.yaml with skip_after; NULL after complaining. */
static const struct conf_flow *find_flow(struct ctl *ctl, const char *name)
{
	const struct conf_flow *conf = conf_flow(ctl->setup.conf, name);

	if (conf == NULL || !conf->enabled)
		ctl_fail("flow \"%s\" is not listed below flows: in %s", name, ctl->setup.file);
	else if (conf->skip.failures == 0)
		ctl_fail("flow \"%s\" has no skip_after in %s: it remembers no failures", name, ctl->setup.file);
	else
		return conf;
	return NULL;
}

static void add_failure(struct table *table, struct jwrite *w, const struct store_failure *failure)
{
	char first[CLOCK_TEXT_SIZE], last[CLOCK_TEXT_SIZE];

	clock_format(first, failure->first_ms / 1000);
	clock_format(last, failure->last_ms / 1000);
	table_cell(table, failure->flow);
	table_cut(table, failure->key, CELL_MAX);
	table_printf(table, "%lld", (long long)failure->count);
	table_cell(table, first);
	table_cell(table, last);
	table_cut(table, failure->error, CELL_MAX);
	jwrite_object(w, NULL);
	jwrite_string(w, "flow", failure->flow);
	jwrite_string(w, "key", failure->key);
	jwrite_int(w, "failures", failure->count);
	jwrite_string(w, "first_at", first);
	jwrite_string(w, "last_at", last);
	jwrite_string(w, "error", failure->error);
	jwrite_end(w);
}

static int add_flow(struct ctl *ctl, const struct conf_flow *conf, long long limit, struct table *table,
		    struct jwrite *w)
{
	bool all = ctl_option(ctl, "all") != NULL;
	struct store_failure_filter filter = {
		.flow = conf->name,
		.after_ms = all ? 0 : clock_wall_ms() - conf->skip.period_ms,
		.least = all ? 1 : conf->skip.failures,
		.limit = (size_t)limit
	};
	struct store_failure *rows;
	struct error err;
	size_t count;

	if (store_sync_failures(ctl->store, &filter, ctl->arena, &rows, &count, &err) != 0) {
		ctl_fail("the task store: %s", err.text);
		return -1;
	}
	for (size_t i = 0; i < count; i++)
		add_failure(table, w, &rows[i]);
	return 0;
}

int cmd_task_skipped(struct ctl *ctl)
{
	const struct conf_flow *only = NULL;
	const struct conf_model *conf;
	struct table *table;
	struct jwrite w;
	struct buf out;
	long long limit;
	int rc = 0;

	if (ctl_option_number(ctl, "limit", LIST_DEFAULT, &limit) != 0)
		return CTL_USAGE;
	if (ctl_load(ctl, true) != 0)
		return CTL_FAILED;
	if (ctl->arg_count > 0 && (only = find_flow(ctl, ctl->args[0])) == NULL)
		return CTL_FAILED;
	if (ctl_open_store(ctl, false) != 0)
		return CTL_FAILED;
	conf = ctl->setup.conf;
	table = table_new(ctl, "FLOW KEY FAILURES> FIRST LAST ERROR");
	buf_init(&out);
	jwrite_init(&w, &out);
	jwrite_array(&w, NULL);
	for (size_t i = 0; i < conf->flow_count && rc == 0; i++)
		if (only != NULL ? &conf->flows[i] == only : conf->flows[i].skip.failures > 0)
			rc = add_flow(ctl, &conf->flows[i], limit, table, &w);
	jwrite_end(&w);
	if (rc == 0)
		table_or_json(table, &out);
	else
		buf_fini(&out);
	return rc == 0 ? CTL_OK : CTL_FAILED;
}

/* --- forget --- */

/* Of a flow with unique: those parameters are enough, and all of them are needed. Else all of a task's. */
static int check_params(const struct sl_flow *flow, const struct conf_flow *conf, const struct json *params,
			struct error *err)
{
	if (conf->unique_count == 0)
		return conf_params_check(flow->params, params, err);
	for (size_t i = 0; i < conf->unique_count; i++)
		if (json_type(json_member(params, conf->unique[i])) == JSON_NULL)
			return error_set(err, ERR_INPUT, "\"%s\" is missing, which is in unique of flow \"%s\"",
					 conf->unique[i], conf->name);
	return 0;
}

/* The key that the command line's parameters make; NULL after complaining. */
static const char *read_key(struct ctl *ctl, const struct sl_flow *flow, const struct conf_flow *conf)
{
	const char *params, *key = NULL;
	struct json_doc *doc = NULL;
	struct error err;

	params = params_make(ctl, flow, ctl_option(ctl, "json-params"), ctl->args + 1, ctl->arg_count - 1, -1, &err);
	if (params != NULL)
		doc = json_parse(params, strlen(params), &err);
	if (doc != NULL && check_params(flow, conf, json_root(doc), &err) == 0)
		key = new_task_key(ctl->arena, conf, json_root(doc));
	json_doc_free(&doc);
	if (key == NULL)
		ctl_fail("%s", err.text);
	return key;
}

static int forget(struct ctl *ctl, const struct store_forget *what)
{
	int64_t count, total = 0;
	struct jwrite w;
	struct buf out;
	struct error err;

	do {
		if (store_sync_forget(ctl->store, what, &count, &err) != 0)
			return ctl_fail("the task store: %s", err.text);
		total += count;
	} while (count > 0);
	if (!ctl->json) {
		printf("%lld failures forgotten\n", (long long)total);
		return CTL_OK;
	}
	buf_init(&out);
	jwrite_init(&w, &out);
	jwrite_object(&w, NULL);
	jwrite_string(&w, "flow", what->flow);
	jwrite_string(&w, "key", what->key);
	jwrite_int(&w, "forgotten", total);
	jwrite_end(&w);
	puts(out.data);
	buf_fini(&out);
	return CTL_OK;
}

int cmd_task_forget(struct ctl *ctl)
{
	bool all = ctl_option(ctl, "all") != NULL;
	bool some = ctl->arg_count > 1 || ctl_option(ctl, "json-params") != NULL;
	struct store_forget what = { .flow = ctl->args[0] };
	const struct plugin *plugin;
	const struct sl_flow *flow;
	const struct conf_flow *conf;

	if (all == some)
		return ctl_usage(ctl, all ? "--all goes with no parameters" :
				 "which? Give parameters, as in handle=abc, or --all");
	if (ctl_load(ctl, true) != 0)
		return CTL_FAILED;
	flow = ctl_flow(ctl, ctl->args[0], &plugin);
	if (flow == NULL)
		return CTL_FAILED;
	conf = conf_flow(ctl->setup.conf, flow->name);
	if (!all && conf == NULL)
		return ctl_fail("flow \"%s\" is not listed below flows: in %s", flow->name, ctl->setup.file);
	if (!all && (what.key = read_key(ctl, flow, conf)) == NULL)
		return CTL_FAILED;
	if (ctl_open_store(ctl, false) != 0)
		return CTL_FAILED;
	return forget(ctl, &what);
}
