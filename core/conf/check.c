/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What no key can know alone: names against what the plugins offer, keys that
 * must agree, events that must have somewhere to go. Runs after the schema has
 * filled the model, in the supervisor and in sluicectl. A list of the model
 * and the mapping it came from have the same entries in the same order.
 */
#include <inttypes.h>
#include <string.h>

#include "base/arena.h"
#include "base/str.h"
#include "conf/keys.h"
#include "conf/units.h"

#define complain_key(walk, node, ...) \
	conf_errors_add((walk)->errors, (node)->key_line, (node)->key_column, __VA_ARGS__)

const char *const *conf_names_of(struct arena *arena, const void *items, size_t count, size_t size)
{
	const char **names = arena_alloc(arena, count * sizeof(*names));

	for (size_t i = 0; i < count; i++)
		memcpy(&names[i], (const char *)items + i * size, sizeof(names[i]));
	return names;
}

/* The model outlives the catalogue. */
static const char *copy(struct conf_walk *walk, const char *text)
{
	return text != NULL ? arena_strdup(walk->arena, text) : NULL;
}

static const struct conf_node *first_entry(const struct conf_node *file, const char *section)
{
	const struct conf_node *node = conf_child(file, section);

	return node != NULL && node->kind == CONF_MAPPING ? node->first : NULL;
}

/* Of one retry section. */
static void check_pauses(struct conf_walk *walk, const struct conf_node *node, const char *noun, const char *name,
			 const struct conf_retry *retry)
{
	char first[UNITS_TEXT_SIZE], cap[UNITS_TEXT_SIZE];

	units_duration(first, retry->first_ms);
	units_duration(cap, retry->cap_ms);
	if (node != NULL && retry->first_ms > retry->cap_ms)
		conf_complain(walk, node, NULL, "%s \"%s\": retry: first (%s) is longer than cap (%s)", noun, name, first,
			      cap);
}

/* --- sources --- */

static void check_credential(struct conf_walk *walk, const struct conf_node *entry, const struct conf_source *source,
			     const struct conf_names *fields)
{
	const struct conf_node *node = conf_child(entry, "credential");

	if (fields->count == 0 || node == NULL || node->kind != CONF_MAPPING)
		return;
	for (const struct conf_node *child = node->first; child != NULL; child = child->next)
		if (!conf_names_have(fields, child->key))
			complain_key(walk, child, "source \"%s\": credential: unknown member \"%.64s\"%s", source->name,
				     child->key, conf_nearest(walk, child->key, fields->list, fields->count));
	for (size_t i = 0; i < fields->count; i++)
		if (conf_child(node, fields->list[i]) == NULL)
			conf_complain(walk, node, NULL, "source \"%s\": credential: missing member \"%s\"",
				      source->name, fields->list[i]);
}

/* That it would be used if there were a key goes without saying; who says it wants it. */
static void check_pool(struct conf_walk *walk, const struct conf_node *entry, const struct conf_source *source,
		       const struct conf_model *model)
{
	const struct conf_node *node = conf_child(entry, "pool");

	if (node != NULL && source->pool && model->credential_key == NULL)
		conf_complain(walk, node, NULL, "source \"%s\": pool: needs credentials.key, which seals the pool's "
			      "credentials: credentials: {key: !file FILE}", source->name);
}

static void check_sources(struct conf_walk *walk, const struct conf_node *file, struct conf_root *root)
{
	const struct conf_catalogue *catalogue = root->catalogue;
	const struct conf_node *entry = first_entry(file, "sources");

	for (size_t i = 0; i < root->model.source_count; i++, entry = entry->next) {
		struct conf_source *source = (struct conf_source *)&root->model.sources[i];
		const char **plugins = arena_alloc(walk->arena, catalogue->source_count * sizeof(*plugins));
		const struct conf_offer_source *offer = conf_offered_source(catalogue, NULL, source->name);

		if (offer == NULL) {
			complain_key(walk, entry, "no plugin has a source \"%.64s\"%s", source->name,
				     conf_nearest(walk, source->name, conf_offered_names(walk, root, source),
						  catalogue->source_count));
			continue;
		}
		for (size_t j = 0; j < catalogue->source_count; j++)
			if (str_eq(catalogue->sources[j].name, source->name))
				plugins[source->plugin_count++] = copy(walk, catalogue->sources[j].plugin);
		source->plugins = plugins;
		if (source->base_url == NULL && offer->base_url == NULL && conf_child(entry, "base_url") == NULL)
			complain_key(walk, entry, "source \"%s\": missing key \"base_url\": plugin %s has none of its own",
				     source->name, offer->plugin);
		check_credential(walk, entry, source, &offer->fields);
		check_pauses(walk, conf_child(entry, "retry"), "source", source->name, &source->retry);
		check_pool(walk, entry, source, &root->model);
	}
}

