/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a descriptor is refused for. Each check says in one sentence what is
 * wrong with which part; the caller puts file and plugin before it. The tests
 * hold one case per refusal with its exact message.
 */
#include <string.h>

#include "base/rate.h"
#include "base/str.h"
#include "limit/window.h"
#include "plugin/internal.h"

static int refuse(struct error *err, const char *what, const char *name, const char *why)
{
	return error_set(err, ERR_INPUT, "%s \"%s\" %s", what, name, why);
}

static int refuse_member(struct error *err, const char *what, const char *name, const char *member, const char *why)
{
	return error_set(err, ERR_INPUT, "%s \"%s\", \"%s\": %s", what, name, member, why);
}

/* Names of tables and columns: they stand in SQL, and nothing in them may need quoting. */
static bool is_identifier(const char *text)
{
	size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");

	return len > 0 && len <= 63 && text[len] == '\0' && (text[0] < '0' || text[0] > '9');
}

/* The n-th member of every list begins with size and name, so one view serves to compare names. */
struct named {
	size_t size;
	const char *name;
};

static int check_names(const char *what, const void *list, struct error *err)
{
	const struct named *const *items = list;

	for (size_t i = 0; items != NULL && items[i] != NULL; i++) {
		if (items[i]->name == NULL)
			return error_set(err, ERR_INPUT, "%s number %zu has no name", what, i + 1);
		for (size_t k = 0; k < i; k++)
			if (str_eq(items[k]->name, items[i]->name))
				return refuse(err, what, items[i]->name, "is declared twice");
	}
	return 0;
}

static bool in_list(const void *list, const void *item)
{
	const void *const *items = list;

	for (size_t i = 0; items != NULL && items[i] != NULL; i++)
		if (items[i] == item)
			return true;
	return false;
}

static int check_options(const char *what, const char *owner, const struct sl_option *options, struct error *err)
{
	for (size_t i = 0; options != NULL && options[i].name != NULL; i++) {
		if (options[i].type < SL_STR || options[i].type > SL_SIZE)
			return error_set(err, ERR_INPUT, "%s \"%s\" of %s has no known type", what, options[i].name, owner);
		for (size_t k = 0; k < i; k++)
			if (str_eq(options[k].name, options[i].name))
				return error_set(err, ERR_INPUT, "%s \"%s\" of %s is declared twice", what,
						 options[i].name, owner);
	}
	return 0;
}

static int check_limits(const struct sl_source *source, struct error *err)
{
	struct limit_rule rules[LIMIT_WINDOWS_MAX];
	struct rate rates[LIMIT_WINDOWS_MAX];
	size_t count = 0, windows;

	for (; source->limits != NULL && source->limits[count] != NULL; count++) {
		if (count == LIMIT_WINDOWS_MAX)
			return refuse(err, "source", source->name, "has too many limits");
		if (rate_parse(source->limits[count], &rates[count]) != 0)
			return refuse_member(err, "source", source->name, source->limits[count],
					     "no limit such as 100/30s");
	}
	if (limit_rules(rates, count, rules, &windows) != 0)
		return refuse(err, "source", source->name, "has too many limits (one with a burst counts as two)");
	return 0;
}

static int check_source(const struct sl_source *source, struct error *err)
{
	if (!str_is_name(source->name))
		return refuse(err, "source", source->name, "has a name that is not [a-z][a-z0-9_-]*");
	if (source->base_url == NULL || (source->base_url[0] != '\0' && !str_starts(source->base_url, "https://") &&
					 !str_starts(source->base_url, "http://")))
		return refuse(err, "source", source->name, "has no base URL that begins with https:// or http://");
	if (source->auth < SL_AUTH_NONE || source->auth > SL_AUTH_OAUTH2)
		return refuse(err, "source", source->name, "places its credential in no known way (auth)");
	if ((source->auth == SL_AUTH_HEADER || source->auth == SL_AUTH_QUERY || source->auth == SL_AUTH_OAUTH2) &&
	    source->auth_name == NULL)
		return refuse(err, "source", source->name, "places its credential nowhere (auth_name)");
	if ((source->auth == SL_AUTH_HEADER || source->auth == SL_AUTH_QUERY || source->auth == SL_AUTH_BEARER) &&
	    source->auth_field == NULL)
		return refuse(err, "source", source->name, "names no member of its credential (auth_field)");
	return check_limits(source, err);
}

static const struct sl_column *find_column(const struct sl_table *table, const char *name)
{
	for (const struct sl_column *column = table->columns; column->name != NULL; column++)
		if (str_eq(column->name, name))
			return column;
	return NULL;
}

static bool names_text(const char *const *texts, const char *text)
{
	for (size_t i = 0; texts != NULL && texts[i] != NULL; i++)
		if (str_eq(texts[i], text))
			return true;
	return false;
}

