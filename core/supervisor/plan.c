/* SPDX-License-Identifier: Apache-2.0 */
/* Which processes a configuration asks for. */
#include "base/arena.h"
#include "base/str.h"
#include "bus/bus.h"
#include "conf/model.h"
#include "supervisor/supervisor.h"
#include "warehouse/warehouse.h"

static void add(struct plan *plan, const char *role, const char *key, const char *title,
		const char *const *names, size_t name_count)
{
	plan->list = mem_realloc(plan->list, (plan->count + 1) * sizeof(*plan->list));
	plan->list[plan->count++] = (struct planned){
		.role = role, .key = key, .title = title, .names = names, .name_count = name_count};
}

/* kind tells a group from a flow of the same name. */
static void add_workers(struct plan *plan, const char *kind, const char *what, int workers,
			const char *const *flows, size_t flow_count)
{
	for (int i = 1; i <= workers; i++)
		add(plan, "worker", arena_printf(plan->arena, "worker %s %s %d", kind, what, i),
		    workers == 1 ? arena_printf(plan->arena, "worker %s", what)
				 : arena_printf(plan->arena, "worker %s %d/%d", what, i, workers),
		    flows, flow_count);
}

/* Enabled flows of a group; group NULL: all of them. */
static const char *const *flows_of(const struct plan *plan, const struct conf_model *conf, const char *group,
				   size_t *count_r)
{
	const char **names = arena_alloc(plan->arena, (conf->flow_count + 1) * sizeof(*names));

	*count_r = 0;
	for (size_t i = 0; i < conf->flow_count; i++)
		if (conf->flows[i].enabled && (group == NULL || str_eq(conf->flows[i].group, group)))
			names[(*count_r)++] = conf->flows[i].name;
	return names;
}

static void plan_workers(struct plan *plan, const struct conf_model *conf)
{
	const char *const *names;
	size_t count;

	if (conf->mode == CONF_SINGLE) {
		names = flows_of(plan, conf, NULL, &count);
		if (count > 0)
			add_workers(plan, "single", "all", 1, names, count);
		return;
	}
	for (size_t i = 0; i < conf->flow_count; i++) {
		const struct conf_flow *flow = &conf->flows[i];

		if (!flow->enabled)
			continue;
		if (flow->group == NULL) {
			add_workers(plan, "flow", flow->name, flow->workers, &flow->name, 1);
		} else if (conf_leads_group(conf, i)) {
			names = flows_of(plan, conf, flow->group, &count);
			add_workers(plan, "group", flow->group, flow->workers, names, count);
		}
	}
}

/*
 * With chdb: one process holds the warehouse, so it serves every sink. On
 * servers each has a process of its own: what kills one leaves the others alone.
 */
static void plan_sinks(struct plan *plan, const struct conf_model *conf)
{
	const char **names = arena_alloc(plan->arena, (conf->sink_count + 1) * sizeof(*names));
	size_t count = 0;

	for (size_t i = 0; i < conf->sink_count; i++)
		if (conf->sinks[i].enabled)
			names[count++] = conf->sinks[i].name;
	if (count > 0 && !warehouse_remote(conf->warehouse)) {
		add(plan, "sink", "sink", "sink", names, count);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		const char *title = arena_printf(plan->arena, "sink %s", names[i]);

		add(plan, "sink", title, title, &names[i], 1);
	}
}

static void plan_relays(struct plan *plan, const struct conf_model *conf)
{
	int count = conf->relay_workers;

	for (int i = 1; i <= count && bus_publishes(conf->bus); i++)
		add(plan, "relay", arena_printf(plan->arena, "relay %d", i),
		    count == 1 ? "relay" : arena_printf(plan->arena, "relay %d/%d", i, count), NULL, 0);
}

void plan_make(struct plan *plan, const struct conf_model *conf)
{
	*plan = (struct plan){.arena = arena_new()};
	plan_sinks(plan, conf);
	plan_relays(plan, conf);
	plan_workers(plan, conf);
	add(plan, "timer", "timer", "timer", NULL, 0);
}

void plan_fini(struct plan *plan)
{
	mem_release(plan->list);
	arena_free(&plan->arena);
}