/* --- operations --- */

static void check_operations(struct conf_walk *walk, const struct conf_node *file, struct conf_root *root)
{
	const struct conf_catalogue *catalogue = root->catalogue;
	const struct conf_node *entry = first_entry(file, "operations");

	for (size_t i = 0; i < root->model.operation_count; i++, entry = entry->next) {
		struct conf_operation *operation = (struct conf_operation *)&root->model.operations[i];
		const struct conf_offer_operation *offer = conf_offered_operation(catalogue, operation->name);
		const struct conf_node *list = conf_child(entry, "sources");

		if (offer == NULL) {
			complain_key(walk, entry, "no plugin has an operation \"%.64s\"%s", operation->name,
				     conf_nearest(walk, operation->name, conf_offered_names(walk, root, operation),
						  catalogue->operation_count));
			continue;
		}
		operation->plugin = copy(walk, offer->plugin);
		for (const struct conf_node *child = list != NULL ? list->first : NULL; child != NULL;
		     child = child->next) {
			const char *name = child->key != NULL ? child->key : child->text;

			if (name != NULL && *name != '\0' && !conf_names_have(&offer->sources, name))
				conf_errors_add(walk->errors, child->key != NULL ? child->key_line : child->line,
						child->key != NULL ? child->key_column : child->column,
						"operation \"%s\": source \"%.64s\" cannot answer it%s", operation->name,
						name, conf_nearest(walk, name, offer->sources.list,
								   offer->sources.count));
		}
	}
}

/* --- flows --- */

static void check_flow_sources(struct conf_walk *walk, const struct conf_node *entry, const struct conf_flow *flow,
			       const struct conf_catalogue *catalogue)
{
	const struct conf_node *list = conf_child(entry, "sources");
	const char **names = arena_alloc(walk->arena, catalogue->source_count * sizeof(*names));
	size_t count = 0;

	for (size_t i = 0; i < catalogue->source_count; i++)
		if (str_eq(catalogue->sources[i].plugin, flow->plugin))
			names[count++] = catalogue->sources[i].name;
	if (list == NULL || list->kind != CONF_SEQUENCE)
		return;
	for (const struct conf_node *child = list->first; child != NULL; child = child->next)
		if (child->kind == CONF_SCALAR && *child->text != '\0' &&
		    conf_offered_source(catalogue, flow->plugin, child->text) == NULL)
			conf_complain(walk, child, NULL, "flow \"%s\": sources: plugin %s has no source %s%s",
				      flow->name, flow->plugin, conf_show(walk, child, NULL),
				      conf_nearest(walk, child->text, names, count));
}

static void check_unique(struct conf_walk *walk, const struct conf_node *entry, const struct conf_flow *flow,
			 const struct conf_names *params)
{
	const struct conf_node *list = conf_child(entry, "unique");

	if (list == NULL || list->kind != CONF_SEQUENCE)
		return;
	for (const struct conf_node *child = list->first; child != NULL; child = child->next)
		if (child->kind == CONF_SCALAR && *child->text != '\0' && !conf_names_have(params, child->text))
			conf_complain(walk, child, NULL, "flow \"%s\": unique: the flow has no parameter %s%s",
				      flow->name, conf_show(walk, child, NULL),
				      conf_nearest(walk, child->text, params->list, params->count));
}

static void check_items(struct conf_walk *walk, const struct conf_node *entry, const struct conf_flow *flow,
			const struct conf_names *params)
{
	const struct conf_node *node = conf_child(entry, "item");

	if (node == NULL || node->kind != CONF_MAPPING)
		return;
	for (const struct conf_node *child = node->first; child != NULL; child = child->next)
		if (!conf_names_have(params, child->key))
			complain_key(walk, child, "flow \"%s\": item: the flow has no parameter \"%.64s\"%s", flow->name,
				     child->key, conf_nearest(walk, child->key, params->list, params->count));
}

/* Flows of one group share processes, so what describes a process must be the same. */
static void check_group(struct conf_walk *walk, const struct conf_node *entry, const struct conf_flow *flow,
			const struct conf_model *model)
{
	for (const struct conf_flow *other = model->flows; flow->group != NULL && other < flow; other++) {
		const char *differs = NULL;

		if (!str_eq(other->group, flow->group))
			continue;
		if (other->workers != flow->workers)
			differs = "workers";
		else if (other->max_tasks != flow->max_tasks)
			differs = "max_tasks";
		else if (other->max_rss != flow->max_rss)
			differs = "max_rss";
		if (differs != NULL)
			complain_key(walk, entry, "flow \"%s\": %s differs from flow \"%s\" of the same group \"%s\"",
				     flow->name, differs, other->name, flow->group);
		return;
	}
}