static int check_lookup(const struct sl_plugin *plugin, const struct sl_operation *operation, struct error *err)
{
	if (operation->table == NULL || operation->column == NULL)
		return refuse(err, "operation", operation->name, "looks up no column of a table");
	if (!in_list(plugin->tables, operation->table))
		return refuse(err, "operation", operation->name, "looks up a table the plugin does not declare");
	if (!str_eq(operation->column, operation->table->key_column) &&
	    !names_text(operation->table->indexes, operation->column))
		return refuse(err, "operation", operation->name,
			      "looks up a column that is neither the table's key nor indexed");
	return 0;
}

static int check_operation(const struct sl_plugin *plugin, const struct sl_operation *operation, struct error *err)
{
	const struct sl_via *via = operation->via;

	if (!str_is_name(operation->name))
		return refuse(err, "operation", operation->name, "has a name that is not [a-z][a-z0-9_-]*");
	if (operation->kind < SL_HTTP || operation->kind > SL_QUERY)
		return refuse(err, "operation", operation->name, "is of no known kind");
	if (via == NULL || via->parse == NULL)
		return refuse(err, "operation", operation->name, "has no way to be carried out (via)");
	if (operation->kind == SL_LOOKUP)
		return check_lookup(plugin, operation, err);
	for (; via->parse != NULL; via++) {
		if (via->build == NULL)
			return refuse(err, "operation", operation->name, "has a way without a build callback");
		if (operation->kind == SL_HTTP && via->source == NULL)
			return refuse(err, "operation", operation->name, "has a way without a source");
		if (via->source != NULL && !in_list(plugin->sources, via->source))
			return refuse(err, "operation", operation->name, "uses a source the plugin does not declare");
	}
	return 0;
}

/* The columns that the host adds to a table by itself. */
static bool is_hosts_column(const struct sl_table *table, const char *name)
{
	return str_eq(name, "id") || ((table->flags & SL_TABLE_STAMPED) != 0 &&
				      (str_eq(name, "created_at") || str_eq(name, "updated_at")));
}

static int check_column(const struct sl_table *table, const struct sl_column *column, struct error *err)
{
	if (!is_identifier(column->name))
		return refuse_member(err, "table", table->name, column->name, "not a column's name (letters, digits, _)");
	if (is_hosts_column(table, column->name))
		return refuse_member(err, "table", table->name, column->name, "the host adds this column itself");
	if (find_column(table, column->name) != column)
		return refuse_member(err, "table", table->name, column->name, "the column is declared twice");
	if (column->type < SL_BIGINT || column->type > SL_TEXT_ARRAY)
		return refuse_member(err, "table", table->name, column->name, "the column has no known type");
	if (column->rule < SL_KEEP || column->rule > SL_ONCE)
		return refuse_member(err, "table", table->name, column->name, "the column has no known rule");
	if (column->group < SL_ATTR || column->group >= SL_GROUPS)
		return refuse_member(err, "table", table->name, column->name, "the column is of no known group");
	return 0;
}

static int check_table(const struct sl_table *table, struct error *err)
{
	if (!is_identifier(table->name))
		return refuse(err, "table", table->name, "has a name that is not letters, digits and _");
	if (table->columns == NULL || table->columns->name == NULL)
		return refuse(err, "table", table->name, "has no columns");
	for (const struct sl_column *column = table->columns; column->name != NULL; column++)
		if (check_column(table, column, err) != 0)
			return -1;
	if (table->key_column != NULL && find_column(table, table->key_column) == NULL)
		return refuse(err, "table", table->name, "has a key that is none of its columns");
	for (size_t i = 0; table->indexes != NULL && table->indexes[i] != NULL; i++)
		if (find_column(table, table->indexes[i]) == NULL)
			return refuse_member(err, "table", table->name, table->indexes[i],
					     "indexed, but none of its columns");
	return 0;
}

static int check_stream(const struct sl_stream *stream, struct error *err)
{
	if (!str_is_name(stream->name))
		return refuse(err, "stream", stream->name, "has a name that is not [a-z][a-z0-9_-]*");
	if (stream->exchange == NULL || stream->key == NULL)
		return refuse(err, "stream", stream->name, "has no exchange or routing key");
	for (const struct sl_event_field *f = stream->fields; f != NULL && f->name != NULL; f++) {
		for (const struct sl_event_field *before = stream->fields; before < f; before++)
			if (str_eq(before->name, f->name))
				return refuse_member(err, "stream", stream->name, f->name, "the member is declared twice");
		if (f->from < SL_EV_ID || f->from > SL_EV_GROUP)
			return refuse_member(err, "stream", stream->name, f->name, "the member comes from nowhere known");
		if (f->group < SL_ATTR || f->group >= SL_GROUPS)
			return refuse_member(err, "stream", stream->name, f->name, "the member is of no known group");
		if ((f->from == SL_EV_CONST || f->from == SL_EV_VALUE || f->from == SL_EV_TIME) && f->key == NULL)
			return refuse_member(err, "stream", stream->name, f->name, "the member has no key");
	}
	return 0;
}

