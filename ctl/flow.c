/* SPDX-License-Identifier: Apache-2.0 */
/* sluicectl flow list and show: what plugins offer, and what flows.yaml makes of it. */
#include "ctl.h"

#include <string.h>

#include <sluice/plugin.h>

#include "base/arena.h"
#include "base/str.h"
#include "conf/model.h"
#include "json/json.h"
#include "json/jwrite.h"
#include "plugin/plugin.h"

static const struct conf_flow *configured(struct ctl *ctl, const char *name)
{
	const struct conf_flow *conf = conf_flow(ctl->setup.conf, name);

	return conf != NULL && conf->enabled ? conf : NULL;
}

static void write_conf(struct jwrite *w, const struct conf_flow *conf)
{
	if (conf == NULL) {
		jwrite_null(w, "configured");
		return;
	}
	jwrite_object(w, "configured");
	jwrite_int(w, "workers", conf->workers);
	jwrite_int(w, "concurrency", conf->concurrency);
	jwrite_int(w, "attempts", conf->attempts);
	jwrite_int(w, "priority", conf->priority);
	jwrite_int(w, "timeout_ms", conf->timeout_ms);
	jwrite_string(w, "group", conf->group);
	if (conf->skip.failures > 0) {
		jwrite_object(w, "skip_after");
		jwrite_int(w, "failures", conf->skip.failures);
		jwrite_int(w, "period_ms", conf->skip.period_ms);
		jwrite_end(w);
	} else {
		jwrite_null(w, "skip_after");
	}
	jwrite_end(w);
}

static void list_flow(struct table *table, struct jwrite *w, const char *plugin, const struct sl_flow *flow,
		      const struct conf_flow *conf)
{
	table_cell(table, flow->name);
	table_cell(table, plugin);
	table_cell(table, flow->platform);
	table_printf(table, "%.0d", conf != NULL ? conf->workers : 0);
	table_printf(table, "%.0d", conf != NULL ? conf->concurrency : 0);
	table_cell(table, flow->doc);
	jwrite_object(w, NULL);
	jwrite_string(w, "flow", flow->name);
	jwrite_string(w, "plugin", plugin);
	jwrite_string(w, "platform", flow->platform);
	write_conf(w, conf);
	jwrite_string(w, "doc", flow->doc);
	jwrite_end(w);
}

int cmd_flow_list(struct ctl *ctl)
{
	struct table *table = table_new(ctl, "FLOW PLUGIN PLATFORM WORKERS> CONCURRENCY> DESCRIPTION");
	struct jwrite w;
	struct buf out;

	if (ctl_load(ctl, false) != 0 || ctl_load_plugins(ctl) != 0)
		return CTL_FAILED;
	buf_init(&out);
	jwrite_init(&w, &out);
	jwrite_array(&w, NULL);
	for (size_t i = 0; i < plugin_count(ctl->plugins); i++) {
		const struct sl_plugin *plugin = plugin_descriptor(plugin_at(ctl->plugins, i));

		for (size_t k = 0; plugin->flows != NULL && plugin->flows[k] != NULL; k++)
			list_flow(table, &w, plugin->name, plugin->flows[k],
				  configured(ctl, plugin->flows[k]->name));
	}
	jwrite_end(&w);
	table_or_json(table, &out);
	return CTL_OK;
}

/* --- show --- */

static const struct json *named(const struct json *list, const char *name)
{
	const struct json *item = json_first(list);

	while (item != NULL && !str_eq(json_string(json_member(item, "name"), NULL), name))
		item = json_next(item);
	return item;
}

/* "a 0.7, b 0.3", as flows.yaml has it; else as the plugin does. */
static void sources_cell(struct ctl *ctl, struct table *table, const char *plugin,
			 const struct json *operation)
{
	const char *name =
		arena_printf(ctl->arena, "%s.%s", plugin, json_string(json_member(operation, "name"), NULL));
	const struct conf_operation *conf = conf_operation(ctl->setup.conf, name);
	const char *text = "";

	if (conf == NULL || conf->source_count == 0) {
		table_texts(table, json_member(operation, "sources"));
		return;
	}
	for (size_t i = 0; i < conf->source_count; i++) {
		text = arena_printf(ctl->arena, "%s%s%s", text, i > 0 ? ", " : "", conf->sources[i].source);
		if (conf->weighted)
			text = arena_printf(ctl->arena, "%s %g", text, conf->sources[i].weight);
	}
	table_cell(table, text);
}

static void print_params(struct ctl *ctl, const struct json *flow)
{
	struct table *table = table_new(ctl, "PARAMETER TYPE FLAGS DEFAULT DESCRIPTION");
	const struct json *param;

	for (param = json_first(json_member(flow, "params")); param != NULL; param = json_next(param)) {
		table_json(table, json_member(param, "name"));
		table_json(table, json_member(param, "type"));
		table_texts(table, json_member(param, "flags"));
		table_json(table, json_member(param, "default"));
		table_json(table, json_member(param, "doc"));
	}
	table_print(table, stdout);
}