static void check_flows(struct conf_walk *walk, const struct conf_node *file, struct conf_root *root)
{
	const struct conf_catalogue *catalogue = root->catalogue;
	struct conf_model *model = &root->model;
	const struct conf_node *entry = first_entry(file, "flows");

	for (size_t i = 0; i < model->flow_count; i++, entry = entry->next) {
		struct conf_flow *flow = (struct conf_flow *)&model->flows[i];
		const struct conf_offer_flow *offer = conf_offered_flow(catalogue, flow->name);

		if (offer == NULL) {
			complain_key(walk, entry, "no plugin offers flow \"%.64s\"%s", flow->name,
				     conf_nearest(walk, flow->name, conf_offered_names(walk, root, flow),
						  catalogue->flow_count));
			continue;
		}
		flow->plugin = copy(walk, offer->plugin);
		flow->platform = copy(walk, offer->platform);
		check_flow_sources(walk, entry, flow, catalogue);
		check_unique(walk, entry, flow, &offer->params);
		check_items(walk, entry, flow, &offer->params);
		check_pauses(walk, conf_child(entry, "retry"), "flow", flow->name, &flow->retry);
		check_group(walk, entry, flow, model);
		conf_schedule_check(walk, entry, offer, model, flow);
	}
}

/* --- sinks --- */

static void check_batch(struct conf_walk *walk, const struct conf_node *entry, const struct conf_model *model,
			struct conf_sink *sink)
{
	const struct conf_node *prefetch = conf_child(entry, "prefetch");
	const struct conf_node *durability = conf_child(entry, "durability");
	const struct conf_node *batch = conf_child(entry, "batch");
	char memory[UNITS_TEXT_SIZE], bytes[UNITS_TEXT_SIZE];

	if (prefetch == NULL)
		sink->prefetch = 2 * sink->batch_rows;
	else if (sink->prefetch > 0 && sink->prefetch < 2 * sink->batch_rows)
		conf_complain(walk, prefetch, NULL, "sink \"%s\": prefetch: must be at least two batches "
			      "(2 x %" PRId64 " rows), not %" PRId64, sink->name, sink->batch_rows, sink->prefetch);
	units_size(memory, model->memory_max);
	units_size(bytes, sink->batch_bytes);
	if (2 * sink->batch_bytes > model->memory_max)
		conf_complain(walk, batch != NULL ? batch : entry, NULL,
			      "sink \"%s\": batch: two batches of %s do not fit into memory (%s)", sink->name, bytes,
			      memory);
	/* Who looks a suspect up must be sure that an insert of it, begun before, is over. */
	if (model->bus != NULL && !str_starts(model->bus, "direct:") && model->suspect_wait_ms >= 0 &&
	    model->suspect_wait_ms <= sink->deadline_ms)
		conf_complain(walk, entry, NULL, "sink \"%s\": deadline: must be shorter than suspects.hold with a broker",
			      sink->name);
	if (durability != NULL && sink->durability == CONF_QUORUM && model->warehouse != NULL &&
	    str_starts(model->warehouse, "chdb:"))
		conf_complain(walk, durability, NULL, "sink \"%s\": durability: \"quorum\" needs several servers; "
			      "the warehouse is chdb:", sink->name);
}

static void bind_sink(struct conf_walk *walk, struct conf_sink *sink, const struct conf_offer_sink *offer)
{
	sink->plugin = copy(walk, offer->plugin);
	sink->queue = copy(walk, offer->queue);
	sink->exchange = copy(walk, offer->exchange);
	sink->exchange_type = copy(walk, offer->exchange_type);
	sink->key = copy(walk, offer->key);
	sink->table = copy(walk, offer->table);
}

/* Without the section every offered sink runs as if its name stood there alone. */
static void take_all_sinks(struct conf_walk *walk, struct conf_root *root)
{
	const struct conf_catalogue *catalogue = root->catalogue;
	struct conf_sink *sinks = arena_alloc(walk->arena, catalogue->sink_count * sizeof(*sinks));

	for (size_t i = 0; i < catalogue->sink_count; i++) {
		conf_section_init(walk->arena, &conf_sink_section, &sinks[i]);
		sinks[i].name = copy(walk, catalogue->sinks[i].name);
		sinks[i].enabled = true;
	}
	root->model.sinks = sinks;
	root->model.sink_count = catalogue->sink_count;
}