static int check_flow(const struct sl_plugin *plugin, const struct sl_flow *flow, struct error *err)
{
	const struct sl_operation *operation;
	const struct sl_table *table;
	const struct sl_stream *stream;

	if (!str_is_name(flow->name))
		return refuse(err, "flow", flow->name, "has a name that is not [a-z][a-z0-9_-]*");
	if (flow->platform == NULL)
		return refuse(err, "flow", flow->name, "has no platform");
	if (flow->retrieve == NULL)
		return refuse(err, "flow", flow->name, "has no retrieve callback");
	if (flow->emit == NULL)
		return refuse(err, "flow", flow->name, "has no emit callback");
	PLUGIN_EACH(operation, flow->operations)
		if (!in_list(plugin->operations, operation))
			return refuse(err, "flow", flow->name, "calls an operation the plugin does not declare");
	PLUGIN_EACH(table, flow->tables)
		if (!in_list(plugin->tables, table))
			return refuse(err, "flow", flow->name, "writes a table the plugin does not declare");
	PLUGIN_EACH(stream, flow->streams)
		if (!in_list(plugin->streams, stream))
			return refuse(err, "flow", flow->name, "emits to a stream the plugin does not declare");
	return check_options("parameter", flow->name, flow->params, err);
}

static const struct sl_sink_column *find_sink_column(const struct sl_sink *sink, const char *name)
{
	for (const struct sl_sink_column *column = sink->columns; column->name != NULL; column++)
		if (str_eq(column->name, name))
			return column;
	return NULL;
}

static int check_sink(const struct sl_sink *sink, struct error *err)
{
	if (!str_is_name(sink->name))
		return refuse(err, "sink", sink->name, "has a name that is not [a-z][a-z0-9_-]*");
	if (sink->queue == NULL || sink->exchange == NULL || sink->key == NULL)
		return refuse(err, "sink", sink->name, "names no queue, exchange or routing key");
	if (sink->exchange_type < SL_DIRECT || sink->exchange_type > SL_FANOUT)
		return refuse(err, "sink", sink->name, "has an exchange of no known type");
	if (sink->table == NULL || sink->engine == NULL || sink->order_by == NULL)
		return refuse(err, "sink", sink->name, "names no table, engine or order");
	if (sink->columns == NULL || sink->columns->name == NULL)
		return refuse(err, "sink", sink->name, "has no columns");
	for (const struct sl_sink_column *column = sink->columns; column->name != NULL; column++) {
		if (!is_identifier(column->name))
			return refuse_member(err, "sink", sink->name, column->name, "not a column's name (letters, digits, _)");
		if (find_sink_column(sink, column->name) != column)
			return refuse_member(err, "sink", sink->name, column->name, "the column is declared twice");
		if (column->type == NULL)
			return refuse_member(err, "sink", sink->name, column->name, "the column has no type");
	}
	if (sink->identity == NULL || find_sink_column(sink, sink->identity) == NULL)
		return refuse(err, "sink", sink->name, "has no identity among its columns");
	for (size_t i = 0; sink->prefix != NULL && sink->prefix[i] != NULL; i++)
		if (find_sink_column(sink, sink->prefix[i]) == NULL)
			return refuse_member(err, "sink", sink->name, sink->prefix[i], "in its prefix, but none of its columns");
	if (sink->time_column != NULL && find_sink_column(sink, sink->time_column) == NULL)
		return refuse(err, "sink", sink->name, "has a time column that is none of its columns");
	return 0;
}

static int check_listener(const struct sl_plugin *plugin, const struct sl_listener *listener, struct error *err)
{
	const struct sl_table *table;
	const struct sl_stream *stream;

	if (!str_is_name(listener->name))
		return refuse(err, "listener", listener->name, "has a name that is not [a-z][a-z0-9_-]*");
	if (listener->queue == NULL || listener->handle == NULL)
		return refuse(err, "listener", listener->name, "has no queue or no handle callback");
	PLUGIN_EACH(table, listener->tables)
		if (!in_list(plugin->tables, table))
			return refuse(err, "listener", listener->name, "writes a table the plugin does not declare");
	PLUGIN_EACH(stream, listener->streams)
		if (!in_list(plugin->streams, stream))
			return refuse(err, "listener", listener->name, "emits to a stream the plugin does not declare");
	return 0;
}

