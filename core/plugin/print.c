/* SPDX-License-Identifier: Apache-2.0 */
/* A plugin's descriptor as JSON: the probe's answer, and what `sluicectl plugin show` and the configuration read. */
#include "base/buf.h"
#include "base/str.h"
#include "json/jwrite.h"
#include "plugin/internal.h"

static const char *const type_names[] = {
	[SL_STR] = "string", [SL_INT] = "integer", [SL_FLOAT] = "number", [SL_BOOL] = "boolean", [SL_TIME] = "time",
	[SL_ANY] = "any", [SL_JSON_TEXT] = "json", [SL_LIST] = "list", [SL_OBJECT] = "object",
	[SL_DURATION] = "duration", [SL_SIZE] = "size"
};
static const char *const column_types[] = {
	[SL_BIGINT] = "bigint", [SL_DOUBLE] = "double", [SL_TEXT] = "text", [SL_BOOLEAN] = "boolean",
	[SL_JSONB] = "json", [SL_TIMESTAMP] = "timestamp", [SL_TEXT_ARRAY] = "text[]"
};
static const char *const rule_names[] = {
	[SL_KEEP] = "keep", [SL_OVERWRITE] = "overwrite", [SL_ONCE] = "once"
};
static const char *const exchange_types[] = {
	[SL_DIRECT] = "direct", [SL_TOPIC] = "topic", [SL_FANOUT] = "fanout"
};

#define NAME_OF(names, value) \
	((size_t)(value) < sizeof(names) / sizeof((names)[0]) ? (names)[value] : NULL)

const char *plugin_kind_name(enum sl_kind kind)
{
	static const char *const names[] = {
		[SL_HTTP] = "http", [SL_LOOKUP] = "lookup", [SL_BLOB] = "blob", [SL_QUERY] = "query"
	};

	return NAME_OF(names, kind);
}

static void print_texts(struct jwrite *w, const char *name, const char *const *texts)
{
	jwrite_array(w, name);
	for (size_t i = 0; texts != NULL && texts[i] != NULL; i++)
		jwrite_string(w, NULL, texts[i]);
	jwrite_end(w);
}

/* Lists of structs that begin with size and name, by name. */
static void print_names(struct jwrite *w, const char *name, const void *list)
{
	struct named {
		size_t size;
		const char *name;
	} const *const *items = list;

	jwrite_array(w, name);
	for (size_t i = 0; items != NULL && items[i] != NULL; i++)
		jwrite_string(w, NULL, items[i]->name);
	jwrite_end(w);
}

static void print_options(struct jwrite *w, const char *name, const struct sl_option *options)
{
	jwrite_array(w, name);
	for (const struct sl_option *o = options; o != NULL && o->name != NULL; o++) {
		jwrite_object(w, NULL);
		jwrite_string(w, "name", o->name);
		jwrite_string(w, "type", NAME_OF(type_names, o->type));
		jwrite_string(w, "default", o->fallback);
		jwrite_int(w, "min", o->min);
		jwrite_int(w, "max", o->max);
		jwrite_array(w, "flags");
		if ((o->flags & SL_REQUIRED) != 0)
			jwrite_string(w, NULL, "required");
		if ((o->flags & SL_SECRET) != 0)
			jwrite_string(w, NULL, "secret");
		if ((o->flags & SL_RELOAD) != 0)
			jwrite_string(w, NULL, "reload");
		if ((o->flags & SL_NULLABLE) != 0)
			jwrite_string(w, NULL, "nullable");
		jwrite_end(w);
		jwrite_string(w, "doc", o->doc);
		jwrite_end(w);
	}
	jwrite_end(w);
}

static void print_sources(struct jwrite *w, const struct sl_plugin *d)
{
	const struct sl_source *source;

	jwrite_array(w, "sources");
	PLUGIN_EACH(source, d->sources) {
		jwrite_object(w, NULL);
		jwrite_string(w, "name", source->name);
		jwrite_string(w, "base_url", source->base_url);
		jwrite_bool(w, "anonymous", (source->flags & SL_SOURCE_ANONYMOUS) != 0);
		jwrite_bool(w, "bound", (source->flags & SL_SOURCE_BOUND) != 0);
		print_texts(w, "fields", source->fields);
		print_texts(w, "public_fields", source->public_fields);
		print_texts(w, "limits", source->limits);
		jwrite_string(w, "doc", source->doc);
		jwrite_end(w);
	}
	jwrite_end(w);
}

static void print_operations(struct jwrite *w, const struct sl_plugin *d)
{
	const struct sl_operation *operation;

	jwrite_array(w, "operations");
	PLUGIN_EACH(operation, d->operations) {
		jwrite_object(w, NULL);
		jwrite_string(w, "name", operation->name);
		jwrite_string(w, "kind", plugin_kind_name(operation->kind));
		jwrite_array(w, "sources");
		for (const struct sl_via *via = operation->via; via->parse != NULL; via++)
			if (via->source != NULL)
				jwrite_string(w, NULL, via->source->name);
		jwrite_end(w);
		jwrite_int(w, "cost", operation->cost > 1 ? operation->cost : 1);
		jwrite_string(w, "doc", operation->doc);
		jwrite_end(w);
	}
	jwrite_end(w);
}

