/* SPDX-License-Identifier: Apache-2.0 */
/* sluicectl plugin: what the plugins offer, and whether a file would be taken. */
#include "ctl.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "conf/catalogue.h"
#include "json/json.h"
#include "json/jwrite.h"
#include "plugin/plugin.h"
#include "plugin/probe.h"

struct json_doc *plugin_document(const struct plugin *plugin, struct buf *text)
{
	struct error err;
	struct json_doc *doc;

	plugin_print(plugin, text);
	doc = json_parse(text->data, text->len, &err);
	if (doc == NULL)
		ctl_fail("%s: %s", plugin_path(plugin), err.text);
	return doc;
}

static int load_all(struct ctl *ctl)
{
	return ctl_load(ctl, false) == 0 && ctl_load_plugins(ctl) == 0 ? 0 : -1;
}

int cmd_plugin_list(struct ctl *ctl)
{
	struct table *table = table_new(ctl, "PLUGIN VERSION FLOWS> SINKS> FILE DESCRIPTION");
	struct jwrite w;
	struct buf out;

	if (load_all(ctl) != 0)
		return CTL_FAILED;
	buf_init(&out);
	jwrite_init(&w, &out);
	jwrite_array(&w, NULL);
	for (size_t i = 0; i < plugin_count(ctl->plugins); i++) {
		const struct plugin *plugin = plugin_at(ctl->plugins, i);
		const struct sl_plugin *d = plugin_descriptor(plugin);
		size_t flows = 0, sinks = 0;

		while (d->flows != NULL && d->flows[flows] != NULL)
			flows++;
		while (d->sinks != NULL && d->sinks[sinks] != NULL)
			sinks++;
		table_cell(table, d->name);
		table_cell(table, d->version);
		table_printf(table, "%zu", flows);
		table_printf(table, "%zu", sinks);
		table_cell(table, plugin_path(plugin));
		table_cell(table, d->doc);
		jwrite_object(&w, NULL);
		jwrite_string(&w, "name", d->name);
		jwrite_string(&w, "version", d->version);
		jwrite_uint(&w, "flows", flows);
		jwrite_uint(&w, "sinks", sinks);
		jwrite_string(&w, "file", plugin_path(plugin));
		jwrite_string(&w, "doc", d->doc);
		jwrite_end(&w);
	}
	jwrite_end(&w);
	table_or_json(table, &out);
	return CTL_OK;
}

/* --- show --- */

static void print_list(struct ctl *ctl, const struct json *plugin, const char *list, const char *columns,
		       const char *const *members)
{
	const struct json *items = json_member(plugin, list), *item;
	struct table *table = table_new(ctl, columns);

	if (json_count(items) == 0)
		return;
	for (item = json_first(items); item != NULL; item = json_next(item))
		for (size_t i = 0; members[i] != NULL; i++)
			table_texts(table, json_member(item, members[i]));
	puts("");
	table_print(table, stdout);
}

static void print_plugin(struct ctl *ctl, const struct json *plugin)
{
	static const struct {
		const char *list, *columns;
		const char *members[6];
	} lists[] = {
		{"options",
		 "OPTION TYPE DEFAULT FLAGS DESCRIPTION",
		 {"name", "type", "default", "flags", "doc"}},
		{"sources", "SOURCE URL LIMITS DESCRIPTION", {"name", "base_url", "limits", "doc"}},
		{"operations", "OPERATION KIND SOURCES DESCRIPTION", {"name", "kind", "sources", "doc"}},
		{"flows", "FLOW PLATFORM DESCRIPTION", {"name", "platform", "doc"}},
		{"tables", "TABLE KEY INDEXES", {"name", "key", "indexes"}},
		{"streams", "STREAM EXCHANGE KEY", {"name", "exchange", "key"}},
		{"sinks",
		 "SINK QUEUE TABLE IDENTITY DESCRIPTION",
		 {"name", "queue", "table", "identity", "doc"}},
	};
	const char *doc = json_string(json_member(plugin, "doc"), NULL);

	printf("%s %s: %s\n%s\nSHA-256 %s\n", json_string(json_member(plugin, "name"), NULL),
	       json_string(json_member(plugin, "version"), NULL), doc != NULL ? doc : "",
	       json_string(json_member(plugin, "file"), NULL),
	       json_string(json_member(plugin, "sha256"), NULL));
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
		print_list(ctl, plugin, lists[i].list, lists[i].columns, lists[i].members);
}

int cmd_plugin_show(struct ctl *ctl)
{
	const struct plugin *plugin = NULL;
	struct json_doc *doc;
	struct buf text;

	if (load_all(ctl) != 0)
		return CTL_FAILED;
	for (size_t i = 0; i < plugin_count(ctl->plugins); i++)
		if (strcmp(plugin_descriptor(plugin_at(ctl->plugins, i))->name, ctl->args[0]) == 0)
			plugin = plugin_at(ctl->plugins, i);
	if (plugin == NULL)
		return ctl_fail("there is no plugin \"%s\"; 'sluicectl plugin list' lists those there are",
				ctl->args[0]);
	buf_init(&text);
	doc = plugin_document(plugin, &text);
	if (ctl->json)
		puts(text.data);
	else if (doc != NULL)
		print_plugin(ctl, json_root(doc));
	buf_fini(&text);
	if (doc == NULL)
		return CTL_FAILED;
	json_doc_free(&doc);
	return CTL_OK;
}

/* --- check --- */

int cmd_plugin_check(struct ctl *ctl)
{
	char *path = realpath(ctl->args[0], NULL);
	const char *file = path != NULL ? path : ctl->args[0];
	struct json_doc *doc = NULL;
	struct jwrite w;
	struct buf out;
	struct error err;
	bool ok = false;

	if (ctl_settle(ctl) != 0)
		return CTL_FAILED;
	buf_init(&out);
	if (probe_run(ctl->setup.program, file, PROBE_TIMEOUT_MS, &out, &err) == 0)
		doc = json_parse(out.data, out.len, &err);
	ok = doc != NULL;
	if (ctl->json) {
		buf_clear(&out);
		jwrite_init(&w, &out);
		jwrite_object(&w, NULL);
		jwrite_bool(&w, "ok", ok);
		jwrite_string(&w, "file", file);
		if (!ok)
			jwrite_string(&w, "reason", err.text);
		jwrite_end(&w);
		puts(out.data);
	} else if (ok) {
		printf("%s: ok: plugin %s %s\n", file, json_string(json_member(json_root(doc), "name"), NULL),
		       json_string(json_member(json_root(doc), "version"), NULL));
	} else {
		ctl_fail("%s", err.text);
	}
	json_doc_free(&doc);
	buf_fini(&out);
	mem_release(path);
	return ok ? CTL_OK : CTL_FAILED;
}