static int check_parts(const struct sl_plugin *plugin, struct error *err)
{
	const struct sl_source *source;
	const struct sl_operation *operation;
	const struct sl_table *table;
	const struct sl_stream *stream;
	const struct sl_flow *flow;
	const struct sl_sink *sink;
	const struct sl_listener *listener;

	PLUGIN_EACH(source, plugin->sources)
		if (check_source(source, err) != 0)
			return -1;
	PLUGIN_EACH(table, plugin->tables)
		if (check_table(table, err) != 0)
			return -1;
	PLUGIN_EACH(operation, plugin->operations)
		if (check_operation(plugin, operation, err) != 0)
			return -1;
	PLUGIN_EACH(stream, plugin->streams)
		if (check_stream(stream, err) != 0)
			return -1;
	PLUGIN_EACH(flow, plugin->flows)
		if (check_flow(plugin, flow, err) != 0)
			return -1;
	PLUGIN_EACH(sink, plugin->sinks)
		if (check_sink(sink, err) != 0)
			return -1;
	PLUGIN_EACH(listener, plugin->listeners)
		if (check_listener(plugin, listener, err) != 0)
			return -1;
	return 0;
}

/* Names that are one namespace over all plugins. */
static int check_beside(const char *what, const void *mine, const void *others, const char *other, struct error *err)
{
	const struct named *const *a = mine, *const *b = others;

	for (size_t i = 0; a != NULL && a[i] != NULL; i++)
		for (size_t k = 0; b != NULL && b[k] != NULL; k++)
			if (str_eq(a[i]->name, b[k]->name))
				return error_set(err, ERR_INPUT, "%s \"%s\" is offered by plugin \"%s\" already", what,
						 a[i]->name, other);
	return 0;
}

/* Two plugins may emit to one stream, as long as they mean the same one. */
static int check_streams_beside(const struct sl_plugin *a, const struct sl_plugin *b, struct error *err)
{
	const struct sl_stream *mine, *theirs;

	PLUGIN_EACH(mine, a->streams)
		PLUGIN_EACH(theirs, b->streams)
			if (str_eq(mine->name, theirs->name) &&
			    (!str_eq(mine->exchange, theirs->exchange) || !str_eq(mine->key, theirs->key)))
				return error_set(err, ERR_INPUT,
						 "stream \"%s\" goes to %s/%s; plugin \"%s\" sends it to %s/%s", mine->name,
						 mine->exchange, mine->key, b->name, theirs->exchange, theirs->key);
	return 0;
}

static int check_set(const struct plugin_set *set, const struct sl_plugin *plugin, struct error *err)
{
	for (size_t i = 0; i < set->count; i++) {
		const struct sl_plugin *other = &set->plugins[i]->descriptor;

		if (str_eq(other->name, plugin->name))
			return error_set(err, ERR_INPUT, "a plugin \"%s\" is loaded already, from %s", plugin->name,
					 set->plugins[i]->path);
		if (check_beside("flow", plugin->flows, other->flows, other->name, err) != 0 ||
		    check_beside("source", plugin->sources, other->sources, other->name, err) != 0 ||
		    check_beside("table", plugin->tables, other->tables, other->name, err) != 0 ||
		    check_beside("sink", plugin->sinks, other->sinks, other->name, err) != 0 ||
		    check_beside("listener", plugin->listeners, other->listeners, other->name, err) != 0 ||
		    check_streams_beside(plugin, other, err) != 0)
			return -1;
	}
	return 0;
}

int plugin_check(const struct plugin_set *set, const struct plugin *plugin, const char *file_name, struct error *err)
{
	const struct sl_plugin *d = &plugin->descriptor;
	size_t len = strlen(file_name);

	if (d->name == NULL || !str_is_name(d->name))
		return error_set(err, ERR_INPUT, "its name \"%s\" is not [a-z][a-z0-9_-]*",
				 d->name != NULL ? d->name : "");
	if (!str_ends(file_name, ".so") || strlen(d->name) != len - 3 || strncmp(file_name, d->name, len - 3) != 0)
		return error_set(err, ERR_INPUT, "its name \"%s\" is not that of its file, %s", d->name, file_name);
	if (d->version == NULL || d->version[0] == '\0')
		return error_set(err, ERR_INPUT, "it has no version");
	if (check_names("source", d->sources, err) != 0 || check_names("operation", d->operations, err) != 0 ||
	    check_names("table", d->tables, err) != 0 || check_names("stream", d->streams, err) != 0 ||
	    check_names("flow", d->flows, err) != 0 || check_names("sink", d->sinks, err) != 0 ||
	    check_names("listener", d->listeners, err) != 0)
		return -1;
	if (check_options("option", "the plugin", d->options, err) != 0 || check_parts(d, err) != 0)
		return -1;
	return check_set(set, d, err);
}
