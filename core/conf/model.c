/* SPDX-License-Identifier: Apache-2.0 */
/* From a file to the checked model; looking things up in it. Supervisor, sluicectl; the look-ups in every role. */
#include "conf/model.h"

#include <string.h>

#include "base/arena.h"
#include "base/str.h"
#include "conf/keys.h"

#define SUSPECT_WAIT_MS 180000		/* with inserts that can outlive the sink, or several readers */

struct conf_file {
	struct arena *arena;		/* owned: the tree */
	const char *path, *state;
	const struct conf_node *root;
	const char *const *plugin_path;
	size_t plugin_path_count;
};

static void read_plugin_path(struct conf_file *file, struct conf_errors *errors)
{
	const struct conf_node *plugins = conf_child(file->root, "plugins");
	const struct conf_node *path = conf_child(plugins, "path");
	struct conf_walk walk = {.arena = file->arena, .errors = errors, .context = "plugins: "};
	struct conf_root scratch = {.plugin_path = NULL};
	const char **list;

	if (path == NULL || path->bad)
		return;
	conf_plugin_path_section.keys[0].type->fill(&walk, path, &conf_plugin_path_section.keys[0], &scratch);
	list = arena_alloc(file->arena, scratch.plugin_path_count * sizeof(*list));
	for (size_t i = 0; i < scratch.plugin_path_count; i++)
		if (*scratch.plugin_path[i] == '/')
			list[file->plugin_path_count++] = scratch.plugin_path[i];
		else
			conf_complain(&walk, path, NULL, "path: \"%.100s\" is not an absolute path",
				      scratch.plugin_path[i]);
	file->plugin_path = list;
}

static struct conf_file *new_file(const char *path, const struct conf_env *env)
{
	struct arena *arena = arena_new();
	struct conf_file *file = arena_alloc(arena, sizeof(*file));

	file->arena = arena;
	file->path = arena_strdup(arena, path);
	file->state = arena_strdup(arena, env->state);
	return file;
}

static struct conf_file *with_root(struct conf_file *file, const struct conf_node *root, struct conf_errors *errors)
{
	file->root = root;
	if (root == NULL)
		conf_file_free(&file);
	else
		read_plugin_path(file, errors);
	return file;
}

struct conf_file *conf_read(const char *path, const struct conf_env *env, struct conf_errors *errors)
{
	struct conf_file *file = new_file(path, env);

	return with_root(file, conf_yaml_read(file->arena, path, env, errors), errors);
}

struct conf_file *conf_read_text(const char *path, const char *text, const struct conf_env *env,
				 struct conf_errors *errors)
{
	struct conf_file *file = new_file(path, env);

	return with_root(file, conf_yaml_parse(file->arena, text, strlen(text), "", env, errors), errors);
}

void conf_file_free(struct conf_file **file)
{
	struct arena *arena = *file != NULL ? (*file)->arena : NULL;

	*file = NULL;
	arena_free(&arena);
}

const char *const *conf_file_plugin_path(const struct conf_file *file, size_t *count_r)
{
	*count_r = file->plugin_path_count;
	return file->plugin_path_count > 0 ? file->plugin_path : NULL;
}

/* Defaults that depend on other settings. */
/* Inserts die with the sink, and there is one reader of each queue: nothing can arrive behind its back. */
static bool needs_no_wait(const struct conf_model *model)
{
	return str_starts(model->warehouse, "chdb:") && str_starts(model->bus, "direct:");
}

static void settle(struct conf_root *root)
{
	struct conf_model *model = &root->model;

	if (root->mode >= 0)
		model->mode = (enum conf_mode)root->mode;
	else
		model->mode = str_starts(model->tasks, "sqlite:") ? CONF_SINGLE : CONF_PROCESSES;
	if (model->suspect_wait_ms < 0)
		model->suspect_wait_ms = needs_no_wait(model) ? 0 : SUSPECT_WAIT_MS;
}

struct conf_model *conf_check(const struct conf_file *file, const struct conf_catalogue *catalogue,
			      struct conf_errors *errors)
{
	struct arena *arena = arena_new();
	struct conf_root *root = arena_alloc(arena, sizeof(*root));
	struct conf_walk walk = {.arena = arena, .errors = errors, .context = "", .user = root};

	root->catalogue = catalogue;
	root->mode = -1;
	root->model.arena = arena;
	root->model.suspect_wait_ms = -1;
	root->model.file = arena_strdup(arena, file->path);
	root->model.state = arena_strdup(arena, file->state);
	conf_section_init(arena, &conf_root_section, root);
	if (file->root->kind != CONF_MAPPING)
		conf_complain(&walk, file->root, NULL, "the file must be a mapping such as flows: {...}, not %s",
			      conf_show(&walk, file->root, NULL));
	else
		conf_section_fill(&walk, file->root, &conf_root_section, root);
	if (file->root->kind == CONF_MAPPING) {
		conf_stores_check(&walk, file->root, root);
		conf_relations_check(&walk, file->root, root);
		conf_options_check(&walk, file->root, root);
	}
	if (errors->count > 0) {
		arena_free(&arena);
		return NULL;
	}
	settle(root);
	return &root->model;
}

struct conf_model *conf_load(const char *path, const struct conf_catalogue *catalogue, const char *state,
			     struct conf_errors *errors)
{
	struct conf_env env = {.state = state};
	struct conf_file *file = conf_read(path, &env, errors);
	struct conf_model *model = file != NULL ? conf_check(file, catalogue, errors) : NULL;

	conf_file_free(&file);
	return model;
}

void conf_free(struct conf_model **model)
{
	struct arena *arena = *model != NULL ? (*model)->arena : NULL;

	*model = NULL;
	arena_free(&arena);
}

#define find(model, kind, its_name) \
	do { \
		for (size_t i_ = 0; i_ < (model)->kind##_count; i_++) \
			if (str_eq((model)->kind##s[i_].name, its_name)) \
				return &(model)->kind##s[i_]; \
		return NULL; \
	} while (0)

const struct conf_flow *conf_flow(const struct conf_model *model, const char *name)
{
	find(model, flow, name);
}

const struct conf_sink *conf_sink(const struct conf_model *model, const char *name)
{
	find(model, sink, name);
}

const struct conf_source *conf_source(const struct conf_model *model, const char *name)
{
	find(model, source, name);
}

const struct conf_operation *conf_operation(const struct conf_model *model, const char *name)
{
	find(model, operation, name);
}

bool conf_leads_group(const struct conf_model *model, size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (model->flows[i].enabled && str_eq(model->flows[i].group, model->flows[index].group))
			return false;
	return true;
}

const char *conf_route(const struct conf_model *model, const char *exchange, const char *key, size_t index)
{
	for (size_t i = 0; i < model->sink_count; i++) {
		const struct conf_sink *sink = &model->sinks[i];

		if (sink->enabled && sink->queue != NULL && str_eq(sink->exchange, exchange) &&
		    (str_eq(sink->key, key) || str_eq(sink->key, "#")) && index-- == 0)
			return sink->queue;
	}
	return NULL;
}
