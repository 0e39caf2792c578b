/* SPDX-License-Identifier: Apache-2.0 */
/* The model on its way to a role: reduced, written as JSON, read there. The supervisor writes, every role reads. */
#include <string.h>

#include "base/arena.h"
#include "base/str.h"
#include "conf/keys.h"
#include "json/json.h"
#include "json/jwrite.h"

static bool wanted(const char *name, const char *const *names, size_t count)
{
	if (names == NULL)
		return true;
	for (size_t i = 0; i < count; i++)
		if (str_eq(names[i], name))
			return true;
	return false;
}

static bool runs_plugin(const struct conf_model *part, enum conf_role role, const char *plugin)
{
	for (size_t i = 0; role == CONF_FOR_WORKER && i < part->flow_count; i++)
		if (part->flows[i].enabled && str_eq(part->flows[i].plugin, plugin))
			return true;
	for (size_t i = 0; role == CONF_FOR_SINK && i < part->sink_count; i++)
		if (part->sinks[i].enabled && str_eq(part->sinks[i].plugin, plugin))
			return true;
	return false;
}

/*
 * What a role has no use for is left out of the flows and sinks that it is told
 * of: a part that does not differ spares its process a restart (conf_part_fixed).
 * Fields that nobody thought of here stay, so that nothing can be missing.
 */
static void forget_of_flow(struct conf_flow *flow, enum conf_role role, enum conf_mode mode)
{
	flow->group = NULL;
	/* In one process for all they are slots of it. */
	if (role != CONF_FOR_WORKER || mode != CONF_SINGLE)
		flow->workers = 0;
	if (role == CONF_FOR_WORKER) {
		flow->schedule = (struct conf_schedule){.cron = NULL};
		return;
	}
	flow->concurrency = 0;
	flow->limit_count = flow->item_count = 0;
}

/* All but the sink itself only want to know which events it takes. */
static void forget_of_sink(struct conf_sink *sink)
{
	sink->consumers = 0;
	sink->batch_rows = sink->batch_bytes = sink->batch_age_ms = sink->prefetch = sink->deadline_ms = 0;
	sink->durability = CONF_FSYNC;
}

static void forget_settings(struct conf_model *part, enum conf_role role)
{
	/* The supervisor's own. */
	part->relay_workers = 0;
	part->restart_first_ms = part->restart_cap_ms = part->ready_timeout_ms = 0;
	if (role != CONF_FOR_TIMER)
		part->timer_lease_ms = part->keep_complete_ms = part->keep_failed_ms = 0;
	if (role != CONF_FOR_RELAY)
		part->relay_events = part->relay_age_ms = part->relay_lease_ms = part->relay_window = 0;
	if (role == CONF_FOR_SINK)
		part->packing = CONF_PACK_NOT;
	if (role != CONF_FOR_SINK) {
		part->suspect_wait_ms = 0;
		part->engine = CONF_PLAIN;
	}
	if (role != CONF_FOR_WORKER) {
		part->credential_key = NULL;
		part->old_key_count = 0;
		part->task_connections = 0;
	}
}

/* Of what runs: a worker routes by the sinks, the timer makes tasks of the flows, sinks and relays know no flow. */
static void reduce_own(struct conf_model *part, struct arena *arena, const struct conf_model *model,
		       enum conf_role role, const char *const *names, size_t count)
{
	struct conf_flow *flows = arena_alloc(arena, model->flow_count * sizeof(*flows));
	struct conf_sink *sinks = arena_alloc(arena, model->sink_count * sizeof(*sinks));

