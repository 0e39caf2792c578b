/* SPDX-License-Identifier: Apache-2.0 */
/* What the plugins offer, read from their probes. Supervisor and sluicectl; one thread. */
#include "conf/catalogue.h"

#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include "json/json.h"

/* Every offered struct begins with its name. */
static void *find_named(void *items, size_t count, size_t size, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		void *item = (char *)items + i * size;
		const char *its;

		memcpy(&its, item, sizeof(its));
		if (str_eq(its, name))
			return item;
	}
	return NULL;
}

#define find(catalogue, kind, name) \
	find_named((catalogue)->kind##s, (catalogue)->kind##_count, sizeof(*(catalogue)->kind##s), name)

const struct conf_offer_plugin *conf_offered_plugin(const struct conf_catalogue *catalogue, const char *name)
{
	return find(catalogue, plugin, name);
}

const struct conf_offer_flow *conf_offered_flow(const struct conf_catalogue *catalogue, const char *name)
{
	return find(catalogue, flow, name);
}

const struct conf_offer_operation *conf_offered_operation(const struct conf_catalogue *catalogue, const char *name)
{
	return find(catalogue, operation, name);
}

const struct conf_offer_sink *conf_offered_sink(const struct conf_catalogue *catalogue, const char *name)
{
	return find(catalogue, sink, name);
}

const struct conf_offer_stream *conf_offered_stream(const struct conf_catalogue *catalogue, const char *name)
{
	return find(catalogue, stream, name);
}

const struct conf_offer_source *conf_offered_source(const struct conf_catalogue *catalogue, const char *plugin,
						     const char *name)
{
	for (size_t i = 0; i < catalogue->source_count; i++)
		if (str_eq(catalogue->sources[i].name, name) &&
		    (plugin == NULL || str_eq(catalogue->sources[i].plugin, plugin)))
			return &catalogue->sources[i];
	return NULL;
}

bool conf_names_have(const struct conf_names *names, const char *name)
{
	for (size_t i = 0; i < names->count; i++)
		if (str_eq(names->list[i], name))
			return true;
	return false;
}

/* A zeroed place at the end of an array of the catalogue, which grows by copying in the arena. */
static void *append(struct arena *arena, void *items_r, size_t *count_r, size_t size)
{
	char *items;

	memcpy(&items, items_r, sizeof(items));
	items = arena_grow(arena, items, *count_r, size);
	memcpy(items_r, &items, sizeof(items));
	return items + (*count_r)++ * size;
}

#define add(catalogue, kind) \
	append((catalogue)->arena, &(catalogue)->kind##s, &(catalogue)->kind##_count, sizeof(*(catalogue)->kind##s))

struct conf_catalogue *conf_catalogue_new(void)
{
	struct arena *arena = arena_new();
	struct conf_catalogue *catalogue = arena_alloc(arena, sizeof(*catalogue));
	struct conf_offer_stream *own;

	catalogue->arena = arena;
	own = add(catalogue, stream);
	own->name = own->key = "scrape_request_log_events";
	own->exchange = "beat.dx";
	own = add(catalogue, stream);
	own->name = own->key = "trace_log";
	own->exchange = "identity.dx";
	return catalogue;
}

void conf_catalogue_free(struct conf_catalogue **catalogue)
{
	struct arena *arena = *catalogue != NULL ? (*catalogue)->arena : NULL;

	*catalogue = NULL;
	arena_free(&arena);
}

/* --- reading a probe --- */

static const char *text_of(struct arena *arena, const struct json *object, const char *name)
{
	const char *text = json_string(json_member(object, name), NULL);

	return text != NULL ? arena_strdup(arena, text) : NULL;
}

static uint64_t number_of(const struct json *object, const char *name)
{
	int64_t value = 0;

	json_int(json_member(object, name), &value);
	return (uint64_t)value;
}

/* A list of texts, or of objects whose names are meant. */
static struct conf_names names_of(struct arena *arena, const struct json *object, const char *member)
{
	const struct json *list = json_member(object, member);
	struct conf_names names = {.list = arena_alloc(arena, json_count(list) * sizeof(*names.list))};

	for (const struct json *item = json_first(list); item != NULL; item = json_next(item)) {
		const char *name = json_string(item, NULL);

		if (name == NULL)
			name = json_string(json_member(item, "name"), NULL);
		if (name != NULL)
			names.list[names.count++] = arena_strdup(arena, name);
	}
	return names;
}

static void read_options(struct arena *arena, const struct json *probe, struct conf_offer_plugin *plugin)
{
	const struct json *list = json_member(probe, "options");

	plugin->options = arena_alloc(arena, json_count(list) * sizeof(*plugin->options));
	for (const struct json *item = json_first(list); item != NULL; item = json_next(item)) {
		struct conf_offer_option *option = &plugin->options[plugin->option_count++];
		struct conf_names flags = names_of(arena, item, "flags");

		option->name = text_of(arena, item, "name");
		option->type = text_of(arena, item, "type");
		option->fallback = text_of(arena, item, "default");
		option->min = (int64_t)number_of(item, "min");
		option->max = (int64_t)number_of(item, "max");
		option->doc = text_of(arena, item, "doc");
		option->required = conf_names_have(&flags, "required");
		option->secret = conf_names_have(&flags, "secret");
	}
}

static int refuse(struct error *err, const char *plugin, const char *kind, const char *name, const char *other)
{
	return error_set(err, ERR_INPUT, "plugin \"%s\": %s \"%s\" is already offered by %s", plugin, kind, name,
			 other != NULL ? other : "sluice itself");
}

/* The plugin that has a table or listener of that name. */
static const char *owner_of(const struct conf_catalogue *catalogue, bool listener, const char *name)
{
	for (size_t i = 0; i < catalogue->plugin_count; i++) {
		const struct conf_offer_plugin *plugin = &catalogue->plugins[i];

		if (conf_names_have(listener ? &plugin->listeners : &plugin->tables, name))
			return plugin->name;
	}
	return NULL;
}

static int check_stream(const struct conf_catalogue *catalogue, const char *plugin, const struct json *item,
			const char *name, struct error *err)
{
	const struct conf_offer_stream *stream = conf_offered_stream(catalogue, name);

	if (stream != NULL && (!str_eq(stream->exchange, json_string(json_member(item, "exchange"), NULL)) ||
			       !str_eq(stream->key, json_string(json_member(item, "key"), NULL))))
		return refuse(err, plugin, "with another exchange or key, stream", name, stream->plugin);
	return 0;
}

enum kind { FLOWS, SINKS, SOURCES, TABLES, LISTENERS, STREAMS, KINDS };
static const struct {
	const char *list, *one;
} kinds[KINDS] = {
	[FLOWS] = {"flows", "flow"}, [SINKS] = {"sinks", "sink"}, [SOURCES] = {"sources", "source"},
	[TABLES] = {"tables", "table"}, [LISTENERS] = {"listeners", "listener"}, [STREAMS] = {"streams", "stream"}
};

/* NULL: nobody, or it may be shared. */
static const char *offered_by(const struct conf_catalogue *catalogue, enum kind kind, const char *name)
{
	const struct conf_offer_flow *flow = kind == FLOWS ? conf_offered_flow(catalogue, name) : NULL;
	const struct conf_offer_sink *sink = kind == SINKS ? conf_offered_sink(catalogue, name) : NULL;
	const struct conf_offer_source *source = kind == SOURCES ? conf_offered_source(catalogue, NULL, name) : NULL;

	if (kind == TABLES || kind == LISTENERS)
		return owner_of(catalogue, kind == LISTENERS, name);
	return flow != NULL ? flow->plugin : sink != NULL ? sink->plugin : source != NULL ? source->plugin : NULL;
}

/*
 * Refuses before anything is added, so that the catalogue stays whole: what a
 * role's loader would refuse beside the others. Plugins may share a stream
 * that leaves alike.
 */
static int check_new(const struct conf_catalogue *catalogue, const struct json *probe, const char *plugin,
		     struct error *err)
{
	if (conf_offered_plugin(catalogue, plugin) != NULL)
		return error_set(err, ERR_INPUT, "plugin \"%s\" is there twice: %s", plugin,
				 conf_offered_plugin(catalogue, plugin)->file);
	for (enum kind kind = FLOWS; kind < KINDS; kind++) {
		const struct json *list = json_member(probe, kinds[kind].list);

		for (const struct json *item = json_first(list); item != NULL; item = json_next(item)) {
			const char *name = json_string(item, NULL);
			const char *other;

			if (name == NULL)
				name = json_string(json_member(item, "name"), NULL);
			if (name == NULL)
				return error_set(err, ERR_INPUT, "plugin \"%s\": %s: an entry without a name", plugin,
						 kinds[kind].list);
			other = offered_by(catalogue, kind, name);
			if (other != NULL)
				return refuse(err, plugin, kinds[kind].one, name, other);
			if (kind == STREAMS && check_stream(catalogue, plugin, item, name, err) != 0)
				return -1;
		}
	}
	return 0;
}

static void add_upstream(struct conf_catalogue *catalogue, const struct json *probe, const char *plugin)
{
	struct arena *arena = catalogue->arena;
	const struct json *item;

	for (item = json_first(json_member(probe, "sources")); item != NULL; item = json_next(item)) {
		struct conf_offer_source *source = add(catalogue, source);

		source->name = text_of(arena, item, "name");
		source->plugin = plugin;
		source->base_url = text_of(arena, item, "base_url");
		source->fields = names_of(arena, item, "fields");
	}
	for (item = json_first(json_member(probe, "operations")); item != NULL; item = json_next(item)) {
		struct conf_offer_operation *operation = add(catalogue, operation);

		operation->name = arena_printf(arena, "%s.%s", plugin, text_of(arena, item, "name"));
		operation->plugin = plugin;
		operation->sources = names_of(arena, item, "sources");
	}
}

static void add_ways(struct conf_catalogue *catalogue, const struct json *probe, const char *plugin)
{
	struct arena *arena = catalogue->arena;
	const struct json *item;
	struct buf out;

	buf_init(&out);
	for (item = json_first(json_member(probe, "flows")); item != NULL; item = json_next(item)) {
		struct conf_offer_flow *flow = add(catalogue, flow);

		flow->name = text_of(arena, item, "name");
		flow->plugin = plugin;
		flow->platform = text_of(arena, item, "platform");
		flow->streams = names_of(arena, item, "streams");
		flow->params = names_of(arena, item, "params");
		flow->operations = names_of(arena, item, "operations");
		buf_clear(&out);
		json_print(json_member(item, "params"), &out);
		flow->options = arena_strndup(arena, out.data, out.len);
	}
	buf_fini(&out);
	for (item = json_first(json_member(probe, "streams")); item != NULL; item = json_next(item)) {
		struct conf_offer_stream *stream;

		if (conf_offered_stream(catalogue, json_string(json_member(item, "name"), NULL)) != NULL)
			continue;
		stream = add(catalogue, stream);
		stream->name = text_of(arena, item, "name");
		stream->plugin = plugin;
		stream->exchange = text_of(arena, item, "exchange");
		stream->key = text_of(arena, item, "key");
	}
	for (item = json_first(json_member(probe, "sinks")); item != NULL; item = json_next(item)) {
		struct conf_offer_sink *sink = add(catalogue, sink);

		sink->name = text_of(arena, item, "name");
		sink->plugin = plugin;
		sink->queue = text_of(arena, item, "queue");
		sink->exchange = text_of(arena, item, "exchange");
		sink->exchange_type = text_of(arena, item, "exchange_type");
		sink->table = text_of(arena, item, "table");
		sink->key = str_eq(json_string(json_member(item, "exchange_type"), NULL), "fanout") ? "#" :
			    text_of(arena, item, "key");
	}
}

int conf_catalogue_add(struct conf_catalogue *catalogue, const struct json *probe, struct error *err)
{
	const char *name = json_string(json_member(probe, "name"), NULL);
	struct conf_offer_plugin *plugin;

	if (name == NULL || !str_is_name(name))
		return error_set(err, ERR_INPUT, "not a plugin's descriptor: it has no name");
	if (check_new(catalogue, probe, name, err) < 0)
		return -1;
	plugin = add(catalogue, plugin);
	plugin->name = arena_strdup(catalogue->arena, name);
	plugin->version = text_of(catalogue->arena, probe, "version");
	plugin->file = text_of(catalogue->arena, probe, "file");
	plugin->device = number_of(probe, "device");
	plugin->inode = number_of(probe, "inode");
	plugin->size = number_of(probe, "size");
	plugin->sha256 = text_of(catalogue->arena, probe, "sha256");
	plugin->tables = names_of(catalogue->arena, probe, "tables");
	plugin->listeners = names_of(catalogue->arena, probe, "listeners");
	read_options(catalogue->arena, probe, plugin);
	add_upstream(catalogue, probe, plugin->name);
	add_ways(catalogue, probe, plugin->name);
	return 0;
}
