/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluicectl: one command, run to its end in one thread. Commands and options
 * are tables; the help, the manual's lists and the test of the manual come
 * from them.
 */
#ifndef SLUICE_CTL_CTL_H
#define SLUICE_CTL_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/error.h"
#include "setup/setup.h"

struct arena;
struct json;
struct json_doc;
struct jwrite;
struct plugin;
struct plugin_set;
struct sl_flow;
struct store_sync;

enum ctl_exit { CTL_OK, CTL_FAILED, CTL_USAGE, CTL_TASKS_FAILED, CTL_TIMEOUT, CTL_TASKS_SKIPPED };

struct ctl_option {
	const char *name;	/* without the two hyphens */
	char letter;		/* 0 = none */
	const char *arg;	/* NULL: takes none */
	const char *help;
};

struct ctl;
struct ctl_command {
	const char *name;			/* "task list" */
	const char *args;			/* "FLOW KEY=VALUE..." */
	const char *help;
	const struct ctl_option *options;	/* its own; ends with name NULL */
	size_t least, most;			/* arguments */
	int (*run)(struct ctl *ctl);		/* an exit status */
};

struct ctl {
	struct arena *arena;			/* lives as long as the program */
	const struct ctl_command *command;
	const char **args;
	size_t arg_count;
	struct ctl_value {
		const struct ctl_option *option;
		const char *value;
	} *values;				/* options as given */
	size_t value_count;
	bool json;				/* --json */
	bool terminal, color;			/* of standard output */
	struct setup_options options;
	struct setup setup;
	bool loaded;
	struct plugin_set *plugins;
	struct store_sync *store;
};

