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

/* Flows and sinks stay listed for every role (a worker routes by them); only the role's own are enabled. */
static void reduce_own(struct conf_model *part, struct arena *arena, const struct conf_model *model,
		       enum conf_role role, const char *const *names, size_t count)
{
	struct conf_flow *flows = arena_alloc(arena, model->flow_count * sizeof(*flows));
	struct conf_sink *sinks = arena_alloc(arena, model->sink_count * sizeof(*sinks));

	part->flow_count = part->sink_count = 0;
	for (size_t i = 0; i < model->flow_count; i++)
		if (role != CONF_FOR_WORKER || wanted(model->flows[i].name, names, count)) {
			flows[part->flow_count] = model->flows[i];
			if (role != CONF_FOR_TIMER)
				flows[part->flow_count].schedule = (struct conf_schedule){.cron = NULL};
			part->flow_count++;
		}
	for (size_t i = 0; i < model->sink_count; i++)
		if (role != CONF_FOR_SINK || wanted(model->sinks[i].name, names, count))
			sinks[part->sink_count++] = model->sinks[i];
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
	if (role != CONF_FOR_WORKER) {
		part->credential_key = NULL;
		part->old_key_count = 0;
	}
	reduce_own(part, arena, model, role, names, count);
	reduce_upstream(part, arena, model, role);
	for (size_t i = 0; i < model->plugin_count; i++) {
		plugins[i] = model->plugins[i];
		if (!runs_plugin(part, role, plugins[i].name))
			plugins[i].option_count = 0;
	}
	part->plugins = plugins;
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
