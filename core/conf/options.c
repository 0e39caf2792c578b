/* SPDX-License-Identifier: Apache-2.0 */
/* plugins.NAME: the options that each plugin declares, checked with the schema's own types. Supervisor, sluicectl. */
#include <string.h>

#include "base/arena.h"
#include "base/str.h"
#include "conf/keys.h"

static const struct conf_type *option_type(const char *name)
{
	static const struct {
		const char *name;
		const struct conf_type *type;
	} types[] = {
		{"integer", &conf_long}, {"number", &conf_float}, {"boolean", &conf_bool},
		{"duration", &conf_duration}, {"size", &conf_size}
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (str_eq(types[i].name, name))
			return types[i].type;
	return &conf_text;
}

/* The option's value as a text, NULL when there is none or it is wrong (reported). */
static const char *option_value(struct conf_walk *walk, const struct conf_node *node,
				const struct conf_offer_option *option)
{
	struct conf_key key = {
		.name = option->name, .type = option_type(option->type),
		.flags = option->secret ? CONF_HIDDEN : 0, .min = option->min, .max = option->max
	};
	size_t before = walk->errors->count;
	union {
		int64_t number;
		double fraction;
		const char *text;
		bool flag;
	} value;

	if (node == NULL)
		return option->fallback != NULL ? arena_strdup(walk->arena, option->fallback) : NULL;
	if (node->bad)
		return NULL;
	memset(&value, 0, sizeof(value));
	key.type->fill(walk, node, &key, &value);
	return walk->errors->count == before ? arena_strdup(walk->arena, node->text) : NULL;
}

static void check_unknown(struct conf_walk *walk, const struct conf_node *node, const struct conf_offer_plugin *offer)
{
	const char *const *names = conf_names_of(walk->arena, offer->options, offer->option_count,
						 sizeof(*offer->options));

	for (const struct conf_node *child = node->first; child != NULL; child = child->next) {
		size_t i = 0;

		while (i < offer->option_count && !str_eq(names[i], child->key))
			i++;
		if (i == offer->option_count)
			conf_errors_add(walk->errors, child->key_line, child->key_column,
					"%sunknown option \"%.64s\"%s", walk->context, child->key,
					conf_nearest(walk, child->key, names, offer->option_count));
	}
}

static bool plugin_used(const struct conf_model *model, const char *name)
{
	for (size_t i = 0; i < model->flow_count; i++)
		if (model->flows[i].enabled && str_eq(model->flows[i].plugin, name))
			return true;
	for (size_t i = 0; i < model->sink_count; i++)
		if (model->sinks[i].enabled && str_eq(model->sinks[i].plugin, name))
			return true;
	return false;
}

/* node: the plugin's mapping, or NULL; place: where to report what is missing. */
static void fill_plugin(struct conf_walk *walk, const struct conf_node *node, const struct conf_node *place,
			const struct conf_offer_plugin *offer, const struct conf_model *model,
			struct conf_plugin *plugin)
{
	struct conf_pair *options = arena_alloc(walk->arena, offer->option_count * sizeof(*options));
	size_t count = 0;

	*plugin = (struct conf_plugin){
		.name = arena_strdup(walk->arena, offer->name),
		.path = offer->file != NULL ? arena_strdup(walk->arena, offer->file) : NULL,
		.device = offer->device, .inode = offer->inode, .size = offer->size,
		.sha256 = offer->sha256 != NULL ? arena_strdup(walk->arena, offer->sha256) : NULL,
		.options = options
	};
	walk->context = arena_printf(walk->arena, "plugin \"%s\": ", offer->name);
	if (node != NULL && node->kind != CONF_MAPPING) {
		if (!conf_is_null(node) && !node->bad)
			conf_complain(walk, node, NULL, "must be a mapping of options, not %s",
				      conf_show(walk, node, NULL));
		node = NULL;
	}
	for (size_t i = 0; i < offer->option_count; i++) {
		const struct conf_offer_option *option = &offer->options[i];
		const struct conf_node *child = conf_child(node, option->name);

		options[count].name = arena_strdup(walk->arena, option->name);
		options[count].value = option_value(walk, child, option);
		if (options[count].value != NULL)
			count++;
		else if (child == NULL && option->required && (node != NULL || plugin_used(model, offer->name)))
			conf_complain(walk, place, NULL, "missing option \"%s\"", option->name);
	}
	plugin->option_count = count;
	if (node != NULL)
		check_unknown(walk, node, offer);
	walk->context = "";
}

void conf_options_check(struct conf_walk *walk, const struct conf_node *file, struct conf_root *root)
{
	const struct conf_catalogue *catalogue = root->catalogue;
	const struct conf_node *node = conf_child(file, "plugins");
	struct conf_plugin *plugins = arena_alloc(walk->arena, catalogue->plugin_count * sizeof(*plugins));

	for (size_t i = 0; i < catalogue->plugin_count; i++) {
		const struct conf_node *child = conf_child(node, catalogue->plugins[i].name);

		fill_plugin(walk, child, child != NULL ? child : node != NULL ? node : file, &catalogue->plugins[i],
			    &root->model, &plugins[i]);
	}
	root->model.plugins = plugins;
	root->model.plugin_count = catalogue->plugin_count;
	if (node == NULL || node->kind != CONF_MAPPING)
		return;
	for (const struct conf_node *child = node->first; child != NULL; child = child->next)
		if (!str_eq(child->key, "path") && conf_offered_plugin(catalogue, child->key) == NULL)
			conf_errors_add(walk->errors, child->key_line, child->key_column,
					"no plugin is called \"%.64s\"%s", child->key,
					conf_nearest(walk, child->key, conf_offered_names(walk, root, plugin),
						     catalogue->plugin_count));
}
