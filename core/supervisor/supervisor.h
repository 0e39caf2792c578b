/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The supervisor: one thread, no plugin, nothing parsed from outside but
 * flows.yaml and its own control socket. It holds the state directory, starts
 * one process per role instance, restarts them, and says what they died of.
 * When the configuration is read again, it lets those go whose part of it has
 * changed, and leaves the others alone.
 */
#ifndef SLUICE_SUPERVISOR_SUPERVISOR_H
#define SLUICE_SUPERVISOR_SUPERVISOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/backoff.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/uuid.h"
#include "metrics/metrics.h"

struct arena;
struct child;
struct conf_model;
struct control;
struct json;
struct json_doc;
struct loop;
struct loop_fd;
struct loop_signal;
struct loop_timer;
struct metrics;
struct metrics_slot;
struct reload;

/* How the daemon was started, for reading the configuration again. */
struct supervisor_start {
	const char *program;		/* the sluiced that roles are started from */
	const char *file, *state;
	const char *plugins;		/* of the command line; NULL: nothing */
	const char *log_level;		/* the same */
};

struct supervisor {
	struct loop *loop;
	const struct supervisor_start *start;
	const struct conf_model *conf;
	struct conf_model *reloaded;	/* owned: what conf is since the first reload */
	struct metrics *metrics;
	struct child **children;	/* in the order they are started; those that leave for good last */
	size_t child_count;
	struct control *control;
	struct reload *reload;
	struct loop_signal *signals[6];
	struct loop_timer *drain_timer;
	int64_t started_ms;		/* monotonic */
	int64_t changed_ms;		/* monotonic: the start, or the last reload that changed processes */
	bool all_ready;			/* said once, and once after each reload */
	bool draining;
};

/* Runs the daemon until it is told to stop. The exit status. */
int supervisor_run(const struct conf_model *conf, const struct supervisor_start *start);

/* --- plan.c: which processes a configuration asks for --- */
struct planned {
	const char *role;		/* worker, relay, sink, timer; static */
	const char *key;		/* the same instance in another configuration has the same */
	const char *title;
	const char *const *names;	/* its flows or sinks */
	size_t name_count;
};
struct plan {
	struct arena *arena;		/* owned: the texts, as far as they are not the configuration's */
	struct planned *list;		/* owned; in the order they are started */
	size_t count;
};
void plan_make(struct plan *plan, const struct conf_model *conf);
void plan_fini(struct plan *plan);

/* --- child.c: one role instance, through all its restarts --- */
enum child_state { CHILD_WAITING, CHILD_STARTING, CHILD_READY, CHILD_DRAINING, CHILD_GONE };
/* SHA-256 of a part of the configuration. */
struct part_sums {
	char fixed[SHA256_TEXT_SIZE];	/* of what needs another process when it changes */
	char whole[SHA256_TEXT_SIZE];	/* with what a running process can be told */
};
struct child {
	struct supervisor *supervisor;
	const char *role;		/* worker, sink, timer */
	char *key, *title;		/* owned */
	char **names;			/* its flows or sinks; owned */
	size_t name_count;
	struct part_sums sums;		/* of its part of supervisor->conf */
	enum child_state state;
	bool again;			/* draining, to be started with another part of the configuration */
	pid_t pid;
	int channel;
	struct loop_fd *channel_watch;
	struct loop_timer *timer;	/* deadline while starting, or draining for a reload; delay while waiting */
	struct metrics_slot *slot;
	size_t slot_index;
	uint64_t ended[METRIC_COUNT];	/* counters of its processes that have ended */
	struct backoff backoff;
	char failure[512];		/* what the role said before it left, "" = nothing */
	int64_t since_ms;		/* monotonic: when the state was entered */
	unsigned int restarts;
};

/* What planned's part of conf comes to. */
void child_sums(const struct conf_model *conf, const struct planned *planned, struct part_sums *sums_r);
struct child *child_new(struct supervisor *supervisor, const struct planned *planned,
			const struct part_sums *sums);
void child_free(struct child **child);
/* Takes over another plan of the same instance; what runs is not touched. */
void child_adopt(struct child *child, const struct planned *planned, const struct part_sums *sums);
void child_start(struct child *child);
/* Sends a message; fd is handed over when >= 0. -1 when it could not be sent. */
int child_send(struct child *child, const char *json, int fd);
/* Tells a running process the part that it has now: limits, log level, title. -1 when it could not be told. */
int child_tell(struct child *child);
void child_drain(struct child *child);
/*
 * For a reload: drains, for drain_ms at most. again: to be started afresh
 * afterwards, at once if nothing runs now.
 */
void child_leave(struct child *child, bool again, int64_t drain_ms);
/* The process was reaped. Returns false when it is not to be started again. */
bool child_ended(struct child *child, int status);
const char *child_state_name(enum child_state state);

/* --- check.c: reading the configuration again, in a process of its own --- */
#define CHECK_TIMEOUT_MS 120000
/*
 * Starts `sluiced -x check`. Its answer will be in *fd_r, the caller's, once it
 * has ended. The process id; -1 and err.
 */
pid_t check_start(const struct supervisor_start *start, int *fd_r, struct error *err);
/* A checked configuration, or the reasons for there being none. */
struct check_answer {
	struct json_doc *doc;		/* owned: the texts */
	const char *wrong;		/* lines; NULL: nothing */
	const struct json *refused;	/* plugins that were left out: texts */
	struct conf_model *conf;	/* owned; NULL when something is wrong */
};
/* Reads what a check that ended with status has written. -1 and err: it did not come to an end. */
int check_read(struct check_answer *answer, int fd, int status, struct error *err);
void check_fini(struct check_answer *answer);
/* The process itself: argv are file, state and, if there is one, plugins. Its exit status. */
int check_main(int argc, char **argv);

/* --- reload.c: another configuration while the daemon runs --- */
struct reload *reload_new(struct supervisor *supervisor);
void reload_free(struct reload **reload);
/* SIGHUP: reads the configuration again, or once more when that is under way. */
void reload_now(struct supervisor *supervisor);
/*
 * A client's request; only_check: tells what would change. -1 and err when it
 * cannot be carried out now; else control_reloaded is called later.
 */
int reload_ask(struct supervisor *supervisor, bool only_check, struct error *err);
/* Whether the process that ended was a check, which is then evaluated. */
bool reload_ended(struct supervisor *supervisor, pid_t pid, int status);

/* --- control.c: the control socket STATE/control.sock --- */
struct control *control_new(struct supervisor *supervisor, struct error *err);
void control_free(struct control **control);
/* The answer, one JSON object, to the client that asked for a reload, if it is still there. */
void control_reloaded(struct control *control, const struct buf *answer);

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
/* Adds a child; it is started by the caller. */
void supervisor_add(struct supervisor *supervisor, struct child *child);
/* Frees the children that are gone. Not from a callback of one of them. */
void supervisor_sweep(struct supervisor *supervisor);

#endif