	part->flow_count = part->sink_count = 0;
	for (size_t i = 0; i < model->flow_count; i++)
		if (model->flows[i].enabled && role != CONF_FOR_SINK && role != CONF_FOR_RELAY &&
		    (role != CONF_FOR_WORKER || wanted(model->flows[i].name, names, count))) {
			flows[part->flow_count] = model->flows[i];
			forget_of_flow(&flows[part->flow_count++], role, model->mode);
		}
	for (size_t i = 0; i < model->sink_count; i++)
		if (model->sinks[i].enabled &&
		    (role != CONF_FOR_SINK || wanted(model->sinks[i].name, names, count))) {
			sinks[part->sink_count] = model->sinks[i];
			if (role != CONF_FOR_SINK)
				forget_of_sink(&sinks[part->sink_count]);
			part->sink_count++;
		}
	part->flows = flows;
	part->sinks = sinks;
}

static void reduce_upstream(struct conf_model *part, struct arena *arena, const struct conf_model *model,
			    enum conf_role role)
{
	struct conf_source *sources = arena_alloc(arena, model->source_count * sizeof(*sources));
	struct conf_operation *operations = arena_alloc(arena, model->operation_count * sizeof(*operations));

	part->source_count = part->operation_count = 0;
	for (size_t i = 0; i < model->source_count; i++) {
		const struct conf_source *source = &model->sources[i];
		bool mine = false;

		for (size_t j = 0; j < source->plugin_count; j++)
			mine = mine || (role == CONF_FOR_WORKER && runs_plugin(part, role, source->plugins[j]));
		if (mine)
			sources[part->source_count++] = *source;
	}
	for (size_t i = 0; i < model->operation_count; i++)
		if (role == CONF_FOR_WORKER && runs_plugin(part, role, model->operations[i].plugin))
			operations[part->operation_count++] = model->operations[i];
	part->sources = sources;
	part->operations = operations;
}

void conf_part(struct conf_model *part, struct arena *arena, const struct conf_model *model, enum conf_role role,
	       const char *const *names, size_t count)
{
	struct conf_plugin *plugins = arena_alloc(arena, model->plugin_count * sizeof(*plugins));

	*part = *model;
	part->arena = NULL;
	forget_settings(part, role);
	reduce_own(part, arena, model, role, names, count);
	reduce_upstream(part, arena, model, role);
	/* Only what it runs: a new file for a new flow is no business of the others. */
	part->plugin_count = 0;
	for (size_t i = 0; i < model->plugin_count; i++)
		if (runs_plugin(part, role, model->plugins[i].name))
			plugins[part->plugin_count++] = model->plugins[i];
	part->plugins = plugins;
}

void conf_part_fixed(struct conf_model *part, struct arena *arena)
{
	struct conf_source *sources = arena_alloc(arena, part->source_count * sizeof(*sources));
	struct conf_flow *flows = arena_alloc(arena, part->flow_count * sizeof(*flows));

	for (size_t i = 0; i < part->source_count; i++) {
		sources[i] = part->sources[i];
		sources[i].limit_count = sources[i].credential_limit_count = 0;
	}
	for (size_t i = 0; i < part->flow_count; i++) {
		struct conf_pair *items = arena_alloc(arena, part->flows[i].item_count * sizeof(*items));

		flows[i] = part->flows[i];
		flows[i].limit_count = 0;
		/* How much may change, of what may not. */
		for (size_t k = 0; k < flows[i].item_count; k++)
			items[k] = (struct conf_pair){part->flows[i].items[k].name, ""};
		flows[i].items = items;
	}
	part->sources = sources;
	part->flows = flows;
	part->log_level = "";
}

void conf_part_json(const struct conf_model *model, struct buf *out)
{
	struct jwrite w;

	jwrite_init(&w, out);
	jwrite_object(&w, NULL);
	conf_section_write(&w, &conf_root_section, model);
	jwrite_end(&w);
}

struct conf_model *conf_part_read(const struct json *part, struct error *err)
{
	struct arena *arena = arena_new();
	struct conf_root *root = arena_alloc(arena, sizeof(*root));

	root->model.arena = arena;
	if (conf_section_read(arena, part, &conf_root_section, root, err) < 0) {
		error_prefix(err, "configuration part");
		arena_free(&arena);
		return NULL;
	}
	return &root->model;
}
