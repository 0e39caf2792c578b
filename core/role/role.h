/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every role process shares: `sluiced -x ROLE` finds its channel on fd 3,
 * its part of the configuration (sealed memory) on fd 4 and the counters on
 * fd 5; loads the plugins the supervisor's probe has seen, starts the role,
 * says ready, and leaves when told to or when the supervisor is gone.
 *
 * Everything here runs on the process's loop thread.
 */
#ifndef SLUICE_ROLE_ROLE_H
#define SLUICE_ROLE_ROLE_H

#include <stdbool.h>

#include "base/error.h"

struct conf_model;
struct json;
struct loop;
struct plugin_set;
struct store;
struct store_table;
struct arena;

enum { ROLE_CHANNEL_FD = 3, ROLE_PART_FD = 4, ROLE_METRICS_FD = 5 };

struct role;
struct role_def {
	const char *name;		/* worker, sink, timer */
	bool plugins;			/* loads the plugins */
	/* Brings the role up; ready is said when it returns 0. */
	int (*start)(struct role *role, struct error *err);
	/* Stop taking work, finish or hand back what runs, then call role_finished. */
	void (*drain)(struct role *role);
	/* A message of the supervisor that the runtime does not handle itself; fd >= 0 is the role's to close. May be NULL. */
	void (*message)(struct role *role, const struct json *message, int fd);
	/* role->limits is another: what holds from now on. NULL: the role has no use for limits. */
	void (*limits_changed)(struct role *role);
	/* Frees what start made; the loop no longer runs. */
	void (*stop)(struct role *role);
};

struct role {
	const struct role_def *def;
	struct loop *loop;
	const struct conf_model *conf;
	const struct conf_model *limits;	/* whose limits hold: conf, or what came after a reload */
	struct metrics *metrics;	/* of all processes of this node */
	struct plugin_set *plugins;	/* NULL when the role loads none */
	const char *title;		/* "worker refresh_x 3/10" */
	const struct json *part;	/* the whole part: {"flows": […], "sinks": […], …} */
	struct arena *arena;		/* lives as long as the process */
	bool draining;
	void *state;			/* the role's own */
};

/* The whole life of a role process. The exit status. */
int role_main(const struct role_def *def);
/* The role has drained: the process ends with status 0. */
void role_finished(struct role *role);
/* The role cannot go on: logs text, the process ends with status 1 and is started again. */
void role_failed(struct role *role, const char *text);
/* Sends a JSON object to the supervisor. A full channel is logged, not waited for. */
void role_send(struct role *role, const char *json);

/* Opens the task store with this process's options, and makes the tables of every loaded plugin. */
struct store *role_open_store(struct role *role, struct error *err);
/* A plugin's table as the store sees it; the same pointer for the same table. */
const struct store_table *role_store_table(struct role *role, const void *sl_table);

#endif