/* --- main.c --- */
/* The value of an option, "" for one that takes none; NULL: not given. The last one counts. */
const char *ctl_option(const struct ctl *ctl, const char *name);
/* The index-th of an option that may be repeated; NULL past the last. */
const char *ctl_option_at(const struct ctl *ctl, const char *name, size_t index);
/* A positive number, or fallback when it was not given. -1 after complaining. */
int ctl_option_number(struct ctl *ctl, const char *name, long long fallback, long long *value_r);
/* Both print to standard error and return the exit status. */
int ctl_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int ctl_usage(const struct ctl *ctl, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* --- context.c: opened when first asked for; complain themselves. 0 or -1 --- */
/* Which file and state directory; reads nothing. */
int ctl_settle(struct ctl *ctl);
/* Configuration and catalogue. needed: without a configuration there is nothing to do. */
int ctl_load(struct ctl *ctl, bool needed);
int ctl_load_plugins(struct ctl *ctl);
/* The task store; create: made when it is not there, else its absence is a complaint. */
int ctl_open_store(struct ctl *ctl, bool create);
/* As ctl_open_store, but silently -1 when there is none yet. */
int ctl_open_store_if_there(struct ctl *ctl);
/* A flow that a plugin offers; NULL after complaining. */
const struct sl_flow *ctl_flow(struct ctl *ctl, const char *name, const struct plugin **plugin_r);
void ctl_close(struct ctl *ctl);

/* --- daemon.c: the control socket --- */
/* Connects; -1 and ERR_NOT_FOUND when no daemon runs on the state directory. */
int daemon_connect(const struct ctl *ctl, struct error *err);
/* Sends one request and appends the first line of the answer. The connection stays open. 0 or -1. */
int daemon_ask(int fd, const char *request, struct buf *line, struct buf *rest, struct error *err);
/* Has the daemon wake the workers of a flow. One that is not there, or not reached, finds tasks by itself. */
void daemon_nudge(const struct ctl *ctl, const char *flow);
/* Reads up to exactly len bytes into rest. */
int daemon_read(int fd, struct buf *rest, size_t len, struct error *err);

/* --- table.c: aligned columns --- */
struct table;
/* columns: names separated by spaces; one that ends with '>' is aligned to the right. */
struct table *table_new(struct ctl *ctl, const char *columns);
struct table *table_new_names(struct ctl *ctl, const char *const *names, size_t count);
/* Aligns a column to the right. */
void table_right(struct table *table, size_t column);
void table_cell(struct table *table, const char *text);
void table_printf(struct table *table, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* At most max bytes of text, which may be NULL. */
void table_cut(struct table *table, const char *text, size_t max);
/* A JSON value as a cell: texts bare, null as "". */
void table_json(struct table *table, const struct json *value);
/* A JSON list of texts as one cell: "a, b"; anything else as table_json. */
void table_texts(struct table *table, const struct json *list);
void table_print(const struct table *table, FILE *out);
/* On standard output: the table, or with --json what says the same; frees json's memory. */
void table_or_json(const struct table *table, struct buf *json);
/* "3m12s" */
const char *text_seconds(struct ctl *ctl, long long seconds);
/* "12.3 MiB" */
const char *text_bytes(struct ctl *ctl, unsigned long long bytes);

/* --- params.c: parameters from the command line --- */
/*
 * The JSON object that words (KEY=VALUE), laid over the JSON object base (NULL:
 * none), make for flow; {i} becomes index when index >= 0. NULL and err.
 * Whether it fits the flow is checked by who uses it.
 */
char *params_make(struct ctl *ctl, const struct sl_flow *flow, const char *base, const char *const *words,
		  size_t count, long long index, struct error *err);
/* Writes text as the JSON it holds; false, and nothing, when it holds none. */
bool ctl_write_json(struct jwrite *w, const char *name, const char *text);
/* text with {i} replaced. */
const char *params_index(struct ctl *ctl, const char *text, long long index);

/* --- plugin.c --- */
/* A plugin's descriptor as JSON, appended to text and parsed; NULL after complaining. */
struct json_doc *plugin_document(const struct plugin *plugin, struct buf *text);

/* --- schema.c --- */
struct store_table;
/* The tables of all plugins, after loading configuration and plugins; NULL after complaining. */
const struct store_table *const *schema_tables(struct ctl *ctl, size_t *count_r);

/* --- source.c --- */
struct store_source;
/* What the store knows of sources; nothing when there is no store. 0, or -1 after complaining. */
int source_read(struct ctl *ctl, struct store_source **rows_r, size_t *count_r);
const char *source_state(const struct store_source *row);	/* "stopped", "open", "half-open" */

/* --- the commands --- */
extern const struct ctl_option submit_options[], task_list_options[], flow_try_options[], query_options[];
extern const struct ctl_option task_skipped_options[], task_forget_options[];
extern const struct ctl_option schema_show_options[], source_stop_options[], reload_options[];
extern const struct ctl_option dead_list_options[], dead_show_options[], dead_replay_options[],
	dead_drop_options[];
extern const struct ctl_option credential_add_options[], credential_disable_options[], credential_list_options[],
	credential_park_options[], credential_remove_options[], credential_test_options[];
int cmd_submit(struct ctl *ctl);
int cmd_task_list(struct ctl *ctl);
int cmd_task_show(struct ctl *ctl);
int cmd_task_skipped(struct ctl *ctl);
int cmd_task_forget(struct ctl *ctl);
int cmd_flow_list(struct ctl *ctl);
int cmd_flow_show(struct ctl *ctl);
int cmd_flow_try(struct ctl *ctl);
int cmd_plugin_list(struct ctl *ctl);
int cmd_plugin_show(struct ctl *ctl);
int cmd_plugin_check(struct ctl *ctl);
int cmd_source_list(struct ctl *ctl);
int cmd_source_stop(struct ctl *ctl);
int cmd_source_start(struct ctl *ctl);
int cmd_query(struct ctl *ctl);
int cmd_status(struct ctl *ctl);
int cmd_reload(struct ctl *ctl);
int cmd_schema_show(struct ctl *ctl);
int cmd_schema_apply(struct ctl *ctl);
int cmd_schema_check(struct ctl *ctl);
int cmd_schedule_list(struct ctl *ctl);
int cmd_schedule_run(struct ctl *ctl);
int cmd_dead_list(struct ctl *ctl);
int cmd_dead_show(struct ctl *ctl);
int cmd_dead_replay(struct ctl *ctl);
int cmd_dead_drop(struct ctl *ctl);
int cmd_credential_add(struct ctl *ctl);
int cmd_credential_list(struct ctl *ctl);
int cmd_credential_show(struct ctl *ctl);
int cmd_credential_test(struct ctl *ctl);
int cmd_credential_enable(struct ctl *ctl);
int cmd_credential_disable(struct ctl *ctl);
int cmd_credential_park(struct ctl *ctl);
int cmd_credential_remove(struct ctl *ctl);
int cmd_credential_rotate(struct ctl *ctl);
int cmd_credential_import(struct ctl *ctl);

#endif
