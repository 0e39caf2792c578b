/* SPDX-License-Identifier: Apache-2.0 */
/* Which processes a configuration asks for. */
#include "base/arena.h"
#include "base/str.h"
#include "bus/bus.h"
#include "conf/model.h"
#include "supervisor/supervisor.h"
#include "warehouse/warehouse.h"

static void add(struct supervisor *supervisor, const char *role, const char *title, const char *const *names,
		size_t name_count)
{
	supervisor->children = mem_realloc(supervisor->children,
					   (supervisor->child_count + 1) * sizeof(*supervisor->children));
	supervisor->children[supervisor->child_count++] = child_new(supervisor, role, title, names, name_count);
}

static void add_workers(struct supervisor *supervisor, const char *what, int workers, const char *const *flows,
			size_t flow_count)
{
	char title[128];

	for (int i = 1; i <= workers; i++) {
		if (workers == 1)
			str_format(title, sizeof(title), "worker %s", what);
		else
			str_format(title, sizeof(title), "worker %s %d/%d", what, i, workers);
		add(supervisor, "worker", title, flows, flow_count);
	}
}

/* Enabled flows of a group; group NULL: all of them. */
static const char *const *flows_of(const struct conf_model *conf, const char *group, size_t *count_r)
{
	const char **names = arena_alloc(conf->arena, (conf->flow_count + 1) * sizeof(*names));

	*count_r = 0;
	for (size_t i = 0; i < conf->flow_count; i++)
		if (conf->flows[i].enabled && (group == NULL || str_eq(conf->flows[i].group, group)))
			names[(*count_r)++] = conf->flows[i].name;
	return names;
}

static void plan_workers(struct supervisor *supervisor)
{
	const struct conf_model *conf = supervisor->conf;
	const char *const *names;
	size_t count;

	if (conf->mode == CONF_SINGLE) {
		names = flows_of(conf, NULL, &count);
		if (count > 0)
			add_workers(supervisor, "all", 1, names, count);
		return;
	}
	for (size_t i = 0; i < conf->flow_count; i++) {
		const struct conf_flow *flow = &conf->flows[i];

		if (!flow->enabled)
			continue;
		if (flow->group == NULL) {
			add_workers(supervisor, flow->name, flow->workers, &flow->name, 1);
		} else if (conf_leads_group(conf, i)) {
			names = flows_of(conf, flow->group, &count);
			add_workers(supervisor, flow->group, flow->workers, names, count);
		}
	}
}

/*
 * With chdb: one process holds the warehouse, so it serves every sink. On
 * servers each has a process of its own: what kills one leaves the others alone.
 */
static void plan_sinks(struct supervisor *supervisor)
{
	const struct conf_model *conf = supervisor->conf;
	const char **names = arena_alloc(conf->arena, (conf->sink_count + 1) * sizeof(*names));
	char title[128];
	size_t count = 0;

	for (size_t i = 0; i < conf->sink_count; i++)
		if (conf->sinks[i].enabled)
			names[count++] = conf->sinks[i].name;
	if (count > 0 && !warehouse_remote(conf->warehouse)) {
		add(supervisor, "sink", "sink", names, count);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		str_format(title, sizeof(title), "sink %s", names[i]);
		add(supervisor, "sink", title, &names[i], 1);
	}
}

static void plan_relays(struct supervisor *supervisor)
{
	int count = supervisor->conf->relay_workers;
	char title[64];

	for (int i = 1; i <= count && bus_publishes(supervisor->conf->bus); i++) {
		str_format(title, sizeof(title), count == 1 ? "relay" : "relay %d/%d", i, count);
		add(supervisor, "relay", title, NULL, 0);
	}
}

void plan_children(struct supervisor *supervisor)
{
	plan_sinks(supervisor);
	plan_relays(supervisor);
	plan_workers(supervisor);
	add(supervisor, "timer", "timer", NULL, 0);
}