static void check_sinks(struct conf_walk *walk, const struct conf_node *file, struct conf_root *root)
{
	const struct conf_catalogue *catalogue = root->catalogue;
	struct conf_model *model = &root->model;
	const struct conf_node *entry = first_entry(file, "sinks");

	if (conf_child(file, "sinks") == NULL)
		take_all_sinks(walk, root);
	for (size_t i = 0; i < model->sink_count; i++) {
		struct conf_sink *sink = (struct conf_sink *)&model->sinks[i];
		const struct conf_offer_sink *offer = conf_offered_sink(catalogue, sink->name);
		const struct conf_node *place = entry != NULL ? entry : file;

		check_batch(walk, place, model, sink);
		if (offer == NULL)
			complain_key(walk, place, "no plugin offers sink \"%.64s\"%s", sink->name,
				     conf_nearest(walk, sink->name, conf_offered_names(walk, root, sink),
						  catalogue->sink_count));
		else
			bind_sink(walk, sink, offer);
		for (const struct conf_sink *other = model->sinks; offer != NULL && other < sink; other++)
			if (str_eq(other->queue, sink->queue))
				complain_key(walk, place, "sink \"%s\": queue \"%s\" is already read by sink \"%s\"%s",
					     sink->name, sink->queue, other->name,
					     entry != NULL ? "" : " (name the sinks to run below sinks:)");
		entry = entry != NULL ? entry->next : NULL;
	}
}

/* --- streams --- */

/* The model gets every offered stream; the file only says what happens when nothing takes one. */
static void check_streams(struct conf_walk *walk, const struct conf_node *file, struct conf_root *root)
{
	const struct conf_catalogue *catalogue = root->catalogue;
	struct conf_model *model = &root->model;
	const struct conf_node *entry = first_entry(file, "streams");
	struct conf_stream *streams = arena_alloc(walk->arena, catalogue->stream_count * sizeof(*streams));

	for (size_t i = 0; i < catalogue->stream_count; i++) {
		streams[i].name = copy(walk, catalogue->streams[i].name);
		streams[i].exchange = copy(walk, catalogue->streams[i].exchange);
		streams[i].key = copy(walk, catalogue->streams[i].key);
		streams[i].drop = catalogue->streams[i].plugin == NULL;		/* its own: nobody has to want them */
	}
	for (size_t i = 0; i < model->stream_count; i++, entry = entry->next) {
		const char *name = model->streams[i].name;
		const struct conf_offer_stream *offer = conf_offered_stream(catalogue, name);

		if (offer != NULL)
			streams[offer - catalogue->streams].drop = model->streams[i].drop;
		else
			complain_key(walk, entry, "no plugin has a stream \"%.64s\"%s", name,
				     conf_nearest(walk, name, conf_offered_names(walk, root, stream),
						  catalogue->stream_count));
	}
	model->streams = streams;
	model->stream_count = catalogue->stream_count;
}

/* Traces are made for those who take them. Whoever asks for them by name is told when nobody does. */
static void check_trace(const struct conf_node *file, struct conf_root *root)
{
	struct conf_model *model = &root->model;
	struct conf_stream *stream = (struct conf_stream *)&model->streams[CONF_STREAM_TRACE];

	if (conf_child(conf_child(file, "trace"), "enabled") == NULL)
		model->trace_enabled = conf_route(model, stream->exchange, stream->key, 0) != NULL;
	else if (!model->trace_enabled)
		stream->drop = true;
	else if (conf_child(conf_child(file, "streams"), stream->name) == NULL)
		stream->drop = false;
}

/* The host's own streams are no flow's. */
static void check_own_routes(struct conf_walk *walk, const struct conf_node *file, const struct conf_model *model)
{
	for (size_t i = 0; i < CONF_STREAMS_OWN; i++) {
		const struct conf_stream *stream = &model->streams[i];
		const struct conf_node *place = conf_child(file, "streams");

		if (conf_child(place, stream->name) == NULL)
			place = conf_child(file, "trace");
		if (!stream->drop && place != NULL && conf_route(model, stream->exchange, stream->key, 0) == NULL)
			complain_key(walk, place, "no sink takes stream \"%s\" (exchange %s, key %s)", stream->name,
				     stream->exchange, stream->key);
	}
}

