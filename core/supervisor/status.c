/* SPDX-License-Identifier: Apache-2.0 */
/* What the supervisor knows of its children, and passing word between them. */
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/str.h"
#include "conf/model.h"
#include "json/json.h"
#include "json/jwrite.h"
#include "log/log.h"
#include "metrics/metrics.h"
#include "supervisor/supervisor.h"

/* What a role has done since the daemon was started, over all its processes. */
static const struct figure {
	const char *role, *name;
	enum metric_id id;
} figures[] = {
	{"sink", "rows", METRIC_SINK_ROWS}, {"sink", "suspects", METRIC_SINK_SUSPECTS},
	{"sink", "repeats", METRIC_SINK_REPEATS}, {"sink", "dead_letters", METRIC_SINK_DEAD},
	{"relay", "published", METRIC_RELAY_PUBLISHED}, {"relay", "messages", METRIC_RELAY_MESSAGES},
	{"relay", "events", METRIC_RELAY_EVENTS}, {"relay", "redo", METRIC_RELAY_REDO},
	{"relay", "dead_letters", METRIC_RELAY_DEAD},
	{"worker", "claimed", METRIC_TASKS_CLAIMED}, {"worker", "completed", METRIC_TASKS_COMPLETED}
};

static void child_status(const struct child *child, struct jwrite *w)
{
	jwrite_object(w, NULL);
	jwrite_string(w, "title", child->title);
	jwrite_string(w, "role", child->role);
	jwrite_int(w, "pid", child->pid);
	jwrite_string(w, "state", child_state_name(child->state));
	jwrite_int(w, "seconds", (clock_mono_ms() - child->since_ms) / 1000);
	jwrite_uint(w, "restarts", child->restarts);
	if (child->slot != NULL) {
		jwrite_uint(w, "tasks_running", metrics_slot_get(child->slot, METRIC_TASKS_RUNNING));
		jwrite_uint(w, "rss_bytes", metrics_slot_get(child->slot, METRIC_RSS));
		jwrite_uint(w, "rss_peak_bytes", metrics_slot_get(child->slot, METRIC_RSS_PEAK));
	}
	for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++)
		if (str_eq(figures[i].role, child->role))
			jwrite_uint(w, figures[i].name, child->ended[figures[i].id] +
				    (child->slot != NULL ? metrics_slot_get(child->slot, figures[i].id) : 0));
	jwrite_end(w);
}

void supervisor_status(struct supervisor *supervisor, struct buf *out)
{
	const struct conf_model *conf = supervisor->conf;
	struct jwrite w;

	jwrite_init(&w, out);
	jwrite_object(&w, NULL);
	jwrite_string(&w, "version", SLUICE_VERSION);
	jwrite_int(&w, "pid", getpid());
	jwrite_string(&w, "config", conf->file);
	jwrite_string(&w, "state", conf->state);
	jwrite_string(&w, "mode", conf->mode == CONF_SINGLE ? "single" : "processes");
	jwrite_int(&w, "uptime_s", (clock_mono_ms() - supervisor->started_ms) / 1000);
	jwrite_bool(&w, "ready", supervisor->all_ready);
	jwrite_bool(&w, "reloading", !supervisor->all_ready && supervisor->reloaded != NULL);
	jwrite_bool(&w, "draining", supervisor->draining);
	jwrite_array(&w, "roles");
	for (size_t i = 0; i < supervisor->child_count; i++)
		child_status(supervisor->children[i], &w);
	jwrite_end(&w);
	jwrite_object(&w, "metrics");
	for (int id = 0; id < METRIC_COUNT; id++)
		jwrite_uint(&w, metric_defs[id].name, metrics_total(supervisor->metrics, (enum metric_id)id));
	jwrite_end(&w);
	jwrite_end(&w);
}

static bool serves(const struct child *child, const struct json *flows)
{
	const struct json *flow;

	/* To everybody: the timer lives, and there is nothing to do. */
	if (json_count(flows) == 0)
		return true;
	for (flow = json_first(flows); flow != NULL; flow = json_next(flow))
		for (size_t i = 0; i < child->name_count; i++)
			if (str_eq(child->names[i], json_string(flow, NULL)))
				return true;
	return false;
}

void supervisor_nudge(struct supervisor *supervisor, const char *message)
{
	struct error err;
	struct json_doc *doc = json_parse(message, strlen(message), &err);
	const struct json *flows = doc != NULL ? json_member(json_root(doc), "nudge") : NULL;

	for (size_t i = 0; i < supervisor->child_count; i++) {
		struct child *child = supervisor->children[i];

		if (child->state == CHILD_READY && str_eq(child->role, "worker") && serves(child, flows))
			child_send(child, message, -1);
	}
	json_doc_free(&doc);
}

void supervisor_sources(struct supervisor *supervisor, const char *message)
{
	for (size_t i = 0; i < supervisor->child_count; i++) {
		struct child *child = supervisor->children[i];

		if (child->state == CHILD_READY && str_eq(child->role, "worker"))
			child_send(child, message, -1);
	}
}

struct child *supervisor_find(struct supervisor *supervisor, const char *role)
{
	for (size_t i = 0; i < supervisor->child_count; i++)
		if (supervisor->children[i]->state == CHILD_READY && str_eq(supervisor->children[i]->role, role))
			return supervisor->children[i];
	return NULL;
}
