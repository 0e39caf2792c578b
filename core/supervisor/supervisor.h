/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The supervisor: one thread, no plugin, nothing parsed from outside but
 * flows.yaml and its own control socket. It holds the state directory, starts
 * one process per role instance, restarts them, and says what they died of.
 */
#ifndef SLUICE_SUPERVISOR_SUPERVISOR_H
#define SLUICE_SUPERVISOR_SUPERVISOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/backoff.h"
#include "base/buf.h"
#include "base/error.h"
#include "metrics/metrics.h"

struct child;
struct conf_model;
struct control;
struct json;
struct loop;
struct loop_fd;
struct loop_signal;
struct loop_timer;
struct metrics;
struct metrics_slot;

struct supervisor {
	struct loop *loop;
	const struct conf_model *conf;
	const char *program;		/* the sluiced that roles are started from */
	struct metrics *metrics;
	struct child **children;	/* in the order they are started */
	size_t child_count;
	struct control *control;
	struct loop_signal *signals[6];
	struct loop_timer *drain_timer;
	int64_t started_ms;		/* monotonic */
	bool all_ready;			/* said once */
	bool draining;
};

/* Runs the daemon until it is told to stop. The exit status. */
int supervisor_run(const struct conf_model *conf, const char *program);

/* --- child.c: one role instance, through all its restarts --- */
enum child_state { CHILD_WAITING, CHILD_STARTING, CHILD_READY, CHILD_DRAINING, CHILD_GONE };
struct child {
	struct supervisor *supervisor;
	const char *role;		/* worker, sink, timer */
	char *title;			/* owned */
	const char *const *names;	/* its flows or sinks; borrowed from the configuration */
	size_t name_count;
	enum child_state state;
	pid_t pid;
	int channel;
	struct loop_fd *channel_watch;
	struct loop_timer *timer;	/* ready deadline while starting, delay while waiting */
	struct metrics_slot *slot;
	uint64_t ended[METRIC_COUNT];	/* counters of its processes that have ended */
	struct backoff backoff;
	char failure[512];		/* what the role said before it left, "" = nothing */
	int64_t since_ms;		/* monotonic: when the state was entered */
	unsigned int restarts;
};

struct child *child_new(struct supervisor *supervisor, const char *role, const char *title,
			const char *const *names, size_t name_count);
void child_free(struct child **child);
void child_start(struct child *child);
/* Sends a message; fd is handed over when >= 0. -1 when it could not be sent. */
int child_send(struct child *child, const char *json, int fd);
void child_drain(struct child *child);
/* The process was reaped. Returns false when it is not to be started again. */
bool child_ended(struct child *child, int status);
const char *child_state_name(enum child_state state);

/* --- plan.c: which children a configuration asks for --- */
void plan_children(struct supervisor *supervisor);

/* --- control.c: the control socket STATE/control.sock --- */
struct control *control_new(struct supervisor *supervisor, struct error *err);
void control_free(struct control **control);

/* --- status.c --- */
/* Appends the daemon's state as one JSON object. */
void supervisor_status(struct supervisor *supervisor, struct buf *out);
/* Passes {"nudge": […]} to every worker that runs one of the flows. */
void supervisor_nudge(struct supervisor *supervisor, const char *message);
/* Passes {"sources": […]} (role/sources.h) to every worker. */
void supervisor_sources(struct supervisor *supervisor, const char *message);
/* A ready child of that role, or NULL. */
struct child *supervisor_find(struct supervisor *supervisor, const char *role);
/* A child became ready, or ended: says so once all are ready, and ends the daemon once all are gone. */
void supervisor_child_changed(struct supervisor *supervisor);

#endif