static void print_flows(struct jwrite *w, const struct sl_plugin *d)
{
	const struct sl_flow *flow;

	jwrite_array(w, "flows");
	PLUGIN_EACH(flow, d->flows) {
		jwrite_object(w, NULL);
		jwrite_string(w, "name", flow->name);
		jwrite_string(w, "platform", flow->platform);
		print_options(w, "params", flow->params);
		print_names(w, "operations", flow->operations);
		print_names(w, "tables", flow->tables);
		print_names(w, "streams", flow->streams);
		jwrite_int(w, "timeout_ms", flow->timeout_ms);
		jwrite_string(w, "doc", flow->doc);
		jwrite_end(w);
	}
	jwrite_end(w);
}

static void print_tables(struct jwrite *w, const struct sl_plugin *d)
{
	const struct sl_table *table;

	jwrite_array(w, "tables");
	PLUGIN_EACH(table, d->tables) {
		jwrite_object(w, NULL);
		jwrite_string(w, "name", table->name);
		jwrite_string(w, "key", table->key_column);
		jwrite_bool(w, "stamped", (table->flags & SL_TABLE_STAMPED) != 0);
		jwrite_array(w, "columns");
		for (const struct sl_column *column = table->columns; column->name != NULL; column++) {
			jwrite_object(w, NULL);
			jwrite_string(w, "name", column->name);
			jwrite_string(w, "type", NAME_OF(column_types, column->type));
			jwrite_string(w, "rule", NAME_OF(rule_names, column->rule));
			jwrite_bool(w, "written", column->key != NULL || str_eq(column->name, table->key_column));
			jwrite_end(w);
		}
		jwrite_end(w);
		print_texts(w, "indexes", table->indexes);
		jwrite_end(w);
	}
	jwrite_end(w);
}

static void print_streams(struct jwrite *w, const struct sl_plugin *d)
{
	const struct sl_stream *stream;

	jwrite_array(w, "streams");
	PLUGIN_EACH(stream, d->streams) {
		jwrite_object(w, NULL);
		jwrite_string(w, "name", stream->name);
		jwrite_string(w, "exchange", stream->exchange);
		jwrite_string(w, "key", stream->key);
		jwrite_end(w);
	}
	jwrite_end(w);
}

static void print_sinks(struct jwrite *w, const struct sl_plugin *d)
{
	const struct sl_sink *sink;

	jwrite_array(w, "sinks");
	PLUGIN_EACH(sink, d->sinks) {
		jwrite_object(w, NULL);
		jwrite_string(w, "name", sink->name);
		jwrite_string(w, "queue", sink->queue);
		jwrite_string(w, "exchange", sink->exchange);
		jwrite_string(w, "exchange_type", NAME_OF(exchange_types, sink->exchange_type));
		jwrite_string(w, "key", sink->key);
		jwrite_string(w, "table", sink->table);
		jwrite_string(w, "engine", sink->engine);
		jwrite_string(w, "partition_by", sink->partition_by);
		jwrite_string(w, "order_by", sink->order_by);
		jwrite_string(w, "identity", sink->identity);
		jwrite_array(w, "columns");
		for (const struct sl_sink_column *column = sink->columns; column->name != NULL; column++) {
			jwrite_object(w, NULL);
			jwrite_string(w, "name", column->name);
			jwrite_string(w, "type", column->type);
			jwrite_end(w);
		}
		jwrite_end(w);
		jwrite_string(w, "doc", sink->doc);
		jwrite_end(w);
	}
	jwrite_end(w);
}

void plugin_print(const struct plugin *plugin, struct buf *out)
{
	const struct sl_plugin *d = &plugin->descriptor;
	const struct plugin_file *file = &plugin->file;
	struct jwrite w;

	jwrite_init(&w, out);
	jwrite_object(&w, NULL);
	jwrite_string(&w, "name", d->name);
	jwrite_string(&w, "version", d->version);
	jwrite_string(&w, "doc", d->doc);
	jwrite_int(&w, "abi_major", d->abi_major);
	jwrite_int(&w, "abi_minor", d->abi_minor);
	jwrite_string(&w, "file", plugin->path);
	jwrite_uint(&w, "device", file->device);
	jwrite_uint(&w, "inode", file->inode);
	jwrite_uint(&w, "size", file->size);
	jwrite_string(&w, "sha256", file->sha256);
	print_options(&w, "options", d->options);
	print_sources(&w, d);
	print_operations(&w, d);
	print_flows(&w, d);
	print_tables(&w, d);
	print_streams(&w, d);
	print_sinks(&w, d);
	print_names(&w, "listeners", d->listeners);
	jwrite_end(&w);
}