static void check_routes(struct conf_walk *walk, const struct conf_node *file, struct conf_root *root)
{
	struct conf_model *model = &root->model;
	const struct conf_node *entry = first_entry(file, "flows");
	bool *told = arena_alloc(walk->arena, model->stream_count * sizeof(*told));

	/* A broker may have queues of others; what none takes is set aside. */
	if (model->bus == NULL || !str_starts(model->bus, "direct:"))
		return;
	for (size_t i = 0; i < model->flow_count; i++, entry = entry->next) {
		const struct conf_offer_flow *offer = conf_offered_flow(root->catalogue, model->flows[i].name);

		for (size_t j = 0; j < model->stream_count; j++) {
			const struct conf_stream *stream = &model->streams[j];

			if (offer == NULL || told[j] || stream->drop || !conf_names_have(&offer->streams, stream->name) ||
			    conf_route(model, stream->exchange, stream->key, 0) != NULL)
				continue;
			told[j] = true;
			complain_key(walk, entry, "flow \"%s\": no sink takes its stream \"%s\" (exchange %s, key %s); "
				     "add one, or streams: {%s: {unrouted: drop}}", offer->name, stream->name,
				     stream->exchange, stream->key, stream->name);
		}
	}
	check_own_routes(walk, file, model);
}

/* What is offered but not in the file stays known, switched off: for lists and for clear answers. */
static void append_others(struct conf_walk *walk, struct conf_root *root)
{
	const struct conf_catalogue *catalogue = root->catalogue;
	struct conf_model *model = &root->model;
	struct conf_flow *flows = arena_alloc(walk->arena, (model->flow_count + catalogue->flow_count) * sizeof(*flows));
	struct conf_sink *sinks = arena_alloc(walk->arena, (model->sink_count + catalogue->sink_count) * sizeof(*sinks));

	if (model->flow_count > 0)
		memcpy(flows, model->flows, model->flow_count * sizeof(*flows));
	for (size_t i = 0; i < catalogue->flow_count; i++) {
		const struct conf_offer_flow *offer = &catalogue->flows[i];
		struct conf_flow *flow = &flows[model->flow_count];

		if (conf_flow(model, offer->name) != NULL)
			continue;
		*flow = root->defaults;
		flow->name = copy(walk, offer->name);
		flow->plugin = copy(walk, offer->plugin);
		flow->platform = copy(walk, offer->platform);
		model->flow_count++;
		model->flows = flows;
	}
	if (model->sink_count > 0)
		memcpy(sinks, model->sinks, model->sink_count * sizeof(*sinks));
	for (size_t i = 0; i < catalogue->sink_count; i++) {
		const struct conf_offer_sink *offer = &catalogue->sinks[i];

		if (conf_sink(model, offer->name) != NULL)
			continue;
		sinks[model->sink_count].name = copy(walk, offer->name);
		bind_sink(walk, &sinks[model->sink_count++], offer);
		model->sinks = sinks;
	}
}

static void check_order(struct conf_walk *walk, const struct conf_node *file, const char *section, int64_t first_ms,
			int64_t cap_ms)
{
	const struct conf_node *node = conf_child(file, section);
	char first[UNITS_TEXT_SIZE], cap[UNITS_TEXT_SIZE];

	units_duration(first, first_ms);
	units_duration(cap, cap_ms);
	if (node != NULL && first_ms > cap_ms)
		conf_complain(walk, node, NULL, "%s: first (%s) is longer than cap (%s)", section, first, cap);
}

static void check_share(struct conf_walk *walk, const struct conf_node *file, const struct conf_model *model)
{
	const struct conf_node *share = conf_child(conf_child(file, "limits"), "share");

	if (share != NULL && model->limit_share <= 0)
		conf_complain(walk, share, NULL, "limits: share: must be above 0");
}

void conf_relations_check(struct conf_walk *walk, const struct conf_node *file, struct conf_root *root)
{
	const struct conf_model *model = &root->model;

	if (model->credential_key == NULL && model->old_key_count > 0)
		conf_complain(walk, conf_child(conf_child(file, "credentials"), "old_keys"), NULL,
			      "credentials: old_keys: there is no key beside them");
	check_sources(walk, file, root);
	check_operations(walk, file, root);
	check_flows(walk, file, root);
	check_sinks(walk, file, root);
	check_streams(walk, file, root);
	check_trace(file, root);
	check_routes(walk, file, root);
	check_order(walk, file, "breaker", model->breaker_first_ms, model->breaker_cap_ms);
	check_share(walk, file, model);
	check_order(walk, file, "restart", model->restart_first_ms, model->restart_cap_ms);
	append_others(walk, root);
}