static void print_operations(struct ctl *ctl, const struct json *plugin, const struct json *flow)
{
	const char *name = json_string(json_member(plugin, "name"), NULL);
	struct table *table = table_new(ctl, "OPERATION KIND SOURCES DESCRIPTION");
	const struct json *item;

	for (item = json_first(json_member(flow, "operations")); item != NULL; item = json_next(item)) {
		const struct json *operation =
			named(json_member(plugin, "operations"), json_string(item, NULL));

		table_printf(table, "%s.%s", name, json_string(item, NULL));
		table_json(table, json_member(operation, "kind"));
		sources_cell(ctl, table, name, operation);
		table_json(table, json_member(operation, "doc"));
	}
	puts("");
	table_print(table, stdout);
}

static void print_outputs(struct ctl *ctl, const struct json *plugin, const struct json *flow)
{
	struct table *table = table_new(ctl, "WRITES NAME TO");
	const struct json *item;

	for (item = json_first(json_member(flow, "tables")); item != NULL; item = json_next(item)) {
		const struct json *found = named(json_member(plugin, "tables"), json_string(item, NULL));
		const char *key = json_string(json_member(found, "key"), NULL);

		table_cell(table, "table");
		table_json(table, item);
		table_printf(table, "%s%s", key != NULL ? "by " : "appended", key != NULL ? key : "");
	}
	for (item = json_first(json_member(flow, "streams")); item != NULL; item = json_next(item)) {
		const struct json *found = named(json_member(plugin, "streams"), json_string(item, NULL));

		table_cell(table, "stream");
		table_json(table, item);
		table_printf(table, "exchange %s, key %s", json_string(json_member(found, "exchange"), NULL),
			     json_string(json_member(found, "key"), NULL));
	}
	puts("");
	table_print(table, stdout);
}

static void print_flow(struct ctl *ctl, const struct json *plugin, const struct json *flow,
		       const struct conf_flow *conf)
{
	const char *doc = json_string(json_member(flow, "doc"), NULL);

	printf("%s: %s\nplugin %s, platform %s\n", json_string(json_member(flow, "name"), NULL),
	       doc != NULL ? doc : "", json_string(json_member(plugin, "name"), NULL),
	       json_string(json_member(flow, "platform"), NULL));
	if (conf != NULL)
		printf("workers %d, concurrency %d, attempts %d, priority %d, timeout %s\n\n", conf->workers,
		       conf->concurrency, conf->attempts, conf->priority,
		       text_seconds(ctl, conf->timeout_ms / 1000));
	else
		puts("not configured: no worker runs it\n");
	print_params(ctl, flow);
	print_operations(ctl, plugin, flow);
	print_outputs(ctl, plugin, flow);
}

static void print_flow_json(const struct json *plugin, const struct json *flow, const struct conf_flow *conf)
{
	static const char *const lists[] = {"operations", "tables", "streams"};
	const struct json *item;
	struct jwrite w;
	struct buf out;

	buf_init(&out);
	jwrite_init(&w, &out);
	jwrite_object(&w, NULL);
	jwrite_value(&w, "flow", json_member(flow, "name"));
	jwrite_value(&w, "plugin", json_member(plugin, "name"));
	jwrite_value(&w, "platform", json_member(flow, "platform"));
	jwrite_value(&w, "doc", json_member(flow, "doc"));
	write_conf(&w, conf);
	jwrite_value(&w, "params", json_member(flow, "params"));
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		jwrite_array(&w, lists[i]);
		for (item = json_first(json_member(flow, lists[i])); item != NULL; item = json_next(item))
			jwrite_value(&w, NULL, named(json_member(plugin, lists[i]), json_string(item, NULL)));
		jwrite_end(&w);
	}
	jwrite_end(&w);
	puts(out.data);
	buf_fini(&out);
}

int cmd_flow_show(struct ctl *ctl)
{
	const struct plugin *plugin;
	const struct sl_flow *flow = ctl_flow(ctl, ctl->args[0], &plugin);
	const struct json *shown;
	struct json_doc *doc;
	struct buf text;

	if (flow == NULL)
		return CTL_FAILED;
	buf_init(&text);
	doc = plugin_document(plugin, &text);
	buf_fini(&text);
	if (doc == NULL)
		return CTL_FAILED;
	shown = named(json_member(json_root(doc), "flows"), flow->name);
	if (ctl->json)
		print_flow_json(json_root(doc), shown, configured(ctl, flow->name));
	else
		print_flow(ctl, json_root(doc), shown, configured(ctl, flow->name));
	json_doc_free(&doc);
	return CTL_OK;
}
