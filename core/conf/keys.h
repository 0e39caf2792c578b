/* SPDX-License-Identifier: Apache-2.0 */
/* The schema of flows.yaml itself, for conf/check (filling), conf/part (JSON) and the test of the manual. */
#ifndef SLUICE_CONF_KEYS_H
#define SLUICE_CONF_KEYS_H

#include "conf/catalogue.h"
#include "conf/model.h"
#include "conf/schema.h"

/* What the schema fills: the model, and what only the check needs. The model comes first. */
struct conf_root {
	struct conf_model model;
	struct conf_flow defaults;
	int mode;			/* -1: not given */
	int64_t version;
	const char *const *plugin_path;
	size_t plugin_path_count;
	const struct conf_catalogue *catalogue;
};

/* The walk's user is the struct conf_root. */
extern const struct conf_section conf_root_section;
/* One entry of sinks: its defaults stand for those that the file does not name. */
extern const struct conf_section conf_sink_section;

/* One schedule of a flow, and what of it is known only with the flow: conf/schedule.c */
extern const struct conf_section conf_schedule_section;
void conf_schedule_check(struct conf_walk *walk, const struct conf_node *entry, const struct conf_offer_flow *offer,
			 const struct conf_model *model, struct conf_flow *flow);

/* tasks.keep and timer */
extern const struct conf_section conf_keep_section, conf_timer_section;

/* plugins.path alone: stores it in a struct conf_root; needs no catalogue. */
extern const struct conf_section conf_plugin_path_section;

/*
 * The rest of plugins: fills model.plugins, one entry for each offered plugin
 * with the options that are given or have a default. node is NULL when the file
 * has no such section; file is the whole file. Flows and sinks are known.
 */
void conf_options_check(struct conf_walk *walk, const struct conf_node *file, struct conf_root *root);
/* The stores' URLs: their defaults, whether each is known, and whether they go together. */
void conf_stores_check(struct conf_walk *walk, const struct conf_node *file, struct conf_root *root);
/* What no single key can know: names the plugins offer, and keys that must agree. */
void conf_relations_check(struct conf_walk *walk, const struct conf_node *file, struct conf_root *root);

/* The names of count offered things, each struct beginning with its name, for conf_nearest. */
const char *const *conf_names_of(struct arena *arena, const void *items, size_t count, size_t size);
#define conf_offered_names(walk, root, kind) \
	conf_names_of((walk)->arena, (root)->catalogue->kind##s, (root)->catalogue->kind##_count, \
		      sizeof(*(root)->catalogue->kind##s))

#endif
